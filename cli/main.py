"""The application and its commands. Importing it imports neither torch nor h5py: commands do, when they run."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from .application import Application
from .build import build
from .check import check
from .datasets import datasets
from .demo import demo
from .export_motionbert import export_motionbert
from .export_npz import export_npz
from .info import info
from .plot import plot
from .verify import verify
from .view import view

app = Application(
    name="h36m-amass",
    help="Turn AMASS motion capture into Human3.6M-compatible 3D joints: an HDF5 store, npz dictionaries, clips.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("build")(build)
app.command("export-npz")(export_npz)
app.command("export-motionbert")(export_motionbert)
app.command("check")(check)
app.command("datasets")(datasets)
app.command("info")(info)
app.command("plot")(plot)
app.command("verify")(verify)
app.command("view")(view)
app.command("demo")(demo)


def _print_version(context: typer.Context, requested: bool) -> None:
    if requested and not context.resilient_parsing:  # which it is while a shell completes a word
        typer.echo(f"h36m-amass {version('h36m-amass')}")
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    """Turn AMASS motion capture into Human3.6M-compatible 3D joints: an HDF5 store, npz dictionaries, clips."""
