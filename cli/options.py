"""Options and arguments that several commands share, word for word."""

import math
from functools import partial
from pathlib import Path
from typing import Annotated, Any

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
        help="Joint set of the store to use.",
        show_default="its first",
        metavar="NAME",
        autocompletion=complete_joint_set,
    ),
]


def _positive(hertz: float | None) -> float | None:
    if hertz is not None and not 0 < hertz < math.inf:
        raise typer.BadParameter(f"a frame rate is a positive number of hertz, like 50, and not {hertz:g}")
    return hertz


Camera = Annotated[
    str | None,
    typer.Option(
        help="Draw poses as this camera of Human3.6M sees them, like S1/54138969.",
        show_default="none",
        metavar="SUBJECT/ID",
    ),
]


def human36m_camera(name: str) -> Any:
    """A camera of Human3.6M, for pictures."""
    from h36m_amass.plot.image import ImageCamera
    from h36m_amass.training.cameras import human36m, seen_in_pixels

    subject, _, number = name.partition("/")
    camera = human36m([subject], [number])
    width, height = camera.size[0].tolist()
    return ImageCamera(camera.names[0], (width, height), partial(seen_in_pixels, camera))


def subset_of(*conditions: Any) -> Any:
    """The `Subset` of these options; impossible values are usage errors."""
    from h36m_amass.recordings.subset import Subset, SubsetError

    try:
        return Subset(*conditions)
    except SubsetError as error:
        raise typer.BadParameter(str(error)) from error


# Options of build and check that decide which recordings are converted, and how.
JointRegressors = Annotated[
    list[str] | None,
    typer.Option(
        help="K x V regressor, .npy or SciPy sparse .npz, or skeleton for the body model's own joints; repeat, also as "
        "NAME=FILE, for several joint sets.",
        show_default="J_regressor_h36m.npy in --support-dir",
        metavar="FILE",
    ),
]
JointNames = Annotated[
    list[str] | None,
    typer.Option(
        help="Text file with a regressor's K joint names, one per line; NAME=FILE for several joint sets.",
        show_default="the regressor's if it is known, else joint_0, joint_1, ...",
        metavar="FILE",
    ),
]
FrameRate = Annotated[
    float | None,
    typer.Option(
        "-r", "--frame-rate", help="Target frame rate in hertz.", show_default="50", metavar="HERTZ", callback=_positive
    ),
]
NativeRate = Annotated[bool, typer.Option("--native-rate", help="Keep every frame, and each recording's own rate.")]
Datasets = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        help="Convert this dataset only, under any of its names; repeat for more.",
        show_default="all",
        metavar="NAME",
        autocompletion=complete_dataset,
    ),
]
Subject = Annotated[
    str | None,
    typer.Option(help="Convert only subjects whose whole name matches.", show_default="all", metavar="REGEX"),
]
SequencePattern = Annotated[
    str | None,
    typer.Option(help="Convert only recordings whose whole name matches.", show_default="all", metavar="REGEX"),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        help="Exclude recordings whose SUBJECT/SEQUENCE or DATASET/SUBJECT/SEQUENCE matches this shell pattern, like "
        "'*treadmill*'; repeat for more.",
        show_default="none",
        metavar="PATTERN",
    ),
]
MinSeconds = Annotated[
    float | None,
    typer.Option(help="Convert no recording that is shorter.", show_default="any length", metavar="SECONDS"),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(help="Convert no recording that is longer.", show_default="any length", metavar="SECONDS"),
]
Limit = Annotated[
    int | None,
    typer.Option(help="Convert only this many recordings, the first ones.", show_default="all", metavar="RECORDINGS"),
]
NoDmpls = Annotated[bool, typer.Option("--no-dmpls", help="Convert all recordings without soft tissue.")]
Upsample = Annotated[bool, typer.Option("--upsample", help="Convert recordings slower than the target rate too.")]
KnownRates = Annotated[
    bool, typer.Option("--known-rates", help="Correct frame rates that are known to be wrong in AMASS's files.")
]
FrameRates = Annotated[
    Path | None,
    typer.Option(
        help="Take frame rates from this CSV file instead of the recordings'; columns dataset, subject, sequence, "
        "hertz; * for all.",
        show_default="none",
        metavar="FILE",
    ),
]
MaxFrames = Annotated[
    int, typer.Option(min=1, help="Skip recordings of more frames: they are damaged or hostile.", metavar="FRAMES")
]
