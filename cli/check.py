"""``h36m-amass check``."""

from pathlib import Path

import typer

from .failures import FAILED, printable
from .options import SupportDir, VertexMap
from .verbosity import verbosity


def check(
    amass_dir: str | None = typer.Argument(
        None, help="AMASS folder to look through as well.", metavar="AMASS_DIR", path_type=str
    ),
    support_dir: SupportDir = Path("support_data"),
    joint_regressor: list[str] | None = typer.Option(
        None,
        help="Regressor, or skeleton; repeat for several.",
        show_default="J_regressor_h36m.npy in --support-dir",
        metavar="FILE",
    ),
    vertex_map: VertexMap = None,
    no_dmpls: bool = typer.Option(False, "--no-dmpls", help="Do not ask for the DMPL models."),
) -> None:
    """Say whether everything that a build needs is in place; what is missing, and where it is downloaded."""
    from h36m_amass.conversion.check import check_inputs
    from h36m_amass.conversion.report import grouped

    from .console import print_checked, print_warnings, progress_bar

    with progress_bar() as progress:
        checked = check_inputs(support_dir, joint_regressor, amass_dir, not no_dmpls, vertex_map, progress)
    for finding in checked.findings:
        word, to_stderr = ("ok", False) if finding.ok else ("problem", verbosity().quiet)
        typer.echo(f"{word}: {printable(finding.message)}", err=to_stderr)
    if checked.datasets:
        print_checked(checked.datasets)
    print_warnings(grouped((warning.message, warning) for warning in checked.warnings))
    problems = sum(not finding.ok for finding in checked.findings)
    if problems:
        typer.echo(f"error: {problems} of {len(checked.findings)} things are not in place, see above", err=True)
        raise typer.Exit(FAILED)
