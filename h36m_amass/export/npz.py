"""Export a store as the npz dictionaries of the AMASS-to-3DHPE script (Einfalt et al., WACV 2023)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from h36m_amass.datasets import DatasetError, choose
from h36m_amass.errors import H36mAmassError
from h36m_amass.skeleton import joint_order as resolve_joint_order
from h36m_amass.store.errors import UnknownKeyError
from h36m_amass.store.selection import StoredSequence
from h36m_amass.store.space import store_bytes
from h36m_amass.store.store import DatasetView, Store
from h36m_amass.system import atomic_file as whole_file
from h36m_amass.system import disk as space
from h36m_amass.system.progress import Stages

_log = logging.getLogger(__name__)


class ExportError(H36mAmassError):
    """An export cannot be written."""


def export_npz(
    store: Store | Path | str,
    out_dir: Path | str,
    *,
    datasets: Sequence[str] = (),
    joint_set: str | None = None,
    joint_order: str = "regressor",
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write one ``DATASET.npz`` a dataset, which existing training code reads unchanged.

    ``numpy.load(path, allow_pickle=True)["positions_3d"].item()`` is ``{subject: {sequence: {"positions_3d":
    float32 (frames, joints, 3), "frame_rate": float}}}``. An existing file of that name is replaced, once the new
    one is whole. A dataset at a time is held in memory, as by whoever reads it.

    Parameters
    ----------
    store
        A store or its path.
    out_dir
        Folder to write to; made if it is not there.
    datasets
        Names of the datasets to export, see `h36m_amass.datasets.choose`; all of them if empty.
    joint_set
        Name of the joint set to export, if `store` is a path; None for the first.
    joint_order
        One of `h36m_amass.skeleton.JOINT_ORDERS`.
    progress
        Called with the number of frames exported so far, and of all.

    Returns
    -------
    list of Path
        The files, in the order of the store's datasets.

    Raises
    ------
    h36m_amass.store.store.StoreError
        The store cannot be read, or does not have a dataset that was asked for.
    h36m_amass.skeleton.SkeletonError
        The joint order does not fit the store's joints.
    ExportError
        A dataset's name cannot be a file's, or `out_dir` cannot be made.
    h36m_amass.system.disk.SpaceError
        The disk has too little room. Files that are whole by then stay.
    """
    if not isinstance(store, Store):
        with Store(store, joint_set) as opened:
            return export_npz(opened, out_dir, datasets=datasets, joint_order=joint_order, progress=progress)
    order = list(resolve_joint_order(joint_order, store.skeleton))
    try:
        names = choose(datasets, store.datasets) if datasets else store.datasets
    except DatasetError as error:
        raise UnknownKeyError(f"{store.path}: {error}") from error
    wanted = [store[name] for name in names]
    out_dir = Path(out_dir)
    paths = [out_dir / _file_name(dataset.name) for dataset in wanted]
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{out_dir}: cannot be made a folder ({error.strerror})") from error
    total = sum(dataset.num_frames for dataset in wanted)
    needed = store_bytes(total, len(order), sum(len(dataset.sequences) for dataset in wanted))
    space.require(needed, out_dir, str(out_dir))
    done, stages = 0, Stages(_log)

    def exported(frames: int) -> None:
        nonlocal done
        done += frames
        if progress is not None:
            progress(done, total)

    exported(0)
    with space.guarded(needed, out_dir, str(out_dir)):
        for dataset, path in zip(wanted, paths, strict=True):
            _write(path, _dictionary(dataset, order, exported))
            stages.ended("wrote %s: %d frames", path, dataset.num_frames)
    return paths


def _dictionary(
    dataset: DatasetView, order: list[int], exported: Callable[[int], None]
) -> dict[str, dict[str, dict[str, Any]]]:
    def entry(sequence: StoredSequence) -> dict[str, Any]:
        positions = np.ascontiguousarray(sequence.positions_3d[:][:, order])
        exported(len(sequence))
        return {"positions_3d": positions, "frame_rate": float(sequence.frame_rate)}

    return {
        subject: {name: entry(sequence) for name, sequence in sequences.items()}
        for subject, sequences in dataset.items()
    }


def _write(path: Path, dictionary: dict[str, Any]) -> None:
    with whole_file.written(path) as file:
        np.savez(file, positions_3d=np.array(dictionary, dtype=object))


def _file_name(dataset: str) -> str:
    """``DATASET.npz``, if that stays inside the folder it is written to."""
    if Path(dataset).name != dataset or "\0" in dataset or "\\" in dataset:
        raise ExportError(f"dataset {dataset!r} cannot be the name of a file; export the others with --dataset")
    return f"{dataset}.npz"
