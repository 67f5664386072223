"""Poses as a camera sees them are drawn where it sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pytest
import torch

from h36m_amass.skeleton import H36M
from h36m_amass.store.format import JointSet
from h36m_amass.store.store import Store
from h36m_amass.training.cameras import human36m
from tests.small_stores import write_store

Cli = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Somebody near the origin, and somebody behind the camera."""
    rng = np.random.default_rng(0)
    near = np.array((0, 0, 1)) + rng.normal(scale=0.3, size=(20, 17, 3))
    path = tmp_path / "s.h5"
    return write_store(
        path, (JointSet("h36m", "r", H36M),), {"D/s/near": [near], "D/s/behind": [near + np.array((4, 12, 0))]}
    )


def test_joints_are_drawn_at_their_pixels(
    cli: Cli, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[matplotlib.figure.Figure] = []
    monkeypatch.setattr("h36m_amass.plot.picture.save", lambda figure, path: figures.append(figure))
    out = tmp_path / "i.png"
    outcome = cli("plot", store, "D/s/near", "--camera", "S1/54138969", "--poses", 1, "--out", out)
    assert outcome.exit_code == 0, outcome.stderr
    (axes,) = figures[0].axes
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 1000), (1002, 0))
    camera = human36m(["S1"], ["54138969"])
    pose = torch.from_numpy(Store(store)["D/s/near"].positions_3d[:1]).double()[None]
    expected = camera.pixels(camera.project(camera.to_camera(pose)))[0, 0].numpy()
    drawn = np.concatenate([np.asarray(collection.get_offsets()) for collection in axes.collections])
    drawn = drawn[np.isfinite(drawn).all(axis=1) & (drawn != 0).any(axis=1)]
    for joint in expected:
        assert np.abs(drawn - joint).sum(axis=1).min() < 1e-6


def test_what_a_camera_cannot_draw_is_one_line(cli: Cli, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "i.png"
    for arguments, reason in (
        (("D/s/behind", "--camera", "S1/54138969", "--out", out), "is behind the camera S1/54138969"),
        (("D/s/near", "--camera", "S1", "--out", out), "no camera S1/"),
        (("D/s/near", "--camera", "S1/54138969", "--out", tmp_path / "i.gif"), "omit --camera"),
        (("--contact-sheet", "--camera", "S1/54138969", "--out", out), "of one sequence"),
    ):
        outcome = cli("plot", store, *arguments)
        assert outcome.exit_code == 1
        assert reason in outcome.stderr
    assert not out.exists()
