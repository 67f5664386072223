"""``h36m-amass demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .failures import reported


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to work in.", metavar="DIR")] = Path("h36m-amass-demo"),
) -> None:
    """Make up body models and motions, build a store, export it and draw it: no downloads needed."""
    with reported():
        from h36m_amass.demo import run_demo

        from .console import print_report, progress_bar

        with progress_bar() as progress:
            result = run_demo(folder, progress)
        print_report(result.report)
        typer.echo(f"support data  {result.support_dir}")
        typer.echo(f"recordings    {result.amass_dir}")
        typer.echo(f"store         {result.store}")
        for path in result.npz:
            typer.echo(f"npz           {path}")
        typer.echo(f"picture       {result.picture}")
