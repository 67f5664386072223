"""SMPL-X and SMPL of the made-up person: its SMPL+H model and recordings, carried over to the formats of the two.

SMPL-X has the SMPL+H mesh with some triangles split, its vertices in another order, and three more bones in the
head. SMPL has the same mesh, and one bone for all fingers of a hand.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float

from h36m_amass.synthetic.anatomy import GENDERS, JOINT_NAMES, PARENTS, surface
from h36m_amass.synthetic.body import SYNTHETIC_NOTE, VERTICES, body_model, joint_regressor, write_model

SMPLX_VERTICES, SHAPE_DIRECTIONS, EXPRESSIONS, SMPL_BETAS = 10475, 300, 100, 10
_BODY = 22
_HEAD = JOINT_NAMES.index("head")
_FACE: Mapping[str, tuple[float, float, float]] = {
    "jaw": (0, 0.38, 0.03),
    "left_eye": (0.03, 0.43, 0.09),
    "right_eye": (-0.03, 0.43, 0.09),
}
SMPLX_JOINT_NAMES = (*JOINT_NAMES[:_BODY], *_FACE, *JOINT_NAMES[_BODY:])
_HANDS = tuple(slice(_BODY + 15 * side, _BODY + 15 * (side + 1)) for side in range(2))


def smplx_model(gender: str, seed: int = 0, *, small_shape_space: bool = False) -> dict[str, np.ndarray]:
    """Make up an SMPL-X body model of the same person as `body_model`.

    With `small_shape_space` there are 10 directions of shape and 10 of expression, as in the first release, and
    otherwise 300 and 100.

    Returns
    -------
    dict of str to array
        Under the keys of the real file, as far as this library reads them: float32 ``shapedirs`` (10475, 3, 400) and
        ``posedirs`` (10475, 3, 486); float64 ``v_template`` (10475, 3), ``weights`` (10475, 55) and ``J_regressor``
        (55, 10475); int64 ``kintree_table`` (2, 55), whose root has parent -1; ``part2num``, a Python object as the
        real file has some; and ``synthetic``, the note that says it is made up.
    """
    smplh = body_model(gender, seed)
    split, near = _split(), _nearness()
    bones = np.array([SMPLX_JOINT_NAMES.index(name) for name in JOINT_NAMES])
    rng = np.random.default_rng([seed, 55])
    shape, expressions = (10, 10) if small_shape_space else (SHAPE_DIRECTIONS, EXPRESSIONS)
    shapedirs = np.zeros((SMPLX_VERTICES, 3, shape + expressions), np.float32)
    named = (split @ smplh["shapedirs"].reshape(VERTICES, -1)).reshape(SMPLX_VERTICES, 3, -1)[:, :, :shape]
    shapedirs[:, :, : named.shape[2]] = named
    shapedirs[:, :, named.shape[2] :] = rng.normal(scale=0.001, size=(1, 3, shapedirs.shape[2] - named.shape[2]))
    # An expression, were it ever used for a shape, moves the face by centimetres.
    shapedirs[:, :, shape:] += near[:, :1, None] * rng.normal(scale=0.03, size=(1, 3, expressions))

    posedirs = np.zeros((SMPLX_VERTICES, 3, len(SMPLX_JOINT_NAMES) - 1, 9), np.float32)
    old = (split @ smplh["posedirs"].reshape(VERTICES, -1)).reshape(SMPLX_VERTICES, 3, -1, 9)
    posedirs[:, :, bones[1:] - 1] = old
    posedirs[:, :, _BODY - 1 : _BODY + 2] = near[:, None, :, None] * rng.normal(scale=0.002, size=(1, 3, 3, 9))

    weights = np.zeros((SMPLX_VERTICES, len(SMPLX_JOINT_NAMES)))
    weights[:, bones] = split @ smplh["weights"]
    face = weights[:, [_HEAD]] * near / np.maximum(1.0, near.sum(axis=1, keepdims=True))
    weights[:, _BODY : _BODY + 3] = face
    weights[:, _HEAD] -= face.sum(axis=1)

    regressor = np.zeros((len(SMPLX_JOINT_NAMES), SMPLX_VERTICES))
    regressor[bones[:, None], _kept()] = smplh["J_regressor"]
    regressor[_BODY : _BODY + 3] = (near**4 / (near**4).sum(axis=0)).T
    parents = np.full(len(SMPLX_JOINT_NAMES), _HEAD)
    parents[bones] = [-1 if parent < 0 else bones[parent] for parent in PARENTS]
    return {
        "v_template": split @ smplh["v_template"],
        "shapedirs": shapedirs,
        "posedirs": posedirs.reshape(SMPLX_VERTICES, 3, -1),
        "weights": weights,
        "J_regressor": regressor,
        "kintree_table": np.array([parents, range(len(parents))]),
        "part2num": np.array({name: number for number, name in enumerate(SMPLX_JOINT_NAMES)}, dtype=object),
        "synthetic": np.array(SYNTHETIC_NOTE),
    }


def smpl_model(gender: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Make up an SMPL body model of the same person as `body_model`, whose hands are one bone each.

    Returns
    -------
    dict of str to array
        The arrays of the real file's pickle, as far as this library reads them, all float64: ``v_template`` (6890, 3),
        ``shapedirs`` (6890, 3, 10), ``posedirs`` (6890, 3, 207), ``weights`` (6890, 24) and ``J_regressor`` (24, 6890);
        uint32 ``kintree_table`` (2, 24); and ``synthetic``, the note that says it is made up.
    """
    smplh = body_model(gender, seed)
    weights, regressor, posedirs = smplh["weights"], smplh["J_regressor"], smplh["posedirs"].reshape(VERTICES, 3, -1, 9)
    hand_weights = [weights[:, hand].sum(axis=1, keepdims=True) for hand in _HANDS]
    hand_rows = [regressor[hand][::3].mean(axis=0, keepdims=True) for hand in _HANDS]  # of the fingers' first joints
    hand_columns = [posedirs[:, :, hand.start - 1 : hand.stop - 1].mean(axis=2, keepdims=True) for hand in _HANDS]
    parents = [*PARENTS[:_BODY], *(JOINT_NAMES.index(f"{side}_wrist") for side in ("left", "right"))]
    return {
        "v_template": smplh["v_template"],
        "shapedirs": smplh["shapedirs"][:, :, :SMPL_BETAS],
        "posedirs": np.concatenate([posedirs[:, :, : _BODY - 1], *hand_columns], axis=2).reshape(VERTICES, 3, -1),
        "weights": np.concatenate([weights[:, :_BODY], *hand_weights], axis=1),
        "J_regressor": np.concatenate([regressor[:_BODY], *hand_rows]),
        "kintree_table": np.array([parents, range(len(parents))]).astype(np.uint32),
        "synthetic": np.array(SYNTHETIC_NOTE),
    }


def smplx_joint_regressor(seed: int = 0) -> Float[np.ndarray, "17 vertices"]:
    """The regressor of `joint_regressor` for the SMPL-X mesh, float64: the same vertices at their places there."""
    regressor = np.zeros((17, SMPLX_VERTICES))
    regressor[:, _kept()] = joint_regressor(seed)
    return regressor


def smplx_to_smpl(seed: int = 0) -> scipy.sparse.csr_array:
    """Make up the map from SMPL-X's vertices to SMPL's, (6890, 10475), each a mean of three corners as there."""
    faces = surface().faces
    of_vertex = np.empty(VERTICES, dtype=np.int64)
    of_vertex[faces.reshape(-1)] = np.repeat(np.arange(len(faces)), 3)
    corners = faces[of_vertex]
    shares = np.random.default_rng([seed, 6890]).dirichlet([1.0, 1.0, 1.0], size=VERTICES)
    shares = 0.1 * shares + 0.9 * (corners == np.arange(VERTICES)[:, None])
    rows = np.repeat(np.arange(VERTICES), 3)
    columns = _kept()[corners.reshape(-1)]
    return scipy.sparse.csr_array((shares.reshape(-1), (rows, columns)), shape=(VERTICES, SMPLX_VERTICES))


def as_smplx(recording: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A recording of `motion` under the keys of AMASS's SMPL-X files, with a jaw and eyes that move a little.

    Like the real ones it holds a Python object, ``markers_latent_vids``.
    """
    poses = recording["poses"]
    frames, rate = len(poses), recording["mocap_framerate"]
    time = np.arange(frames)[:, None] / float(rate)
    face = 0.1 * np.sin(2 * np.pi * time * np.linspace(0.3, 0.9, 9) + np.arange(9))
    root, body, hands = poses[:, :3], poses[:, 3 : 3 * _BODY], poses[:, 3 * _BODY :]
    return {
        "gender": recording["gender"],
        "surface_model_type": np.array("smplx"),
        "mocap_frame_rate": rate,
        "mocap_time_length": np.array(frames / float(rate)),
        "markers_latent": np.zeros((0, 3)),
        "latent_labels": np.zeros(0, dtype="U4"),
        "markers_latent_vids": np.array({}, dtype=object),
        "trans": recording["trans"],
        "poses": np.concatenate([root, body, face, hands], axis=1),
        "betas": recording["betas"],
        "num_betas": np.array(len(recording["betas"])),
        "root_orient": root,
        "pose_body": body,
        "pose_hand": hands,
        "pose_jaw": face[:, :3],
        "pose_eye": face[:, 3:],
        "synthetic": recording["synthetic"],
    }


def as_smpl(recording: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A recording of `motion` for SMPL: each hand turns as the first joint of its middle finger does."""
    poses = recording["poses"].reshape(len(recording["poses"]), -1, 3)
    hands = [JOINT_NAMES.index(f"{side}_middle1") for side in ("left", "right")]
    kept = {name: array for name, array in recording.items() if name != "poses"}
    return kept | {"poses": poses[:, [*range(_BODY), *hands]].reshape(len(poses), -1)}


def write_smplx_support(
    support_dir: Path | str, genders: Sequence[str] = GENDERS, seed: int = 0, *, small_shape_space: bool = False
) -> None:
    """Write made-up SMPL-X models, where the real ones would lie, and ``smplx_to_smpl.npz``, as SciPy saves it."""
    for gender in genders:
        write_model(support_dir, "smplx", gender, smplx_model(gender, seed, small_shape_space=small_shape_space))
    matrix = smplx_to_smpl(seed)
    arrays: dict[str, Any] = {name: getattr(matrix, name) for name in ("data", "indices", "indptr", "shape")}
    path = Path(support_dir) / "smplx_to_smpl.npz"
    np.savez(path, format=np.array(b"csr"), **arrays, synthetic=np.array(SYNTHETIC_NOTE))


def write_smpl_support(support_dir: Path | str, genders: Sequence[str] = GENDERS, seed: int = 0) -> None:
    """Write made-up SMPL models, as ``body_models/smpl/GENDER/model.npz``; the real ones are pickles."""
    for gender in genders:
        write_model(support_dir, "smpl", gender, smpl_model(gender, seed))


@cache
def _places() -> np.ndarray:
    """Where the SMPL+H vertices, and then those of the split triangles, come in SMPL-X's order."""
    return np.random.default_rng(SMPLX_VERTICES).permutation(SMPLX_VERTICES)


def _kept() -> np.ndarray:
    """The place of each SMPL+H vertex among those of SMPL-X."""
    return _places()[:VERTICES]


@cache
def _split() -> scipy.sparse.csr_array:
    """The (10475, 6890) matrix that makes values at SMPL-X's vertices of those at SMPL+H's.

    The highest triangles, those of head, shoulders and arms, have a vertex more in their middle.
    """
    faces = surface().faces
    heights = surface().points[faces].mean(axis=1)[:, 1]
    highest = faces[np.argsort(-heights, kind="stable")[: SMPLX_VERTICES - VERTICES]]
    middles = np.repeat(_places()[VERTICES:], 3)
    rows = np.concatenate([_kept(), middles])
    columns = np.concatenate([np.arange(VERTICES), highest.reshape(-1)])
    values = np.concatenate([np.ones(VERTICES), np.full(len(middles), 1 / 3)])
    return scipy.sparse.csr_array((values, (rows, columns)), shape=(SMPLX_VERTICES, VERTICES))


@cache
def _nearness() -> Float[np.ndarray, "vertices 3"]:
    """One at jaw, left and right eye of the neutral body, and less with the distance from each."""
    points = _split() @ surface().points
    distance = np.linalg.norm(points[:, None] - np.array(list(_FACE.values())), axis=2)
    nearness: Float[np.ndarray, "vertices 3"] = np.exp(-(distance**2) / (2 * 0.05**2))
    return nearness
