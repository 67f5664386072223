"""What the viewer's panel says of the sequences that are shown."""

from __future__ import annotations

import html
from collections.abc import Sequence as Ordered

import numpy as np
from jaxtyping import Float32

from h36m_amass.store.selection import StoredSequence


def facts(sequence: StoredSequence, title: str = "Sequence") -> list[tuple[str, str]]:
    """What a sequence is, as names and values."""
    record, store = sequence.record, sequence.store
    return [
        (title, record.key),
        (
            "Frames",
            f"{len(sequence):,} at {sequence.frame_rate:g} Hz, {len(store.skeleton)} joints of {store.joint_set.name}",
        ),
        ("Body", f"{record.model}, {record.gender}, {'with' if record.has_dmpls else 'without'} soft tissue"),
        ("Source", f"{record.source_path}, {record.source_frames:,} frames at {record.source_frame_rate:g} Hz"),
        ("Store", str(store.path)),
    ]


def apart(
    first: Float32[np.ndarray, "joints 3"], second: Float32[np.ndarray, "joints 3"], joint_names: Ordered[str]
) -> str:
    """How far the joints of two poses are from each other."""
    distances = 1000.0 * np.linalg.norm(first.astype(np.float64) - second, axis=1)
    largest = int(distances.argmax())
    return f"{distances.mean():.1f} mm on average, at most {distances[largest]:.1f} mm ({joint_names[largest]})"


def table(rows: list[tuple[str, str]], synthetic: bool) -> str:
    """Names and values as HTML, with whatever names of files hold written out."""
    note = "<b style='color: #b45309'>SYNTHETIC: made-up, not data to train on</b>" if synthetic else ""
    lines = "".join(
        f"<div><b>{html.escape(name)}</b> <span style='overflow-wrap: anywhere'>{html.escape(value)}</span></div>"
        for name, value in rows
    )
    return f"<div style='padding: 0 1em 0.7em; font-size: 0.85em; line-height: 1.5'>{note}{lines}</div>"
