"""Is what a recording says plausible? Nobody turns by 90 radians, lives 900 m up, or has two frame rates.

Such a recording is still converted, with a warning whose words are the same for all recordings of one fault.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from h36m_amass.recordings.resampling import FrameRateError, exact_rate

MAX_ANGLE = 20.0
"""Radians: three full turns. AMASS's largest rotation vectors have some two; arms that hang down have 70 degrees."""
MAX_DISTANCE = 100.0
"""Metres from the origin, along one axis. A standing person's pelvis is some 900 mm above the ground."""
MIN_UPRIGHT = 0.5  # cosine of 60 degrees: the largest angle from z to the body's own upward direction
POSE_STEP = 16  # frames from one whose rotations are looked at to the next; the last one is looked at, too
TWO_RATES = "the file has two frame rates"  # with which a warning about them begins
_AXES = ("x", "y", "z")


def of_rates(first: float, second: float | None) -> list[str]:
    """Warnings about the two frame rates that a file can have."""
    try:
        if second is None or exact_rate(first) == exact_rate(second):
            return []
    except FrameRateError:
        pass
    return [f"{TWO_RATES}, {first:g} and {second:g} Hz; the first is taken"]


def of_values(poses: Float[np.ndarray, "frames 3*bones"], trans: Float[np.ndarray, "frames 3"]) -> list[str]:
    """Warnings about magnitudes: rotation vectors in degrees, translations in millimetres."""
    warnings = []
    if max(np.abs(poses[::POSE_STEP]).max(), np.abs(poses[-1]).max()) > MAX_ANGLE:
        warnings.append(f"poses turn by more than {MAX_ANGLE:g} rad; they may be in degrees")
    if np.abs(trans).max() > MAX_DISTANCE:
        warnings.append(f"trans reaches more than {MAX_DISTANCE:g} m from the origin; it may be in millimetres")
    return warnings


def of_posture(root: Float[np.ndarray, "3"]) -> list[str]:
    """Warnings about a first frame's root orientation, a rotation vector: z is up in AMASS, and y is in SMPL's body."""
    x, y, z = root.tolist()
    angle = math.hypot(x, y, z)
    # Rodrigues' formula for what becomes of (0, 1, 0).
    sine, versine = (math.sin(angle) / angle, 2 * (math.sin(angle / 2) / angle) ** 2) if angle > 0 else (1.0, 0.5)
    up = versine * x * y - sine * z, 1 - versine * (x * x + z * z), versine * y * z + sine * x
    if up[2] >= MIN_UPRIGHT:
        return []
    largest, axis = max(zip(up, _AXES, strict=True), key=lambda component: abs(component[0]))
    direction = f"{'-' if largest < 0 else ''}{axis}"
    return [f"not upright in the first frame: the body's up is {direction}, and AMASS's is z"]
