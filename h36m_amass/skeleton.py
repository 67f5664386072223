"""Joint names, parents, left/right pairs and the joint orders that people use.

The 17 joints are those of Human3.6M (Ionescu et al., PAMI 2014) in the row order of SPIN's
``J_regressor_h36m.npy`` (Kolotouros et al., ICCV 2019), whose left leg comes before the right one. The kinematic
joints of the body models have the names that smplx gives them (Pavlakos et al., CVPR 2019).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Shaped

from h36m_amass.errors import H36mAmassError
from h36m_amass.files.paths import open_file

MAX_NAMES_BYTES = 2**20
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # RHip has two, LEFT_HIP and leftHip as well


class SkeletonError(H36mAmassError):
    """A joint order or a file of joint names does not fit."""


@dataclass(frozen=True)
class Skeleton:
    """What the K joints of a store are: K distinct names, in the order of the regressor's rows, and their bones.

    A joint's bone is drawn from its parent, -1 for none; unknown joints have no bones. Joints ``left[i]`` and
    ``right[i]`` are a pair that swaps places in a mirror image.
    """

    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.joint_names)

    @property
    def is_h36m(self) -> bool:
        """Whether the joints are the 17 of Human3.6M, in whatever order."""
        return len(self) == len(H36M) and set(self.joint_names) == set(H36M.joint_names)


H36M = Skeleton(
    joint_names=(
        *("pelvis", "left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle"),
        *("spine", "thorax", "nose", "head_top"),
        *("left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist"),
    ),
    parents=(-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
    left=(1, 2, 3, 11, 12, 13),
    right=(4, 5, 6, 14, 15, 16),
)

_BODY = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle"),
    *("spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder"),
    *("right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
)
_FINGERS = tuple(
    f"{side}_{finger}{joint}"
    for side in ("left", "right")
    for finger in ("index", "middle", "pinky", "ring", "thumb")
    for joint in (1, 2, 3)
)
BODY_JOINTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "smplh": (*_BODY, *_FINGERS),
        "smplx": (*_BODY, "jaw", "left_eye_smplhf", "right_eye_smplhf", *_FINGERS),
        "smpl": (*_BODY, "left_hand", "right_hand"),
    }
)
"""Names of the kinematic joints of each family of body models, in the order of its bones."""

JOINT_ORDERS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        # The regressor's rows as they are: what the original AMASS-to-3DHPE script writes. These are SPIN's.
        "regressor": tuple(range(17)),
        # VideoPose3D, MotionBERT: right leg before left leg.
        "h36m": (0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16),
        # The order that uplift-upsample-3dhpe trains on.
        "uplift-upsample": (6, 5, 4, 1, 2, 3, 0, 8, 7, 9, 10, 16, 15, 14, 11, 12, 13),
    }
)


def named(joint_names: tuple[str, ...]) -> Skeleton:
    """Skeleton of joints whose names are all that is known.

    The 17 names of Human3.6M, in any order, have its bones. Others have none. Names that differ only in ``left_`` and
    ``right_`` are pairs, see `side_pairs`.
    """
    if set(joint_names) == set(H36M.joint_names) and len(joint_names) == len(H36M):
        return reorder(H36M, tuple(H36M.joint_names.index(name) for name in joint_names))
    return Skeleton(joint_names, (-1,) * len(joint_names), *side_pairs(joint_names))


def side_pairs(joint_names: tuple[str, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Joints with the word ``left`` or ``l`` in their names, and their partners, which have ``right`` or ``r`` there.

    A word ends at anything but a letter, and before a capital; case does not count: ``Left hip`` and ``Right hip``,
    ``hip_l`` and ``hip_r``, ``LHip`` and ``RHip``, ``mixamorig:LeftUpLeg`` and ``mixamorig:RightUpLeg``. In ``lhip``
    and ``rhip`` the first letter counts, if both are there. A joint without a partner is in no pair.
    """
    sides: dict[str, dict[str, int]] = {"l": {}, "r": {}}
    for joint, name in enumerate(joint_names):
        word = next((word for word in _WORD.finditer(name) if word[0].lower() in ("left", "l", "right", "r")), None)
        start, end = (0, 1) if word is None else word.span()
        if name[start:end].lower() in ("left", "l", "right", "r"):
            sides[name[start].lower()][f"{name[:start]}\0{name[end:]}".lower()] = joint
    pairs = [(joint, sides["r"][rest]) for rest, joint in sides["l"].items() if rest in sides["r"]]
    return tuple(left for left, _ in pairs), tuple(right for _, right in pairs)


def body_skeleton(model: str, parents: Int[np.ndarray, "bones"]) -> Skeleton:
    """The kinematic joints of a body model of the family `model`, a key of `BODY_JOINTS`."""
    return Skeleton(BODY_JOINTS[model], tuple(parents.tolist()), *side_pairs(BODY_JOINTS[model]))


def leg_order(skeleton: Skeleton) -> str:
    """``"left leg first"`` or ``"right leg first"``, whichever hip comes first; empty without hips."""
    names = [name for name in skeleton.joint_names if name in ("left_hip", "right_hip")]
    return f"{names[0].removesuffix('_hip')} leg first" if names else ""


def read_joint_names(path: Path, num_joints: int) -> tuple[str, ...]:
    """Joint names from a text file, one per line; blank lines at the end do not count.

    Raises
    ------
    SkeletonError
        The file cannot be read, or does not hold exactly `num_joints` distinct, non-empty names.
    """
    try:
        with open_file(path) as file:
            content = file.read(MAX_NAMES_BYTES + 1)
        if len(content) > MAX_NAMES_BYTES:
            raise SkeletonError(f"is larger than {MAX_NAMES_BYTES} bytes; give one name per line", path)
        lines = content.decode("utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SkeletonError(f"cannot be read as joint names ({error}); give one name per line", path) from error
    names = tuple(line.strip() for line in lines)
    if len(names) != num_joints:
        raise SkeletonError(f"{len(names)} joint names for a regressor of {num_joints} joints; one name per line", path)
    if len(set(names)) != len(names) or not all(name and name.isprintable() for name in names):
        raise SkeletonError(f"a joint name is empty, unprintable or repeated; give {num_joints} distinct names", path)
    return names


def joint_order(order: str, skeleton: Skeleton) -> tuple[int, ...]:
    """Index of each joint of `order` in `skeleton`, by name: ``positions[:, joint_order(...)]`` reorders.

    Raises
    ------
    SkeletonError
        The order is unknown, or `skeleton` is not the Human3.6M one that the named orders are about.
    """
    if order not in JOINT_ORDERS:
        raise SkeletonError(f"joint order {order!r} is unknown; choose from {', '.join(JOINT_ORDERS)}")
    if order == "regressor":
        return tuple(range(len(skeleton)))
    if not skeleton.is_h36m:
        reason = f"is one of the 17 Human3.6M joints, and this store holds {len(skeleton)} others; use 'regressor'"
        raise SkeletonError(f"joint order {order!r} {reason}")
    return tuple(skeleton.joint_names.index(H36M.joint_names[joint]) for joint in JOINT_ORDERS[order])


def reorder(skeleton: Skeleton, indices: tuple[int, ...]) -> Skeleton:
    """The same skeleton with its joints taken in the order `indices`."""
    position = {old: new for new, old in enumerate(indices)}
    return Skeleton(
        joint_names=tuple(skeleton.joint_names[i] for i in indices),
        parents=tuple(position.get(skeleton.parents[i], -1) for i in indices),
        left=tuple(position[i] for i in skeleton.left),
        right=tuple(position[i] for i in skeleton.right),
    )


def root(skeleton: Skeleton) -> int:
    """The first joint that does not end a bone, like the pelvis."""
    return skeleton.parents.index(-1)


def bones(skeleton: Skeleton) -> Int[np.ndarray, "bones 2"]:
    """Parent and joint of each bone, in the order of the joints."""
    pairs = [(parent, joint) for joint, parent in enumerate(skeleton.parents) if parent >= 0]
    return np.array(pairs, np.int64).reshape(-1, 2)


def side(skeleton: Skeleton, joint: int) -> Literal["left", "right", "middle"]:
    """The side of the body that a joint, and the bone that leads to it, is on."""
    if joint in skeleton.left:
        return "left"
    return "right" if joint in skeleton.right else "middle"


def bone_lengths(
    positions_3d: Shaped[np.ndarray, "*frames joints 3"], skeleton: Skeleton
) -> Shaped[np.ndarray, "*frames bones"]:
    """Distance in metres from each joint that has a parent to that parent."""
    parents, joints = bones(skeleton).T
    lengths: np.ndarray = np.linalg.norm(positions_3d[..., joints, :] - positions_3d[..., parents, :], axis=-1)
    return lengths


def leftwards(pose: Shaped[np.ndarray, "joints 3"], skeleton: Skeleton) -> Float[np.ndarray, "2"]:
    """Unit vector in the ground plane towards the person's left; x, if the joints do not tell left from right."""
    if not skeleton.left:
        return np.array([1.0, 0.0])
    across = pose[list(skeleton.left), :2].mean(axis=0) - pose[list(skeleton.right), :2].mean(axis=0)
    length = float(np.linalg.norm(across))
    return np.array([1.0, 0.0]) if length < 1e-6 else (across / length).astype(np.float64)
