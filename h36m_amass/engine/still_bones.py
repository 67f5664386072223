"""What bones that hold one pose over a run bring about: constants of the run, computed once and in float64."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from h36m_amass.engine.layout import Layout
from h36m_amass.engine.rotations import rotation_minus_identity


class StillTerms(NamedTuple):
    """The share of still bones in the terms, and ``Rot - I`` of the bones that `Plan.held` names."""

    terms: Float[np.ndarray, "terms"]
    held: Float[np.ndarray, "9*held"]


class StillBones:
    """Still terms of a layout. The last ones are kept: most recordings of a dataset hold their fingers alike."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._last: dict[frozenset[int], tuple[bytes, StillTerms]] = {}

    def terms(self, pose: Float[np.ndarray, "3*body_bones"], moving: frozenset[int]) -> StillTerms:
        """Where those of the classes that are not `moving` are as in `pose`."""
        layout = self._layout
        still = [bone_class for number, bone_class in enumerate(layout.classes) if number not in moving]
        key = b"".join([pose[bone_class.columns].tobytes() for bone_class in still])
        last = self._last.get(moving)
        if last is None or last[0] != key:
            rotations = np.zeros((len(layout.rotated), 9))
            terms = np.zeros(3 * layout.num_vectors)
            for bone_class in still:
                first, number = bone_class.bones
                rotvecs = torch.from_numpy(pose[bone_class.columns].astype(np.float64))
                of_class = rotation_minus_identity(rotvecs.view(number, 3, 1)).numpy()[:, :, 0]
                rotations[first : first + number] = of_class
                terms[bone_class.rows] += bone_class.correctives @ of_class.reshape(-1)
            held = rotations[layout.plan(moving).held].reshape(-1)
            last = self._last[moving] = key, StillTerms(terms, held)
        return last[1]
