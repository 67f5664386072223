"""``h36m-amass setup`` and ``h36m-amass import-h36m``: what is made of downloads."""

from pathlib import Path

import typer

from h36m_amass.wording import counted

from .failures import FAILED, printable
from .options import SupportDir
from .verbosity import verbosity


def setup(
    downloads: list[str] = typer.Argument(
        ...,
        help="Your downloads, as they are: smplh.tar.xz, dmpls.tar.xz, SMPL-X's and SMPL's zips, SPIN's "
        "data.tar.gz, vertex maps, regressors, or folders of these.",
        metavar="DOWNLOAD...",
        path_type=str,
    ),
    support_dir: SupportDir = Path("support_data"),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace existing files that differ."),
) -> None:
    """Put downloaded body models, regressors and vertex maps where build looks for them."""
    from h36m_amass.setup.placing import set_up

    from .console import names_read

    with names_read() as progress:
        result = set_up(downloads, support_dir, overwrite=overwrite, progress=progress)
    for taken in result.placed:
        typer.echo(printable(f"ok: {support_dir / taken.target}: {taken.title}, from {taken.source}"))
    for taken in result.unchanged:
        typer.echo(printable(f"ok: {support_dir / taken.target}: {taken.title}, there already"))
    for problem in result.problems:
        typer.echo(printable(f"problem: {problem}"), err=verbosity().quiet)
    for line in result.missing:
        typer.echo(printable(f"missing: {line}"))
    if result.problems:
        typer.echo(f"error: {counted(len(result.problems), 'downloads')} could not be taken, see above", err=True)
        raise typer.Exit(FAILED)


def import_h36m(
    data_3d: Path = typer.Argument(..., help="VideoPose3D's data_3d_h36m.npz.", metavar="DATA_3D"),
    store: Path = typer.Argument(..., help="Store to write.", metavar="STORE"),
    detections: Path | None = typer.Option(
        None,
        help="Import 2D joints in the images of the four cameras, too: a data_2d_h36m_*.npz of the same 17 joints.",
        show_default="none",
        metavar="FILE",
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an existing store."),
) -> None:
    """Import Human3.6M's motion capture into a store, to train on it beside AMASS."""
    from h36m_amass.importing.human36m import import_human36m

    from .console import progress_bar

    with progress_bar() as progress:
        result = import_human36m(
            data_3d,
            store,
            detections=detections,
            overwrite=overwrite,
            progress=lambda done, total: progress("import", done, total),
        )
    typer.echo(printable(f"{store}: {counted(result.sequences, 'sequences')}, {result.frames:,} frames"))
    if result.cut:
        videos = f"{counted(len(result.cut), 'videos')} with detections after the end of the motion capture"
        longest = f"up to {max(result.cut.values())} frames, which were dropped"
        typer.echo(f"cut: {videos}, {longest}; --verbose lists them")
    if result.without_3d:
        listed = ", ".join(result.without_3d)
        typer.echo(printable(f"without motion capture, not imported: detections of {listed}"))
