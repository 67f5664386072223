"""Rules of the project that import-linter and ruff cannot check: sizes, names of values, and what is imported early.

Rooms, torch and circles are contracts in pyproject.toml; the number of parameters is ruff's PLR0913.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {"h36m_amass": ROOT / "h36m_amass", "h36m_amass.cli": ROOT / "cli"}
MODULES = {
    ".".join([package, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"): path
    for package, folder in FOLDERS.items()
    for path in sorted(folder.rglob("*.py"))
}
# A limit is raised by the change that needs it, which says what for.
MAX_LINES, MAX_LINES_OF_ALL, MAX_BODY, MAX_MODULES = 450, 19_700, 60, 18
IMPORT_TORCH = ("h36m_amass.engine", "h36m_amass.training")
# A value is named by what it is: header, path, message, index, expected. A longer name may contain one of these words.
VAGUE_NAMES = {"found", "given", "own", "place", "there", "told", "wanted"}


def bodies(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Each function's name and the lines of its body, from behind the docstring on."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            yield node.name, (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def value_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and the name of each variable, parameter and attribute where it gets its value."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield node.lineno, name
            case (
                ast.alias(asname=str(name))
                | ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.MatchMapping(rest=str(name))
            ):
                yield node.lineno, name


@pytest.mark.parametrize("module", MODULES)
def test_a_file_and_its_functions_can_be_read_at_a_sitting(module: str) -> None:
    text = MODULES[module].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert [(name, lines) for name, lines in bodies(ast.parse(text)) if lines > MAX_BODY] == []


def test_a_folder_has_few_modules() -> None:
    folders = [path.parent for module, path in MODULES.items() if path.name != "__init__.py"]
    assert {str(folder) for folder in folders if folders.count(folder) > MAX_MODULES} == set()


def test_library_and_command_line_stay_small() -> None:
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES.values()) <= MAX_LINES_OF_ALL


def test_every_room_is_under_contract() -> None:
    """The contracts name rooms; a new one is to be named there, too."""
    rooms = {".".join(module.split(".")[:2]) for module in MODULES} - {"h36m_amass", "h36m_amass.__main__"}
    rooms = rooms - {"h36m_amass.cli"} | {"cli"}
    layers, torch, _ = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {room for line in layers["layers"] for room in line.split(" | ")} == rooms
    assert set(torch["source_modules"]) == rooms - set(IMPORT_TORCH)


@pytest.mark.parametrize("folder", ["h36m_amass", "cli", "tests", "benchmarks", "docs"])
def test_a_value_is_named_by_what_it_is(folder: str) -> None:
    vague = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, name in value_names(ast.parse(path.read_text(encoding="utf-8")))
        if name.strip("_") in VAGUE_NAMES
    ]
    assert vague == []


@pytest.mark.parametrize(
    "code",
    [
        "found = 1",
        "found: int",
        "_, (*found, _) = pair",
        "print(found := 1)",
        "for found in range(3): pass",
        "[1 for found in range(3)]",
        "self.found = 1",
        "def f(found): pass",
        "def f(*found): pass",
        "lambda *, found: 1",
        "with open(path) as found: pass",
        "try: pass\nexcept OSError as found: pass",
        "import numpy as found",
        "match pair:\n    case [1, found]: pass",
        "match pair:\n    case [1, *found]: pass",
        "match pair:\n    case {1: 2, **found}: pass",
    ],
)
def test_names_are_read_wherever_a_value_gets_one(code: str) -> None:
    assert "found" in [name for _, name in value_names(ast.parse(code))]


def test_a_name_that_is_only_read_is_not_checked() -> None:
    """It may be that of another package."""
    code = "from hypothesis import given\ngiven(given=report.given)"
    assert list(value_names(ast.parse(code))) == []


@pytest.mark.slow
def test_nothing_but_engine_and_training_brings_torch_when_it_is_imported() -> None:
    """So that ``--help``, a shell's Tab and the parent of a build do not wait for it."""
    names = [name for name in MODULES if not name.startswith(IMPORT_TORCH) and name != "h36m_amass.__main__"]
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    if 'torch' in sys.modules: sys.exit(f'{name} imports torch')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
