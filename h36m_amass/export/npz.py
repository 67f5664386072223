"""Export a store as the npz dictionaries of the AMASS-to-3DHPE script (Einfalt et al., WACV 2023)."""

import filecmp
import logging
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from h36m_amass.datasets import DatasetError, choose
from h36m_amass.errors import H36mAmassError
from h36m_amass.export import pickles
from h36m_amass.skeleton import joint_order as resolve_joint_order
from h36m_amass.store.errors import UnknownKeyError
from h36m_amass.store.selection import StoredSequence
from h36m_amass.store.space import store_bytes
from h36m_amass.store.store import DatasetView, Store
from h36m_amass.system import atomic_file, disk
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
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write one ``DATASET.npz`` per dataset, which existing training code reads unchanged.

    ``numpy.load(path, allow_pickle=True)["positions_3d"].item()`` is ``{subject: {sequence: {"positions_3d":
    float32 (frames, joints, 3), "frame_rate": float}}}``, in NumPy 1.17 and newer. A second array, ``joint_regressor``,
    is the name of the regressor that the joints come from. A file of that name that differs is replaced with
    `overwrite` alone, once the new one is whole; without it nothing is written. The same store gives the same bytes.

    Parameters
    ----------
    store, joint_set
        A store or its path, and of a path the name of the joint set to export; None for the first.
    out_dir
        Folder to write to; made if it is not there.
    datasets
        Names of the datasets to export, see `h36m_amass.datasets.choose`; all of them if empty.
    joint_order
        One of `h36m_amass.skeleton.JOINT_ORDERS`.
    progress
        Called with the number of frames exported so far, and of all.

    Returns the files, in the order of the store's datasets. Raises `h36m_amass.errors.H36mAmassError` if the store
    cannot be read or lacks a dataset, the joint order does not fit, a dataset's name cannot be a file's, or there is
    too little room. Files that are whole by then stay.
    """
    if not isinstance(store, Store):
        with Store(store, joint_set) as opened:
            return export_npz(
                opened, out_dir, datasets=datasets, joint_order=joint_order, overwrite=overwrite, progress=progress
            )
    order = list(resolve_joint_order(joint_order, store.skeleton))
    exported = [store[name] for name in chosen_datasets(store, datasets)]
    out_dir = Path(out_dir)
    paths = [out_dir / _file_name(dataset.name) for dataset in exported]
    make_folder(out_dir)
    total, done, stages = sum(dataset.num_frames for dataset in exported), 0, Stages(_log)
    needed = store_bytes(total, len(order), sum(len(dataset.sequences) for dataset in exported))
    disk.require(needed, out_dir, str(out_dir))

    def note(frames: int) -> None:
        nonlocal done
        done += frames
        if progress is not None:
            progress(done, total)

    note(0)
    with disk.guarded(needed, out_dir, str(out_dir)):
        # Files that may differ come first, so that this is known before anything has changed.
        for dataset, path in sorted(
            zip(exported, paths, strict=True), key=lambda pair: not (overwrite or pair[1].exists())
        ):
            _write(path, _dictionary(dataset, order, note), store.joint_set.regressor, overwrite)
            stages.ended("wrote %s: %d frames", path, dataset.num_frames)
    return paths


def chosen_datasets(store: Store, names: Sequence[str]) -> tuple[str, ...]:
    """Those of a store's datasets that any of the names means, or all of them if there are none."""
    try:
        return choose(names, store.datasets) if names else store.datasets
    except DatasetError as error:
        raise UnknownKeyError(str(error), store.shown_path) from error


def make_folder(folder: Path) -> None:
    """Make a folder to export to, unless it exists."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"cannot be made a folder ({error.strerror})", folder) from error


def _dictionary(dataset: DatasetView, order: list[int], note: Callable[[int], None]) -> dict[str, Any]:
    def entry(sequence: StoredSequence) -> dict[str, Any]:
        def positions() -> np.ndarray:
            read = np.ascontiguousarray(sequence.positions_3d[:][:, order])
            note(len(sequence))
            return read

        return {"positions_3d": pickles.LazyArray(positions), "frame_rate": float(sequence.frame_rate)}

    return {
        subject: {name: entry(sequence) for name, sequence in sequences.items()}
        for subject, sequences in dataset.items()
    }


def _write(path: Path, dictionary: dict[str, Any], regressor: str, overwrite: bool) -> None:
    """What ``numpy.savez(path, positions_3d=dictionary, joint_regressor=regressor)`` writes, except its pickles."""
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    check = partial(_require_same, path, overwrite)
    with atomic_file.written(path, check=check) as file, zipfile.ZipFile(file, "w") as archive:
        with archive.open(zipfile.ZipInfo("positions_3d.npy"), "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            pickles.dump(pickles.ObjectArray(dictionary), member)
        with archive.open(zipfile.ZipInfo("joint_regressor.npy"), "w") as member:
            np.lib.format.write_array(member, np.array(regressor))


def _require_same(path: Path, overwrite: bool, written: Path) -> None:
    """Raise `ExportError` if another file is there, and may not be replaced."""
    if path.exists() and not overwrite and not filecmp.cmp(path, written, shallow=False):
        raise ExportError(
            "is there already and differs; replace it with --overwrite, or export to another folder", path
        )


def _file_name(dataset: str) -> str:
    """``DATASET.npz``, if that stays inside the folder it is written to."""
    if Path(dataset).name != dataset or "\0" in dataset or "\\" in dataset:
        raise ExportError(f"dataset {dataset!r} cannot be the name of a file; export the others with --dataset")
    return f"{dataset}.npz"
