"""Pairs are those of the formulas, step by step; sides are right; random numbers have the right distributions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from h36m_amass.demo import Demo
from h36m_amass.skeleton import H36M, JOINT_ORDERS, Skeleton, SkeletonError, named, reorder
from h36m_amass.store.store import Store
from h36m_amass.training import detection, pairs
from h36m_amass.training.cameras import Cameras, human36m, looking_at, stack
from h36m_amass.training.detection import Detect, DetectionDraws, Hide
from h36m_amass.training.projection import (
    FollowedByMirror,
    ImageTarget,
    MirrorImage,
    Orthographic,
    PixelNoise,
    Project,
    RandomViews,
    RootRelative,
    StrideMask,
    ViewDraws,
    fixed_rows,
)
from h36m_amass.training.transforms import Seeded
from h36m_amass.training.windows import Batch, WindowDataset, collate

SEEDS = st.integers(0, 2**31)
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 6))
DTYPES = st.sampled_from([torch.float32, torch.float64])
ORDER = reorder(H36M, JOINT_ORDERS["h36m"])
FOLDER = Path(detection.__file__).parent
NOISE: dict[str, Any] = json.loads((FOLDER / "motionbert_noise.json").read_text(encoding="utf-8"))
SWAPPED = [0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]
"""Joints of the order h36m with left and right exchanged, as VideoPose3D writes it."""


def batch_of(seed: int, windows: int = 3, frames: int = 5, dtype: torch.dtype = torch.float64) -> Batch:
    """Windows of somebody near the origin."""
    rng = np.random.default_rng(seed)
    positions = np.array((0, 0, 1)) + rng.normal(scale=0.5, size=(windows, frames, 17, 3))
    numbers = torch.arange(windows)
    return {"positions_3d": torch.from_numpy(positions).to(dtype), "sequence": numbers, "start": 7 * numbers}


def person(skeleton: Skeleton) -> Batch:
    """Somebody who looks along y: their left is at smaller x."""
    places = np.zeros((1, 1, 17, 3))
    heights = {"hip": 0.9, "knee": 0.5, "ankle": 0.1, "shoulder": 1.4, "elbow": 1.1, "wrist": 0.8}
    middle = {"pelvis": 0.9, "spine": 1.1, "thorax": 1.4, "nose": 1.6, "head_top": 1.7}
    for joint, name in enumerate(skeleton.joint_names):
        side, _, part = name.partition("_")
        if side in ("left", "right"):
            places[..., joint, :] = (-0.2 if side == "left" else 0.2, 0, heights[part])
        else:
            places[..., joint, :] = (0, 0, middle[name])
    zero = torch.zeros(1, dtype=torch.int64)
    return {"positions_3d": torch.from_numpy(places).float(), "sequence": zero, "start": zero}


@given(seed=SEEDS, shape=SHAPES, dtype=DTYPES)
def test_a_projection_is_that_of_its_cameras(seed: int, shape: tuple[int, int], dtype: torch.dtype) -> None:
    batch, cameras = batch_of(seed, *shape, dtype), human36m()
    rows = torch.randint(28, (shape[0],), generator=torch.Generator().manual_seed(seed))
    seen = Project(cameras).projected(batch, rows)
    for window, row in enumerate(rows.tolist()):
        camera = cameras[row]
        points = camera.to_camera(batch["positions_3d"][None, window].double())
        image = camera.project(points)
        bound = 1e-12 if dtype == torch.float64 else 4e-6
        assert (seen["positions_3d"][window] - points[0]).abs().max() < bound
        assert (seen["positions_2d"][window] - image[0]).abs().max() < bound
        assert torch.equal(seen["intrinsic"][window], camera.to(dtype=dtype).parameters("videopose3d")[0])
    assert torch.equal(seen["camera"], rows)
    assert seen["visible"].shape == (*shape, 17)
    one = Project(cameras).projected({name: values[:1] for name, values in batch.items()}, rows[:1])
    for name, values in one.items():
        torch.testing.assert_close(values, seen[name][:1], rtol=0, atol=1e-6)


def test_fixed_cameras_are_the_same_each_epoch_and_evenly_spread() -> None:
    sequence, start = (
        grid.flatten() for grid in torch.meshgrid(torch.arange(70), torch.arange(100) * 5 - 35, indexing="ij")
    )
    rows = fixed_rows(sequence, start, 28)
    counts = torch.bincount(rows, minlength=28)
    assert counts.min() > 200
    assert counts.max() < 300
    batch = batch_of(0)
    first, second = (Project(human36m(), fixed=True)(batch) for _ in range(2))
    assert torch.equal(first["camera"], second["camera"])
    assert torch.equal(first["camera"], fixed_rows(batch["sequence"], batch["start"], 28))


def test_cameras_are_redrawn_until_all_is_seen() -> None:
    away, towards = (looking_at((0, -4, 1), (0, y, 1), 500, (1000, 1000)) for y in (-8, 0))
    cameras, batch = stack([away, away, towards]), batch_of(1, 64)
    batch["positions_3d"] *= 0.2
    assert not Project(cameras)(batch)["visible"].all()
    assert Project(cameras, redraws=60)(batch)["visible"].all()
    assert not Project(stack([away]), redraws=3)(batch)["visible"].any()


@given(seed=SEEDS, shape=SHAPES)
def test_a_mirror_image_is_of_two_and_three_dimensions_and_the_camera(seed: int, shape: tuple[int, int]) -> None:
    seen = Project(human36m())(batch_of(seed, *shape))
    seen["confidence"] = torch.rand(*shape, 17, dtype=torch.float64)
    chosen = torch.arange(shape[0]) % 2 == 0
    mirrored = MirrorImage(ORDER).mirrored(seen, chosen)
    for name, values in mirrored.items():
        assert torch.equal(values[~chosen], seen[name][~chosen])
    for name in ("positions_3d", "positions_2d"):
        expected = seen[name][chosen][:, :, SWAPPED]
        expected[..., 0] *= -1
        assert torch.equal(mirrored[name][chosen], expected)
    for name in ("visible", "confidence"):
        assert torch.equal(mirrored[name][chosen], seen[name][chosen][:, :, SWAPPED])
    # The mirrored camera sees the mirrored points where they are.
    camera = human36m().gather(seen["camera"][chosen]).mirrored()
    again = camera.project(mirrored["positions_3d"][chosen])
    torch.testing.assert_close(again, mirrored["positions_2d"][chosen], rtol=0, atol=1e-12)
    torch.testing.assert_close(mirrored["intrinsic"][chosen], camera.parameters("videopose3d"))
    twice = MirrorImage(ORDER).mirrored(mirrored, chosen)
    assert all(torch.equal(values, seen[name]) for name, values in twice.items())
    with pytest.raises(SkeletonError, match="no mirror image"):
        MirrorImage(named(("a", "b")))


def test_positions_are_relative_to_the_root() -> None:
    batch = batch_of(0)
    root = batch["positions_3d"][:, :, 3:4]
    for keep in (False, True):
        relative = RootRelative(3, keep)(batch)
        assert torch.equal(relative["root"], root[:, :, 0])
        expected = batch["positions_3d"] - root
        expected[:, :, 3] = root[:, :, 0] if keep else 0.0
        assert torch.equal(relative["positions_3d"], expected)


@given(seed=SEEDS)
def test_targets_in_the_image_are_those_of_the_formula(seed: int) -> None:
    cameras = human36m()
    seen = Project(cameras)(batch_of(seed))
    target = ImageTarget(cameras, 0)(seen)["positions_3d"].numpy()
    data = json.loads((FOLDER / "human36m_cameras.json").read_text(encoding="utf-8"))
    for window, row in enumerate(seen["camera"].tolist()):
        intrinsic = data["intrinsics"][cameras.names[row].split("/")[1]]
        (fx, fy), (cx, cy), (w, h) = intrinsic["f"], intrinsic["c"], intrinsic["size"]
        x, y, z = np.moveaxis(seen["positions_3d"][window].numpy() * 1000, -1, 0)
        s = fx / z[:, :1] + 1 / 2000
        u, v = fx * x / z + cx, fy * y / z + cy
        expected = np.stack([2 * u / w - 1, 2 * v / w - h / w, 2 * s * (z - z[:, :1]) / w], -1)
        np.testing.assert_allclose(target[window], expected, atol=1e-9)


@given(seed=SEEDS, frames=st.integers(1, 90), dtype=DTYPES)
def test_a_detectors_noise_is_that_of_the_formula(seed: int, frames: int, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(seed)
    positions = rng.normal(scale=0.3, size=(2, frames, 17, 2))
    draws = DetectionDraws(
        *(rng.uniform(size=(2, 27, 17)), rng.normal(size=(2, 27, 17, 2)), rng.uniform(size=(2, 27, 17, 2))),
        *(rng.normal(size=(2, frames, 17, 2)), rng.normal(size=(2, frames, 17))),
    )
    tensors = DetectionDraws(*(torch.from_numpy(values).to(dtype) for values in draws))
    # The formula, with the draws as the tensors have them.
    select, gauss, uniform, jitter, confidence = (values.double().numpy() for values in tensors)
    mean, std, weight = (np.array(NOISE[name]) for name in ("mean", "std", "weight"))
    keys = np.where((select < weight)[..., None], gauss * std + mean, (uniform - 0.5) * 0.06)
    at = 26 * np.arange(frames) / max(frames - 1, 1)
    noise = np.stack(
        [[[np.interp(at, range(27), keys[n, :, j, a]) for a in range(2)] for j in range(17)] for n in range(2)]
    )
    noise = np.moveaxis(noise, 3, 1) + 0.002 * jitter
    d = np.linalg.norm(noise, axis=-1)
    expected = np.clip(0.028 / (d + 0.028) + 1.1 * d + NOISE["m"] + NOISE["s"] * confidence, 0, 1)
    detected, trust = Detect(ORDER).detected(torch.from_numpy(positions).to(dtype), tensors)
    exact = torch.from_numpy(positions).to(dtype).double().numpy() + noise
    assert np.abs(detected.double().numpy() - exact).max() < (5e-7 if dtype == torch.float32 else 1e-12)
    assert np.abs(trust.double().numpy() - expected).max() < (3e-6 if dtype == torch.float32 else 1e-9)


def test_noise_goes_by_names_of_joints() -> None:
    keys = torch.rand(1, 27, 17), torch.randn(1, 27, 17, 2), torch.rand(1, 27, 17, 2)
    draws = DetectionDraws(*keys, torch.randn(1, 9, 17, 2), torch.randn(1, 9, 17))
    back = [ORDER.joint_names.index(name) for name in H36M.joint_names]
    moved = DetectionDraws(*(values[:, :, back] for values in draws))
    positions = torch.randn(1, 9, 17, 2)
    one, trust = Detect(ORDER).detected(positions, draws)
    other, other_trust = Detect(H36M).detected(positions[:, :, back], moved)
    assert torch.equal(other, one[:, :, back])
    assert torch.equal(other_trust, trust[:, :, back])
    with pytest.raises(SkeletonError, match="not for 2 others"):
        Detect(named(("a", "b")))


def test_the_noise_has_the_statistics_of_the_original() -> None:
    torch.manual_seed(0)
    batch = {"positions_2d": torch.zeros(1500, 81, 17, 2)}
    noisy = Detect(ORDER)(batch)
    dx, dy = noisy["positions_2d"].unbind(-1)
    for values, mean, deviation in ((dx, 0.0013, 0.0071), (dy, -0.0006, 0.0065), (noisy["confidence"], 0.78, 0.16)):
        assert abs(float(values.mean()) - mean) < 0.01 * (1 if mean > 0.5 else 0.03)
        assert abs(float(values.std(dim=(0, 1)).mean()) - deviation) < 0.03 * deviation  # of each joint
    kept = Hide()(noisy)["confidence"] > 0
    assert abs(float(kept.float().mean()) / float((noisy["confidence"] > 0).float().mean()) - 0.855) < 0.002


@given(seed=SEEDS)
def test_hidden_joints_and_frames_are_those_that_were_drawn(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    batch = {"positions_2d": torch.randn(3, 8, 17, 2), "confidence": torch.rand(3, 8, 17) + 0.1}
    joints, frames = torch.rand(3, 8, 17, generator=generator), torch.rand(3, 8, generator=generator)
    hidden = Hide(0.2, 0.3).hidden(batch, joints, frames)
    kept = (joints >= 0.2) & (frames >= 0.3)[..., None]
    assert torch.equal(hidden["positions_2d"], batch["positions_2d"] * kept[..., None])
    assert torch.equal(hidden["confidence"], batch["confidence"] * kept)


@pytest.mark.parametrize("training", [False, True])
def test_stride_masks_show_each_mth_frame_from_the_middle_on(training: bool) -> None:
    torch.manual_seed(0)
    batch = {"positions_2d": torch.ones(600, 71, 17, 2)}
    seen = StrideMask(training=training)(batch)["stride_mask"]
    strides = set()
    for mask in seen:
        m = next(m for m in (1, 2, 4) if int(mask.sum()) in (71 // m, -(-71 // m)))
        d = next(d for d in range(-2, 2) if all(bool(mask[k]) == ((k - 35 + d) % m == 0) for k in range(71)))
        strides.add((m, d % m))
    shifts = {1: {0}, 2: {0, 1}, 4: {0, 1, 2, 3}} if training else {1: {0}, 2: {0}, 4: {0}}
    assert strides == {(m, d) for m, all_d in shifts.items() for d in all_d}
    shown = StrideMask().masked(batch, torch.full((600,), 4), torch.full((600,), -1))
    assert torch.equal(shown["positions_2d"][..., 0].bool()[:, :, 0], shown["stride_mask"])
    # Of an even number of frames the middle one is the earlier of two.
    even = StrideMask().masked({"positions_2d": torch.ones(1, 6, 17, 2)}, torch.tensor([4]), torch.tensor([0]))
    assert even["stride_mask"].tolist() == [[False, False, True, False, False, False]]


@given(seed=SEEDS)
def test_views_in_the_wild_have_the_person_in_their_field(seed: int) -> None:
    batch, rng = batch_of(seed, 6, 4), np.random.default_rng(seed)
    numbers = (
        rng.uniform(size=6),
        rng.normal(size=6),
        rng.normal(size=6),
        rng.uniform(size=6),
        rng.normal(size=(6, 2)),
    )
    draws = ViewDraws(*map(torch.from_numpy, numbers))
    cameras = RandomViews().cameras(batch["positions_3d"], draws)
    points = cameras.to_camera(batch["positions_3d"])
    assert (points[..., 2] > 0.5 - 1e-9).all()
    roots = cameras.project(points[:, :, 0], distortion=False, limit=math.inf)
    assert roots.abs().max() <= 0.849 + 1e-9
    turned = cameras.rotation @ cameras.rotation.mT
    torch.testing.assert_close(turned, torch.eye(3, dtype=torch.float64).expand(6, 3, 3), rtol=0, atol=1e-12)
    flat = draws._replace(pitch=torch.full((6,), -5 / 22.5, dtype=torch.float64), roll=torch.zeros(6).double())
    level = RandomViews().cameras(batch["positions_3d"], flat)
    # A level camera has the world's z upwards, which is -y in its image.
    up = torch.tensor([0.0, 0, -1]).double().expand(6, 3)
    torch.testing.assert_close(level.rotation[:, 1], up, rtol=0, atol=1e-12)


def view_draws(depth: float = 0.0, aside: tuple[float, float] = (0.0, 0.0)) -> ViewDraws:
    """Draws of one level camera that looks along the world's y."""
    numbers = ([0.0], [-5 / 22.5], [0.0], [depth], [aside])
    return ViewDraws(*(torch.tensor(number, dtype=torch.float64) for number in numbers))


@pytest.mark.parametrize("depth", [0.0, 0.25, 0.75])
def test_views_in_the_wild_are_as_far_away_and_aside_as_drawn(depth: float) -> None:
    somebody = torch.tensor([3.0, -2.0, 1.0], dtype=torch.float64).expand(1, 2, 1, 3)
    cameras = RandomViews().cameras(somebody, view_draws(depth, (1.0, -2.0)))
    seen = cameras.to_camera(somebody)
    torch.testing.assert_close(seen[..., 2], torch.full((1, 2, 1), 2 + 10 * depth, dtype=torch.float64))
    image = cameras.project(seen, distortion=False, limit=math.inf)
    torch.testing.assert_close(image, torch.tensor([0.25, -0.5], dtype=torch.float64).expand(1, 2, 1, 2))


def test_views_in_the_wild_move_who_comes_too_near_back_to_half_a_metre() -> None:
    reaching = torch.tensor([[[[0.0, 0, 1], [0, -3, 1]], [[0, 0, 1], [0, 3, 1]]]], dtype=torch.float64)
    seen = RandomViews().cameras(reaching, view_draws()).to_camera(reaching)
    torch.testing.assert_close(seen[0, :, :, 2], torch.tensor([[3.5, 0.5], [3.5, 6.5]], dtype=torch.float64))


PRESETS: dict[str, tuple[str, Callable[..., Any]]] = {
    "uplift_upsample": ("uplift-upsample", pairs.uplift_upsample),
    "videopose3d": ("h36m", pairs.videopose3d),
    "motionbert": ("h36m", pairs.motionbert),
    "in_the_wild": ("h36m", lambda skeleton, training: pairs.in_the_wild(skeleton)),
}


def camera_behind() -> Cameras:
    """One that sees the person from behind: their left is on the left."""
    return looking_at((0, -4, 1), (0, 0, 1), 1000, (1000, 1000))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
def test_left_is_left_up_is_up_and_near_is_near(preset: str, training: bool) -> None:
    order, make = PRESETS[preset]
    skeleton = reorder(H36M, JOINT_ORDERS[order])
    arguments = {"cameras": camera_behind()} if preset in ("uplift_upsample", "videopose3d") else {}
    joints = {name: joint for joint, name in enumerate(skeleton.joint_names)}
    torch.manual_seed(0)
    for _ in range(5):
        made = make(skeleton, training=training, **arguments)(person(skeleton))
        if preset == "in_the_wild":
            # From wherever it is seen: the head is above the pelvis, and the pelvis is before the camera.
            assert (made["positions_3d"][..., joints["head_top"], 1] < 0).all()
            assert (made["root"][..., 2] > 0).all()
            continue
        for window in made["positions_3d"][:, 0]:
            # Seen from behind, and in a mirror as well, the left is at smaller x; y points down.
            assert window[joints["left_hip"], 0] < window[joints["right_hip"], 0]
            assert window[joints["left_wrist"], 0] < window[joints["right_wrist"], 0]
            assert window[joints["head_top"], 1] < 0 < window[joints["left_ankle"], 1]
        if preset != "motionbert" and not training:
            image = made["positions_2d"][0, 0]
            assert image[joints["left_hip"], 0] < image[joints["right_hip"], 0]
            assert image[joints["head_top"], 1] < image[joints["pelvis"], 1] < image[joints["left_ankle"], 1]
    moved = person(skeleton)
    moved["positions_3d"][..., 1] += 1.0
    if preset in ("uplift_upsample", "videopose3d"):
        near, far = (
            make(skeleton, training=False, **arguments)(batch)["root"][0, 0, 2] for batch in (person(skeleton), moved)
        )
        assert far - near == pytest.approx(1.0)


def test_presets_are_their_steps(demo: Demo) -> None:
    store = Store(demo.store)
    windows = WindowDataset(store, 71, stride=97, dilation=5, padding="edge", joint_order="uplift-upsample")
    batch = collate(windows.__getitems__(range(len(windows))))
    assert isinstance(batch, dict)
    world = batch["positions_3d"].double().numpy()
    made = pairs.uplift_upsample(windows.skeleton, training=True)(batch)
    camera = human36m()
    swap = [5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]
    # Of the order: right ankle to hip, left hip to ankle, the trunk, right wrist to shoulder, left shoulder to wrist.
    swap[11:] = [16, 15, 14, 13, 12, 11]
    assert len(made["camera"]) == 2 * len(world)
    for number, row in enumerate(made["camera"].tolist()):
        window = world[number // 2]
        if number % 2:
            window = window[:, swap] * (-1, 1, 1)
        points = (window - camera.center[row].numpy()) @ camera.rotation[row].numpy().T
        np.testing.assert_allclose(made["positions_3d"][number], points - points[:, 6:7], atol=8e-6)
        np.testing.assert_allclose(made["root"][number], points[:, 6], atol=4e-6)
        image = (
            camera[row].project(torch.from_numpy(points)[None])[0].numpy()
            * made["stride_mask"][number].numpy()[:, None, None]
        )
        # Nearer than two metres the rounding of depths tells.
        far = points[..., 2] > 2
        np.testing.assert_allclose(made["positions_2d"][number][far], image[far], atol=4e-6)


@pytest.fixture
def windows_in_h36m(demo: Demo) -> Batch:
    """Sixty-four windows of the demo's people, of three frames, in the order h36m."""
    windows = WindowDataset(Store(demo.store), 3, stride=40, joint_order="h36m")
    batch = collate(windows.__getitems__(range(64)))
    assert isinstance(batch, dict)
    return batch


@pytest.mark.parametrize("training", [False, True])
def test_videopose3ds_pairs_are_its_steps(windows_in_h36m: Batch, training: bool) -> None:
    world, cameras = windows_in_h36m["positions_3d"].double(), human36m()
    torch.manual_seed(0)
    made = pairs.videopose3d(ORDER, training=training)(windows_in_h36m)
    seen = cameras.gather(made["camera"])
    points = seen.to_camera(world)
    image = seen.project(points)
    # The first coordinate of the principal point, which none of these cameras has at 0, says who is mirrored.
    mirrored = made["intrinsic"][:, 2] * seen.principal_point[:, 0] < 0
    assert len(set(made["camera"].tolist())) > 10
    assert mirrored.any() == training
    assert (~mirrored).any()
    for values in (points, image):
        other = values[:, :, SWAPPED].clone()
        other[..., 0] *= -1
        values[mirrored] = other[mirrored]
    pelvis = points[:, :, :1].clone()
    points[:, :, 1:] -= pelvis
    torch.testing.assert_close(made["positions_3d"].double(), points, rtol=0, atol=8e-6)
    torch.testing.assert_close(made["root"].double(), pelvis[:, :, 0], rtol=0, atol=4e-6)
    far = (points[..., 2] + pelvis[..., 2] > 2)[:, :, 1:]
    torch.testing.assert_close(made["positions_2d"].double()[:, :, 1:][far], image[:, :, 1:][far], rtol=0, atol=4e-6)


def test_validation_sees_each_window_the_same_and_training_does_not(windows_in_h36m: Batch) -> None:
    for make in (pairs.videopose3d, pairs.uplift_upsample):
        for training in (False, True):
            preset = make(ORDER, training=training)
            first, second = (preset(windows_in_h36m)["camera"] for _ in range(2))
            assert torch.equal(first, second) != training
        # uplift-upsample's middle frame is hidden in training alone.
        assert bool(preset(windows_in_h36m).get("stride_mask", torch.ones(1, 3))[:, 1].all()) != (
            training and make is pairs.uplift_upsample
        )


def test_motionberts_pairs_to_train_on_are_mirrored_hidden_and_noisy(windows_in_h36m: Batch) -> None:
    x, y, z = windows_in_h36m["positions_3d"].unbind(-1)
    clip = torch.stack([x, -z, y], -1) * 0.298
    image = clip[:, :, SWAPPED] * torch.tensor([-1.0, 1, 1])
    torch.manual_seed(0)
    made = pairs.motionbert(ORDER)(windows_in_h36m)
    whole = made["positions_3d"] + made["root"][:, :, None]
    is_clip, is_image = ((whole - poses).abs().flatten(1).amax(1) < 1e-6 for poses in (clip, image))
    assert torch.equal(is_clip, ~is_image)
    assert 16 < int(is_image.sum()) < 48
    off = made["positions_2d"] - whole[..., :2]
    hidden = (made["positions_2d"] == 0).all(-1)
    assert torch.equal(hidden, (made["positions_2d"] == 0).any(-1))
    assert 0.08 < float(hidden.double().mean()) < 0.22
    assert (made["confidence"][hidden] == 0).all()
    assert (off[~hidden] != 0).any(-1).all()
    assert float(off[~hidden].abs().mean()) < 0.05


@pytest.mark.parametrize("make", [pairs.in_the_wild, pairs.videopose3d])
def test_presets_add_the_noise_that_is_asked_for(windows_in_h36m: Batch, make: Callable[..., Any]) -> None:
    plain, noisy = [], []
    for images, pixels in ((plain, 0.0), (noisy, 5.0)):
        torch.manual_seed(0)
        images.append(make(ORDER, noise_pixels=pixels)(windows_in_h36m)["positions_2d"])
    assert float((noisy[0] - plain[0]).std()) == pytest.approx(2 * 5 / 1000, rel=0.05)


def test_pairs_in_the_wild_are_those_of_a_camera_of_a_thousand_pixels(windows_in_h36m: Batch) -> None:
    made = pairs.in_the_wild(ORDER)(windows_in_h36m)
    assert (made["positions_3d"][:, :, 0] == 0).all()
    points = made["positions_3d"] + made["root"][:, :, None]
    expected = 2 * math.sqrt(2) * points[..., :2] / points[..., 2:]
    torch.testing.assert_close(made["positions_2d"], expected, rtol=1e-4, atol=1e-5)


def test_motionberts_pairs_without_chance_are_its_clips(demo: Demo) -> None:
    windows = WindowDataset(Store(demo.store), 50, stride=50, joint_order="h36m")
    batch = collate(windows.__getitems__(range(4)))
    world = batch["positions_3d"].numpy()
    made = pairs.motionbert(windows.skeleton, training=False)(batch)
    clip = np.stack([world[..., 0], -world[..., 2], world[..., 1]], -1) * np.float32(0.298)
    np.testing.assert_allclose(made["positions_2d"], clip[..., :2], atol=1e-7)
    np.testing.assert_allclose(made["positions_3d"], clip - clip[:, :, :1], atol=1e-6)
    assert (made["confidence"] == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_seed_gives_the_same_pairs_whatever_the_number_of_workers(demo: Demo, workers: int) -> None:
    def epoch(number: int, count: int) -> list[Batch]:
        seeded = Seeded(pairs.motionbert(ORDER), seed=3)
        seeded.epoch = number
        windows = WindowDataset(Store(demo.store), 27, stride=27, joint_order="h36m", transform=seeded)
        context = {"multiprocessing_context": "spawn"} if count else {}
        return list(DataLoader(windows, 16, collate_fn=collate, num_workers=count, **context))

    plain, other = epoch(0, 0), epoch(1, 0)
    assert not torch.equal(plain[0]["positions_2d"], other[0]["positions_2d"])
    for expected, batch in zip(plain, epoch(0, workers), strict=True):
        assert all(torch.equal(values, batch[name]) for name, values in expected.items())


def test_chance_of_the_program_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Seeded(pairs.motionbert(ORDER))(batch_of(0, dtype=torch.float32))
    assert torch.equal(torch.rand(3), expected)


def test_pixel_noise_is_in_pixels() -> None:
    torch.manual_seed(0)
    noisy = PixelNoise(5, width=1000)({"positions_2d": torch.zeros(400, 9, 17, 2)})["positions_2d"]
    assert float(noisy.std()) == pytest.approx(0.01, rel=0.02)


def test_windows_and_their_mirror_images_take_turns() -> None:
    batch = batch_of(0)
    twice = FollowedByMirror(ORDER)(batch)
    assert torch.equal(twice["positions_3d"][::2], batch["positions_3d"])
    expected = batch["positions_3d"][:, :, SWAPPED] * torch.tensor([-1.0, 1, 1], dtype=torch.float64)
    assert torch.equal(twice["positions_3d"][1::2], expected)
    assert twice["start"].tolist() == [0, 0, 7, 7, 14, 14]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_tensor_stays_on_its_device(preset: str) -> None:
    """On the device meta, where a tensor of the CPU in between is an error."""
    order, make = PRESETS[preset]
    skeleton = reorder(H36M, JOINT_ORDERS[order])
    batch = {name: values.to("meta") for name, values in batch_of(0, dtype=torch.float32).items()}
    made = make(skeleton, training=True)(batch)
    assert {values.device.type for values in made.values()} == {"meta"}
    assert made["positions_2d"].dtype == torch.float32


def test_orthographic_views_are_motionberts_clips() -> None:
    batch = person(ORDER)
    seen = Orthographic()(batch)
    x, y, z = batch["positions_3d"].unbind(-1)
    torch.testing.assert_close(seen["positions_3d"], torch.stack([x, -z, y], -1) * 0.298)
