"""``h36m-amass check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .failures import FAILED, printable, reported
from .options import SupportDir, VertexMap
from .verbosity import verbosity


def check(
    amass_dir: Annotated[
        str | None, typer.Argument(help="AMASS folder to look through as well.", metavar="AMASS_DIR", path_type=str)
    ] = None,
    support_dir: SupportDir = Path("support_data"),
    joint_regressor: Annotated[
        list[str] | None,
        typer.Option(
            help="Regressor, or skeleton; repeat for several.",
            show_default="J_regressor_h36m.npy in --support-dir",
            metavar="FILE",
        ),
    ] = None,
    vertex_map: VertexMap = None,
    no_dmpls: Annotated[bool, typer.Option("--no-dmpls", help="Do not ask for the DMPL models.")] = False,
) -> None:
    """Say whether everything that a build needs is in place; what is missing, and where it is downloaded."""
    with reported():
        from h36m_amass.conversion.check import check_inputs

        from .console import print_checked, progress_bar

        with progress_bar() as progress:
            found = check_inputs(support_dir, joint_regressor, amass_dir, not no_dmpls, vertex_map, progress)
    findings = found.findings
    for finding in findings:
        word, to_stderr = ("ok", False) if finding.ok else ("problem", verbosity().quiet)
        typer.echo(f"{word}: {printable(finding.message)}", err=to_stderr)
    if found.datasets:
        print_checked(found.datasets)
    problems = sum(not finding.ok for finding in findings)
    if problems:
        typer.echo(f"error: {problems} of {len(findings)} things are not in place, see above", err=True)
        raise typer.Exit(FAILED)
