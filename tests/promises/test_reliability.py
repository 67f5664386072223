"""Builds that are killed, stopped, locked out, or meet a full disk: nothing is lost, nothing half done is a store."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from h36m_amass.conversion import part as parts
from h36m_amass.conversion import planning
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.options import BuildError
from h36m_amass.export.npz import export_npz
from h36m_amass.store import writable_file
from h36m_amass.store.store import Store
from h36m_amass.system import atomic_file as whole_file
from h36m_amass.system import disk as space
from h36m_amass.system import locking
from h36m_amass.system import signals as interrupts
from h36m_amass.system.disk import SpaceError
from h36m_amass.system.locking import LockedError
from tests.scenes import command, group_of, write_dataset
from tests.torture import torture

needs_ps = pytest.mark.skipif(shutil.which("ps") is None, reason="processes cannot be listed here")
SECONDS_TO_STOP = 2.0


def test_builds_killed_at_random_moments_end_with_the_same_bytes(tmp_path: Path) -> None:
    torture(tmp_path, kills=2, seed=1, recordings=15)


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def long_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings that take some seconds, one of them long. Not to be written to."""
    tree = tmp_path_factory.mktemp("long")
    first = write_dataset(tree, "D", 1, frames=30_000)[0]
    for number in range(1, 40):
        first.with_name(f"{number:04}.npz").hardlink_to(first)
    return tree


@needs_ps
@pytest.mark.parametrize(
    ("number", "status", "whom", "workers"),
    [
        (signal.SIGINT, 130, "group", 2),
        (signal.SIGINT, 130, "process", 0),
        (signal.SIGTERM, 143, "group", 0),
        (signal.SIGTERM, 143, "process", 2),
    ],
)
def test_a_signal_stops_a_build_at_once_and_says_how_to_go_on(
    long_tree: Path, support_dir: Path, tmp_path: Path, workers: int, number: signal.Signals, status: int, whom: str
) -> None:
    store, errors = tmp_path / "s.h5", tmp_path / "errors"
    arguments = ("build", long_tree, store, "--support-dir", support_dir, "--workers", workers)
    with command(*arguments, errors=errors) as process:
        wait_for(lambda: list(tmp_path.glob("s.h5.parts/*.part")) or process.poll() is not None)
        began = time.monotonic()
        (os.kill if whom == "process" else os.killpg)(process.pid, number)
        assert process.wait(30) == status
        took = time.monotonic() - began
        wait_for(lambda: not group_of(process), SECONDS_TO_STOP)
    last = errors.read_text().splitlines()[-1]
    assert took < SECONDS_TO_STOP
    assert last.startswith({signal.SIGINT: "interrupted; ", signal.SIGTERM: "terminated; "}[number])
    assert f"kept in {store}.parts: the same command goes on from there" in last
    assert not store.exists()
    assert {path.suffix for path in (tmp_path / "s.h5.parts").iterdir()} == {".part"}


@needs_ps
@pytest.mark.parametrize("delay", [0.0, 0.3, 0.8])
def test_an_interrupt_while_workers_start_leaves_nothing_but_finished_parts(
    long_tree: Path, support_dir: Path, tmp_path: Path, delay: float
) -> None:
    arguments = ("build", long_tree, tmp_path / "s.h5", "--support-dir", support_dir, "--workers", 2)
    with command(*arguments, errors=tmp_path / "errors") as process:
        wait_for(lambda: len(group_of(process)) >= 2)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
    assert "Traceback" not in (tmp_path / "errors").read_text()
    assert {path.name for path in tmp_path.iterdir()} <= {"errors", "s.h5.parts"}
    assert {path.suffix for path in tmp_path.glob("s.h5.parts/*")} <= {".part"}


@needs_ps
def test_workers_end_with_a_build_that_is_killed(long_tree: Path, support_dir: Path, tmp_path: Path) -> None:
    arguments = ("build", long_tree, tmp_path / "s.h5", "--support-dir", support_dir, "--workers", 2)
    with command(*arguments) as process:
        wait_for(lambda: list(tmp_path.glob("s.h5.parts/*.part")))
        assert len(group_of(process)) >= 2
        process.kill()
        process.wait()
        wait_for(lambda: not group_of(process), SECONDS_TO_STOP)


def test_of_two_builds_the_second_is_refused_at_once_and_names_the_first(
    long_tree: Path, support_dir: Path, tmp_path: Path
) -> None:
    store = tmp_path / "s.h5"
    with command("build", long_tree, store, "--support-dir", support_dir) as process:
        wait_for(lambda: list(tmp_path.glob("s.h5.parts/*.part")))
        began = time.monotonic()
        with pytest.raises(LockedError, match=f"process {process.pid} on .* is writing it") as refused:
            build(long_tree, store, support_dir=support_dir)
        assert time.monotonic() - began < 1
        assert not getattr(refused.value, "__notes__", [])
        process.kill()
        process.wait()
    (tmp_path / "few").mkdir()
    write_dataset(tmp_path / "few", "D", 2)
    build(tmp_path / "few", store, support_dir=support_dir)
    assert len(Store(store).sequences) == 2
    assert not (tmp_path / "s.h5.parts").exists()


def test_a_lock_is_for_one_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "s.parts"
    with locking.locked(folder, tmp_path / "s"):
        for _ in range(2):
            with pytest.raises(LockedError, match=str(os.getpid())), locking.locked(folder, tmp_path / "s"):
                pass
        assert (folder / locking.FILE_NAME).exists()
    assert list(tmp_path.iterdir()) == []
    with locking.locked(folder, tmp_path / "s"):
        pass


def test_files_of_somebody_else_beside_a_store_stay(support_dir: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "amass", "D", 2)
    parts_dir = tmp_path / "s.h5.parts"
    parts_dir.mkdir()
    names = ("my.part", "my.unfinished", "folded-me.npz", "building-site", f"{'0' * 63}.part")
    mine = [tmp_path / "s.h5.tmp", *(parts_dir / name for name in names)]
    for path in mine:
        path.write_bytes(b"mine")
    (parts_dir / f"{'0' * 64}.part").write_bytes(b"what no plan asks for any more")
    for _ in range(2):
        build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert {path: path.read_bytes() for path in mine} == dict.fromkeys(mine, b"mine")
    assert {*tmp_path.iterdir(), *parts_dir.iterdir()} == {
        *(*mine, parts_dir, tmp_path / "amass", tmp_path / "s.h5"),
    }


def test_a_lock_that_cannot_be_made_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match="No space"), locking.locked(tmp_path / "s.parts", tmp_path / "s"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_is_named_and_the_old_one_and_the_store_are_whole(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "amass", "D", 2)
    report = tmp_path / "r.json"
    report.write_text("the old one")
    store_there: list[bool] = []

    def full(descriptor: int) -> None:
        store_there.append((tmp_path / "s.h5").exists())
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(whole_file, "os", SimpleNamespace(fsync=full))
    with pytest.raises(BuildError, match=r"r\.json: the report cannot be written .No space.*s\.h5 is whole"):
        build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, report_file=report)
    assert store_there == [True]
    assert report.read_text() == "the old one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["amass", "r.json", "s.h5"]
    assert len(Store(tmp_path / "s.h5").sequences) == 2


def test_many_processes_at_one_lock_never_hold_it_together(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from h36m_amass.system.locking import LockedError, locked
folder, busy = Path(sys.argv[1]) / "parts", Path(sys.argv[1]) / "busy"
held, end = 0, time.monotonic() + 1.5
while time.monotonic() < end:
    try:
        with locked(folder, folder):
            busy.touch(exist_ok=False)
            busy.unlink()
            held += 1
    except LockedError:
        pass
sys.exit(0 if held else 3)
"""
    line = [sys.executable, "-c", program, str(tmp_path)]
    processes = [subprocess.Popen(line, stderr=subprocess.PIPE) for _ in range(4)]
    ends = [(process.communicate()[1], process.returncode) for process in processes]
    assert {status for _, status in ends} <= {0, 3}, ends
    assert 0 in {status for _, status in ends}
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], Path]]:
    """Mounts a file system of so many kilobytes, where that is allowed."""
    mounted: list[Path] = []

    def mount(kilobytes: int) -> Path:
        folder = Path(shutil.os.environ.get("TMPDIR", "/tmp")) / f"h36m-amass-{os.getpid()}-{len(mounted)}"
        folder.mkdir()
        line = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(line, capture_output=True, check=False).returncode:
            folder.rmdir()
            pytest.skip("file systems cannot be mounted here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


@pytest.mark.parametrize("kilobytes", [700, 2600, 3200, 4200])
def test_a_disk_that_fills_up_is_one_error_and_a_rerun_with_room_finishes(
    small_disk: Callable[[int], Path],
    support_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kilobytes: int,
) -> None:
    write_dataset(tmp_path / "amass", "D", 24, frames=720)
    monkeypatch.setattr(planning, "UNIT_SOURCE_FRAMES", 4000)
    build(tmp_path / "amass", tmp_path / "whole.h5", support_dir=support_dir)
    write_dataset(tmp_path / "few", "D", 2)
    disk = small_disk(kilobytes)
    build_old = tmp_path / "old.h5"
    build(tmp_path / "few", build_old, support_dir=support_dir)
    old = build_old.read_bytes()
    (disk / "s.h5").write_bytes(old)
    with pytest.raises(SpaceError, match=rf"needs about .* MB, and {disk} has .* kB free|MB free"):
        build(tmp_path / "amass", disk / "s.h5", support_dir=support_dir, overwrite=True)
    monkeypatch.setattr(space, "require", lambda *_: None)
    with pytest.raises(SpaceError, match=r"is full \(No space.*needs about .* MB of it"):
        build(tmp_path / "amass", disk / "s.h5", support_dir=support_dir, overwrite=True)
    assert (disk / "s.h5").read_bytes() == old
    assert not (disk / f"s.h5{whole_file.SUFFIX}").exists()
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    build(tmp_path / "amass", disk / "s.h5", support_dir=support_dir, overwrite=True)
    assert (disk / "s.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert [path.name for path in disk.iterdir()] == ["s.h5"]


class FullDisk:
    """Lets so many writes of parts, store and exports through, and says that the disk is full from then on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
        self.writes, self.reached = writes, False
        os_write = os.write

        def write(descriptor: int, content: Any) -> int:
            self.count()
            return os_write(descriptor, content)

        class Limited(io.BufferedWriter):
            def write(inner, content: Any) -> int:
                self.count()
                return super().write(content)

        path_open = Path.open

        def open_limited(path: Path, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
            if mode not in ("xb", "r+b"):
                return path_open(path, mode, *arguments, **keywords)
            return Limited(io.FileIO(path, {"xb": "x", "r+b": "r+"}[mode])) if mode == "xb" else path_open(path, mode)

        monkeypatch.setattr(writable_file.os, "write", write)
        monkeypatch.setattr(Path, "open", open_limited)

    def count(self) -> None:
        self.writes -= 1
        if self.writes < 0:
            self.reached = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_write_that_fails_costs_the_old_store_or_what_is_converted(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "amass", "D", 8)
    monkeypatch.setattr(planning, "UNIT_SOURCE_FRAMES", 300)
    build(tmp_path / "amass", tmp_path / "whole.h5", support_dir=support_dir)
    (tmp_path / "s.h5").write_bytes(b"the old one")
    writes, parts_kept = 0, 0
    while True:
        with monkeypatch.context() as patch:
            disk = FullDisk(patch, writes)
            try:
                build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, overwrite=True)
            except SpaceError as error:
                assert "is full" in str(error)
        if not disk.reached:
            break
        assert (tmp_path / "s.h5").read_bytes() == b"the old one"
        kept = len(list(tmp_path.glob("s.h5.parts/*")))
        assert kept >= parts_kept
        assert not (tmp_path / f"s.h5{whole_file.SUFFIX}").exists()
        parts_kept = kept
        writes += 1 if writes < 20 else 23
    assert writes > 20
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["amass", "s.h5", "whole.h5"]


def test_what_is_renamed_is_on_the_disk_before_and_its_name_after(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "amass", "D", 8)
    monkeypatch.setattr(planning, "UNIT_SOURCE_FRAMES", 300)
    happened: list[tuple[str, str]] = []
    fsync, replace, unlink = os.fsync, Path.replace, Path.unlink

    def recorded_fsync(descriptor: int) -> None:
        of = os.fstat(descriptor)
        there = (tmp_path, *tmp_path.iterdir(), *tmp_path.glob("s.h5.parts/*"))
        happened.append(("sync", next(path.name for path in there if os.path.samestat(path.stat(), of))))
        fsync(descriptor)

    def recorded_replace(path: Path, target: Path) -> Path:
        happened.append(("rename", path.name))
        return replace(path, target)

    def recorded_unlink(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == parts.SUFFIX:
            happened.append(("remove", path.name))
        unlink(path, missing_ok)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    monkeypatch.setattr(Path, "unlink", recorded_unlink)
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    renamed = [place for place, (what, _) in enumerate(happened) if what == "rename"]
    assert len(renamed) > 3
    for place in renamed:
        name = happened[place][1]
        folder = tmp_path.name if name == f"s.h5{whole_file.SUFFIX}" else "s.h5.parts"
        assert happened[place - 1 : place + 2] == [("sync", name), ("rename", name), ("sync", folder)]
    # The folder of parts is there before any part, and parts until the store is.
    assert happened.index(("sync", tmp_path.name)) < renamed[0]
    removed = [place for place, (what, _) in enumerate(happened) if what == "remove"]
    assert len(removed) == len(renamed) - 1
    assert min(removed) > happened.index(("rename", f"s.h5{whole_file.SUFFIX}")) + 1


def test_an_export_whose_disk_fills_up_keeps_what_was_there(
    small_disk: Callable[[int], Path], support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("A", "B"):
        write_dataset(tmp_path / "amass", name, 6, frames=720)
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    disk = small_disk(600)
    with pytest.raises(SpaceError, match="needs about"):
        export_npz(tmp_path / "s.h5", disk)
    (disk / "B.npz").write_bytes(b"the old one")
    monkeypatch.setattr(space, "require", lambda *_: None)
    with pytest.raises(SpaceError, match="is full"):
        export_npz(tmp_path / "s.h5", disk)
    assert sorted(path.name for path in disk.iterdir()) == ["A.npz", "B.npz"]
    assert (disk / "B.npz").read_bytes() == b"the old one"
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    export_npz(tmp_path / "s.h5", disk)
    assert "S" in np.load(disk / "B.npz", allow_pickle=True)["positions_3d"].item()


def test_a_store_in_the_making_is_never_taken_for_one(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from h36m_amass.conversion import assembly
    from h36m_amass.store.rows import StoreError

    write_dataset(tmp_path / "amass", "D", 2)
    copies = []

    def copy_instead(self: Any) -> None:
        self._file.close()
        copies.append((tmp_path / f"s.h5{whole_file.SUFFIX}").read_bytes())
        raise KeyboardInterrupt

    monkeypatch.setattr(assembly.StoreWriter, "finish", copy_instead)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    (tmp_path / "unfinished.h5").write_bytes(copies[0])
    with pytest.raises(StoreError, match="one that was not finished"):
        Store(tmp_path / "unfinished.h5")
    (part,) = (tmp_path / "s.h5.parts").glob("*.part")
    with pytest.raises(StoreError, match="cannot be opened as a store"):
        Store(part)
    with pytest.raises(parts.PartError, match="no finished part"):
        parts.Part(tmp_path / "unfinished.h5", "")
