"""The body models that a plan needs, loaded and folded once a build."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from h36m_amass import body_model, folding, regressor
from h36m_amass.planning import BodyKind, Plan

NUM_BETAS = 16
NUM_DMPLS = 8


@dataclass(frozen=True)
class FoldedBodies:
    """Folded regressors, as the files that workers read.

    Attributes
    ----------
    contents
        Of the file of each kind of body.
    sha256
        Of the body model files of each kind, and of the vertex map where one leads to its mesh.
    by_model
        Of all body model files that were used, by `model_key`, for provenance.
    synthetic
        Whether anything that was used is made up.
    missing
        Why there is nothing of the other kinds that the plan needs: no body model, or no way from its mesh to the
        regressor's.
    """

    contents: Mapping[BodyKind, bytes]
    sha256: Mapping[BodyKind, str]
    by_model: Mapping[str, str]
    synthetic: bool
    missing: Mapping[BodyKind, ValueError]

    @property
    def num_bytes(self) -> int:
        """Of all files together."""
        return sum(map(len, self.contents.values()))

    def write(self, folder: Path) -> dict[BodyKind, str]:
        """Write the files, and give their names, each with a digest of the content in it."""
        names = {}
        for kind, content in self.contents.items():
            names[kind] = f"folded-{hashlib.sha256(content).hexdigest()[:32]}.npz"
            (folder / names[kind]).write_bytes(content)
        return names


def model_key(family: body_model.Family, gender: str) -> str:
    """What stands for a gender's model where its digest is recorded: SMPL+H, which came first, has the plain gender."""
    return gender if family is body_model.SMPLH else f"{family.name}/{gender}"


def fold_bodies(
    plan: Plan,
    support_dir: Path,
    joints: regressor.JointRegressor,
    regressor_path: Path,
    vertex_map: regressor.VertexMap | None = None,
) -> FoldedBodies:
    """Fold `joints` into every kind of body that occurs in `plan`, as far as there are models of them.

    Raises
    ------
    h36m_amass.body_model.BodyModelError, h36m_amass.regressor.RegressorError
        A body model is damaged, or not what the recordings are for; a DMPL model is missing, which ``use_dmpls`` can
        do without; or the map leaves a joint without vertices.
    """
    contents: dict[BodyKind, bytes] = {}
    digests: dict[BodyKind, str] = {}
    by_model: dict[str, str] = {}
    missing: dict[BodyKind, ValueError] = {}
    synthetic = joints.synthetic
    kinds = sorted({planned.body for planned in plan.sequences})
    for kind in kinds:
        try:
            body_model.require_model(support_dir, kind.gender, body_model.FAMILIES[kind.model])
        except body_model.MissingModelError as error:
            missing[kind] = error
    there = [kind for kind in kinds if kind not in missing]
    for (model, gender), group in groupby(there, lambda kind: (kind.model, kind.gender)):
        own, family = list(group), body_model.FAMILIES[model]
        soft = any(kind.has_dmpls for kind in own)
        body = body_model.load(support_dir, gender, NUM_BETAS, NUM_DMPLS if soft else 0, family)
        body_model.check_bones(body, body_model.model_path(support_dir, gender, family), family)
        try:
            fitting = regressor.for_mesh(joints, body.num_vertices, regressor_path, vertex_map)
        except regressor.MeshMismatchError as error:
            missing |= dict.fromkeys(own, error)
            continue
        mapped = "" if fitting is joints else f" {fitting.sha256}"
        by_model[model_key(family, gender)] = body.sha256
        synthetic = synthetic or body.synthetic or fitting.synthetic
        for kind in own:
            used = body if kind.has_dmpls or not soft else body_model.without_dmpls(body)
            contents[kind] = folding.to_bytes(folding.fold(used, fitting))
            digests[kind] = used.sha256 + mapped
    return FoldedBodies(contents, digests, by_model, synthetic, missing)
