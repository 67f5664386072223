"""Full disks and lost power: the old store stays whole, what is converted is kept, and one line says what is needed."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h36m_amass.conversion import part as parts
from h36m_amass.conversion import tasks
from h36m_amass.conversion.builder import build
from h36m_amass.export.npz import export_npz
from h36m_amass.store import writable_file
from h36m_amass.system import atomic_file
from h36m_amass.system import disk as disk_module
from h36m_amass.system.disk import SpaceError
from tests.scenes import write_dataset


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], Path]]:
    """Mounts a file system of this many kilobytes, where that is allowed."""
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


@pytest.mark.parametrize("kilobytes", [700, 1500, 2600, 3200])
def test_a_disk_that_fills_up_is_one_error_and_a_rerun_with_room_finishes(
    small_disk: Callable[[int], Path],
    support_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kilobytes: int,
) -> None:
    write_dataset(tmp_path / "amass", "D", 24, frames=720)
    monkeypatch.setattr(tasks, "TASK_BYTES", 6_000_000)
    build(tmp_path / "amass", tmp_path / "whole.h5", support_dir=support_dir)
    write_dataset(tmp_path / "few", "D", 2)
    disk = small_disk(kilobytes)
    build_old = tmp_path / "old.h5"
    build(tmp_path / "few", build_old, support_dir=support_dir)
    old = build_old.read_bytes()
    (disk / "s.h5").write_bytes(old)
    with pytest.raises(SpaceError, match=rf"needs about .* MB, and {disk} has .* kB free|MB free"):
        build(tmp_path / "amass", disk / "s.h5", support_dir=support_dir, overwrite=True)
    monkeypatch.setattr(disk_module, "require", lambda *_: None)
    with pytest.raises(SpaceError, match=r"is full \(No space.*needs about .* MB of it"):
        build(tmp_path / "amass", disk / "s.h5", support_dir=support_dir, overwrite=True)
    assert (disk / "s.h5").read_bytes() == old
    assert not (disk / f"s.h5{atomic_file.SUFFIX}").exists()
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    build(tmp_path / "amass", disk / "s.h5", support_dir=support_dir, overwrite=True)
    assert (disk / "s.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert [path.name for path in disk.iterdir()] == ["s.h5"]


class FullDisk:
    """Lets this many writes of parts and store through, and then reports a full disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
        self.writes, self.reached = writes, False
        os_pwrite = os.pwrite

        def write(descriptor: int, content: Any, offset: int) -> int:
            self.count()
            return os_pwrite(descriptor, content, offset)

        class Limited(io.BufferedWriter):
            def write(inner, content: Any) -> int:
                self.count()
                return super().write(content)

        class LimitedRandom(io.BufferedRandom):
            def write(inner, content: Any) -> int:
                self.count()
                return super().write(content)

        io_open = io.open

        def open_limited(path: Any, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
            if "x" not in mode:
                return io_open(path, mode, *arguments, **keywords)
            raw = io.FileIO(path, "x+" if "+" in mode else "x")
            return LimitedRandom(raw) if "+" in mode else Limited(raw)

        monkeypatch.setattr(writable_file.os, "pwrite", write)
        monkeypatch.setattr(io, "open", open_limited)

    def count(self) -> None:
        self.writes -= 1
        if self.writes < 0:
            self.reached = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_write_that_fails_costs_the_old_store_or_what_is_converted(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "amass", "D", 8)
    monkeypatch.setattr(tasks, "TASK_BYTES", 400_000)
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
        assert not (tmp_path / f"s.h5{atomic_file.SUFFIX}").exists()
        parts_kept = kept
        writes += 1 if writes < 20 else 23
    assert writes > 20
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["amass", "s.h5", "whole.h5"]


def test_a_store_is_on_the_disk_before_it_gets_its_name_and_parts_stay_until_then(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "amass", "D", 8)
    monkeypatch.setattr(tasks, "TASK_BYTES", 400_000)
    happened: list[tuple[str, str]] = []
    fsync, replace, unlink = os.fsync, Path.replace, Path.unlink

    def recorded_fsync(descriptor: int) -> None:
        of = os.fstat(descriptor)
        paths = (tmp_path, *tmp_path.iterdir(), *tmp_path.glob("s.h5.parts/*"))
        happened.append(("sync", next(path.name for path in paths if os.path.samestat(path.stat(), of))))
        fsync(descriptor)

    def recorded_replace(path: Path, target: Path) -> Path:
        happened.append(("rename", path.name))
        return replace(path, target)

    def recorded_unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name.endswith(parts.SUFFIX):
            happened.append(("remove", path.name))
        unlink(path, missing_ok)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    monkeypatch.setattr(Path, "unlink", recorded_unlink)
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    temporary = f"s.h5{atomic_file.SUFFIX}"
    renamed = happened.index(("rename", temporary))
    assert happened[renamed - 1 : renamed + 2] == [("sync", temporary), ("rename", temporary), ("sync", tmp_path.name)]
    removed = [index for index, (what, _) in enumerate(happened) if what == "remove"]
    assert len(removed) > 2
    assert min(removed) > renamed + 1


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
    monkeypatch.setattr(disk_module, "require", lambda *_: None)
    with pytest.raises(SpaceError, match="is full"):
        export_npz(tmp_path / "s.h5", disk, overwrite=True)
    assert sorted(path.name for path in disk.iterdir()) == ["A.npz", "B.npz"]
    assert (disk / "B.npz").read_bytes() == b"the old one"
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    export_npz(tmp_path / "s.h5", disk, overwrite=True)
    assert "S" in np.load(disk / "B.npz", allow_pickle=True)["positions_3d"].item()
