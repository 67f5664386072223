"""What a downloaded file is, by its content; its name only says whose gender a body model is."""

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import scipy.sparse

from h36m_amass.body import published, regressor
from h36m_amass.body.families import FAMILIES, GENDERS, SMPLH
from h36m_amass.body.regressor import RegressorError
from h36m_amass.errors import H36mAmassError
from h36m_amass.files import unpickling
from h36m_amass.files.first_bytes import NUM_BYTES, is_pickle, mishap
from h36m_amass.files.npy import NpzError, read_content
from h36m_amass.files.npz import NpzReader
from h36m_amass.wording import first_names

WANTED = (".npz", ".npy", ".pkl")
"""Endings of the files that downloads hold the data in."""
RECORDINGS = ("_poses.npz", "_stageii.npz", "shape.npz", "_stagei.npz")
MODEL_ARRAYS = ("v_template", "shapedirs", "posedirs", "weights", "J_regressor", "kintree_table")
SPIN = published.published()[0].name
MAP_NAME, REGRESSOR_NAME = "smplx_to_smpl.npz", f"{regressor.H36M_FILE_NAME}.npy"
MESHES = (6890, 10475)  # vertices of SMPL and SMPL+H, and of SMPL-X
MAP_SHAPES = ((MESHES[0], MESHES[1]), (MESHES[0], 2 * MESHES[1]))  # without and with columns for normals
_WORD = re.compile(r"[a-z]+")
_GENDER_WORDS = {**{gender: gender for gender in GENDERS}, "f": "female", "m": "male", "n": "neutral"}


class SetupError(H36mAmassError):
    """A download is not one that belongs into a support folder, or cannot be read; the message does not name it."""


class NotOursError(SetupError):
    """A file does not belong into a support folder: in a folder of downloads it is skipped."""


@dataclass(frozen=True)
class Support:
    """A file of a support folder that a downloaded file is, or can be made into."""

    target: str  # where it belongs, relative to the support folder
    title: str  # what it is, for people
    write: Callable[[IO[bytes]], None]  # writes its content
    is_converted: bool = False  # whether its content is made of a pickle's


def identify(path: Path, name: str) -> Support:
    """What the file at `path` is, which is called `name` in its download, folders included.

    Raises `SetupError` if it does not belong into a support folder, with what it is if that can be told.
    """
    with path.open("rb") as file:
        begin = file.read(NUM_BYTES)
    if name.endswith(RECORDINGS):
        raise NotOursError("is a recording; put recordings and archives of them into your AMASS folder as they are")
    try:
        if is_pickle(begin):
            return _of_pickle(unpickling.load(read_content(path)), name)
        if (what := mishap(begin)) is not None:
            raise SetupError(what)
        if begin.startswith(b"PK"):
            return _of_npz(path, name)
        if begin.startswith(b"\x93NUMPY"):
            return _of_regressor(path, name)
    except NpzError as error:
        raise SetupError(error.reason) from error
    raise NotOursError("is not a body model, regressor or vertex map; omit it")


def gender_of(name: str) -> str:
    """The gender of a body model, by its name or else its folder's; `SetupError` if neither tells it."""
    *_, folder, base = ("", *name.lower().split("/"))
    for part, genders in ((base, _GENDER_WORDS), (folder, {gender: gender for gender in GENDERS})):
        named_genders = {genders[word] for word in _WORD.findall(part) if word in genders}
        if len(named_genders) == 1:
            return named_genders.pop()
    advice = "put it into a folder called female, male or neutral"
    raise SetupError(f"is a body model, and neither its name nor its folder's tells its gender; {advice}")


def _of_npz(path: Path, name: str) -> Support:
    with NpzReader(path) as npz:
        names = set(npz.names())
        if {"v_template", "weights", "posedirs"} <= names:
            return _model((*npz.header("weights").shape, 0)[1], name, _copy_of(path))
        if "eigvec" in names:
            gender = gender_of(name)
            title = f"the DMPL model ({gender})"
            return Support(f"body_models/dmpls/{gender}/model.npz", title, _copy_of(path))
        if not {"data", "shape", "format"} <= names:  # of a sparse matrix that SciPy has saved
            raise NotOursError(f"is an .npz of {first_names(sorted(names))}, not a body model, regressor or vertex map")
        shape = tuple(npz.read("shape").tolist())
    if shape not in MAP_SHAPES:
        return _of_regressor(path, name)
    regressor.load_map(path, MESHES[0])
    return Support(MAP_NAME, "the map from SMPL-X's mesh to SMPL's", _copy_of(path))


def _of_regressor(path: Path, name: str) -> Support:
    # The loader goes by endings, and a member of an archive lies in a file of another name.
    try:
        loaded = regressor.load(path)
    except RegressorError as error:
        raise NotOursError(error.reason.removeprefix(f"{path}: ")) from error
    if loaded.num_vertices not in MESHES:
        shape = loaded.matrix.shape
        raise NotOursError(f"is a matrix of shape {shape}; a regressor's is (joints, {MESHES[0]} or {MESHES[1]})")
    known = published.find(loaded.matrix, loaded.sha256)
    base = name.rpartition("/")[2]
    is_h36m = base.startswith(f"{regressor.H36M_FILE_NAME}.") or (known is not None and known.name == SPIN)
    target = f"{regressor.H36M_FILE_NAME}{path.suffix}" if is_h36m else base
    return Support(target, f"the regressor {loaded.title if known else base}", _copy_of(path))


def _of_pickle(content: Any, name: str) -> Support:
    if not isinstance(content, dict):
        raise NotOursError(f"is a pickle of {type(content).__name__}, not of a body model or vertex map")
    content = {key if isinstance(key, str) else str(key): part for key, part in content.items()}
    for key in ("mtx", "matrix"):
        if key in content:
            matrix = unpickling.sparse(content[key], key)
            if matrix.shape not in MAP_SHAPES:
                needed = f"{MAP_SHAPES[0]}, from SMPL-X to SMPL"
                raise SetupError(f"is a vertex map of shape {matrix.shape}; the one that is needed is {needed}")
            write = partial(np.savez, **_sparse_arrays(matrix))
            return Support(MAP_NAME, "the map from SMPL-X's mesh to SMPL's", write, True)
    missing = [key for key in MODEL_ARRAYS if key not in content]
    if missing:
        raise NotOursError(f"is a pickle without {missing[0]}, not a body model or vertex map")
    arrays: dict[str, Any] = {key: unpickling.value(content[key], key) for key in MODEL_ARRAYS}
    return _model((*arrays["weights"].shape, 0)[1], name, partial(np.savez, **arrays), arrays)


def _model(
    num_bones: int, name: str, write: Callable[[IO[bytes]], None], converted: Mapping[str, np.ndarray] | None = None
) -> Support:
    family = next((family for family in FAMILIES.values() if family.num_bones == num_bones), None)
    if family is None:
        known = ", ".join(f"{family.num_bones} of {family.title}" for family in FAMILIES.values())
        raise SetupError(f"is a body model of {num_bones} bones, not {known}")
    if family is SMPLH and converted is not None:
        betas = converted["shapedirs"].shape[-1]
        reason = f"is the SMPL+H of MANO's own download, with {betas} betas"
        raise SetupError(f"{reason}; AMASS needs the other one there, {family.page}")
    gender = gender_of(name)
    target = f"body_models/{family.name}/{gender}/model.npz"
    return Support(target, f"the {family.title} model ({gender})", write, converted is not None)


def _copy_of(path: Path) -> Callable[[IO[bytes]], None]:
    def write(file: IO[bytes]) -> None:
        with path.open("rb") as source:
            shutil.copyfileobj(source, file)

    return write


def _sparse_arrays(matrix: scipy.sparse.csr_array) -> dict[str, Any]:
    """What `scipy.sparse.save_npz` saves of a vertex map, without the columns for normals, which are not used."""
    matrix = scipy.sparse.csr_array(matrix[:, : MESHES[1]], dtype=np.float64)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.sort_indices()
    parts = {name: getattr(matrix, name).astype(np.int32) for name in ("indices", "indptr")} | {"data": matrix.data}
    return {**parts, "shape": np.array(matrix.shape), "format": np.array(b"csr")}
