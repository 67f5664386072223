"""Progress and tables: rich on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .failures import printable
from .verbosity import verbosity

if TYPE_CHECKING:
    from h36m_amass.conversion.check import CheckedDataset
    from h36m_amass.conversion.report import BuildReport
    from h36m_amass.system.progress import Progress

SECONDS_BETWEEN_LINES = 10.0
SHOWN_FILES = 3
"""Files that are named of those that were skipped for one reason; the report has all."""
_WORDS = {
    "bodies": "loading",
    "headers": "reading headers of",
    "archives": "reading archives of",
    "convert": "converting",
    "export": "exporting",
    "clips": "writing",
    "draw": "drawing",
    "cells": "drawing one pose each of",
    "checksum": "comparing with its checksum",
    "verify": "reading",
    "compare": "computing through the full mesh",
}
_UNITS = {
    "archives": "MB",
    "headers": "recordings",
    "convert": "MB",
    "compare": "sequences",
    "clips": "clips",
    "cells": "sequences",
    "checksum": "MB",
    "bodies": "body models",
}


def console(stderr: bool = False) -> Console:
    """A console that wraps nothing where the output is not a terminal, so that lines can be searched."""
    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal:
        made = Console(stderr=stderr, highlight=False, width=10_000, soft_wrap=True)
    return made


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A callback for `h36m_amass.build`, shown as a bar with frames/s and time left, or as lines now and then."""
    if verbosity().quiet:
        yield lambda stage, done, total: None
        return
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield _Lines()
        return
    from rich import progress

    class Rate(progress.ProgressColumn):
        """Frames a second."""

        def render(self, task: progress.Task) -> Text:
            return Text(f"{task.speed or 0:,.0f} {_UNITS.get(str(task.fields['stage']), 'frames')}/s")

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        Rate(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=screen) as bar:
        tasks: dict[str, progress.TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(_WORDS[stage], total=total, stage=stage)
            bar.update(tasks[stage], completed=done, total=total)

        yield show


class _Lines:
    """One line when a stage begins, then one every few seconds."""

    def __init__(self) -> None:
        self._stage = ""
        self._began = self._last = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now, unit = time.monotonic(), _UNITS.get(stage, "frames")
        if stage != self._stage:
            self._stage, self._began, self._last = stage, now, now
            sys.stderr.write(f"{_WORDS[stage]} {total:,} {unit}\n")
        elif now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            rate = done / (now - self._began)
            left = f", {(total - done) / rate:,.0f} s left" if rate else ""
            sys.stderr.write(f"{_WORDS[stage]} {done:,} of {total:,} {unit}, {rate:,.0f} {unit}/s{left}\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str | int]]) -> None:
    """A table whose first column is a name; columns of numbers stand on the right."""
    table, rows = Table(box=None, pad_edge=False), list(rows)
    for place, name in enumerate(columns):
        numbers = all(isinstance(row[place], int) for row in rows)
        table.add_column(name, justify="right" if numbers else "left", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else printable(cell)) for cell in row))
    console().print(table)


def print_checked(datasets: Iterable[CheckedDataset]) -> None:
    """A row for each dataset that `h36m_amass.conversion.check` has looked through."""
    columns = "dataset", "recordings", "hours", "frame rates", "model kinds", "genders", "without dmpls", "problems"
    print_table(
        columns,
        [
            (
                row.dataset,
                row.recordings,
                f"{row.hours:.2f}",
                ", ".join(f"{float(rate):g}" for rate in row.frame_rates),
                ", ".join(row.models),
                ", ".join(row.genders),
                row.without_dmpls,
                row.problems,
            )
            for row in datasets
        ],
    )


def print_report(report: BuildReport) -> None:
    """The closing table of a build, what was skipped, and what changed."""
    out = console()
    columns = ("dataset", "subjects", "sequences", "source frames", "frames", "without dmpls", "skipped")
    print_table(
        columns,
        [
            (row.dataset, row.subjects, row.sequences, row.source_frames, row.frames, row.without_dmpls, row.skipped)
            for row in report.datasets
        ],
    )
    reasons = console(stderr=verbosity().quiet)
    for line in _reasons(report):
        reasons.print(Text(printable(line)))
    for line in _remarks(report):
        out.print(Text(printable(line)))
    rate = report.source_frames / report.seconds
    out.print(
        Text(
            f"{report.store}: {report.frames:,} frames from {report.source_frames:,} "
            f"in {report.seconds:.1f} s ({rate:,.0f} source frames/s) on {report.device}"
        )
    )
    if report.skipped:
        were = "recording was" if len(report.skipped) == 1 else "recordings were"
        message = f"warning: {len(report.skipped):,} {were} skipped, see above for the reasons"
        console(stderr=True).print(Text(message))


def _reasons(report: BuildReport) -> Iterator[str]:
    """A line for each reason, with the files that were skipped for it, or the first of many."""
    for reason, files in report.reasons():
        if len(files) == 1:
            yield f"skipped: {files[0].path}: {reason}"
        else:
            shown = ", ".join(file.path for file in files[:SHOWN_FILES])
            more = f" and {len(files) - SHOWN_FILES:,} more" if len(files) > SHOWN_FILES else ""
            yield f"skipped: {len(files):,} recordings: {reason}: {shown}{more}"


def _remarks(report: BuildReport) -> Iterator[str]:
    """What else is worth a line."""
    if report.not_selected:
        from h36m_amass.recordings.subset import filters

        number = sum(report.not_selected.values())
        yield f"not selected: {number:,} {_recordings(number)}, {filters(report.not_selected)}"
    if not report.use_dmpls:
        yield "converted without soft tissue, as asked"
    if report.without_dmpls:
        number = len(report.without_dmpls)
        yield f"without soft tissue, because the recording has no dmpls: {number}, the first is {report.without_dmpls[0]}"
    if report.reused:
        yield f"converted by an interrupted build: {report.reused:,} sequences"
    if report.ignored:
        yield "not recordings: " + ", ".join(f"{number} {kind}" for kind, number in report.ignored.items())
    if report.changes is not None:
        changes = report.changes
        gone = "removed" if changes.pruned else "gone from the inputs, but kept (--prune removes them)"
        yield (
            f"updated: {changes.added:,} added, {changes.changed:,} changed, {changes.kept:,} kept, {changes.gone:,} {gone}"
        )
    if report.synthetic:
        yield "SYNTHETIC: made-up input went into this store; it is not data to train on"


def _recordings(number: int) -> str:
    return "recording" if number == 1 else "recordings"
