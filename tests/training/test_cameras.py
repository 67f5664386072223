"""Cameras project as Human3.6M's own do, and as OpenCV's; their laws hold in float32 and float64."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from h36m_amass.training import cameras as module
from h36m_amass.training.cameras import IDS, SUBJECTS, CameraError, Cameras, from_opencv, human36m, looking_at, stack

ALL = human36m()
DATA: dict[str, Any] = json.loads(Path(module.__file__).with_name("human36m_cameras.json").read_text(encoding="utf-8"))
SEEDS = st.integers(0, 2**31)
DTYPES = st.sampled_from([torch.float32, torch.float64])


def in_front(seed: int, count: int = 5, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Points before each of the 28 cameras, in its frame."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(2, 7, (28, count, 1))
    return torch.from_numpy(np.concatenate([rng.uniform(-0.4, 0.4, (28, count, 2)) * z, z], 2)).to(dtype)


def exact_parameters(subject: str, name: str) -> np.ndarray:
    """The 18 numbers by way of SciPy, from the published digits."""
    intrinsic, extrinsic = DATA["intrinsics"][name], DATA["extrinsics"][subject][name]
    a, b, c = extrinsic["euler"]
    rotation = Rotation.from_euler("XYZ", [a, b, c])  # intrinsic turns: Rx Ry Rz
    q = rotation.inv().as_quat(canonical=True)
    w, h = intrinsic["size"]
    focal, center = (2 * np.array(intrinsic[key]) / w for key in "fc")
    view = [q[3], *q[:3]], np.array(extrinsic["center"]) / 1000, [w, h]
    return np.concatenate([*view, focal, center - (1, h / w), intrinsic["k"], intrinsic["p"]])


def test_the_28_cameras_are_the_published_ones() -> None:
    assert ALL.names == tuple(f"{subject}/{name}" for subject in SUBJECTS for name in IDS)
    exact = np.stack([exact_parameters(subject, name) for subject in SUBJECTS for name in IDS]).astype(np.float32)
    np.testing.assert_array_equal(ALL.parameters("uplift-upsample").numpy(), exact)
    np.testing.assert_array_equal(ALL.parameters("videopose3d").numpy(), exact[:, 9:])
    assert ALL.rotation.dtype == torch.float64
    assert len(human36m(["S2"], ["54138969"])) == 1
    with pytest.raises(CameraError, match="no camera S12/54138969"):
        human36m(["S12"])
    with pytest.raises(CameraError, match="layout 'x' is unknown"):
        ALL.parameters("x")  # type: ignore[arg-type]


@given(seed=SEEDS, dtype=DTYPES)
def test_there_and_back_is_where_it_was(seed: int, dtype: torch.dtype) -> None:
    world = torch.from_numpy(np.random.default_rng(seed).uniform(-3, 3, (28, 2, 3, 3))).to(dtype)
    cameras = ALL.to(dtype=dtype)
    back = cameras.to_world(cameras.to_camera(world))
    assert (back - world).abs().max() < (8e-6 if dtype == torch.float32 else 1e-14)
    offset = world.double().numpy() - ALL.center.numpy()[:, None, None]
    difference = cameras.to_camera(world).double().numpy() - np.einsum("nij,nabj->nabi", ALL.rotation.numpy(), offset)
    assert np.abs(difference).max() < (4e-6 if dtype == torch.float32 else 1e-14)


def by_hand(points: np.ndarray, row: int, limit: float = 1.0) -> np.ndarray:
    """The projection's formula, a point at a time."""
    camera = ALL[row]
    (k1, k2, k3), (px, py) = camera.radial[0].tolist(), camera.tangential[0].tolist()
    images = []
    for x, y, z in points:
        u, v = (min(max(value / z, -limit), limit) for value in (x, y))
        r2 = u * u + v * v
        s = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + px * u + py * v
        images.append((u * s + px * r2, v * s + py * r2))
    return np.array(images) * camera.focal_length.numpy() + camera.principal_point.numpy()


@given(seed=SEEDS, dtype=DTYPES, behind=st.booleans())
def test_images_are_those_of_the_formula(seed: int, dtype: torch.dtype, behind: bool) -> None:
    points = in_front(seed) * torch.tensor([3.0, 1.0, -1.0 if behind else 1.0], dtype=torch.float64)
    images = ALL.to(dtype=dtype).project(points.to(dtype)).double().numpy()
    exact = np.stack([by_hand(points[row].numpy(), row) for row in range(28)])
    assert np.abs(images - exact).max() < (4e-6 if dtype == torch.float32 else 1e-13)
    undistorted = ALL.project(points, distortion=False, limit=math.inf)
    expected = points[..., :2] / points[..., 2:] * ALL.focal_length[:, None] + ALL.principal_point[:, None]
    torch.testing.assert_close(undistorted, expected, rtol=0, atol=1e-14)


@given(seed=SEEDS)
def test_opencv_projects_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = 1000, 1002
    focal_length, (cx, cy) = 1100 * rng.uniform(0.9, 1.1), 500 + 9 * rng.normal(size=2)
    matrix = np.array([[focal_length, 0, cx], [0, 1150, cy], [0, 0, 1]])
    distortion = rng.normal(size=5) * (0.1, 0.1, 0.002, 0.002, 0.05)
    rotation, t = Rotation.from_quat(rng.normal(size=4)).as_matrix(), rng.normal(size=3)
    points = np.concatenate([rng.uniform(-0.4, 0.4, (9, 2)), np.ones((9, 1))], 1) * rng.uniform(2, 7, (9, 1))
    world = (points - t) @ rotation
    expected = cv2.projectPoints(world, cv2.Rodrigues(rotation)[0], t, matrix, distortion)[0][:, 0]
    camera = from_opencv(matrix, distortion, rotation, t, (width, height))
    images = camera.project(camera.to_camera(torch.from_numpy(world)[None]), limit=math.inf)
    assert np.abs(camera.pixels(images)[0].numpy() - expected).max() < 1e-6 * width / 2
    torch.testing.assert_close(camera.normalized(camera.pixels(images)), images, rtol=0, atol=1e-12)


def test_opencv_cameras_that_are_not_supported_are_refused() -> None:
    matrix, turn, t = np.array([[1000.0, 3, 500], [0, 1000, 500], [0, 0, 1]]), np.eye(3), np.zeros(3)
    with pytest.raises(CameraError, match=r"skew 3\.0"):
        from_opencv(matrix, [0] * 5, turn, t, (1000, 1000))
    with pytest.raises(CameraError, match="8 distortion coefficients"):
        from_opencv(matrix * [[1, 0, 1], [1, 1, 1], [1, 1, 1]], [0] * 8, turn, t, (1000, 1000))
    with pytest.raises(CameraError, match="different models"):
        stack([ALL, replace(ALL, tangential_factor=2.0)])


@given(seed=SEEDS, dtype=DTYPES)
def test_the_image_of_a_mirrored_point_is_the_mirrored_image(seed: int, dtype: torch.dtype) -> None:
    cameras, flip = ALL.to(dtype=dtype), torch.tensor([-1.0, 1.0, 1.0], dtype=dtype)
    mirrored, points = cameras.mirrored(), in_front(seed, dtype=dtype)
    assert torch.equal(mirrored.project(points * flip), cameras.project(points) * flip[:2])
    world = cameras.to_world(points)
    torch.testing.assert_close(mirrored.to_camera(world * flip), cameras.to_camera(world) * flip, rtol=0, atol=1e-5)
    assert torch.equal(mirrored.mirrored().parameters("uplift-upsample"), cameras.parameters("uplift-upsample"))


@pytest.mark.parametrize("at_once", [1, 40, 2**18])
@pytest.mark.parametrize("shape", [(5,), (3, 17), (0, 17), ()])
def test_seen_at_once_is_what_is_seen_step_by_step(
    monkeypatch: pytest.MonkeyPatch, at_once: int, shape: tuple[int, ...]
) -> None:
    monkeypatch.setattr(module, "POINTS_AT_ONCE", at_once)
    cameras, rng = ALL.to(dtype=torch.float32), np.random.default_rng(7)
    world = torch.from_numpy(rng.uniform(-3, 3, (28, *shape, 3)).astype(np.float32))
    before = world.clone()
    for distortion, limit in ((True, 1.0), (False, math.inf)):
        seen = cameras.see(world, distortion, limit)
        points = cameras.to_camera(world)
        images = cameras.project(points, distortion, limit)
        assert torch.equal(seen.points, points)
        assert torch.equal(seen.positions_2d, images)
        assert torch.equal(seen.visible, cameras.visible(points, images))
        assert torch.equal(points, cameras.to_camera(world))  # nothing that was given is overwritten
    assert torch.equal(world, before)
    assert len(cameras.gather(torch.tensor([], dtype=torch.int64)).see(world[:0]).points) == 0


def test_projections_have_gradients() -> None:
    cameras, points = ALL[:2], in_front(0)[:2].requires_grad_()
    assert torch.autograd.gradcheck(lambda values: cameras.project(cameras.to_camera(cameras.to_world(values))), points)


def test_what_is_visible_is_in_front_and_within_the_image() -> None:
    camera = looking_at((0, 0, 1), (0, 5, 1), focal_length=1000, size=(1000, 500))
    # At 4 m half the field is 2 m wide and 1 m high.
    points = [[0, 0, 4], [1.9, 0, 4], [2.1, 0, 4], [0, 0.9, 4], [0, 1.1, 4], [0, 0, -4]]
    seen = camera.visible(torch.tensor([points]).double(), camera.project(torch.tensor([points]).double()))
    assert seen.tolist() == [[True, True, False, True, False, False]]


def test_a_camera_that_looks_has_left_up_and_near_where_they_are() -> None:
    camera = looking_at((0, -5, 1), (0, 0, 1), focal_length=1000, size=(1000, 1000))
    world = torch.tensor([[[1.0, 0, 1], [0, 0, 2], [0, 2, 1]]]).double()
    right, above, behind = camera.to_camera(world)[0]
    torch.testing.assert_close(right, torch.tensor([1.0, 0, 5]).double())
    torch.testing.assert_close(above, torch.tensor([0, -1.0, 5]).double())
    torch.testing.assert_close(behind, torch.tensor([0, 0, 7.0]).double())
    tilted = looking_at((0, -5, 1), (0, 0, 1), 1000, (1000, 1000), roll=math.pi / 2)
    # A camera that turns clockwise sees the world turn the other way: what was above is on the left.
    torch.testing.assert_close(tilted.to_camera(world)[0, 1], torch.tensor([-1.0, 0, 5]).double())
    with pytest.raises(CameraError, match="no upright image"):
        looking_at((0, 0, 5), (0, 0, 0), 1000, (1000, 1000))


def test_cameras_are_chosen_like_rows() -> None:
    assert ALL[2].names == ("S1/58860488",)
    assert ALL[-1].names == ("S11/60457274",)
    assert ALL[4:6].names == ("S5/54138969", "S5/55011271")
    assert ALL[[0, 27]].names == ("S1/54138969", "S11/60457274")
    taken = ALL.gather(torch.tensor([27, 0, 0]))
    assert taken.names == ()
    assert torch.equal(taken.center, ALL.center[[27, 0, 0]])
    assert isinstance(ALL.to(dtype=torch.float32), Cameras)


@given(seed=SEEDS)
def test_quaternions_are_scipys(seed: int) -> None:
    rotations = Rotation.from_quat(np.random.default_rng(seed).normal(size=(20, 4)))
    half_turns = Rotation.from_rotvec(np.pi * np.eye(3)[[0, 1, 2]])
    for turns in (rotations, half_turns):
        quaternions = module.quaternion(torch.from_numpy(turns.as_matrix()))
        back = Rotation.from_quat(quaternions.numpy()[:, [1, 2, 3, 0]])
        assert (back * turns.inv()).magnitude().max() < 1e-12
        assert (quaternions[:, 0] >= 0).all()
