"""Which joints a build computes: those of one or more regressors, or the body model's skeleton; each set has a name."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from h36m_amass.body import model, regressor, sides
from h36m_amass.body.families import FAMILIES, GENDERS
from h36m_amass.body.model import BodyModel
from h36m_amass.body.regressor import JointRegressor, MeshMismatchError, VertexMap
from h36m_amass.errors import H36mAmassError

SKELETON = "skeleton"
"""Stands for the posed kinematic joints of the body model, in the place of a regressor."""
MOTION_CAPTURE = "motion-capture"
"""Stands for joints that were imported as motion capture has them, in the place of a regressor's digest."""
_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]*)=(.+)", re.DOTALL)


class JointSetError(H36mAmassError):
    """The joint sets, or the files of their joint names, are given in a way that makes no sense."""


@dataclass(frozen=True)
class JointSource:
    """What a joint set is computed with."""

    name: str
    path: Path
    joints: JointRegressor | None  # the regressor at `path`, or None for the skeleton

    @property
    def digest(self) -> str:
        """SHA-256 of the regressor's file; ``"skeleton"`` for the skeleton, which has none."""
        return SKELETON if self.joints is None else self.joints.sha256

    @property
    def title(self) -> str:
        """What people call the regressor; ``"skeleton"`` for the skeleton."""
        return SKELETON if self.joints is None else self.joints.title

    def fit(self, body: BodyModel, vertex_map: VertexMap | None, title: str) -> JointRegressor | None:
        """The regressor for a body's mesh, its sides checked with the rest pose; None for the skeleton.

        `title` says which body it is. Raises as `h36m_amass.body.regressor.for_mesh` and
        `h36m_amass.body.sides.check_sides` do.
        """
        if self.joints is None:
            return None
        fitted = regressor.for_mesh(self.joints, body.num_vertices, self.path, vertex_map)
        sides.check_sides(self.path, fitted, body.v_template, title)
        return fitted

    def with_sides(self, support_dir: Path, vertex_map: VertexMap | None) -> JointSource:
        """The source with its joints named by a body of the support folder, if one has to tell left from right.

        Without a body that the regressor fits it stays as it is. Raises `RegressorError` if the body contradicts it.
        """
        if self.joints is None or not self.joints.sides_unknown:
            return self
        for family, gender in product(FAMILIES.values(), GENDERS):
            v_template = model.read_template(support_dir, gender, family)
            if v_template is None:
                continue
            with suppress(MeshMismatchError):
                fitted = regressor.for_mesh(self.joints, len(v_template), self.path, vertex_map)
                skeleton = sides.h36m_skeleton(self.path, fitted.matrix, v_template)
                return replace(self, joints=replace(self.joints, skeleton=skeleton, sides_unknown=False))
        return self


def load_sources(
    regressors: Path | str | Sequence[Path | str] | None,
    joint_names: Path | str | Sequence[Path | str] | None,
    support_dir: Path,
) -> tuple[JointSource, ...]:
    """The requested joint sets, in that order.

    Raises `JointSetError` if a name is given twice or fits none, or `support_dir` is not a support folder.

    Parameters
    ----------
    regressors
        Each a regressor's file, ``NAME=FILE``, or ``skeleton``; a file without a name lends the set its own, without
        ``J_regressor_``. None for SPIN's regressor in `support_dir`.
    joint_names
        Files of joint names, see `h36m_amass.body.regressor.load`, each as ``NAME=FILE`` if there are several sets.
    """
    _check_folder(support_dir)
    named = [_split(name) for name in _listed(regressors) or (support_dir / f"{regressor.H36M_FILE_NAME}.npy",)]
    files = {name or _default_name(file): file for name, file in named}
    if len(files) < len(named):
        raise JointSetError("two joint sets have the same name; tell them apart as --joint-regressor NAME=FILE")
    names_of: dict[str, Path] = {}
    with_regressor = [name for name in files if files[name] != Path(SKELETON)]
    for of, file in map(_split, _listed(joint_names)):
        if of is None and len(with_regressor) == 1:
            of = with_regressor[0]
        if not with_regressor:
            raise JointSetError(f"{file}: names no joints, because the skeleton's have names already; omit it")
        if of not in with_regressor:
            sets = ", ".join(with_regressor)
            raise JointSetError(f"{file}: does not say which joint set it is for; give NAME=FILE for one of {sets}")
        names_of[of] = file
    return tuple(
        JointSource(name, file, None if file == Path(SKELETON) else regressor.load(file, names_of.get(name)))
        for name, file in files.items()
    )


def num_vertices(sources: Sequence[JointSource]) -> int:
    """Vertices of the mesh that the regressors and a vertex map share; `JointSetError` if there is no such mesh."""
    meshes = {source.joints.num_vertices for source in sources if source.joints is not None}
    if len(meshes) != 1:
        reason = "no regressor that it could be for" if not meshes else "regressors for different meshes"
        raise JointSetError(f"a vertex map was given, and {reason}; omit it, or build twice")
    return meshes.pop()


def skeleton_family(models: Collection[str]) -> str:
    """Whose joints the skeleton's are, where recordings are of several families: the first of `FAMILIES`."""
    return next(name for name in FAMILIES if name in models)


def _check_folder(support_dir: Path) -> None:
    if not support_dir.is_dir():
        advice = "give yours as --support-dir, or let h36m-amass setup make one of your downloads"
        raise JointSetError(f"is not a folder; {advice}", support_dir)
    if support_dir.absolute().name == "body_models" and not (support_dir / "body_models").exists():
        raise JointSetError(f"lies in a support folder; did you mean {support_dir.parent}?", support_dir)


def _listed(files: Path | str | Sequence[Path | str] | None) -> tuple[Path | str, ...]:
    if files is None:
        return ()
    return (files,) if isinstance(files, Path | str) else tuple(files)


def _split(argument: Path | str) -> tuple[str | None, Path]:
    """Name, if there is one, and file of ``NAME=FILE``; a file that is there may have ``=`` in its name."""
    match = None if isinstance(argument, Path) or Path(argument).exists() else _NAMED.fullmatch(argument)
    return (None, Path(argument)) if match is None else (match[1], Path(match[2]))


def _default_name(file: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", file.stem.removeprefix("J_regressor_")).strip("_") or "joints"
