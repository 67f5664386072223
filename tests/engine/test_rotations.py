"""Rotations without the difference of nearly equal numbers."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from h36m_amass.engine.rotations import rotation_minus_identity


@given(st.lists(st.floats(-8, 8), min_size=3, max_size=3), st.sampled_from([1.0, 1e-4, 1e-9, 1e-200]))
def test_rotation_minus_identity_is_a_rotation_minus_identity(rotvec: list[float], scale: float) -> None:
    vector = np.array(rotvec) * scale
    ours = rotation_minus_identity(torch.from_numpy(vector)[None, :, None]).numpy().reshape(3, 3)
    np.testing.assert_allclose(ours + np.eye(3), Rotation.from_rotvec(vector).as_matrix(), atol=1e-14)
    # The skew part is sin(angle)/angle times the vector, with full relative precision however small the angle.
    skew = [ours[2, 1] - ours[1, 2], ours[0, 2] - ours[2, 0], ours[1, 0] - ours[0, 1]]
    angle = np.linalg.norm(vector)
    np.testing.assert_allclose(skew, 2 * np.sinc(angle / np.pi) * vector, rtol=1e-9, atol=1e-15 * angle + 1e-300)
