"""Builds on Dask: the same bytes whoever dies, workers of others left as they were, one line for what is missing."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, KilledWorker, LocalCluster
from typer.testing import CliRunner

from h36m_amass.cli import app
from h36m_amass.conversion import dask as dask_crew
from h36m_amass.conversion import planning, workers
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.crews import LOCAL_CLUSTER, deaths_told
from h36m_amass.conversion.dask import DaskError
from h36m_amass.conversion.options import BuildError
from tests.dask_torture import torture
from tests.deadly import convert_or_be_blamed, convert_or_die, make_deadly
from tests.scenes import command, group_of, write_dataset

UNITS = 6
pytestmark = pytest.mark.filterwarnings("default::ResourceWarning", "default::DeprecationWarning")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(planning, "UNIT_SOURCE_FRAMES", 200)
    monkeypatch.setattr(workers, "convert_unit", convert_or_die)
    write_dataset(tmp_path / "amass", "D", UNITS, frames=420)
    make_deadly(tmp_path / "amass", {})
    return tmp_path / "amass"


@pytest.fixture
def undisturbed(tree: Path, support_dir: Path, tmp_path: Path) -> bytes:
    build(tree, tmp_path / "undisturbed.h5", support_dir=support_dir)
    return (tmp_path / "undisturbed.h5").read_bytes()


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A cluster of somebody else, whose workers have two threads each."""
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as own,
    ):
        yield own


def _settings() -> dict[str, Any]:
    """What a worker's signals and torch are like; imported there, for Dask could not take this module's names along."""
    import torch
    from threadpoolctl import threadpool_info

    return {
        "signals": [repr(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "torch": (torch.get_num_threads(), torch.backends.mkldnn.matmul.fp32_precision),
        "numpy": sorted(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"),
    }


def test_a_local_cluster_with_a_worker_that_dies_gives_the_same_bytes(
    tree: Path, support_dir: Path, tmp_path: Path, undisturbed: bytes
) -> None:
    make_deadly(tree, {2: 1})
    report = build(tree, tmp_path / "s.h5", support_dir=support_dir, dask="local", workers=2)
    assert report.left_out == ()
    assert not list((tmp_path / "deadly").iterdir())
    assert (tmp_path / "s.h5").read_bytes() == undisturbed
    assert not (tmp_path / "s.h5.parts").exists()


def test_workers_of_others_give_the_same_bytes_and_are_left_as_they_were(
    client: Any, tree: Path, support_dir: Path, tmp_path: Path, undisturbed: bytes
) -> None:
    before = client.run(_settings)
    build(tree, tmp_path / "at.h5", support_dir=support_dir, dask=client.scheduler.address)
    with client.get_executor() as executor:
        build(tree, tmp_path / "own.h5", support_dir=support_dir, executor=executor)
    assert (tmp_path / "at.h5").read_bytes() == (tmp_path / "own.h5").read_bytes() == undisturbed
    assert client.run(_settings) == before


def test_workers_of_another_version_are_refused_by_name(
    client: Any, tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_crew, "__version__", "99")
    with pytest.raises(DaskError, match=r"this Dask worker has h36m-amass .*; install 99 there"):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, dask=client.scheduler.address)


def test_a_cluster_that_is_killed_and_restarted_gives_the_same_bytes(tmp_path: Path) -> None:
    torture(tmp_path, units=12, blows=1, seed=1, frames=300, workers=1)


def test_a_signal_to_all_of_a_local_cluster_is_the_parents_to_answer(tmp_path: Path, support_dir: Path) -> None:
    write_dataset(tmp_path / "amass", "D", 60, frames=2000)
    store, errors = tmp_path / "s.h5", tmp_path / "errors"
    arguments = ("build", tmp_path / "amass", store, "--support-dir", support_dir, "--dask", "local", "--workers", 2)
    with command(*arguments, unit_frames=2000, errors=errors) as process:
        while not list(tmp_path.glob("s.h5.parts/*.part")):
            assert process.poll() is None, errors.read_text()
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
        deadline = time.monotonic() + 10
        while group_of(process):
            assert time.monotonic() < deadline, "a worker outlives its build"
    assert "the same command goes on from there" in errors.read_text().splitlines()[-1]
    assert "Traceback" not in errors.read_text()
    assert {path.suffix for path in (tmp_path / "s.h5.parts").iterdir()} == {".part"}


def test_ctrl_c_ends_the_wait_for_a_scheduler_that_is_gone(
    client: Any, tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crews, interrupted = list[dask_crew.DaskCrew](), list[float]()
    connected = dask_crew.DaskCrew.__init__

    def remember(crew: dask_crew.DaskCrew, address: str, starting: bool) -> None:
        connected(crew, address, starting)
        crews.append(crew)

    def interrupt() -> None:
        interrupted.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    def refuse(*place: object) -> None:
        if not interrupted:
            threading.Timer(0.3, interrupt).start()
            interrupted.append(time.monotonic())
        raise ConnectionRefusedError

    def lose_scheduler(stage: str, done: int, total: int) -> None:
        if stage == "convert":
            monkeypatch.setattr(socket, "create_connection", refuse)
            crews[0].close()

    monkeypatch.setattr(dask_crew.DaskCrew, "__init__", remember)
    monkeypatch.setattr(dask_crew, "SECONDS_TO_COME_BACK", 10)
    options: dict[str, Any] = {"dask": client.scheduler.address, "progress": lose_scheduler}
    with pytest.raises(KeyboardInterrupt):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, **options)
    assert time.monotonic() - interrupted[-1] < 2


def test_a_unit_that_kills_every_worker_of_dask_is_given_up_with_the_deaths_that_are_known(
    client: Any, tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "convert_unit", convert_or_be_blamed)
    make_deadly(tree, {2: 99})
    report = build(tree, tmp_path / "s.h5", support_dir=support_dir, dask=client.scheduler.address)
    (left,) = report.left_out
    assert left.path == "D/S/0002.npz"
    assert "its worker died 4 times, perhaps for want of memory; have fewer workers on each machine" in left.reason
    assert len(list((tmp_path / "deadly").iterdir())) == 99 - 2  # once among others, once alone


def test_a_local_cluster_tells_of_each_death_and_leaves_the_settings_of_dask_alone() -> None:
    own = dask.config.get("distributed.scheduler.allowed-failures")
    with (
        dask_crew._scheduler(LOCAL_CLUSTER, processes=0) as address,
        Client(address, set_as_default=False) as client,
    ):
        assert client.run_on_scheduler(_allowed_failures) == 0
        assert dask.config.get("distributed.scheduler.allowed-failures") == own


def _allowed_failures(dask_scheduler: Any) -> int:
    return int(dask_scheduler.allowed_failures)


def test_what_dask_says_of_dead_workers_counts_them() -> None:
    assert deaths_told(KilledWorker("key", None, 3)) == 4
    assert deaths_told(ValueError("not about workers")) is None


def test_a_result_that_is_lost_on_its_way_is_no_fault_of_its_unit() -> None:
    class Fake:
        """A future of Dask's that has ended so."""

        def __init__(self, status: str, error: Exception) -> None:
            self.status, self.error = status, error

        def add_done_callback(self, call: Callable[[Any], None]) -> None:
            call(self)

        def exception(self) -> Exception:
            return self.error

        def result(self, timeout: float) -> None:
            raise self.error

    disk_full = OSError(28, "No space left on device")
    assert dask_crew._as_future(Fake("error", disk_full)).exception() is disk_full
    for status in ("finished", "cancelled"):
        lost = dask_crew._as_future(Fake(status, OSError("the scheduler is gone"))).exception()
        assert lost is not None
        assert deaths_told(lost) == 0


def test_no_scheduler_is_one_line_within_some_seconds(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_crew, "SECONDS_TO_CONNECT", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(DaskError, match=f"{address}: no Dask scheduler answers there"):
            build(tree, tmp_path / "s.h5", support_dir=support_dir, dask=address)
    assert time.monotonic() - began < 4
    for wrong in ("nonsense", "ftp://x:1", "tcp://x", ""):
        with pytest.raises(DaskError, match=f"'{wrong}' is no address"):
            build(tree, tmp_path / "s.h5", support_dir=support_dir, dask=wrong)
    assert not list(tmp_path.glob("s.h5*"))


def test_without_the_extra_it_is_named(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DaskError, match=r"pip install 'h36m-amass\[dask\]'"):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, dask="local")


def test_options_that_contradict_dask_are_refused(tree: Path, support_dir: Path, tmp_path: Path, client: Any) -> None:
    for options in (
        {"dask": "tcp://x:1", "workers": 2},
        {"dask": "local", "executor": client.get_executor()},
    ):
        with pytest.raises(BuildError, match=r"workers|one of the two"):
            build(tree, tmp_path / "s.h5", support_dir=support_dir, **options)
    outcome = CliRunner().invoke(app, ["build", str(tree), str(tmp_path / "s.h5"), "--dask", "local", "--workers", "0"])
    assert outcome.exit_code == 2
    assert "--workers 0" in outcome.stderr
