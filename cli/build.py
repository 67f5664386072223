"""``h36m-amass build``."""

import re
from enum import StrEnum
from pathlib import Path

import typer

from . import options
from .completion import complete_device

Compression = StrEnum("Compression", ["none", "lzf", "gzip"])


def _device(device: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:all|:\d+)?(\s*,\s*cuda(:\d+)?)*", device):
        raise typer.BadParameter(f"{device!r} is not a device; give auto, cpu, cuda, cuda:N, cuda:all or cuda:0,cuda:1")
    return device


def build(
    amass_dir: str = typer.Argument(
        ...,
        help="Folder with DATASET/[INNER/]SUBJECT/SEQUENCE.npz, or with archives of that; or its URL, like "
        "s3://bucket/amass.",
        metavar="AMASS_DIR",
        path_type=str,
    ),
    store: Path = typer.Argument(..., help="HDF5 file to write.", metavar="STORE"),
    support_dir: options.SupportDir = Path("support_data"),
    joint_regressor: options.JointRegressors = None,
    joint_names: options.JointNames = None,
    vertex_map: options.VertexMap = None,
    frame_rate: options.FrameRate = None,
    native_rate: options.NativeRate = False,
    device: str = typer.Option(
        "auto",
        callback=_device,
        help="Where to compute: cpu, cuda, cuda:N, or auto for CUDA where torch finds it and it is faster; several "
        "GPUs as cuda:0,cuda:1 or cuda:all, which the workers take in turn.",
        metavar="DEVICE",
        autocompletion=complete_device,
    ),
    batch_size: int | None = typer.Option(
        None, min=2, max=65536, help="Frames computed at a time.", show_default="4096", metavar="FRAMES"
    ),
    workers: int | None = typer.Option(
        None,
        min=0,
        help="Worker processes; 0 converts in the command's own process.",
        show_default="one per core, up to 4 per GPU, fewer for little data",
        metavar="PROCESSES",
    ),
    dask: str | None = typer.Option(
        None,
        help="Convert on this Dask scheduler's workers, like tcp://HOST:8786, or local for one of --workers processes; "
        "needs the extra dask.",
        show_default="none",
        metavar="URL",
    ),
    dataset: options.Datasets = None,
    subject: options.Subject = None,
    sequence: options.SequencePattern = None,
    exclude: options.Exclude = None,
    min_seconds: options.MinSeconds = None,
    max_seconds: options.MaxSeconds = None,
    limit: options.Limit = None,
    no_dmpls: options.NoDmpls = False,
    upsample: options.Upsample = False,
    known_rates: options.KnownRates = False,
    frame_rates: options.FrameRates = None,
    compression: Compression | None = typer.Option(
        None, help="Compression of the store: smaller, and slower to read.", show_default="none"
    ),
    max_frames: options.MaxFrames = 10_000_000,
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace STORE if it exists."),
    update: bool = typer.Option(False, "--update", help="Add new recordings to STORE, and convert changed ones again."),
    prune: bool = typer.Option(
        False, "--prune", help="With --update: remove recordings from STORE that are no longer in AMASS_DIR."
    ),
    skip_missing: bool = typer.Option(
        False, "--skip-missing", help="Skip recordings whose body model is missing or does not fit."
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
                subset=options.subset_of(subject, sequence, min_seconds, max_seconds, limit, tuple(exclude or ())),
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
