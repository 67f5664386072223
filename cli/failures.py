"""Failures that a user can meet, as one line and an exit status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

FAILED, INTERRUPTED, TERMINATED = 1, 130, 143


@contextmanager
def reported() -> Iterator[None]:
    """Turn the library's errors into one line on standard error and exit status 1; Ctrl-C into 130, SIGTERM into 143.

    The library's own errors are `ValueError`s whose message names the file, what is wrong and what to do. Their
    notes, which say what is kept, go onto the same line.
    """
    from h36m_amass.interrupts import TerminatedError, terminable

    with terminable():
        try:
            yield
        except TerminatedError as stop:
            _end("terminated", stop, TERMINATED)
        except KeyboardInterrupt as stop:
            _end("interrupted", stop, INTERRUPTED)
        except ValueError as error:
            if not type(error).__module__.startswith("h36m_amass."):
                raise
            _end(f"error: {error}", error, FAILED)
        except OSError as error:
            text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            _end(f"error: {text}", error, FAILED)


def printable(text: str) -> str:
    """`text` on one line, with what a terminal would obey written out: names of files are anybody's."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _end(message: str, error: BaseException, status: int) -> None:
    line = "; ".join([message, *getattr(error, "__notes__", [])])
    typer.echo(printable(" ".join(line.split())), err=True)
    raise typer.Exit(status) from None
