"""The colours of left, right and middle: the same in all pictures and in the viewer."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from h36m_amass.skeleton import Skeleton, side

LEFT, RIGHT, MIDDLE = (31, 119, 180), (214, 39, 40), (64, 64, 64)
"""Red, green and blue of 255."""
_OF_SIDE = {"left": LEFT, "right": RIGHT, "middle": MIDDLE}


def colours_of(skeleton: Skeleton) -> UInt8[np.ndarray, "joints 3"]:
    """Red, green and blue of each joint, and of the bone that leads to it."""
    return np.array([_OF_SIDE[side(skeleton, joint)] for joint in range(len(skeleton))], np.uint8)
