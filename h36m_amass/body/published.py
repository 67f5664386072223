"""Published joint regressors, known by digests: what their joints are, which no file says.

``published_regressors.json`` lists them, with where each comes from. One whose values have a digest is known in any
layout and precision; the others as their publishers' files.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import scipy.sparse

from h36m_amass.skeleton import Skeleton, side_pairs


@dataclass(frozen=True)
class PublishedRegressor:
    """A regressor that people have, and what its rows are."""

    name: str  # whose it is, and what its file is called
    shape: tuple[int, int]
    file_sha256: str  # of the publisher's file, or how it begins: 16 digits at least
    values_sha256: str  # see `values_digest`; empty if it is not known
    skeleton: Skeleton


@cache
def published() -> tuple[PublishedRegressor, ...]:
    """All regressors that are known."""
    data = json.loads(Path(__file__).with_name("published_regressors.json").read_text(encoding="utf-8"))
    layouts = data["layouts"]
    return tuple(
        PublishedRegressor(
            name=entry["name"],
            shape=(entry["shape"][0], entry["shape"][1]),
            file_sha256=entry["file"],
            values_sha256=entry.get("values", ""),
            skeleton=_skeleton(layouts[entry["layout"]]["joints"], layouts[entry["layout"]]["parents"]),
        )
        for entry in data["regressors"]
    )


def find(matrix: scipy.sparse.csr_array, file_sha256: str) -> PublishedRegressor | None:
    """The published regressor that a matrix is, by its values or by the digest of its file."""
    digest = values_digest(matrix)
    for known in published():
        if known.shape == matrix.shape and (known.values_sha256 == digest or file_sha256.startswith(known.file_sha256)):
            return known
    return None


def values_digest(matrix: scipy.sparse.csr_array) -> str:
    """SHA-256 of a matrix: its shape, then rows, columns (int64) and values of what is not zero.

    Values are taken in float32, so that a copy in single precision is the same.
    """
    weights = scipy.sparse.coo_array(matrix)
    order = np.lexsort((weights.col, weights.row))
    digest = hashlib.sha256("{} {}".format(*matrix.shape).encode())
    with np.errstate(over="ignore"):
        for array, dtype in ((weights.row, "<i8"), (weights.col, "<i8"), (weights.data, "<f4")):
            digest.update(array[order].astype(dtype).tobytes())
    return digest.hexdigest()


def _skeleton(joint_names: list[str], parents: dict[str, str]) -> Skeleton:
    names = tuple(joint_names)
    return Skeleton(names, tuple(names.index(parents[n]) if n in parents else -1 for n in names), *side_pairs(names))
