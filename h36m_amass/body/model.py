"""Parameters of SMPL+H, SMPL-X, SMPL and the DMPLs: loaded from ``.npz`` files and validated here, trusted after.

SMPL: Loper et al., SIGGRAPH Asia 2015. SMPL+H: Romero et al., SIGGRAPH Asia 2017. SMPL-X: Pavlakos et al., CVPR
2019. DMPL: the soft-tissue shape space of Dyna and SMPL that AMASS fits (Mahmood et al., ICCV 2019).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from h36m_amass.body.families import FAMILIES, GENDERS, SMPLH, BodyKind, Family
from h36m_amass.errors import H36mAmassError
from h36m_amass.files.npy import NpzError, content_sha256
from h36m_amass.files.npz import NpzReader

_log = logging.getLogger(__name__)

MAX_MODEL_BYTES = 3 * 2**27
"""Bytes of a file's arrays in float64; SMPL-X has 232 MB."""
DMPL_PAGE = "https://smpl.is.tue.mpg.de (DMPLs compatible with SMPL)"
SHAPE_SPACE, SMALL_SHAPE_SPACE = 300, 10
"""Shape directions of an SMPL-X file, where those of the expression follow them (see `_num_shape_directions`)."""


class BodyModelError(H36mAmassError):
    """A body model file is missing or is not what it should be."""


class MissingModelError(BodyModelError):
    """A body model file is missing; the message names the page that it is downloaded from."""


@dataclass(frozen=True)
class BodyModel:
    """One gender's body: everything that linear blend skinning needs, in float64, metres and radians."""

    v_template: Float[np.ndarray, "vertices 3"]
    shapedirs: Float[np.ndarray, "vertices 3 betas"]  # displacement of each vertex per unit of each beta
    dmpldirs: Float[np.ndarray, "vertices 3 dmpls"]  # and of each DMPL coefficient; there may be none
    # The same per unit of each entry of ``vec(Rot - I)``, nine row-major entries for each bone but the first.
    posedirs: Float[np.ndarray, "vertices 3 9*(bones-1)"]
    weights: Float[np.ndarray, "vertices bones"]
    J_regressor: Float[np.ndarray, "bones vertices"]  # rest position of each bone from the shaped mesh
    parents: Int[np.ndarray, "bones"]  # -1 for the root, which is bone 0
    sha256: str  # digest of the files' SHA-256 digests
    base_sha256: str  # the same without the DMPL file
    synthetic: bool  # whether a file says that it was made up (see `h36m_amass.synthetic`)

    @property
    def num_vertices(self) -> int:
        return len(self.v_template)

    @property
    def num_bones(self) -> int:
        return int(self.weights.shape[1])

    @property
    def num_betas(self) -> int:
        return int(self.shapedirs.shape[2])

    @property
    def num_dmpls(self) -> int:
        return int(self.dmpldirs.shape[2])


def model_path(support_dir: Path, gender: str, family: Family = SMPLH) -> Path:
    """Where the model of `gender` lies; if there is none, where it belongs."""
    folder = Path(support_dir) / "body_models" / family.name
    paths = [folder / name.format(gender=gender, GENDER=gender.upper()) for name in family.file_names]
    return next((path for path in paths if path.exists()), paths[0])


def dmpl_path(support_dir: Path, gender: str) -> Path:
    """Where the DMPL model of `gender` belongs."""
    return Path(support_dir) / "body_models" / "dmpls" / gender / "model.npz"


def load(support_dir: Path, gender: str, num_betas: int = 16, num_dmpls: int = 8, family: Family = SMPLH) -> BodyModel:
    """Load and validate one gender's model, with its DMPLs. Expressions of the face are zero, so they are not read.

    Parameters
    ----------
    support_dir
        Folder that holds ``body_models/FAMILY/GENDER/model.npz`` and ``body_models/dmpls/GENDER/model.npz``.
    num_betas, num_dmpls
        How many directions to keep at most; 0 DMPLs leave their file unread.

    Raises
    ------
    MissingModelError
        A file is missing. The message names the page that it is downloaded from.
    BodyModelError
        A file is damaged, or its arrays do not fit each other. The message names the file.
    """
    if gender not in GENDERS:
        raise BodyModelError(f"gender {gender!r} has no body model; choose from {', '.join(GENDERS)}")
    path, path_of_dmpls = model_path(support_dir, gender, family), dmpl_path(support_dir, gender)
    require_model(support_dir, gender, family)
    if num_dmpls > 0:
        require(path_of_dmpls, dmpl_origin(gender))
    names = ("v_template", "shapedirs", "posedirs", "weights", "J_regressor", "kintree_table")
    arrays, base_digest, synthetic = _read(path, names, model_origin(gender, family))
    _check_shapes(path, arrays, family)
    # Before the arrays are converted: only a few of SMPL-X's 400 directions are used.
    directions = min(num_betas, _num_shape_directions(arrays["shapedirs"], family))
    arrays["shapedirs"] = arrays["shapedirs"][:, :, :directions]
    v_template, shapedirs, posedirs, weights, j_regressor = (
        _floats(arrays.pop(name), path, name) for name in names[:-1]
    )
    num_vertices, num_bones = weights.shape
    parents = _parents(path, arrays["kintree_table"], num_bones)
    files, dmpldirs, digest = str(path), np.zeros((num_vertices, 3, 0)), base_digest
    if num_dmpls > 0:
        dmpls, dmpl_digest, made_up = _read(path_of_dmpls, ("eigvec",), dmpl_origin(gender))
        dmpldirs = _dmpldirs(path_of_dmpls, dmpls["eigvec"], num_vertices, num_dmpls)
        digest, synthetic = base_digest + dmpl_digest, synthetic or made_up
        files += f" and {path_of_dmpls}"
    sha256 = hashlib.sha256(digest).hexdigest()
    _log.info("loaded %s: %d vertices, %d bones, sha256 %s", files, num_vertices, num_bones, sha256)
    return BodyModel(
        v_template=v_template,
        shapedirs=shapedirs,
        dmpldirs=dmpldirs,
        posedirs=posedirs.reshape(num_vertices, 3, 9 * (num_bones - 1)),
        weights=weights,
        J_regressor=j_regressor,
        parents=parents,
        sha256=sha256,
        base_sha256=hashlib.sha256(base_digest).hexdigest(),
        synthetic=synthetic,
    )


def read_template(support_dir: Path, gender: str, family: Family = SMPLH) -> Float[np.ndarray, "vertices 3"] | None:
    """Vertices of the rest pose alone, in metres; None if there is no such model or it cannot be read."""
    try:
        with NpzReader(model_path(support_dir, gender, family)) as npz:
            v_template = npz.read("v_template")
    except NpzError:
        return None
    is_template = v_template.ndim == 2 and v_template.shape[1:] == (3,) and v_template.dtype.kind == "f"
    return v_template.astype(np.float64) if is_template else None


def without_dmpls(body: BodyModel) -> BodyModel:
    """The same body without soft tissue."""
    return replace(body, dmpldirs=body.dmpldirs[:, :, :0], sha256=body.base_sha256)


def files_sha256(support_dir: Path, kind: BodyKind) -> str:
    """`BodyModel.sha256` of a kind of body, from the files alone; empty if one is missing or cannot be read."""
    paths = [model_path(support_dir, kind.gender, FAMILIES[kind.model])]
    paths += [dmpl_path(support_dir, kind.gender)] if kind.has_dmpls else []
    try:
        return hashlib.sha256(b"".join(map(content_sha256, paths))).hexdigest()
    except NpzError:
        return ""


def check_bones(body: BodyModel, path: Path, family: Family = SMPLH) -> None:
    """Raise `BodyModelError` unless the model at `path` has the bones that the family's recordings are for."""
    if body.num_bones != family.num_bones:
        raise BodyModelError(
            f"{path}: has {body.num_bones} bones, and {family.title} recordings need {family.num_bones}; "
            f"{family.title} is downloaded from {family.page}"
        )


def require_model(support_dir: Path, gender: str, family: Family = SMPLH) -> None:
    """Raise `MissingModelError` unless there is a model of `gender`."""
    require(model_path(support_dir, gender, family), model_origin(gender, family))


def model_origin(gender: str, family: Family = SMPLH) -> str:
    """What a model is, and where it comes from."""
    return f"it is the {family.title} model ({gender}), downloaded from {family.page}"


def dmpl_origin(gender: str) -> str:
    """What the DMPL model is, where it comes from, and how to do without."""
    origin = f"it is the DMPL model ({gender}), downloaded from {DMPL_PAGE}"
    return f"{origin}; to convert without soft tissue, use --no-dmpls"


def require(path: Path, what_it_is: str) -> None:
    """Raise `MissingModelError` if there is no file at `path`."""
    if not path.exists():
        raise MissingModelError(f"{path}: there is no such file; {what_it_is}")


def depths(parents: Int[np.ndarray, "bones"]) -> Int[np.ndarray, "bones"]:
    """Number of ancestors of each bone; -1 for a bone that does not hang on the root (bone 0)."""
    depth, level, bones = np.full(len(parents), -1), 0, np.zeros(1, np.int64)
    while len(bones):
        depth[bones] = level
        level, bones = level + 1, np.flatnonzero(np.isin(parents, bones))
    return depth


def _read(path: Path, names: tuple[str, ...], what_it_is: str) -> tuple[dict[str, np.ndarray], bytes, bool]:
    """Arrays of a file, the SHA-256 of its content, and whether it says that it was made up."""
    try:
        with NpzReader(path) as npz:
            missing = [name for name in names if name not in npz]
            if missing:
                raise BodyModelError(f"{path}: has no array {', '.join(missing)}; {what_it_is}")
            if sum(npz.header(name).num_bytes_as_floats for name in names) > MAX_MODEL_BYTES:
                raise BodyModelError(f"{path}: claims more than {MAX_MODEL_BYTES} bytes, no body model; {what_it_is}")
            return {name: npz.read(name) for name in names}, content_sha256(path), "synthetic" in npz
    except NpzError as error:
        raise BodyModelError(str(error)) from error


def _dmpldirs(
    path: Path, eigvec: np.ndarray, num_vertices: int, num_dmpls: int
) -> Float[np.ndarray, "vertices 3 dmpls"]:
    if eigvec.ndim != 3 or eigvec.shape[:2] != (num_vertices, 3):
        raise BodyModelError(
            f"{path}: eigvec has shape {eigvec.shape}, but the body model has {num_vertices} vertices; "
            "download the DMPLs that belong to it"
        )
    if eigvec.shape[2] < num_dmpls:
        raise BodyModelError(f"{path}: holds {eigvec.shape[2]} DMPLs, {num_dmpls} are needed; download it again")
    return _floats(eigvec[:, :, :num_dmpls], path, "eigvec")


def _floats(array: np.ndarray, path: Path, name: str) -> Float[np.ndarray, ...]:
    if array.dtype.kind not in "fiu":
        raise BodyModelError(f"{path}: {name} holds {array.dtype}, not numbers; download the model again")
    floats: np.ndarray = np.ascontiguousarray(array, dtype=np.float64)
    if not np.isfinite(floats).all():
        raise BodyModelError(f"{path}: {name} holds values that are not finite; download the model again")
    return floats


def _check_shapes(path: Path, arrays: Mapping[str, np.ndarray], family: Family) -> None:
    """Check that all arrays agree about the number of vertices and of bones."""
    v_template, shapedirs, weights = arrays["v_template"], arrays["shapedirs"], arrays["weights"]
    if v_template.ndim != 2 or v_template.shape[1] != 3 or len(v_template) == 0:
        raise BodyModelError(f"{path}: v_template has shape {v_template.shape}, not (vertices, 3)")
    if weights.ndim != 2 or weights.shape[1] == 0:
        raise BodyModelError(f"{path}: weights have shape {weights.shape}, not (vertices, bones)")
    num_vertices, num_bones = len(v_template), weights.shape[1]
    expected = {
        "weights": (num_vertices, num_bones),
        "J_regressor": (num_bones, num_vertices),
        "posedirs": (num_vertices, 3, 9 * (num_bones - 1)),
        "shapedirs": (num_vertices, 3, *shapedirs.shape[2:3]),
    }
    for name, expected_shape in expected.items():
        shape = arrays[name].shape
        if shape != expected_shape or len(shape) < 2:
            raise BodyModelError(
                f"{path}: {name} has shape {shape}, which does not fit {num_vertices} vertices and {num_bones} "
                f"bones; is this the {family.title} model?"
            )
    if shapedirs.ndim != 3 or shapedirs.shape[2] == 0:
        raise BodyModelError(f"{path}: shapedirs have shape {shapedirs.shape}, not (vertices, 3, betas)")


def _num_shape_directions(shapedirs: np.ndarray, family: Family) -> int:
    """How many of a file's directions are shape directions."""
    columns = int(shapedirs.shape[2])
    # SMPL-X files hold 300 of the shape and then 100 of the expression, older ones 10 and 10. The number of columns
    # is all that tells them apart: smplx (``SMPLX.__init__``) draws the line at 300 too.
    if not family.has_expressions:
        return columns
    return SHAPE_SPACE if columns >= SHAPE_SPACE else min(columns, SMALL_SHAPE_SPACE)


def _parents(path: Path, kintree_table: np.ndarray, num_bones: int) -> Int[np.ndarray, "bones"]:
    """Parents out of the first row of the file's table, which marks the root with -1 or 2^32 - 1."""
    if kintree_table.dtype.kind not in "iu" or kintree_table.shape != (2, num_bones):
        table = f"{kintree_table.dtype} of shape {kintree_table.shape}"
        raise BodyModelError(f"{path}: kintree_table is {table}, not integers of shape (2, {num_bones})")
    parents: np.ndarray = kintree_table[0].astype(np.int64)
    parents[parents == 2**32 - 1] = -1
    if (parents < -1).any() or (parents >= num_bones).any():
        raise BodyModelError(f"{path}: kintree_table names a parent that is not a bone")
    roots = np.flatnonzero(parents == -1)
    if roots.tolist() != [0]:
        raise BodyModelError(f"{path}: kintree_table has its roots at {roots.tolist()}, not one root at bone 0")
    if (depths(parents) < 0).any():
        raise BodyModelError(f"{path}: kintree_table has a cycle")
    return parents
