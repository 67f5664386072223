"""Doubtful recordings give warnings, and recordings like AMASS's give none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from h36m_amass.recordings import plausibility
from h36m_amass.recordings.recording import Recording
from tests.scenes import recording, write

UPRIGHT = (np.pi / 2, 0.0, 0.0)  # turns SMPL's y, which is up, into AMASS's z


@given(hnp.arrays(np.float64, 3, elements=st.floats(-7, 7)))
def test_a_body_whose_up_is_within_60_degrees_of_z_stands(root: np.ndarray) -> None:
    up = Rotation.from_rotvec(root).apply([0.0, 1.0, 0.0])
    if abs(up[2] - plausibility.MIN_UPRIGHT) > 1e-9:
        assert (plausibility.of_posture(root) == []) == (up[2] > plausibility.MIN_UPRIGHT)


@pytest.mark.parametrize(
    ("root", "axis"),
    [((0.0, 0.0, 0.0), "y"), ((np.pi, 0, 0), "-y"), ((0, 0, -np.pi / 2), "x"), ((-np.pi / 2, 0, 0), "-z")],
)
def test_the_axis_that_is_up_is_named(root: tuple[float, ...], axis: str) -> None:
    (message,) = plausibility.of_posture(np.array(root))
    assert f"up is {axis}," in message


def warnings_of(tmp_path: Path, frames: int = 40, **changes: object) -> list[str]:
    arrays = recording(frames, **changes)
    arrays["poses"][:, :3] = UPRIGHT
    with Recording(write(tmp_path / "r.npz", arrays)) as opened:
        for _ in opened.frames(16, 8):
            pass
        return list(opened.warnings)


def test_nothing_is_said_of_a_recording_as_amass_has_them(tmp_path: Path) -> None:
    assert warnings_of(tmp_path) == []
    assert warnings_of(tmp_path, mocap_frame_rate=np.array(120.00004577636719)) == []


@pytest.mark.parametrize("frame", [0, 32])
def test_degrees_and_millimetres_are_noticed_in_any_run(tmp_path: Path, frame: int) -> None:
    arrays = recording(40)
    poses, trans = arrays["poses"], arrays["trans"]
    poses[frame:, 60], trans[frame:, 2] = 70.0, 900.0
    degrees, millimetres = warnings_of(tmp_path, poses=poses, trans=trans)
    assert "degrees" in degrees
    assert "millimetres" in millimetres


def test_two_frame_rates_that_differ_are_named(tmp_path: Path) -> None:
    (message,) = warnings_of(tmp_path, mocap_frame_rate=np.array(60.0))
    assert "120 and 60 Hz; the first is taken" in message


def test_a_look_at_the_first_frame_says_what_it_shows(tmp_path: Path) -> None:
    arrays = recording(40)
    arrays["poses"][:, :3] = 0.0
    with Recording(write(tmp_path / "r.npz", arrays)) as opened:
        opened.look_at_first_frame()
        assert ["up is y" in message for message in opened.warnings] == [True]
