"""``h36m-amass export-motionbert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .failures import printable, reported
from .options import ExportedDatasets, JointSet


def export_motionbert(
    store: Annotated[str, typer.Argument(help="Store to read, built at 60 Hz.", metavar="STORE", path_type=str)],
    out_dir: Annotated[Path, typer.Argument(help="Folder to write train/00000000.pkl ... to.", metavar="OUT_DIR")],
    dataset: ExportedDatasets = None,
    joint_set: JointSet = None,
    clip_length: Annotated[int, typer.Option(min=1, help="Frames of a clip.", metavar="FRAMES")] = 243,
    stride: Annotated[
        int, typer.Option(min=1, help="Frames from the start of one clip to the next.", metavar="FRAMES")
    ] = 81,
    frame_rate: Annotated[
        float, typer.Option(help="Rate in hertz that the store has to be at; nothing is resampled.", metavar="HERTZ")
    ] = 60.0,
    stretch_short: Annotated[
        bool, typer.Option("--stretch-short", help="Stretch what is shorter than a clip to one, slower than it was.")
    ] = False,
) -> None:
    """Write the clips that MotionBERT's pretraining reads, one pickle a clip."""
    with reported():
        from h36m_amass.export.motionbert import export_motionbert as run

        from .console import progress_bar

        with progress_bar() as progress:
            result = run(
                store,
                out_dir,
                datasets=dataset or (),
                joint_set=joint_set,
                clip_length=clip_length,
                stride=stride,
                frame_rate=frame_rate,
                stretch_short=stretch_short,
                progress=lambda done, total: progress("clips", done, total),
            )
        short = f"; {result.too_short:,} shorter than a clip have none" if result.too_short else ""
        typer.echo(printable(f"{result.folder}: {result.clips:,} clips of {result.sequences:,} sequences{short}"))
