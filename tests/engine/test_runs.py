"""A recording depends on itself alone, however it is cut and whatever is computed beside it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from h36m_amass import synthetic
from h36m_amass.body import folding, regressor
from h36m_amass.body import model as body_model
from h36m_amass.engine import skinning
from h36m_amass.engine import workspace as workspace_module
from h36m_amass.engine.run import Run
from h36m_amass.engine.runs import pose_runs
from h36m_amass.engine.skinning import Skinner, padded_size
from h36m_amass.engine.workspace import Workspace
from h36m_amass.recordings.resampling import Neighbours
from tests.engine.folded import pose, pose_each
from tests.random_models import Case, cases


@settings(max_examples=15)
@given(cases(), st.sets(st.integers(1, 11)))
def test_a_recording_may_be_cut_anywhere(case: Case, cuts: set[int]) -> None:
    skinner = Skinner(folding.fold(case.body, case.regressor), 16, dtype=torch.float64)
    arguments = skinner, case.betas, case.poses, case.dmpls
    whole = pose(*arguments)
    pieces = pose(*arguments, sorted(cut for cut in cuts if cut < len(case.poses)))
    np.testing.assert_allclose(pieces, whole, atol=1e-11 * max(1.0, np.abs(whole).max()))


def test_a_recording_gives_the_same_bytes_whatever_was_computed_before(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    folded = folding.fold(body, joints)
    recordings = [
        synthetic.motion(kind, seconds, 100, gender="male", fingers=fingers, dmpls=dmpls, seed=seed)
        for seed, (kind, seconds, fingers, dmpls) in enumerate(
            [("walk", 3.0, "still", False), ("reach", 1.5, "moving", True), ("walk", 0.4, "moving", False)]
        )
    ]

    def posed(skinner: Skinner, motion: dict[str, np.ndarray]) -> bytes:
        poses = motion["poses"].astype(np.float32)
        return pose(skinner, motion["betas"], poses, motion.get("dmpls"), range(128, len(poses), 128)).tobytes()

    alone = [posed(Skinner(folded, 128), motion) for motion in recordings]
    skinner, workspace = Skinner(folded, 128), Workspace()
    sharing = Skinner(folded, 128, workspace=workspace), Skinner(folding.fold_skeleton(body), 128, workspace=workspace)
    for number in (0, 1, 2, 0, 2, 1, 1):
        assert posed(skinner, recordings[number]) == alone[number]
        posed(sharing[1], recordings[number - 1])
        assert posed(sharing[0], recordings[number]) == alone[number]


def test_recordings_may_take_turns(body: body_model.BodyModel, joints: regressor.JointRegressor) -> None:
    skinner = Skinner(folding.fold(body, joints), 32)
    motions = [synthetic.motion("walk", 1.0, 100, gender="male", fingers="moving", seed=seed) for seed in (1, 2)]

    def posed(motion: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
        runs = [(0, 32), (32, 64), (64, 96)]
        return pose_each(skinner, motion["betas"], motion["poses"], motion["dmpls"], runs)

    together = list(zip(*map(posed, motions), strict=True))
    for number, motion in enumerate(motions):
        alone = posed(motion)
        np.testing.assert_array_equal([both[number] for both in together], list(alone))


def test_a_recording_that_ends_in_an_error_harms_itself_alone(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    skinner = Skinner(folding.fold(body, joints), 32)
    motion = synthetic.motion("walk", 1.0, 100, gender="male", fingers="moving", seed=1)
    before = pose(skinner, motion["betas"], motion["poses"][:32], None)

    def damaged() -> Iterator[Run]:
        yield Run.whole(motion["poses"][32:64], motion["trans"][32:64])
        raise OSError

    with pytest.raises(OSError):
        list(pose_runs(skinner, motion["betas"], damaged(), (17,)))
    np.testing.assert_array_equal(pose(skinner, motion["betas"], motion["poses"][:32], None), before)


def test_skinners_that_share_memory_give_what_each_gives_alone(
    body: body_model.BodyModel, joints: regressor.JointRegressor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_module, "_GRAIN", 1)
    motion = synthetic.motion("walk", 8.0, 100, gender="male", fingers="moving", seed=1)
    both = folding.fold_skeleton(body), folding.fold(body, joints)  # the second needs more room than the first
    workspace = Workspace()
    sharing = [Skinner(folded, 800, workspace=workspace) for folded in both]
    for length in (800, 3, 300, 800):
        arguments = motion["betas"], motion["poses"][:length], motion["dmpls"][:length]
        for skinner, folded in zip(sharing, both, strict=True):
            np.testing.assert_array_equal(pose(skinner, *arguments), pose(Skinner(folded, 800), *arguments))


@given(st.integers(1, 10_000), st.integers(1, 2000))
def test_a_run_is_padded_little_and_to_few_sizes(num_frames: int, tile: int) -> None:
    num_frames = min(num_frames, tile)
    size = padded_size(num_frames, tile)
    assert num_frames <= size <= tile
    assert size - num_frames < max(skinning.GRAIN, num_frames / 8)
    assert len({padded_size(number, 1024) for number in range(1, 1025)}) <= 24
    assert num_frames <= padded_size(num_frames, tile, on_gpu=True) <= max(skinning.GPU_GRAIN, 4 * num_frames)
    assert len({padded_size(number, 4096, on_gpu=True) for number in range(1, 4097)}) == 4


def test_only_the_needed_frames_of_a_run_are_posed(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    motion = synthetic.motion("walk", 1.0, 100, gender="male", fingers="moving", seed=1)
    skinner, rows = Skinner(folding.fold(body, joints), 128), np.array([0, 3, 4, 50, 99])
    poses, dmpls = motion["poses"].astype(np.float32), motion["dmpls"]
    between = Neighbours(np.arange(5), np.arange(5), np.zeros(5), is_copy=True)
    ((some,),) = pose_runs(skinner, motion["betas"], [Run(poses, np.zeros((100, 3)), dmpls, rows, between)], (17,))
    np.testing.assert_allclose(some, pose(skinner, motion["betas"], poses, dmpls)[rows], atol=1e-6)
