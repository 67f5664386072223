"""Options and arguments that several commands share, word for word."""

from pathlib import Path
from typing import Annotated

import typer

from .completion import complete_dataset, complete_joint_set

SupportDir = Annotated[
    Path, typer.Option("--support-dir", help="Folder with the body models and the regressor.", metavar="FOLDER")
]
VertexMap = Annotated[
    Path | None,
    typer.Option(
        help="V x V' map to the regressor's V vertices, for SMPL-X say; sparse .npz, or .npy.",
        show_default="none",
        metavar="FILE",
    ),
]
StoreToRead = Annotated[str, typer.Argument(help="Store to read.", metavar="STORE", path_type=str)]
ExportedDatasets = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        help="Export this dataset only, under any of its names; repeat for more.",
        show_default="all",
        metavar="NAME",
        autocompletion=complete_dataset,
    ),
]
JointSet = Annotated[
    str | None,
    typer.Option(
        help="Joint set of the store to take.",
        show_default="its first",
        metavar="NAME",
        autocompletion=complete_joint_set,
    ),
]
