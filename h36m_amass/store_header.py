"""Opening a store's file, and what it says of itself: refused by name if it is no store, damaged or too new."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from h36m_amass.skeleton import Skeleton
from h36m_amass.store_format import FORMAT, FORMAT_VERSION, StoreHeader
from h36m_amass.store_frames import FileIdentity, StoreError


@contextmanager
def opened(path: Path) -> Iterator[tuple[h5py.File, FileIdentity]]:
    """A store's file, open for reading, and what it was before it was opened.

    Raises
    ------
    StoreError
        There is no such file, or it is no whole HDF5 file.
    """
    if not path.is_file():
        raise StoreError(f"{path}: there is no such store; make one with h36m-amass build")
    try:
        identity = FileIdentity.of(path.stat())
        file = h5py.File(path, "r")
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be opened as a store ({error}); build it again if it was cut short or damaged"
        ) from error
    with file:
        yield file, identity


def read_header(file: h5py.File, path: Path) -> StoreHeader:
    """What a store says of itself.

    Raises
    ------
    StoreError
        The file is no store, damaged, or of a format version that this library does not know.
    """
    format_name = file.attrs.get("format")
    if not isinstance(format_name, str) or format_name != FORMAT:
        raise StoreError(f"{path}: is an HDF5 file, but no h36m-amass store")
    version = file.attrs.get("format_version")
    if not isinstance(version, np.integer) or version < 1:
        raise StoreError(f"{path}: is damaged (its format version is {version}); build it again")
    if version > FORMAT_VERSION:
        raise StoreError(
            f"{path}: is of format version {version}, and this h36m-amass reads up to {FORMAT_VERSION}; upgrade it"
        )
    try:
        group = file["skeleton"]
        skeleton = Skeleton(
            tuple(group["joint_names"].asstr()[:].tolist()),
            *(tuple(group[name][:].tolist()) for name in ("parents", "left", "right")),
        )
        joints = range(len(skeleton))
        if len(skeleton.parents) != len(joints) or len(skeleton.left) != len(skeleton.right):
            raise ValueError("its joints, bones and sides differ in number")
        if not {*skeleton.left, *skeleton.right} <= {*joints} or not {*skeleton.parents} <= {-1, *joints}:
            raise ValueError("its skeleton names joints that it does not have")
        return StoreHeader(
            software_version=str(file.attrs["software_version"]),
            frame_rate=float(file.attrs["frame_rate"]),
            regressor_sha256=str(file.attrs["regressor_sha256"]),
            body_model_sha256=json.loads(file.attrs["body_model_sha256"]),
            options=json.loads(file.attrs["options"]),
            synthetic=bool(file.attrs["synthetic"]),
            skeleton=skeleton,
        )
    except (KeyError, OSError, RuntimeError, ValueError, TypeError) as error:
        raise StoreError(f"{path}: is damaged ({error}); build it again") from error
