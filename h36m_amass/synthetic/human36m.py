"""Made-up motion capture in the form of Human3.6M's, as VideoPose3D's users have it."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from h36m_amass.synthetic.body import SYNTHETIC_NOTE

MOVING = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""Which of the 32 joints move, in the order ``h36m``."""
_AWAY = {1: (0, 0.3), 4: (0, 0.3), 7: (8, -0.1), 8: (9, -0.15), 10: (9, 0.25), 11: (8, -0.1), 14: (8, -0.1)}
"""Joints of the order ``h36m`` that move away from another one, by a share of their distance: made up, see below."""


def as_motion_capture(joints: Float[np.ndarray, "*frames 17 3"]) -> Float[np.ndarray, "*frames 17 3"]:
    """The same poses under another definition of hips, spine, thorax, head and shoulders; joints of the order ``h36m``.

    That of Human3.6M differs from that of regressed joints, too, but how far is not taken from it: it is made up.
    """
    moved = joints.copy()
    for joint, (other, share) in _AWAY.items():
        moved[..., joint, :] += share * (joints[..., joint, :] - joints[..., other, :])
    return moved


def write_human36m(
    path: Path | str, positions_3d: Mapping[str, Mapping[str, Float[np.ndarray, "frames 17 3"]]]
) -> None:
    """A ``data_3d_h36m.npz`` of these subjects and actions: joints of the order ``h36m``, metres, z up, 50 Hz.

    A file that this function made is replaced. Raises `FileExistsError` if another one exists: the real one, say.
    """
    if Path(path).exists() and not _is_made_up(path):
        raise FileExistsError(f"{path}: exists, and was not made up by write_human36m; give another name")
    content: dict[str, dict[str, Shaped[np.ndarray, "frames 32 3"]]] = {}
    for subject, actions in positions_3d.items():
        content[subject] = {}
        for action, joints in actions.items():
            all_joints = np.repeat(joints[:, :1], 32, axis=1).astype(np.float32)  # the others stand at the pelvis
            all_joints[:, MOVING] = joints
            content[subject][action] = all_joints
    with Path(path).open("wb") as file:  # NumPy would add .npz to other names
        np.savez_compressed(file, positions_3d=np.array(content, object), synthetic=np.array(SYNTHETIC_NOTE))


def _is_made_up(path: Path | str) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "synthetic.npy" in archive.namelist()
