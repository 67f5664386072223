"""``h36m-amass build``."""

from enum import StrEnum
from pathlib import Path

import typer

from .completion import complete_dataset, complete_device
from .options import SupportDir, VertexMap

Compression = StrEnum("Compression", ["none", "lzf", "gzip"])


def build(
    amass_dir: str = typer.Argument(
        ...,
        help="Folder with DATASET/[INNER/]SUBJECT/SEQUENCE.npz, or with archives of that; or its URL, like "
        "s3://bucket/amass.",
        metavar="AMASS_DIR",
        path_type=str,
    ),
    store: Path = typer.Argument(..., help="HDF5 file to write.", metavar="STORE"),
    support_dir: SupportDir = Path("support_data"),
    joint_regressor: list[str] | None = typer.Option(
        None,
        help="K x V regressor, .npy or SciPy sparse .npz, or skeleton for the body model's own joints; repeat, also as "
        "NAME=FILE, for several joint sets.",
        show_default="J_regressor_h36m.npy in --support-dir",
        metavar="FILE",
    ),
    joint_names: list[str] | None = typer.Option(
        None,
        help="Text file with a regressor's K joint names, one per line; NAME=FILE for several joint sets.",
        show_default="Human3.6M's for SPIN's regressor, else joint_0, joint_1, ...",
        metavar="FILE",
    ),
    vertex_map: VertexMap = None,
    frame_rate: float | None = typer.Option(
        None, "-r", "--frame-rate", help="Target frame rate in hertz.", show_default="50", metavar="HERTZ"
    ),
    native_rate: bool = typer.Option(False, "--native-rate", help="Keep every frame, and each recording's own rate."),
    device: str = typer.Option(
        "auto",
        help="Where to compute: cpu, cuda, cuda:N, or auto for CUDA where torch finds it; several GPUs as "
        "cuda:0,cuda:1 or cuda:all, which the workers take in turn.",
        metavar="DEVICE",
        autocompletion=complete_device,
    ),
    batch_size: int | None = typer.Option(
        None, help="Frames computed at a time.", show_default="4096", metavar="FRAMES"
    ),
    workers: int | None = typer.Option(
        None,
        help="Worker processes; 0 to convert in the command's own.",
        show_default="one per core or GPU, fewer for little data",
        metavar="PROCESSES",
    ),
    dask: str | None = typer.Option(
        None,
        help="Convert on this Dask scheduler's workers, like tcp://HOST:8786, or local for one of --workers processes; "
        "needs the extra dask.",
        show_default="none",
        metavar="URL",
    ),
    dataset: list[str] | None = typer.Option(
        None,
        "--dataset",
        help="Convert this dataset only, under any of its names; repeat for more.",
        show_default="all",
        metavar="NAME",
        autocompletion=complete_dataset,
    ),
    subject: str | None = typer.Option(
        None, help="Convert only subjects whose whole name matches.", show_default="all", metavar="REGEX"
    ),
    sequence: str | None = typer.Option(
        None, help="Convert only recordings whose whole name matches.", show_default="all", metavar="REGEX"
    ),
    exclude: list[str] | None = typer.Option(
        None,
        help="Leave out recordings whose SUBJECT/SEQUENCE or DATASET/SUBJECT/SEQUENCE matches this shell pattern, like "
        "'*treadmill*'; repeat for more.",
        show_default="none",
        metavar="PATTERN",
    ),
    min_seconds: float | None = typer.Option(
        None, help="Convert no recording that is shorter.", show_default="any length", metavar="SECONDS"
    ),
    max_seconds: float | None = typer.Option(
        None, help="Convert no recording that is longer.", show_default="any length", metavar="SECONDS"
    ),
    limit: int | None = typer.Option(
        None, help="Convert only so many recordings, the first ones.", show_default="all", metavar="RECORDINGS"
    ),
    no_dmpls: bool = typer.Option(False, "--no-dmpls", help="Convert all recordings without soft tissue."),
    upsample: bool = typer.Option(False, "--upsample", help="Convert recordings slower than the target rate too."),
    known_rates: bool = typer.Option(
        False, "--known-rates", help="Correct frame rates that are known to be wrong in AMASS's files."
    ),
    frame_rates: Path | None = typer.Option(
        None,
        help="CSV file with dataset,subject,sequence,hertz; * for all: rates to take instead of the files'.",
        show_default="none",
        metavar="FILE",
    ),
    compression: Compression | None = typer.Option(
        None, help="Compression of the store: smaller, and slower to read.", show_default="none"
    ),
    max_frames: int = typer.Option(
        10_000_000, help="Skip recordings of more frames: they are damaged or hostile.", metavar="FRAMES"
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace STORE if it is there."),
    update: bool = typer.Option(
        False, "--update", help="Add to STORE what is new, and convert again what has changed since."
    ),
    prune: bool = typer.Option(
        False, "--prune", help="With --update: remove recordings from STORE that are no longer in AMASS_DIR."
    ),
    skip_missing: bool = typer.Option(
        False, "--skip-missing", help="Skip recordings whose body model is missing or does not fit, and go on."
    ),
    strict: bool = typer.Option(False, "--strict", help="Fail if any recording would be skipped."),
    report: Path | None = typer.Option(
        None, help="Write what was converted and skipped to this JSON file.", show_default="none", metavar="FILE"
    ),
) -> None:
    """Convert AMASS recordings into one HDF5 store of 3D joints."""
    if native_rate and frame_rate is not None:
        raise typer.BadParameter("--native-rate and --frame-rate exclude each other")
    if overwrite and update:
        raise typer.BadParameter("--overwrite and --update exclude each other")
    if prune and not update:
        raise typer.BadParameter("--prune goes with --update")
    if dask is not None and workers == 0:
        raise typer.BadParameter("--workers 0 converts in this process, and --dask in others; give one of them")
    from h36m_amass.system.signals import stop_flag

    with stop_flag():
        if dask is None and workers != 0:
            from h36m_amass.conversion.pool import prepare

            prepare()  # torch is imported while this process imports and lists
        from h36m_amass.conversion.builder import build as run
        from h36m_amass.recordings.subset import Subset

        from .console import print_report, progress_bar

        with progress_bar() as progress:
            report_of_build = run(
                amass_dir,
                store,
                support_dir=support_dir,
                joint_regressor=joint_regressor,
                joint_names=joint_names,
                vertex_map=vertex_map,
                frame_rate=frame_rate,
                native_rate=native_rate,
                device=device,
                batch_size=batch_size,
                workers=workers,
                dask=dask,
                datasets=dataset or (),
                subset=Subset(subject, sequence, min_seconds, max_seconds, limit, tuple(exclude or ())),
                use_dmpls=False if no_dmpls else None,
                upsample=True if upsample else None,
                known_rates=True if known_rates else None,
                frame_rates=frame_rates,
                compression=None if compression is None else compression.value,
                max_frames=max_frames,
                overwrite=overwrite,
                update=update,
                prune=prune,
                skip_missing=skip_missing,
                strict=strict,
                report_file=report,
                progress=progress,
            )
        print_report(report_of_build)
