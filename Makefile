# Each command makes its own .venv on a fresh machine: Python 3.11 or newer and make are all it needs.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test lint docs figures bench bench-scaling torture fuzz clean

demo: $(INSTALLED)
	$(BIN)/h36m-amass demo demo

# Two processes at a time, and threads of their own would be in each other's way.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(INSTALLED)-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

figures: demo
	$(BIN)/python docs/figures/joint_orders.py
	$(BIN)/python docs/figures/demo_walk.py
	$(BIN)/python docs/figures/viewer.py

torture: $(INSTALLED)
	$(BIN)/python -m tests.torture
	$(BIN)/python -m tests.signal_torture

fuzz: $(INSTALLED)
	$(BIN)/python -m tests.fuzz

bench: $(INSTALLED)-bench
	$(BIN)/python benchmarks/run.py

bench-scaling: $(INSTALLED)-bench
	$(BIN)/python benchmarks/executors.py
	$(BIN)/python benchmarks/remote_reading.py
	$(BIN)/python benchmarks/schedules.py

clean:
	rm -rf .venv demo site build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(INSTALLED)-bench: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	touch $@

$(INSTALLED)-docs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
