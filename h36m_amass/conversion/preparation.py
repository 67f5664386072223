"""The body models that a plan needs, loaded and folded once a build."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from h36m_amass.body import folding, regressor
from h36m_amass.body import model as body_model
from h36m_amass.body.joint_sets import JointSource, check_family, skeleton_family
from h36m_amass.conversion.planning import BodyKind, Plan, Progress
from h36m_amass.skeleton import Skeleton, body_skeleton

NUM_BETAS = 16
NUM_DMPLS = 8
LOADED_AT_A_TIME = 2
"""Body models: each is in memory as its file and as its arrays."""


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
    skeletons
        What the joints of each set are.
    synthetic
        Whether anything that was used is made up.
    missing
        Why there is nothing of the other kinds that the plan needs: no body model, or no way from its mesh to the
        regressor's.
    """

    contents: Mapping[BodyKind, bytes]
    sha256: Mapping[BodyKind, str]
    by_model: Mapping[str, str]
    skeletons: tuple[Skeleton, ...]
    synthetic: bool
    missing: Mapping[BodyKind, ValueError]

    @property
    def num_bytes(self) -> int:
        """Of all files together."""
        return sum(map(len, self.contents.values()))

    def write(self, folder: Path, mark: str = "") -> dict[BodyKind, str]:
        """Write the files, and give their names, each with a digest of the content in it, and `mark`.

        Builds that write to one folder at the same time need marks: no file may change under the workers of another.
        """
        names = {}
        for kind, content in self.contents.items():
            names[kind] = f"folded-{hashlib.sha256(content).hexdigest()[:32]}{mark}.npz"
            (folder / names[kind]).write_bytes(content)
        return names


def model_key(family: body_model.Family, gender: str) -> str:
    """What stands for a gender's model where its digest is recorded: SMPL+H, which came first, has the plain gender."""
    return gender if family is body_model.SMPLH else f"{family.name}/{gender}"


def fold_bodies(
    plan: Plan,
    support_dir: Path,
    sources: Sequence[JointSource],
    vertex_map: regressor.VertexMap | None = None,
    progress: Progress | None = None,
) -> FoldedBodies:
    """Fold the joint sets, one behind the other, into every kind of body of `plan`, as far as there are models of them.

    Raises
    ------
    h36m_amass.body.model.BodyModelError, h36m_amass.body.regressor.RegressorError
        A body model is damaged, or not what the recordings are for; a DMPL model is missing, which ``use_dmpls`` can
        do without; or the map leaves a joint without vertices.
    """
    contents: dict[BodyKind, bytes] = {}
    digests: dict[BodyKind, str] = {}
    by_model: dict[str, str] = {}
    missing: dict[BodyKind, ValueError] = {}
    synthetic = any(source.joints is not None and source.joints.synthetic for source in sources)
    kinds = sorted({planned.body for planned in plan.sequences})
    of_skeleton = skeleton_family({kind.model for kind in kinds})
    own_skeleton: Skeleton | None = None
    for kind in kinds:
        try:
            body_model.require_model(support_dir, kind.gender, body_model.FAMILIES[kind.model])
        except body_model.MissingModelError as error:
            missing[kind] = error
    there = [kind for kind in kinds if kind not in missing]
    total = len({(kind.model, kind.gender) for kind in there})
    if progress is not None:
        progress("bodies", 0, total)
    for done, (own, body) in enumerate(_loaded(support_dir, there), start=1):
        if progress is not None:
            progress("bodies", done, total)
        model, gender = own[0].model, own[0].gender
        family, soft = body_model.FAMILIES[model], any(kind.has_dmpls for kind in own)
        body_model.check_bones(body, body_model.model_path(support_dir, gender, family), family)
        try:
            if any(source.joints is None for source in sources):
                check_family(family, of_skeleton)
                own_skeleton = body_skeleton(model, body.parents)
            fitting = [source.for_mesh(body.num_vertices, vertex_map) for source in sources]
        except regressor.MeshMismatchError as error:
            if len(sources) > 1:
                error = regressor.MeshMismatchError(f"{error} (every joint set has to fit every body model)")
            missing |= dict.fromkeys(own, error)
            continue
        mapped = [joints for joints, source in zip(fitting, sources, strict=True) if joints is not source.joints]
        by_model[model_key(family, gender)] = body.sha256
        synthetic = synthetic or body.synthetic or any(joints is not None and joints.synthetic for joints in mapped)
        for kind in own:
            used = body if kind.has_dmpls or not soft else body_model.without_dmpls(body)
            folded = [
                folding.fold_skeleton(used) if joints is None else folding.fold(used, joints) for joints in fitting
            ]
            contents[kind] = folding.to_bytes(folding.join(folded))
            digests[kind] = " ".join([used.sha256, *(joints.sha256 for joints in mapped if joints is not None)])
    given = [own_skeleton if source.joints is None else source.joints.skeleton for source in sources]
    skeletons = tuple(skeleton for skeleton in given if skeleton is not None)
    return FoldedBodies(contents, digests, by_model, skeletons, synthetic, missing)


def _loaded(support_dir: Path, kinds: Sequence[BodyKind]) -> Iterator[tuple[list[BodyKind], body_model.BodyModel]]:
    """The body models of `kinds`, which are in order, each with those that are made from it.

    One is read and hashed, which leaves the interpreter to others, while the one before it is.
    """

    def load(own: list[BodyKind]) -> body_model.BodyModel:
        num_dmpls = NUM_DMPLS if any(kind.has_dmpls for kind in own) else 0
        return body_model.load(support_dir, own[0].gender, NUM_BETAS, num_dmpls, body_model.FAMILIES[own[0].model])

    waiting = deque(list(group) for _, group in groupby(kinds, lambda kind: (kind.model, kind.gender)))
    with ThreadPoolExecutor(LOADED_AT_A_TIME) as loader:
        loading: deque[tuple[list[BodyKind], Future[body_model.BodyModel]]] = deque()
        while waiting or loading:
            while waiting and len(loading) < LOADED_AT_A_TIME:
                loading.append((waiting[0], loader.submit(load, waiting.popleft())))
            own, body = loading.popleft()
            yield own, body.result()
