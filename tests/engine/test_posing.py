"""Joints in float32, to within what float32 holds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from h36m_amass import synthetic
from h36m_amass.body import folding, regressor
from h36m_amass.body import model as body_model
from h36m_amass.engine.posing import pose_joints
from h36m_amass.engine.reference import mesh_joints
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.access import source_of
from h36m_amass.recordings.tree import find_recordings
from h36m_amass.system import devices
from tests.engine.folded import tiny_case


def within_ten_metres(trans: np.ndarray) -> np.ndarray:
    """The same path, moved so that the body is as far out as it may be and stay within 10 m of the origin."""
    centred = trans - trans.mean(axis=0)
    assert np.linalg.norm(centred, axis=1).max() < 3
    return centred + np.array([3.4, 3.4, 3.4])


@pytest.mark.parametrize("fingers", ["still", "moving"])
@pytest.mark.parametrize("kind", synthetic.KINDS)
def test_float32_stays_within_two_micrometres_on_motions(
    body: body_model.BodyModel, joints: regressor.JointRegressor, kind: str, fingers: str
) -> None:
    motion = synthetic.motion(kind, 0.4, 60, gender="male", fingers=fingers, seed=3)
    trans = within_ten_metres(motion["trans"])
    arguments = (motion["betas"], motion["poses"], trans, motion["dmpls"])
    ours = pose_joints(folding.fold(body, joints), *arguments)
    assert ours.dtype == np.float32
    exact = mesh_joints(body, joints, *arguments)
    assert np.linalg.norm(exact, axis=2).max() < 10
    assert np.linalg.norm(ours - exact, axis=2).max() < 2e-6


def test_float32_stays_within_two_micrometres_on_the_real_recording(
    body: body_model.BodyModel, joints: regressor.JointRegressor, real_amass: Path
) -> None:
    (file,) = find_recordings(real_amass).files
    with amass.Recording(source_of(real_amass, file)) as recording:
        betas = amass.fit_betas(recording.header.betas, 16)
        frames = next(recording.frames(1000, 8))
    every = slice(None, None, 5)
    assert frames.dmpls is not None
    arguments = (betas, frames.poses[every], frames.trans[every], frames.dmpls[every])
    exact = mesh_joints(body, joints, *arguments)
    assert np.linalg.norm(exact, axis=2).max() < 10
    assert np.linalg.norm(pose_joints(folding.fold(body, joints), *arguments) - exact, axis=2).max() < 2e-6


@pytest.mark.parametrize("batch_size", [1, 7, 256, 10000])
def test_any_batch_size_agrees_in_float32(
    body: body_model.BodyModel, joints: regressor.JointRegressor, batch_size: int
) -> None:
    motion = synthetic.motion("reach", 3.0, 100, gender="male", fingers="moving", seed=1)
    folded = folding.fold(body, joints)
    arguments = (folded, motion["betas"], motion["poses"], motion["trans"], motion["dmpls"])
    ours = pose_joints(*arguments, batch_size=batch_size)
    assert np.abs(ours - pose_joints(*arguments, batch_size=128)).max() < 1e-6


def test_a_mesh_without_any_weight_leaves_only_the_translation() -> None:
    case = tiny_case(np.zeros((4, 3)), [1.0, 1.0, 0.0, 0.0])
    ours = pose_joints(folding.fold(case.body, case.regressor), case.betas, case.poses, case.trans)
    np.testing.assert_allclose(ours[:, 0], 2 * case.trans, rtol=1e-6)


def test_a_default_device_of_the_caller_changes_nothing(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    motion = synthetic.motion("walk", 0.3, 60, gender="male", fingers="moving")
    arguments = motion["betas"], motion["poses"], motion["trans"], motion["dmpls"]
    expected = pose_joints(folding.fold(body, joints), *arguments)
    torch.set_default_device("meta")
    try:
        ours = pose_joints(folding.fold(body, joints), *arguments)
    finally:
        torch.set_default_device(None)
    np.testing.assert_array_equal(ours, expected)


def test_pose_joints_refuses_what_does_not_fit(body: body_model.BodyModel, joints: regressor.JointRegressor) -> None:
    folded = folding.fold(body, joints)
    motion = synthetic.motion("walk", 0.1, 60, gender="male")
    good = {name: motion[name] for name in ("betas", "poses", "trans", "dmpls")}
    for name, wrong in (
        ("betas", good["betas"][:10]),
        ("poses", good["poses"][:, :66]),
        ("trans", good["trans"][:1]),
        ("dmpls", good["dmpls"][:, :4]),
    ):
        with pytest.raises(ValueError, match=name):
            pose_joints(folded, **{**good, name: wrong})
    nothing = {name: array if name == "betas" else array[:0] for name, array in good.items()}
    assert pose_joints(folded, **nothing).shape == (0, 17, 3)


def test_torch_decides_where_there_may_be_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: (9, 0))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(devices, "_GPU_DRIVERS", ("/",))
    assert devices.resolve_device("auto") == "cuda:1"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert devices.resolve_device("auto") == "cuda:0"
    monkeypatch.setattr(devices, "_GPU_DRIVERS", ())
    if sys.platform == "linux":
        assert devices.resolve_device("auto") == "cpu"
    assert devices.resolve_device("cpu") == "cpu"


@pytest.mark.parametrize("device", ["mps", "cuda:99", "nonsense", ""])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(devices.DeviceError, match="device"):
        devices.resolve_device(device)
