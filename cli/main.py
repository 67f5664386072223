"""The application and its commands. Importing it imports neither torch nor h5py: commands do, when they run."""

import typer

from .application import Command, Group
from .build import build
from .check import check
from .datasets import datasets
from .demo import demo
from .examples import epilog
from .export import export_motionbert, export_npz
from .info import info
from .plot import plot
from .setup import import_h36m, setup
from .verify import verify
from .view import view

app = typer.Typer(
    name="h36m-amass",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    *(setup, check, build, import_h36m, export_npz, export_motionbert),
    *(datasets, info, plot, verify, view, demo),
):
    app.command(cls=Command, epilog=epilog(command.__name__.replace("_", "-")))(command)


def _print_version(context: typer.Context, requested: bool) -> None:
    if requested and not context.resilient_parsing:  # which it is while a shell completes a word
        from h36m_amass.version import __version__

        typer.echo(f"h36m-amass {__version__}")
        raise typer.Exit


@app.callback()
def main(
    show_version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    """Turn AMASS motion capture into Human3.6M-compatible 3D joints: an HDF5 store, npz dictionaries, clips."""
