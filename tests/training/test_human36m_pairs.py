"""Pairs of Human3.6M from an imported store are those of the formulas that VideoPose3D's come from."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.utils.data import DataLoader

from h36m_amass import import_human36m
from h36m_amass.skeleton import JOINT_ORDERS, joint_order
from h36m_amass.store.store import Store
from h36m_amass.store.stores import Stores
from h36m_amass.training import cameras, pairs
from h36m_amass.training.cameras import CameraError, human36m
from h36m_amass.training.projection import FollowedByMirror, Project, RootRelative
from h36m_amass.training.transforms import Mirror, RotateVertical
from h36m_amass.training.windows import Batch, WindowDataset, collate
from tests.human36m_files import IDS, JOINTS_OF_32, METADATA, Dictionary, pixels, poses, write_npz
from tests.store.test_stores import amass_like

CAMERAS: dict[str, Any] = json.loads(
    Path(cameras.__file__).with_name("human36m_cameras.json").read_text(encoding="utf-8")
)
SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
SWAPPED = [0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]
"""Joints of the order h36m with left and right exchanged, as VideoPose3D writes it."""
LENGTH = 27


class Imported:
    """A store, and the dictionaries that it was imported from."""

    def __init__(self, folder: Path) -> None:
        self.poses: Dictionary = poses()
        self.pixels = pixels(self.poses, longer=2)
        data_3d = write_npz(folder / "3d.npz", positions_3d=self.poses)
        data_2d = write_npz(folder / "2d.npz", positions_2d=self.pixels, metadata=METADATA)
        import_human36m(data_3d, folder / "h.h5", detections=data_2d)
        self.store = Store(folder / "h.h5")
        self.mixed = Stores([amass_like(folder / "a.h5"), self.store])

    def windows(self, dtype: torch.dtype = torch.float64, detections: bool = False) -> WindowDataset:
        how = {"stride": 7, "padding": "edge", "joint_order": "h36m"}
        return WindowDataset(self.store, LENGTH, dtype=dtype, detections=detections, **how)

    def frames(self, batch: Batch, window: int) -> tuple[str, str, np.ndarray]:
        """Subject, action and numbers of the frames of a window, the nearest ones where it is padded."""
        sequence = self.store[int(batch["sequence"][window])]
        numbers = int(batch["start"][window]) + np.arange(LENGTH)
        return sequence.subject, sequence.record.sequence, np.clip(numbers, 0, len(sequence) - 1)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    return Imported(tmp_path_factory.mktemp("human36m"))


def formulas(subject: str, camera: str, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points in the camera's frame, and their images in units of half the width, as docs/pairs.md has them."""
    intrinsic, extrinsic = CAMERAS["intrinsics"][camera], CAMERAS["extrinsics"][subject][camera]
    turn = Rotation.from_euler("XYZ", extrinsic["euler"]).as_matrix()
    points = (world.astype(np.float64) - np.array(extrinsic["center"]) / 1000) @ turn.T
    (k1, k2, k3), (width, height) = intrinsic["k"], intrinsic["size"]
    uv = np.clip(points[..., :2] / points[..., 2:], -1, 1)
    r2 = (uv**2).sum(-1, keepdims=True)
    scale = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + (uv * intrinsic["p"]).sum(-1, keepdims=True)
    focal, center = 2 * np.array(intrinsic["f"]) / width, 2 * np.array(intrinsic["c"]) / width
    return points, focal * (uv * scale + r2 * intrinsic["p"]) + center - (1, height / width)


@pytest.mark.parametrize(
    ("dtype", "bound_3d", "bound_2d"), [(torch.float64, 2e-15, 2e-15), (torch.float32, 2e-6, 1e-6)]
)
@pytest.mark.parametrize("training", [False, True])
def test_pairs_are_those_of_the_formulas(
    imported: Imported, training: bool, dtype: torch.dtype, bound_3d: float, bound_2d: float
) -> None:
    windows = imported.windows(dtype)
    windows.transform = pairs.videopose3d(windows.skeleton, training=training, cameras="own")
    torch.manual_seed(0)
    batch = windows.__getitems__(range(len(windows))).batch
    flips = 0
    for window, row in enumerate(batch["camera"].tolist()):
        subject, action, frames = imported.frames(batch, window)
        assert SUBJECTS[row // 4] == subject
        world = imported.poses[subject][action][frames][:, JOINTS_OF_32]
        points, images = formulas(subject, IDS[row % 4], world)
        target = points - points[:, :1]
        target[:, 0] = points[:, 0]
        flipped = training and np.abs(batch["positions_2d"][window].numpy() - images).max() > 1e-3
        if flipped:
            target, images = (values[:, SWAPPED] * ((-1, 1, 1)[: values.shape[-1]]) for values in (target, images))
            flips += 1
        assert np.abs(batch["positions_3d"][window].numpy() - target).max() <= bound_3d * max(1, np.abs(points).max())
        assert np.abs(batch["positions_2d"][window].numpy() - images).max() <= bound_2d * np.abs(images).max()
    assert 0 < flips < len(windows) if training else not flips


def test_targets_are_exact_differences_mirrored_and_padded_bit_by_bit(imported: Imported) -> None:
    windows = imported.windows(torch.float32)
    raw = windows.__getitems__(range(len(windows))).batch
    rows = 4 * raw["subject"] + torch.arange(len(windows)) % 4
    seen = Project("own").projected(raw, rows)
    expected = seen["positions_3d"] - seen["positions_3d"][:, :, :1]
    expected[:, :, 0] = seen["positions_3d"][:, :, 0]
    assert torch.equal(RootRelative(0, keep=True)(seen)["positions_3d"], expected)
    for window in range(len(windows)):
        subject, action, frames = imported.frames(raw, window)
        world = imported.poses[subject][action][frames][:, JOINTS_OF_32]
        np.testing.assert_array_equal(raw["positions_3d"][window].numpy(), world)
        first = int(np.flatnonzero(raw["mask"][window])[0])  # frames before it are copies of it
        for name in ("positions_3d", "positions_2d"):
            assert (seen[name][window, :first] == seen[name][window, first]).all()


@pytest.mark.parametrize("training", [False, True])
def test_detections_of_the_same_camera_and_frames_are_the_input(imported: Imported, training: bool) -> None:
    windows = imported.windows(torch.float32, detections=True)
    windows.transform = pairs.videopose3d(windows.skeleton, training=training, cameras="own")
    torch.manual_seed(1)
    batch = next(iter(DataLoader(windows, batch_size=len(windows), collate_fn=collate)))
    assert "detections_2d" not in batch
    flips = 0
    for window, row in enumerate(batch["camera"].tolist()):
        subject, action, frames = imported.frames(batch, window)
        detected = imported.pixels[subject][action][row % 4][frames]
        width, height = CAMERAS["intrinsics"][IDS[row % 4]]["size"]
        expected = detected / width * 2 - (1, height / width)
        if batch["positions_2d"][window, 0, 0, 0].sign() != np.sign(expected[0, 0, 0]):
            expected = expected[:, SWAPPED] * (-1, 1)
            flips += 1
        assert np.abs(batch["positions_2d"][window].numpy() - expected).max() < 1e-6
    assert 0 < flips < len(windows) if training else not flips


def test_each_window_is_seen_by_its_own_cameras_and_amass_by_any(imported: Imported) -> None:
    windows = WindowDataset(imported.mixed, 3, padding="edge", joint_order="uplift-upsample", detections=True)
    batch = windows.__getitems__(range(len(windows))).batch
    subjects = [imported.mixed[row].subject for row in batch["sequence"].tolist()]
    of_amass = torch.tensor([imported.mixed[row].dataset != "Human36M" for row in batch["sequence"].tolist()])
    torch.manual_seed(0)
    draws = {"fixed": [Project("own", fixed=True)(batch) for _ in range(2)]}
    draws["random"] = [Project("own", redraws=1)(batch) for _ in range(40)]
    assert torch.equal(*(seen["camera"] for seen in draws["fixed"]))
    for seen in (*draws["fixed"], *draws["random"]):
        assert seen["positions_2d"].isfinite().all()
        for row, subject, is_amass in zip(seen["camera"].tolist(), subjects, of_amass.tolist(), strict=True):
            assert is_amass or SUBJECTS[row // 4] == subject
    rows = torch.stack([seen["camera"] for seen in draws["random"]])
    counts = Counter((rows[:, ~of_amass] % 4).flatten().tolist())
    expected = rows[:, ~of_amass].numel() / 4
    assert sorted(counts) == [0, 1, 2, 3]
    assert max(abs(count - expected) for count in counts.values()) < 5 * np.sqrt(expected)
    assert set(rows[:, of_amass].flatten().tolist()) == set(range(28))
    # The inputs of AMASS, which nobody has seen, are projections.
    camera = human36m().to(dtype=torch.float32).gather(rows[0])
    projected = camera.project(draws["random"][0]["positions_3d"])
    same = (projected == draws["random"][0]["positions_2d"]).flatten(1).all(1)
    assert torch.equal(same, of_amass)
    for preset in (pairs.uplift_upsample, pairs.videopose3d):
        pair = preset(windows.skeleton, cameras="own")(batch)
        twice = batch["subject"].repeat_interleave(len(pair["camera"]) // len(subjects))
        assert (pair["camera"] // 4 == twice)[twice >= 0].all()
    for pair in (pairs.motionbert(windows.skeleton)(batch), pairs.in_the_wild(windows.skeleton)(batch)):
        assert pair["positions_2d"].isfinite().all()
        assert torch.equal(pair["subject"], batch["subject"])


def test_a_test_sees_each_window_through_each_of_its_cameras(imported: Imported) -> None:
    windows = imported.windows(detections=True)
    batch = windows.__getitems__(range(5)).batch
    seen = Project("own", every_camera=True)(batch)
    assert seen["camera"].tolist() == (4 * batch["subject"][:, None] + torch.arange(4)).flatten().tolist()
    assert torch.equal(seen["start"], batch["start"].repeat_interleave(4))
    one = Project("own").projected(batch, 4 * batch["subject"] + 2)
    for name in ("positions_3d", "positions_2d"):
        assert torch.equal(seen[name][2::4], one[name])
    mixed = WindowDataset(imported.mixed, 3)
    with pytest.raises(CameraError, match="have cameras of their own to be seen by each"):
        Project("own", every_camera=True)(mixed.__getitems__([0]).batch)
    for which, how in ((human36m(), {}), ("own", {"fixed": True}), ("own", {"redraws": 1})):
        with pytest.raises(CameraError, match="every_camera takes cameras='own', and neither fixed nor redraws"):
            Project(which, every_camera=True, **how)
    with pytest.raises(CameraError, match="detections are of the four cameras of each recording"):
        Project(human36m())(batch)
    with pytest.raises(CameraError, match="cameras 'mine' are unknown"):
        Project("mine")  # type: ignore[arg-type]


def test_detections_are_as_exact_as_the_type_of_windows_can_hold(imported: Imported) -> None:
    windows = imported.windows(detections=True, dtype=torch.float32)
    exact = Project("own", every_camera=True)(windows.__getitems__(range(5)).batch)
    for dtype in (torch.float16, torch.bfloat16):
        batch = imported.windows(detections=True, dtype=dtype).__getitems__(range(5)).batch
        assert batch["detections_2d"].dtype == torch.float32
        seen = Project("own", every_camera=True)(batch)
        assert torch.equal(seen["positions_2d"], exact["positions_2d"].to(dtype))


def test_what_is_moved_in_the_world_has_no_detections(imported: Imported) -> None:
    windows = imported.windows(detections=True)
    batch = windows.__getitems__(range(40)).batch
    torch.manual_seed(0)
    assert RotateVertical()(batch)["detections_2d"].isnan().all()
    mirrored = Mirror(windows.skeleton)(batch)
    moved = (mirrored["positions_3d"] != batch["positions_3d"]).flatten(1).any(1)
    assert 0 < moved.sum() < len(moved)
    twice = FollowedByMirror(windows.skeleton)(batch)
    for changed, unseen in ((mirrored, moved), (twice, torch.arange(80) % 2 == 1)):
        assert changed["detections_2d"][unseen].isnan().all()
        original = batch["detections_2d"] if changed is mirrored else batch["detections_2d"].repeat_interleave(2, 0)
        assert torch.equal(changed["detections_2d"][~unseen], original[~unseen])


def test_orders_name_the_same_joints_in_both_stores(imported: Imported) -> None:
    for order in JOINT_ORDERS:
        amass, human = (store.skeleton_in(order) for store in imported.mixed.stores)
        assert amass == human
        assert joint_order(order, imported.store.skeleton) == JOINT_ORDERS[order]
