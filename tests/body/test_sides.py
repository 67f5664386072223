"""Joints are named right whatever the regressor's file is called: published ones are known, and a body tells sides."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from h36m_amass.body import model, published, regressor, sides
from h36m_amass.body.joint_sets import load_sources
from h36m_amass.body.regressor import RegressorError
from h36m_amass.body.sides import h36m_skeleton
from h36m_amass.skeleton import H36M, JOINT_ORDERS, joint_order, named, side_pairs
from tests.scenes import REAL, needs_real

RIGHT_FIRST = list(JOINT_ORDERS["h36m"])
WRISTS = [13, 16]
"""Rows of the left and the right wrist."""


def made_up(support: Path, rows: list[int], path: Path) -> Path:
    """The support folder's regressor with its rows in another order, as a file of the usual name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.load(support / "J_regressor_h36m.npy")[rows])
    return path


def named_by_body(support: Path, path: Path, names: Path | None = None) -> tuple[str, ...]:
    (source,) = load_sources(path, names, support)
    joints = source.with_sides(support, None).joints
    assert joints is not None
    return joints.skeleton.joint_names


@pytest.mark.parametrize("legs", [False, True])
@pytest.mark.parametrize("arms", [False, True])
def test_the_rest_pose_tells_which_limb_is_left(support_dir: Path, tmp_path: Path, legs: bool, arms: bool) -> None:
    rows = list(range(17))
    rows[1:7] = [4, 5, 6, 1, 2, 3] if legs else rows[1:7]
    rows[11:17] = [14, 15, 16, 11, 12, 13] if arms else rows[11:17]
    path = made_up(support_dir, rows, tmp_path / "J_regressor_h36m.npy")
    assert named_by_body(support_dir, path) == tuple(H36M.joint_names[row] for row in rows)


def test_rows_that_are_no_limb_are_named(support_dir: Path, tmp_path: Path) -> None:
    rows = list(range(17))
    rows[13], rows[16] = WRISTS[1], WRISTS[0]
    path = made_up(support_dir, rows, tmp_path / "J_regressor_h36m.npy")
    with pytest.raises(RegressorError, match="rows 11 to 13 and 14 to 16 are not a left and a right limb") as caught:
        named_by_body(support_dir, path)
    assert str(path) in str(caught.value)


def test_without_a_body_the_names_are_those_of_spin(support_dir: Path, tmp_path: Path) -> None:
    path = made_up(support_dir, RIGHT_FIRST, tmp_path / "J_regressor_h36m.npy")
    (source,) = load_sources(path, None, tmp_path)
    assert source.with_sides(tmp_path, None) is source


@given(order=st.permutations(range(17)))
def test_orders_go_by_names_and_not_by_rows(order: list[int]) -> None:
    shuffled = named(tuple(H36M.joint_names[joint] for joint in order))
    for name in ("h36m", "uplift-upsample"):
        taken = [shuffled.joint_names[joint] for joint in joint_order(name, shuffled)]
        assert taken == [H36M.joint_names[joint] for joint in JOINT_ORDERS[name]]
    of = {name: H36M.joint_names[parent] for name, parent in zip(H36M.joint_names, H36M.parents, strict=True)}
    for joint, parent in enumerate(shuffled.parents):
        assert parent == -1 or of[shuffled.joint_names[joint]] == shuffled.joint_names[parent]


def test_pairs_are_found_in_names() -> None:
    names = ("Left Hip", "r_knee", "neck", "right hip", "L_Knee", "left_ear", "leftover", "right-hand", "left-hand")
    assert side_pairs(names) == ((0, 4, 8), (3, 1, 7))
    assert side_pairs(("foot_L", "foot_R", "l.eye", "r.eye")) == ((0, 2), (1, 3))
    assert side_pairs(("hip_left_1", "hip_left_2", "hip_right_2")) == ((1,), (2,))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("LHip", "RHip"),
        ("leftHip", "rightHip"),
        ("LeftUpLeg", "RightUpLeg"),
        ("mixamorig:LeftUpLeg", "mixamorig:RightUpLeg"),
        ("m_avg_L_Hip", "m_avg_R_Hip"),
        ("Hip (left)", "Hip (right)"),
        ("hip_left_1", "hip_right_1"),
        ("lhip", "rhip"),
        ("LEFT_HIP", "RIGHT_HIP"),
    ],
)
def test_pairs_are_found_however_they_are_spelt(left: str, right: str) -> None:
    assert side_pairs(("Spine", right, "Root", left)) == ((3,), (1,))


@pytest.mark.parametrize(
    ("order", "rows"),
    [
        ([0, 3, 2, 1, 6, 5, 4, *range(7, 17)], "1, 2, 3 are not hip, knee, ankle"),  # legs from the ankle up
        ([0, *range(11, 17), 7, 8, 9, 10, *range(1, 7)], "1, 2, 3 are not hip, knee, ankle"),  # arms first
        ([*range(11), 13, 12, 11, 16, 15, 14], "11, 12, 13 are not shoulder, elbow, wrist"),
        ([10, *range(1, 10), 0, *range(11, 17)], "0, 8, 10 are not pelvis, thorax, head_top"),
    ],
)
def test_rows_that_lie_where_their_joints_cannot_be_are_refused(support_dir: Path, order: list[int], rows: str) -> None:
    joints = regressor.load(support_dir / "J_regressor_h36m.npy")
    body = model.load(support_dir, "neutral")
    h36m_skeleton(Path("own.npy"), joints.matrix, body.v_template)
    with pytest.raises(regressor.RegressorError, match=f"rows {rows}"):
        h36m_skeleton(Path("own.npy"), joints.matrix[order], body.v_template)


def test_published_regressors_have_whole_skeletons() -> None:
    known = published.published()
    assert len({entry.file_sha256[:16] for entry in known}) == len(known) == 9
    for entry in known:
        joints = entry.skeleton
        assert len(joints) == entry.shape[0] == len(set(joints.joint_names))
        assert joints.parents.count(-1) == 1
        sided = [name for name in joints.joint_names if name.startswith(("left_", "right_"))]
        assert len(sided) == 2 * len(joints.left) == 2 * len(joints.right)
        for left, right in zip(joints.left, joints.right, strict=True):
            assert joints.joint_names[right] == joints.joint_names[left].replace("left_", "right_", 1)
            parents = (joints.joint_names[joints.parents[joint]] for joint in (left, right))
            assert len({name.replace("right_", "left_") for name in parents}) == 1


@needs_real
@pytest.mark.parametrize("layout", ["C", "F", "csc", "coo"])
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("J_regressor_h36m.npy", "SPIN's J_regressor_h36m"),
        ("J_regressor_h36m_correct.npy", "Pose2Mesh's J_regressor_h36m_correct"),
        ("smpl_J_regressor_24.npy", "SMPL's J_regressor"),
    ],
)
def test_a_published_regressor_is_known_in_any_layout(tmp_path: Path, file: str, name: str, layout: str) -> None:
    matrix = np.load(REAL / "regressors" / file)
    if layout in "CF":
        path = tmp_path / "J_regressor_h36m.npy"
        np.save(path, np.asarray(matrix, order=layout))
    else:
        path = tmp_path / "J_regressor_h36m.npz"
        scipy.sparse.save_npz(path, scipy.sparse.coo_array(matrix).asformat(layout))
    assert regressor.load(path).title == name
    changed = matrix.copy()
    changed[0] *= 0.5
    np.save(tmp_path / "changed.npy", changed)
    assert regressor.load(tmp_path / "changed.npy").title == "changed.npy"


@needs_real
def test_regressors_of_either_leg_first_are_the_same_joints_to_the_bit() -> None:
    spin, correct = (regressor.load(REAL / "regressors" / f"J_regressor_h36m{end}.npy") for end in ("", "_correct"))
    body = np.load(REAL / "maps" / "one_body_in_both_meshes.npz")["smh_v"].astype(float)
    places = []
    for loaded in (spin, correct):
        sides.check_sides(Path("r.npy"), loaded, body, "the body")
        rest = loaded.matrix @ body
        places.append({name: rest[row].tobytes() for row, name in enumerate(loaded.skeleton.joint_names)})
        names = loaded.skeleton.joint_names
        assert all(
            rest[names.index(f"left_{n[6:]}"), 0] > rest[row, 0] for row, n in enumerate(names) if n[:6] == "right_"
        )
    assert places[0] == places[1]
    assert spin.skeleton.joint_names[1] == "left_hip"
    assert correct.skeleton.joint_names[1] == "right_hip"


@needs_real
def test_a_regressor_under_another_ones_name_is_still_known(tmp_path: Path) -> None:
    shutil.copy(REAL / "regressors" / "J_regressor_h36m_correct.npy", tmp_path / "J_regressor_h36m.npy")
    loaded = regressor.load(tmp_path / "J_regressor_h36m.npy")
    assert loaded.skeleton.joint_names[1] == "right_hip"


def test_names_that_contradict_the_body_are_an_error(support_dir: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(H36M.joint_names[row] for row in RIGHT_FIRST))
    path = made_up(support_dir, list(range(17)), tmp_path / "own.npy")
    (source,) = load_sources(path, names, support_dir)
    with pytest.raises(RegressorError, match=r"left_hip \(row 4\) is not left of right_hip \(row 1\)") as caught:
        source.fit(model.load(support_dir, "male"), None, "SMPL+H (male)")
    assert str(caught.value).startswith(str(path))
