"""The HDF5 store's format, versions 2 and 3: what writer and reader share; ``docs/store-format.md`` has it in prose."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from h36m_amass.skeleton import Skeleton

FORMAT = "h36m-amass"
UNFINISHED = "h36m-amass, unfinished"
"""What a store in the making says of its format."""
FORMAT_VERSION = 2
"""Of a store in one file."""
SPLIT_VERSION = 3
"""Of the index of a split store, whose positions are in other files; the newest that there is."""
CHUNK_FRAMES = 256
COMPRESSIONS = ("none", "lzf", "gzip")


@dataclass(frozen=True)
class SequenceRecord:
    """One row of the index.

    Attributes
    ----------
    dataset, subject, sequence
        The sequence's key.
    length
        Frames in the store.
    frame_rate, source_frame_rate
        In hertz.
    source_frames
        Frames of the recording.
    gender
        Of the body model.
    has_dmpls
        Whether soft tissue went into the joints.
    source_path
        The recording, relative to the AMASS folder.
    source_size
        Its size in bytes.
    checksum
        CRC-32 of the sequence's positions as little-endian float32.
    canonical_dataset
        The dataset's canonical name, see `h36m_amass.datasets`.
    model
        Family of the body model: ``"smplh"``, ``"smplx"`` or ``"smpl"``.
    """

    dataset: str
    subject: str
    sequence: str
    length: int
    frame_rate: float
    source_frames: int
    source_frame_rate: float
    gender: str
    has_dmpls: bool
    source_path: str
    source_size: int
    checksum: int
    canonical_dataset: str
    model: str = "smplh"

    @property
    def key(self) -> str:
        return f"{self.dataset}/{self.subject}/{self.sequence}"


@dataclass(frozen=True)
class JointSet:
    """Joints that a store holds for every sequence.

    Attributes
    ----------
    name
        Of its group in ``/joint_sets``.
    regressor_sha256
        Digest of the joint regressor's file; ``"skeleton"`` for the body model's own joints.
    skeleton
        What the joints are.
    """

    name: str
    regressor_sha256: str
    skeleton: Skeleton


@dataclass(frozen=True)
class StoreHeader:
    """What a store says of itself.

    Attributes
    ----------
    software_version
        Of the h36m-amass that wrote it.
    frame_rate
        In hertz, NaN if each sequence has its recording's own.
    body_model_sha256
        Digest of each body model's files: a gender for SMPL+H, ``MODEL/GENDER`` for the others.
    options
        The options of the build that change its numbers.
    synthetic
        True if any body model, regressor or recording was made up: not data to train on.
    joint_sets
        At least one; the first is what is read unless another is asked for.
    format_version
        Of the file; what is written is of `FORMAT_VERSION`, or of `SPLIT_VERSION` if it is the index of a split store.
    """

    software_version: str
    frame_rate: float
    body_model_sha256: Mapping[str, str]
    options: Mapping[str, Any]
    synthetic: bool
    joint_sets: tuple[JointSet, ...]
    format_version: int = FORMAT_VERSION

    @property
    def skeleton(self) -> Skeleton:
        """What the joints of the first joint set are."""
        return self.joint_sets[0].skeleton


@dataclass(frozen=True)
class UnitRecord:
    """A work unit that went into a store, so that a later build can take its sequences over.

    Attributes
    ----------
    fingerprint
        See `h36m_amass.conversion.fingerprints`. Empty if a recording was left out as damaged.
    sequences
        How many of the index's rows it is, behind those of the units before.
    """

    fingerprint: str
    sequences: int


@dataclass(frozen=True)
class DataFile:
    """A file that holds rows of a split store, as its index knows it.

    Attributes
    ----------
    name
        Of the file, which lies beside the index.
    frames
        How many of the store's rows it holds, behind those of the files before.
    bytes, checksum, head
        What its seal says, see `h36m_amass.store.footer.Seal`.
    """

    name: str
    frames: int
    bytes: int
    checksum: int
    head: int


def header_text(header: StoreHeader) -> str:
    """A header as JSON. What it holds of strings is what is read of them.

    They are attributes too, for people and other programs. But HDF5 keeps strings of any length in a heap, and does
    not survive every kind of damage to that.
    """
    strings: dict[str, Any] = {
        "format": FORMAT,
        "software_version": header.software_version,
        "frame_rate": None if math.isnan(header.frame_rate) else header.frame_rate,
        "synthetic": header.synthetic,
        "regressor_sha256": header.joint_sets[0].regressor_sha256,
        "body_model_sha256": dict(header.body_model_sha256),
        "options": dict(header.options),
    }
    if header.format_version > 1:
        strings["joint_sets"] = {"names": [own.name for own in header.joint_sets]}
        strings["regressors_sha256"] = {own.name: own.regressor_sha256 for own in header.joint_sets}
    return json.dumps(strings, sort_keys=True)


# Column name -> NumPy type; strings become fixed-length UTF-8.
INDEX_COLUMNS: Mapping[str, type | str] = {
    "dataset": str,
    "subject": str,
    "sequence": str,
    "start": "<i8",
    "length": "<i8",
    "frame_rate": "<f8",
    "source_frames": "<i8",
    "source_frame_rate": "<f8",
    "gender": str,
    "has_dmpls": "|b1",
    "source_path": str,
    "source_size": "<i8",
    "checksum": "<u4",
    "canonical_dataset": str,
    "model": str,
}
ADDED_IN: Mapping[str, int] = {"canonical_dataset": 2, "model": 2}
"""The format version that brought a column of the index, where that was not the first."""
UNIT_COLUMNS: Mapping[str, type | str] = {"fingerprint": str, "sequences": "<i8"}
DATA_FILE_COLUMNS: Mapping[str, type | str] = {
    "name": str,
    "frames": "<i8",
    "bytes": "<i8",
    "checksum": "<u4",
    "head": "<u4",
}
