"""Signals set a flag, and nothing else; loops that look at it raise."""

from __future__ import annotations

import signal
import threading

import pytest

from h36m_amass.system import signals
from h36m_amass.system.signals import StopRequestedError, stop_flag


@pytest.mark.parametrize("number", signals.STOPPING)
def test_a_signal_is_raised_where_the_flag_is_looked_at_and_nowhere_else(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in signals.STOPPING]
    went_on = False
    with pytest.raises(StopRequestedError) as stopped, stop_flag() as flag:
        signals.check()
        signal.raise_signal(number)
        went_on = True
        assert flag.signum == number
        signals.check()
    assert went_on
    assert stopped.value.signum == number
    assert isinstance(stopped.value, KeyboardInterrupt)
    assert [signal.getsignal(each) for each in signals.STOPPING] == before
    signals.check()


def test_a_signal_that_nobody_looked_at_is_raised_at_the_end() -> None:
    with pytest.raises(StopRequestedError), stop_flag():
        signal.raise_signal(signal.SIGTERM)


def test_a_flag_within_another_is_the_same() -> None:
    with pytest.raises(StopRequestedError), stop_flag() as outer:
        with stop_flag() as inner:
            assert inner is outer
            signal.raise_signal(signal.SIGINT)
        assert outer.signum == signal.SIGINT  # left to the outer one


def test_another_error_is_not_replaced() -> None:
    with pytest.raises(OSError, match="full"), stop_flag():
        signal.raise_signal(signal.SIGINT)
        raise OSError("full")


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_flag() as flag:
            signal.raise_signal(signal.SIGINT)
            assert flag.signum is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_neither_set_the_flag_nor_are_stopped_by_it() -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            signals.check()
            with stop_flag():
                signals.check()
        except BaseException as error:  # noqa: BLE001 (whatever it is, the test shows it)
            errors.append(error)

    with pytest.raises(StopRequestedError), stop_flag():
        signal.raise_signal(signal.SIGINT)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert errors == []


def test_signals_wait_while_they_are_blocked() -> None:
    with pytest.raises(StopRequestedError), stop_flag() as flag:
        with signals.blocked():
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            assert flag.signum is None
        signals.check()
