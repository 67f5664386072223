"""``h36m-amass export-npz``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .failures import printable, reported
from .options import ExportedDatasets, JointSet


class JointOrder(StrEnum):
    regressor = "regressor"
    h36m = "h36m"
    uplift_upsample = "uplift-upsample"


def export_npz(
    store: Annotated[str, typer.Argument(help="Store to read.", metavar="STORE", path_type=str)],
    out_dir: Annotated[Path, typer.Argument(help="Folder to write DATASET.npz files to.", metavar="OUT_DIR")],
    dataset: ExportedDatasets = None,
    joint_set: JointSet = None,
    joint_order: Annotated[
        JointOrder,
        typer.Option(help="Order of the joints: as stored, right leg first, or that of uplift-upsample-3dhpe."),
    ] = JointOrder.regressor,
) -> None:
    """Write the npz dictionaries of the AMASS-to-3DHPE script, one file a dataset."""
    with reported():
        from h36m_amass.export.npz import export_npz as run

        from .console import progress_bar

        with progress_bar() as progress:
            paths = run(
                store,
                out_dir,
                datasets=dataset or (),
                joint_set=joint_set,
                joint_order=joint_order.value,
                progress=lambda done, total: progress("export", done, total),
            )
        for path in paths:
            typer.echo(printable(str(path)))
