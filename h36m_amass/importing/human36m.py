"""Import Human3.6M's motion capture, and what detectors found in its images, into a store beside those of AMASS.

The files are those that VideoPose3D (Pavllo et al., CVPR 2019) made the custom: ``data_3d_h36m.npz``, a pickled
dictionary of subjects, actions and 32 joints in metres, in a world whose z is up, at 50 Hz; and ``data_2d_h36m_*.npz``,
one of subjects, actions and four cameras. They are read by `h36m_amass.files.unpickling`, which runs nothing.
"""

import hashlib
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from isal.isal_zlib import crc32
from jaxtyping import Float32

from h36m_amass.body.joint_sets import MOTION_CAPTURE
from h36m_amass.datasets import HUMAN36M, HUMAN36M_CAMERAS, HUMAN36M_SUBJECTS
from h36m_amass.errors import H36mAmassError
from h36m_amass.files import unpickling
from h36m_amass.files.npy import content_sha256
from h36m_amass.files.npz import NpzReader
from h36m_amass.files.unpickling import StandIn, UnpicklingError
from h36m_amass.skeleton import H36M, JOINT_ORDERS
from h36m_amass.store.format import NO_MODEL, JointSet, SequenceRecord, StoreHeader
from h36m_amass.store.space import store_bytes
from h36m_amass.store.writer import StoreWriter
from h36m_amass.system import atomic_file, disk
from h36m_amass.system.lock import locked
from h36m_amass.version import __version__

FRAME_RATE = 50.0  # hertz
MOVING = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""Which of Human3.6M's 32 joints move: the 17 of the joint order ``h36m``."""
FROM_H36M = tuple(JOINT_ORDERS["h36m"].index(joint) for joint in range(len(H36M)))
"""Where each joint of a store is in the order ``h36m``."""
FROM_32 = tuple(MOVING[joint] for joint in FROM_H36M)
FARTHEST = 100.0  # metres from the origin that a person can be; Human3.6M's stay within 5
LONGEST_NAME = 200  # characters of the name of an action; Human3.6M's have 15
SYMMETRY = [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]]  # left and right in the order h36m, as detections state it
_FILES = {"positions_3d": "data_3d_h36m.npz", "positions_2d": "data_2d_h36m_*.npz"}
_log = logging.getLogger(__name__)
_Key: TypeAlias = tuple[str, str]  # subject and action
_Arrays: TypeAlias = Mapping[_Key, np.ndarray]


class Human36mError(H36mAmassError):
    """A file is not one of Human3.6M's, or the store cannot be written."""


@dataclass(frozen=True)
class Human36mImport:
    """What an import has written."""

    path: Path
    sequences: int
    frames: int
    cut: Mapping[str, int]
    """Frames of detections after the end of the motion capture, which were dropped, by ``SUBJECT/ACTION/CAMERA``."""
    without_3d: tuple[str, ...]
    """``SUBJECT/ACTION`` of detections without motion capture, which were not imported."""


def import_human36m(
    data_3d: Path | str,
    store: Path | str,
    *,
    detections: Path | str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Human36mImport:
    """Write a store of Human3.6M's motion capture, which is read as one of AMASS is.

    The dataset is ``Human36M``; subjects and actions keep their names: ``store["Human36M/S1/Walking 1"]``. Of the 32
    joints the 17 that move are kept, bit by bit, in the order of stores, left leg first.

    Parameters
    ----------
    data_3d
        ``data_3d_h36m.npz``.
    store
        Store to write; it is there whole or not at all.
    detections
        ``data_2d_h36m_gt.npz``, ``data_2d_h36m_cpn_ft_h36m_dbb.npz`` or another file of the same 17 joints, in pixels
        of the four cameras, for `Store.read_detections`. As VideoPose3D does, frames after the end of the motion
        capture are dropped, and fewer frames than that has are an error.
    overwrite
        Replace a store that exists.
    progress
        Called with the number of frames written so far, and of all.

    Raises
    ------
    h36m_amass.errors.H36mAmassError
        A file is missing, damaged, of another form, or holds a pickle that would run code; 3D poses lack detections;
        the store exists; or the disk has too little room.
    """
    data_3d, store = Path(data_3d), Path(store)
    target = _destination(store, [data_3d, *([detections] if detections is not None else [])], overwrite)
    content, synthetic = _read(data_3d, "positions_3d")
    poses = {key: _array(content[key], "/".join(key), data_3d, (32, 3), FARTHEST) for key in sorted(content)}
    options = {"frame_rate": f"{FRAME_RATE:g}", "data_3d_sha256": content_sha256(data_3d).hex()}
    pixels, cut, without_3d = _detections(Path(detections), poses) if detections is not None else ({}, {}, ())
    if detections is not None:
        digest = content_sha256(Path(detections)).hex()
        options |= {"detections": Path(detections).name, "detections_sha256": digest}
    joint_set = JointSet("h36m", MOTION_CAPTURE, H36M)
    header = StoreHeader(__version__, FRAME_RATE, {}, options, synthetic, (joint_set,))
    temporary, frames, done = atomic_file.unfinished(target), sum(map(len, poses.values())), 0
    needed = store_bytes(frames, len(H36M) * (1 + len(HUMAN36M_CAMERAS) * bool(pixels)), len(poses))
    disk.require(needed, target.parent, str(store))
    with locked(Path(f"{target}.parts"), store), disk.guarded(needed, target.parent, str(store)):
        try:
            writer = StoreWriter(temporary, (joint_set,), cameras=HUMAN36M_CAMERAS if pixels else ())
            with closing(writer):
                for key, positions in poses.items():
                    joints = np.ascontiguousarray(positions[:, FROM_32])
                    writer.append(_record(data_3d, key, positions, joints), [(joints, *pixels.get(key, ()))])
                    done += len(joints)
                    if progress is not None:
                        progress(done, frames)
                writer.finish(header)
            temporary.replace(target)
            atomic_file.sync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)
    return Human36mImport(store, len(poses), frames, cut, without_3d)


def _destination(store: Path, inputs: Iterable[Path | str], overwrite: bool) -> Path:
    """The file to write; a link to it stays one. Raises `Human36mError` if it cannot be written, or not replaced."""
    target = Path(os.path.realpath(store))
    if not target.parent.is_dir():
        raise Human36mError("its folder does not exist; make it first", store)
    if target.is_dir():
        raise Human36mError(f"is a folder; give the name of a file, like {store / 'h36m.h5'}", store)
    if target in [Path(os.path.realpath(path)) for path in inputs]:
        raise Human36mError("is a file to import; give the store another name", store)
    if target.exists() and not overwrite:
        advice = "replace it with --overwrite (in Python, overwrite=True), or import to another file"
        raise Human36mError(f"exists; {advice}", store)
    return target


def _read(path: Path, name: str) -> tuple[dict[_Key, Any], bool]:
    """What a file has of each subject and action, and whether it says that it was made up."""
    with NpzReader(path) as npz:
        if name not in npz:
            raise Human36mError(f"has no array {name!r}; give VideoPose3D's {_FILES[name]}", path)
        pickled, synthetic = npz.pickled(name), "synthetic" in npz
    with _named(path):
        subjects = unpickling.contained(unpickling.load(pickled), name)
    content: dict[_Key, Any] = {}
    for subject, actions in subjects.items() if isinstance(subjects, dict) else ():
        if subject not in HUMAN36M_SUBJECTS or not isinstance(actions, dict):
            known = f"subjects are {', '.join(HUMAN36M_SUBJECTS)}"
            raise Human36mError(f"has {subject!r:.50} where a subject of Human3.6M should be; {known}", path)
        for action, values in actions.items():
            if not _is_name(action):
                reason = f"{subject} has {action!r:.50}, which is not the name of an action"
                raise Human36mError(f"{reason}; give each a name like 'Walking 1'", path)
            content[subject, action] = values
    if not content:
        raise Human36mError(f"its {name} have no subjects; give VideoPose3D's {_FILES[name]}", path)
    return content, synthetic


def _is_name(action: object) -> bool:
    """Whether an action has a name that fits into a key and on a line."""
    if not isinstance(action, str) or not action.isprintable() or action.strip() != action:
        return False
    return 0 < len(action) <= LONGEST_NAME and action not in (".", "..") and "/" not in action


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say which file an error is about."""
    try:
        yield
    except UnpicklingError as error:
        raise Human36mError(error.reason, path) from error


def _array(
    values: Any, name: str, path: Path, shape: tuple[int, int], farthest: float = math.inf
) -> Float32[np.ndarray, "frames joints axes"]:
    """Frames of this shape, finite and within bounds, as float32."""
    with _named(path):
        array = unpickling.value(values, name)
    if array.ndim != 3 or array.shape[1:] != shape or not len(array) or array.dtype.kind != "f":
        form = f"must be floating-point numbers of shape (frames, {shape[0]}, {shape[1]})"
        raise Human36mError(f"{name} is {array.dtype} of shape {array.shape}; it {form}", path)
    with np.errstate(over="ignore"):  # what does not fit becomes infinite
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise Human36mError(f"{name} has a number that is not finite; download the file again", path)
    if np.abs(array).max() > farthest:
        raise Human36mError(f"{name} is up to {np.abs(array).max():g} m away; positions must be metres", path)
    return array


def _check_joints(path: Path) -> None:
    """Raise `Human36mError` unless the metadata of detections say that they are of Human3.6M's 17 joints."""
    name = "keypoints_symmetry"  # lists, tuples or arrays; in data_2d_h36m_gt.npz lists of NumPy's integers

    def listed(values: Any) -> list[Any]:
        return list(values if isinstance(values, list | tuple) else np.atleast_1d(unpickling.value(values, name)))

    with NpzReader(path) as npz, _named(path):
        pickled = npz.pickled("metadata") if "metadata" in npz else None
        metadata = {} if pickled is None else unpickling.contained(unpickling.load(pickled), "metadata")
        if not isinstance(metadata, dict) or name not in metadata:
            reason = f"has no metadata with {name}, which say what its joints are"
            raise Human36mError(f"{reason}; give VideoPose3D's {_FILES['positions_2d']}", path)
        symmetry = [
            [unpickling.value(joint, name).tolist() for joint in listed(side)] for side in listed(metadata[name])
        ]
    if symmetry != SYMMETRY:
        reason = f"its {name} are {symmetry!s:.80}, not the 17 joints of Human3.6M, right leg first"
        raise Human36mError(f"{reason}; give detections whose layout is h36m, not those of COCO", path)


def _detections(path: Path, poses: _Arrays) -> tuple[_Arrays, dict[str, int], tuple[str, ...]]:
    """Detections (cameras, frames, joints, 2) of each sequence in the order of stores, and what is reported of them."""
    content, _ = _read(path, "positions_2d")
    _check_joints(path)
    pixels, cut = dict[_Key, np.ndarray](), dict[str, int]()
    for key, positions in poses.items():
        name = "/".join(key)
        if key not in content:
            raise Human36mError(f"has no detections for {name}; give those of the same recordings", path)
        cameras = content[key]
        if isinstance(cameras, StandIn):
            with _named(path):
                cameras = list(np.atleast_1d(unpickling.value(cameras, name)))
        if not isinstance(cameras, list | tuple) or len(cameras) != len(HUMAN36M_CAMERAS):
            number = len(cameras) if isinstance(cameras, list | tuple) else "no"
            raise Human36mError(f"{name} has {number} cameras; give detections of all {len(HUMAN36M_CAMERAS)}", path)
        arrays = []
        for camera, values in zip(HUMAN36M_CAMERAS, cameras, strict=True):
            array = _array(values, f"{name}/{camera}", path, (len(H36M), 2))
            if len(array) < len(positions):
                reason = f"{name}/{camera} has {len(array)} frames for {len(positions)} 3D poses"
                raise Human36mError(f"{reason}; give detections of all frames", path)
            if len(array) > len(positions):
                frames = cut[f"{name}/{camera}"] = len(array) - len(positions)
                _log.info("%s/%s: %d frames after the end of the 3D poses are dropped", name, camera, frames)
            arrays.append(array[: len(positions), FROM_H36M])
        pixels[key] = np.stack(arrays)
    largest = max(array.max() for array in pixels.values())
    if largest < 2:
        raise Human36mError(f"its detections are up to {largest:g}; they must be pixels, not normalized", path)
    return pixels, cut, tuple("/".join(key) for key in sorted(content.keys() - poses.keys()))


def _record(path: Path, key: _Key, positions: np.ndarray, joints: np.ndarray) -> SequenceRecord:
    """The row of the index of a sequence whose 32 joints are `positions`; no body model had to do with it."""
    return SequenceRecord(
        dataset=HUMAN36M,
        subject=key[0],
        sequence=key[1],
        length=len(joints),
        frame_rate=FRAME_RATE,
        source_frames=len(joints),
        source_frame_rate=FRAME_RATE,
        recorded_frame_rate=FRAME_RATE,
        model=NO_MODEL,
        gender="unknown",
        has_dmpls=False,
        source_path="/".join((path.name, *key)),
        source_size=path.stat().st_size,
        content_digest=hashlib.sha256(np.ascontiguousarray(positions, "<f4").data).hexdigest(),
        checksum=crc32(joints.astype("<f4", copy=False)),
    )
