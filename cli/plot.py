"""``h36m-amass plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .completion import complete_joint_set, complete_key
from .failures import printable, reported


def plot(
    store: Annotated[Path, typer.Argument(help="Store to read.", metavar="STORE")],
    key: Annotated[
        str | None,
        typer.Argument(
            help="DATASET/SUBJECT/SEQUENCE; with --contact-sheet DATASET or DATASET/SUBJECT, or nothing for all.",
            metavar="KEY",
            autocompletion=complete_key,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="File to write: .png, .pdf or .svg for poses along time, .gif or .mp4 for an animation.",
            show_default="KEY.png, with - for slashes",
            metavar="FILE",
        ),
    ] = None,
    contact_sheet: Annotated[
        bool, typer.Option("--contact-sheet", help="Draw one pose of each sequence at KEY, 48 a page.")
    ] = False,
    poses: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=50,
            help="How many poses of a sequence to draw side by side.",
            show_default="7",
            metavar="NUMBER",
        ),
    ] = None,
    start: Annotated[
        float | None,
        typer.Option(
            min=0, help="Begin so many seconds after the sequence's start.", show_default="0", metavar="SECONDS"
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, help="Draw no more than so many seconds.", show_default="all", metavar="SECONDS"),
    ] = None,
    joint_set: Annotated[
        str | None,
        typer.Option(
            help="Joint set of the store to draw.",
            show_default="its first",
            metavar="NAME",
            autocompletion=complete_joint_set,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it is there.")] = False,
) -> None:
    """Draw a sequence, as a picture of its poses or as an animation, or one pose of each of many sequences."""
    if contact_sheet and (poses, start, seconds) != (None, None, None):
        raise typer.BadParameter("--poses, --start and --seconds are of one sequence, not of a --contact-sheet")
    if key is None and not contact_sheet:
        raise typer.BadParameter("name a sequence by its KEY, or give --contact-sheet")
    with reported():
        from h36m_amass.drawing import draw

        from .console import progress_bar

        with progress_bar() as progress:
            made = draw(
                store,
                key,
                out,
                contact_sheet=contact_sheet,
                num_poses=poses,
                start=start or 0.0,
                seconds=seconds,
                joint_set=joint_set,
                overwrite=overwrite,
                progress=lambda done, total: progress("cells" if contact_sheet else "draw", done, total),
            )
        for path in made:
            typer.echo(printable(str(path)))
