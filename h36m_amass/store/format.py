"""The HDF5 store's format, version 4: what writer and reader share; ``docs/store-format.md`` has it in prose."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from h36m_amass.skeleton import Skeleton

FORMAT = "h36m-amass"
UNFINISHED = "h36m-amass, unfinished"  # what a store in the making says of its format
FORMAT_VERSION = 4  # the only one that is read: the versions before were never published
CHUNK_FRAMES = 256
DETECTIONS = "detections_2d"  # the group of a joint set with what a detector found, a dataset per camera
NO_MODEL = "none"  # in place of the body model of a sequence that was not made from one
COMPRESSIONS = ("none", "lzf", "gzip")


@dataclass(frozen=True)
class SequenceRecord:
    """One row of the index: a sequence, and the recording that it comes from.

    A known dataset has its canonical name, see `h36m_amass.datasets`. Rates are in hertz. `model` is the body model's
    family, ``"smplh"``, ``"smplx"`` or ``"smpl"``.
    """

    dataset: str
    subject: str
    sequence: str
    length: int  # frames in the store
    frame_rate: float  # in the store
    source_frames: int
    source_frame_rate: float  # that the recording was taken to have
    recorded_frame_rate: float  # the number in its file
    model: str
    gender: str
    has_dmpls: bool  # whether soft tissue went into the joints
    source_path: str  # relative to the AMASS folder
    source_size: int
    content_digest: str
    """SHA-256 of what the recording's joints depend on, hexadecimal: equal digests, equal joints."""
    checksum: int  # CRC-32 of the sequence's positions as little-endian float32

    @property
    def key(self) -> str:
        return f"{self.dataset}/{self.subject}/{self.sequence}"


@dataclass(frozen=True)
class JointSet:
    """Joints that a store holds for every sequence; those of all but the first set are in ``/joint_sets/NAME``."""

    name: str
    regressor_sha256: str
    """SHA-256 of the joint regressor's file; ``"skeleton"`` for the body model's own joints."""
    skeleton: Skeleton
    regressor: str = ""  # what people call the regressor, see `h36m_amass.body.published`; or the name of its file


@dataclass(frozen=True)
class StoreHeader:
    """The metadata of a store."""

    software_version: str  # of the h36m-amass that wrote it
    frame_rate: float  # in hertz, NaN if each sequence has its recording's own
    body_model_sha256: Mapping[str, str]
    """Digest of each body model's files, by gender for SMPL+H and by ``MODEL/GENDER`` for the others."""
    options: Mapping[str, Any]  # those of the build that change its numbers
    synthetic: bool  # true if any body model, regressor or recording was made up: not data to train on
    joint_sets: tuple[JointSet, ...]  # at least one; the first is what is read unless another is asked for

    @property
    def skeleton(self) -> Skeleton:
        """What the joints of the first joint set are."""
        return self.joint_sets[0].skeleton


def header_object(header: StoreHeader) -> dict[str, Any]:
    """A header as a JSON object, without the skeletons, which are datasets."""
    return {
        "format": FORMAT,
        "software_version": header.software_version,
        "frame_rate": None if math.isnan(header.frame_rate) else header.frame_rate,
        "synthetic": header.synthetic,
        "joint_sets": [joint_set.name for joint_set in header.joint_sets],
        "regressors": {joint_set.name: joint_set.regressor for joint_set in header.joint_sets},
        "regressors_sha256": {joint_set.name: joint_set.regressor_sha256 for joint_set in header.joint_sets},
        "body_model_sha256": dict(header.body_model_sha256),
        "options": dict(header.options),
    }


def header_attributes(header: StoreHeader) -> dict[str, str | float | bool]:
    """A header as attributes, for people and other programs: numbers and strings, some of them JSON."""
    values = {**header_object(header), "frame_rate": header.frame_rate}
    return {key: json.dumps(v, sort_keys=True) if isinstance(v, dict | list) else v for key, v in values.items()}


ADDED: Mapping[str, str] = {"recorded_frame_rate": "source_frame_rate"}
"""Columns that came later, and what stands for each where it is missing."""
# Column name -> NumPy type; strings become fixed-length UTF-8.
INDEX_COLUMNS: Mapping[str, type | str] = {
    **{"dataset": str, "subject": str, "sequence": str, "start": "<i8", "length": "<i8", "frame_rate": "<f8"},
    **{"source_frames": "<i8", "source_frame_rate": "<f8", "recorded_frame_rate": "<f8", "model": str, "gender": str},
    **{"has_dmpls": "|b1", "source_path": str, "source_size": "<i8", "content_digest": str, "checksum": "<u4"},
}
