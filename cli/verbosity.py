"""How much a command is asked to say, wherever in the command line that was asked: -q, -v and --debug."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class Verbosity(NamedTuple):
    """Errors and warnings alone; what the library logs, too; Python's tracebacks, too."""

    quiet: bool = False
    verbose: bool = False
    debug: bool = False


_current: ContextVar[Verbosity] = ContextVar("verbosity", default=Verbosity())  # noqa: B039 (it is a tuple)


def verbosity() -> Verbosity:
    """The verbosity of the command that runs; the default outside of commands."""
    return _current.get()


def ask(**more: bool) -> None:
    """Set more attributes of the current `Verbosity`, by name."""
    _current.set(_current.get()._replace(**more))


@contextmanager
def nothing_asked() -> Iterator[None]:
    """Use the default verbosity inside the context, and restore the previous one at its end."""
    token = _current.set(Verbosity())
    try:
        yield
    finally:
        _current.reset(token)
