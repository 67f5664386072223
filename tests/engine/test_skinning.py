"""Folding and skinning equal the full mesh: the algebra exactly, float32 to within what float32 holds."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from h36m_amass import skeleton, synthetic
from h36m_amass.body import folding, regressor
from h36m_amass.body import model as body_model
from h36m_amass.engine import skinning
from h36m_amass.engine import workspace as workspace_module
from h36m_amass.engine.layout import Layout
from h36m_amass.engine.posing import pose_joints
from h36m_amass.engine.reference import mesh_joints, skeleton_joints
from h36m_amass.engine.runs import Run, relative_joints
from h36m_amass.engine.skinning import Skinner, padded_size
from h36m_amass.engine.workspace import Workspace
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.tree import find_sequences
from h36m_amass.system import devices
from tests.random_models import Case, cases


def engine_float64(case: Case, batch_size: int = 8) -> np.ndarray:
    return folded_float64(folding.fold(case.body, case.regressor), case, batch_size)


def folded_float64(folded: folding.FoldedRegressor, case: Case, batch_size: int = 8) -> np.ndarray:
    skinner = Skinner(folded, batch_size, dtype=torch.float64)
    cuts = range(batch_size, len(case.poses), batch_size)
    relative = pose(skinner, case.betas, case.poses, case.dmpls, cuts)
    return relative + folded.row_sums[:, None] * case.trans[:, None]


def pose(
    skinner: Skinner, betas: np.ndarray, poses: np.ndarray, dmpls: np.ndarray | None, cuts: Iterable[int] = ()
) -> np.ndarray:
    """Joints relative to the root translation of a recording that is cut into runs before these frames."""
    runs = [
        Run(poses[start:stop], None if dmpls is None else dmpls[start:stop], np.arange(stop - start))
        for start, stop in pairwise([0, *cuts, len(poses)])
    ]
    parts = list(relative_joints(skinner, betas, runs))
    assert [len(part) for part in parts] == [len(run.rows) for run in runs]
    return np.concatenate(parts)


def mesh(case: Case) -> np.ndarray:
    return mesh_joints(case.body, case.regressor, case.betas, case.poses, case.trans, case.dmpls)


@settings(max_examples=80)
@given(cases())
def test_float64_engine_equals_the_full_mesh(case: Case) -> None:
    assert np.abs(engine_float64(case) - mesh(case)).max() <= 1e-10 * max(1.0, np.abs(mesh(case)).max())


@settings(max_examples=20)
@given(cases())
def test_float64_skeleton_equals_the_posed_joints_of_lbs(case: Case) -> None:
    ours = folded_float64(folding.fold_skeleton(case.body), case)
    exact = skeleton_joints(case.body, case.betas, case.poses, case.trans, case.dmpls)
    assert np.abs(ours - exact).max() <= 1e-10 * max(1.0, np.abs(exact).max())


@settings(max_examples=20)
@given(cases(), st.lists(st.sampled_from(["regressor", "half", "skeleton"]), min_size=1, max_size=4))
def test_joined_regressors_give_the_joints_of_each(case: Case, which: list[str]) -> None:
    half = replace(case.regressor, matrix=scipy.sparse.csr_array(case.regressor.matrix[::2]))
    choices = {
        "regressor": folding.fold(case.body, case.regressor),
        "half": folding.fold(case.body, half),
        "skeleton": folding.fold_skeleton(case.body),
    }
    together = folded_float64(folding.join([choices[name] for name in which]), case)
    apart = np.concatenate([folded_float64(choices[name], case) for name in which], axis=1)
    np.testing.assert_allclose(together, apart, atol=1e-11 * max(1.0, np.abs(apart).max()))


@settings(max_examples=15)
@given(cases(), st.integers(1, 20), st.integers(1, 20))
def test_any_batch_size_and_any_tile_give_the_same_joints(case: Case, batch_size: int, tile: int) -> None:
    scale = max(1.0, np.abs(mesh(case)).max())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skinning, "TILE_FRAMES", tile)
        tiled = engine_float64(case, batch_size)
    assert np.abs(tiled - engine_float64(case, 1)).max() <= 1e-12 * scale


@settings(max_examples=15)
@given(cases(), st.integers(0, 2**32 - 1))
def test_vertices_may_be_numbered_anew(case: Case, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(case.body.num_vertices)
    body = replace(
        case.body,
        v_template=case.body.v_template[order],
        shapedirs=case.body.shapedirs[order],
        dmpldirs=case.body.dmpldirs[order],
        posedirs=case.body.posedirs[order],
        weights=case.body.weights[order],
        J_regressor=case.body.J_regressor[:, order],
    )
    shuffled = replace(case.regressor, matrix=scipy.sparse.csr_array(case.regressor.matrix[:, order]))
    ours = engine_float64(replace(case, body=body, regressor=shuffled))
    np.testing.assert_allclose(ours, engine_float64(case), atol=1e-11 * max(1.0, np.abs(ours).max()))


@settings(max_examples=15)
@given(cases())
def test_joints_are_linear_in_the_regressor(case: Case) -> None:
    doubled = replace(case.regressor, matrix=scipy.sparse.csr_array(2.5 * case.regressor.matrix))
    ours = engine_float64(replace(case, regressor=doubled))
    np.testing.assert_allclose(ours, 2.5 * engine_float64(case), atol=1e-11 * max(1.0, np.abs(ours).max()))


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

    def runs(motion: dict[str, np.ndarray]) -> Iterator[Run]:
        for start in range(0, 96, 32):
            yield Run(motion["poses"][start : start + 32], motion["dmpls"][start : start + 32], np.arange(32))

    first, second = (relative_joints(skinner, motion["betas"], runs(motion)) for motion in motions)
    together = list(zip(first, second, strict=True))
    for number, motion in enumerate(motions):
        alone = relative_joints(skinner, motion["betas"], runs(motion))
        np.testing.assert_array_equal([both[number] for both in together], list(alone))


def test_a_recording_that_ends_in_an_error_harms_itself_alone(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    skinner = Skinner(folding.fold(body, joints), 32)
    motion = synthetic.motion("walk", 1.0, 100, gender="male", fingers="moving", seed=1)
    before = pose(skinner, motion["betas"], motion["poses"][:32], None)

    def damaged() -> Iterator[Run]:
        yield Run(motion["poses"][32:64], None, np.arange(32))
        raise OSError

    with pytest.raises(OSError):
        list(relative_joints(skinner, motion["betas"], damaged()))
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
    skinner = object.__new__(Skinner)
    skinner.tile_size = tile
    size, last = skinner.padded(num_frames), num_frames % tile
    assert num_frames <= size <= num_frames + tile - 1
    assert size - num_frames < max(skinning.GRAIN, last / 8)
    assert len({padded_size(number, 1024) for number in range(1, 1025)}) <= 24


def test_only_the_needed_frames_of_a_run_are_posed(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    motion = synthetic.motion("walk", 1.0, 100, gender="male", fingers="moving", seed=1)
    skinner, rows = Skinner(folding.fold(body, joints), 128), np.array([0, 3, 4, 50, 99])
    poses, dmpls = motion["poses"].astype(np.float32), motion["dmpls"]
    (some,) = relative_joints(skinner, motion["betas"], [Run(poses, dmpls, rows)])
    np.testing.assert_allclose(some, pose(skinner, motion["betas"], poses, dmpls)[rows], atol=1e-6)


@settings(max_examples=50)
@given(cases())
def test_folding_keeps_only_pairs_bones_and_columns_that_are_needed(case: Case) -> None:
    folded = folding.fold(case.body, case.regressor)
    support = (case.regressor.matrix.toarray() != 0).astype(int) @ (case.body.weights != 0).astype(int)
    assert folded.num_pairs == (support > 0).sum()
    used = set(folded.bones[folded.pair_bone].tolist())
    ancestors = set()
    for bone in used | {0}:
        while bone >= 0:
            ancestors.add(bone)
            bone = int(case.body.parents[bone])
    assert set(folded.bones.tolist()) == ancestors
    assert (folded.pair_pose != 0).any(axis=(0, 1, 3)).all()
    assert parents_come_first(folded, case)


def parents_come_first(folded: folding.FoldedRegressor, case: Case) -> bool:
    """Every kept bone's parent is kept, comes before it, and is one level higher."""
    below = np.arange(1, len(folded.bones))
    parents = folded.parents[below]
    return bool(
        (folded.bones[parents] == case.body.parents[folded.bones[below]]).all()
        and (parents < below).all()
        and (folded.depth[below] == folded.depth[parents] + 1).all()
    )


@settings(max_examples=20)
@given(case=cases())
def test_a_folded_regressor_survives_being_written(tmp_path_factory: pytest.TempPathFactory, case: Case) -> None:
    folded = folding.fold(case.body, case.regressor)
    path = tmp_path_factory.mktemp("folded") / "folded.npz"
    path.write_bytes(folding.to_bytes(folded))
    again = folding.read(path)
    for name in folding.FoldedRegressor.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(folded, name))


def tiny_body(weights: np.ndarray) -> body_model.BodyModel:
    rng = np.random.default_rng(0)
    return body_model.BodyModel(
        v_template=rng.normal(size=(4, 3)),
        shapedirs=rng.normal(size=(4, 3, 2)),
        dmpldirs=np.zeros((4, 3, 0)),
        posedirs=rng.normal(size=(4, 3, 18)),
        weights=weights,
        J_regressor=rng.normal(size=(3, 4)),
        parents=np.array([-1, 0, 1]),
        sha256="",
        base_sha256="",
        synthetic=True,
    )


def tiny_case(weights: np.ndarray, row: list[float], frames: int = 5) -> Case:
    rng = np.random.default_rng(1)
    joints = regressor.JointRegressor(scipy.sparse.csr_array([row]), skeleton.custom(("x",)), "", True)
    poses = rng.normal(size=(frames, 9))
    return Case(tiny_body(weights), joints, np.ones(2), poses, rng.normal(size=(frames, 3)), None)


def test_a_pair_whose_weights_cancel_is_kept() -> None:
    # c_kj is zero and A_kj is not: two vertices of one bone, one taken from the other.
    case = tiny_case(np.eye(4, 3)[[1, 1, 2, 2]], [1.0, -1.0, 0.0, 0.0])
    assert folding.fold(case.body, case.regressor).num_pairs == 1
    np.testing.assert_allclose(engine_float64(case), mesh(case), atol=1e-12)
    assert np.abs(mesh(case)).max() > 0.1


def test_bones_that_come_back_to_where_they_began_have_moved() -> None:
    case = tiny_case(np.eye(4, 3)[[0, 1, 2, 2]], [0.3, 0.3, 0.2, 0.2])
    case.poses[-1] = case.poses[0]
    np.testing.assert_allclose(engine_float64(case), mesh(case), atol=1e-12)


def test_a_mesh_without_any_weight_leaves_only_the_translation() -> None:
    case = tiny_case(np.zeros((4, 3)), [1.0, 1.0, 0.0, 0.0])
    ours = pose_joints(folding.fold(case.body, case.regressor), case.betas, case.poses, case.trans)
    np.testing.assert_allclose(ours[:, 0], 2 * case.trans, rtol=1e-6)


@pytest.fixture(scope="module")
def body(support_dir: Path) -> body_model.BodyModel:
    return body_model.load(support_dir, "male")


@pytest.fixture(scope="module")
def joints(support_dir: Path) -> regressor.JointRegressor:
    return regressor.load(support_dir / "J_regressor_h36m.npy")


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
    (file,) = find_sequences(real_amass).sequences
    header = amass.read_header(real_amass / file.path)
    frames = next(amass.read_frames(real_amass / file.path, header, 1000, 8))
    every = slice(None, None, 5)
    betas = amass.fit_betas(header.betas, 16)
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


def test_fingers_are_a_class_that_reaches_few_pairs(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    folded = folding.fold(body, joints)
    everywhere, *hands = Layout(folded).classes
    assert len(everywhere.rows) == 3 * folded.num_pairs
    assert len(hands) == 2
    assert all(hand.bones[1] == 15 and len(hand.rows) < len(everywhere.rows) / 5 for hand in hands)


def test_only_classes_that_move_are_computed_for_every_frame(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    skinner = Skinner(folding.fold(body, joints), 64)
    for fingers, moving in (("still", {0}), ("moving", {0, 1, 2})):
        poses = synthetic.motion("walk", 0.5, 100, gender="male", fingers=fingers, seed=1)["poses"]
        assert skinner.moving_classes(poses) == moving
        columns = [span.bones[1] for span in skinner.layout.plan(frozenset(moving)).spans]
        assert sum(columns) == (22 if fingers == "still" else 52)


def skin_once(skinner: Skinner, moving: frozenset[int], device: str) -> torch.Tensor:
    """One whole pass through the engine, with soft tissue."""
    layout, size = skinner.layout, 8
    constants = 3 * layout.num_vectors + 9 * len(layout.plan(moving).held)
    return skinner.skin(
        torch.zeros(3 * len(layout.rotated), size, device=device),
        torch.zeros(constants, 1, device=device),
        torch.zeros(skinner.folded.num_dmpls, size, device=device),
        moving,
    )


@pytest.mark.parametrize("moving", [{0}, {0, 1, 2}, {1}])
@pytest.mark.parametrize("device", ["cuda:0", "cuda:3"])
def test_the_whole_path_runs_on_fake_cuda_tensors(
    body: body_model.BodyModel, joints: regressor.JointRegressor, device: str, moving: set[int]
) -> None:
    folded = folding.fold(body, joints)
    with FakeTensorMode(allow_non_fake_inputs=False):
        out = skin_once(Skinner(folded, 8, device), frozenset(moving), device)
    assert out.device == torch.device(device)
    assert out.shape == (8, 17, 3)


def test_a_tensor_left_on_the_cpu_is_noticed_on_fake_cuda(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    folded = folding.fold(body, joints)
    with FakeTensorMode(allow_non_fake_inputs=False):
        skinner = Skinner(folded, 8, "cuda:0")
        skinner._sums = tuple((*extents, matrix.cpu()) for *extents, matrix in skinner._sums)
        with pytest.raises(RuntimeError, match="cpu"):
            skin_once(skinner, frozenset({0, 1, 2}), "cuda:0")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu(body: body_model.BodyModel, joints: regressor.JointRegressor) -> None:
    motion = synthetic.motion("walk", 2.0, 100, gender="male", fingers="moving", seed=1)
    arguments = (folding.fold(body, joints), motion["betas"], motion["poses"], motion["trans"], motion["dmpls"])
    assert np.abs(pose_joints(*arguments, device="cuda") - pose_joints(*arguments)).max() < 2e-6


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
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(devices, "_GPU_DRIVERS", ("/",))
    assert devices.resolve_device("auto") == "cuda:1"
    monkeypatch.setattr(devices, "_GPU_DRIVERS", ())
    if sys.platform == "linux":
        assert devices.resolve_device("auto") == "cpu"
    assert devices.resolve_device("cpu") == "cpu"


@pytest.mark.parametrize("device", ["mps", "cuda:99", "nonsense", ""])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(devices.DeviceError, match="device"):
        devices.resolve_device(device)
