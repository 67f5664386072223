"""Progress says what is read by name: lines now and then, and a bar on a terminal."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console
from rich.text import Text

from h36m_amass.cli import console
from h36m_amass.conversion.report import RecordingWarning
from h36m_amass.recordings.tree import Skipped


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal 200 columns wide."""
    written = io.StringIO()
    monkeypatch.setattr(console, "console", lambda stderr=False: Console(file=written, force_terminal=True, width=200))
    return written


def test_the_bar_names_what_was_read_last(screen: io.StringIO) -> None:
    with console.progress_bar() as progress:
        progress("convert", 0, 300)
        progress("convert", 120, 300, "CMU/75/75 [1]\x1b_poses.npz")
    last = Text.from_ansi(screen.getvalue()).plain.splitlines()[-1]
    assert "converting" in last
    assert "40%" in last
    assert "MB/s" in last
    assert "CMU/75/75 [1]\\x1b_poses.npz" in last


def test_lines_name_what_was_read_last(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter((0.0, 5.0, 10.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with console.progress_bar() as progress:
        progress("convert", 0, 300)
        progress("convert", 60, 300, "CMU/74/a.npz")
        progress("convert", 100, 300, "CMU/75/a.npz")
    begun, then = capsys.readouterr().err.splitlines()
    assert begun == "converting 300 MB"
    assert then == "converting 100 of 300 MB, 10 MB/s, 20 s left, at CMU/75/a.npz"


def test_a_stage_of_nothing_has_no_bar_and_no_line(screen: io.StringIO) -> None:
    with console.progress_bar() as progress:
        progress("headers", 0, 0)
        progress("archives", 0, 1)
    assert "reading headers" not in screen.getvalue()
    assert "looking into" in screen.getvalue()


def test_one_of_a_kind_is_singular(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress_bar() as progress:
        progress("headers", 0, 0)
        progress("archives", 0, 1)
    assert capsys.readouterr().err == "looking into 1 archive\n"


def test_no_name_is_wrapped_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = f"{'long name ' * 9}/s/a.npz"
    narrow = Console(file=io.StringIO(), force_terminal=True, width=40)
    monkeypatch.setattr(console, "console", lambda stderr=False: narrow)
    console.print_warnings([("message", [RecordingWarning("D", path, "message")])])
    console.print_skipped([Skipped("D", path, "reason")], {})
    printed = capsys.readouterr()
    assert printed.err == f"warning: 1 recording: message: {path}\n"
    assert printed.out == f"skipped: {path}: reason\n"


def test_archives_that_are_skipped_are_files(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_skipped([Skipped("D", name, "is empty") for name in ("D.tar", "E.tar")], {})
    assert capsys.readouterr().out == "skipped: 2 files, each: is empty: D.tar, E.tar\n"
