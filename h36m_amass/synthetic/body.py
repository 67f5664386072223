"""Made-up SMPL+H and DMPL models and a joint regressor, in the formats of the real files."""

from __future__ import annotations

from collections.abc import Sequence
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
    Vector,
    bone_ends,
    hand_tubes,
    landmark,
    shape_fields,
    shaped,
    surface,
)

SYNTHETIC_NOTE = "made up by h36m-amass synthetic; not a person, not licensed data, not for training"

VERTICES = 6890
BETAS = 16
DMPLS = 8
_BODY_JOINTS = 22


def body_model(gender: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Make up an SMPL+H body model.

    The rest body is a person of tubes in a T-pose: y up, facing +z, left at +x, metres, 1.6 to 1.8 m tall.

    Parameters
    ----------
    gender
        ``"female"``, ``"male"`` or ``"neutral"``.
    seed
        Seed of the shape and pose directions; the rest body does not depend on it.

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
        The gender is not one of those three.
    """
    skin = surface()
    template = shaped(gender, skin.points, skin.centres)
    rng = np.random.default_rng([seed, GENDERS.index(gender)])
    kintree_table = np.array([PARENTS, range(len(PARENTS))]).astype(np.uint32)
    return {
        "v_template": template,
        "shapedirs": _shape_directions(rng),
        "posedirs": _pose_directions(rng),
        "weights": _skinning_weights(),
        "J_regressor": _rest_joint_regressor(),
        "kintree_table": kintree_table,
        "f": skin.faces.astype(np.uint32),
        "synthetic": np.array(SYNTHETIC_NOTE),
    }


def dmpl_model(gender: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Make up a DMPL soft-tissue model: smooth displacements of belly, chest, seat and thighs.

    Parameters
    ----------
    gender
        ``"female"``, ``"male"`` or ``"neutral"``.
    seed
        Seed of the displacements.

    Returns
    -------
    dict of str to array
        ``eigvec`` (6890, 3, 8), float64, metres a unit (a few millimetres), and the note ``synthetic``.

    Raises
    ------
    ValueError
        The gender is not one of those three.
    """
    skin = surface()
    template = shaped(gender, skin.points, skin.centres)
    rng = np.random.default_rng([seed, GENDERS.index(gender), 8])
    middle, left = [(0, -0.05, 0.1), (0, 0.12, 0.1)], [(0.08, -0.27, -0.08), (0.1, -0.45, 0)]
    spots = np.array([*middle, *left, *((-x, y, z) for x, y, z in left)])
    distance = np.linalg.norm(template[:, None] - spots, axis=-1)
    nearness = np.exp(-(distance**2) / (2 * 0.11**2))
    directions = rng.normal(scale=0.003, size=(len(spots), 3 * DMPLS))
    return {
        "eigvec": (nearness @ directions).reshape(VERTICES, 3, DMPLS),
        "synthetic": np.array(SYNTHETIC_NOTE),
    }


def joint_regressor(seed: int = 0) -> Float[np.ndarray, "17 vertices"]:
    """Make up a regressor of the 17 Human3.6M joints, float64 in Fortran order as the real one is.

    Rows: pelvis; left hip, knee, ankle; right hip, knee, ankle; spine, thorax, nose, head top; left shoulder,
    elbow, wrist; right shoulder, elbow, wrist. Each averages a few vertices; only the wrists use the hands'.

    Parameters
    ----------
    seed
        Seed of the choice of vertices and of their weights.
    """
    rng = np.random.default_rng([seed, 17])
    rows = [_spread((0, -0.26, 0.01), {"trunk": 8}, rng)]
    for side in ("left", "right"):
        leg, foot = f"{side}_leg", f"{side}_foot"
        rows.append(_spread(landmark(f"{side}_hip"), {leg: 6, "trunk": 2}, rng))
        rows.append(_spread(landmark(f"{side}_knee"), {leg: 6}, rng))
        rows.append(_spread(landmark(f"{side}_ankle"), {leg: 5, foot: 2}, rng))
    rows.append(_spread((0, 0.01, 0.01), {"trunk": 6}, rng))
    rows.append(_spread((0, 0.265, -0.01), {"trunk": 6}, rng))
    rows.append(_nearest((0, 0.415, 0.11), "trunk", 8))
    rows.append(_nearest((0, 0.525, 0.015), "trunk", 6))
    for side in ("left", "right"):
        arm = f"{side}_arm"
        rows.append(_spread(landmark(f"{side}_shoulder"), {arm: 6, "trunk": 1}, rng))
        rows.append(_spread(landmark(f"{side}_elbow"), {arm: 6}, rng))
        rows.append(_spread(landmark(f"{side}_wrist"), {arm: 4, f"{side}_palm": 3, f"{side}_thumb": 1}, rng))
    regressor = np.zeros((len(rows), VERTICES), order="F")
    for row, (target, chosen) in zip(regressor, rows, strict=True):
        prior = rng.dirichlet(np.full(len(chosen), 20.0))
        row[chosen] = _barycentric(target, surface().points[chosen], prior)
    return regressor


def write_support_data(support_dir: Path | str, genders: Sequence[str] = GENDERS, seed: int = 0) -> None:
    """Write made-up body models, soft-tissue models and the joint regressor where the real ones would lie.

    Writes ``body_models/smplh/GENDER/model.npz``, ``body_models/dmpls/GENDER/model.npz``,
    ``J_regressor_h36m.npy`` and ``SYNTHETIC.txt``, replacing files of those names.

    Parameters
    ----------
    support_dir
        Folder to write to; made if it is not there.
    genders
        Which body models to write.
    seed
        As for `body_model`, `dmpl_model` and `joint_regressor`.

    Raises
    ------
    ValueError
        A gender is not one of `GENDERS`.
    """
    root = Path(support_dir)
    for gender in genders:
        for kind, model in (("smplh", body_model), ("dmpls", dmpl_model)):
            path = root / "body_models" / kind / gender / "model.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            arrays: dict[str, Any] = model(gender, seed)
            np.savez(path, **arrays)
    root.mkdir(parents=True, exist_ok=True)
    write_regressor(root / "J_regressor_h36m.npy", joint_regressor(seed))
    (root / "SYNTHETIC.txt").write_text(SYNTHETIC_NOTE + "\n", encoding="utf-8")


def write_regressor(path: Path | str, array: Float[np.ndarray, "joints vertices"]) -> None:
    """Save a regressor as ``.npy`` with the synthetic note after its data, which `numpy.load` does not read."""
    with Path(path).open("wb") as file:
        np.save(file, array)
        file.write(SYNTHETIC_NOTE.encode("utf-8"))


def _smooth_fields(
    points: Float[np.ndarray, "points 3"], count: int, wavelength: float, rng: np.random.Generator
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
        reached = np.arange(VERTICES) if body else skin.on(*hand_tubes(name.split("_")[0]))
        reach, size = (0.09, 0.004) if body else (0.02, 0.001)
        distance = np.linalg.norm(skin.points[reached] - landmark(name), axis=1)
        falloff = (1 + (distance / reach) ** 2) ** -1.5
        displacements = rng.normal(scale=size, size=(modes.shape[1], 27)) / np.sqrt(modes.shape[1])
        columns = (falloff[:, None] * modes[reached]) @ displacements
        directions[reached, :, 9 * (joint - 1) : 9 * joint] = columns.reshape(-1, 3, 9)
    return directions


def _skinning_weights() -> Float[np.ndarray, "vertices 52"]:
    """Weights that fall off with the distance to a tube's bones beyond the nearest; at most four a vertex."""
    skin = surface()
    affinity = np.zeros((VERTICES, len(JOINT_NAMES)))
    for tube in skin.tubes:
        vertices = skin.on(tube)
        points = skin.points[vertices]
        names = _bones_near(tube)
        distance = np.stack([_distance_to_bone(points, name) for name in names], axis=1)
        softness = 0.012 if tube.split("_")[-1] in FINGERS else 0.10 if tube == "trunk" else 0.05
        joints = np.array([JOINT_NAMES.index(name) for name in names])
        kernel = (1 + (distance - distance.min(axis=1, keepdims=True)) / softness) ** -4
        affinity[vertices[:, None], joints] = kernel
    fifth = np.partition(affinity, -5, axis=1)[:, -5:-4]
    weights: Float[np.ndarray, "vertices 52"] = np.maximum(affinity - np.maximum(fifth, 2e-4), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def _bones_near(tube: str) -> list[str]:
    """Names of the joints whose bones may move a tube's vertices."""
    if tube == "trunk":
        sides = [f"{side}_{part}" for side in ("left", "right") for part in ("hip", "collar", "shoulder")]
        return ["pelvis", "spine1", "spine2", "spine3", "neck", "head", *sides]
    side, part = tube.split("_")
    if part in FINGERS:
        return [f"{side}_wrist", *(f"{side}_{part}{i}" for i in (1, 2, 3))]
    parts = {
        "leg": ["hip", "knee", "ankle", "foot"],
        "foot": ["knee", "ankle", "foot"],
        "arm": ["collar", "shoulder", "elbow", "wrist"],
        "palm": ["elbow", "wrist", *(f"{finger}1" for finger in FINGERS)],
    }
    centre = {"leg": ["pelvis", "spine1"], "arm": ["spine3"]}
    return centre.get(part, []) + [f"{side}_{name}" for name in parts[part]]


def _distance_to_bone(points: Float[np.ndarray, "points 3"], joint: str) -> Float[np.ndarray, " points"]:
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
    for row, name in zip(regressor, JOINT_NAMES, strict=True):
        rings = skin.rings_about(landmark(name), _tube_about(name), 4)
        row[rings] = _barycentric(landmark(name), skin.points[rings], np.full(len(rings), 1 / len(rings)))
    return regressor


def _tube_about(joint: str) -> str:
    limbs = {"hip": "leg", "knee": "leg", "ankle": "leg", "shoulder": "arm", "elbow": "arm", "wrist": "arm"}
    side, _, part = joint.partition("_")
    part = part.rstrip("123")
    if part in FINGERS or part == "foot":
        return f"{side}_{part}"
    return f"{side}_{limbs[part]}" if part in limbs else "trunk"


def _spread(
    target: Sequence[float] | Vector, counts: dict[str, int], rng: np.random.Generator
) -> tuple[Vector, Int[np.ndarray, " chosen"]]:
    """So many vertices of each tube, evenly spaced in angle over the rings about a point."""
    skin = surface()
    point = np.asarray(target, dtype=np.float64)
    chosen = []
    for tube, count in counts.items():
        rings = skin.rings_about(point, tube, 2)
        ring = np.split(rings, 2)
        place = (rng.uniform() + np.arange(count) / count) * len(ring[0])
        chosen += [ring[k % 2][int(p) % len(ring[0])] for k, p in enumerate(place)]
    return point, np.array(chosen)


def _nearest(target: Sequence[float], tube: str, count: int) -> tuple[Vector, Int[np.ndarray, " chosen"]]:
    """The vertices of a tube nearest to a point on the skin."""
    point = np.asarray(target, dtype=np.float64)
    on_tube = surface().on(tube)
    distance = np.linalg.norm(surface().points[on_tube] - point, axis=1)
    return point, on_tube[np.argsort(distance, kind="stable")[:count]]


def _barycentric(
    target: Vector, points: Float[np.ndarray, "points 3"], prior: Float[np.ndarray, " points"]
) -> Float[np.ndarray, " points"]:
    """Non-negative weights of sum 1, near `prior`, that average `points` to `target` where that can be."""
    count = len(points)
    matrix = np.vstack([(points - target).T / 0.001, np.full(count, 100.0), np.eye(count)])
    weights: Float[np.ndarray, " points"] = nnls(matrix, np.concatenate([np.zeros(3), [100.0], prior]))[0]
    weights /= weights.sum()
    return weights
