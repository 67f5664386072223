"""What all commands share: common options, logs, colours, and how a command ends."""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from .completion import quoted_for_bash
from .failures import pipe_may_close, printable, reported
from .verbosity import ask, nothing_asked, verbosity

PANEL = "Options of every command"
_NO_COLOR = "--no-color"


def _flag(*names: str, sets: str = "", help: str) -> Any:
    """A flag of every command, which sets an attribute of `Verbosity`."""

    def answer(is_set: bool) -> bool:
        if is_set and sets:
            ask(**{sets: True})
        return is_set

    return typer.Option(*names, help=help, callback=answer, expose_value=False, rich_help_panel=PANEL)


_QUIET = "Print errors and warnings only; the exit status says whether it worked."
_VERBOSE = "Print each step with its time, loaded files, and skipped recordings as they occur."


def _common(
    quiet: Annotated[bool, _flag("-q", "--quiet", sets="quiet", help=_QUIET)] = False,
    verbose: Annotated[bool, _flag("-v", "--verbose", sets="verbose", help=_VERBOSE)] = False,
    no_color: Annotated[
        bool, _flag(_NO_COLOR, help="Print without colours, as with NO_COLOR in the environment.")
    ] = False,
    debug: Annotated[bool, _flag("--debug", sets="debug", help="Print Python's traceback of an error, too.")] = False,
) -> None:
    """Their parameters become options of every command, and may stand before its name as well."""


@cache
def common_options() -> tuple[Any, ...]:
    """The options of every command, as Click has them."""
    application = typer.Typer(add_completion=False)
    application.command()(_common)
    return tuple(typer.main.get_command(application).params)


class _WithCommonOptions:
    """Adds them to a command or a group, and shows flags as what they are: Typer would name them <bool>."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.params: list[Any] = [*getattr(self, "params", ()), *common_options()]

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        try:
            return super().make_context(*arguments, **settings)  # type: ignore[misc]
        except typer.BadParameter as error:  # in the words of Typer's validator
            error.message = re.sub(r"^Value error, |, unable to parse .*", "", error.message)
            error.message = error.message.replace("Input should be", "it should be")
            raise

    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc] # Click's, of the class beside this one
        for parameter in parameters:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
            if parameter.name == "help":
                parameter.rich_help_panel = PANEL
        return parameters


class Command(_WithCommonOptions, TyperCommand):
    """A command that obeys the options of every command, and ends with one line if it fails."""

    def invoke(self, ctx: Any) -> Any:
        if verbosity().quiet and verbosity().verbose:
            raise typer.BadParameter("--quiet and --verbose exclude each other")
        with reported(), ExitStack() as stack:
            if verbosity().quiet:
                nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
                stack.enter_context(redirect_stdout(nowhere))
            if verbosity().verbose:
                stack.enter_context(_logs_shown())
            return super().invoke(ctx)


class Group(_WithCommonOptions, TyperGroup):
    """The commands, and how the program ends."""

    def main(self, args: Any = None, *rest: Any, **settings: Any) -> Any:
        arguments = sys.argv[1:] if args is None else args
        with nothing_asked(), ExitStack() as stack, pipe_may_close(), quoted_for_bash():
            # Looked for before parsing, so that messages about wrong usage have no colours either.
            if _NO_COLOR in takewhile(lambda argument: argument != "--", arguments) and not os.environ.get("NO_COLOR"):
                os.environ["NO_COLOR"] = "1"
                stack.callback(os.environ.pop, "NO_COLOR", None)
            if os.environ.get("NO_COLOR"):
                settings["color"] = False
            return super().main(args, *rest, **settings)


class _Lines(logging.Handler):
    """Log records as lines on standard error, with the seconds since the program began."""

    def emit(self, record: logging.LogRecord) -> None:
        module, seconds = record.name.rpartition(".")[2], record.relativeCreated / 1000
        # Standard error as it is now: while a bar is drawn, rich puts there what prints above it.
        sys.stderr.write(f"{seconds:8.2f} s  {module}: {printable(record.getMessage())}\n")


@contextmanager
def _logs_shown() -> Iterator[None]:
    logger, lines = logging.getLogger("h36m_amass"), _Lines()
    level = logger.level
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(lines)
        logger.setLevel(level)
