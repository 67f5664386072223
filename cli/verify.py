"""``h36m-amass verify``."""

from pathlib import Path

import typer

from h36m_amass.wording import counted

from .failures import FAILED, printable
from .options import SupportDir
from .verbosity import verbosity


def verify(
    store: str = typer.Argument(..., help="Store to look at.", metavar="STORE", path_type=str),
    quick: bool = typer.Option(False, "--quick", help="Look only at the index: no checksums, values or bone lengths."),
    against: str | None = typer.Option(
        None,
        help="AMASS folder of the recordings: compute some frames again through the full mesh.",
        show_default="none",
        metavar="AMASS_DIR",
        path_type=str,
    ),
    support_dir: SupportDir = Path("support_data"),
    joint_regressor: str | None = typer.Option(
        None,
        help="Regressor, or skeleton, whose joint set is compared.",
        show_default="J_regressor_h36m.npy in --support-dir",
        metavar="FILE",
    ),
    vertex_map: Path | None = typer.Option(
        None, help="Vertex map that the store was built with.", show_default="none", metavar="FILE"
    ),
    sample: int = typer.Option(500, min=1, help="Frames to compute again.", metavar="FRAMES"),
    seed: int = typer.Option(0, min=0, help="Seed for drawing these frames at random.", metavar="NUMBER"),
) -> None:
    """Check whether a store is whole, and whether it agrees with the full mesh. Exit status 1 if anything is wrong."""
    from h36m_amass.verification.store import verify as run

    from .console import progress_bar

    with progress_bar() as progress:
        result = run(
            store,
            quick=quick,
            against=against,
            support_dir=support_dir,
            joint_regressor=joint_regressor,
            vertex_map=vertex_map,
            sample=sample,
            seed=seed,
            progress=progress,
        )
    for finding in result.findings:
        typer.echo(printable(f"problem: {finding}"), err=verbosity().quiet)
    if result.compared_frames:
        typer.echo(
            f"{result.compared_frames:,} frames through the full mesh: the largest difference is {result.largest:.2g} "
            f"m, 99.9 percent are below {result.percentile_99_9:.2g} m"
        )
    if result.findings:
        typer.echo(f"error: {counted(len(result.findings), 'findings')}, see above", err=True)
        raise typer.Exit(FAILED)
    typer.echo(f"ok: {result.sequences:,} sequences, {result.frames:,} frames")
