"""Builds that are killed or locked out: nothing is lost, nothing half done is a store, nothing of others is touched."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from h36m_amass.conversion import part as parts
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.options import BuildError
from h36m_amass.store.store import Store, StoreError
from h36m_amass.system import atomic_file, lock
from h36m_amass.system.lock import LockedError
from tests.scenes import command, wait_for, write_dataset, write_long_tree
from tests.torture import torture


def test_builds_killed_at_random_moments_end_with_the_same_bytes(support_dir: Path, tmp_path: Path) -> None:
    torture(tmp_path, kills=2, seed=1, recordings=15, support=support_dir)


@pytest.fixture(scope="module")
def long_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_long_tree(tmp_path_factory.mktemp("long"), 40)


def test_of_two_builds_the_second_is_refused_at_once(long_tree: Path, support_dir: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.h5"
    with command("build", long_tree, store, "--support-dir", support_dir) as process:
        wait_for((tmp_path / "s.h5.parts" / lock.FILE_NAME).exists)
        began = time.monotonic()
        with pytest.raises(LockedError, match="another process is writing it; wait") as refused:
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
    with lock.locked(folder, tmp_path / "s"):
        for _ in range(2):
            with pytest.raises(LockedError, match="another process"), lock.locked(folder, tmp_path / "s"):
                pass
        assert (folder / lock.FILE_NAME).exists()
    assert list(tmp_path.iterdir()) == []
    with lock.locked(folder, tmp_path / "s"):
        pass


def test_many_processes_at_one_lock_never_hold_it_together(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from h36m_amass.system.lock import LockedError, locked
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


def test_a_lock_that_cannot_be_made_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match="No space"), lock.locked(tmp_path / "s.parts", tmp_path / "s"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_files_of_somebody_else_beside_a_store_stay(support_dir: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "amass", "D", 2)
    parts_dir = tmp_path / "s.h5.parts"
    parts_dir.mkdir()
    names = ("my.part.npz", "my.unfinished", "folded-me.npz", "scratch-pad", f"{'0' * 16}-{'0' * 15}.part.npz")
    mine = [tmp_path / "s.h5.tmp", *(parts_dir / name for name in names)]
    for path in mine:
        path.write_bytes(b"mine")
    of_killed_builds = (f"{'0' * 16}-{'1' * 16}.part.npz", f"{'0' * 16}-{'1' * 16}.unfinished", f"scratch-{'2' * 16}")
    for name in (*of_killed_builds, f"folded-{'3' * 32}.npz", f"folded-{'3' * 32}.npz{atomic_file.SUFFIX}"):
        (parts_dir / name).write_bytes(b"left behind")
    for _ in range(2):
        build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert {path: path.read_bytes() for path in mine} == dict.fromkeys(mine, b"mine")
    assert {*tmp_path.iterdir(), *parts_dir.iterdir()} == {
        *(*mine, parts_dir, tmp_path / "amass", tmp_path / "s.h5"),
    }


def test_a_report_that_cannot_be_written_is_named_and_the_old_one_and_the_store_are_whole(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "amass", "D", 2)
    report = tmp_path / "r.json"
    report.write_text("the old one")
    store_existed: list[bool] = []

    def full(descriptor: int) -> None:
        store_existed.append((tmp_path / "s.h5").exists())
        if store_existed[-1]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BuildError, match=r"r\.json: the report cannot be written .No space.*s\.h5 is whole"):
        build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, report_file=report)
    assert store_existed[-1]
    monkeypatch.undo()
    assert report.read_text() == "the old one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["amass", "r.json", "s.h5"]
    assert len(Store(tmp_path / "s.h5").sequences) == 2


def test_a_store_in_the_making_is_never_taken_for_one(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from h36m_amass.conversion import assembly

    write_dataset(tmp_path / "amass", "D", 2)
    copies = []

    def copy_instead(self: Any, _: object) -> None:
        self._file.close()
        copies.append((tmp_path / f"s.h5{atomic_file.SUFFIX}").read_bytes())
        raise KeyboardInterrupt

    monkeypatch.setattr(assembly.StoreWriter, "finish", copy_instead)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    (tmp_path / "unfinished.h5").write_bytes(copies[0])
    with pytest.raises(StoreError, match="one that was not finished"):
        Store(tmp_path / "unfinished.h5")
    (part,) = (tmp_path / "s.h5.parts").glob("*.part.npz")
    with pytest.raises(StoreError, match="cannot be opened as a store"):
        Store(part)
    with pytest.raises(parts.PartError, match="is not a part"):
        parts.Part(tmp_path / "unfinished.h5")
