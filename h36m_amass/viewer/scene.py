"""Where people and the camera stand in the viewer's scene."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from h36m_amass.skeleton import Skeleton, leftwards

FIELD_OF_VIEW = np.radians(40.0)
"""Of the camera, from top to bottom, in radians."""
ASPECT = 0.7
"""Width by height of the narrowest window in which nobody is cut off."""
_MARGIN = 1.15
"""How much more than the person fits into the view."""


def facing(pose: Float[np.ndarray, "joints 3"], skeleton: Skeleton) -> Float[np.ndarray, "3"]:
    """Unit vector along the ground to where the person faces: left × up; -y if the joints do not tell."""
    x, y = leftwards(pose, skeleton)
    return np.array([y, -x, 0.0])


def camera(
    points: Float[np.ndarray, "points 3"], ahead: Float[np.ndarray, "3"], turn: float = 0.0
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Position of a camera, and the point it looks at, that sees all of `points` from the front.

    It stands where they face, `ahead`, turned by `turn` radians to their left, somewhat above their middle, and as
    far away as `FIELD_OF_VIEW`, which is that of the height, asks for in a window as wide for its height as `ASPECT`.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    to_left = np.array([-ahead[1], ahead[0], 0.0])
    away = np.cos(turn) * ahead + np.sin(turn) * to_left + (0.0, 0.0, 0.25)
    away /= np.linalg.norm(away)
    right = np.array([-away[1], away[0], 0.0]) / np.hypot(away[0], away[1])
    axes = np.stack([right / ASPECT, np.cross(away, right)])
    aside = np.abs((points - middle) @ axes.T).max(axis=1) / np.tan(FIELD_OF_VIEW / 2)
    distance = _MARGIN * max(float((aside + (points - middle) @ away).max()), 0.5)
    return middle + distance * away, middle


def beside(
    first: Float[np.ndarray, "3"],
    second: Float[np.ndarray, "3"],
    ahead: Float[np.ndarray, "3"],
    gap: float,
    same: bool,
) -> Float[np.ndarray, "3"]:
    """How far the second figure is moved along the ground to stand `gap` metres to the left of the first.

    Parameters
    ----------
    first, second
        Where the two roots are at the start.
    ahead
        Where the first one faces.
    gap
        In metres; 0 for one on top of the other.
    same
        Whether both show one recording. Then the starts are not brought together, so that the two differ as they do.
    """
    to_left = np.array([-ahead[1], ahead[0], 0.0])
    shift = np.zeros(3) if same else (first - second).astype(np.float64) * (1.0, 1.0, 0.0)
    return shift + gap * to_left
