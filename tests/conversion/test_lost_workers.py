"""Workers that die: their units run again, the bytes are the same, and what kills whoever takes it is left out."""

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

from h36m_amass.conversion import crews, planning, workers
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.crews import WorkerError
from h36m_amass.conversion.options import BuildError
from h36m_amass.conversion.part import UNFINISHED_SUFFIX
from h36m_amass.conversion.scheduling import LOSSES_AMONG_OTHERS, MOST_DEATHS, MOST_RETURNS
from h36m_amass.conversion.shards import Shard
from h36m_amass.store.store import Store
from h36m_amass.system.disk import SpaceError
from tests.deadly import convert_or_die, make_deadly
from tests.scenes import write_dataset

UNITS = 6


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recordings that make `UNITS` units, and workers that may die of them."""
    monkeypatch.setattr(planning, "UNIT_SOURCE_FRAMES", 200)
    monkeypatch.setattr(workers, "convert_unit", convert_or_die)
    write_dataset(tmp_path / "amass", "D", UNITS, frames=420)
    make_deadly(tmp_path / "amass", {})
    return tmp_path / "amass"


@pytest.fixture
def undisturbed(tree: Path, support_dir: Path, tmp_path: Path) -> bytes:
    build(tree, tmp_path / "undisturbed.h5", support_dir=support_dir)
    return (tmp_path / "undisturbed.h5").read_bytes()


def test_units_of_dead_processes_run_again_and_the_bytes_are_the_same(
    tree: Path, support_dir: Path, tmp_path: Path, undisturbed: bytes
) -> None:
    make_deadly(tree, {0: 1, 3: MOST_DEATHS - 1})
    report = build(tree, tmp_path / "s.h5", support_dir=support_dir, workers=2)
    assert report.left_out == ()
    assert (tmp_path / "s.h5").read_bytes() == undisturbed
    assert not (tmp_path / "s.h5.parts").exists()


def test_shards_whose_workers_die_give_the_same_bytes(
    tree: Path, support_dir: Path, tmp_path: Path, undisturbed: bytes
) -> None:
    store = tmp_path / "s.h5"
    make_deadly(tree, dict.fromkeys(range(UNITS), 1))
    for number in (2, 1):
        report = build(tree, store, support_dir=support_dir, workers=2, shard=Shard(number, 2))
        assert report.left_out == ()
    make_deadly(tree, dict.fromkeys(range(UNITS), 99))  # nothing is converted again
    build(tree, store, support_dir=support_dir, workers=2)
    assert store.read_bytes() == undisturbed


def test_what_a_shard_gives_up_is_tried_again_when_the_store_is_put_together(
    tree: Path, support_dir: Path, tmp_path: Path, undisturbed: bytes
) -> None:
    store = tmp_path / "s.h5"
    make_deadly(tree, {0: 99})
    reports = [build(tree, store, support_dir=support_dir, workers=1, shard=Shard(number, 2)) for number in (1, 2)]
    (whose,) = (Shard(number, 2) for number, report in enumerate(reports, 1) if report.left_out)
    with pytest.raises(BuildError, match=r"its worker died 3 times.*which --strict forbids"):
        build(tree, store, support_dir=support_dir, workers=1, shard=whose, strict=True)
    make_deadly(tree, {})
    assert build(tree, store, support_dir=support_dir).left_out == ()
    assert store.read_bytes() == undisturbed


def test_only_the_unit_that_kills_every_worker_is_left_out_and_the_next_build_tries_it_again(
    tree: Path, support_dir: Path, tmp_path: Path, undisturbed: bytes
) -> None:
    make_deadly(tree, {2: 99})
    report = build(tree, tmp_path / "s.h5", support_dir=support_dir, workers=2)
    (left,) = report.left_out
    assert left.path == "D/S/0002.npz"
    assert f"died {MOST_DEATHS} times" in left.reason
    assert len(Store(tmp_path / "s.h5").sequences) == UNITS - 1
    with pytest.raises(BuildError, match=r"0002\.npz: .* died 3 times.*--strict forbids"):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, workers=1, overwrite=True, strict=True)
    make_deadly(tree, {})
    again = build(tree, tmp_path / "s.h5", support_dir=support_dir, overwrite=True)
    assert again.reused == UNITS - 1
    assert (tmp_path / "s.h5").read_bytes() == undisturbed


def test_workers_that_never_get_to_work_are_one_clear_error(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "start_worker", make_deadly)  # which fails without its arguments
    with pytest.raises(WorkerError, match="die as soon as they start"):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, workers=1)
    assert not list(tmp_path.glob("s.h5*"))


def disk_is_full(*arguments: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_workers_are_let_go_when_the_disk_is_full_before_they_have_a_unit(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.Workshop, "start", disk_is_full)
    with pytest.raises(SpaceError) as ended:
        build(tree, tmp_path / "s.h5", support_dir=support_dir, workers=2)
    assert_none_is_left(ended.value)


def test_workers_are_let_go_when_the_disk_is_full_twice(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = list[Path]()

    def fail_when_others_have_ended(temporary: Path, path: Path) -> None:
        failed.append(temporary)
        deadline = time.monotonic() + 10
        while len(list(path.parent.glob(f"*{UNFINISHED_SUFFIX}"))) < 4:  # of which two workers are at two
            assert time.monotonic() < deadline
            time.sleep(0.01)
        disk_is_full()

    monkeypatch.setattr(workers, "commit", fail_when_others_have_ended)
    with pytest.raises(SpaceError) as ended:
        build(tree, tmp_path / "s.h5", support_dir=support_dir, workers=2)
    assert len(failed) == 2
    assert_none_is_left(ended.value)


def assert_none_is_left(error: BaseException) -> None:
    """No worker, as long as `error` is held with all that its traceback holds."""
    assert error.__traceback__ is not None
    deadline = time.monotonic() + 10
    while multiprocessing.active_children():
        assert time.monotonic() < deadline, "a worker outlives its build"
        time.sleep(0.05)


class Losing(ThreadPoolExecutor):
    """Loses all that it has whenever it is at a deadly unit, and says nothing of whose fault it was."""

    def __init__(self, deadly: dict[int, int], error: BaseException | None) -> None:
        super().__init__(1)
        self.deadly, self.error, self.given, self.alone = deadly, error, list[tuple[Future[Any], Any]](), 0

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.given.append((future, arguments))
        super().submit(self.work)
        return future

    def work(self) -> None:
        given, self.given = self.given, []
        guilty = [number for _, (_, unit, _, _) in given if self.deadly.get(number := unit.number, 0) > 0]
        for number in guilty:
            self.deadly[number] -= 1
        for future, arguments in given:
            if not guilty:
                future.set_result(convert_or_die(*arguments))
            elif self.error is not None:
                future.set_exception(self.error)
            else:
                future.cancel()
                future.set_running_or_notify_cancel()


@pytest.mark.parametrize("error", [BrokenExecutor("gone"), None])
def test_units_that_an_executor_loses_are_given_to_it_again(
    tree: Path, support_dir: Path, tmp_path: Path, undisturbed: bytes, error: BaseException | None
) -> None:
    with Losing({0: 2, 4: 1}, error) as executor:
        report = build(tree, tmp_path / "s.h5", support_dir=support_dir, executor=executor)
    assert report.left_out == ()
    assert (tmp_path / "s.h5").read_bytes() == undisturbed


@pytest.mark.parametrize("error", [BrokenExecutor("gone"), None])
def test_an_executor_that_loses_a_unit_for_ever_costs_that_unit_alone(
    tree: Path, support_dir: Path, tmp_path: Path, undisturbed: bytes, error: BaseException | None
) -> None:
    with Losing({3: 99}, error) as executor:
        report = build(tree, tmp_path / "s.h5", support_dir=support_dir, executor=executor)
    (left,) = report.left_out
    assert left.path == "D/S/0003.npz"
    times = MOST_RETURNS + LOSSES_AMONG_OTHERS + MOST_DEATHS
    known = f"its workers lost it {times} times without saying why" if error is None else "its worker died 3 times"
    assert f"{known}, perhaps for want of memory; have fewer workers on each machine" in left.reason


def test_an_executor_that_takes_nothing_any_more_is_one_clear_error(
    tree: Path, support_dir: Path, tmp_path: Path
) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(WorkerError, match="takes no more work"):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, executor=executor)


def test_a_worker_that_sees_other_files_is_one_clear_error(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.Workshop, "start", lambda self: None)  # as on another machine, where it has no effect
    with pytest.raises(
        WorkerError, match="does not see this folder; choose a store, or --work-dir, on a disk that all"
    ):
        build(tree, tmp_path / "s.h5", support_dir=support_dir)
