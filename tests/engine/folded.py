"""What tests of the engine share: recordings posed by the engine in float64, and by the full mesh."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import scipy.sparse
import torch

from h36m_amass import skeleton
from h36m_amass.body import folding, regressor
from h36m_amass.body import model as body_model
from h36m_amass.engine.reference import mesh_joints
from h36m_amass.engine.run import Run
from h36m_amass.engine.runs import pose_runs
from h36m_amass.engine.skinning import Skinner
from tests.random_models import Case


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
    ends = list(pairwise([0, *cuts, len(poses)]))
    return np.concatenate(list(pose_each(skinner, betas, poses, dmpls, ends)))


def pose_each(
    skinner: Skinner,
    betas: np.ndarray,
    poses: np.ndarray,
    dmpls: np.ndarray | None,
    runs: Iterable[tuple[int, int]],
) -> Iterator[np.ndarray]:
    """Joints relative to the root translation of each run of frames, from one to before another."""
    nowhere = np.zeros((len(poses), 3))
    whole = (
        Run.whole(poses[start:stop], nowhere[start:stop], None if dmpls is None else dmpls[start:stop])
        for start, stop in runs
    )
    for (positions,) in pose_runs(skinner, betas, whole, (skinner.folded.num_joints,)):
        yield positions


def mesh(case: Case) -> np.ndarray:
    return mesh_joints(case.body, case.regressor, case.betas, case.poses, case.trans, case.dmpls)


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
    joints = regressor.JointRegressor(scipy.sparse.csr_array([row]), skeleton.named(("x",)), "r.npy", "", True)
    poses = rng.normal(size=(frames, 9))
    return Case(tiny_body(weights), joints, np.ones(2), poses, rng.normal(size=(frames, 3)), None)
