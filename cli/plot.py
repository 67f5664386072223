"""``h36m-amass plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .completion import complete_key
from .failures import printable, reported
from .options import JointSet


def plot(
    store: Annotated[str, typer.Argument(help="Store to read.", metavar="STORE", path_type=str)],
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
            help="How many poses of a sequence to draw side by side, 1 to 50.",
            show_default="7",
            metavar="NUMBER",
        ),
    ] = None,
    start: Annotated[
        float, typer.Option(help="Begin so many seconds after the sequence's start.", metavar="SECONDS")
    ] = 0.0,
    seconds: Annotated[
        float | None,
        typer.Option(help="Draw no more than so many seconds.", show_default="all", metavar="SECONDS"),
    ] = None,
    joint_set: JointSet = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it is there.")] = False,
) -> None:
    """Draw a sequence, as a picture of its poses or as an animation, or one pose of each of many sequences."""
    with reported():
        from h36m_amass.plot.drawing import draw

        from .console import progress_bar

        with progress_bar() as progress:
            paths = draw(
                store,
                key,
                out,
                contact_sheet=contact_sheet,
                num_poses=poses,
                start=start,
                seconds=seconds,
                joint_set=joint_set,
                overwrite=overwrite,
                progress=lambda done, total: progress("cells" if contact_sheet else "draw", done, total),
            )
        for path in paths:
            typer.echo(printable(str(path)))
