"""Body models and joint regressors that must be refused, each with its reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from h36m_amass.body import model as body_model
from h36m_amass.body import regressor
from tests.corpus.archives import claimed, header, members, npy, write

VERTICES, BONES = 30, 52


def model(**changes: Any) -> dict[str, Any]:
    """Arrays of a small SMPL+H model; None omits one."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "v_template": rng.normal(size=(VERTICES, 3)),
        "shapedirs": rng.normal(size=(VERTICES, 3, 16)),
        "posedirs": rng.normal(size=(VERTICES, 3, 9 * (BONES - 1))),
        "weights": rng.dirichlet(np.ones(BONES), VERTICES),
        "J_regressor": rng.dirichlet(np.ones(VERTICES), BONES),
        "kintree_table": np.array([range(-1, BONES - 1), range(BONES)]),
    }
    return {name: array for name, array in (arrays | changes).items() if array is not None}


def saved(**changes: Any) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        with path.open("wb") as file:  # whose name NumPy would change
            np.savez(file, **model(**changes))

    return make


def huge_claims(path: Path) -> None:
    write(path, members(model()) | {"posedirs": claimed("posedirs", (100_000, 3, 459), "<f8")}, padding=2**21)


def bytes_to_floats(path: Path) -> None:
    write(path, members(model()) | {"v_template": claimed("v_template", (133_000_000, 3), "|i1")}, padding=2**21)


def holes(path: Path, rows: int, columns: int) -> None:
    """A dense matrix of zeros of a byte each, which take no room on the disk."""
    path.write_bytes(npy(np.zeros(0), header(f"({rows}, {columns})", "'|i1'")))
    os.truncate(path, path.stat().st_size + rows * columns)


def huge_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**31)


def parents(*values: int) -> np.ndarray:
    table = np.array([range(-1, BONES - 1), range(BONES)])
    table[0, : len(values)] = values
    return table


MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "a page": (lambda path: path.write_text("<html>please sign in</html>"), "you were not logged in"),
    "pickled": (saved(J_regressor=np.array([1], dtype=object)), "holds Python objects"),
    "no weights": (saved(weights=None), "has no array weights"),
    "fewer bones": (saved(weights=np.ones((VERTICES, 24)) / 24), "does not fit 30 vertices and 24 bones"),
    "a cycle": (saved(kintree_table=parents(-1, 2, 1)), "has a cycle"),
    "two roots": (saved(kintree_table=parents(-1, -1)), "has its roots at"),
    "no such parent": (saved(kintree_table=parents(-1, 99)), "names a parent that is not a bone"),
    "NaN": (saved(posedirs=np.full((VERTICES, 3, 459), np.nan)), "not finite"),
    "words": (saved(v_template=np.full((VERTICES, 3), "a")), "not numbers"),
    "no vertices": (saved(v_template=np.zeros((0, 3))), "not .vertices, 3."),
    "claims much": (huge_claims, "claims more than"),
    "claims much as float64": (bytes_to_floats, "claims more than"),
    "two gigabytes": (huge_file, "damaged or not a plain npz file"),
    "pipe": (os.mkfifo, "a pipe or a device"),
}


def load_model(path: Path) -> None:
    """Load what lies at `path` as a female body model."""
    target = body_model.model_path(path.parent / f"{path.name}.support", "female")
    target.parent.mkdir(parents=True)
    path.rename(target)
    body_model.load(path.parent / f"{path.name}.support", "female", num_dmpls=0)


def sparse(matrix: Any, **changes: np.ndarray) -> Callable[[Path], object]:
    """A sparse regressor with other arrays."""

    def make(path: Path) -> None:
        scipy.sparse.save_npz(path, matrix, compressed=False)
        with np.load(path) as npz:
            np.savez(path, **(dict(npz) | changes))

    return make


ROWS = scipy.sparse.csr_array(np.eye(3, VERTICES))
REGRESSORS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty.npy": (lambda path: path.write_bytes(b""), "is empty"),
    "pickled.npy": (lambda path: np.save(path, np.array([{"a": 1}], dtype=object)), "holds Python objects"),
    "pickle.pkl": (lambda path: path.write_bytes(b"\x80\x04N."), "pickles are not read"),
    "cut.npy": (lambda path: path.write_bytes(npy(np.ones((3, VERTICES)))[:-9]), "is cut short"),
    "petabytes.npy": (lambda path: path.write_bytes(npy(np.zeros(1), header("(17, 9000000000)"))), "is cut short"),
    "one dimension.npy": (lambda path: np.save(path, np.ones(9)), "not .joints, vertices."),
    "NaN.npy": (lambda path: np.save(path, np.full((3, VERTICES), np.nan)), "not finite"),
    "words.npy": (lambda path: np.save(path, np.full((3, 3), "a")), "not numbers"),
    "an empty row.npy": (lambda path: np.save(path, np.diag([1.0, 0.0])), "row 1 is all zeros"),
    "transposed.npy": (lambda path: np.save(path, np.eye(6890, 17)), "transpose the matrix"),
    "two gigabytes.npy": (huge_file, "is larger than"),
    "holes.npy": (lambda path: holes(path, 4, 100_000_000), "row 0 is all zeros"),
    "many rows.npy": (lambda path: holes(path, 17_000_000, 1), "more weights than"),
    "many weights.npy": (lambda path: np.save(path, np.ones((3, 3_000_000), np.int8)), "more weights than"),
    "pipe.npy": (os.mkfifo, "is not a file"),
    "dense.npz": (lambda path: np.savez(path, np.ones((3, 3))), "is not a SciPy sparse matrix"),
    "indices outside.npz": (sparse(ROWS, indices=np.array([0, 1, 99])), "is not a SciPy sparse matrix"),
    "many joints.npz": (sparse(ROWS, shape=np.array([10**12, VERTICES])), "not a SciPy sparse|joints and only"),
    "many weights.npz": (sparse(ROWS, data=np.zeros(17_000_000, np.int8)), "claims more than"),
    "pickled.npz": (sparse(ROWS, data=np.array([1, 2, 3], dtype=object)), "holds Python objects"),
}


def load_regressor(path: Path) -> None:
    """Load what lies at `path` as a regressor."""
    regressor.load(path)
