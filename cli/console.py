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
    from h36m_amass.system.progress import Progress
    from h36m_amass.conversion.report import BuildReport

SECONDS_BETWEEN_LINES = 10.0
_WORDS = {
    "archives": "looking through archives of",
    "plan": "reading headers",
    "bodies": "loading",
    "reuse": "checking what is converted already:",
    "convert": "converting",
    "assemble": "finishing the store of",
    "upload": "copying the store to its address:",
    "export": "exporting",
    "clips": "writing",
    "draw": "drawing",
    "cells": "drawing one pose each of",
    "seal": "comparing with its seal",
    "verify": "reading",
    "compare": "computing through the full mesh",
}
_UNITS = {
    "archives": "MB",
    "plan": "recordings",
    "compare": "sequences",
    "clips": "clips",
    "cells": "sequences",
    "seal": "MB",
    "upload": "MB",
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
    """The closing table of a build, and what was left out."""
    out = console()
    columns = ("dataset", "subjects", "sequences", "source frames", "frames", "without dmpls", "left out")
    print_table(
        columns,
        [
            (row.dataset, row.subjects, row.sequences, row.source_frames, row.frames, row.without_dmpls, row.left_out)
            for row in report.datasets
        ],
    )
    reasons = console(stderr=verbosity().quiet)
    for left in report.left_out:
        reasons.print(Text(printable(f"left out: {left.path}: {left.reason}")))
    if report.not_selected:
        from h36m_amass.recordings.subset import told

        number = sum(report.not_selected.values())
        recordings = "recording" if number == 1 else "recordings"
        out.print(Text(f"not selected: {number:,} {recordings}, {told(report.not_selected)}"))
    if not report.use_dmpls:
        out.print(Text("soft tissue was left out of all recordings, as asked"))
    if report.without_dmpls:
        out.print(
            Text(
                f"without soft tissue, because the recording has no dmpls: {len(report.without_dmpls)}, "
                f"the first is {printable(report.without_dmpls[0])}"
            )
        )
    if report.reused:
        out.print(Text(f"converted before, and taken over: {report.reused:,} sequences"))
    if report.ignored:
        out.print(Text("no recordings: " + ", ".join(f"{n} {kind}" for kind, n in report.ignored.items())))
    if report.synthetic:
        out.print(Text("SYNTHETIC: made-up input went into this store; it is not data to train on"))
    rate = report.source_frames / report.seconds
    what = report.store if report.shard is None else f"shard {report.shard} of {report.store}"
    out.print(
        Text(
            f"{what}: {report.frames:,} frames from {report.source_frames:,} "
            f"in {report.seconds:.1f} s ({rate:,.0f} source frames/s) on {report.device}"
        )
    )
    if report.shard is not None:
        out.print(Text(f"when all shards are done, the same command without --shard finishes {report.store}"))
    if report.left_out:
        number = len(report.left_out)
        were = "recording was" if number == 1 else "recordings were"
        console(stderr=True).print(Text(f"warning: {number:,} {were} left out, see above for the reasons"))
