"""What is in a store: as a tree of numbers, in lines for a person, and as an object for JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from h36m_amass.body.joint_sets import SKELETON
from h36m_amass.store.format import JointSet
from h36m_amass.store.sizes import sequence_bytes
from h36m_amass.store.store import Sequence, Store, count

LEVELS = ("store", "dataset", "subject", "sequence")
SHOWN_NODES = 50
"""So many lines of a tree fit on a screen or two; a larger one is shown to the depth at which it has no more."""
_BLOCK_FRAMES = 65536


@dataclass(frozen=True)
class Node:
    """A store, dataset, subject or sequence, and how much is in it.

    Attributes
    ----------
    kind
        One of `LEVELS`.
    name, key
        Its own name, and with those above it: ``DATASET/SUBJECT/SEQUENCE``. A store's are its path.
    sequences, frames
        How many there are.
    seconds
        That they last together.
    bytes
        Of their positions on the disk.
    below
        The parts that it is made of, in the store's order.
    """

    kind: str
    name: str
    key: str
    sequences: int
    frames: int
    seconds: float
    bytes: int
    below: tuple[Node, ...]


@dataclass(frozen=True)
class JointRange:
    """Where the joints of one joint set are during a sequence.

    Attributes
    ----------
    name
        Of the joint set.
    joints
        How many it has.
    checksum
        Of their positions, as in the index.
    low, high
        The smallest and the largest x, y and z, in metres.
    """

    name: str
    joints: int
    checksum: int
    low: tuple[float, float, float]
    high: tuple[float, float, float]


def tree(store: Store, key: str | None = None, joint_set: str | None = None) -> Node:
    """What is in a store, or at `key`, down to each sequence.

    Parameters
    ----------
    joint_set
        Count the bytes of this joint set alone; None counts those of all.

    Raises
    ------
    h36m_amass.store.store.StoreError
        The store is damaged, or nothing is at `key`.
    """
    sizes = sequence_bytes(store, joint_set)
    seconds = store.index.lengths / store.index["frame_rate"]
    names = [store.names(row) for row in range(len(store.sequences))]

    def node(level: int, name: str, key: str, rows: list[int]) -> Node:
        parts: dict[str, list[int]] = {}
        if level < len(LEVELS) - 1:
            for row in rows:
                parts.setdefault(names[row][level], []).append(row)
        prefix = f"{key}/" if level else ""
        below = tuple(node(level + 1, part, prefix + part, own) for part, own in parts.items())
        frames = int(store.index.lengths[rows].sum())
        return Node(
            LEVELS[level], name, key, len(rows), frames, float(seconds[rows].sum()), int(sizes[rows].sum()), below
        )

    if key is None:
        return node(0, str(store.path), str(store.path), list(range(len(names))))
    item = store[key]
    rows = [item.row] if isinstance(item, Sequence) else item.sequences.rows.tolist()
    parts = key.split("/")
    return node(len(parts), parts[-1], key, rows)


def flattened(root: Node, depth: int) -> Iterator[tuple[tuple[bool, ...], Node]]:
    """Each node at most `depth` levels below `root`, from the top down.

    With it goes, for each level below the root that it is on or under, whether the node there is the last one.
    """

    def walk(node: Node, lasts: tuple[bool, ...]) -> Iterator[tuple[tuple[bool, ...], Node]]:
        if len(lasts) < depth:
            for place, part in enumerate(node.below):
                here = (*lasts, place == len(node.below) - 1)
                yield here, part
                yield from walk(part, here)

    yield from walk(root, ())


def deepest(root: Node) -> int:
    """How many levels a tree has below `root`."""
    return len(LEVELS) - 1 - LEVELS.index(root.kind)


def fitting_depth(root: Node) -> int:
    """The depth to which a tree has no more than `SHOWN_NODES` nodes; 1 at least."""
    for depth in range(deepest(root), 1, -1):
        if sum(1 for _ in flattened(root, depth)) <= SHOWN_NODES:
            return depth
    return 1


def joint_ranges(sequence: Sequence, joint_set: str | None = None) -> list[JointRange]:
    """Where the joints of each joint set are during a sequence; of `joint_set` alone, if that is given.

    Raises
    ------
    h36m_amass.store.store.StoreError
        The store is damaged.
    """
    found = []
    for name in sequence.store.joint_sets if joint_set is None else (joint_set,):
        with sequence.store.with_joint_set(name) as store:
            own = Sequence(store, sequence.row)
            low, high = np.full(3, np.inf), np.full(3, -np.inf)
            for start in range(0, len(own), _BLOCK_FRAMES):
                block = own.positions_3d[start : start + _BLOCK_FRAMES]
                low = np.minimum(low, block.min(axis=(0, 1)))
                high = np.maximum(high, block.max(axis=(0, 1)))
            found.append(JointRange(name, len(store.skeleton), own.record.checksum, _triple(low), _triple(high)))
    return found


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z


def summary(node: Node) -> str:
    """A line about a node: how much is in it."""
    if node.kind == LEVELS[-1]:
        parts = [f"{node.frames:,} frames"]
    else:
        level = LEVELS.index(node.kind) + 1
        counts = [_counted(node, depth, LEVELS[level + depth - 1]) for depth in range(1, len(LEVELS) - level + 1)]
        parts = [*counts, f"{node.frames:,} frames"]
    return f"{node.key}: {', '.join(parts)}, {duration(node.seconds)}, {size(node.bytes)}"


def _counted(node: Node, depth: int, kind: str) -> str:
    return count([lasts for lasts, _ in flattened(node, depth) if len(lasts) == depth], kind)


def provenance(store: Store, joint_set: str | None = None) -> list[str]:
    """Lines that tell what a store says of itself; of its joint sets, of `joint_set` alone if that is given."""
    header, rate, shown = store.header, store.header.frame_rate, _joint_sets(store, joint_set)
    lines = [
        "SYNTHETIC: made-up input went into it; it is not data to train on" if header.synthetic else "",
        f"file          {size(store.num_bytes)}",
        *(
            f"data file     {own.record.name}, {size(own.identity.size)}, {own.record.frames:,} frames"
            for own in store.data_files
        ),
        f"frame rate    {'native' if np.isnan(rate) else f'{rate:g} Hz'}",
        *(
            f"joint set     {own.name}, {len(own.skeleton)} joints: {', '.join(own.skeleton.joint_names)}"
            for own in shown
        ),
        f"written by    h36m-amass {header.software_version}, format version {header.format_version}",
        f"options       {json.dumps(dict(header.options))}",
        *(f"regressor     {own.name}, {_origin(own.regressor_sha256)}" for own in shown),
        *(f"{gender:<13} sha256 {digest}" for gender, digest in header.body_model_sha256.items()),
    ]
    return [line for line in lines if line]


def _joint_sets(store: Store, name: str | None) -> list[JointSet]:
    return [own for own in store.header.joint_sets if name in (None, own.name)]


def _origin(digest: str) -> str:
    return "the body model's own joints" if digest == SKELETON else f"sha256 {digest}"


def describe_sequence(sequence: Sequence, joint_set: str | None = None) -> list[str]:
    """Lines that tell all that is known of a sequence; of its joint sets, of `joint_set` alone if that is given."""
    record, stop = sequence.record, sequence.start + len(sequence)
    lines = [
        f"{sequence.key}: {len(sequence):,} frames at {sequence.frame_rate:g} Hz, {sequence.duration:.2f} s",
        f"dataset       {record.dataset}, canonical name {record.canonical_dataset}",
        f"subject       {record.subject}",
        f"sequence      {record.sequence}, row {sequence.row:,} of the index",
        f"rows          {sequence.start} to {stop}",
        f"size          {size(int(sequence_bytes(sequence.store, joint_set)[sequence.row]))}",
        f"body model    {record.model}, {record.gender}",
        f"soft tissue   {'yes' if record.has_dmpls else 'no'}",
        f"source        {record.source_path}, {record.source_size:,} bytes",
        f"source frames {record.source_frames:,} at {record.source_frame_rate:g} Hz",
    ]
    for found in joint_ranges(sequence, joint_set):
        spans = zip("xyz", found.low, found.high, strict=True)
        lines += [
            f"joint set     {found.name}, {found.joints} joints, checksum {found.checksum:08x}",
            *(f"  {axis}           {low:.3f} to {high:.3f} m" for axis, low, high in spans),
        ]
    return lines


def as_object(store: Store, root: Node, joint_set: str | None = None, depth: int | None = None) -> dict[str, Any]:
    """What is in a store, or in a part of it, as JSON has it; docs/pictures.md lists the keys.

    Parameters
    ----------
    root
        The store or the part: see `tree`.
    joint_set
        Tell of this joint set alone; None tells of all.
    depth
        How many levels below `root`; None for all.

    Raises
    ------
    h36m_amass.store.store.StoreError
        The store is damaged.
    """
    header, shown = store.header, _joint_sets(store, joint_set)
    made: dict[str, Any] = {
        "store": {
            "path": str(store.path),
            "file_bytes": store.num_bytes,
            "data_files": [
                {"name": own.record.name, "bytes": own.identity.size, "frames": own.record.frames}
                for own in store.data_files
            ],
            "format_version": header.format_version,
            "software_version": header.software_version,
            "synthetic": header.synthetic,
            "frame_rate": None if np.isnan(header.frame_rate) else header.frame_rate,
            "options": dict(header.options),
            "body_model_sha256": dict(header.body_model_sha256),
            "joint_sets": [
                {"name": own.name, "regressor_sha256": own.regressor_sha256, **asdict(own.skeleton)} for own in shown
            ],
        }
    }
    if root.kind == LEVELS[-1]:
        item = store[root.key]
        made["sequence"] = {
            "key": item.key,
            "row": item.row,
            "start": item.start,
            **asdict(item.record),
            "seconds": item.duration,
            "bytes": root.bytes,
            "joint_sets": [asdict(found) for found in joint_ranges(item, joint_set)],
        }
    else:
        made["tree"] = _node_object(root, depth)
    return made


def _node_object(node: Node, depth: int | None) -> dict[str, Any]:
    deeper = None if depth is None else depth - 1
    made = {name: getattr(node, name) for name in ("kind", "name", "key", "sequences", "frames", "seconds", "bytes")}
    return {**made, "below": [] if depth == 0 else [_node_object(part, deeper) for part in node.below]}


def duration(seconds: float) -> str:
    """In the unit a person would choose."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(number: int) -> str:
    """Bytes in the unit a person would choose, as thousands of the one below."""
    amount, unit = float(number), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.95:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
