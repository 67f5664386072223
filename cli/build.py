"""``h36m-amass build``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .completion import complete_dataset, complete_device
from .failures import printable, reported
from .options import SupportDir, VertexMap


class Compression(StrEnum):
    none = "none"
    lzf = "lzf"
    gzip = "gzip"


def build(
    amass_dir: Annotated[
        str,
        typer.Argument(
            help="Folder with DATASET/[INNER/]SUBJECT/SEQUENCE.npz, or with archives of that, or its address.",
            metavar="AMASS_DIR",
            path_type=str,
        ),
    ],
    store: Annotated[
        str,
        typer.Argument(
            help="HDF5 file to write, or an address like s3://bucket/amass.h5.", metavar="STORE", path_type=str
        ),
    ],
    work_dir: Annotated[
        Path | None,
        typer.Option(
            help="For a STORE at an address: local folder for its parts and for it until it is whole.",
            show_default="the current folder",
            metavar="FOLDER",
        ),
    ] = None,
    support_dir: SupportDir = Path("support_data"),
    joint_regressor: Annotated[
        list[str] | None,
        typer.Option(
            help="K x V regressor, .npy or SciPy sparse .npz, or skeleton for the body model's own joints; repeat, "
            "also as NAME=FILE, for several joint sets.",
            show_default="J_regressor_h36m.npy in --support-dir",
            metavar="FILE",
        ),
    ] = None,
    joint_names: Annotated[
        list[str] | None,
        typer.Option(
            help="Text file with a regressor's K joint names, one a line; NAME=FILE for several joint sets.",
            show_default="Human3.6M's for SPIN's regressor, else joint_0, joint_1, ...",
            metavar="FILE",
        ),
    ] = None,
    vertex_map: VertexMap = None,
    frame_rate: Annotated[
        float | None,
        typer.Option("-r", "--frame-rate", help="Target frame rate in hertz.", show_default="50", metavar="HERTZ"),
    ] = None,
    native_rate: Annotated[
        bool, typer.Option("--native-rate", help="Keep every frame, and each recording's own rate.")
    ] = False,
    device: Annotated[
        str,
        typer.Option(
            help="Where to compute: cpu, cuda, cuda:N, or auto for CUDA where torch finds it; several GPUs as "
            "cuda:0,cuda:1 or cuda:all, one process each.",
            metavar="DEVICE",
            autocompletion=complete_device,
        ),
    ] = "auto",
    batch_size: Annotated[int, typer.Option(help="Frames computed at a time.", metavar="FRAMES")] = 4096,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes beside the command's own; 0 for none.",
            show_default="one a core, fewer for little data, 0 on CUDA",
            metavar="PROCESSES",
        ),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            help="Convert on this Dask scheduler's workers, tcp://HOST:8786 say, or local for one of --workers "
            "processes; needs the extra dask.",
            show_default="none",
            metavar="ADDRESS",
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            help="Convert this dataset only, under any of its names; repeat for more.",
            show_default="all",
            metavar="NAME",
            autocompletion=complete_dataset,
        ),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            help="Convert subjects alone whose whole name matches this regular expression.",
            show_default="all",
            metavar="PATTERN",
        ),
    ] = None,
    sequence: Annotated[
        str | None,
        typer.Option(
            help="Convert recordings alone whose whole name matches this regular expression.",
            show_default="all",
            metavar="PATTERN",
        ),
    ] = None,
    min_seconds: Annotated[
        float | None,
        typer.Option(help="Convert no recording that is shorter.", show_default="any length", metavar="SECONDS"),
    ] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(help="Convert no recording that is longer.", show_default="any length", metavar="SECONDS"),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            help="Convert only so many recordings, the first ones, for trying out.",
            show_default="all",
            metavar="RECORDINGS",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Convert only the Ith of N shares, beside other machines; without it, the same command then finishes "
            "STORE.",
            show_default="all",
            metavar="I/N",
        ),
    ] = None,
    no_dmpls: Annotated[bool, typer.Option("--no-dmpls", help="Leave soft tissue out of all recordings.")] = False,
    upsample: Annotated[
        bool, typer.Option("--upsample", help="Convert recordings slower than the target rate too.")
    ] = False,
    compression: Annotated[
        Compression, typer.Option(help="Compression of the store: smaller, and slower to read.")
    ] = Compression.none,
    split_size: Annotated[
        str | None,
        typer.Option(
            help="Split the store into files of about this size, like 10GB; STORE is a small index of them.",
            show_default="one file",
            metavar="SIZE",
        ),
    ] = None,
    max_frames: Annotated[
        int,
        typer.Option(help="Leave recordings of more frames out: they are damaged or hostile.", metavar="FRAMES"),
    ] = 10_000_000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace STORE if it is there.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Replace STORE, but convert only what has changed since it was built.")
    ] = False,
    rehash: Annotated[
        bool,
        typer.Option("--rehash", help="Read all recordings to see which have changed, not only their headers."),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if any recording would be left out.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write what was converted and left out to this JSON file.", show_default="none", metavar="FILE"
        ),
    ] = None,
) -> None:
    """Convert AMASS recordings into one HDF5 store of 3D joints."""
    if native_rate and frame_rate is not None:
        raise typer.BadParameter("--native-rate and --frame-rate exclude each other")
    if overwrite and update:
        raise typer.BadParameter("--overwrite and --update exclude each other")
    if dask is not None and workers == 0:
        raise typer.BadParameter("--workers 0 converts in this process and --dask in others; leave one of them out")
    from h36m_amass.conversion.shards import ShardError
    from h36m_amass.conversion.shards import parse as parse_shard
    from h36m_amass.recordings.subset import Subset, SubsetError
    from h36m_amass.system.disk import SizeError, bytes_of

    try:
        subset = Subset(subject, sequence, min_seconds, max_seconds, limit)
        own_shard = None if shard is None else parse_shard(shard)
        split_bytes = None if split_size is None else bytes_of(split_size)
    except (SubsetError, ShardError, SizeError) as error:
        raise typer.BadParameter(printable(str(error))) from error
    with reported():
        from h36m_amass.conversion import forkserver
        from h36m_amass.system import signals as interrupts
        from h36m_amass.system.devices import resolve_devices

        if dask is None and workers != 0 and resolve_devices(device) == ("cpu",):
            forkserver.prepare()  # torch is imported while this process imports and plans
        with interrupts.held():  # what is raised in the middle of an import may get lost
            from h36m_amass.conversion.builder import build as run

            from .console import print_report, progress_bar

        with progress_bar() as progress:
            done = run(
                amass_dir,
                store,
                work_dir=work_dir,
                support_dir=support_dir,
                joint_regressor=joint_regressor,
                joint_names=joint_names,
                vertex_map=vertex_map,
                frame_rate=None if native_rate else 50.0 if frame_rate is None else frame_rate,
                device=device,
                batch_size=batch_size,
                workers=workers,
                dask=dask,
                datasets=dataset or (),
                subset=subset,
                shard=own_shard,
                use_dmpls=not no_dmpls,
                upsample=upsample,
                compression=compression.value,
                split_size=split_bytes,
                max_frames=max_frames,
                overwrite=overwrite,
                update=update,
                rehash=rehash,
                strict=strict,
                report_file=report,
                progress=progress,
            )
        print_report(done)
