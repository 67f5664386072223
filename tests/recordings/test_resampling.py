"""Resampling in exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from h36m_amass.recordings.resampling import (
    FrameRateError,
    exact_rate,
    interpolate,
    needed_frames,
    outputs_within,
    resample,
    resampled_length,
)

RATES = ("50", "59.94", "60", "100", "119.88", "120", "150", "250")
rates = st.sampled_from(RATES).map(lambda text: exact_rate(float(text)))
any_rate = st.one_of(rates, st.fractions(min_value=Fraction(1, 3), max_value=2000, max_denominator=10**6))


@pytest.mark.parametrize("text", RATES)
@pytest.mark.parametrize("kind", [float, np.float64, np.float32])
def test_a_rate_is_the_decimal_it_prints_as(text: str, kind: type) -> None:
    assert exact_rate(kind(float(text))) == Fraction(text)


@pytest.mark.parametrize(
    ("rate", "exact"),
    [
        *((59.9999885559082, 60), (119.99998, 120), (120.0001, 120), (np.float32(99.99999), 100), (1e-5, "0.00001")),
        *((59.94, "59.94"), (59.9998, "59.9998"), (23.976, "23.976"), (120.0002, "120.0002")),
    ],
)
def test_a_rate_beside_a_whole_number_is_that_number(rate: float, exact: str | int) -> None:
    assert exact_rate(rate) == Fraction(exact)
    assert exact_rate(Fraction(str(rate))) == Fraction(str(rate))


def test_integers_and_fractions_are_rates() -> None:
    assert exact_rate(60) == exact_rate(np.int64(60)) == exact_rate(Fraction(60)) == 60
    assert exact_rate(59.94) == Fraction(2997, 50)


@pytest.mark.parametrize("rate", [0, 0.0, -50.0, float("nan"), float("inf"), np.float32("nan"), Fraction(-1, 2)])
def test_rates_that_are_not_positive_numbers_are_refused(rate: float) -> None:
    with pytest.raises(FrameRateError, match="frame rate"):
        exact_rate(rate)


@given(st.integers(1, 10**9), rates, rates)
def test_the_length_is_exactly_the_floor(num_frames: int, source: Fraction, target: Fraction) -> None:
    length = resampled_length(num_frames, source, target)
    assert length <= num_frames * target / source < length + 1


@given(st.integers(1, 400), any_rate, any_rate)
def test_each_output_is_the_rational_interpolation(num_frames: int, source: Fraction, target: Fraction) -> None:
    assume(num_frames * target / source <= 20_000)
    values = np.random.default_rng(num_frames).normal(size=num_frames)
    ours = resample(num_frames, source, target)
    assert len(ours) == math.floor(num_frames * target / source)
    for i, (frame, weight) in enumerate(zip(ours.frame.tolist(), ours.weight.tolist(), strict=True)):
        position = min(Fraction(i) * source / target, Fraction(num_frames - 1))
        assert frame == math.floor(position)
        assert weight == float(position - frame)
        assert frame + (weight > 0) < num_frames
    out = interpolate(ours, np.arange(num_frames), values)
    expected = np.interp([float(i * source / target) for i in range(len(ours))], np.arange(num_frames), values)
    np.testing.assert_allclose(out, expected, atol=1e-9)


@given(st.integers(1, 300), any_rate, any_rate)
def test_needed_frames_suffice_and_are_all_needed(num_frames: int, source: Fraction, target: Fraction) -> None:
    assume(num_frames * target / source <= 20_000)
    values = np.random.default_rng(num_frames).normal(size=(num_frames, 2, 3))
    ours = resample(num_frames, source, target)
    needed = needed_frames(ours)
    assume(len(needed))
    everything = interpolate(ours, np.arange(num_frames), values)
    np.testing.assert_array_equal(interpolate(ours, needed, values[needed]), everything)
    touched = {*ours.frame.tolist(), *(ours.frame[ours.weight > 0] + 1).tolist()}
    assert set(needed.tolist()) == touched


@given(st.integers(1, 500), any_rate, any_rate, st.integers(1, 60))
def test_reading_in_runs_gives_the_same_outputs(num_frames: int, source: Fraction, target: Fraction, run: int) -> None:
    assume(num_frames * target / source <= 20_000)
    whole = resample(num_frames, source, target)
    pieces, start = [], 0
    for first in range(0, num_frames, run):
        read = min(first + run, num_frames)
        stop = outputs_within(read, num_frames, source, target)
        piece = resample(num_frames, source, target, start, stop)
        if len(piece):
            needed = needed_frames(piece)
            # All that it needs lies in this run, or is the last frame of the one before.
            assert needed[0] >= max(0, first - 1)
            assert needed[-1] < read
        pieces.append(piece)
        start = stop
    assert start == len(whole)
    np.testing.assert_array_equal(np.concatenate([piece.frame for piece in pieces]), whole.frame)
    np.testing.assert_array_equal(np.concatenate([piece.weight for piece in pieces]), whole.weight)


def test_rates_with_huge_denominators_do_not_overflow() -> None:
    source, target = exact_rate(119.88012345678901), exact_rate(49.99999999999987)
    ours = resample(10**7, source, target, start=4 * 10**6, stop=4 * 10**6 + 3)
    for i, (frame, weight) in enumerate(zip(ours.frame.tolist(), ours.weight.tolist(), strict=True)):
        position = (4 * 10**6 + i) * source / target
        assert (frame, weight) == (math.floor(position), float(position - math.floor(position)))


def test_a_slower_source_holds_its_last_frame() -> None:
    ours = resample(3, Fraction(25), Fraction(50))
    np.testing.assert_array_equal(interpolate(ours, np.arange(3), np.array([0.0, 1.0, 2.0])), [0, 0.5, 1, 1.5, 2, 2])


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (2**61 - 1, 1025),  # four times the first number lies below 2^63, five times above
        (2**61 - 1, 2**60 + 1),
        (3, 2**63 - 25),
        (3, 2**63 + 29),
        (2**63 - 25, 2**63 + 29),
    ],
)
@pytest.mark.parametrize("stop", [4, 5])
def test_integers_that_int64_does_not_hold_are_exact(source: int, target: int, stop: int) -> None:
    ours = resample(2**62, Fraction(source), Fraction(target), 0, stop)
    for i, (frame, weight) in enumerate(zip(ours.frame.tolist(), ours.weight.tolist(), strict=True)):
        position = Fraction(i * source, target)
        assert frame == math.floor(position)
        assert weight == float(position - frame)
