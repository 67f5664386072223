"""What is in a store: as a tree of numbers, in lines for a person, and as an object for JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int

from h36m_amass.body.joint_sets import MOTION_CAPTURE, SKELETON
from h36m_amass.skeleton import leg_order
from h36m_amass.store.errors import StoreError
from h36m_amass.store.format import FORMAT_VERSION, JointSet, SequenceRecord, header_object
from h36m_amass.store.header import joint_set_group, opened, readable
from h36m_amass.store.selection import StoredSequence
from h36m_amass.store.store import Store
from h36m_amass.wording import bytes_as_text, counted

LEVELS = ("store", "dataset", "subject", "sequence")
SHOWN_NODES = 50
"""So many lines of a tree fit on a screen or two; a larger one is shown to the depth at which it has no more."""
_BLOCK_FRAMES = 65536


@dataclass(frozen=True)
class Node:
    """A store, dataset, subject or sequence, and how much is in it."""

    kind: str  # one of `LEVELS`
    name: str
    key: str  # ``DATASET/SUBJECT/SEQUENCE`` as far as it goes, a store's its path
    sequences: int
    frames: int
    seconds: float
    bytes: int  # of the positions on the disk
    below: tuple[Node, ...]  # the parts that it is made of, in the store's order


@dataclass(frozen=True)
class JointRange:
    """Where the joints of one joint set are during a sequence: the smallest and the largest x, y and z, in metres."""

    name: str
    joints: int
    checksum: int
    low: tuple[float, ...]
    high: tuple[float, ...]


def tree(store: Store, key: str | None = None, joint_set: str | None = None) -> Node:
    """What is in a store, or at `key`, with the bytes of all joint sets or of one; `StoreError` if nothing is there."""
    sizes = sequence_bytes(store, joint_set)
    seconds = store.index.lengths / store.index["frame_rate"]
    names = [store.names(row) for row in range(len(store.sequences))]

    def node(level: int, name: str, key: str, rows: list[int]) -> Node:
        parts: dict[str, list[int]] = {}
        if level < len(LEVELS) - 1:
            for row in rows:
                parts.setdefault(names[row][level], []).append(row)
        prefix = f"{key}/" if level else ""
        below = tuple(node(level + 1, part, prefix + part, its_rows) for part, its_rows in parts.items())
        sums = int(store.index.lengths[rows].sum()), float(seconds[rows].sum()), int(sizes[rows].sum())
        return Node(LEVELS[level], name, key, len(rows), *sums, below)

    if key is None:
        return node(0, str(store.path), str(store.path), list(range(len(names))))
    item = store[key]
    rows = [item.row] if isinstance(item, StoredSequence) else item.sequences.rows.tolist()
    return node(key.count("/") + 1, key.rpartition("/")[2], key, rows)


def sequence_bytes(store: Store, joint_set: str | None = None) -> Int[np.ndarray, "sequences"]:
    """Bytes on the disk of each sequence's positions, of one joint set or of all; they sum up to those of all.

    Sequences that share a compressed chunk of the file share its bytes, by the frames that each has in it.
    """
    edges = np.append(0, store.index.starts + store.index.lengths)
    sizes = np.zeros(len(store.sequences), np.int64)
    with opened(store.path) as (file, *_):
        for name in store.joint_sets if joint_set is None else (joint_set,):
            positions = joint_set_group(file, name, store.joint_sets)["positions_3d"]
            if len(positions) != store.num_frames:
                raise StoreError("has been replaced since it was opened; open it again", store.shown_path)
            sizes += np.diff(np.interp(edges, *_bytes_before(positions)).round().astype(np.int64))
    return sizes


def _bytes_before(positions: h5py.Dataset) -> tuple[Int[np.ndarray, "points"], Int[np.ndarray, "points"]]:
    """Some rows, and how many bytes those before them take: between two of the rows, all take the same."""
    total = len(positions)
    if not positions.compression or not hasattr(positions.id, "chunk_iter"):
        return np.array([0, total]), np.array([0, total * positions.dtype.itemsize * int(np.prod(positions.shape[1:]))])
    chunks: list[tuple[int, int]] = []
    readable(positions).id.chunk_iter(lambda chunk: chunks.append((chunk.chunk_offset[0], chunk.size)))
    chunks.sort()
    rows = np.append([first for first, _ in chunks], total)
    return rows, np.append(0, np.cumsum([size for _, size in chunks]))


def flattened(root: Node, depth: int) -> Iterator[tuple[tuple[bool, ...], Node]]:
    """Each node at most `depth` levels below `root`, from the top down, after who is the last on each level to it."""
    for number, part in enumerate(root.below if depth > 0 else (), 1):
        is_last = number == len(root.below)
        yield (is_last,), part
        yield from (((is_last, *lasts), node) for lasts, node in flattened(part, depth - 1))


def deepest(root: Node) -> int:
    """How many levels a tree has below `root`."""
    return len(LEVELS) - 1 - LEVELS.index(root.kind)


def fitting_depth(root: Node) -> int:
    """The depth to which a tree has no more than `SHOWN_NODES` nodes; 1 at least."""
    for depth in range(deepest(root), 1, -1):
        if sum(1 for _ in flattened(root, depth)) <= SHOWN_NODES:
            return depth
    return 1


def joint_ranges(sequence: StoredSequence, joint_set: str | None = None) -> list[JointRange]:
    """Bounds of the joints of each joint set during a sequence, or of `joint_set` alone."""
    ranges = []
    for name in sequence.store.joint_sets if joint_set is None else (joint_set,):
        with sequence.store.with_joint_set(name) as store:
            same = StoredSequence(store, sequence.row)
            starts = range(0, len(same), _BLOCK_FRAMES)
            blocks = (same.positions_3d[start : start + _BLOCK_FRAMES] for start in starts)
            lows, highs = zip(*((block.min(axis=(0, 1)), block.max(axis=(0, 1))) for block in blocks), strict=True)
            low, high = tuple(np.min(lows, axis=0).tolist()), tuple(np.max(highs, axis=0).tolist())
            ranges.append(JointRange(name, len(store.skeleton), same.record.checksum, low, high))
    return ranges


def summary(node: Node) -> str:
    """A line about a node: how much is in it."""
    kinds = [below.kind for _, below in flattened(node, deepest(node))]
    counts = [counted(kinds.count(kind), f"{kind}s") for kind in LEVELS[LEVELS.index(node.kind) + 1 :]]
    parts = *counts, f"{node.frames:,} frames", duration(node.seconds), bytes_as_text(node.bytes)
    return f"{node.key}: {', '.join(parts)}"


def provenance(store: Store, joint_set: str | None = None) -> list[str]:
    """Lines about a store and all its joint sets, or `joint_set` alone."""
    header, rate = store.header, store.header.frame_rate
    shown = [s for s in header.joint_sets if joint_set in (None, s.name)]
    origins = {SKELETON: "the body model's own joints", MOTION_CAPTURE: "joints of motion capture, without a regressor"}
    lines = [
        "SYNTHETIC: made-up input went into it; it is not data to train on" if header.synthetic else "",
        f"file          {bytes_as_text(store.num_bytes)}",
        f"frame rate    {'native' if np.isnan(rate) else f'{rate:g} Hz'}",
        *(f"joint set     {s.name}, {len(s.skeleton)} joints: {', '.join(s.skeleton.joint_names)}" for s in shown),
        f"detections    of the cameras {', '.join(store.cameras)}" if store.cameras else "",
        f"written by    h36m-amass {header.software_version}, format version {FORMAT_VERSION}",
        f"options       {json.dumps(dict(header.options))}",
        *(f"regressor     {s.name}, {origins.get(s.regressor_sha256, _regressor(s))}" for s in shown),
        *(f"{gender:<13} sha256 {digest}" for gender, digest in header.body_model_sha256.items()),
    ]
    return [line for line in lines if line]


def _regressor(joint_set: JointSet) -> str:
    parts = joint_set.regressor, leg_order(joint_set.skeleton), f"sha256 {joint_set.regressor_sha256}"
    return ", ".join(part for part in parts if part)


def describe_sequence(sequence: StoredSequence, joint_set: str | None = None) -> list[str]:
    """Lines about a sequence and its bounds in all joint sets, or in `joint_set` alone."""
    record, stop = sequence.record, sequence.start + len(sequence)
    lines = [
        f"{sequence.key}: {len(sequence):,} frames at {sequence.frame_rate:g} Hz, {sequence.duration:.2f} s",
        f"dataset       {record.dataset}",
        f"subject       {record.subject}",
        f"sequence      {record.sequence}, row {sequence.row:,} of the index",
        f"rows          {sequence.start} to {stop}",
        f"size          {bytes_as_text(int(sequence_bytes(sequence.store, joint_set)[sequence.row]))}",
        f"body model    {record.model}, {record.gender}",
        f"soft tissue   {'yes' if record.has_dmpls else 'no'}",
        f"source        {record.source_path}, {record.source_size:,} bytes, content {record.content_digest[:12]}",
        f"source frames {record.source_frames:,} at {record.source_frame_rate:g} Hz{_recorded_rate(record)}",
    ]
    for joints in joint_ranges(sequence, joint_set):
        spans = zip("xyz", joints.low, joints.high, strict=True)
        lines += [
            f"joint set     {joints.name}, {joints.joints} joints, checksum {joints.checksum:08x}",
            *(f"  {axis}           {low:.3f} to {high:.3f} m" for axis, low, high in spans),
        ]
    return lines


def _recorded_rate(record: SequenceRecord) -> str:
    same = record.recorded_frame_rate == record.source_frame_rate
    return "" if same else f", {record.recorded_frame_rate:.10g} Hz in its file"


def as_object(store: Store, root: Node, joint_set: str | None = None, depth: int | None = None) -> dict[str, Any]:
    """What is in a store, or a part of it, as JSON has it (docs/pictures.md), `depth` levels below `root` or all."""
    said, shown = header_object(store.header), [s for s in store.header.joint_sets if joint_set in (None, s.name)]
    made: dict[str, Any] = {
        "store": {
            "path": str(store.path),
            "file_bytes": store.num_bytes,
            "format_version": FORMAT_VERSION,
            **{
                name: said[name]
                for name in ("software_version", "synthetic", "frame_rate", "options", "body_model_sha256")
            },
            "joint_sets": [
                {
                    **{"name": s.name, "regressor": s.regressor, "regressor_sha256": s.regressor_sha256},
                    **asdict(s.skeleton),
                }
                for s in shown
            ],
            "cameras": list(store.cameras),
        }
    }
    if root.kind == LEVELS[-1]:
        item = store[root.key]
        joint_sets = [asdict(joints) for joints in joint_ranges(item, joint_set)]
        made["sequence"] = {
            **{"key": item.key, "row": item.row, "start": item.start, **asdict(item.record)},
            **{"seconds": item.duration, "bytes": root.bytes, "joint_sets": joint_sets},
        }
    else:
        made["tree"] = _node_object(root, depth)
    return made


def _node_object(node: Node, depth: int | None) -> dict[str, Any]:
    deeper = None if depth is None else depth - 1
    return {**vars(node), "below": [] if depth == 0 else [_node_object(part, deeper) for part in node.below]}


def duration(seconds: float) -> str:
    """In the unit a person would choose."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
