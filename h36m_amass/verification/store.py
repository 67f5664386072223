"""Is a store whole, and does it agree with the full mesh?

It compares a store's bytes with its footer, its index with its frames and views, and each sequence with its checksum
and with a body, whose bones do not stretch. `h36m_amass.verification.mesh` computes frames of the recordings again.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
from isal.isal_zlib import crc32

from h36m_amass.files.paths import Location, parse, shown
from h36m_amass.store import extents, footer
from h36m_amass.store.errors import StoreError
from h36m_amass.store.format import header_attributes
from h36m_amass.store.header import DAMAGE, joint_set_group, opened
from h36m_amass.store.selection import StoredSequence
from h36m_amass.store.store import Store
from h36m_amass.system.progress import Progress, Stages, nothing
from h36m_amass.verification.mesh import SAMPLED_FRAMES, Comparison, Deviations

_log = logging.getLogger(__name__)

MAX_DIFFERENCE = 1e-5  # metres between a store and the full mesh in float64: several times what float32 gives
STRETCH = 4.0
"""A bone between regressed joints changes with the pose, by tens of percent and in contortions to twice its length."""
SHORTEST_BONE = 0.02  # metres: the length of a bone between joints that lie closer says nothing
BLOCK_FRAMES = 8192


@dataclass(frozen=True)
class Verification:
    """What `verify` found: the faults, a line each, and how much was checked."""

    findings: tuple[str, ...]
    sequences: int
    frames: int
    compared_frames: int  # computed again through the full mesh
    largest: float  # metres between those joints and the store's, NaN if there were none
    percentile_99_9: float


def verify(
    store: Store | Path | str | Location,
    *,
    quick: bool = False,
    against: Path | str | Location | None = None,
    support_dir: Path | str = "support_data",
    joint_regressor: Path | str | None = None,
    vertex_map: Path | str | None = None,
    sample: int = SAMPLED_FRAMES,
    seed: int = 0,
    progress: Progress = nothing,
) -> Verification:
    """Look for anything wrong with a store.

    Parameters
    ----------
    store
        A file that `h36m_amass.build` wrote, its URL, or the store that was opened from it.
    quick
        Do not read the frames, so checksums, views, values and bone lengths are not checked.
    against
        The AMASS folder that it was built from: `sample` frames drawn at random, by `seed`, are computed again through
        the full mesh in double precision.
    support_dir, joint_regressor, vertex_map
        As for `h36m_amass.build`, but one regressor, or ``"skeleton"``: the joint set that was built with it is
        compared. Without one it is the skeleton, if that is the store's first set.
    progress
        Called with ``"checksum"`` and megabytes of the store; ``"verify"``, the frames done and all of them; and
        ``"compare"`` and the sequences that frames were drawn from.

    Raises `h36m_amass.errors.H36mAmassError` if there is no such file, or something that comparing needs is missing;
    before anything is checked.
    """
    path, stages = store.path if isinstance(store, Store) else parse(store), Stages(_log)
    try:
        verified = Store(path)
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise
        damage = () if quick else _footer_findings(path, progress)
        return Verification((*damage, str(error)), 0, 0, 0, math.nan, math.nan)
    with verified:
        comparison = None
        if against is not None:
            map_path = None if vertex_map is None else Path(vertex_map)
            comparison = Comparison(verified, parse(against), Path(support_dir), joint_regressor, map_path)
        findings = list(_index_findings(verified))
        if not quick:
            findings += _content_findings(verified, progress)
        stages.ended("looked at %d sequences", len(verified.sequences))
        deviations = Deviations((), np.empty((0, 0)))
        if comparison is not None:
            deviations = comparison.run(sample, np.random.default_rng(seed), progress)
            stages.ended("computed %d joints through the full mesh", deviations.distances.size)
        findings += deviations.findings
        largest, percentile = math.nan, math.nan
        if deviations.distances.size:
            largest, percentile = (float(np.percentile(deviations.distances, q)) for q in (100, 99.9))
            if not largest <= MAX_DIFFERENCE:
                findings.append(f"{shown(path)}: differs from the full mesh by up to {largest:.3g} m; build it again")
        num_frames, compared = verified.num_frames, len(deviations.distances)
        return Verification(tuple(findings), len(verified.sequences), num_frames, compared, largest, percentile)


def _footer_findings(path: Location, progress: Progress) -> tuple[str, ...]:
    try:
        footer.check_all(path, lambda done, size: progress("checksum", done // 10**6, size // 10**6))
    except footer.FooterError as error:
        return (f"{shown(path)}: {error}; build it again",)
    return ()


def _index_findings(store: Store) -> Iterator[str]:
    keys = [store.names(row) for row in range(len(store.sequences))]
    for row, (before, after) in enumerate(pairwise(keys)):
        if after <= before:
            yield f"{store.shown_path}: rows {row} and {row + 1} of its index are out of order, at {'/'.join(after)}"
    if not math.isnan(store.frame_rate) and (store.index["frame_rate"] != store.frame_rate).any():
        yield f"{store.shown_path}: its sequences are not all at {store.frame_rate:g} Hz, as its header says"


def _content_findings(store: Store, progress: Progress) -> Iterator[str]:
    """What is wrong with a store's bytes, with what they say of each other, and with its frames."""
    damage = _footer_findings(store.path, progress)
    yield from damage
    if not damage:
        # HDF5 keeps what views and attributes are made of in heaps, and some damage there makes it hang or crash.
        try:
            yield from _structure_findings(store)
        except StoreError as error:
            yield str(error)
    for name in store.joint_sets:
        with store.with_joint_set(name) as same:
            yield from _frame_findings(same, progress)


def _structure_findings(store: Store) -> Iterator[str]:
    """Attributes, extents and views that are not what header, chunks and index say."""
    name = store.shown_path
    with opened(store.path) as (file, *_):
        for key, value in header_attributes(store.header).items():
            try:
                attribute = file.attrs[key]
                is_same = attribute == value or (attribute != attribute and value != value)  # NaN
            except DAMAGE:
                is_same = False
            if not is_same:
                yield f"{name}: its attribute {key} is not what its header says"
        for joint_set in store.joint_sets:
            group = joint_set_group(file, joint_set, store.joint_sets)
            listed, expected = group.get("extents"), extents.of_chunks(group["positions_3d"])
            if listed is not None and not (expected is not None and np.array_equal(listed, np.array(expected))):
                yield f"{name}: the extents of its joint set {joint_set} are not those of its chunks"
        for sequence in store.sequences:
            try:
                finding = _view_finding(file[f"sequences/{sequence.key}/positions_3d"], sequence)
            except DAMAGE as error:
                finding = f"is missing or damaged ({error})"
            if finding is not None:
                yield f"{name}: the view of {sequence.key} {finding}"


def _view_finding(view: h5py.Dataset, sequence: StoredSequence) -> str | None:
    """What is wrong with the view of a sequence, if anything is."""
    (source,) = view.virtual_sources()
    if (source.file_name, source.dset_name.strip("/")) != (".", "positions_3d"):
        return f"takes its values from {source.file_name}:{source.dset_name}"
    (begin, *_), (last, *_) = source.src_space.get_select_bounds()
    if (begin, last + 1, view.shape[0]) != (sequence.start, sequence.start + len(sequence), len(sequence)):
        return f"shows rows {begin} to {last + 1}, and the index says {sequence.start} on"
    return None


def _frame_findings(store: Store, progress: Progress) -> Iterator[str]:
    """Sequences whose positions are not what was written, or cannot be a body's."""
    for sequence in store.sequences:
        progress("verify", sequence.start, store.num_frames)
        try:
            yield from _sequence_findings(store, sequence)
        except StoreError as error:
            yield f"{sequence.key}: {error}"
    progress("verify", store.num_frames, store.num_frames)


def _sequence_findings(store: Store, sequence: StoredSequence) -> Iterator[str]:
    name = f"{store.shown_path}: {sequence.key}"
    checksum, finite = 0, True
    parents = [joint if parent < 0 else parent for joint, parent in enumerate(store.skeleton.parents)]
    shortest, longest = np.full(len(parents), np.inf), np.zeros(len(parents))
    for start in range(0, len(sequence), BLOCK_FRAMES):
        positions = sequence.positions_3d[start : start + BLOCK_FRAMES]
        checksum = crc32(positions.data, checksum)
        bad = ~np.isfinite(positions).all(axis=(1, 2))
        if finite and bad.any():
            finite = False
            yield f"{name}: frame {start + int(np.argmax(bad))} holds values that are not numbers"
        with np.errstate(invalid="ignore", over="ignore"):
            lengths = np.linalg.norm(positions - positions[:, parents], axis=2)
        shortest, longest = np.minimum(shortest, lengths.min(axis=0)), np.maximum(longest, lengths.max(axis=0))
    if checksum != sequence.record.checksum:
        yield f"{name}: its positions do not have the checksum of the index; build it again"
    stretched = longest > STRETCH * np.maximum(shortest, SHORTEST_BONE)
    if finite and stretched.any():
        joint = int(np.argmax(stretched))
        extremes = f"is from {shortest[joint]:.3f} to {longest[joint]:.3f} m long"
        yield f"{name}: the bone to {store.joint_names[joint]} {extremes}; bones do not stretch so"
