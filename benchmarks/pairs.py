"""Pairs of an epoch beside the same windows through plain NumPy, as a user would write it, and beside reading alone.

``python benchmarks/pairs.py`` prints a table and writes ``results/pairs.json``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from common import Target, pick, table, take_turns, write_results
from readers import write_store
from torch.utils.data import DataLoader, RandomSampler

from h36m_amass.skeleton import Skeleton
from h36m_amass.store.store import Store
from h36m_amass.training import detection, pairs
from h36m_amass.training.cameras import human36m
from h36m_amass.training.transforms import partners
from h36m_amass.training.windows import WindowDataset, collate

WINDOWS, LENGTH, BATCH = pick(256 * 64, 256), 81, 256
ROUNDS = pick(3, 1)
OneWindow = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
OfBatches = Callable[[dict[str, Any]], dict[str, Any]]
LEAST_TIMES_NUMPY, MOST_TIMES_READING = 3, 1


def numpy_videopose3d(skeleton: Skeleton) -> OfBatches:
    """VideoPose3D's pairs in plain NumPy, window by window."""
    cameras = human36m()
    rows = [
        {name: getattr(cameras, name)[row].numpy().astype(np.float32) for name in ("rotation", "center", "radial")}
        | {name: getattr(cameras, name)[row].numpy().astype(np.float32) for name in ("tangential", "focal_length")}
        | {"principal_point": cameras.principal_point[row].numpy().astype(np.float32)}
        for row in range(len(cameras))
    ]
    swapped = partners(skeleton)
    rng = np.random.default_rng(0)

    def window(world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        camera = rows[rng.integers(len(rows))]
        points = (world - camera["center"]) @ camera["rotation"].T
        xy = np.clip(points[..., :2] / points[..., 2:], -1, 1)
        r2 = (xy**2).sum(-1, keepdims=True)
        radial = 1 + (camera["radial"] * np.concatenate([r2, r2**2, r2**3], -1)).sum(-1, keepdims=True)
        tangential = (camera["tangential"] * xy).sum(-1, keepdims=True)
        bent = xy * (radial + tangential) + camera["tangential"] * r2
        image = camera["focal_length"] * bent + camera["principal_point"]
        if rng.uniform() < 0.5:
            points, image = points[:, swapped] * (-1, 1, 1), image[:, swapped] * (-1, 1)
        root = points[:, :1].copy()
        points = points - root
        points[:, :1] = root
        return points.astype(np.float32), image.astype(np.float32)

    return per_window(window)


def numpy_motionbert(skeleton: Skeleton) -> OfBatches:
    """MotionBERT's pairs in plain NumPy, window by window."""
    noise = json.loads(Path(detection.__file__).with_name("motionbert_noise.json").read_text(encoding="utf-8"))
    mean, std, weight = (np.array(noise[name], np.float32) for name in ("mean", "std", "weight"))
    swapped, rng, keys = partners(skeleton), np.random.default_rng(0), np.arange(27)

    def window(world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        clip = np.stack([world[..., 0], -world[..., 2], world[..., 1]], -1) * 0.298
        if rng.uniform() < 0.5:
            clip = clip[:, swapped] * (-1, 1, 1)
        often = rng.uniform(size=(27, 17)) < weight
        offsets = np.where(
            often[..., None], rng.normal(size=(27, 17, 2)) * std + mean, rng.uniform(-0.03, 0.03, (27, 17, 2))
        )
        at = np.linspace(0, 26, len(clip))
        between = np.stack([[np.interp(at, keys, offsets[:, j, a]) for a in range(2)] for j in range(17)])
        offset = between.transpose(2, 0, 1) + 0.002 * rng.normal(size=(len(clip), 17, 2))
        d = np.linalg.norm(offset, axis=-1)
        trust = noise["a"] / (d + noise["a"]) + noise["b"] * d + rng.normal(noise["m"], noise["s"], d.shape)
        seen = (rng.uniform(size=d.shape) >= 0.05) & (rng.uniform(size=(len(clip), 1)) >= 0.1)
        image = np.concatenate([clip[..., :2] + offset, np.clip(trust, 0, 1)[..., None]], -1) * seen[..., None]
        return (clip - clip[:, :1]).astype(np.float32), image.astype(np.float32)

    return per_window(window)


def per_window(window: OneWindow) -> OfBatches:
    """A transform of batches that calls a function of single windows."""

    def transform(batch: dict[str, Any]) -> dict[str, Any]:
        made = [window(world) for world in batch["positions_3d"].numpy()]
        targets, images = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*made, strict=True))
        return {**batch, "positions_3d": targets, "positions_2d": images}

    return transform


def epoch(windows: WindowDataset, transform: Callable[[Any], Any] | None) -> Callable[[], None]:
    """Read `WINDOWS` windows at random, in batches."""

    def run() -> None:
        windows.transform = transform
        sampler = RandomSampler(windows, replacement=True, num_samples=WINDOWS)
        for _ in DataLoader(windows, BATCH, sampler=sampler, collate_fn=collate):
            pass

    return run


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_store(Path(folder) / "store.h5")
        store = Store(Path(folder) / "store.h5")
        windows = WindowDataset(store, LENGTH, stride=5, padding="edge", joint_order="h36m")
        skeleton = windows.skeleton
        timings = take_turns(
            {
                "reading alone": epoch(windows, None),
                "videopose3d": epoch(windows, pairs.videopose3d(skeleton)),
                "videopose3d, plain NumPy": epoch(windows, numpy_videopose3d(skeleton)),
                "motionbert": epoch(windows, pairs.motionbert(skeleton)),
                "motionbert, plain NumPy": epoch(windows, numpy_motionbert(skeleton)),
                "projection": epoch(windows, pairs.Project(human36m())),
            },
            ROUNDS,
        )
    times = {name: median(timing.seconds) for name, timing in timings.items()}
    rows = [(name, f"{value:.2f}", f"{WINDOWS / value:,.0f}") for name, value in times.items()]
    shown = table([f"{WINDOWS:,} windows of {LENGTH} frames", "seconds", "windows/s"], rows)
    reading = times["reading alone"]
    targets = [
        Target(f"pairs/s, {name} ÷ plain NumPy", times[f"{name}, plain NumPy"] / times[name], LEAST_TIMES_NUMPY, True)
        for name in ("videopose3d", "motionbert")
    ]
    projected = (times["projection"] - reading) / reading
    targets.append(Target("projection ÷ reading and collating", projected, MOST_TIMES_READING))
    write_results("pairs", {"times": times}, shown, targets)


if __name__ == "__main__":
    main()
