"""Left and right of a regressor's joints, compared with the rest pose of a body model.

In SMPL's rest pose and those of its successors, the person looks along +z and the left side is at larger x.
"""

from pathlib import Path

import numpy as np
import scipy.sparse
from jaxtyping import Float

from h36m_amass.body.regressor import JointRegressor, RegressorError
from h36m_amass.skeleton import H36M, Skeleton, reorder

_LEGS, _ARMS = ((1, 4), (2, 5), (3, 6)), ((11, 14), (12, 15), (13, 16))
"""Rows of the limbs of a 17-joint Human3.6M regressor: which of the two is left differs."""


def check_sides(path: Path, regressor: JointRegressor, v_template: Float[np.ndarray, "vertices 3"], body: str) -> None:
    """Raise `RegressorError`, which names the rows, if a left joint is not left of its partner in the rest pose.

    `path` is the regressor's file, and `body` says whose rest pose it is.
    """
    x, names = regressor.matrix @ v_template[:, 0], regressor.skeleton.joint_names
    wrong = [
        f"{names[left]} (row {left}) is not left of {names[right]} (row {right})"
        for left, right in zip(regressor.skeleton.left, regressor.skeleton.right, strict=True)
        if not x[left] > x[right]
    ]
    if wrong:
        reason = f"left and right are exchanged in the rest pose of {body}: {', '.join(wrong)}"
        raise RegressorError(f"{reason}; correct the names with --joint-names, or use another regressor", path)


def h36m_skeleton(path: Path, matrix: scipy.sparse.csr_array, v_template: Float[np.ndarray, "vertices 3"]) -> Skeleton:
    """The Human3.6M joints in the order of a regressor's 17 rows, whose left leg or right leg comes first.

    Raises `RegressorError`, which names the rows, if the rows of a limb lie on different sides, or if a row lies where
    its joint cannot be: legs go down from hip to ankle, arms out from shoulder to wrist, and the trunk goes up.
    """
    x, y = (matrix @ v_template[:, axis] for axis in (0, 1))
    rows = list(range(len(H36M)))
    for pairs in (_LEGS, _ARMS):
        first_is_left = [bool(x[first] > x[second]) for first, second in pairs]
        if len(set(first_is_left)) > 1 or any(x[first] == x[second] for first, second in pairs):
            limbs = " and ".join(f"{limb[0]} to {limb[-1]}" for limb in zip(*pairs, strict=True))
            reason = f"rows {limbs} are not a left and a right limb: in the rest pose, x is"
            values = ", ".join(f"{x[row]:.3f} in row {row}" for pair in pairs for row in pair)
            raise RegressorError(f"{reason} {values}; name its joints with --joint-names", path)
        if not first_is_left[0]:
            for first, second in pairs:
                rows[first], rows[second] = second, first
    trunk = [H36M.joint_names.index(name) for name in ("pelvis", "thorax", "head_top")]
    legs, arms = list(zip(*_LEGS, strict=True)), list(zip(*_ARMS, strict=True))
    for chain, values in ((trunk, y), *((leg, -y) for leg in legs), *((arm, np.abs(x)) for arm in arms)):
        if (np.diff(values[list(chain)]) <= 0).any():
            expected = ", ".join(H36M.joint_names[row].removeprefix("left_").removeprefix("right_") for row in chain)
            listed = ", ".join(map(str, chain))
            reason = f"rows {listed} are not {expected}, by where they lie in the rest pose"
            raise RegressorError(f"{reason}; name its joints with --joint-names", path)
    return reorder(H36M, tuple(rows))
