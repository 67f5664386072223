"""The page on reliability: every promise names its tests, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
TABLE = re.search(r"^\| fault \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
ROWS = [] if TABLE is None else [tuple(row.strip("| ").split(" | ")) for row in TABLE[1].splitlines()]


def test_there_is_a_table_of_promises() -> None:
    assert ROWS
    assert all(len(row) == 3 for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_promise_names_a_test(row: tuple[str, str, str]) -> None:
    assert re.search(r"`test_\w+`", row[2])


def test_every_test_that_is_named_exists() -> None:
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    tests = {name for source in sources for name in re.findall(r"^def (test_\w+)", source, re.MULTILINE)}
    assert set(re.findall(r"`(test_\w+)`", PAGE)) <= tests
