"""Which source frames a target frame rate needs, and their weights: exact rational arithmetic.

Output frame ``i`` lies at time ``i / target``, that is at source position ``i * source / target``, between two
source frames that are interpolated linearly; there is no anti-alias filter. This is what the AMASS-to-3DHPE
script does (Einfalt et al., WACV 2023), except for its float arithmetic, which can lose the last frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from h36m_amass.errors import H36mAmassError

NEAR_WHOLE = Fraction(1, 10_000)
"""Hertz by which capture files miss the whole number that is meant, being float32: 59.9999885559082 is 60."""


class FrameRateError(H36mAmassError):
    """A frame rate is not a positive finite number."""


@dataclass(frozen=True)
class Resampling:
    """How output frames come from source frames.

    ``out[i] = (1 - weight[i]) * source[frame[i]] + weight[i] * source[frame[i] + 1]``, where a weight of zero
    needs no second frame.
    """

    frame: Int[np.ndarray, "outputs"]
    weight: Float[np.ndarray, "outputs"]

    def __len__(self) -> int:
        return len(self.frame)


@lru_cache(maxsize=256, typed=True)  # a float32 equals the float64 that it prints otherwise than
def exact_rate(rate: float | Fraction | np.generic) -> Fraction:
    """Frame rate in hertz as the decimal that it prints as, 59.94 is 2997/50, or the whole number beside it.

    What is within `NEAR_WHOLE` of a whole number is that number; a `Fraction` stays what it is. Raises `FrameRateError`
    if the rate is not a positive finite number.
    """
    if isinstance(rate, Fraction):
        exact = rate
    else:
        if not math.isfinite(rate):
            raise FrameRateError(f"frame rate {rate} is not a finite number; give it in hertz, like 50")
        exact = Fraction(str(rate))
        whole = round(exact)
        if whole > 0 and abs(exact - whole) <= NEAR_WHOLE:
            exact = Fraction(whole)
    if exact <= 0:
        raise FrameRateError(f"frame rate {rate} is not positive; give it in hertz, like 50")
    return exact


def resampled_length(num_frames: int, source_rate: Fraction, target_rate: Fraction) -> int:
    """``floor(num_frames * target / source)``, exactly."""
    source, target = source_rate.as_integer_ratio(), target_rate.as_integer_ratio()
    return num_frames * target[0] * source[1] // (target[1] * source[0])


def resample(
    num_frames: int, source_rate: Fraction, target_rate: Fraction, start: int = 0, stop: int | None = None
) -> Resampling:
    """Source frames and weights of output frames `start` to `stop`, by default all ``resampled_length(...)``.

    Rates are in hertz, from `exact_rate`. When the target is the faster one, output frames that lie past the last
    source frame hold that frame.
    """
    if stop is None:
        stop = resampled_length(num_frames, source_rate, target_rate)
    numerator, denominator = _step(source_rate, target_rate)
    if stop * numerator < 2**63 and denominator < 2**63:
        position = np.arange(start, stop, dtype=np.int64) * numerator
        frame, remainder = np.divmod(position, denominator)
        weight = remainder / denominator
    else:
        exact = [divmod(i * numerator, denominator) for i in range(start, stop)]
        frame = np.array([quotient for quotient, _ in exact], dtype=np.int64)
        weight = np.array([float(Fraction(rest, denominator)) for _, rest in exact], dtype=np.float64)
    if len(frame) and frame[-1] >= num_frames - 1:
        weight[frame >= num_frames - 1] = 0.0
        np.minimum(frame, num_frames - 1, out=frame)
    return Resampling(frame, weight)


@lru_cache(maxsize=256)
def _step(source_rate: Fraction, target_rate: Fraction) -> tuple[int, int]:
    """Source frames an output frame, as numerator and denominator."""
    return (source_rate / target_rate).as_integer_ratio()


def outputs_within(num_read: int, num_frames: int, source_rate: Fraction, target_rate: Fraction) -> int:
    """How many output frames can be had from the first `num_read` of `num_frames` source frames."""
    length = resampled_length(num_frames, source_rate, target_rate)
    if num_read >= num_frames:
        return length
    return min(length, math.floor((num_read - 1) * target_rate / source_rate) + 1)


def needed_frames(resampling: Resampling) -> Int[np.ndarray, "needed"]:
    """The source frames that `resampling` touches, ascending, each once."""
    if len(resampling) == 0:
        return resampling.frame
    first = int(resampling.frame[0])
    needed = np.zeros(int(resampling.frame[-1]) - first + 2, dtype=bool)
    offset = resampling.frame - first
    needed[offset] = True
    needed[offset[resampling.weight > 0] + 1] = True
    return np.flatnonzero(needed) + first


@dataclass(frozen=True)
class Neighbours:
    """Between which rows of an array of source frames each output frame lies.

    ``out[i] = (1 - weight[i]) * rows[first[i]] + weight[i] * rows[second[i]]``.
    """

    first: Int[np.ndarray, "outputs"]
    second: Int[np.ndarray, "outputs"]
    weight: Float[np.ndarray, "outputs"]
    is_copy: bool

    def interpolate(self, rows: Float[np.ndarray, "needed *rest"]) -> Float[np.ndarray, "outputs *rest"]:
        """Output values from those of the source frames."""
        before = rows.take(self.first, axis=0)
        if self.is_copy:
            return before
        weight = self.weight.astype(rows.dtype, copy=False).reshape(-1, *(1,) * (rows.ndim - 1))
        after = rows.take(self.second, axis=0)
        after -= before
        after *= weight
        after += before
        return after


def neighbours(resampling: Resampling, frames: Int[np.ndarray, "needed"]) -> Neighbours:
    """Where the source frames of `resampling` are among `frames`, which are ascending and hold all that are needed."""
    first = np.searchsorted(frames, resampling.frame)
    second = np.minimum(first + 1, len(frames) - 1)
    return Neighbours(first, second, resampling.weight, not resampling.weight.any())


def interpolate(
    resampling: Resampling, frames: Int[np.ndarray, "needed"], values: Float[np.ndarray, "needed *rest"]
) -> Float[np.ndarray, "outputs *rest"]:
    """Output values from the `values` of source frames `frames`, which are ascending and hold all that are needed."""
    return neighbours(resampling, frames).interpolate(values)
