"""A store has the same bytes however its build ran: workers, executors, kinds of input, order, an update or none."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import zlib
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h36m_amass import synthetic
from h36m_amass.conversion import feeds, pool, tasks, unpack
from h36m_amass.conversion.builder import build
from h36m_amass.files import tar_reading
from h36m_amass.recordings import folders
from h36m_amass.store.store import Store
from tests.archive_files import SUFFIXES, pack, packed_tree
from tests.scenes import write_dataset


@pytest.fixture(scope="module")
def amass_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up AMASS tree of short recordings. Not to be written to."""
    folder = tmp_path_factory.mktemp("short")
    synthetic.write_amass_tree(folder, seconds=0.3)
    return folder


@pytest.fixture(scope="module")
def straight(amass_dir: Path, support_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The store of the tree's folders, made in this process in one task."""
    path = tmp_path_factory.mktemp("straight") / "store.h5"
    assert build(amass_dir, path, support_dir=support_dir).skipped == ()
    return path.read_bytes()


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks, and batches of archives, of few recordings."""
    monkeypatch.setattr(tasks, "TASK_BYTES", 200_000)
    for module in (unpack, feeds):
        monkeypatch.setattr(module, "BATCH_BYTES", 200_000)


@pytest.fixture(params=["with rapidgzip", "standard library"])
def either_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run once with the extra and once without."""
    if request.param == "standard library":
        monkeypatch.setattr(tar_reading, "_rapidgzip", lambda: None)


@pytest.fixture(scope="module")
def mixed(amass_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same recordings: one dataset in a compressed archive, one in a zip, one in a folder."""
    tree = tmp_path_factory.mktemp("mixed")
    pack(amass_dir / "Invented", tree / "Invented.tar.bz2", ".")
    pack(amass_dir / "Pretend", tree / "Pretend.zip", ".")
    (tree / "Madeup").symlink_to(amass_dir / "Madeup")
    return tree


def nothing_left(folder: Path) -> bool:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("s.h5")) == ["s.h5"]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_of_any_number_of_workers_from_folders_and_archives(
    straight: bytes, mixed: Path, support_dir: Path, tmp_path: Path, small_tasks: None, workers: int
) -> None:
    build(mixed, tmp_path / "s.h5", support_dir=support_dir, workers=workers)
    assert (tmp_path / "s.h5").read_bytes() == straight
    assert nothing_left(tmp_path)


def test_of_small_tasks_in_this_process(
    straight: bytes, amass_dir: Path, support_dir: Path, tmp_path: Path, small_tasks: None
) -> None:
    build(amass_dir, tmp_path / "s.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() == straight
    for sequence in Store(tmp_path / "s.h5").sequences:
        assert zlib.crc32(sequence.positions_3d[:].tobytes()) == sequence.record.checksum


def processes() -> Executor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver"))


class Backwards(ThreadPoolExecutor):
    """Runs nothing until it has been given all tasks, then the last one first."""

    def __init__(self, num_tasks: int) -> None:
        super().__init__(1)
        self._num_tasks, self._held = num_tasks, list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]]()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._held.append((future, fn, args))
        if len(self._held) == self._num_tasks:
            for held, function, arguments in reversed(self._held):
                held.set_result(function(*arguments))
        return future


@pytest.mark.parametrize("make", [lambda: ThreadPoolExecutor(4), processes], ids=["threads", "processes"])
def test_of_an_executor(
    straight: bytes,
    mixed: Path,
    support_dir: Path,
    tmp_path: Path,
    small_tasks: None,
    make: Callable[[], Executor],
) -> None:
    with make() as executor:
        build(mixed, tmp_path / "s.h5", support_dir=support_dir, executor=executor)
    assert (tmp_path / "s.h5").read_bytes() == straight
    assert nothing_left(tmp_path)


def test_of_tasks_that_end_in_the_opposite_order(
    straight: bytes, mixed: Path, support_dir: Path, tmp_path: Path, small_tasks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "TASK_BYTES", 1)
    made, num_tasks = tasks.make_tasks, list[int]()

    def counting(*arguments: Any) -> list[tasks.Task]:
        num_tasks.append(2 + len(result := made(*arguments)))  # and the archives
        return result

    monkeypatch.setattr("h36m_amass.conversion.builder.make_tasks", counting)
    build(mixed, tmp_path / "s.h5", support_dir=support_dir)
    assert num_tasks[0] > 4
    build(mixed, tmp_path / "s.h5", support_dir=support_dir, overwrite=True, executor=Backwards(num_tasks[0]))
    assert (tmp_path / "s.h5").read_bytes() == straight


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_of_archives_of_any_kind_and_nothing_is_unpacked(
    straight: bytes,
    amass_dir: Path,
    support_dir: Path,
    tmp_path: Path,
    suffix: str,
    small_tasks: None,
    either_library: None,
) -> None:
    tree = packed_tree(amass_dir, tmp_path / "packed", suffix)
    before = sorted(tmp_path.rglob("*"))
    report = build(tree, tmp_path / "s.h5", support_dir=support_dir)
    assert report.skipped == ()
    assert (tmp_path / "s.h5").read_bytes() == straight
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "s.h5"])


def test_of_files_that_are_listed_in_another_order(
    straight: bytes, amass_dir: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, scandir = random.Random(1), os.scandir

    def shuffled(folder: str) -> Any:
        with scandir(folder) as entries:
            listed = list(entries)
        chance.shuffle(listed)
        return nullcontext(iter(listed))

    monkeypatch.setattr(folders.os, "scandir", shuffled)
    build(amass_dir, tmp_path / "s.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() == straight


@pytest.mark.parametrize("missing", ["Invented", "Madeup", "Pretend"])
def test_of_an_update_of_a_store_that_lacked_a_dataset(
    straight: bytes, mixed: Path, support_dir: Path, tmp_path: Path, missing: str
) -> None:
    tree = tmp_path / "amass"
    tree.mkdir()
    for source in mixed.iterdir():
        if not source.name.startswith(missing):
            (tree / source.name).symlink_to(source)
    build(tree, tmp_path / "s.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() != straight
    report = build(mixed, tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert report.changes is not None
    assert (report.changes.changed, report.changes.gone) == (0, 0)
    assert (tmp_path / "s.h5").read_bytes() == straight


def test_of_a_recording_alone_and_among_others(
    straight: bytes, amass_dir: Path, support_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "all.h5").write_bytes(straight)
    for sequence in Store(tmp_path / "all.h5").sequences[::5]:
        target = tmp_path / sequence.record.sequence / sequence.record.source_path
        target.parent.mkdir(parents=True)
        shutil.copy(amass_dir / sequence.record.source_path, target)
        build(tmp_path / sequence.record.sequence, tmp_path / "s.h5", support_dir=support_dir, overwrite=True)
        (alone,) = Store(tmp_path / "s.h5").sequences
        assert alone.record == sequence.record
        np.testing.assert_array_equal(alone.positions_3d[:], sequence.positions_3d[:])


def test_folders_and_archives_with_an_inner_folder_give_the_same_joints_under_their_own_paths(
    straight: bytes, amass_dir: Path, support_dir: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "inner"
    tree.mkdir()
    pack(amass_dir / "Invented", tree / "Invented.tar.bz2", "Invented")
    pack(amass_dir / "Pretend", tree / "Pretend.zip", "./Pretend")
    (tmp_path / "straight.h5").write_bytes(straight)
    build(tree, tmp_path / "s.h5", support_dir=support_dir)
    inner, plain = Store(tmp_path / "s.h5"), Store(tmp_path / "straight.h5")
    assert [s.key for s in inner.sequences] == [s.key for s in plain.sequences if s.record.dataset != "Madeup"]
    for sequence in inner.sequences:
        assert sequence.record.source_path.startswith(f"{sequence.record.dataset}/{sequence.record.dataset}/")
        np.testing.assert_array_equal(plain[sequence.key].positions_3d[:], sequence.positions_3d[:])


def test_threads_that_decompress_wait_while_the_workers_are_behind(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in scratch files is bounded, and nothing of it is left."""
    paths = [path for name in "ABC" for path in write_dataset(tmp_path / "amass", name, 6, frames=40)]
    build(tmp_path / "amass", tmp_path / "straight.h5", support_dir=support_dir)
    tree = packed_tree(tmp_path / "amass", tmp_path / "packed", ".tar.gz", ".tar.bz2", ".tar.xz")
    held: list[int] = []
    submit = pool.Pool.submit

    def watched(self: pool.Pool, job: tasks.Job, task: tasks.Task) -> Future[tasks.TaskResult]:
        held.append(sum(path.stat().st_size for path in job.parts_dir.glob("scratch-*")))
        return submit(self, job, task)

    monkeypatch.setattr(pool.Pool, "submit", watched)
    monkeypatch.setattr("h36m_amass.conversion.builder.TASKS_AHEAD", 0)  # one batch that waits, at most
    monkeypatch.setattr(feeds, "usable_cores", lambda: 2)
    for module in (unpack, feeds):
        monkeypatch.setattr(module, "BATCH_BYTES", 1)
    build(tree, tmp_path / "s.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "straight.h5").read_bytes()
    assert len(held) == len(paths)
    # One waits, and each of two threads has one more in the making.
    assert max(held) <= 4 * max(path.stat().st_size for path in paths)
    assert nothing_left(tmp_path)
