"""Failures that a user can meet, as one line and an exit status."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from .verbosity import verbosity

FAILED, INTERRUPTED = 1, 130


@contextmanager
def reported() -> Iterator[None]:
    """Turn the library's errors into one line on standard error and exit status 1; Ctrl-C into 130, SIGTERM into 143.

    Notes of an error, which say what is kept, go onto the same line.
    """
    from h36m_amass.errors import H36mAmassError
    from h36m_amass.system.signals import StopRequestedError

    try:
        yield
    except StopRequestedError as stop:
        _end("terminated" if stop.signum == signal.SIGTERM else "interrupted", stop, 128 + stop.signum)
    except KeyboardInterrupt as stop:
        _end("interrupted", stop, INTERRUPTED)
    except H36mAmassError as error:
        _end(f"error: {error}", error, FAILED)
    except BrokenPipeError:  # see `pipe_may_close`
        raise
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _end(f"error: {text}", error, FAILED)


@contextmanager
def unexpected_reported() -> Iterator[None]:
    """Turn what `reported` does not know, which is a bug, into one line and exit status 1, without a traceback.

    Ctrl-C becomes status 130 here, too, before and after `reported` is at work.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        _end("interrupted", stop, INTERRUPTED)
    except (BrokenPipeError, typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:  # noqa: BLE001 (whatever it is, it ends here, and is told)
        advice = "" if verbosity().debug else ": run the command again with --debug, and report what it prints"
        _end(f"internal error: {type(error).__name__}: {error} (this is a bug{advice})", error, FAILED)


@contextmanager
def pipe_may_close() -> Iterator[None]:
    """End without a word, with exit status 1, when whoever reads the output has stopped, as ``head`` does.

    Typer does so where printing fails; what is left is what fails when the rest is flushed.
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
    typer.echo(printable(" ".join(line.split())), err=True)
    raise typer.Exit(status) from None
