"""Hypothesis strategies: body models, regressors and poses of any shape, far from what real ones look like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from hypothesis import strategies as st

from h36m_amass import skeleton
from h36m_amass.body.model import BodyModel
from h36m_amass.body.regressor import JointRegressor


@dataclass(frozen=True)
class Case:
    """A body model, a regressor and a motion that fit each other."""

    body: BodyModel
    regressor: JointRegressor
    betas: np.ndarray
    poses: np.ndarray
    trans: np.ndarray
    dmpls: np.ndarray | None


@st.composite
def parents(draw: st.DrawFn, num_bones: int) -> np.ndarray:
    """A tree with its root at bone 0: a chain, a star, a bush, or in an order where children come first."""
    kind = draw(st.sampled_from(["chain", "star", "bush", "shuffled"]))
    if kind == "chain":
        return np.arange(-1, num_bones - 1)
    if kind == "star":
        return np.array([-1] + [0] * (num_bones - 1))
    tree = np.array([-1] + [draw(st.integers(0, bone - 1)) for bone in range(1, num_bones)])
    if kind == "bush":
        return tree
    renamed = np.array([0, *draw(st.permutations(range(1, num_bones)))])
    shuffled = np.full(num_bones, -1)
    for bone in range(1, num_bones):
        shuffled[renamed[bone]] = renamed[tree[bone]]
    return shuffled


@st.composite
def cases(draw: st.DrawFn, max_bones: int = 56, max_vertices: int = 60, max_joints: int = 40) -> Case:
    """Weights may be dense or sparse, negative, and sum to anything; angles go from zero to past pi."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_bones = draw(st.integers(1, max_bones))
    num_vertices = draw(st.integers(1, max_vertices))
    num_joints = draw(st.integers(1, max_joints))
    num_betas, num_dmpls = draw(st.integers(1, 5)), draw(st.integers(0, 3))
    bones_a_vertex = draw(st.integers(1, min(20, num_bones)))

    weights = np.zeros((num_vertices, num_bones))
    for vertex in range(num_vertices):
        bones = rng.choice(num_bones, bones_a_vertex, replace=False)
        weights[vertex, bones] = rng.normal(size=bones_a_vertex)
    posedirs = rng.normal(scale=0.2, size=(num_vertices, 3, num_bones - 1, 9))
    # Correctives of some bones reach some vertices only, as those of fingers do.
    posedirs *= rng.random((num_vertices, 1, num_bones - 1, 1)) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    body = BodyModel(
        v_template=rng.normal(size=(num_vertices, 3)),
        shapedirs=rng.normal(size=(num_vertices, 3, num_betas)),
        dmpldirs=rng.normal(size=(num_vertices, 3, num_dmpls)),
        posedirs=posedirs.reshape(num_vertices, 3, -1),
        weights=weights,
        J_regressor=rng.normal(size=(num_bones, num_vertices)) / num_vertices,
        parents=draw(parents(num_bones)),
        sha256="",
        base_sha256="",
        synthetic=True,
    )
    matrix = rng.normal(size=(num_joints, num_vertices))
    matrix *= rng.random(matrix.shape) < draw(st.sampled_from([0.1, 0.5, 1.0]))
    matrix[np.arange(num_joints), rng.integers(num_vertices, size=num_joints)] = 1.0
    names = tuple(f"joint_{k}" for k in range(num_joints))
    regressor = JointRegressor(scipy.sparse.csr_array(matrix), skeleton.named(names), "r.npy", "", True)

    num_frames = draw(st.integers(1, 12))
    axes = rng.normal(size=(num_frames, num_bones, 3))
    axes /= np.linalg.norm(axes, axis=2, keepdims=True)
    angles = np.array([0.0, 1e-12, 1e-6, 1e-3, 1.0, np.pi - 1e-7, np.pi, np.pi + 1e-3, 2 * np.pi, 7.0])
    poses = axes * rng.choice(angles, size=(num_frames, num_bones, 1))
    still = rng.random(num_bones) < 0.5
    poses[:, still] = poses[:1, still]
    return Case(
        body=body,
        regressor=regressor,
        betas=rng.normal(size=num_betas),
        poses=poses.reshape(num_frames, -1),
        trans=rng.normal(scale=3.0, size=(num_frames, 3)),
        dmpls=rng.normal(size=(num_frames, num_dmpls)) if draw(st.booleans()) else None,
    )
