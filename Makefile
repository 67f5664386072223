# Each command makes its own .venv on a fresh machine: Python 3.11 or newer and make are all it needs.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
# Builds and tests start many processes. What one has compiled the next one finds, even where the environment says that
# bytecode is not to be written, as images of containers do: installation compiles nothing, see below.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-fast test-lowest lint commands docs figures bench bench-scaling gpu torture fuzz clean

demo: $(INSTALLED)-demo
	$(BIN)/h36m-amass demo demo

# Two processes at a time, and threads of their own would be in each other's way.
test: $(INSTALLED)-dev
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# What starts no process and needs no body models: a minute's check while you work.
test-fast: $(INSTALLED)-dev
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow" -q

# With the lowest versions that pyproject.toml allows. Warnings of old packages about new ones are not ours.
test-lowest:
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct -e '.[test]'
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n 2 --dist worksteal -W ignore::DeprecationWarning

lint: $(INSTALLED)-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python tests/house/words.py
	$(BIN)/codespell

commands: $(INSTALLED)-dev
	$(BIN)/python docs/commands.py

docs: $(INSTALLED)-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

figures: demo $(INSTALLED)-dev
	$(BIN)/python docs/figures/joint_orders.py
	$(BIN)/python docs/figures/demo_walk.py
	$(BIN)/python docs/figures/cameras.py
	$(BIN)/python docs/figures/joint_definitions.py
	$(BIN)/python docs/figures/viewer.py

torture: $(INSTALLED)-dev
	$(BIN)/python -m tests.torture
	$(BIN)/python -m tests.signal_torture

fuzz: $(INSTALLED)-dev
	$(BIN)/python -m tests.fuzz

bench: $(INSTALLED)-bench
	$(BIN)/python benchmarks/run.py

# Where there is no CUDA device, it says so.
gpu: $(INSTALLED)-bench
	$(BIN)/python benchmarks/gpu.py
	$(BIN)/python -m pytest -m gpu
	$(BIN)/python -m tests.sanitized

bench-scaling: $(INSTALLED)-bench
	$(BIN)/python benchmarks/executors.py
	$(BIN)/python benchmarks/remote_reading.py

clean:
	rm -rf .venv .venv-lowest demo site build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# One stamp for each set of extras, so that each command installs what it needs and no more. Compiling all modules of
# torch, sympy and others would take longer than all the rest; Python compiles those that it imports.
$(INSTALLED)-demo: EXTRA = plot
$(INSTALLED)-dev: EXTRA = dev
$(INSTALLED)-bench: EXTRA = bench,dev
$(INSTALLED)-docs: EXTRA = dev,docs
$(INSTALLED)-%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[$(EXTRA)]'
	touch $@
