"""Opening a store's file, and what it says of itself: refused by name if it is no store, damaged or too new."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from h36m_amass.npz import MAX_DEFLATION
from h36m_amass.sealing import SealError, check_head
from h36m_amass.skeleton import Skeleton
from h36m_amass.store_format import FORMAT, FORMAT_VERSION, JointSet, StoreHeader
from h36m_amass.store_frames import FileIdentity, StoreError

ONLY_SET = "joints"
"""Name of the joint set of a store of version 1, which has one, without a name."""
DAMAGE = (LookupError, OSError, RuntimeError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError)
"""What h5py raises where HDF5 finds damage, and what falls out of values that are not what they should be."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[h5py.File, FileIdentity]]:
    """A store's file, open for reading, and what it was before it was opened.

    Raises
    ------
    StoreError
        There is no such file, it is no whole HDF5 file, or reading it within raises what damage makes h5py raise.
    """
    if not path.is_file():
        raise StoreError(f"{path}: there is no such store; make one with h36m-amass build")
    try:
        identity = FileIdentity.of(path.stat())
        check_head(path)
        file = h5py.File(path, "r")
    except (OSError, SealError) as error:
        raise StoreError(
            f"{path}: cannot be opened as a store ({error}); build it again if it was cut short or damaged"
        ) from error
    try:
        with file:
            yield file, identity
    except StoreError:
        raise
    except DAMAGE as error:
        raise StoreError(f"{path}: is damaged ({error}); build it again") from error


def read_header(file: h5py.File, path: Path) -> StoreHeader:
    """What a store says of itself.

    Raises
    ------
    StoreError
        The file is no store, or of a format version that this library does not know.
    DAMAGE
        It is damaged: `opened` turns that into a `StoreError`.
    """
    if "format" not in file.attrs or "format_version" not in file.attrs:
        raise StoreError(f"{path}: is an HDF5 file, but no h36m-amass store")
    version = number(file, "format_version")
    if not isinstance(version, np.integer) or version < 1:
        raise StoreError(f"{path}: is damaged (its format version is {version}); build it again")
    if version > FORMAT_VERSION:
        raise StoreError(
            f"{path}: is of format version {version}, and this h36m-amass reads up to {FORMAT_VERSION}; upgrade it"
        )
    if "header" not in file:
        raise StoreError(f"{path}: is no h36m-amass store, or one that was not finished; build it again")
    strings = json.loads(text(bounded(file["header"]).item()))
    if not isinstance(strings, dict) or strings.get("format") != FORMAT:
        raise StoreError(f"{path}: is an HDF5 file, but no h36m-amass store")
    names = _object(strings["joint_sets"])["names"] if version > 1 else [ONLY_SET]
    digests = _object(strings["regressors_sha256"]) if version > 1 else {ONLY_SET: strings["regressor_sha256"]}
    if not isinstance(names, list) or not names or len(set(names)) < len(names):
        raise ValueError(f"its joint sets are {names!r:.50}")
    return StoreHeader(
        software_version=text(strings["software_version"]),
        frame_rate=float(number(file, "frame_rate")),
        body_model_sha256=_object(strings["body_model_sha256"]),
        options=_object(strings["options"]),
        synthetic=bool(number(file, "synthetic")),
        joint_sets=tuple(
            JointSet(text(name), text(digests[name]), _skeleton(joint_set_group(file, text(name), names)["skeleton"]))
            for name in names
        ),
        format_version=int(version),
    )


def joint_set_group(file: h5py.File, name: str, names: Sequence[str]) -> h5py.Group:
    """Where the skeleton and the positions of one of the joint sets `names` lie; of the first they do at the root."""
    return file if name == names[0] else file["joint_sets"][name]


def _skeleton(group: h5py.Group) -> Skeleton:
    skeleton = Skeleton(
        tuple(text(name) for name in bounded(group["joint_names"]).tolist()),
        *(tuple(bounded(group[name]).tolist()) for name in ("parents", "left", "right")),
    )
    joints = range(len(skeleton))
    if len(skeleton.parents) != len(joints) or len(skeleton.left) != len(skeleton.right):
        raise ValueError("its joints, bones and sides differ in number")
    if not {*skeleton.left, *skeleton.right} <= {*joints} or not {*skeleton.parents} <= {-1, *joints}:
        raise ValueError("its skeleton names joints that it does not have")
    return skeleton


def text(value: object) -> str:
    """A string, as h5py gives one of a fixed length, or JSON one.

    Raises
    ------
    TypeError, ValueError
        It is no string, or no UTF-8.
    """
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.50} is no string")
    return value


def bounded(dataset: object) -> np.ndarray:
    """A small dataset, whole, once it is clear that its values are in this file and not more than that can hold.

    Raises
    ------
    TypeError, ValueError
        They are not, or it is no dataset.
    """
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise TypeError("a dataset is missing")
    if dataset.dtype.hasobject:
        raise TypeError(f"{dataset.name} holds what is kept elsewhere in the file")
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{dataset.name} takes its values from another file")
    if dataset.nbytes > MAX_DEFLATION * dataset.id.get_storage_size():
        raise ValueError(f"{dataset.name} claims more than the file holds")
    values: np.ndarray = dataset[()]
    return values


def number(file: h5py.File, name: str) -> np.generic:
    """An attribute of the root that is a number.

    Raises
    ------
    TypeError
        It is something else, which is not read.
    """
    attribute = file.attrs.get_id(name)
    if attribute.dtype.kind not in "iufb" or attribute.shape != ():
        raise TypeError(f"its attribute {name} is {attribute.dtype}")
    value: np.generic = file.attrs[name]
    return value


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r:.50} is no JSON object")
    return value
