"""Ctrl-C and SIGTERM end a build at once, wherever it is, with one line and nothing left but finished parts."""

from __future__ import annotations

import os
import shutil
import signal
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenes import command, group_of, wait_for, write_dataset, write_long_tree
from tests.signal_torture import strike_some

pytestmark = pytest.mark.skipif(shutil.which("ps") is None, reason="processes cannot be listed here")
SECONDS_TO_STOP = 2.0
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


@pytest.fixture(scope="module")
def long_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_long_tree(tmp_path_factory.mktemp("long"), 60)


@pytest.fixture(scope="module")
def long_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compressed archive; see `SLOWLY`. Not to be written to."""
    folder = tmp_path_factory.mktemp("archive")
    first = write_dataset(folder / "amass", "D", 1, frames=4_000)[0]
    (folder / "packed").mkdir()
    with tarfile.open(folder / "packed" / "D.tar.gz", "w:gz", compresslevel=1) as tar:
        for number in range(6):
            tar.add(first, f"S/{number:04}.npz")
    return folder / "packed"


# Batches of a recording, and decompression that takes long.
SLOWLY = """
import time
from h36m_amass.conversion import feeds, unpack
from h36m_amass.files.tar_reading import TarFile
unpack.BATCH_BYTES = feeds.BATCH_BYTES = 1
block = TarFile.block
TarFile.block = lambda *arguments: time.sleep(0.1) or block(*arguments)
"""


def last_line(errors: Path) -> str:
    """What it said, beside its progress."""
    (line,) = (line for line in errors.read_text().splitlines() if not line.startswith("converting"))
    return line


@pytest.mark.parametrize(
    ("number", "whom", "workers", "source"),
    [
        (signal.SIGINT, os.killpg, 2, "long_tree"),
        (signal.SIGTERM, os.kill, 0, "long_tree"),
        (signal.SIGINT, os.killpg, 1, "long_archive"),
        (signal.SIGTERM, os.kill, 0, "long_archive"),
    ],
)
def test_a_signal_stops_a_build_at_once_and_says_how_to_go_on(
    request: pytest.FixtureRequest,
    support_dir: Path,
    tmp_path: Path,
    number: signal.Signals,
    whom: Callable[[int, int], None],
    workers: int,
    source: str,
) -> None:
    tree, store, errors = request.getfixturevalue(source), tmp_path / "s.h5", tmp_path / "errors"
    arguments = ("build", tree, store, "--support-dir", support_dir, "--workers", workers)
    before = SLOWLY if source == "long_archive" else ""
    with command(*arguments, task_bytes=1, before=before, errors=errors) as process:
        wait_for(lambda: list(tmp_path.glob("s.h5.parts/*.part.npz")) or process.poll() is not None)
        began = time.monotonic()
        whom(process.pid, number)
        assert process.wait(30) == 128 + number
        assert time.monotonic() - began < SECONDS_TO_STOP
        wait_for(lambda: not group_of(process), SECONDS_TO_STOP)
    line = last_line(errors)
    assert line.startswith(f"{WORDS[number]}; ")
    assert f"kept in {store}.parts: the same command goes on from there" in line
    assert not store.exists()
    assert {path.name[-9:] for path in (tmp_path / "s.h5.parts").iterdir()} == {".part.npz"}


def test_an_interrupt_while_workers_start_leaves_nothing(long_tree: Path, support_dir: Path, tmp_path: Path) -> None:
    arguments = ("build", long_tree, tmp_path / "s.h5", "--support-dir", support_dir, "--workers", 2)
    with command(*arguments, errors=tmp_path / "errors") as process:
        wait_for(lambda: group_of(process))
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
        assert time.monotonic() - began < SECONDS_TO_STOP
        wait_for(lambda: not group_of(process), SECONDS_TO_STOP)
    assert last_line(tmp_path / "errors").startswith("interrupted")
    assert {path.name for path in tmp_path.iterdir()} == {"errors"}


def test_a_second_signal_ends_the_process_on_the_spot(long_tree: Path, support_dir: Path, tmp_path: Path) -> None:
    arguments = ("build", long_tree, tmp_path / "s.h5", "--support-dir", support_dir, "--workers", 2)
    deaf = "from h36m_amass.system import signals; signals.check = signals.StopFlag.check = lambda *_: None"
    with command(*arguments, task_bytes=1, before=deaf) as process:
        wait_for(lambda: list(tmp_path.glob("s.h5.parts/*.part.npz")) or process.poll() is not None)
        began = time.monotonic()
        for number in (signal.SIGINT, signal.SIGTERM):
            os.killpg(process.pid, number)
        assert process.wait(30) == 143
        assert time.monotonic() - began < SECONDS_TO_STOP
        wait_for(lambda: not group_of(process), SECONDS_TO_STOP)


def test_a_signal_from_wherever_a_lock_is_taken_ends_a_build_and_the_next_one_goes_on(
    support_dir: Path, tmp_path: Path
) -> None:
    assert strike_some(tmp_path, strikes=12, seed=1, support=support_dir) == 12


def test_workers_end_with_a_build_that_is_killed(long_tree: Path, support_dir: Path, tmp_path: Path) -> None:
    arguments = ("build", long_tree, tmp_path / "s.h5", "--support-dir", support_dir, "--workers", 2)
    with command(*arguments, task_bytes=1) as process:
        wait_for(lambda: list(tmp_path.glob("s.h5.parts/*.part.npz")))
        assert len(group_of(process)) >= 2
        process.kill()
        process.wait()
        wait_for(lambda: not group_of(process), SECONDS_TO_STOP)
