"""Whether the options of a build make sense, each by itself and together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from h36m_amass.conversion.crews import LOCAL_CLUSTER
from h36m_amass.errors import H36mAmassError
from h36m_amass.files.remote import Address
from h36m_amass.store.format import COMPRESSIONS

MAX_BATCH_SIZE = 65536
MIN_SPLIT_SIZE = 10**5
"""A file of a split store takes some tens of kilobytes besides its positions."""


class BuildError(H36mAmassError):
    """A build cannot start or cannot go on; a store that was there is as it was."""


def local_target(store: Path | Address, work_dir: Path | str | None) -> Path:
    """What parts and the unfinished store are named after.

    Raises
    ------
    BuildError
        There is no such place, or `work_dir` has no use.
    """
    if not isinstance(store, Address):
        if work_dir is not None:
            raise BuildError(f"{work_dir}: a store on a disk has its parts beside it; leave --work-dir away")
        return Path(os.path.realpath(store))  # a link stays one
    folder = Path(work_dir or ".").absolute()
    if not folder.is_dir():
        raise BuildError(f"{work_dir}: does not exist, or is no folder; make it first")
    if not store.name:
        raise BuildError(f"{store}: names no file; give one, like {store / 'amass.h5'}")
    return folder / store.name


def check_options(
    store: Path | Address,
    batch_size: int,
    workers: int | None,
    compression: str,
    split_size: int | None,
    max_frames: int,
    replace: bool,
    report_file: Path | str | None,
) -> None:
    """Refuse what no build could be made of, before anything is read; raises `BuildError`."""
    if not 1 <= batch_size <= MAX_BATCH_SIZE:
        raise BuildError(f"batch size {batch_size} is not from 1 to {MAX_BATCH_SIZE}; 4096 is a good one")
    if workers is not None and workers < 0:
        raise BuildError(f"{workers} workers cannot work; give at least one, or 0 to compute in this process")
    if compression not in COMPRESSIONS:
        raise BuildError(f"compression {compression!r} is unknown; choose from {', '.join(COMPRESSIONS)}")
    if split_size is not None and split_size < MIN_SPLIT_SIZE:
        raise BuildError(f"files of {split_size} bytes are too small to split a store into; give at least 100 kB")
    if split_size is not None and not _is_text(store.name if isinstance(store, Address) else os.path.realpath(store)):
        raise BuildError(f"{store}: its name is no UTF-8, which the index of a split store needs; give another name")
    if max_frames < 1:
        raise BuildError(f"recordings of {max_frames} frames at most are none; give at least one")
    if isinstance(store, Path) and not store.absolute().parent.is_dir():
        raise BuildError(f"{store}: its folder does not exist; make it first")
    if store.is_dir():
        raise BuildError(f"{store}: is a folder; give the name of a file, like {store / 'amass.h5'}")
    if not replace and (store.exists() if isinstance(store, Path) else store.is_file()):
        raise BuildError(
            f"{store}: is already there; replace it with --overwrite, bring it up to date with --update, or give "
            "another name"
        )
    if report_file is not None and (Path(report_file).is_dir() or not Path(report_file).absolute().parent.is_dir()):
        raise BuildError(f"{report_file}: is not a file that can be made; give a file in a folder that exists")
    if report_file is not None and isinstance(store, Path) and Path(report_file).resolve() == store.resolve():
        raise BuildError(f"{report_file}: is the store; give the report another name")


def _is_text(path: str) -> bool:
    try:
        Path(path).name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_executor(workers: int | None, executor: Executor | None, dask: str | None, devices: Sequence[str]) -> None:
    """Refuse what does not go together of what says where units run; raises `BuildError`."""
    if len(devices) > 1 and (executor is not None or dask is not None):
        raise BuildError("an executor's or Dask's workers compute on one device each; give one, cuda say")
    if len(devices) > 1 and workers:
        raise BuildError(f"{len(devices)} devices have one process each; leave --workers out")
    if dask is not None and executor is not None:
        raise BuildError("work units run either on an executor or with Dask; give one of the two")
    if dask not in (None, LOCAL_CLUSTER) and workers:
        raise BuildError(f"{dask}: this Dask scheduler has its own workers; leave --workers out, or use --dask local")
