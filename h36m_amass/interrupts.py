"""Ctrl-C while processes work: it is the parent's to answer, and at a point where nothing is half done."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ignored() -> Iterator[None]:
    """Let processes be started that ignore Ctrl-C from their first instruction on: they inherit it.

    A terminal sends it to the whole group, and a worker that dies of it while it imports breaks the pool.
    """
    with _handler(signal.SIG_IGN):
        yield


@contextmanager
def held() -> Iterator[None]:
    """Keep Ctrl-C waiting until the end, for calls that must not stop half-way, like handing work to a pool."""
    came: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        came.append(number)

    with _handler(remember):
        yield
    if came:
        raise KeyboardInterrupt


def leave_to_parent() -> None:
    """Run in a worker process: ignore Ctrl-C, and end when the parent is gone, however that went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


@contextmanager
def _handler(handler: signal.Handlers | signal._HANDLER) -> Iterator[None]:
    """Answer Ctrl-C with `handler`; outside the main thread, where Python does not allow it, as before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _exit_after(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
