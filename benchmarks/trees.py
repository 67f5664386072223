"""Synthetic AMASS trees of a given number of frames, in AMASS's mix of lengths, rates and genders."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from h36m_amass import synthetic

RATES = (120.0, 60.0, 100.0, 150.0, 250.0)
GENDERS = ("male", "female", "neutral")
MEDIAN_SECONDS, SPREAD, LONGEST_SECONDS = 6.0, 0.9, 240.0


@cache
def _motion(gender: str, rate: float, fingers: str) -> dict[str, np.ndarray]:
    """A long motion from which recordings are cut."""
    return synthetic.motion("walk", LONGEST_SECONDS, rate, gender=gender, fingers=fingers, seed=7)


def write_mixed(folder: Path, num_frames: int, seed: int = 0) -> int:
    """Recordings with a median of 6 s and some of minutes, until there are `num_frames`; returns how many."""
    rng = np.random.default_rng(seed)
    written = number = 0
    while written < num_frames:
        rate = RATES[number % len(RATES)]
        seconds = min(MEDIAN_SECONDS * float(np.exp(SPREAD * rng.normal())), LONGEST_SECONDS)
        length = min(max(round(seconds * rate), 2), num_frames - written + 1)
        gender, fingers = GENDERS[number % 3], "moving" if number % 4 == 3 else "still"
        _write(folder, number, _motion(gender, rate, fingers), length)
        written, number = written + length, number + 1
    return number


def write_equal(folder: Path, num_sequences: int, length: int) -> None:
    """`num_sequences` recordings of `length` frames at 120 Hz; a long one repeats its motion."""
    for number in range(num_sequences):
        _write(folder, number, _motion(GENDERS[number % 3], 120.0, "still"), length)


def _write(folder: Path, number: int, motion: dict[str, np.ndarray], length: int) -> None:
    frames = np.arange(length) % len(motion["poses"])
    cut = {name: motion[name][frames] for name in ("poses", "trans", "dmpls")}
    path = folder / f"Set{number % 5}" / f"s{number // 5 % 40:02d}" / f"{number:06d}_poses.npz"
    synthetic.write_recording(path, {**motion, **cut})


def size(folder: Path) -> int:
    """Bytes of all recordings."""
    return sum(path.stat().st_size for path in folder.rglob("*.npz"))
