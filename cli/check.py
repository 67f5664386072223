"""``h36m-amass check``."""

from pathlib import Path

import typer

from . import options
from .failures import FAILED, printable
from .verbosity import verbosity


def check(
    amass_dir: str | None = typer.Argument(
        None, help="AMASS folder to check as well.", metavar="AMASS_DIR", path_type=str
    ),
    support_dir: options.SupportDir = Path("support_data"),
    joint_regressor: options.JointRegressors = None,
    joint_names: options.JointNames = None,
    vertex_map: options.VertexMap = None,
    frame_rate: options.FrameRate = None,
    native_rate: options.NativeRate = False,
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
    max_frames: options.MaxFrames = 10_000_000,
    thorough: bool = typer.Option(
        False, "--thorough", help="Read archives to their ends, not only their first recordings."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object, for programs."),
) -> None:
    """Report what a build with these options would do, and what is missing for it."""
    if native_rate and frame_rate is not None:
        raise typer.BadParameter("--native-rate and --frame-rate exclude each other")
    from h36m_amass.conversion.check import check_inputs
    from h36m_amass.conversion.options import BuildOptions

    from .console import print_checked, print_skipped, print_warnings, progress_bar, unused

    requested = BuildOptions(
        support_dir=support_dir,
        joint_regressor=joint_regressor,
        joint_names=joint_names,
        vertex_map=vertex_map,
        frame_rate=frame_rate,
        native_rate=native_rate,
        datasets=dataset or (),
        subset=options.subset_of(subject, sequence, min_seconds, max_seconds, limit, tuple(exclude or ())),
        use_dmpls=not no_dmpls,
        upsample=upsample,
        known_rates=known_rates,
        frame_rates=frame_rates,
        max_frames=max_frames,
    )
    with progress_bar() as progress:
        checked = check_inputs(requested, amass_dir, thorough=thorough, progress=progress)
    problems = sum(not finding.ok for finding in checked.findings)
    if as_json:
        typer.echo(checked.to_json(), nl=False)
    else:
        for finding in checked.findings:
            word, to_stderr = ("ok", False) if finding.ok else ("problem", verbosity().quiet)
            typer.echo(f"{word}: {printable(finding.message)}", err=to_stderr)
        if checked.datasets:
            print_checked(checked.datasets)
        print_skipped(checked.skipped, checked.not_selected)
        print_warnings(checked.warning_groups())
        for line in unused(checked):
            typer.echo(printable(line), err=verbosity().quiet)
    if problems:
        are = "is" if problems == 1 else "are"
        typer.echo(f"error: {problems} of {len(checked.findings)} things {are} not in place, see above", err=True)
        raise typer.Exit(FAILED)
