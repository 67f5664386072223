"""Folded body models, each folded once per build: by the first worker that meets a recording of that body."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from h36m_amass.body import folding, model
from h36m_amass.body.families import FAMILIES, BodyKind
from h36m_amass.body.folding import FoldedRegressor
from h36m_amass.conversion.recipe import NUM_BETAS, NUM_DMPLS, Recipe
from h36m_amass.system import atomic_file

if TYPE_CHECKING:
    from h36m_amass.conversion.tasks import Job
    from h36m_amass.engine.skinning import Skinner


@dataclass(frozen=True)
class FoldedBody:
    """A body model seen through all joint sets of a recipe, one behind the other."""

    folded: FoldedRegressor
    joint_counts: tuple[int, ...]  # joints of each joint set
    body_sha256: str  # digest of the body model's files
    synthetic: bool  # whether a body model, regressor or vertex map says that it was made up


_skinners: dict[tuple[Path, str, BodyKind, str], tuple[Skinner, FoldedBody]] = {}


def fold(support_dir: Path, kind: BodyKind, recipe: Recipe) -> dict[BodyKind, FoldedBody]:
    """Load a body model and fold the joint sets into it; into one with soft tissue also without it, which is cheap.

    Raises `BodyModelError` if the body model is missing, damaged, or not what recordings of its family are for, and
    `RegressorError` if a regressor does not fit it.
    """
    family = FAMILIES[kind.model]
    body = model.load(support_dir, kind.gender, NUM_BETAS, NUM_DMPLS if kind.has_dmpls else 0, family)
    model.check_bones(body, model.model_path(support_dir, kind.gender, family), family)
    joint_sets = [source.fit(body, recipe.vertex_map, kind.title) for source in recipe.sources]
    synthetic = body.synthetic or any(joints is not None and joints.synthetic for joints in joint_sets)
    bodies = {kind: body}
    if kind.has_dmpls:
        bodies[replace(kind, has_dmpls=False)] = model.without_dmpls(body)
    folded_bodies = {}
    for each, variant in bodies.items():
        folded = [folding.fold_skeleton(variant) if j is None else folding.fold(variant, j) for j in joint_sets]
        counts = tuple(part.num_joints for part in folded)
        folded_bodies[each] = FoldedBody(folding.join(folded), counts, variant.sha256, synthetic)
    return folded_bodies


def folded_body(parts_dir: Path, support_dir: Path, kind: BodyKind, recipe: Recipe) -> FoldedBody:
    """The folded body that another worker has left in `parts_dir`, or else a new one, which is left there.

    Raises as `fold` does.
    """
    path = _path(parts_dir, kind, recipe)
    # One lock for a body with and without soft tissue, because the former brings the latter.
    with FileLock(_path(parts_dir, replace(kind, has_dmpls=True), recipe).with_suffix(".lock")):
        if not path.exists():
            for each, body in fold(support_dir, kind, recipe).items():
                about = body.joint_counts, body.body_sha256, body.synthetic
                with atomic_file.written(_path(parts_dir, each, recipe)) as file:
                    file.write(folding.to_bytes(body.folded, json.dumps(about)))
    folded, note = folding.read(path)
    joint_counts, body_sha256, synthetic = json.loads(note)
    return FoldedBody(folded, tuple(joint_counts), body_sha256, synthetic)


def skinner_for(job: Job, kind: BodyKind, device: str) -> tuple[Skinner, FoldedBody]:
    """The skinner of a kind of body, kept for all tasks of a build; raises as `fold` does."""
    from h36m_amass.engine.skinning import Skinner
    from h36m_amass.engine.workspace import Workspace

    key = job.parts_dir, job.recipe.digest, kind, device
    if key not in _skinners:
        body = folded_body(job.parts_dir, job.support_dir, kind, job.recipe)
        # One recording is converted at a time, so all skinners of a device share the memory of their buffers.
        workspace = next(
            (skinner.workspace for (*_, on), (skinner, _) in _skinners.items() if on == device), Workspace()
        )
        _skinners[key] = Skinner(body.folded, job.recipe.batch_size, device, workspace=workspace), body
    return _skinners[key]


def forget_skinners() -> None:
    """Free the memory of the skinners that this process keeps, on GPUs too."""
    on_gpu = any(device != "cpu" for *_, device in _skinners)
    _skinners.clear()
    if on_gpu:
        from h36m_amass.engine.workspace import give_back

        give_back()


def _path(parts_dir: Path, kind: BodyKind, recipe: Recipe) -> Path:
    digest = hashlib.sha256(f"{recipe.digest} {kind}".encode()).hexdigest()
    return parts_dir / f"folded-{digest[:32]}.npz"
