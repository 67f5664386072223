"""Export a store as the clips that MotionBERT's pretraining reads (Zhu et al., ICCV 2023).

What a clip is follows the code at https://github.com/Walter0807/MotionBERT: ``tools/convert_amass.py`` (axes, scale,
length, stride, names of files and what is in one), ``lib/utils/utils_data.py`` (how clips are cut, and the order of the
joints, from those that its mirror image swaps) and ``lib/data/dataset_motion_3d.py`` (how files are found and read).
"""

import csv
import logging
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from h36m_amass.body.joint_sets import MOTION_CAPTURE
from h36m_amass.export import pickles
from h36m_amass.export.npz import ExportError, chosen_datasets, make_folder
from h36m_amass.skeleton import SkeletonError, joint_order
from h36m_amass.store.selection import StoredSequence
from h36m_amass.store.space import store_bytes
from h36m_amass.store.store import Store
from h36m_amass.system import disk
from h36m_amass.system.atomic_file import SUFFIX, sync
from h36m_amass.system.lock import locked
from h36m_amass.system.progress import Stages
from h36m_amass.system.signals import stop_flag

CLIP_LENGTH, STRIDE, FRAME_RATE = 243, 81, 60.0  # frames of a clip, frames from one to the next, and hertz
_log = logging.getLogger(__name__)

SCALE = np.float32(0.298)  # clip units a metre
REAL_TO_CAMERA = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)  # ``xyz @ REAL_TO_CAMERA`` is (x, -z, y)

TRAIN, TEST, LIST = "train", "test", "clips.csv"
_WORK = f"{TRAIN}{SUFFIX}"
_COLUMNS = ("clip", "dataset", "subject", "sequence", "start", "frames", "joint_regressor")
_CLIP_NAME = re.compile(r"[0-9]{8,}\.pkl")


@dataclass(frozen=True)
class MotionBertExport:
    """Clips that an export wrote into `folder`, their sequences, and the number of sequences shorter than a clip."""

    folder: Path
    clips: int
    sequences: int
    too_short: int


@dataclass(frozen=True)
class _Clip:
    sequence: StoredSequence
    start: int
    frames: int  # of the sequence that it shows; fewer than a clip has if they are stretched


def export_motionbert(
    store: Store | Path | str,
    out_dir: Path | str,
    *,
    datasets: Sequence[str] = (),
    joint_set: str | None = None,
    clip_length: int = CLIP_LENGTH,
    stride: int = STRIDE,
    frame_rate: float = FRAME_RATE,
    stretch_short: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> MotionBertExport:
    """Write one pickle per clip, ``OUT_DIR/train/00000000.pkl`` and so on, as MotionBERT's pretraining reads them.

    A file holds ``{"data_input": None, "data_label": float32 (clip_length, 17, 3)}``: a motion as a camera sees it (see
    `to_camera`), with the pelvis where it is in the world, and the joints in the order ``h36m``, right leg before left.
    It loads in Python 3.7 or newer, with any NumPy. In MotionBERT's configuration, OUT_DIR is a folder of `data_root`
    that `subset_list` names: ``data/motion3d/MB3D_f243s81/AMASS``.

    Clips of a sequence start at its frames ``0, stride, 2 stride, ...`` and end within it; what is left over at its end
    has no clip, and a sequence shorter than a clip has none, unless `stretch_short`. They are numbered in the order of
    the store. Beside ``train`` there are ``clips.csv``, which lists the sequence and frames of each clip, and an
    empty ``test``: MotionBERT lists that folder, too, and stops where there is none.

    A ``train`` that an earlier export left is replaced, once the new one is whole: no clip of the old one stays. An
    export that is stopped leaves it as it was. The same store and options give the same bytes.

    MotionBERT's own scripts differ in this:

    - they take every k-th frame, k = round(rate / 60), so that a recording at 100 Hz becomes one at 50 Hz that counts
      as 60 Hz; a store that was built at 60 Hz is at 60 Hz, and has recordings at 59.94 Hz if it was built with
      ``upsample``;
    - they cut recordings in pieces of 2916 frames, to fit them into memory, and no clip goes from one to the next. The
      clips that they cut are all among those here, as 2916 is a multiple of the stride 81;
    - they make one clip of a shorter sequence, too, and draw at random which frames come twice.
      `stretch_short` does that to sequences, without chance;
    - they skip recordings without ``dmpls``, and pose neutral bodies with the female model.

    Neither skips clips because of how much moves in them.

    Parameters
    ----------
    store, joint_set
        A store of the 17 Human3.6M joints, or its path, and of a path the name of the joint set; None for the first.
    out_dir
        Folder to write to; made if it is not there.
    datasets
        Names of the datasets to export, see `h36m_amass.datasets.choose`; all of them if empty.
    clip_length, stride
        Frames of a clip, and frames of a sequence from one clip to the next.
    frame_rate
        Frame rate in hertz that the sequences must have, because nothing is resampled here.
    stretch_short
        Give each sequence that is shorter than a clip one clip of all its n frames, some of them several times: the
        clip's frame i is its frame floor(i n / clip_length). That motion is slower than it was.
    progress
        Called with the number of clips written so far, and of all.

    Raises `h36m_amass.errors.H36mAmassError` if the store cannot be read or lacks a dataset, a number is not positive,
    the joints are not those of Human3.6M, a sequence is at another rate, there is no clip at all, `out_dir` cannot be
    made, its ``train`` holds what no export wrote, another process is exporting to it, or there is too little room.
    """
    if not isinstance(store, Store):
        with Store(store, joint_set) as opened:
            numbers: Any = {"clip_length": clip_length, "stride": stride, "frame_rate": frame_rate}
            return export_motionbert(
                opened, out_dir, datasets=datasets, stretch_short=stretch_short, progress=progress, **numbers
            )
    for name, value in (("clip length", clip_length), ("stride", stride)):
        if value < 1:
            raise ExportError(f"{name} must be at least 1, not {value}; give a number of frames")
    order, out_dir, stages = _joint_order(store), Path(out_dir), Stages(_log)
    sequences = [sequence for name in chosen_datasets(store, datasets) for sequence in store[name].sequences]
    _require_rate(store, sequences, frame_rate)
    clips = _clips(sequences, clip_length, stride, stretch_short)
    if not clips:
        reason = f"no sequence is as long as a clip of {clip_length} frames; ask for shorter ones"
        raise ExportError(reason, store.shown_path)
    make_folder(out_dir)
    needed = store_bytes(len(clips) * clip_length, len(order), len(clips))
    work = out_dir / _WORK
    if work.is_symlink():
        work.unlink()
    with disk.guarded(needed, out_dir, str(out_dir)), locked(work, out_dir):
        _remove(work / "old", work / TRAIN, work / LIST)  # of an export that was killed
        _require_replaceable(out_dir)
        disk.require(needed, out_dir, str(out_dir))
        try:
            _write_clips(work, clips, clip_length, order, progress)
            stages.ended("wrote %d clips", len(clips))
            with stop_flag():  # a signal waits until old and new are exchanged
                _move_into_place(work, out_dir)
            stages.ended("moved them into place: %s", out_dir / TRAIN)
        finally:
            _remove(work / TRAIN, work / LIST)
        _remove(work / "old")
    exported = {clip.sequence.row for clip in clips}
    return MotionBertExport(out_dir / TRAIN, len(clips), len(exported), len(sequences) - len(exported))


def _write_clips(
    work: Path, clips: list[_Clip], clip_length: int, order: np.ndarray, progress: Callable[[int, int], None] | None
) -> None:
    """Write all clips and their list, and wait until they are on the disk: the system writes most of them at once."""
    train, frames = work / TRAIN, np.arange(clip_length)
    train.mkdir()
    with (work / LIST).open("x", encoding="utf-8", newline="") as listed:
        rows = csv.writer(listed, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for number, clip in enumerate(clips):
            positions = clip.sequence.positions_3d[clip.start : clip.start + clip.frames]
            shown = frames * clip.frames // clip_length  # all of them in turn, unless it is to be stretched
            motion = pickles.LazyArray(partial(to_camera, positions[np.ix_(shown, order)]))
            with (train / f"{number:08d}.pkl").open("wb") as file:
                pickles.dump({"data_input": None, "data_label": motion}, file)
            names = clip.sequence.store.names(clip.sequence.row)
            rows.writerow(
                (f"{number:08d}.pkl", *names, clip.start, clip.frames, clip.sequence.store.joint_set.regressor)
            )
            if progress is not None:
                progress(number + 1, len(clips))
    for path in (*train.iterdir(), train, work / LIST):
        sync(path)


def to_camera(positions_3d: Float32[np.ndarray, "frames joints 3"]) -> Float32[np.ndarray, "frames joints 3"]:
    """Positions in metres with z up, (x, y, z), as MotionBERT's camera sees them: 0.298 (x, -z, y).

    A quarter turn about x, and no mirror image. The inverse is ``clip / SCALE @ REAL_TO_CAMERA.T``.
    """
    camera: np.ndarray = positions_3d @ REAL_TO_CAMERA * SCALE
    return camera


def _joint_order(store: Store) -> np.ndarray:
    try:
        return np.array(joint_order("h36m", store.skeleton))
    except SkeletonError as error:
        others = [joint_set.name for joint_set in store.header.joint_sets if joint_set.skeleton.is_h36m]
        lacks = f"its joint set {store.joint_set.name} does not have the 17 joints of Human3.6M, which MotionBERT needs"
        advice = f"use --joint-set {others[0]}" if others else "build a store with SPIN's regressor"
        raise ExportError(f"{lacks}; {advice}", store.shown_path) from error


def _require_rate(store: Store, sequences: list[StoredSequence], frame_rate: float) -> None:
    rates = sorted({sequence.frame_rate for sequence in sequences})
    if all(np.isclose(rate, frame_rate, rtol=1e-9, atol=0) for rate in rates):
        return
    if len(rates) == 1:
        has, advice = f"is at {rates[0]:g} Hz", f"say --frame-rate {rates[0]:g} to have them at that"
    else:
        has = f"has {len(rates)} frame rates, {rates[0]:g} to {rates[-1]:g} Hz"
        advice = "export datasets of one rate with --dataset and --frame-rate"
    if store.joint_set.regressor_sha256 != MOTION_CAPTURE:  # which no build makes
        advice = f"build a store with -r {frame_rate:g}, or {advice}"
    raise ExportError(f"{has}, and the clips are to be at {frame_rate:g} Hz; {advice}", store.shown_path)


def _clips(sequences: list[StoredSequence], clip_length: int, stride: int, stretch_short: bool) -> list[_Clip]:
    clips = []
    for sequence in sequences:
        starts = range(0, len(sequence) - clip_length + 1, stride)
        clips += [_Clip(sequence, start, clip_length) for start in starts]
        if stretch_short and not starts:
            clips.append(_Clip(sequence, 0, len(sequence)))
    return clips


def _require_replaceable(out_dir: Path) -> None:
    """Refuse to touch a ``train`` that holds what no export wrote."""
    train = out_dir / TRAIN
    if not os.path.lexists(train):
        return
    if not train.is_dir():
        raise ExportError("is not a folder; move it away, or export to another folder", train)
    names = [entry.name for entry in train.iterdir()]
    others = [name for name in names if not _CLIP_NAME.fullmatch(name)]
    if others:
        raise ExportError(f"holds {min(others)!r}, which MotionBERT would read as a clip; move it away", train)
    if names and not (out_dir / LIST).is_file():
        reason = f"holds clips, and no {LIST} beside it says that an export made them; export to another folder"
        raise ExportError(reason, train)


def _move_into_place(work: Path, out_dir: Path) -> None:
    """Exchange the old for the new; clips and a list that do not belong together are there at no moment."""
    (out_dir / TEST).mkdir(exist_ok=True)
    if os.path.lexists(out_dir / TRAIN):
        (out_dir / TRAIN).rename(work / "old")
    (work / LIST).replace(out_dir / LIST)
    (work / TRAIN).rename(out_dir / TRAIN)
    sync(out_dir)


def _remove(*paths: Path) -> None:
    """Remove files, folders with what is in them, and links without what they lead to, those that are there."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
