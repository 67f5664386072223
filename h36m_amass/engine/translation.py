"""The root translation, in float64."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def add_translation(
    relative: Float[np.ndarray, "frames joints 3"],
    trans: Float[np.ndarray, "frames 3"],
    row_sums: Float[np.ndarray, "joints"],
) -> Float[np.ndarray, "frames joints 3"]:
    """World positions in float32: the sum is taken in float64 and rounded once.

    Each joint's share is a product of matrices, with one number other than zero a column, because NumPy is slow over
    rows of three numbers.
    """
    share_of_joint = np.zeros((3, len(row_sums), 3))
    share_of_joint[range(3), :, range(3)] = row_sums
    shares = trans.astype(np.float64) @ share_of_joint.reshape(3, -1)
    world = np.empty(relative.shape, np.float32)
    np.add(relative.reshape(len(relative), -1), shares, out=world.reshape(len(world), -1), casting="same_kind")
    return world
