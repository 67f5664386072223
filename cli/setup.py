"""``h36m-amass setup``."""

from pathlib import Path

import typer

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
        count = "1 download" if len(result.problems) == 1 else f"{len(result.problems)} downloads"
        typer.echo(f"error: {count} could not be taken, see above", err=True)
        raise typer.Exit(FAILED)
