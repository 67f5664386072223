"""Mirror images and rotations are isometries that leave bodies as they are."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from h36m_amass import skeleton
from h36m_amass.demo import Demo
from h36m_amass.store.store import Store
from h36m_amass.training.transforms import Compose, Mirror, RotateVertical
from h36m_amass.training.windows import WindowDataset, collate

ORDERS = st.sampled_from(sorted(skeleton.JOINT_ORDERS))


def windows(seed: int) -> torch.Tensor:
    return torch.randn(6, 4, 17, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def lengths(positions: torch.Tensor, bones: skeleton.Skeleton) -> np.ndarray:
    return skeleton.bone_lengths(positions.numpy(), bones)


@given(seed=st.integers(0, 99), order=ORDERS, axis=st.integers(0, 2))
def test_a_mirror_image_of_a_mirror_image_is_the_original(seed: int, order: str, axis: int) -> None:
    bones = skeleton.reorder(skeleton.H36M, skeleton.JOINT_ORDERS[order])
    mirror, positions, chosen = Mirror(bones, axis=axis), windows(seed), torch.arange(6) % 2 == 0
    images = mirror.mirrored(positions, chosen)
    assert torch.equal(images[~chosen], positions[~chosen])
    assert not torch.equal(images[chosen], positions[chosen])
    assert torch.equal(mirror.mirrored(images, chosen), positions)
    sides = list(bones.left) + list(bones.right)
    others = list(bones.right) + list(bones.left)
    kept = [i for i in range(3) if i != axis]
    assert torch.equal(images[chosen][:, :, sides][..., kept], positions[chosen][:, :, others][..., kept])
    assert torch.equal(images[chosen][:, :, sides][..., axis], -positions[chosen][:, :, others][..., axis])


@given(seed=st.integers(0, 99), first=st.floats(-7, 7), second=st.floats(-7, 7))
def test_rotations_add_up_and_keep_heights_and_distances(seed: int, first: float, second: float) -> None:
    turn, positions = RotateVertical(), windows(seed)

    def rotated(values: torch.Tensor, angle: float) -> torch.Tensor:
        return turn.rotated(values, torch.full((6,), angle, dtype=torch.float64))

    once = rotated(positions, first)
    torch.testing.assert_close(rotated(once, second), rotated(positions, first + second))
    torch.testing.assert_close(rotated(positions, 2 * math.pi), positions)
    assert torch.equal(once[..., 2], positions[..., 2])
    np.testing.assert_allclose(lengths(once, skeleton.H36M), lengths(positions, skeleton.H36M))


def test_a_mirror_negates_x_unless_told_otherwise() -> None:
    positions = windows(3)
    (left, right), swapped = (skeleton.H36M.left, skeleton.H36M.right), list(range(17))
    for one, other in zip(left, right, strict=True):
        swapped[one], swapped[other] = other, one
    images = Mirror(skeleton.H36M, probability=1.0)({"positions_3d": positions})["positions_3d"]
    assert torch.equal(images, positions[:, :, swapped] * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))


def test_half_precision_is_turned_by_angles_in_float32() -> None:
    half = windows(4).half()
    turned = {}
    for dtype in (torch.float16, torch.float32):
        torch.manual_seed(5)
        turned[dtype] = RotateVertical()({"positions_3d": half.to(dtype)})["positions_3d"]
    assert turned[torch.float16].dtype == torch.float16
    assert torch.equal(turned[torch.float16], turned[torch.float32].half())


def test_a_quarter_turn_takes_x_to_y() -> None:
    positions = torch.zeros(1, 1, 1, 3)
    positions[..., 0] = 1.0
    turned = RotateVertical().rotated(positions, torch.tensor([math.pi / 2]))
    torch.testing.assert_close(turned.flatten(), torch.tensor([0.0, 1.0, 0.0]))


def test_chance_is_torchs_and_as_likely_as_asked() -> None:
    batch = {"positions_3d": torch.randn(4000, 1, 17, 3), "mask": torch.ones(4000, 1, dtype=torch.bool)}
    for probability in (0.0, 0.25, 1.0):
        mirror = Mirror(skeleton.H36M, probability)
        torch.manual_seed(5)
        result = mirror(batch)
        torch.manual_seed(5)
        assert torch.equal(mirror(batch)["positions_3d"], result["positions_3d"])
        assert result["mask"] is batch["mask"]
        share = (result["positions_3d"] != batch["positions_3d"]).any((1, 2, 3)).float().mean()
        assert abs(share - probability) < 0.03
    turned = RotateVertical(0.3)(batch)["positions_3d"]
    x, y = (positions[:, 0, 0, :2] @ torch.tensor([1.0, 1j]) for positions in (batch["positions_3d"] + 0j, turned + 0j))
    angles = torch.angle(y / x)
    assert angles.abs().max() <= 0.3 + 1e-4
    assert angles.std() == pytest.approx(0.3 / math.sqrt(3), rel=0.1)


def test_a_skeleton_without_sides_has_no_mirror_image() -> None:
    with pytest.raises(skeleton.SkeletonError, match="no mirror image"):
        Mirror(skeleton.named(("a", "b")))


def test_impossible_chances_and_axes_are_refused() -> None:
    for make in (
        lambda: Mirror(skeleton.H36M, 50),
        lambda: Mirror(skeleton.H36M, axis=3),
        lambda: RotateVertical(axis=-1),
    ):
        with pytest.raises(ValueError, match=r"must be between 0 and 1, not 50|must be 0, 1 or 2, not"):
            make()


def test_bodies_of_augmented_windows_keep_their_bones(demo: Demo) -> None:
    with Store(demo.store) as store:
        transform = Compose([Mirror(store.skeleton_in("h36m")), RotateVertical()])
        pickled = pickle.loads(pickle.dumps(transform))  # noqa: S301 # our own object, made here
        plain = WindowDataset(store, 9, stride=20, joint_order="h36m")
        augmented = WindowDataset(store, 9, stride=20, joint_order="h36m", transform=pickled)
        torch.manual_seed(0)
        before, after = (collate(d.__getitems__(range(len(d)))) for d in (plain, augmented))
    assert not torch.equal(before["positions_3d"], after["positions_3d"])
    bones = store.skeleton_in("h36m")
    # Both sides of a body differ a little: a mirror image has the other side's lengths.
    for windows_before, windows_after in zip(before["positions_3d"], after["positions_3d"], strict=True):
        ends = [np.sort(lengths(w, bones), axis=-1) for w in (windows_before, windows_after)]
        np.testing.assert_allclose(*ends, atol=5e-6)
