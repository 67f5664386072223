"""The HDF5 store's format, version 4: what writer and reader share; ``docs/store-format.md`` has it in prose."""

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
FORMAT_VERSION = 4
"""The only one that is read: the versions before were never published."""
CHUNK_FRAMES = 256
COMPRESSIONS = ("none", "lzf", "gzip")


@dataclass(frozen=True)
class SequenceRecord:
    """One row of the index.

    Attributes
    ----------
    dataset, subject, sequence
        The sequence's key; a known dataset has its canonical name, see `h36m_amass.datasets`.
    length
        Frames in the store.
    frame_rate
        In hertz, in the store.
    source_frames, source_frame_rate
        Frames of the recording, and its rate in hertz.
    model
        Family of the body model: ``"smplh"``, ``"smplx"`` or ``"smpl"``.
    gender
        Of the body model.
    has_dmpls
        Whether soft tissue went into the joints.
    source_path
        The recording, relative to the AMASS folder.
    source_size
        Its size in bytes.
    content_digest
        SHA-256 of what the recording's joints depend on, hexadecimal: equal digests, equal joints.
    checksum
        CRC-32 of the sequence's positions as little-endian float32.
    """

    dataset: str
    subject: str
    sequence: str
    length: int
    frame_rate: float
    source_frames: int
    source_frame_rate: float
    model: str
    gender: str
    has_dmpls: bool
    source_path: str
    source_size: int
    content_digest: str
    checksum: int

    @property
    def key(self) -> str:
        return f"{self.dataset}/{self.subject}/{self.sequence}"


@dataclass(frozen=True)
class JointSet:
    """Joints that a store holds for every sequence.

    Attributes
    ----------
    name
        Of the set; of its group in ``/joint_sets``, unless it is the first.
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
    """

    software_version: str
    frame_rate: float
    body_model_sha256: Mapping[str, str]
    options: Mapping[str, Any]
    synthetic: bool
    joint_sets: tuple[JointSet, ...]

    @property
    def skeleton(self) -> Skeleton:
        """What the joints of the first joint set are."""
        return self.joint_sets[0].skeleton


def header_object(header: StoreHeader) -> dict[str, Any]:
    """A header as a JSON object, but for the skeletons, which are datasets."""
    return {
        "format": FORMAT,
        "software_version": header.software_version,
        "frame_rate": None if math.isnan(header.frame_rate) else header.frame_rate,
        "synthetic": header.synthetic,
        "joint_sets": [joint_set.name for joint_set in header.joint_sets],
        "regressors_sha256": {joint_set.name: joint_set.regressor_sha256 for joint_set in header.joint_sets},
        "body_model_sha256": dict(header.body_model_sha256),
        "options": dict(header.options),
    }


def header_attributes(header: StoreHeader) -> dict[str, str | float | bool]:
    """A header as attributes, for people and other programs: numbers and strings, some of them JSON."""
    values = header_object(header)
    return {
        name: json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
        for name, value in {**values, "frame_rate": header.frame_rate}.items()
    }


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
    "model": str,
    "gender": str,
    "has_dmpls": "|b1",
    "source_path": str,
    "source_size": "<i8",
    "content_digest": str,
    "checksum": "<u4",
}
