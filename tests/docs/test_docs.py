"""The documentation: its examples run, its links lead somewhere, its commands exist."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

import h36m_amass
from h36m_amass import cli
from h36m_amass.demo import Demo

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "tests" / "README.md",
    ROOT / "support_data" / "README.md",
    ROOT / "benchmarks" / "RESULTS.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
NOT_IN_MANUAL = {"README.md", "CONTRIBUTING.md", "SECURITY.md", "tests/README.md"}
MAX_README_LINES = 200
LARGEST_PICTURE = 250_000
"""Bytes of a figure in the manual."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """Language, code and first line of each fenced block."""
    text = page.read_text(encoding="utf-8")
    return [
        (match["language"], re.sub(f"^{match['indent']}", "", match["code"], flags=re.MULTILINE), line_of(text, match))
        for match in _FENCE.finditer(text)
    ]


def line_of(text: str, match: re.Match[str]) -> int:
    return text.count("\n", 0, match.start("code")) + 1


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread: several wait for each other at layers as small as the pages', when the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("page", [p for p in PAGES if any(b[0] == "python" for b in blocks(p))], ids=page_id)
def test_examples_run_and_print_what_they_say(
    page: Path, demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo").symlink_to(demo.store.parent, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    run_examples(page)


def test_pages_of_made_up_files_run_again(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "demo").symlink_to(demo.store.parent, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        run_examples(ROOT / "docs" / "human36m.md")


def run_examples(page: Path) -> None:
    """Run the blocks of a page in order, in one namespace, beside a demo; a text block after one is its output."""
    namespace: dict[str, Any] = {"__name__": "example"}
    printed: str | None = None
    for language, code, line in blocks(page):
        if language == "python":
            out = io.StringIO()
            # Blank lines in front make tracebacks name the page's own lines.
            compiled = compile("\n" * (line - 1) + code, str(page), "exec")
            with redirect_stdout(out):
                exec(compiled, namespace)
            printed = out.getvalue()
        elif language == "text" and printed:
            assert printed == code, f"{page_id(page)}:{line}"
            printed = None


@pytest.mark.parametrize("page", [p for p in PAGES if any(b[0] == "py" for b in blocks(p))], ids=page_id)
def test_python_that_is_not_run_calls_what_is_there(page: Path) -> None:
    for language, code, line in blocks(page):
        if language != "py":
            continue
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in h36m_amass.__all__:
                keywords = {str(keyword.arg): None for keyword in node.keywords}
                inspect.signature(getattr(h36m_amass, node.func.id)).bind(*node.args, **keywords)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("h36m_amass"):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), f"{page_id(page)}:{line}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_relative_links_resolve(page: Path) -> None:
    for target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page_id(page)} links to {target}"
        assert linked.is_relative_to(ROOT), f"{page_id(page)} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{page_id(page)} links to {target}"


def test_every_block_is_run_or_shown() -> None:
    """Python runs and console lines are looked up; text is what programs print or a tree of files, BibTeX is data.

    What needs a cluster is looked at as far as it goes: Python that is called py.
    """
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.count("```") == 2 * len(blocks(page)), f"{page_id(page)} has a block of no language"
        assert {language for language, _, _ in blocks(page)} <= {"python", "py", "console", "text", "bibtex"}, page_id(
            page
        )


def test_the_manual_lists_every_page_and_every_page_is_there() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    listed = re.findall(r"^ +- .*: (\S+\.md)$", navigation, re.MULTILINE)
    assert len(listed) == navigation.count(".md") == len(set(listed))
    assert set(listed) == {page_id(page).removeprefix("docs/") for page in PAGES if page_id(page) not in NOT_IN_MANUAL}


def test_every_figure_is_shown_and_small() -> None:
    shown = {
        (page.parent / target).resolve() for page in PAGES for target in _LINK.findall(page.read_text(encoding="utf-8"))
    }
    for figure in (ROOT / "docs" / "images").iterdir():
        assert figure in shown, f"no page shows {figure.name}"
        assert figure.stat().st_size < LARGEST_PICTURE, figure.name


@pytest.mark.parametrize("script", sorted((ROOT / "docs" / "figures").glob("*.py")), ids=page_id)
def test_what_draws_a_figure_can_be_imported(script: Path) -> None:
    """To run all takes a minute; this finds what they need and is not there any more."""
    assert callable(runpy.run_path(str(script), run_name="figure")["main"])


def test_make_figures_runs_every_script() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for script in (ROOT / "docs" / "figures").glob("*.py"):
        assert f"\t$(BIN)/python {page_id(script)}\n" in makefile, script.name


@pytest.mark.parametrize("name", ["executors", "remote_reading"])
def test_figures_of_scale_are_those_of_the_last_run(name: str) -> None:
    results = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    tables = [text for text in results["table"].split("\n\n") if not text.endswith(" source frames")]
    assert tables
    assert all(text in page for text in tables)


def test_the_reference_has_every_public_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    described = re.findall(r"^::: h36m_amass\.(\w+)$", page, re.MULTILINE)
    assert sorted(described) == sorted(set(h36m_amass.__all__) - {"__version__"})


def lines_of_consoles(page: Path) -> list[tuple[str, list[str]]]:
    """Where each line after a prompt stands, and its words."""
    return [
        (f"{page_id(page)}:{line + offset}", shlex.split(text.removeprefix("$ ")))
        for language, code, line in blocks(page)
        if language == "console"
        for offset, text in enumerate(code.splitlines())
        if text.startswith("$ ")
    ]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_console_lines_are_of_programs_that_are_there(page: Path) -> None:
    """The targets of ``make`` and the extras of ``pip install .`` exist; for ``h36m-amass`` see below."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for where, (program, *words) in lines_of_consoles(page):
        assert program in ("h36m-amass", "make", "pip", "dask", ".venv/bin/python"), where
        if program == "make":
            assert set(words) <= set(targets), where
        elif program == "pip":
            asked = [name for word in words for names in re.findall(r"\.\[(.*)\]", word) for name in names.split(",")]
            assert set(asked) <= extras.keys(), where


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """Where each command line of a page stands, and its arguments."""
    return [(where, words) for where, (program, *words) in lines_of_consoles(page) if program == "h36m-amass"]


@pytest.mark.parametrize(
    "arguments", [pytest.param(args, id=where) for page in PAGES for where, args in commands(page)]
)
def test_commands_and_their_options_exist(arguments: list[str]) -> None:
    """Parsing a command line, short of running it, raises nothing."""
    group: Any = typer.main.get_command(cli.app)
    name, *rest = arguments
    assert name in group.commands
    group.commands[name].make_context(name, rest)


def test_the_page_of_commands_is_what_the_command_line_says() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "commands.py"), run_name="commands")["page"]()
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == made, "run make commands"


def test_the_readme_is_short_and_its_figures_are_those_of_the_results() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_README_LINES
    table = text[text.index("\n## How fast") :].split("\n\n")[1]
    rows = [row.strip("| ").split(" | ")[-1] for row in table.splitlines()[2:]]
    assert len(rows) == 6
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    for row in rows:
        assert f"| {row.split()[0]} |" in results, row


@pytest.mark.parametrize("module", ["h36m_amass", "h36m_amass.cli"])
def test_importing_it_does_not_import_torch(module: str) -> None:
    program = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
