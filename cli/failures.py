"""Failures that a user can meet, as one line and an exit status."""

import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from h36m_amass.errors import H36mAmassError

from .verbosity import verbosity

FAILED = 1


@contextmanager
def reported() -> Iterator[None]:
    """Turn errors into one line on standard error and exit status 1; Ctrl-C into status 130, SIGTERM into 143.

    Notes of an error, which say what is kept, go onto the same line. What is not the library's error is a bug, and is
    called one.
    """
    try:
        yield
    except KeyboardInterrupt as stop:  # with a signal, if a loop looked at the flag, see `h36m_amass.system.signals`
        signum = getattr(stop, "signum", signal.SIGINT)
        _end("terminated" if signum == signal.SIGTERM else "interrupted", stop, 128 + signum)
    except (BrokenPipeError, typer.Exit, typer.Abort, typer.BadParameter):  # for the first see `pipe_may_close`
        raise
    except H36mAmassError as error:
        _end(f"error: {error}", error, FAILED)
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _end(f"error: {text}", error, FAILED)
    except Exception as error:  # noqa: BLE001 (whatever it is, it ends here with a line)
        what = "this" if verbosity().debug else "what the command prints with --debug"
        advice = f"this is a bug: report {what} as an issue of the repository that you have h36m-amass from"
        _end(f"internal error: {type(error).__name__}: {error} ({advice})", error, FAILED)


@contextmanager
def pipe_may_close() -> Iterator[None]:
    """End without a word, with exit status 1, when the process that reads the output has stopped, as ``head`` does.

    Typer does so where printing fails; this handles a failure when the rest is flushed.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # here and not at the interpreter's end, where nobody could answer
            sys.stderr.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # what is still to be flushed
            os.dup2(nowhere, stream.fileno())
        raise SystemExit(FAILED) from None


def printable(text: str) -> str:
    """`text` on one line, with what a terminal would obey written out: names of files are anybody's."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _end(message: str, error: BaseException, status: int) -> NoReturn:
    if verbosity().debug:
        typer.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    line = "; ".join([message, *getattr(error, "__notes__", [])])
    typer.echo(printable(re.sub(r"\s*\n\s*", " ", line.strip())), err=True)
    raise typer.Exit(status) from None
