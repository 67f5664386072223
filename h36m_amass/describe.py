"""What is in a store, in lines for a person."""

from __future__ import annotations

import json

import numpy as np

from h36m_amass.joint_sets import SKELETON
from h36m_amass.store import DatasetView, Sequence, Store, SubjectView, count


def describe(store: Store, key: str | None = None) -> list[str]:
    """Lines that tell what is in a store, or at `key`.

    Raises
    ------
    h36m_amass.store.UnknownKeyError
        Nothing is at `key`.
    """
    if key is not None:
        return _describe(store[key.strip("/")])
    header, rate = store.header, store.header.frame_rate
    lines = [
        f"{store.path}: {count(store, 'dataset')}, {count(store.sequences, 'sequence')}, {store.num_frames:,} frames",
        "SYNTHETIC: made-up input went into it; it is not data to train on" if header.synthetic else "",
        f"frame rate    {'native' if np.isnan(rate) else f'{rate:g} Hz'}",
        *(
            f"joint set     {own.name}, {len(own.skeleton)} joints: {', '.join(own.skeleton.joint_names)}"
            for own in header.joint_sets
        ),
        f"written by    h36m-amass {header.software_version}, format version {header.format_version}",
        f"options       {json.dumps(dict(header.options))}",
        *(f"regressor     {own.name}, {_origin(own.regressor_sha256)}" for own in header.joint_sets),
        *(f"{gender:<13} sha256 {digest}" for gender, digest in header.body_model_sha256.items()),
    ]
    return [line for line in lines if line] + [_summary(view) for view in store.values()]


def _origin(digest: str) -> str:
    return "the body model's own joints" if digest == SKELETON else f"sha256 {digest}"


def _summary(item: DatasetView | SubjectView | Sequence) -> str:
    if isinstance(item, Sequence):
        name, number, frames, seconds = item.key, "1 sequence", len(item), item.duration
    else:
        index = item.sequences.index
        name, number, frames = item.name, count(index.rows, "sequence"), item.num_frames
        seconds = float((index.lengths / index["frame_rate"]).sum())
    return f"{name}: {number}, {frames:,} frames, {_duration(seconds)}"


def _describe(item: DatasetView | SubjectView | Sequence) -> list[str]:
    if not isinstance(item, Sequence):
        return [_summary(item), *(f"  {_summary(below)}" for below in item.values())]
    record = item.record
    return [
        f"{item.key}: {len(item):,} frames at {item.frame_rate:g} Hz, {item.duration:.2f} s",
        f"rows          {item.start} to {item.start + len(item)}",
        f"body model    {record.model}, {item.gender}",
        f"soft tissue   {'yes' if record.has_dmpls else 'no'}",
        f"source        {record.source_path}, {record.source_size:,} bytes",
        f"source frames {record.source_frames:,} at {record.source_frame_rate:g} Hz",
        f"checksum      {record.checksum:08x}",
    ]


def _duration(seconds: float) -> str:
    """In the unit a person would choose."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
