"""The body models that a plan needs, loaded and folded once a build."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
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
        Of the body model files of each kind.
    by_gender
        Of all body model files of each gender that were used, for provenance.
    synthetic
        Whether any of the models is made up.
    """

    contents: Mapping[BodyKind, bytes]
    sha256: Mapping[BodyKind, str]
    by_gender: Mapping[str, str]
    synthetic: bool

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


def fold_bodies(plan: Plan, support_dir: Path, joints: regressor.JointRegressor, regressor_path: Path) -> FoldedBodies:
    """Fold `joints` into every kind of body that occurs in `plan`.

    Raises
    ------
    h36m_amass.body_model.BodyModelError, h36m_amass.regressor.RegressorError
        A body model is missing, damaged, or not what the recordings or the regressor are for.
    """
    contents: dict[BodyKind, bytes] = {}
    digests: dict[BodyKind, str] = {}
    by_gender: dict[str, str] = {}
    synthetic = False
    kinds = {planned.body for planned in plan.sequences}
    for gender in sorted({gender for gender, _ in kinds}):
        own = sorted(has_dmpls for of, has_dmpls in kinds if of == gender)
        body = body_model.load(support_dir, gender, NUM_BETAS, NUM_DMPLS if any(own) else 0)
        body_model.check_smplh(body, body_model.smplh_path(support_dir, gender))
        regressor.check_fits(joints, body.num_vertices, regressor_path)
        by_gender[gender] = body.sha256
        synthetic = synthetic or body.synthetic
        for has_dmpls in own:
            kind = gender, has_dmpls
            used = body if has_dmpls or not any(own) else body_model.without_dmpls(body)
            contents[kind] = folding.to_bytes(folding.fold(used, joints))
            digests[kind] = used.sha256
    return FoldedBodies(contents, digests, by_gender, synthetic)
