"""What all commands have in common: their last options, the logs that these show, colours, and how a command ends."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from .completion import quoted_for_bash
from .failures import pipe_may_close, printable, unexpected_reported
from .verbosity import ask, nothing_asked, verbosity

PANEL = "Options of every command"
_NO_COLOR = "--no-color"


def _asking(what: str) -> Callable[[bool], bool]:
    """What a flag calls that asks for an attribute of `Verbosity`."""

    def answer(asked: bool) -> bool:
        if asked:
            ask(**{what: True})
        return asked

    return answer


def _common(
    quiet: Annotated[
        bool,
        typer.Option(
            "-q",
            "--quiet",
            help="Print errors and warnings only; the exit status tells the rest.",
            callback=_asking("quiet"),
            expose_value=False,
            rich_help_panel=PANEL,
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "-v",
            "--verbose",
            help="Print what is done when, which files are loaded, and what is left out as soon as it is.",
            callback=_asking("verbose"),
            expose_value=False,
            rich_help_panel=PANEL,
        ),
    ] = False,
    no_color: Annotated[
        bool,
        typer.Option(
            _NO_COLOR,
            help="Print without colours, as with NO_COLOR in the environment.",
            expose_value=False,
            rich_help_panel=PANEL,
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            help="Print Python's traceback of an error, too.",
            callback=_asking("debug"),
            expose_value=False,
            rich_help_panel=PANEL,
        ),
    ] = False,
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

    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc] # Click's, of the class beside this one
        for parameter in parameters:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
            if parameter.name == "help":
                parameter.rich_help_panel = PANEL
        return parameters


class Command(_WithCommonOptions, TyperCommand):
    """A command that obeys the options of every command."""

    def invoke(self, ctx: Any) -> Any:
        if verbosity().quiet and verbosity().verbose:
            raise typer.BadParameter("--quiet and --verbose exclude each other")
        with unexpected_reported(), ExitStack() as stack:
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
        # Looked for before anything is parsed, so that what is said of wrong usage has no colours either.
        plain = _NO_COLOR in takewhile(lambda argument: argument != "--", arguments)
        with nothing_asked(), _environment(NO_COLOR="1" if plain else os.environ.get("NO_COLOR")), pipe_may_close():
            if os.environ.get("NO_COLOR"):
                settings["color"] = False
            with quoted_for_bash():
                return super().main(args, *rest, **settings)


class Application(typer.Typer):
    """A Typer application whose commands are `Command`s."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, **settings)

    def command(self, *names: Any, **settings: Any) -> Any:
        """As `typer.Typer.command`."""
        return super().command(*names, **{"cls": Command, **settings})


@contextmanager
def _environment(**variables: str | None) -> Iterator[None]:
    """Set environment variables, or leave those alone that are to be None, and put them back at the end."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({name: value for name, value in variables.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _Lines(logging.Handler):
    """Log records as lines on standard error, with the seconds since the command began."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        module = record.name.rpartition(".")[2]
        # Standard error as it is now: while a bar is drawn, rich puts there what prints above it.
        seconds = time.monotonic() - self._began
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
