"""What mkdocs does besides: pages from outside of ``docs/``, links that hold on GitHub and here, formulas as MathML.

Pages link to each other by their places in the repository, and some of them lie elsewhere in the site.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = ("support_data/README.md", "benchmarks/RESULTS.md", "benchmarks/results/*.png")

_LINK = re.compile(r"\]\((?P<path>[^)\s#:]*)(?P<anchor>#[^)\s]*)?\)")
_FENCE = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links between places in the repository become links between places in the site."""
    source = page.file.src_uri
    folder = posixpath.dirname(source if is_outside(source) else f"docs/{source}")

    def relinked(match: re.Match[str]) -> str:
        if not match["path"]:
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, match["path"]))
        target = path if is_outside(path) else path.removeprefix("docs/")
        return f"]({posixpath.relpath(target, posixpath.dirname(source) or '.')}{match['anchor'] or ''})"

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
