"""``h36m-amass export-npz`` and ``h36m-amass export-motionbert``."""

from enum import StrEnum
from pathlib import Path

import typer

from .failures import printable
from .options import ExportedDatasets, JointSet, StoreToRead

JointOrder = StrEnum("JointOrder", {"regressor": "regressor", "h36m": "h36m", "uplift_upsample": "uplift-upsample"})


def export_npz(
    store: StoreToRead,
    out_dir: Path = typer.Argument(..., help="Folder to write DATASET.npz files to.", metavar="OUT_DIR"),
    dataset: ExportedDatasets = None,
    joint_set: JointSet = None,
    joint_order: JointOrder = typer.Option(
        JointOrder.regressor, help="Order of the joints: as stored, right leg first, or that of uplift-upsample-3dhpe."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace existing files that differ."),
) -> None:
    """Write the npz dictionaries of the AMASS-to-3DHPE script, one file per dataset."""
    from h36m_amass.export.npz import export_npz as run

    from .console import progress_bar

    with progress_bar() as progress:
        paths = run(
            store,
            out_dir,
            datasets=dataset or (),
            joint_set=joint_set,
            joint_order=joint_order.value,
            overwrite=overwrite,
            progress=lambda done, total: progress("export", done, total),
        )
    for path in paths:
        typer.echo(printable(str(path)))


def export_motionbert(
    store: str = typer.Argument(..., help="Store to read, built at 60 Hz.", metavar="STORE", path_type=str),
    out_dir: Path = typer.Argument(..., help="Folder to write train/00000000.pkl ... to.", metavar="OUT_DIR"),
    dataset: ExportedDatasets = None,
    joint_set: JointSet = None,
    clip_length: int = typer.Option(243, min=1, help="Frames of a clip.", metavar="FRAMES"),
    stride: int = typer.Option(81, min=1, help="Frames from the start of one clip to the next.", metavar="FRAMES"),
    frame_rate: float = typer.Option(
        60.0, help="Frame rate that the store must have; nothing is resampled.", metavar="HERTZ"
    ),
    stretch_short: bool = typer.Option(
        False, "--stretch-short", help="Stretch sequences that are shorter than a clip to one clip; they become slower."
    ),
) -> None:
    """Write the clips that MotionBERT's pretraining reads, one pickle per clip."""
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
