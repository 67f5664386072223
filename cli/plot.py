"""``h36m-amass plot``."""

from pathlib import Path

import typer

from .completion import complete_key
from .failures import printable
from .options import Camera, JointSet, StoreToRead, human36m_camera


def plot(
    store: StoreToRead,
    key: str | None = typer.Argument(
        None,
        help="DATASET/SUBJECT/SEQUENCE; with --contact-sheet DATASET or DATASET/SUBJECT, or nothing for all.",
        metavar="KEY",
        autocompletion=complete_key,
    ),
    out: Path | None = typer.Option(
        None,
        "-o",
        "--out",
        help="File to write: .png, .pdf or .svg for poses along time, .gif or .mp4 for an animation.",
        show_default="KEY.png, with - for slashes",
        metavar="FILE",
    ),
    contact_sheet: bool = typer.Option(
        False, "--contact-sheet", help="Draw one pose of each sequence at KEY, 48 per page."
    ),
    poses: int | None = typer.Option(
        None, help="Number of poses to draw side by side, 1 to 50.", show_default="7", metavar="NUMBER"
    ),
    start: float = typer.Option(0.0, help="Begin this many seconds after the sequence's start.", metavar="SECONDS"),
    seconds: float | None = typer.Option(
        None, help="Draw at most this many seconds.", show_default="all", metavar="SECONDS"
    ),
    joint_set: JointSet = None,
    camera: Camera = None,
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace FILE if it exists."),
) -> None:
    """Draw a sequence, as a picture of its poses or as an animation, or one pose of each of many sequences."""
    from h36m_amass.plot.drawing import draw
    from h36m_amass.store.store import Store

    from .console import progress_bar

    with progress_bar() as progress, Store(store, joint_set) as opened:
        paths = draw(
            opened,
            key,
            out,
            contact_sheet=contact_sheet,
            num_poses=poses,
            start=start,
            seconds=seconds,
            camera=None if camera is None else human36m_camera(camera),
            overwrite=overwrite,
            progress=lambda done, total: progress("cells" if contact_sheet else "draw", done, total),
        )
    for path in paths:
        typer.echo(printable(str(path)))
