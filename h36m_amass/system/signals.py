"""Ctrl-C and SIGTERM as a flag: a handler sets it, and long loops look at it where nothing is half done.

No handler raises. An exception that arrives inside a lock of `threading` or `concurrent.futures` leaves it locked, and
the next thread that waits for it waits for ever.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)


class StopRequestedError(KeyboardInterrupt):
    """Ctrl-C or SIGTERM came; raised by a loop that looked at the flag, never by a handler."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class StopFlag:
    """Whether a signal has asked this process to stop; `signum` is None while none came."""

    def __init__(self) -> None:
        self.signum: int | None = None

    def set(self, signum: int, frame: FrameType | None = None) -> None:
        """Handle a signal: the first sets the flag, a second one ends the process on the spot."""
        if self.signum is not None:
            os._exit(128 + signum)
        self.signum = signum

    def check(self) -> None:
        """Raise `StopRequestedError` if the flag is set."""
        if self.signum is not None:
            raise StopRequestedError(self.signum)


_current: StopFlag | None = None


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """Let SIGINT and SIGTERM set a flag until the end, where one that nobody looked at is raised.

    Within another `stop_flag` it is the same flag. A signal that the process ignores stays ignored. Outside the main
    thread, where Python allows no handlers, the flag is never set.
    """
    global _current
    if _current is not None or threading.current_thread() is not threading.main_thread():
        yield _current or StopFlag()
        return
    _current = flag = StopFlag()
    answered = [number for number in STOPPING if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, flag.set) for number in answered}
    try:
        yield flag
        flag.check()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _current = None


def check() -> None:
    """Raise `StopRequestedError` if this process has been asked to stop; nothing in processes without a flag."""
    if _current is not None and threading.current_thread() is threading.main_thread():
        _current.check()


@contextmanager
def blocked() -> Iterator[None]:
    """Let processes be started in which SIGINT and SIGTERM wait until `leave_to_parent`; in this thread until the end.

    A terminal sends Ctrl-C to all processes of a group, and one that still imports would die of it with a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Run in a worker process: ignore Ctrl-C, die of SIGTERM, and end when the parent is gone, however that went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
