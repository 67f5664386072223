"""Which frames of a sequence a picture or an animation of some seconds shows."""

from __future__ import annotations

import math

from h36m_amass.plot import PlotError
from h36m_amass.store.selection import StoredSequence


def frames_between(sequence: StoredSequence, start: float, seconds: float | None) -> range:
    """The frames of `seconds` from `start` on, one at least and no more than there are; None is all the rest.

    Frame n stands for the time from n to n + 1 frames after the start, so that two seconds at 50 Hz are 100 frames.

    Raises
    ------
    PlotError
        If the sequence has nothing at `start`, or `seconds` is not positive.
    """
    if not 0 <= start < math.inf:
        raise PlotError(f"{sequence.key}: cannot be drawn from {start:g} s on; give --start as 0 or more seconds")
    if seconds is not None and not 0 < seconds < math.inf:
        raise PlotError(f"{sequence.key}: {seconds:g} s of it cannot be drawn; give --seconds as a positive number")
    first = round(start * sequence.frame_rate)
    if first >= len(sequence):
        raise PlotError(
            f"{sequence.key}: is {sequence.duration:.2f} s long, and not {start:g} s; give an earlier --start"
        )
    if seconds is None:
        return range(first, len(sequence))
    return range(first, min(len(sequence), first + max(1, round(seconds * sequence.frame_rate))))
