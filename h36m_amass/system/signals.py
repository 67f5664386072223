"""Ctrl-C and SIGTERM while processes work: they are the parent's to answer, where nothing is half done."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any

_Answer = Callable[[int, FrameType | None], object]
_STOPPING = (signal.SIGINT, signal.SIGTERM)
_KEEPS_WAITING = hasattr(signal, "pthread_sigmask")


class TerminatedError(KeyboardInterrupt):
    """SIGTERM came, as it does from a scheduler or at a shutdown; it is to be answered like Ctrl-C."""


@contextmanager
def terminable() -> Iterator[None]:
    """Have SIGTERM raise `TerminatedError` in the main thread, where Ctrl-C raises `KeyboardInterrupt`.

    Once one of them has, those that follow are ignored for good: the process is about to clear away, to say so and
    to exit.
    """

    def terminate(number: int, frame: FrameType | None) -> None:
        raise TerminatedError

    with _answering_once(_answers() | {signal.SIGTERM: terminate}, for_good=True):
        yield


@contextmanager
def answered_once() -> Iterator[Callable[[], None]]:
    """Once Ctrl-C or SIGTERM has raised, ignore those that follow until the end, so that they do not stop half-way
    what clears away.

    Gives a call for the work that goes on: it raises again what was raised and got lost, as exceptions do in
    callbacks of the interpreter and of HDF5.
    """
    with _answering_once(_answers(), for_good=False) as raised:

        def go_on() -> None:
            if raised:
                raise raised[0]

        yield go_on


@contextmanager
def ignored() -> Iterator[None]:
    """Let processes be started that ignore Ctrl-C and SIGTERM from their first instruction on: they inherit it.

    A terminal or a scheduler sends them to the whole group, and a worker that dies of it breaks the pool. This process
    answers them at the end, where the system can keep them waiting.
    """
    if not _KEEPS_WAITING or threading.current_thread() is not threading.main_thread():
        with _handlers(dict.fromkeys(_STOPPING, signal.SIG_IGN)):
            yield
        return
    resource_tracker.ensure_running()  # which would let them through when it starts its own process
    # Held besides: another thread of this process may be the one that gets them.
    with held():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def held() -> Iterator[None]:
    """Keep Ctrl-C and SIGTERM waiting until the end, for calls that must not stop half-way.

    SIGTERM is not held where nothing in Python would answer it.
    """
    came: list[int] = []
    answers = _answers()
    with _handlers(dict.fromkeys(answers, lambda number, frame: came.append(number))):
        yield
    for number in came:
        answers[signal.Signals(number)](number, None)


def leave_to_parent() -> None:
    """Run in a worker process: ignore Ctrl-C, and end when the parent is gone, however that went."""
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)  # those that wait are the parent's, too
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # how a pool ends its other processes when one has died
    if _KEEPS_WAITING:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _answers() -> dict[signal.Signals, _Answer]:
    """What in Python answers which signals now."""
    return {number: handler for number in _STOPPING if callable(handler := signal.getsignal(number))}


@contextmanager
def _answering_once(answers: Mapping[signal.Signals, _Answer], for_good: bool) -> Iterator[Sequence[BaseException]]:
    """Answer signals so, until one of the answers raises; then not at all, and not after the end either `for_good`.

    Gives what was raised.
    """
    raised: list[BaseException] = []

    def answer(number: int, frame: FrameType | None) -> None:
        if raised:
            return
        try:
            answers[signal.Signals(number)](number, frame)
        except BaseException as error:
            raised.append(error)
            raise

    with _handlers(dict.fromkeys(answers, answer)) as before:
        try:
            yield raised
        finally:
            if raised and for_good:
                before.update(dict.fromkeys(before, signal.SIG_IGN))


@contextmanager
def _handlers(wanted: Mapping[signal.Signals, signal.Handlers | _Answer]) -> Iterator[dict[signal.Signals, Any]]:
    """Answer signals so; outside the main thread, where Python does not allow it, as before.

    Gives the handlers that are put back at the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield {}
        return
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield before
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_after(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
