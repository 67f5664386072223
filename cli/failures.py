"""Failures that a user can meet, as one line and an exit status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

FAILED, INTERRUPTED = 1, 130


@contextmanager
def reported() -> Iterator[None]:
    """Turn the library's errors into one line on standard error and exit status 1; Ctrl-C into 130.

    The library's own errors are `ValueError`s whose message names the file, what is wrong and what to do.
    """
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except ValueError as error:
        if not type(error).__module__.startswith("h36m_amass."):
            raise
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _fail(message: str) -> None:
    one_line = " ".join(message.split())
    typer.echo(f"error: {one_line}", err=True)
    raise typer.Exit(FAILED) from None
