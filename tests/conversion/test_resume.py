"""What an interrupted build has converted is not converted again, as long as nothing it depends on has changed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h36m_amass.conversion import feeds, part, tasks, unpack
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.report import BuildReport
from h36m_amass.system.progress import Progress
from tests.archive_files import packed_tree
from tests.scenes import recording, write, write_dataset


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each recording is a task, or a batch of an archive."""
    monkeypatch.setattr(tasks, "TASK_BYTES", 60_000)
    for module in (unpack, feeds):
        monkeypatch.setattr(module, "BATCH_BYTES", 1)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "amass", "D", 6, frames=40)
    return tmp_path / "amass"


@pytest.fixture
def whole(tree: Path, support_dir: Path, tmp_path: Path) -> bytes:
    """The store of an undisturbed build."""
    build(tree, tmp_path / "whole.h5", support_dir=support_dir)
    return (tmp_path / "whole.h5").read_bytes()


def interrupted_after(num_tasks: int) -> Progress:
    """A progress that interrupts the build when this many tasks have ended."""
    calls: list[str] = []

    def progress(stage: str, done: int, total: int, name: str = "", /) -> None:
        calls.append(stage)
        if len(calls) == num_tasks + 1:
            raise KeyboardInterrupt

    return progress


def interrupt(tree: Path, store: Path, support_dir: Path, num_tasks: int, **options: Any) -> list[str]:
    """Begin a build and interrupt it; gives the notes of what ended it."""
    with pytest.raises(KeyboardInterrupt) as stopped:
        build(tree, store, support_dir=support_dir, progress=interrupted_after(num_tasks), **options)
    notes: list[str] = stopped.value.__notes__
    return notes


def resume(tree: Path, store: Path, support_dir: Path, **options: Any) -> BuildReport:
    report: BuildReport = build(tree, store, support_dir=support_dir, **options)
    assert not Path(f"{store}.parts").exists()
    return report


def test_an_interrupted_build_converts_only_what_is_missing(
    tree: Path, support_dir: Path, tmp_path: Path, whole: bytes, converted: Counter[str]
) -> None:
    (note,) = interrupt(tree, tmp_path / "s.h5", support_dir, 4)
    assert note == f"4 converted parts are kept in {tmp_path / 's.h5.parts'}: the same command goes on from there"
    assert {path.name[-9:] for path in (tmp_path / "s.h5.parts").iterdir()} == {part.SUFFIX}
    converted.clear()
    assert resume(tree, tmp_path / "s.h5", support_dir).reused == 4
    assert sorted(converted) == ["0004.npz", "0005.npz"]
    assert (tmp_path / "s.h5").read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["amass", "s.h5", "whole.h5"]


def test_a_build_that_is_interrupted_at_each_task_goes_on_each_time(
    tree: Path, support_dir: Path, tmp_path: Path, whole: bytes, converted: Counter[str]
) -> None:
    converted.clear()
    for _ in range(5):
        interrupt(tree, tmp_path / "s.h5", support_dir, 1)
    assert resume(tree, tmp_path / "s.h5", support_dir).reused == 5
    assert set(converted.values()) == {1}
    assert (tmp_path / "s.h5").read_bytes() == whole


def test_an_interrupted_build_before_its_first_part_says_what_to_do(
    tree: Path, support_dir: Path, tmp_path: Path
) -> None:
    assert interrupt(tree, tmp_path / "s.h5", support_dir, 0) == ["run the same command again"]
    assert not (tmp_path / "s.h5.parts").exists()


def test_recordings_of_an_interrupted_archive_are_used(
    tree: Path, support_dir: Path, tmp_path: Path, whole: bytes, converted: Counter[str]
) -> None:
    packed = packed_tree(tree, tmp_path / "packed", ".tar.bz2")
    interrupt(packed, tmp_path / "s.h5", support_dir, 3)
    before = len(converted)
    assert before >= 3
    converted.clear()
    report = resume(packed, tmp_path / "s.h5", support_dir)
    assert report.reused >= 3
    assert len(converted) == 6 - report.reused
    assert (tmp_path / "s.h5").read_bytes() == whole


def test_an_interrupted_update_goes_on(
    tree: Path, support_dir: Path, tmp_path: Path, whole: bytes, converted: Counter[str]
) -> None:
    last = tree / "D" / "S" / "0005.npz"
    others = [last, tree / "D" / "S" / "0004.npz"]
    for path in others:
        path.rename(tmp_path / path.name)
    build(tree, tmp_path / "s.h5", support_dir=support_dir)
    before = (tmp_path / "s.h5").read_bytes()
    for path in others:
        (tmp_path / path.name).rename(path)
    converted.clear()
    interrupt(tree, tmp_path / "s.h5", support_dir, 1, update=True)
    assert (tmp_path / "s.h5").read_bytes() == before
    report = resume(tree, tmp_path / "s.h5", support_dir, update=True)
    assert report.changes is not None
    assert (report.changes.added, report.changes.kept, report.reused) == (2, 4, 1)
    assert converted == {"0004.npz": 1, "0005.npz": 1}
    assert (tmp_path / "s.h5").read_bytes() == whole


def test_resuming_a_thousand_recordings_opens_only_those_that_are_missing(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, converted: Counter[str]
) -> None:
    monkeypatch.setattr(tasks, "TASK_BYTES", 2**20)
    tree = tmp_path / "amass"
    first = write_dataset(tree, "A", 1, frames=10)[0]
    for number in range(1, 990):
        first.with_name(f"a{number:04}.npz").hardlink_to(first)
    for path in write_dataset(tree, "B", 10, frames=10):
        path.rename(path.with_name(f"b{path.name}"))
    num_tasks = -(-990 // (2**20 // first.stat().st_size))
    interrupt(tree, tmp_path / "s.h5", support_dir, num_tasks)
    converted.clear()
    assert resume(tree, tmp_path / "s.h5", support_dir).reused >= 990
    assert sum(converted.values()) == len(converted) <= 10
    assert all(name.startswith("b") for name in converted)


def touch(path: Path) -> None:
    os.utime(path, (1, 1))


def rewrite(path: Path) -> None:
    write(path, recording(41, 77))


@pytest.mark.parametrize("change", [touch, rewrite])
def test_a_part_of_a_recording_that_has_changed_since_is_not_used(
    tree: Path, support_dir: Path, tmp_path: Path, converted: Counter[str], change: Callable[[Path], None]
) -> None:
    interrupt(tree, tmp_path / "s.h5", support_dir, 4)
    change(tree / "D" / "S" / "0001.npz")
    converted.clear()
    assert resume(tree, tmp_path / "s.h5", support_dir).reused == 3
    assert sorted(converted) == ["0001.npz", "0004.npz", "0005.npz"]
    build(tree, tmp_path / "fresh.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "fresh.h5").read_bytes()


@pytest.mark.parametrize("options", [{"frame_rate": 25}, {"use_dmpls": False}, {"batch_size": 16}, {"upsample": True}])
def test_parts_of_a_build_with_other_options_are_not_used(
    tree: Path, support_dir: Path, tmp_path: Path, converted: Counter[str], options: dict[str, Any]
) -> None:
    interrupt(tree, tmp_path / "s.h5", support_dir, 4)
    converted.clear()
    assert resume(tree, tmp_path / "s.h5", support_dir, **options).reused == 0
    assert len(converted) == 6


def test_parts_of_another_body_model_are_not_used(
    tree: Path, support_dir: Path, tmp_path: Path, converted: Counter[str]
) -> None:
    support = tmp_path / "support"
    support.mkdir()
    (support / "J_regressor_h36m.npy").symlink_to(support_dir / "J_regressor_h36m.npy")
    for kind in ("smplh", "dmpls"):
        for gender in ("male", "female"):
            path = support / "body_models" / kind / gender / "model.npz"
            path.parent.mkdir(parents=True)
            path.symlink_to(support_dir / "body_models" / kind / gender / "model.npz")
    interrupt(tree, tmp_path / "s.h5", support, 4)
    path = support / "body_models" / "smplh" / "male" / "model.npz"
    with np.load(path) as npz:
        arrays = dict(npz)
    path.unlink()
    np.savez(path, **arrays | {"v_template": 1.1 * arrays["v_template"]})
    converted.clear()
    resume(tree, tmp_path / "s.h5", support)
    assert {f"000{number}.npz" for number in (0, 2, 4)} <= set(converted)
    build(tree, tmp_path / "fresh.h5", support_dir=support)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "fresh.h5").read_bytes()


@pytest.mark.parametrize("damage", ["cut short", "one byte", "empty", "another's"])
def test_a_damaged_part_is_converted_again(
    tree: Path, support_dir: Path, tmp_path: Path, whole: bytes, converted: Counter[str], damage: str
) -> None:
    interrupt(tree, tmp_path / "s.h5", support_dir, 4)
    damaged, other = sorted((tmp_path / "s.h5.parts").iterdir())[:2]
    content = damaged.read_bytes()
    damaged.write_bytes(
        {
            "cut short": content[:-40],
            "one byte": content[:999] + bytes([content[999] ^ 1]) + content[1000:],
            "empty": b"",
            "another's": other.read_bytes(),
        }[damage]
    )
    converted.clear()
    resume(tree, tmp_path / "s.h5", support_dir)
    assert len(converted) == 3
    assert (tmp_path / "s.h5").read_bytes() == whole
