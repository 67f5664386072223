"""Shards: several machines convert a share each, at the same time, in any order, and one more run makes the store."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import re
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_amass import Shard
from h36m_amass.conversion import planning, shards
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.options import BuildError
from h36m_amass.conversion.report import BuildReport
from h36m_amass.conversion.shards import ShardError
from h36m_amass.store.store import Store
from h36m_amass.system import disk as space
from h36m_amass.system import locking
from h36m_amass.system.disk import SpaceError
from h36m_amass.system.locking import LockedError
from tests.conftest import Outcome
from tests.promises.test_reliability import FullDisk, wait_for
from tests.scenes import command, recording, write, write_dataset

UNIT_FRAMES = 200
RECORDINGS = 14


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "UNIT_SOURCE_FRAMES", UNIT_FRAMES)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A dataset of several units."""
    write_dataset(tmp_path / "amass", "D", RECORDINGS, frames=60)
    return tmp_path / "amass"


_SBATCH = """
tasks=
for word in "$@"; do
    if [[ $word == --array=1-* ]]; then tasks=$(seq "${word#--array=1-}"); fi
done
export SLURM_CPUS_PER_TASK=0
if [[ -z $tasks ]]; then bash "${@: -1}"; fi
for task in $tasks; do SLURM_ARRAY_TASK_ID=$task bash "${@: -1}"; done
echo 7
"""


def units_of(lengths: list[int]) -> list[Any]:
    return [SimpleNamespace(number=number, source_frames=frames) for number, frames in enumerate(lengths)]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@given(st.lists(st.integers(1, 10**6), max_size=60), st.integers(1, 20))
def test_each_unit_is_in_one_share_and_no_share_could_give_a_unit_away(lengths: list[int], count: int) -> None:
    units = units_of(lengths)
    shares = [shards.share(units, Shard(number, count)) for number in range(1, count + 1)]
    assert sorted(unit.number for own in shares for unit in own) == list(range(len(units)))
    for own in shares:
        assert [unit.number for unit in own] == sorted(unit.number for unit in own)
    loads = [sum(unit.source_frames for unit in own) for own in shares]
    for own, load in zip(shares, loads, strict=True):
        # Without its last and shortest unit it was the smallest of all, so that another would have got too much.
        assert load - min((unit.source_frames for unit in own), default=0) <= min(loads)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=7), st.integers(2, 3))
def test_the_largest_share_has_at_most_a_third_more_than_it_must(lengths: list[int], count: int) -> None:
    units = units_of(lengths)
    largest = max(
        sum(unit.source_frames for unit in shards.share(units, Shard(number, count))) for number in range(1, count + 1)
    )
    best = min(
        max(sum(length for length, own in zip(lengths, owners, strict=True) if own == number) for number in owners)
        for owners in itertools.product(range(count), repeat=len(lengths))
    )
    assert 3 * count * largest <= (4 * count - 1) * best


@pytest.mark.parametrize(
    "text", ["", "3", "0/4", "5/4", "1/0", "-1/2", "1/2/3", "a/b", " 1/2", "1/2\n", "1" * 30 + "/2"]
)
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ShardError, match="is no shard; give one"):
        shards.parse(text)


def test_a_shard_is_written_as_it_is_read() -> None:
    assert shards.parse("3/16") == Shard(3, 16)
    assert str(Shard(3, 16)) == "3/16"


@pytest.mark.parametrize("order", [(3, 1, 2), (2, 2, 3)])
def test_shards_in_any_order_or_not_all_of_them_give_the_same_bytes(
    tree: Path, support_dir: Path, tmp_path: Path, converted: Counter[str], order: tuple[int, ...]
) -> None:
    store, old = tmp_path / "s.h5", b"the old one"
    build(tree, tmp_path / "whole.h5", support_dir=support_dir)
    store.write_bytes(old)
    converted.clear()
    for number in order:
        report = build(tree, store, support_dir=support_dir, shard=Shard(number, 3), overwrite=True)
        assert report.shard == f"{number}/3"
        assert store.read_bytes() == old
    assert len(converted) < RECORDINGS or set(order) == {1, 2, 3}
    report = build(tree, store, support_dir=support_dir, overwrite=True)
    assert set(converted.values()) == {1}, "a recording was converted twice, or never"
    assert report.shard is None
    assert store.read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert names_in(tmp_path) == ["amass", "s.h5", "whole.h5"]


def test_more_shards_than_units_leave_some_with_nothing_to_do(tree: Path, support_dir: Path, tmp_path: Path) -> None:
    report = build(tree, tmp_path / "s.h5", support_dir=support_dir, shard=Shard(1000, 1000))
    assert (report.frames, report.datasets) == (0, ())
    assert names_in(tmp_path / "s.h5.parts") == [locking.FILE_NAME]


def test_shards_of_an_update_convert_what_is_new_alone(
    tree: Path, support_dir: Path, tmp_path: Path, converted: Counter[str]
) -> None:
    store = tmp_path / "s.h5"
    build(tree, store, support_dir=support_dir)
    old = store.read_bytes()
    new = {
        path.rename(path.with_name(f"new{path.name}")).name for path in write_dataset(tree, "E", 4, frames=60, seed=50)
    }
    converted.clear()
    reports = [
        build(tree, store, support_dir=support_dir, shard=Shard(number, 2), update=True, workers=0) for number in (1, 2)
    ]
    assert set(converted) == new
    assert sum(report.reused for report in reports) == RECORDINGS
    assert store.read_bytes() == old
    build(tree, store, support_dir=support_dir, update=True)
    assert set(converted.values()) == {1}
    build(tree, tmp_path / "fresh.h5", support_dir=support_dir)
    assert store.read_bytes() == (tmp_path / "fresh.h5").read_bytes()


def test_a_store_that_is_there_is_refused_before_a_share_is_converted(
    tree: Path, support_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "s.h5").write_bytes(b"the old one")
    with pytest.raises(BuildError, match="is already there"):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, shard=Shard(1, 2))


def test_parts_of_other_options_are_not_put_together(
    tree: Path, support_dir: Path, tmp_path: Path, converted: Counter[str]
) -> None:
    for number in (1, 2):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, shard=Shard(number, 2), batch_size=512)
    converted.clear()
    build(tree, tmp_path / "s.h5", support_dir=support_dir)
    assert len(converted) == RECORDINGS
    build(tree, tmp_path / "fresh.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "fresh.h5").read_bytes()


def test_two_shards_at_once_one_of_which_is_killed_and_run_again(support_dir: Path, tmp_path: Path) -> None:
    tree, store, recordings = tmp_path / "amass", tmp_path / "s.h5", 12
    first = write_dataset(tree, "D", 1, frames=3000)[0]
    for copy in range(1, recordings):
        first.with_name(f"{copy:04}.npz").hardlink_to(first)
    build(tree, tmp_path / "whole.h5", support_dir=support_dir)
    arguments = ("build", tree, store, "--support-dir", support_dir, "--workers", 0)
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(command(*arguments, "--shard", shard, unit_frames=UNIT_FRAMES, errors=tmp_path / name))
            for shard, name in (("1/2", "one"), ("2/2", "two"))
        )
        wait_for(lambda: list(tmp_path.glob("s.h5.parts/building-1-of-2")) or one.poll() is not None)
        one.send_signal(signal.SIGKILL)
        one.wait()
        assert two.wait(60) == 0, (tmp_path / "two").read_text()
    assert len(list(tmp_path.glob("s.h5.parts/*.part"))) < recordings
    build(tree, store, support_dir=support_dir, shard=Shard(1, 2))
    assert not store.exists()
    assert len(list(tmp_path.glob("s.h5.parts/*.part"))) == recordings
    build(tree, store, support_dir=support_dir)
    assert store.read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert not (tmp_path / "s.h5.parts").exists()


def test_a_shard_that_is_interrupted_keeps_its_parts_and_says_how_to_go_on(
    tree: Path, support_dir: Path, tmp_path: Path, converted: Counter[str]
) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "convert" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        build(tree, tmp_path / "s.h5", support_dir=support_dir, shard=Shard(1, 2), progress=interrupt)
    assert f"kept in {tmp_path / 's.h5.parts'}: the same command goes on from there" in stopped.value.__notes__[0]
    assert {path.suffix for path in tmp_path.glob("s.h5.parts/*")} == {".part", ""}
    assert not list(tmp_path.glob("s.h5.parts/*-of-*"))
    build(tree, tmp_path / "s.h5", support_dir=support_dir, shard=Shard(1, 2))
    assert set(converted.values()) == {1}


def test_shards_of_one_process_number_do_not_stop_each_other(tree: Path, support_dir: Path, tmp_path: Path) -> None:
    """As processes of two machines may have it: these are threads of one."""
    store, ended = tmp_path / "s.h5", threading.Event()
    at_work = threading.Barrier(2, timeout=60)
    outcomes: list[BuildReport | BaseException] = []

    def convert(number: int) -> None:
        def progress(stage: str, done: int, total: int) -> None:
            if stage == "convert" and not done:
                at_work.wait()
                if number == 2:
                    ended.wait(60)

        try:
            outcomes.append(build(tree, store, support_dir=support_dir, shard=Shard(number, 2), progress=progress))
        except BaseException as error:  # noqa: BLE001 (a thread's own would be lost)
            outcomes.append(error)
        if number == 1:
            ended.set()

    threads = [threading.Thread(target=convert, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [getattr(outcome, "shard", outcome) for outcome in outcomes] == ["1/2", "2/2"]


def test_who_may_work_beside_whom(tree: Path, support_dir: Path, tmp_path: Path) -> None:
    store, parts_dir = tmp_path / "s.h5", tmp_path / "s.h5.parts"
    options: dict[str, Any] = {"support_dir": support_dir}
    own = f"process {os.getpid()} on .* .shard 1/2."
    with locking.locked(parts_dir, store, "1-of-2"):
        with pytest.raises(LockedError, match=f"s.h5: {own} is writing it"):
            build(tree, store, shard=Shard(1, 2), **options)
        with pytest.raises(LockedError, match=f"s.h5: shards are at work on it, the last to begin is {own}"):
            build(tree, store, **options)
        assert build(tree, store, shard=Shard(2, 2), **options).frames
        assert build(tree, store, shard=Shard(1, 3), **options).frames
    with (
        locking.locked(parts_dir, store),
        pytest.raises(LockedError, match=rf"process {os.getpid()} on [^ ]* is writing it"),
    ):
        build(tree, store, shard=Shard(1, 2), **options)
    build(tree, store, **options)
    assert names_in(tmp_path) == ["amass", "s.h5"]


def test_what_other_shards_have_put_down_stays_until_the_store_is_put_together(
    tree: Path, support_dir: Path, tmp_path: Path
) -> None:
    store, parts_dir = tmp_path / "s.h5", tmp_path / "s.h5.parts"
    parts_dir.mkdir()
    theirs = ["building-1-of-2", "lock-1-of-2", f"folded-{'0' * 32}-1-of-2.npz", f"{'0' * 16}-7-{'0' * 8}.unfinished"]
    own = ["building-2-of-2", f"folded-{'0' * 32}-2-of-2.npz"]
    mine = ["building-2-of-2-houses", "folded-me-2-of-2.npz", "lock-1"]
    for name in (*theirs, *own, *mine):
        (parts_dir / name).touch()
    unfinished = store.with_name("s.h5.h36m-amass-tmp")
    unfinished.touch()
    build(tree, store, support_dir=support_dir, shard=Shard(2, 2))
    left = [name for name in names_in(parts_dir) if not name.endswith(".part")]
    assert left == sorted([*theirs, *mine, locking.FILE_NAME])
    assert unfinished.exists()
    build(tree, store, support_dir=support_dir)
    assert names_in(parts_dir) == sorted(mine)
    assert not unfinished.exists()


@pytest.fixture
def damaged_tree(tree: Path) -> Path:
    """With a recording whose damage is in its frames, and one whose header says that it is too slow."""
    path = tree / "D" / "S" / "0007.npz"
    content = path.read_bytes()
    path.write_bytes(content[:5000] + b"\0" * 8 + content[5008:])
    write(path.with_name("slow.npz"), recording(30, rate=10.0))
    return tree


def test_reports_of_shards_make_up_that_of_the_store(damaged_tree: Path, support_dir: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.h5"
    own = [
        build(
            damaged_tree,
            store,
            support_dir=support_dir,
            shard=Shard(number, 3),
            report_file=tmp_path / f"{number}.json",
        )
        for number in (1, 2, 3)
    ]
    whole = build(damaged_tree, store, support_dir=support_dir)
    assert sum(report.frames for report in own) == whole.frames
    assert sum(row.sequences for report in own for row in report.datasets) == whole.reused == RECORDINGS - 1
    assert [left.path for report in own for left in report.left_out] == ["D/S/0007.npz"]
    assert [left.path for left in whole.left_out] == ["D/S/0007.npz", "D/S/slow.npz"]
    for number, report in enumerate(own, start=1):
        assert json.loads((tmp_path / f"{number}.json").read_text()) == json.loads(report.to_json())


def test_strict_fails_the_shard_that_meets_the_damage_and_keeps_its_parts(
    damaged_tree: Path, support_dir: Path, tmp_path: Path, converted: Counter[str]
) -> None:
    store, options = tmp_path / "s.h5", {"support_dir": support_dir, "strict": True}
    with pytest.raises(BuildError, match=r"slow\.npz: is at 10 Hz"):
        build(damaged_tree, store, shard=Shard(1, 3), **options)  # type: ignore[arg-type]
    assert not converted
    (damaged_tree / "D" / "S" / "slow.npz").unlink()
    failed = []
    for number in (1, 2, 3):
        try:
            build(damaged_tree, store, shard=Shard(number, 3), **options)  # type: ignore[arg-type]
        except BuildError as error:
            assert str(error).startswith("D/S/0007.npz: ")
            assert "kept in" in error.__notes__[0]
            failed.append(number)
    assert len(failed) == 1
    assert len(converted) == RECORDINGS
    with pytest.raises(BuildError, match=r"0007\.npz"):
        build(damaged_tree, store, **options)  # type: ignore[arg-type]
    build(damaged_tree, store, support_dir=support_dir)
    assert set(converted.values()) == {1}


def test_a_shard_asks_for_the_room_of_all_parts_and_the_store(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(space, "require", lambda needed, *_: asked.append(needed))
    for shard in (Shard(1, 2), None):
        build(tree, tmp_path / f"{shard is None}.h5", support_dir=support_dir, shard=shard)
    assert asked[0] == asked[1]
    build(tree, tmp_path / "False.h5", support_dir=support_dir, shard=Shard(2, 2))
    assert asked[2] < asked[0]


def test_a_disk_that_fills_up_keeps_the_parts_of_a_shard(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, kept, fulls = tmp_path / "s.h5", 0, 0
    build(tree, tmp_path / "whole.h5", support_dir=support_dir)
    for writes in itertools.count(0, 5):
        with monkeypatch.context() as patch:
            disk = FullDisk(patch, writes)
            try:
                build(tree, store, support_dir=support_dir, shard=Shard(1, 2))
            except SpaceError as error:
                assert "is full" in str(error)
        if not disk.reached:
            break
        fulls += 1
        assert len(list(tmp_path.glob("s.h5.parts/*.part"))) >= kept
        kept = len(list(tmp_path.glob("s.h5.parts/*.part")))
        assert {path.suffix for path in tmp_path.glob("s.h5.parts/*")} <= {".part", ""}
    assert fulls > 1
    build(tree, store, support_dir=support_dir)
    assert store.read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_a_file_system_without_locks_is_one_clear_error(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(LockedError, match=r"s\.h5\.parts/lock: the file system has no locks .No locks available"):
        build(tree, tmp_path / "s.h5", support_dir=support_dir, shard=Shard(1, 2))


@pytest.mark.parametrize("stale", [True, False])
def test_a_lock_that_another_machine_removed_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stale: bool
) -> None:
    """As NFS shows it: the file is said to be gone, or its name is still remembered."""
    path = tmp_path / "s.parts" / locking.FILE_NAME
    flock, stat = fcntl.flock, Path.stat
    remembered: list[os.stat_result] = []

    def removed_first(descriptor: int, operation: int) -> None:
        if not remembered:
            remembered.append(os.fstat(descriptor))
            path.unlink()
            if stale:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        flock(descriptor, operation)

    def old_stat(of: Path, **keywords: Any) -> os.stat_result:
        if of == path and len(remembered) == 1 and not stale:
            remembered.append(remembered[0])
            return remembered[0]
        return stat(of, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", removed_first)
        patch.setattr(Path, "stat", old_stat)
        with locking.locked(path.parent, tmp_path / "s"):
            assert path.is_file()
            with pytest.raises(LockedError), locking.locked(path.parent, tmp_path / "s"):
                pass
    assert names_in(tmp_path) == []


def test_the_job_script_of_the_manual_gives_the_store(
    cli: Callable[..., Outcome], tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as that can be seen without SLURM: `sbatch` here runs what it gets at once, and notes the commands."""
    project, programs, noted = tmp_path / "project", tmp_path / "programs", tmp_path / "noted"
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "activate").touch()
    (project / "data").symlink_to(tree)
    (project / "support_data").symlink_to(support_dir)
    programs.mkdir()
    for name, script in {"h36m-amass": f'echo "$@" >> {noted}', "sbatch": _SBATCH}.items():
        (programs / name).write_text(f"#!/bin/bash\n{script}\n")
        (programs / name).chmod(0o755)
    page = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
    script, submission = (code.replace("16", "3") for code in re.findall(r"^```bash\n(.*?)^```$", page, re.M | re.S))
    (project / "convert.sbatch").write_text(script.replace("/shared/project", str(project)))
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-euc", submission], cwd=project, env=environment, check=True)
    lines = noted.read_text().splitlines()
    plain = "build data amass_h36m.h5 --device cpu --workers 0"
    assert lines == [*(f"{plain} --shard {number}/3" for number in (1, 2, 3)), plain]
    monkeypatch.chdir(project)
    for line in lines:
        assert not (project / "amass_h36m.h5").exists()
        assert cli(*line.split()).exit_code == 0
    assert len(Store(project / "amass_h36m.h5").sequences) == RECORDINGS


def test_the_command_says_what_to_run_at_the_end(
    cli: Callable[..., Outcome], tree: Path, support_dir: Path, tmp_path: Path
) -> None:
    store = tmp_path / "s.h5"
    arguments = ("build", tree, store, "--support-dir", support_dir, "--workers", 0)
    done = cli(*arguments, "--shard", "1/2")
    assert done.exit_code == 0
    *_, closing, advice = done.stdout.splitlines()
    assert closing.startswith(f"shard 1/2 of {store}: ")
    assert advice == f"when all shards are done, the same command without --shard finishes {store}"
    assert cli(*arguments, "--shard", "3/2").exit_code == 2
    assert cli(*arguments).exit_code == 0
    assert len(Store(store).sequences) == RECORDINGS
