"""Progress and tables: rich on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from h36m_amass.wording import counted, first_names

from .failures import printable
from .verbosity import verbosity

if TYPE_CHECKING:
    from h36m_amass.conversion.check import Check, CheckedDataset
    from h36m_amass.conversion.report import BuildReport, RecordingWarning
    from h36m_amass.recordings.tree import Skipped
    from h36m_amass.system.progress import Progress

SECONDS_BETWEEN_LINES = 10.0
SHOWN_FILES = 3
"""Skipped files that are named per reason; the report has all."""
NO_DATASET = "(no dataset)"  # of files beside the datasets' folders
_STAGES = {
    "bodies": ("loading", "body models"),
    "headers": ("reading headers of", "recordings"),
    "archives": ("looking into", "archives"),
    "convert": ("converting", "MB"),
    "import": ("importing", "frames"),
    "export": ("exporting", "frames"),
    "clips": ("writing", "clips"),
    "draw": ("drawing", "frames"),
    "cells": ("drawing one pose each of", "sequences"),
    "checksum": ("comparing checksums of", "MB"),
    "verify": ("reading", "frames"),
    "compare": ("computing through the full mesh", "sequences"),
}
"""The activity and the unit of each stage of a job."""


def console(stderr: bool = False) -> Console:
    """A console that wraps nothing where the output is not a terminal, so that lines can be searched."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=10_000, soft_wrap=True)


@contextmanager
def progress_bar() -> "Iterator[Progress]":
    """A callback for `h36m_amass.build`, shown as a bar with rate and time left, or as lines now and then."""
    screen = console(stderr=True)
    if verbosity().quiet:
        from h36m_amass.system.progress import nothing

        yield nothing
    elif not screen.is_terminal:
        yield _Lines()
    else:
        from rich import progress
        from rich.table import Column

        class Rate(progress.ProgressColumn):
            def render(self, task: progress.Task) -> Text:
                return Text(f"{task.speed or 0:,.0f} {task.fields['unit']}/s")

        *columns, time_left = progress.Progress.get_default_columns()
        name_column = Column(no_wrap=True, overflow="ellipsis")
        last_read = progress.TextColumn("{task.fields[name]}", markup=False, table_column=name_column)
        with progress.Progress(*columns, Rate(), time_left, last_read, console=screen) as bar:
            tasks: dict[str, progress.TaskID] = {}

            def show(stage: str, done: int, total: int, name: str = "", /) -> None:
                words, unit = _STAGES[stage]
                if not total:
                    return
                if stage not in tasks:
                    tasks[stage] = bar.add_task(words, total=total, unit=unit, name="")
                bar.update(tasks[stage], completed=done, total=total, name=printable(name))

            yield show


@contextmanager
def names_read() -> Iterator[Callable[[str], None]]:
    """A callback for names of files as they are read: the current one, on a terminal."""
    screen = console(stderr=True)
    if screen.is_terminal and not verbosity().quiet:
        with screen.status("") as status:
            yield lambda name: status.update(Text(f"reading {printable(name)}"))
    else:
        yield lambda name: None


class _Lines:
    """One line when a stage begins, then one every few seconds."""

    def __init__(self) -> None:
        self._stage = ""
        self._began = self._last = 0.0

    def __call__(self, stage: str, done: int, total: int, name: str = "", /) -> None:
        now, (words, unit) = time.monotonic(), _STAGES[stage]
        if not total:
            return
        if stage != self._stage:
            self._stage, self._began, self._last = stage, now, now
            sys.stderr.write(f"{words} {counted(total, unit)}\n")
        elif now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            rate = done / (now - self._began)
            left = f", {(total - done) / rate:,.0f} s left" if rate else ""
            at = f", at {printable(name)}" if name else ""
            sys.stderr.write(f"{words} {done:,} of {total:,} {unit}, {rate:,.0f} {unit}/s{left}{at}\n")


def _counted_files(files: "Sequence[Skipped]") -> str:
    return counted(len(files), "recordings" if all(file.path.endswith(".npz") for file in files) else "files")


def _say(line: str, stderr: bool = False) -> None:
    """A line that a terminal may wrap, and nobody else, so that names can be copied."""
    typer.echo(printable(line), err=stderr)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str | int]], amounts: bool = False) -> None:
    """A table whose first column is a name; columns of numbers stand on the right, and with `amounts` all others."""
    table, rows = Table(box=None, pad_edge=False), list(rows)
    for column, name in enumerate(columns):
        numbers = all(isinstance(row[column], int) for row in rows) or (amounts and column > 0)
        table.add_column(name, justify="right" if numbers else "left", no_wrap=column == 0)
    for row in rows:
        table.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else printable(cell)) for cell in row))
    console().print(table)


def print_checked(datasets: "Iterable[CheckedDataset]") -> None:
    """Print one row per dataset that `h36m_amass.conversion.check` has read."""
    counts = "dataset", "recordings", "frames", "hours"
    columns = *counts, "frame rates", "model kinds", "genders", "without dmpls", "skipped", "problems"
    rows: list[Sequence[str | int]] = []
    for row in datasets:
        name = f"{row.dataset} (first recording)" if row.archive else row.dataset or NO_DATASET
        rates, models, genders = (f"{float(rate):g}" for rate in row.frame_rates), row.models, row.genders
        words = [", ".join(texts) for texts in (rates, models, genders)]
        numbers = row.without_dmpls, row.skipped, row.problems
        rows.append((name, row.recordings, row.frames, f"{row.hours:.2f}", *words, *numbers))
    print_table(columns, rows)


def print_report(report: "BuildReport") -> None:
    """The closing table of a build, what was skipped, and what an update has changed."""
    names = "dataset", "subjects", "sequences", "source_frames", "frames", "without_dmpls", "skipped"
    columns = [name.replace("_", " ") for name in names]
    rows = [[getattr(row, name) for name in names] for row in report.datasets]
    print_table(columns, [[row[0] or NO_DATASET, *row[1:]] for row in rows])
    print_skipped(report.skipped, {})
    print_warnings(report.warning_groups())
    for line in _remarks(report):
        _say(line)
    if report.skipped:
        were = "was" if len(report.skipped) == 1 else "were"
        _say(f"warning: {_counted_files(report.skipped)} {were} skipped, see above for the reasons", stderr=True)


def print_skipped(skipped: "Iterable[Skipped]", not_selected: Mapping[str, int]) -> None:
    """Print skipped recordings, one line per reason, and the number that are not selected."""
    from h36m_amass.conversion.report import grouped

    for reason, files in grouped((file.reason, file) for file in skipped):
        shown = first_names((file.path for file in files), SHOWN_FILES)
        one = len(files) == 1
        line = f"{shown}: {reason}" if one else f"{_counted_files(files)}, each: {reason}: {shown}"
        _say(f"skipped: {line}", stderr=verbosity().quiet)
    if not_selected:
        _say(_not_selected(not_selected))


def _not_selected(counts: Mapping[str, int]) -> str:
    from h36m_amass.recordings.subset import filters

    return f"not selected: {counted(sum(counts.values()), 'recordings')}, {filters(counts)}"


def print_warnings(groups: "Iterable[tuple[str, Sequence[RecordingWarning]]]") -> None:
    """Print warnings about recordings, one line per message, and about folders and archives, one line each."""
    for message, warnings in groups:
        paths = [warning.path for warning in warnings]
        if all("/" not in path for path in paths):  # folders and archives
            for path in paths:
                _say(f"warning: {path}: {message}", stderr=True)
            continue
        shown = first_names(paths, SHOWN_FILES)
        _say(f"warning: {counted(len(paths), 'recordings')}: {message}: {shown}", stderr=True)


def unused(report: "BuildReport | Check") -> Iterator[str]:
    """What was asked for and applies to nothing."""
    if report.unused_rates:
        number, first = len(report.unused_rates), report.unused_rates[0]
        yield f"rules of --frame-rates that fit no recording: {number:,}, the first is {first}"
    if report.unused_excludes:
        yield f"patterns of --exclude that match no recording: {', '.join(report.unused_excludes)}"


def _remarks(report: "BuildReport") -> Iterator[str]:
    """The other lines of the report; the last ones say what the store contains now."""
    if report.not_selected:
        yield _not_selected(report.not_selected)
    if not report.use_dmpls:
        yield "converted without soft tissue, as asked"
    if report.without_dmpls:
        number, first = len(report.without_dmpls), report.without_dmpls[0]
        yield f"without soft tissue, because the recording has no dmpls: {number:,}, the first is {first}"
    if report.corrected_rates:
        yield f"frame rates corrected, as asked: {report.corrected_rates:,}"
    yield from unused(report)
    if report.reused:
        yield f"converted by an interrupted build: {report.reused:,} sequences"
    if report.ignored:
        yield "not recordings: " + ", ".join(f"{number} {kind}" for kind, number in report.ignored.items())
    if report.synthetic:
        yield "SYNTHETIC: made-up input went into this store; it is not data to train on"
    frames = f"{report.store}: {report.frames:,} frames from {report.source_frames:,} in {report.seconds:.1f} s"
    changes = report.changes
    if changes is None:
        yield f"{frames} ({report.source_frames / report.seconds:,.0f} source frames/s) on {report.device}"
    else:
        yield f"{frames} on {report.device}"
        gone = "removed" if changes.pruned else "no longer in AMASS_DIR but kept; --prune removes them"
        yield (
            f"updated: {changes.added:,} added, {changes.changed:,} changed, {changes.kept:,} kept, {changes.gone:,} "
            f"gone{f' ({gone})' if changes.gone else ''}"
        )
