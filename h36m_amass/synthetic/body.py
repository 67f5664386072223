"""Made-up SMPL+H and DMPL models and a joint regressor, in the formats of the real files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import nnls

from h36m_amass.synthetic.anatomy import (
    FINGERS,
    GENDERS,
    JOINT_NAMES,
    PARENTS,
    PERSON,
    Points,
    Vector,
    bone_ends,
    landmark,
    shape_fields,
    shaped,
    surface,
)

SYNTHETIC_NOTE = "made up by h36m-amass synthetic; not a person, not licensed data, not for training"

VERTICES, BETAS, DMPLS = 6890, 16, 8
_BODY_JOINTS = 22


def body_model(gender: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Make up an SMPL+H body model: a person of tubes in a T-pose, y up, facing +z, left at +x, 1.6 to 1.8 m tall.

    The gender is one of `GENDERS`; the seed is that of the shape and pose directions.

    Returns
    -------
    dict of str to array
        Under the keys of the real ``model.npz``: float64 ``v_template`` (6890, 3), ``shapedirs`` (6890, 3, 16),
        ``posedirs`` (6890, 3, 459), ``weights`` (6890, 52) and ``J_regressor`` (52, 6890); uint32
        ``kintree_table`` (2, 52), whose root has parent 4294967295, and ``f`` (13776, 3); and ``synthetic``, the
        note that says it is made up.

    Raises
    ------
    ValueError
        The gender is not one of `GENDERS`.
    """
    skin = surface()
    template = shaped(gender, skin.points, skin.centres)
    rng = np.random.default_rng([seed, GENDERS.index(gender)])
    return {
        "v_template": template,
        "shapedirs": _shape_directions(rng),
        "posedirs": _pose_directions(rng),
        "weights": _skinning_weights(),
        "J_regressor": _rest_joint_regressor(),
        "kintree_table": np.array([PARENTS, range(len(PARENTS))]).astype(np.uint32),
        "f": skin.faces.astype(np.uint32),
        "synthetic": np.array(SYNTHETIC_NOTE),
    }


def dmpl_model(gender: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Make up a DMPL soft-tissue model: smooth displacements of belly, chest, seat and thighs.

    Returns
    -------
    dict of str to array
        ``eigvec`` (6890, 3, 8), float64, metres per unit (a few millimetres), and the note ``synthetic``.
    """
    skin = surface()
    template = shaped(gender, skin.points, skin.centres)
    rng = np.random.default_rng([seed, GENDERS.index(gender), 8])
    middle, left = [(0, -0.05, 0.1), (0, 0.12, 0.1)], [(0.08, -0.27, -0.08), (0.1, -0.45, 0)]
    spots = np.array([*middle, *left, *((-x, y, z) for x, y, z in left)])
    distance = np.linalg.norm(template[:, None] - spots, axis=-1)
    nearness = np.exp(-(distance**2) / (2 * 0.11**2))
    eigvec = (nearness @ rng.normal(scale=0.003, size=(len(spots), 3 * DMPLS))).reshape(VERTICES, 3, DMPLS)
    return {"eigvec": eigvec, "synthetic": np.array(SYNTHETIC_NOTE)}


def joint_regressor(seed: int = 0) -> Float[np.ndarray, "17 vertices"]:
    """Make up a regressor of the 17 Human3.6M joints, float64 in Fortran order as the real one is.

    Each row averages a few vertices, which the seed chooses and weighs; only the wrists use the hands'.
    """
    rng = np.random.default_rng([seed, 17])
    rows = [(landmark(name), _chosen(landmark(name), how, counts, rng)) for name, how, counts in PERSON["h36m_joints"]]
    regressor = np.zeros((len(rows), VERTICES), order="F")
    for row, (target, chosen) in zip(regressor, rows, strict=True):
        prior = rng.dirichlet(np.full(len(chosen), 20.0))
        row[chosen] = _barycentric(target, surface().points[chosen], prior)
    return regressor


def write_support_data(support_dir: Path | str, genders: Sequence[str] = GENDERS, seed: int = 0) -> None:
    """Write made-up body models, soft-tissue models and the joint regressor where the real ones would lie.

    Writes ``body_models/smplh/GENDER/model.npz``, ``body_models/dmpls/GENDER/model.npz``,
    ``J_regressor_h36m.npy`` and ``SYNTHETIC.txt``, replacing files of those names.
    """
    root = Path(support_dir)
    for gender in genders:
        write_model(root, "smplh", gender, body_model(gender, seed))
        write_model(root, "dmpls", gender, dmpl_model(gender, seed))
    root.mkdir(parents=True, exist_ok=True)
    write_regressor(root / "J_regressor_h36m.npy", joint_regressor(seed))
    (root / "SYNTHETIC.txt").write_text(SYNTHETIC_NOTE + "\n", encoding="utf-8")


def write_model(support_dir: Path | str, kind: str, gender: str, arrays: Mapping[str, Any]) -> None:
    """Write a model of a gender where the real one of its kind would lie."""
    path = Path(support_dir) / "body_models" / kind / gender / "model.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def write_regressor(path: Path | str, array: Float[np.ndarray, "joints vertices"]) -> None:
    """Save a regressor as ``.npy`` with the synthetic note after its data, which `numpy.load` does not read."""
    with Path(path).open("wb") as file:
        np.save(file, array)
        file.write(SYNTHETIC_NOTE.encode("utf-8"))


def _smooth_fields(
    points: Points, count: int, wavelength: float, rng: np.random.Generator
) -> Float[np.ndarray, "points count"]:
    """Random plane waves of at least `wavelength` metres, between -1 and 1."""
    waves = rng.normal(size=(3, count))
    waves *= 2 * np.pi / wavelength * rng.uniform(0.3, 1.0, count) / np.linalg.norm(waves, axis=0)
    return np.sin(points @ waves + rng.uniform(0, 2 * np.pi, count))


def _shape_directions(rng: np.random.Generator) -> Float[np.ndarray, "vertices 3 16"]:
    skin = surface()
    named = shape_fields(skin.points, skin.centres)
    count = BETAS - named.shape[-1]
    waves = _smooth_fields(skin.points, 3 * count, 1.2, rng).reshape(VERTICES, 3, count)
    return np.concatenate([named, waves * 0.006 * 0.85 ** np.arange(count)], axis=-1)


def _pose_directions(rng: np.random.Generator) -> Float[np.ndarray, "vertices 3 459"]:
    """Nine columns for each joint but the root, the entries of `Rot - I` row by row.

    Each joint's correctives are a few smooth fields of its distance times random displacements. Those of body
    joints reach every vertex; those of finger joints the vertices of their own hand and no other.
    """
    skin = surface()
    directions = np.zeros((VERTICES, 3, 9 * (len(JOINT_NAMES) - 1)))
    modes = np.column_stack([np.ones(VERTICES), _smooth_fields(skin.points, 3, 0.4, rng)])
    for joint, name in enumerate(JOINT_NAMES[1:], start=1):
        body = joint < _BODY_JOINTS
        side = name.split("_")[0]
        reached = np.arange(VERTICES) if body else skin.on(f"{side}_palm", *(f"{side}_{finger}" for finger in FINGERS))
        reach, size = (0.09, 0.004) if body else (0.02, 0.001)
        distance = np.linalg.norm(skin.points[reached] - landmark(name), axis=1)
        falloff = (1 + (distance / reach) ** 2) ** -1.5
        displacements = rng.normal(scale=size, size=(modes.shape[1], 27)) / np.sqrt(modes.shape[1])
        columns = (falloff[:, None] * modes[reached]) @ displacements
        directions[reached, :, 9 * (joint - 1) : 9 * joint] = columns.reshape(-1, 3, 9)
    return directions


def _skinning_weights() -> Float[np.ndarray, "vertices 52"]:
    """Weights that fall off with the distance to a tube's bones beyond the nearest; at most four per vertex."""
    skin = surface()
    affinity = np.zeros((VERTICES, len(JOINT_NAMES)))
    for name, tube in skin.tubes.items():
        vertices = skin.on(name)
        distance = np.stack([_distance_to_bone(skin.points[vertices], bone) for bone in tube["bones"]], axis=1)
        kernel = (1 + (distance - distance.min(axis=1, keepdims=True)) / tube["softness"]) ** -4
        affinity[vertices[:, None], [JOINT_NAMES.index(bone) for bone in tube["bones"]]] = kernel
    fifth = np.partition(affinity, -5, axis=1)[:, -5:-4]
    weights: Float[np.ndarray, "vertices 52"] = np.maximum(affinity - np.maximum(fifth, 2e-4), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def _distance_to_bone(points: Points, joint: str) -> Float[np.ndarray, " points"]:
    start = landmark(joint)
    nearest = np.full(len(points), np.inf)
    for end in map(landmark, bone_ends(joint)):
        along = np.clip((points - start) @ (end - start) / np.dot(end - start, end - start), 0, 1)
        distance = np.linalg.norm(points - start - along[:, None] * (end - start), axis=1)
        nearest = np.minimum(nearest, distance)
    return nearest


def _rest_joint_regressor() -> Float[np.ndarray, "52 vertices"]:
    """Averages of the rings about each joint, exact on the neutral body if the joint lies inside them."""
    skin = surface()
    regressor = np.zeros((len(JOINT_NAMES), VERTICES))
    for name, tube in skin.tubes.items():
        for joint in tube["joints"]:
            rings = skin.rings_about(landmark(joint), name, 4)
            prior = np.full(len(rings), 1 / len(rings))
            regressor[JOINT_NAMES.index(joint), rings] = _barycentric(landmark(joint), skin.points[rings], prior)
    return regressor


def _chosen(target: Vector, how: str, counts: dict[str, int], rng: np.random.Generator) -> Int[np.ndarray, " chosen"]:
    """So many vertices of each tube: those nearest to a point, or spread evenly in angle over the rings about it."""
    skin = surface()
    chosen: list[int] = []
    for tube, count in counts.items():
        if how == "nearest":
            vertices = skin.on(tube)
            distance = np.linalg.norm(skin.points[vertices] - target, axis=1)
            chosen += vertices[np.argsort(distance, kind="stable")[:count]].tolist()
        else:
            rings = np.split(skin.rings_about(target, tube, 2), 2)
            positions = (rng.uniform() + np.arange(count) / count) * len(rings[0])
            chosen += [int(rings[k % 2][int(position) % len(rings[0])]) for k, position in enumerate(positions)]
    return np.array(chosen)


def _barycentric(target: Vector, points: Points, prior: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """Non-negative weights of sum 1, near `prior`, that average `points` to `target` where that can be."""
    count = len(points)
    matrix = np.vstack([(points - target).T / 0.001, np.full(count, 100.0), np.eye(count)])
    weights: Float[np.ndarray, " points"] = nnls(matrix, np.concatenate([np.zeros(3), [100.0], prior]))[0]
    weights /= weights.sum()
    return weights
