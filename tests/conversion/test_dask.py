"""Builds on Dask: the same bytes whichever worker dies, workers of others unchanged, one line for what is missing."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from h36m_amass.conversion import dask as dask_module
from h36m_amass.conversion import tasks
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.dask import DaskError
from h36m_amass.conversion.options import BuildError
from tests import deadly
from tests.archive_files import pack
from tests.conftest import Outcome
from tests.deadly import deaths_left, make_deadly
from tests.scenes import command, group_of, write_dataset

RECORDINGS = 6
pytestmark = pytest.mark.filterwarnings("default::ResourceWarning", "default::DeprecationWarning")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recordings in tasks of two, and workers that may die of them."""
    monkeypatch.setattr(tasks, "TASK_BYTES", 130_000)
    monkeypatch.setattr(dask_module, "run_task", deadly.run_or_die)
    write_dataset(tmp_path / "amass", "D", RECORDINGS, frames=40)
    make_deadly(tmp_path / "amass", {})
    return tmp_path / "amass"


def somebodys_cluster() -> LocalCluster:
    return LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    )


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A cluster of somebody else, whose workers have two threads each."""
    with somebodys_cluster() as cluster, Client(cluster, set_as_default=False) as connected:
        yield connected


def _settings() -> dict[str, Any]:
    """What a worker's signals and torch are like; imported there, for Dask could not take this module's names along."""
    import torch
    from threadpoolctl import threadpool_info

    return {
        "signals": [repr(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "torch": (torch.get_num_threads(), torch.backends.mkldnn.matmul.fp32_precision),
        "numpy": sorted(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"),
    }


def test_a_local_cluster_with_a_worker_that_dies_gives_the_same_bytes_of_folders_and_archives(
    tree: Path, support_dir: Path, tmp_path: Path
) -> None:
    write_dataset(tree, "E", 3, frames=40, seed=10)
    build(tree, tmp_path / "undisturbed.h5", support_dir=support_dir)
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "D").symlink_to(tree / "D")
    pack(tree / "E", mixed / "E.tar.bz2", ".")
    make_deadly(mixed, {"0004": 1})  # which is in the folder alone
    report = build(mixed, tmp_path / "s.h5", support_dir=support_dir, dask="local", workers=2)
    assert report.skipped == ()
    assert deaths_left(mixed) == 0
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "undisturbed.h5").read_bytes()
    assert not (tmp_path / "s.h5.parts").exists()


def test_workers_of_others_give_the_same_bytes_and_are_left_as_they_were(
    client: Any, tree: Path, support_dir: Path, tmp_path: Path, undisturbed: bytes
) -> None:
    before = client.run(_settings)
    build(tree, tmp_path / "at.h5", support_dir=support_dir, dask=client.scheduler.address)
    with client.get_executor() as executor:
        build(tree, tmp_path / "executor.h5", support_dir=support_dir, executor=executor)
    assert (tmp_path / "at.h5").read_bytes() == (tmp_path / "executor.h5").read_bytes() == undisturbed
    assert client.run(_settings) == before


def test_workers_of_another_version_are_refused_by_name(
    client: Any, tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_module, "__version__", "99")
    with pytest.raises(DaskError, match=r"this Dask worker has h36m-amass .*; install 99 there"):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, dask=client.scheduler.address)
    assert not list(tmp_path.glob("s.h5*"))


def test_a_recording_that_kills_every_worker_is_skipped_alone(
    client: Any, tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_module, "run_task", deadly.run_or_be_blamed)
    make_deadly(tree, {"0002": 9})
    report = build(tree, tmp_path / "s.h5", support_dir=support_dir, dask=client.scheduler.address)
    (skipped,) = report.skipped
    assert skipped.path == "D/S/0002.npz"
    assert "worker processes died while converting it, perhaps because memory ran out" in skipped.reason
    assert deaths_left(tree) == 9 - 2  # once among others, once alone


def test_a_scheduler_that_is_lost_is_one_line_and_a_rerun_goes_on(
    tree: Path, support_dir: Path, tmp_path: Path, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "TASK_BYTES", 1)
    monkeypatch.setattr(dask_module, "run_task", deadly.run_slowly)
    cluster = somebodys_cluster()

    def lose_scheduler(stage: str, done: int, total: int, name: str = "", /) -> None:
        if list(tmp_path.glob("s.h5.parts/*.part.npz")):
            cluster.close(timeout=5)

    with pytest.raises(DaskError, match=r"scheduler has lost a task .*; run the same command again") as lost:
        build(tree, tmp_path / "s.h5", support_dir=support_dir, dask=cluster.scheduler_address, progress=lose_scheduler)
    assert str(lost.value).count("\n") == 0
    assert "the same command goes on from there" in lost.value.__notes__[0]
    monkeypatch.undo()
    assert build(tree, tmp_path / "s.h5", support_dir=support_dir).reused > 0
    assert (tmp_path / "s.h5").read_bytes() == undisturbed


def test_a_signal_to_all_of_a_local_cluster_is_the_parents_to_answer(tmp_path: Path, support_dir: Path) -> None:
    first = write_dataset(tmp_path / "amass", "D", 1, frames=20_000)[0]
    for number in range(1, 40):
        first.with_name(f"{number:04}.npz").hardlink_to(first)
    store, errors = tmp_path / "s.h5", tmp_path / "errors"
    arguments = ("build", tmp_path / "amass", store, "--support-dir", support_dir, "--dask", "local", "--workers", 2)
    with command(*arguments, task_bytes=1, errors=errors) as process:
        while not list(tmp_path.glob("s.h5.parts/*.part.npz")):
            assert process.poll() is None, errors.read_text()
            time.sleep(0.01)
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
        while group_of(process):
            assert time.monotonic() < began + 10, "a worker outlives its build"
            time.sleep(0.01)
    (line,) = (line for line in errors.read_text().splitlines() if not line.startswith("converting"))
    assert line.startswith("interrupted; ")
    assert "the same command goes on from there" in line
    assert {path.name[-9:] for path in (tmp_path / "s.h5.parts").iterdir()} == {".part.npz"}


def test_no_scheduler_is_one_line_within_some_seconds(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_module, "SECONDS_TO_CONNECT", 0.2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(DaskError, match=f"{url}: no Dask scheduler answers there"):
            build(tree, tmp_path / "s.h5", support_dir=support_dir, dask=url)
    assert time.monotonic() - began < 4
    for wrong in ("nonsense", "ftp://x:1", "tcp://x", ""):
        with pytest.raises(DaskError, match="no Dask scheduler answers there"):
            build(tree, tmp_path / "s.h5", support_dir=support_dir, dask=wrong)
    assert not list(tmp_path.glob("s.h5*"))


def test_without_the_extra_it_is_named(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DaskError, match=r"pip install 'h36m-amass\[dask\]'"):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, dask="local")


def test_options_that_contradict_dask_are_refused(
    tree: Path, support_dir: Path, tmp_path: Path, client: Any, cli: Callable[..., Outcome]
) -> None:
    for options in (
        {"dask": "tcp://x:1", "workers": 2},
        {"dask": "local", "executor": client.get_executor()},
        {"dask": "local", "device": "cuda:0,cuda:1"},
    ):
        with pytest.raises(ValueError, match=r"workers|one of the two|CUDA|cuda"):
            build(tree, tmp_path / "s.h5", support_dir=support_dir, **options)
    with pytest.raises(BuildError, match="one of the two"):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, dask="local", executor=client.get_executor())
    outcome = cli("build", tree, tmp_path / "s.h5", "--dask", "local", "--workers", 0)
    assert outcome.exit_code == 2
    assert "--workers 0" in outcome.stderr
