"""Find phrases with a German word order in the documents, docstrings, comments and messages, and say what to write.

Run as ``python tests/house/words.py``. Text in double quotes in a Markdown file is a quotation and is not checked.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "support_data/README.md", "tests/README.md")
FOLDERS_OF_CODE = ("h36m_amass", "cli", "tests", "benchmarks", "docs")
NOT_CHECKED = ("tests/house/words.py", "tests/house/test_words.py")  # they quote the phrases

CODE = "\x00"  # stands for what is not prose, so that no phrase reaches across it
START = "\x01"  # stands for the opening quotes of a string
_UNITS = (
    "frame|row|clip|sequence|recording|dataset|file|second|minute|hour|core|process|worker|window|joint|vertex|bone|"
    "archive|batch|line|chunk|page|model|family|point|epoch|subject|member|task|thread|call|GPU|command|column|round"
)
_COUNTED = (
    "one|two|three|four|eight|[0-9][0-9,.]*|frames?|rows?|files?|lines?|numbers?|windows?|poses?|metres?|radians|bytes|"
    "GB|MB|GiB|MiB|KiB|requests?|recordings?|pickles?|clips?|items?|samples?|pages?|processes|times|once|twice|"
    "operations?|chunks?|system|dictionary|dictionaries|weights?|zero|dataset"
)


class Rule(NamedTuple):
    """What not to write, what to write instead, and sentences with the phrase, which the tests try."""

    phrase: str  # regular expression; one space stands for any white space
    instead: str
    examples: tuple[str, ...]


class Finding(NamedTuple):
    """A phrase in a text, at a line from 1 on."""

    line: int
    phrase: str
    instead: str


RULES = (
    Rule(
        r"(?<!\b[Tt]here )\b(?:is|are|was|were) no (?!(?:longer|more|less|fewer|better|worse|faster|slower)\b)",
        '"is not a", "are not"',
        ("It is no file.", "betas are no numbers below 1e6", "This was no failure."),
    ),
    Rule(
        r"(?<!\b[Tt]here )\b(?:is|are|was|were) none\b",
        '"is not", "there is none", or the value that is allowed',
        ("Axis 3 is none.", "These are none."),
    ),
    Rule(
        r"\b[Oo]f which\b",
        '"whose", "of these", or a sentence of its own',
        ("sequences, the longest of which has 530", "Files of which nothing is read."),
    ),
    Rule(r"\bsuch that (?:is|are)\b", '"such as", or "those that are"', ("It takes such that is whole.",)),
    Rule(
        r"\b(?:whoever|Whoever)\b",
        '"anyone who", or the name of the process',
        ("Whoever reads it needs none.", "a lock that whoever held it removes"),
    ),
    Rule(r"\bwhat (?:is|was) told\b", "the noun: its message, its metadata", ("Print what is told of it.",)),
    Rule(
        r"\b(?:left|leave|leaves|leaving) out\b|\b(?:leave|leaves|leaving) [^ ]+ out\b",
        '"skipped", "omit", "without"',
        ("Recordings that are left out.", "leave it out", "leave --workers out", "It leaves out walls."),
    ),
    Rule(START + r"Of ", "what the number or value is", ('"""Of a file\'s arrays in float64."""',)),
    Rule(
        r"\bnone of [A-Z]\w+'s",
        '"not one of AMASS\'s"',
        ("A folder that is called none of AMASS's names.",),
    ),
    Rule(r"\bbut for\b", '"except", or "apart from"', ("All but for the last one.",)),
    Rule(
        rf"\b(?:{_COUNTED}) an? (?:{_UNITS})\b(?! at a time)",
        '"per"',
        ("One row a sequence.", "100 frames a second", "eight numbers a frame in the recordings"),
    ),
    Rule(
        r"(?<!\b[Nn]etwork )(?<!\b[Mm]achine )\b(?:address|Address)(?:es)?\b(?! of (?:this|the|a) machine)",
        '"URL"; of a machine: "address of this machine", "network address"',
        ("Passwords in addresses are removed.", "the address of an archive"),
    ),
)


def prose_of_python(source: str) -> str:
    """Comments and contents of strings where they stand; `CODE` for all else that is not white space."""
    lines = source.splitlines(keepends=True)
    text = [[c if c.isspace() else CODE for c in line] for line in lines]

    def keep(token: tokenize.TokenInfo, first: int, last: int) -> None:
        (top, left), (bottom, right) = token.start, token.end
        for row in range(top - 1, bottom):
            begin = left if row == top - 1 else 0
            end = right if row == bottom - 1 else len(lines[row])
            text[row][begin:end] = lines[row][begin:end]
        for column in range(left, left + first):
            text[top - 1][column] = " "
        for column in range(right - last, right):
            text[bottom - 1][column] = " "

    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[token.type]
        if name == "COMMENT":
            keep(token, 1, 0)
        elif name in ("FSTRING_START", "FSTRING_END"):
            keep(token, len(token.string), 0)
        elif name == "FSTRING_MIDDLE":
            keep(token, 0, 0)
        elif name == "STRING":
            content = token.string.lstrip("rRbBuUfF")
            quotes = 3 if content[:3] in ('"""', "'''") else 1
            opening = len(token.string) - len(content) + quotes
            keep(token, opening, quotes)
            if quotes == 3:
                text[token.start[0] - 1][token.start[1] + opening - 1] = START
    return "".join("".join(line) for line in text)


def prose_of_markdown(source: str) -> str:
    """The text without quotations within a line."""
    return re.sub(r'"[^"\n]*"', lambda quotation: CODE * len(quotation[0]), source)


def findings(prose: str) -> Iterator[Finding]:
    """Phrases of the table in a text, in any of its line breaks."""
    prose = re.sub(f"{CODE}+", CODE, prose)  # which is most of a module
    words = list(re.finditer(r"\S+", prose))
    text, line_of_character, line, position = "", [], 1, 0
    for word in words:
        line += prose.count("\n", position, word.start())
        position = word.start()
        text += word[0] + " "
        line_of_character += [line] * (len(word[0]) + 1)
    for rule in RULES:
        for match in re.finditer(rule.phrase, text):
            yield Finding(line_of_character[match.start()], match[0].strip(" " + START), rule.instead)


def files() -> list[Path]:
    """The documents and the Python that are checked."""
    paths = [path for pattern in DOCUMENTS for path in ROOT.glob(pattern)]
    paths += [path for folder in FOLDERS_OF_CODE for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in paths if path.relative_to(ROOT).as_posix() not in NOT_CHECKED)


def problems() -> list[str]:
    """One line per phrase that is in the project."""
    lines = []
    for path in files():
        source = path.read_text(encoding="utf-8")
        prose = prose_of_python(source) if path.suffix == ".py" else prose_of_markdown(source)
        name = path.relative_to(ROOT).as_posix()
        lines += [f"{name}:{line}: {phrase}; write {instead}" for line, phrase, instead in sorted(findings(prose))]
    return lines


def main() -> int:
    """Print what was found; 1 if that is anything."""
    lines = problems()
    print(*lines, sep="\n", end="\n" if lines else "")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
