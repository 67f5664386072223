"""Is a store whole, and does it agree with the full mesh?

Everything that a store says is held against something else that it says: its bytes against its seal, its index
against its frames and views, each sequence against its checksum and against a body, whose bones do not stretch.
With the recordings at hand, frames drawn at random are computed again through all vertices, in double precision.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from isal.isal_zlib import crc32
from jaxtyping import Float32, Float64

from h36m_amass.body import model as body_model
from h36m_amass.body import regressor
from h36m_amass.body.joint_sets import SKELETON, JointSource, load_sources, num_vertices
from h36m_amass.body.families import BodyKind
from h36m_amass.system.progress import Progress
from h36m_amass.conversion.preparation import model_key
from h36m_amass.engine.reference import mesh_joints, skeleton_joints
from h36m_amass.files.npz import NpzError, NpzReader, Source
from h36m_amass.files.remote import Address, RemoteFile, place
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.resampling import Resampling, interpolate, needed_frames, resample, resampled_length
from h36m_amass.recordings.sources import Sources, held_files
from h36m_amass.recordings.tree import SequenceFile
from h36m_amass.store import data_files
from h36m_amass.store import footer as sealing
from h36m_amass.store.rows import StoreError
from h36m_amass.store.store import Sequence, Store
from h36m_amass.store.units import read_units
from h36m_amass.system.progress import Stages
from h36m_amass.verification.view_check import view_findings

_log = logging.getLogger(__name__)

MAX_DIFFERENCE = 1e-5
"""Metres between a store and the full mesh in double precision: several times what float32 gives."""
SAMPLED_FRAMES = 500
FRAMES_A_SEQUENCE = 5
STRETCH = 4.0
"""A bone between regressed joints changes with the pose, by tens of percent and in contortions to twice its length."""
SHORTEST_BONE = 0.02
"""Metres: joints that lie closer are no bone whose length tells anything."""
BLOCK_FRAMES = 8192


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes
    ----------
    findings
        What is wrong, a line each; none if all is well.
    sequences, frames
        How many were looked at.
    compared_frames
        How many were computed again through the full mesh.
    largest, percentile_99_9
        Distance in metres between those joints and the store's; NaN if there were none.
    """

    findings: tuple[str, ...]
    sequences: int
    frames: int
    compared_frames: int
    largest: float
    percentile_99_9: float


def verify(
    store: Path | str | Address,
    *,
    quick: bool = False,
    against: Path | str | Address | None = None,
    support_dir: Path | str = "support_data",
    joint_regressor: Path | str | None = None,
    vertex_map: Path | str | None = None,
    sample: int = SAMPLED_FRAMES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verification:
    """Look for anything wrong with a store.

    Parameters
    ----------
    store
        A file that `h36m_amass.build` wrote.
    quick
        Whether reading the frames is skipped: then checksums, values and bone lengths are not looked at.
    against
        The AMASS folder that it was built from: `sample` frames drawn at random are computed again through the full
        mesh in double precision.
    support_dir, joint_regressor, vertex_map
        As for `h36m_amass.build`, but one regressor, or ``"skeleton"``: the joint set that was built with it is
        compared. Without one it is the skeleton, if that is the store's first set.
    sample
        How many frames.
    seed
        Of the drawing; another one draws others.
    progress
        Called with ``"seal"`` and megabytes of the store; ``"verify"``, the frames done and all of them; ``"archives"``
        and megabytes of those that the recordings lie in; ``"compare"`` and the sequences that frames were drawn from.

    Raises
    ------
    h36m_amass.store.rows.StoreError
        There is no such file.
    h36m_amass.body.model.BodyModelError, h36m_amass.body.regressor.RegressorError
        Something that comparing needs is missing.
    """
    path, report = place(store), progress or (lambda stage, done, total: None)
    stages = Stages(_log)
    findings: list[str] = []
    sealed = quick
    if not path.is_file():
        raise StoreError(f"{path}: there is no such store; make one with h36m-amass build")
    if not quick:
        try:
            findings += _seal_findings(path, report)
        except StoreError as error:
            findings.append(str(error))
        sealed = not findings
        stages.ended("%s: compared with its seal", path)
    try:
        verified = Store(path)
        _ = read_units(path)
    except StoreError as error:
        return Verification(tuple(dict.fromkeys((*findings, str(error)))), 0, 0, 0, float("nan"), float("nan"))
    with verified:
        findings += _index_findings(verified)
        if sealed:
            findings += view_findings(verified)
        if not quick:
            findings += _frame_findings(verified, report)
            for name in verified.joint_sets[1:]:
                with verified.with_joint_set(name) as other:
                    findings += _frame_findings(other, report)
        stages.ended("looked at %d sequences", len(verified.sequences))
        distances, compared_store = np.empty(0), verified
        if against is not None:
            support_dir = Path(support_dir)
            if joint_regressor is None and verified.joint_set.regressor_sha256 == SKELETON:
                joint_regressor = SKELETON
            (source,) = load_sources(joint_regressor, None, support_dir)
            own = next((own for own in verified.header.joint_sets if own.regressor_sha256 == source.digest), None)
            if own is None:
                findings.append(f"{path}: was built with another regressor than {source.path}")
            compared_store = verified if own is None else verified.with_joint_set(own.name)
            map_path = None if vertex_map is None else Path(vertex_map)
            mesh = _Mesh(compared_store, place(against), support_dir, source, map_path, findings)
            distances = mesh.distances(sample, np.random.default_rng(seed), report)
            stages.ended("computed %d joints through the full mesh", distances.size)
        largest, percentile = (
            (float(distances.max()), float(np.percentile(distances, 99.9))) if distances.size else (float("nan"),) * 2
        )
        if distances.size and not largest <= MAX_DIFFERENCE:
            findings.append(f"{path}: differs from the full mesh by up to {largest:.3g} m; build it again")
        compared = distances.size // len(compared_store.skeleton)
        return Verification(
            tuple(findings), len(verified.sequences), verified.num_frames, compared, largest, percentile
        )


def _seal_findings(path: Path | Address, progress: Progress) -> Iterator[str]:
    """What has changed in a store's file, or in its data files if there are any."""
    # HDF5 is asked for the data files only once the index is known to be what was written.
    found = list(_seal_finding(path, lambda done, size: progress("seal", done // 10**6, size // 10**6)))
    yield from found
    if found:
        return
    files: list[data_files.PlacedFile] = []
    for record in data_files.listed(path):
        try:
            files += data_files.placed(path, [record])
        except StoreError as error:
            yield str(error)
    total, before = sum(own.record.bytes for own in files), 0
    for own in files:
        yield from _seal_finding(own.path, partial(_tell, progress, before, total))
        before += own.record.bytes


def _tell(progress: Progress, before: int, total: int, done: int, _: int) -> None:
    progress("seal", (before + done) // 10**6, total // 10**6)


def _seal_finding(path: Path | Address, progress: Callable[[int, int], None]) -> Iterator[str]:
    try:
        sealing.check_all(path, progress)
    except sealing.SealError as error:
        yield f"{path}: {error}; build it again"


def _index_findings(store: Store) -> Iterator[str]:
    """What `Store` does not look at when it opens."""
    keys = [store.names(row) for row in range(len(store.sequences))]
    for row, (before, after) in enumerate(pairwise(keys)):
        if after <= before:
            yield f"{store.path}: rows {row} and {row + 1} of its index are out of order, at {'/'.join(after)}"
    for sequence in store.sequences:
        record = sequence.record
        if not record.source_path.startswith(f"{record.dataset}/"):
            yield f"{store.path}: {record.key} says that it comes from {record.source_path}, another dataset"


def _frame_findings(store: Store, progress: Progress) -> Iterator[str]:
    """Sequences whose positions are not what was written, or cannot be a body's."""
    done = 0
    for sequence in store.sequences:
        progress("verify", done, store.num_frames)
        try:
            yield from _sequence_findings(store, sequence)
        except StoreError as error:
            yield f"{sequence.key}: {error}"
        done += len(sequence)
    progress("verify", done, store.num_frames)


def _sequence_findings(store: Store, sequence: Sequence) -> Iterator[str]:
    where = f"{store.path}: {sequence.key}"
    checksum, finite = 0, True
    shortest = np.full(len(store.skeleton), np.inf)
    longest = np.zeros(len(store.skeleton))
    for start in range(0, len(sequence), BLOCK_FRAMES):
        positions = sequence.positions_3d[start : start + BLOCK_FRAMES]
        checksum = crc32(positions.data, checksum)
        bad = ~np.isfinite(positions).all(axis=(1, 2))
        if finite and bad.any():
            finite = False
            yield f"{where}: frame {start + int(np.argmax(bad))} holds values that are no numbers"
        lengths = _bone_lengths(positions, store.skeleton.parents)
        shortest, longest = np.minimum(shortest, lengths.min(axis=0)), np.maximum(longest, lengths.max(axis=0))
    if checksum != sequence.record.checksum:
        yield f"{where}: its positions do not have the checksum of the index; build it again"
    stretched = longest > STRETCH * np.maximum(shortest, SHORTEST_BONE)
    if finite and stretched.any():
        joint = int(np.argmax(stretched))
        yield (
            f"{where}: the bone to {store.joint_names[joint]} is from {shortest[joint]:.3f} to {longest[joint]:.3f} m "
            "long; bones do not stretch so"
        )


def _bone_lengths(
    positions: Float32[np.ndarray, "frames joints 3"], parents: tuple[int, ...]
) -> Float32[np.ndarray, "frames joints"]:
    """Distance of each joint to its parent, 0 for one without."""
    of = np.array([joint if parent < 0 else parent for joint, parent in enumerate(parents)])
    with np.errstate(invalid="ignore", over="ignore"):
        lengths: np.ndarray = np.linalg.norm(positions - positions[:, of], axis=2)
    return lengths


class _Mesh:
    """Frames of a store, computed again through the full mesh.

    Parameters
    ----------
    findings
        Where what is wrong with recordings and models is put.
    """

    def __init__(
        self,
        store: Store,
        amass_dir: Path | Address,
        support_dir: Path,
        source: JointSource,
        vertex_map: Path | None,
        findings: list[str],
    ) -> None:
        self._store, self._amass_dir, self._support_dir, self._findings = store, amass_dir, support_dir, findings
        self._options = store.header.options
        self._source = source
        self._map = None if vertex_map is None else regressor.load_map(vertex_map, num_vertices([source]))
        if self._map is not None and self._map.sha256 != self._options.get("vertex_map_sha256"):
            findings.append(f"{store.path}: was built with another vertex map than {vertex_map}, or with none")
        self._bodies: dict[BodyKind, tuple[body_model.BodyModel, regressor.JointRegressor | None]] = {}

    def distances(self, sample: int, rng: np.random.Generator, progress: Progress) -> Float64[np.ndarray, "distances"]:
        """Metres between each joint of the store and the mesh's, in frames drawn at random."""
        joints = self._source.joints
        if joints is not None and joints.num_joints != len(self._store.skeleton):
            return np.empty(0)
        lengths = self._store.index.lengths
        drawn = rng.choice(len(lengths), -(-sample // FRAMES_A_SEQUENCE), p=lengths / lengths.sum())
        rows, counts = np.unique(drawn, return_counts=True)
        found = [np.empty(0)]
        paths = [self._store.sequences[row].record.source_path for row in rows.tolist()]
        try:
            held = held_files(self._amass_dir, paths, progress)
        except amass.AmassError as error:
            self._findings.append(str(error))
            return np.empty(0)
        with Sources(self._amass_dir, [held[path] for path in paths if path in held]) as sources:
            for done, (row, count) in enumerate(zip(rows.tolist(), counts.tolist(), strict=True)):
                progress("compare", done, len(rows))
                sequence = self._store.sequences[row]
                frames = np.unique(rng.integers(0, len(sequence), count * FRAMES_A_SEQUENCE))
                try:
                    exact = self._exact(sequence, frames, held.get(sequence.record.source_path), sources)
                except (amass.AmassError, NpzError, OSError) as error:
                    self._findings.append(f"{self._amass_dir / sequence.record.source_path}: {error}")
                    continue
                stored = np.stack([sequence.positions_3d[frame] for frame in frames])
                found.append(np.linalg.norm(stored - exact, axis=2).ravel())
        progress("compare", len(rows), len(rows))
        return np.concatenate(found)

    def _exact(
        self, sequence: Sequence, frames: np.ndarray, held: SequenceFile | None, sources: Sources
    ) -> Float64[np.ndarray, "frames joints 3"]:
        record = sequence.record
        if held is None and isinstance(self._amass_dir, Address):
            raise amass.AmassError("is not there any more")
        path = Path(f"{self._amass_dir}/{record.source_path}")
        source: Source = path
        if held is not None:
            source = held.member if isinstance(held.member, RemoteFile) else sources[held]
        header = amass.read_header(source, self._options.get("use_dmpls", True))
        size = path.stat().st_size if held is None else held.size
        if header.num_frames != record.source_frames or size != record.source_size:
            raise amass.AmassError("is not the recording that the store was built from")
        body, joint_regressor = self._body(BodyKind(header.model, header.gender, header.has_dmpls))
        rate = self._options.get("frame_rate")
        target = header.frame_rate if rate is None else Fraction(rate)
        length = resampled_length(header.num_frames, header.frame_rate, target)
        if length != len(sequence):
            raise amass.AmassError(f"gives {length} frames, and the store has {len(sequence)} of it")
        whole = resample(header.num_frames, header.frame_rate, target)
        resampling = Resampling(whole.frame[frames], whole.weight[frames])
        needed = needed_frames(resampling)
        # In the file's own precision: the converter's reader rounds poses to float32.
        with NpzReader(source) as npz:
            names = ["poses", "trans", *(["dmpls"] if header.has_dmpls else [])]
            poses, trans, *dmpls = (_rows(npz, name, needed) for name in names)
        betas = amass.fit_betas(header.betas, body.num_betas)
        soft_tissue = dmpls[0][:, : body.num_dmpls] if dmpls else None
        if joint_regressor is None:
            joints = skeleton_joints(body, betas, poses, trans, soft_tissue)
        else:
            joints = mesh_joints(body, joint_regressor, betas, poses, trans, soft_tissue)
        return interpolate(resampling, needed, joints)

    def _body(self, kind: BodyKind) -> tuple[body_model.BodyModel, regressor.JointRegressor | None]:
        if kind not in self._bodies:
            family, num_betas = body_model.FAMILIES[kind.model], self._options.get("num_betas", 16)
            num_dmpls = self._options.get("num_dmpls", 8) if kind.has_dmpls else 0
            body = body_model.load(self._support_dir, kind.gender, num_betas, num_dmpls, family)
            joint_regressor = self._source.for_mesh(body.num_vertices, self._map)
            key = model_key(family, kind.gender)
            recorded = self._store.header.body_model_sha256.get(key)
            # A gender's record covers its DMPLs, if any of its recordings has them.
            if recorded not in (body.sha256, None) and (kind.has_dmpls or not family.has_dmpls):
                self._findings.append(f"{self._store.path}: was built with another {key} body model")
            self._bodies[kind] = body, joint_regressor
        return self._bodies[kind]


def _rows(npz: NpzReader, name: str, rows: np.ndarray) -> Float64[np.ndarray, "rows columns"]:
    """Some rows of an array, which is read as far as the last of them."""
    wanted, start = [], 0
    for run in npz.rows(name, BLOCK_FRAMES):
        wanted.append(run[rows[(rows >= start) & (rows < start + len(run))] - start])
        start += len(run)
        if start > rows[-1]:
            break
    return np.concatenate(wanted).astype(np.float64)
