"""The documentation: its examples run, its links lead somewhere, its commands exist, its table of imports holds."""

from __future__ import annotations

import ast
import io
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import typer

from h36m_amass import cli
from h36m_amass.cli.application import common_options
from h36m_amass.demo import Demo
from tests.test_help import stated_default

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "support_data" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

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


@pytest.mark.parametrize("page", [p for p in PAGES if any(b[0] == "python" for b in blocks(p))], ids=page_id)
def test_examples_run_and_print_what_they_say(
    page: Path, demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of a page run in order, in one namespace, beside a demo; a text block after one is its output."""
    (tmp_path / "demo").symlink_to(demo.store.parent, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
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


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """Where each command line of a page stands, and its arguments."""
    return [
        (f"{page_id(page)}:{line + offset}", shlex.split(text.removeprefix("$ "))[1:])
        for language, code, line in blocks(page)
        if language in ("bash", "console")
        for offset, text in enumerate(code.splitlines())
        if text.removeprefix("$ ").startswith("h36m-amass ")
    ]


@pytest.mark.parametrize(
    "arguments", [pytest.param(args, id=where) for page in PAGES for where, args in commands(page)]
)
def test_commands_and_their_options_exist(arguments: list[str]) -> None:
    """Parsing a command line, short of running it, raises nothing."""
    group: Any = typer.main.get_command(cli.app)
    name, *rest = arguments
    assert name in group.commands
    group.commands[name].make_context(name, rest)


def command_sections() -> tuple[str, dict[str, str]]:
    """The README's section on commands: what is before the first command, and what is said of each."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = readme[readme.index("\n## Commands\n") : readme.index("\n## Coming from")]
    found = re.findall(r"^\*\*`h36m-amass (\S+?)[ `].*?$(.*?)(?=^\*\*`|\Z)", listed, re.MULTILINE | re.DOTALL)
    return listed[: listed.index("\n**`")], dict(found)


def table_rows(section: str) -> dict[tuple[str, ...], list[str]]:
    """Cells of the rows that begin with options, by the options."""
    rows = [re.split(r"\s*(?<!\\)\|\s*", line.strip("| ")) for line in section.splitlines() if line.startswith("| `-")]
    return {tuple(re.findall(r"`(-.*?)`", row[0])): row[1:] for row in rows}


def test_readme_lists_every_option_of_every_command() -> None:
    before, sections = command_sections()
    group: Any = typer.main.get_command(cli.app)
    common = {name for option in common_options() for name in option.opts}
    assert {name for names in table_rows(before) for name in names} == common | {"-h", "--help"}
    assert sections.keys() == group.commands.keys()
    for name, command in group.commands.items():
        listed = {option for options in table_rows(sections[name]) for option in options}
        assert listed == options_of(command) - common, name


def options_of(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("-")}


def test_readme_and_help_say_the_same_defaults() -> None:
    """The second column is what ``--help`` says, and empty for flags."""
    sections = command_sections()[1]
    group: Any = typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        said = {option: stated_default(parameter) for parameter in command.params for option in parameter.opts}
        for options, (default, *_) in table_rows(sections[name]).items():
            for option in options:
                assert default.replace("`", "") == said[option], f"{name} {option}"


def test_modules_import_only_from_above_in_the_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    order = re.findall(r"^\| `(\w+)(?:\.py|/)` \|", page, re.MULTILINE)
    package = ROOT / "h36m_amass"
    modules = {path.stem for path in package.glob("*.py")} | {"synthetic"}
    assert sorted(order) == sorted(modules - {"__init__"})
    for rank, module in enumerate(order):
        files = (package / module).glob("*.py") if module == "synthetic" else [package / f"{module}.py"]
        imported = set().union(*(imports(path) for path in files)) - {module}
        assert imported <= set(order[:rank]), f"{module} imports {sorted(imported - set(order[:rank]))}"


def imports(path: Path) -> set[str]:
    """Modules of the library that a file imports from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "h36m_amass":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("h36m_amass."):
            found.add(str(node.module).split(".")[1])
    return found


@pytest.mark.parametrize("module", ["h36m_amass", "h36m_amass.cli"])
def test_importing_it_does_not_import_torch(module: str) -> None:
    program = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
