"""What mkdocs does besides: pages from outside of ``docs/``, links that hold on GitHub and here, formulas as MathML.

Pages link to each other by their places in the repository. Some of them lie elsewhere in the site, and the README is
not in it but for its commands: a link to another of its sections leads to where that section sends its reader.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = "commands.md"
OUTSIDE = ("support_data/README.md", "benchmarks/RESULTS.md", "benchmarks/results/*.png")

_SECTION = re.compile(r"^##+ (?P<title>.+)\n(?P<text>(?:(?!^##).*\n?)*)", re.MULTILINE)
_LINK = re.compile(r"\]\((?P<path>[^)\s#:]*)(?P<anchor>#[^)\s]*)?\)")
_INTO_MANUAL = re.compile(r"\]\((?P<path>docs/[\w-]+\.md)(?P<anchor>#[^)\s]*)?\)")
_FENCE = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = readme.split("\n## Commands\n")[1].split("\n## ")[0]
    files.append(File.generated(config, COMMANDS, content=f"# Commands\n{commands}"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links between places in the repository become links between places in the site."""
    source = page.file.src_uri
    folder = "" if source == COMMANDS else posixpath.dirname(source if is_outside(source) else f"docs/{source}")

    def relinked(match: re.Match[str]) -> str:
        path, anchor = match["path"], match["anchor"] or ""
        if path:
            path = posixpath.normpath(posixpath.join(folder, path))
        elif source == COMMANDS:
            path = "README.md"
        else:
            return match[0]
        if path == "README.md":
            path, anchor = readme_target(anchor, source)
        target = path if is_outside(path) or path == COMMANDS else path.removeprefix("docs/")
        return f"]({posixpath.relpath(target, posixpath.dirname(source) or '.')}{anchor})"

    pieces = _FENCE.split(markdown)
    return "".join(piece if index % 2 else _LINK.sub(relinked, piece) for index, piece in enumerate(pieces))


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas become MathML, which browsers draw by themselves."""

    def drawn(match: re.Match[str]) -> str:
        return str(convert(html.unescape(match[3]).strip(), display="block" if match[2] == "[" else "inline"))

    return _FORMULA.sub(drawn, content)


def is_outside(path: str) -> bool:
    """Whether a page or picture of the site lies outside of ``docs/`` in the repository."""
    return (ROOT / path).exists() and any(Path(path).match(pattern) for pattern in OUTSIDE)


def readme_target(anchor: str, source: str) -> tuple[str, str]:
    """Where in the site a reader finds what a section of the README is about: path and anchor."""
    if anchor == "#commands":
        return COMMANDS, ""
    if not anchor:
        return "docs/index.md", ""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for section in _SECTION.finditer(readme):
        led = _INTO_MANUAL.search(section["text"])
        if led and anchor == "#" + re.sub(r"[^\w\- ]", "", section["title"].lower()).replace(" ", "-"):
            return led["path"], led["anchor"] or ""
    raise PluginError(f"{source}: README.md{anchor} is not in the manual; let that section of it link to a page here")
