"""``h36m-amass demo``."""

from dataclasses import replace
from pathlib import Path

import typer


def demo(folder: Path = typer.Argument(Path("h36m-amass-demo"), help="Folder to work in.", metavar="DIR")) -> None:
    """Make up body models and motions, build a store, export it and draw it: no downloads needed."""
    from h36m_amass.demo import run_demo

    from .console import print_report, progress_bar

    with progress_bar() as progress:
        result = run_demo(folder, progress)
    print_report(replace(result.report, warnings=()))  # its datasets are known to be made up
    lines = [("support data", result.support_dir), ("recordings", result.amass_dir), ("store", result.store)]
    for word, path in (*lines, *(("npz", path) for path in result.npz), ("picture", result.picture)):
        typer.echo(f"{word:13} {path}")
