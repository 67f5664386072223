"""Is a store right? Frames drawn at random, computed again through all vertices in double precision."""

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from h36m_amass.body import model as body_model
from h36m_amass.body import regressor
from h36m_amass.body.families import FAMILIES, BodyKind
from h36m_amass.body.joint_sets import MOTION_CAPTURE, SKELETON, load_sources, num_vertices
from h36m_amass.body.regressor import RegressorError
from h36m_amass.files.npz import NpzError, NpzReader
from h36m_amass.files.paths import Location, shown
from h36m_amass.files.sources import Source
from h36m_amass.recordings.access import open_recordings
from h36m_amass.recordings.recording import AmassError, Header, fit_betas, read_header
from h36m_amass.recordings.resampling import (
    Resampling,
    exact_rate,
    interpolate,
    needed_frames,
    resample,
    resampled_length,
)
from h36m_amass.store.errors import StoreError
from h36m_amass.store.selection import StoredSequence
from h36m_amass.store.store import Store
from h36m_amass.system.progress import Progress

SAMPLED_FRAMES = 500
FRAMES_A_SEQUENCE = 5
BLOCK_FRAMES = 8192
KEPT_BODIES = 4  # body models in memory at a time; sequences of one dataset need few


class Deviations(NamedTuple):
    findings: tuple[str, ...]  # what could not be compared with the full mesh, a line each
    distances: Float64[np.ndarray, "frames joints"]  # from the full mesh, in metres


class _Drawn(NamedTuple):
    sequence: StoredSequence
    frames: Int[np.ndarray, "drawn"]


class Comparison:
    """A store and what it is compared with, all of it there; raises as `verification.store.verify` does."""

    def __init__(
        self,
        store: Store,
        amass_dir: Location,
        support_dir: Path,
        joint_regressor: Path | str | None,
        vertex_map: Path | None,
    ) -> None:
        if joint_regressor is None and store.joint_set.regressor_sha256 == SKELETON:
            joint_regressor = SKELETON
        self._amass_dir, self._support_dir = amass_dir, support_dir
        if store.joint_set.regressor_sha256 == MOTION_CAPTURE:
            raise StoreError("holds imported motion capture, and no mesh to compare it with", store.shown_path)
        (self._source,) = load_sources(joint_regressor, None, support_dir)
        self._options = store.header.options
        self._map = None if vertex_map is None else regressor.load_map(vertex_map, num_vertices([self._source]))
        self._findings: list[str] = []
        sets = [same.name for same in store.header.joint_sets if same.regressor_sha256 == self._source.digest]
        other = f"{store.shown_path}: was built with another"
        if not sets:
            self._findings.append(f"{other} regressor than {self._source.path}")
        if self._map is not None and self._map.sha256 != self._options.get("vertex_map_sha256"):
            self._findings.append(f"{other} vertex map than {vertex_map}, or none")
        self._store = store.with_joint_set(sets[0]) if sets else store
        index = store.index
        columns = index.texts("model"), index.texts("gender"), index["has_dmpls"].tolist()
        self._kinds = sorted({BodyKind(*values) for values in zip(*columns, strict=True)})
        for kind in self._kinds:
            self._require(kind)
        self._body = lru_cache(KEPT_BODIES)(self._load)

    def run(self, sample: int, rng: np.random.Generator, progress: Progress) -> Deviations:
        """Compare about `sample` frames, a few of each sequence that is drawn."""
        joints, num_joints = self._source.joints, len(self._store.skeleton)
        distances = [np.empty((0, num_joints))]
        if joints is None or joints.num_joints == num_joints:
            for kind in self._kinds:
                recorded = self._store.header.body_model_sha256.get(kind.files_key)
                if recorded not in (None, body_model.files_sha256(self._support_dir, kind)):
                    name = self._store.shown_path
                    self._findings.append(f"{name}: was built with another {kind.files_key} body model")
            distances += self._distances(self._draw(sample, rng), progress)
        return Deviations(tuple(self._findings), np.concatenate(distances))

    def _require(self, kind: BodyKind) -> None:
        """Raise an error unless the model of a kind of body is there, and the regressor fits its mesh."""
        if kind.model not in FAMILIES:
            raise StoreError(f"is damaged (its model is {kind.model!r:.50}); build it again", self._store.shown_path)
        family, joints = FAMILIES[kind.model], self._source.joints
        path = body_model.model_path(self._support_dir, kind.gender, family)
        body_model.require_model(self._support_dir, kind.gender, family)
        if kind.has_dmpls:
            dmpls = body_model.dmpl_path(self._support_dir, kind.gender)
            body_model.require(dmpls, body_model.dmpl_origin(kind.gender))
        if joints is None or self._map is not None:
            return
        try:
            with NpzReader(path) as npz:
                vertices = (*npz.header("v_template").shape, 0)[0]
        except NpzError as error:
            raise body_model.BodyModelError(error.reason, path) from error
        digest = self._options.get("vertex_map_sha256")
        if joints.num_vertices != vertices and digest is not None:
            reason = (
                f"was built with a vertex map (SHA-256 {digest!s:.12}...), which its {family.title} recordings need"
            )
            raise RegressorError(f"{reason}; give it with --vertex-map", self._store.shown_path)
        regressor.for_mesh(joints, vertices, self._source.path)

    def _draw(self, sample: int, rng: np.random.Generator) -> dict[str, list[_Drawn]]:
        """Frames of sequences by the recordings that they come from; each frame of a store is as likely."""
        lengths = self._store.index.lengths
        chosen = rng.choice(len(lengths), -(-sample // FRAMES_A_SEQUENCE), p=lengths / lengths.sum())
        drawn: dict[str, list[_Drawn]] = {}
        for row, count in zip(*(a.tolist() for a in np.unique(chosen, return_counts=True)), strict=True):
            sequence = self._store.sequences[row]
            frames = np.unique(rng.integers(0, len(sequence), count * FRAMES_A_SEQUENCE))
            drawn.setdefault(sequence.record.source_path, []).append(_Drawn(sequence, frames))
        return drawn

    def _distances(
        self, drawn: dict[str, list[_Drawn]], progress: Progress
    ) -> Iterator[Float64[np.ndarray, "drawn joints"]]:
        """Distances in the drawn frames of each sequence; a recording that cannot be compared becomes a finding."""
        waiting = dict(drawn)
        progress("compare", 0, len(drawn))
        with TemporaryDirectory() as scratch:
            try:
                for path, source in open_recordings(self._amass_dir, drawn, Path(scratch)):
                    for sequence, frames in waiting.pop(path):
                        try:
                            if isinstance(source, AmassError):
                                raise source
                            exact = self._exact(sequence, frames, source)
                        except (AmassError, NpzError, OSError) as error:
                            self._note(path, error)
                        else:
                            stored = np.stack([sequence.positions_3d[frame] for frame in frames])
                            yield np.linalg.norm(stored - exact, axis=2)
                    progress("compare", len(drawn) - len(waiting), len(drawn))
            except AmassError as error:
                self._findings.append(str(error))
                return
        for path in waiting:
            self._note(path, AmassError("there is no such recording any more"))

    def _note(self, path: str, error: Exception) -> None:
        self._findings.append(f"{shown(self._amass_dir / path)}: {getattr(error, 'reason', None) or error}")

    def _exact(
        self, sequence: StoredSequence, frames: Int[np.ndarray, "drawn"], source: Source
    ) -> Float64[np.ndarray, "drawn joints 3"]:
        """Joints of some frames of a sequence through the full mesh."""
        from h36m_amass.engine.reference import mesh_joints, skeleton_joints

        header = self._header(sequence, source)
        rate = self._options.get("frame_rate")
        target = header.frame_rate if rate is None else Fraction(rate)
        length = resampled_length(header.num_frames, header.frame_rate, target)
        if length != len(sequence):
            raise AmassError(f"gives {length} frames, and the store has {len(sequence)} of it")
        whole = resample(header.num_frames, header.frame_rate, target)
        resampling = Resampling(whole.frame[frames], whole.weight[frames])
        needed = needed_frames(resampling)
        # In the file's own precision: the converter's reader rounds poses to float32.
        with NpzReader(source) as npz:
            names = ["poses", "trans", *(["dmpls"] if header.has_dmpls else [])]
            poses, trans, *dmpls = (_rows(npz, name, needed) for name in names)
        body, joint_regressor = self._body(BodyKind(header.model, header.gender, header.has_dmpls))
        soft_tissue = dmpls[0][:, : body.num_dmpls] if dmpls else None
        posed = fit_betas(header.betas, body.num_betas), poses, trans, soft_tissue
        if joint_regressor is None:
            return interpolate(resampling, needed, skeleton_joints(body, *posed))
        return interpolate(resampling, needed, mesh_joints(body, joint_regressor, *posed))

    def _header(self, sequence: StoredSequence, source: Source) -> Header:
        """What a sequence's recording says, at the frame rate that it was taken to have."""
        for rate in (None, exact_rate(sequence.record.source_frame_rate)):
            header = read_header(source, self._options.get("use_dmpls", True), rate)
            if header.content_digest == sequence.record.content_digest:
                return header
        raise AmassError("is not the recording that the store was built from")

    def _load(self, kind: BodyKind) -> tuple[body_model.BodyModel, regressor.JointRegressor | None]:
        num_dmpls = self._options.get("num_dmpls", 8) if kind.has_dmpls else 0
        num_betas, family = self._options.get("num_betas", 16), FAMILIES[kind.model]
        body = body_model.load(self._support_dir, kind.gender, num_betas, num_dmpls, family)
        joints, path = self._source.joints, self._source.path
        return body, joints and regressor.for_mesh(joints, body.num_vertices, path, self._map)


def _rows(npz: NpzReader, name: str, rows: Int[np.ndarray, "needed"]) -> Float64[np.ndarray, "needed columns"]:
    """Some rows of an array, which is read up to the last of them."""
    chosen, start = [], 0
    for run in npz.rows(name, BLOCK_FRAMES):
        chosen.append(run[rows[(rows >= start) & (rows < start + len(run))] - start])
        start += len(run)
        if start > rows[-1]:
            break
    return np.concatenate(chosen).astype(np.float64)
