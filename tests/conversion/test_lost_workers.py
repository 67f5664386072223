"""Workers that die: their recordings run one by one, the bytes are the same, and one that kills again is skipped."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from h36m_amass.conversion import feeds, pool, tasks, unpack, worker
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.options import BuildError
from h36m_amass.conversion.pool import MAX_DEATHS, WorkerError
from h36m_amass.conversion.tasks import Job, Task, TaskResult
from h36m_amass.store.store import Store
from h36m_amass.system.disk import SpaceError
from tests import deadly
from tests.archive_files import packed_tree
from tests.deadly import deaths_left, make_deadly
from tests.scenes import write_dataset

RECORDINGS = 6


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recordings in tasks of two, and workers that may die of them."""
    for module in (unpack, feeds):
        monkeypatch.setattr(module, "BATCH_BYTES", 120_000)
    monkeypatch.setattr(tasks, "TASK_BYTES", 130_000)
    monkeypatch.setattr(pool, "run_task", deadly.run_or_die)
    write_dataset(tmp_path / "amass", "D", RECORDINGS, frames=40)
    make_deadly(tmp_path / "amass", {})
    return tmp_path / "amass"


def packed(tree: Path) -> Path:
    """The tree as an archive, of whose recordings workers die, too."""
    return packed_tree(tree, tree.with_name("packed"), ".tar.bz2")


def as_it_is(tree: Path) -> Path:
    return tree


@pytest.mark.parametrize("source", [as_it_is, packed])
def test_recordings_of_dead_processes_run_again_and_the_bytes_are_the_same(
    tree: Path, support_dir: Path, tmp_path: Path, undisturbed: bytes, source: Callable[[Path], Path]
) -> None:
    make_deadly(tree, {"0000": 1, "0003": 1})
    report = build(source(tree), tmp_path / "s.h5", support_dir=support_dir, workers=2)
    assert deaths_left(tree) == 0
    assert report.skipped == ()
    assert (tmp_path / "s.h5").read_bytes() == undisturbed
    assert not (tmp_path / "s.h5.parts").exists()


@pytest.mark.parametrize("source", [as_it_is, packed])
def test_only_the_recording_that_kills_again_is_skipped_and_the_next_build_tries_it_again(
    tree: Path, support_dir: Path, tmp_path: Path, undisturbed: bytes, source: Callable[[Path], Path]
) -> None:
    make_deadly(tree, {"0002": 9})
    amass_dir = source(tree)
    report = build(amass_dir, tmp_path / "s.h5", support_dir=support_dir, workers=2)
    (skipped,) = report.skipped
    assert (skipped.dataset, skipped.path) == ("D", "D/S/0002.npz")
    assert f"{MAX_DEATHS} worker processes died while converting it, perhaps because memory ran out" in skipped.reason
    assert deaths_left(tree) == 9 - MAX_DEATHS
    assert len(Store(tmp_path / "s.h5").sequences) == RECORDINGS - 1
    assert not (tmp_path / "s.h5.parts").exists()
    make_deadly(tree, {})
    again = build(amass_dir, tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert again.skipped == ()
    assert (tmp_path / "s.h5").read_bytes() == undisturbed


def test_strict_ends_at_a_recording_that_kills_and_keeps_the_rest(
    tree: Path, support_dir: Path, tmp_path: Path, undisturbed: bytes
) -> None:
    make_deadly(tree, {"0005": 9})
    with pytest.raises(BuildError, match=r"0005\.npz: 2 worker processes died.*--strict"):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, workers=1, strict=True)
    make_deadly(tree, {})
    assert build(tree, tmp_path / "s.h5", support_dir=support_dir).reused >= RECORDINGS - 1
    assert (tmp_path / "s.h5").read_bytes() == undisturbed


def test_a_gpu_that_fails_ends_its_worker_and_no_recording_is_blamed(
    tree: Path, support_dir: Path, tmp_path: Path, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "run_task", deadly.run_or_lose_the_device)
    monkeypatch.setattr(pool, "MAX_LOSSES", 3)
    monkeypatch.setattr(pool, "TASKS_AHEAD", 1)
    make_deadly(tree, {"0000": 2, "0002": 2})
    assert build(tree, tmp_path / "s.h5", support_dir=support_dir, workers=1).skipped == ()
    assert deaths_left(tree) == 0
    assert (tmp_path / "s.h5").read_bytes() == undisturbed
    make_deadly(tree, dict.fromkeys(("0000", "0002", "0004"), 9))
    with pytest.raises(WorkerError, match="GPUs failed 3 times in a row; use --device cpu"):
        build(tree, tmp_path / "t.h5", support_dir=support_dir, workers=1)


def start_badly(*_: object) -> None:
    os._exit(1)


def test_workers_that_never_get_to_work_are_one_clear_error(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "start_worker", start_badly)
    with pytest.raises(WorkerError, match="end as soon as they start"):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, workers=1)
    assert not list(tmp_path.glob("s.h5*"))
    assert_none_is_left()


def disk_is_full(job: Job, task: Task) -> TaskResult:
    """In a worker, when it has converted and before it reports."""
    worker.run_task(job, task)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_workers_end_when_the_disk_is_full(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "run_task", disk_is_full)
    with pytest.raises(SpaceError):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, workers=2)
    assert_none_is_left()


def assert_none_is_left() -> None:
    deadline = time.monotonic() + 10
    while multiprocessing.active_children():
        assert time.monotonic() < deadline, "a worker outlives its build"
        time.sleep(0.01)


def test_workers_take_devices_in_turn(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "run_task", deadly.run_and_report)
    monkeypatch.setattr("h36m_amass.conversion.builder.resolve_devices", lambda *_: ("cpu", "cpu:0"))
    monkeypatch.setattr(tasks, "TASK_BYTES", 1)
    build(tree, tmp_path / "s.h5", support_dir=support_dir, workers=2)
    of_process = {process: device for device, process in deadly.reported_devices(tree)}
    assert len(deadly.reported_devices(tree)) == RECORDINGS
    assert len(set(deadly.reported_devices(tree))) == len(of_process)  # each has one
    assert set(of_process.values()) <= {"cpu", "cpu:0"}
    assert len(of_process) < 2 or set(of_process.values()) == {"cpu", "cpu:0"}


class Losing(ThreadPoolExecutor):
    """Loses a task of a deadly recording, a given number of times, as an executor whose process died does."""

    def __init__(self, deaths: dict[str, int]) -> None:
        super().__init__(1)
        self.deaths = deaths

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
        for file in arguments[1].files:
            if self.deaths.get(file.sequence, 0) > 0:
                self.deaths[file.sequence] -= 1
                future: Future[Any] = Future()
                future.set_exception(BrokenExecutor("gone"))
                return future
        return super().submit(call, *arguments, **keywords)


def test_recordings_that_an_executor_loses_are_given_to_it_one_by_one(
    tree: Path, support_dir: Path, tmp_path: Path, undisturbed: bytes
) -> None:
    with Losing({"0000": 1, "0004": 1}) as executor:
        report = build(tree, tmp_path / "s.h5", support_dir=support_dir, executor=executor)
    assert report.skipped == ()
    assert (tmp_path / "s.h5").read_bytes() == undisturbed
    with Losing({"0003": 99}) as executor:
        report = build(tree, tmp_path / "s.h5", support_dir=support_dir, executor=executor, overwrite=True)
    (skipped,) = report.skipped
    assert skipped.path == "D/S/0003.npz"
    assert "worker processes died while converting it" in skipped.reason


def test_an_executor_that_cancels_is_one_clear_error(tree: Path, support_dir: Path, tmp_path: Path) -> None:
    class Cancelling(ThreadPoolExecutor):
        def submit(self, *_: Any, **__: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.cancel()
            return future

    with pytest.raises(WorkerError, match="have lost a task; run the same command again"):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, executor=Cancelling(1))


def test_an_executor_that_takes_nothing_any_more_is_one_clear_error(
    tree: Path, support_dir: Path, tmp_path: Path
) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(WorkerError, match="takes no more work"):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, executor=executor)


def test_workers_without_main_guard_are_never_started_by_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    pool.end_in_bootstrap()
    assert ended == [1]
