"""``h36m-amass info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .failures import printable, reported


def info(
    store: Annotated[Path, typer.Argument(help="Store to look into.", metavar="STORE")],
    key: Annotated[
        str | None,
        typer.Argument(help="DATASET, DATASET/SUBJECT or DATASET/SUBJECT/SEQUENCE.", metavar="[KEY]"),
    ] = None,
) -> None:
    """Show what is inside a store, or inside one of its datasets, subjects or sequences."""
    with reported():
        from h36m_amass.describe import describe
        from h36m_amass.store import Store

        with Store(store) as opened:
            for line in describe(opened, key):
                typer.echo(printable(line))
