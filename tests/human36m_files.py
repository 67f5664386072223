"""Made-up files in the form of Human3.6M's, as VideoPose3D's scripts write them with NumPy 1 and with NumPy 2."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

ACTIONS = {"Directions": 40, "Walking 1": 70, "WalkDog": 1}
"""Frames of each action of a subject; S11 has no Directions."""
SUBJECTS = ("S1", "S9", "S11")
IDS = ("54138969", "55011271", "58860488", "60457274")
METADATA: dict[str, Any] = {
    "layout_name": "h36m",
    "num_joints": 17,
    "keypoints_symmetry": [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]],
}
GT_METADATA = {
    "num_joints": 17,
    "keypoints_symmetry": [[np.int64(joint) for joint in side] for side in METADATA["keypoints_symmetry"]],
}
"""Metadata of ``data_2d_h36m_gt.npz``: its joints are NumPy's integers, because they are taken from an array."""
NAMES = (
    *("pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("spine", "thorax", "nose", "head_top"),
    *("left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist"),
)
"""Joints in VideoPose3D's order."""
JOINTS_OF_32 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""Where they are among the 32."""

Dictionary = dict[str, dict[str, Any]]


def poses(seed: int = 0) -> Dictionary:
    """Stiff people who move about, 32 joints, metres."""
    rng = np.random.default_rng(seed)
    made: Dictionary = {subject: {} for subject in SUBJECTS}
    for subject in SUBJECTS:
        person = rng.normal((0, 0, 1), 0.4, (32, 3))
        for action, frames in ACTIONS.items():
            way = np.cumsum(rng.normal(0, 0.01, (frames, 1, 3)), axis=0)
            made[subject][action] = (person + way).astype(np.float32)
    del made["S11"]["Directions"]
    return made


def pixels(positions: Dictionary, longer: int = 0, seed: int = 1) -> Dictionary:
    """What a detector might say: four cameras, the last with some frames more than there are poses."""
    rng = np.random.default_rng(seed)
    return {
        subject: {
            action: [
                rng.uniform(0, 1000, (len(array) + longer * (camera == 3), 17, 2)).astype(np.float32)
                for camera in range(4)
            ]
            for action, array in actions.items()
        }
        for subject, actions in positions.items()
    }


def write_npz(path: Path, numpy_version: int = 2, **contents: Any) -> Path:
    """What ``numpy.savez_compressed`` makes of dictionaries: arrays without axes that hold an object."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            with archive.open(f"{name}.npy", "w") as member:
                header = {"descr": "|O", "fortran_order": False, "shape": ()}
                np.lib.format.write_array_header_1_0(member, header)
                member.write(content if isinstance(content, bytes) else pickled(content, numpy_version))
    return path


def pickled(content: Any, numpy_version: int) -> bytes:
    """An object as that NumPy pickles it; both name another module of theirs, and take another protocol."""
    array = np.array(content, dtype=object)
    if numpy_version == 2 <= int(np.__version__.split(".")[0]):
        return pickle.dumps(array, protocol=4)
    modules = {1: b"cnumpy.core.", 2: b"cnumpy._core."}  # as protocol 3 has them
    return pickle.dumps(array, protocol=3).replace(modules[3 - numpy_version], modules[numpy_version])
