"""The Human3.6M joints, their orders, and files of joint names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_amass.skeleton import (
    H36M,
    JOINT_ORDERS,
    Skeleton,
    SkeletonError,
    bone_lengths,
    bones,
    joint_order,
    leftwards,
    named,
    read_joint_names,
    reorder,
    root,
    side,
)

# As VideoPose3D and MotionBERT number the joints: https://github.com/facebookresearch/VideoPose3D, h36m_dataset.py.
VIDEOPOSE3D = (
    *("pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("spine", "thorax", "nose", "head_top", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_shoulder", "right_elbow", "right_wrist"),
)
VIDEOPOSE3D_PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
# The right leg upwards, the left leg downwards, pelvis, trunk, head, right arm from the hand, left arm to the hand.
UPLIFT_UPSAMPLE = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("pelvis", "thorax", "spine", "nose", "head_top"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
)


def bones_by_name(skeleton: Skeleton) -> set[tuple[str, str]]:
    names = skeleton.joint_names
    return {(names[joint], names[parent]) for joint, parent in enumerate(skeleton.parents) if parent >= 0}


def pairs_by_name(skeleton: Skeleton) -> list[tuple[str, str]]:
    names = skeleton.joint_names
    return [(names[left], names[right]) for left, right in zip(skeleton.left, skeleton.right, strict=True)]


def test_h36m_joints_form_one_tree_about_the_pelvis() -> None:
    assert len(H36M) == 17 == len(H36M.parents) == len(set(H36M.joint_names))
    assert H36M.parents.count(-1) == 1
    for joint in range(len(H36M)):
        steps = 0
        while joint != 0:
            joint, steps = H36M.parents[joint], steps + 1
            assert 0 <= joint < 17
            assert steps < 17
    assert H36M.joint_names[0] == "pelvis"


def test_h36m_pairs_are_the_joints_with_left_and_right_in_their_names() -> None:
    names = H36M.joint_names
    assert {names[i] for i in H36M.left} == {name for name in names if name.startswith("left_")}
    assert {names[i] for i in H36M.right} == {name for name in names if name.startswith("right_")}
    for left, right in pairs_by_name(H36M):
        assert left.removeprefix("left_") == right.removeprefix("right_")


def test_a_mirror_image_has_the_same_bones() -> None:
    swap = {name: name for name in H36M.joint_names}
    for left, right in pairs_by_name(H36M):
        swap[left], swap[right] = right, left
    bones = bones_by_name(H36M)
    assert {(swap[joint], swap[parent]) for joint, parent in bones} == bones


def test_the_left_leg_comes_before_the_right_one_as_in_the_regressors_rows() -> None:
    assert H36M.joint_names[1:7] == tuple(
        f"{side}_{part}" for side in ("left", "right") for part in ("hip", "knee", "ankle")
    )


@pytest.mark.parametrize("order", list(JOINT_ORDERS))
def test_an_order_takes_each_joint_once(order: str) -> None:
    assert sorted(JOINT_ORDERS[order]) == list(range(17))
    assert joint_order(order, H36M) == JOINT_ORDERS[order]


def test_the_regressors_order_changes_nothing() -> None:
    assert reorder(H36M, joint_order("regressor", H36M)) == H36M


def test_h36m_order_is_that_of_videopose3d() -> None:
    ordered = reorder(H36M, joint_order("h36m", H36M))
    assert ordered.joint_names == VIDEOPOSE3D
    assert ordered.parents == VIDEOPOSE3D_PARENTS


def test_uplift_upsample_order_is_that_of_the_project() -> None:
    assert reorder(H36M, joint_order("uplift-upsample", H36M)).joint_names == UPLIFT_UPSAMPLE


@given(indices=st.permutations(range(17)))
def test_any_order_keeps_the_bones_and_the_pairs(indices: list[int]) -> None:
    ordered = reorder(H36M, tuple(indices))
    assert ordered.joint_names == tuple(H36M.joint_names[i] for i in indices)
    assert bones_by_name(ordered) == bones_by_name(H36M)
    assert pairs_by_name(ordered) == pairs_by_name(H36M)


@given(indices=st.permutations(range(17)))
def test_bones_keep_their_lengths_in_any_order(indices: list[int]) -> None:
    positions = np.random.default_rng(0).normal(size=(3, 17, 3))
    before = bone_lengths(positions, H36M)
    after = bone_lengths(positions[:, indices], reorder(H36M, tuple(indices)))
    assert before.shape == (3, 16)
    np.testing.assert_allclose(np.sort(after, axis=1), np.sort(before, axis=1))


def test_reordering_there_and_back_changes_nothing() -> None:
    for order in JOINT_ORDERS.values():
        assert reorder(reorder(H36M, order), tuple(np.argsort(order).tolist())) == H36M


def test_custom_joints_have_names_and_nothing_else() -> None:
    skeleton = named(("a", "b"))
    assert (skeleton.parents, skeleton.left, skeleton.right) == ((-1, -1), (), ())
    assert joint_order("regressor", skeleton) == (0, 1)
    assert bone_lengths(np.zeros((4, 2, 3)), skeleton).shape == (4, 0)


def test_an_unknown_order_is_refused_with_those_there_are() -> None:
    with pytest.raises(SkeletonError, match="spam") as caught:
        joint_order("spam", H36M)
    assert all(order in str(caught.value) for order in JOINT_ORDERS)


@pytest.mark.parametrize("order", ["h36m", "uplift-upsample"])
@pytest.mark.parametrize("count", [3, 17, 18])
def test_a_named_order_is_refused_for_other_joints(order: str, count: int) -> None:
    skeleton = named(tuple(f"joint_{k}" for k in range(count)))
    with pytest.raises(SkeletonError, match="regressor"):
        joint_order(order, skeleton)


@pytest.mark.parametrize("text", ["a\nb\nc", "a\nb\nc\n\n\n", "  a \r\nb\r\nc\r\n"])
def test_names_are_read_one_a_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(text.encode())
    assert read_joint_names(path, 3) == ("a", "b", "c")


def test_names_may_have_any_letters(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("Hüfte\n膝\nleft knee", encoding="utf-8")
    assert read_joint_names(path, 3) == ("Hüfte", "膝", "left knee")


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("a\nb\nc", encoding="utf-8-sig")
    assert read_joint_names(path, 3) == ("a", "b", "c")


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"a\nb", b"a\nb\nc\nd", b"a\nb\na", b"a\n\nc", b"a\n  \nc"),
        *(b"\nb\nc\n\n", b"a\xff\nb\nc", b"a\nb\nc\0"),
    ],
)
def test_names_that_are_not_as_many_distinct_words_are_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(text)
    with pytest.raises(SkeletonError, match=r"names\.txt") as caught:
        read_joint_names(path, 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent.txt", "."])
def test_a_file_of_names_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(SkeletonError) as caught:
        read_joint_names(path, 3)
    assert str(caught.value).startswith(f"{path}: ")


def test_each_joint_has_a_side_and_each_but_the_root_a_bone() -> None:
    by_side = {name: [j for j in range(17) if side(H36M, j) == name] for name in ("left", "right", "middle")}
    assert (by_side["left"], by_side["right"]) == (list(H36M.left), list(H36M.right))
    assert sorted(joint for joints in by_side.values() for joint in joints) == list(range(17))
    pairs = bones(H36M)
    assert [root(H36M), *pairs[:, 1].tolist()] == list(range(17))
    assert all(H36M.parents[joint] == parent for parent, joint in pairs.tolist())
    assert bones(named(("a", "b"))).shape == (0, 2)


@given(st.floats(0, 6.28), st.floats(-5, 5))
def test_leftwards_turns_with_the_person_and_a_mirror_swaps_it(angle: float, shift: float) -> None:
    pose = np.zeros((17, 3))
    pose[list(H36M.left), 0], pose[list(H36M.right), 0] = 0.2, -0.2
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = pose @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]]) + [shift, -shift, 1.0]
    np.testing.assert_allclose(leftwards(turned, H36M), (cosine, sine), atol=1e-9)
    swapped = Skeleton(H36M.joint_names, H36M.parents, H36M.right, H36M.left)
    np.testing.assert_allclose(leftwards(turned, swapped), (-cosine, -sine), atol=1e-9)


def test_a_pose_that_does_not_tell_its_left_is_seen_from_the_front() -> None:
    for skeleton in (H36M, named(H36M.joint_names)):
        np.testing.assert_array_equal(leftwards(np.ones((17, 3)), skeleton), (1, 0))
