"""Split stores: data files and an index store over them."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import pickle
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from h36m_amass import WindowDataset, build, collate, skeleton
from h36m_amass.conversion import publishing
from h36m_amass.datasets import canonical
from h36m_amass.store import data_files, split_frames
from h36m_amass.store import footer as sealing
from h36m_amass.store.format import JointSet, SequenceRecord, StoreHeader, UnitRecord
from h36m_amass.store.sizes import sequence_bytes
from h36m_amass.store.space import num_data_files, split_store_bytes
from h36m_amass.store.split_writer import Split, SplitWriter
from h36m_amass.store.store import Store, StoreError
from h36m_amass.store.summary import as_object, tree
from h36m_amass.store.writer import StoreWriter
from h36m_amass.system import atomic_file as whole_file
from h36m_amass.system.disk import SizeError, bytes_of
from h36m_amass.verification.store import verify
from tests.scenes import write_dataset

PAIR = skeleton.custom(("a", "b"))
HEADER = StoreHeader(
    "0", 50.0, {"male": "m"}, {}, True, (JointSet("h36m", "r", skeleton.H36M), JointSet("pair", "p", PAIR))
)
ROW_BYTES = (17 + 2) * 12
BLOCK = 97


def write(path: Path, lengths: list[int], size: int | None, compression: str = "none", seed: int = 0) -> np.ndarray:
    """A store of random positions, split unless `size` is None, in units of three sequences; returns the first set."""
    rng = np.random.default_rng(seed)
    both = [rng.normal(size=(sum(lengths), count, 3)).astype("<f4") for count in (17, 2)]
    split = None if size is None else Split(path, size, partial(publishing.data_path, path))
    temporary = whole_file.unfinished(path)
    writer: StoreWriter | SplitWriter
    writer = StoreWriter(temporary, HEADER) if split is None else SplitWriter(temporary, split, HEADER, compression)
    row = 0
    for first in range(0, len(lengths), 3):
        own = list(enumerate(lengths[first : first + 3], first))
        entries = []
        for number, length in own:
            start = row + sum(count for other, count in own if other < number)
            checksums = [zlib.crc32(positions[start : start + length].tobytes()) for positions in both]
            key = "D", f"s{number // 4}", f"q{number:04}"
            source = 2 * length, 100.0, "male", True, f"{'/'.join(key)}.npz", 7
            record = SequenceRecord(*key, length, 50.0, *source, checksums[0], canonical("D"))
            entries.append((record, (checksums[1],)))
        end = row + sum(length for _, length in own)
        blocks = (tuple(p[begin : min(begin + BLOCK, end)] for p in both) for begin in range(row, end, BLOCK))
        writer.write_unit(UnitRecord(f"{first}", len(own)), entries, blocks)
        row = end
    writer.finish()
    writer.close()
    (path.parent / "parts").mkdir(exist_ok=True)
    publishing.put_in_place(temporary, path, path.parent / "parts")
    return both[0]


LENGTHS = [3, 300, 1, 40, 500, 7, 7, 260, 90]
SIZE = 350 * ROW_BYTES
FEW_LENGTHS = [3, 300, 40, 260]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "s.h5", LENGTHS, SIZE)
    return tmp_path / "s.h5"


def files_of(path: Path) -> list[Path]:
    return [path.with_name(own.name) for own in data_files.listed(path)]


@settings(max_examples=12)
@given(
    lengths=st.lists(st.integers(1, 600), min_size=1, max_size=12),
    rows=st.integers(1, 2000),
    compression=st.sampled_from(["none", "gzip"]),
    data=st.data(),
)
@example(lengths=[5] * 12, rows=1, compression="none", data=None)
@example(lengths=[5] * 12, rows=10, compression="none", data=None)
def test_a_split_store_reads_like_one_in_one_file(
    lengths: list[int], rows: int, compression: str, data: st.DataObject | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.h5"
        positions = write(path, lengths, rows * ROW_BYTES, compression)
        with Store(path) as store:
            counts = [own.record.frames for own in store.data_files]
            ends = np.cumsum(counts).tolist()
            # Cut between sequences, and only where the next would have been too much.
            assert set(ends) <= set(np.cumsum(lengths).tolist())
            assert ends[-1] == sum(lengths)
            for count, end in zip(counts, ends, strict=True):
                assert count <= rows or count in lengths
                following = [length for length, stop in zip(lengths, np.cumsum(lengths), strict=True) if stop > end]
                assert not following or count + following[0] > rows
            num_files = num_data_files(len(positions) * ROW_BYTES, rows * ROW_BYTES, len(lengths))
            assert len(counts) <= num_files
            foreseen = split_store_bytes(num_files, len(positions), 19, len(lengths), 60)
            assert sum(own.stat().st_size for own in (path, *files_of(path))) <= foreseen
            np.testing.assert_array_equal(store.read(0, len(positions)), positions)
            spans = [(0, len(positions)), (0, 1), *itertools.pairwise([0, *ends])]
            if data is not None:
                drawn = st.lists(st.integers(0, len(positions)), min_size=2, max_size=2, unique=True).map(sorted)
                spans += [tuple(span) for span in data.draw(st.lists(drawn, max_size=5))]
            starts, stops = np.array(spans).T
            edges = np.append(0, np.cumsum(stops - starts))
            read = np.empty((edges[-1], 17, 3), np.float32)
            store.read_runs(starts, read, edges[:-1], edges[1:])
            np.testing.assert_array_equal(read, np.concatenate([positions[start:stop] for start, stop in spans]))
            with h5py.File(path) as file:
                np.testing.assert_array_equal(file["positions_3d"][:], positions)
                for name in store.joint_sets:
                    rows_of = file["joint_sets"][name]["positions_3d"][:]
                    np.testing.assert_array_equal(store.with_joint_set(name).read(0, len(positions)), rows_of)
                for sequence in store.sequences:
                    view = file[f"sequences/{sequence.key}/positions_3d"]
                    np.testing.assert_array_equal(view[:], positions[sequence.start : sequence.start + len(sequence)])


def _stretching(path: Path) -> tuple[str, ...]:
    """What `verify` says of noise, whose bones stretch; all of it is of that kind."""
    findings = verify(path).findings
    return tuple(finding for finding in findings if "bones do not stretch so" in finding)


def test_each_data_file_is_a_store_of_its_own(path: Path) -> None:
    whole = Store(path)
    parts = [Store(own) for own in files_of(path)]
    assert len(parts) > 2
    assert [sequence.key for part in parts for sequence in part.sequences] == [own.key for own in whole.sequences]
    for part in parts:
        for sequence in part.sequences:
            np.testing.assert_array_equal(sequence.positions_3d[:], whole[sequence.key].positions_3d[:])


def test_the_folder_can_be_moved_the_index_renamed_and_linked_to(path: Path, tmp_path: Path) -> None:
    positions = Store(path).read(0, sum(LENGTHS))
    shutil.move(tmp_path, moved := tmp_path.with_name(f"{tmp_path.name} moved"))
    renamed = (moved / "s.h5").rename(moved / "other.h5")
    (moved / "links").mkdir()
    link = moved / "links" / "s.h5"
    link.symlink_to(renamed)
    for own in (renamed, link):
        np.testing.assert_array_equal(Store(own).read(0, len(positions)), positions)
        with h5py.File(own) as file:
            np.testing.assert_array_equal(file["positions_3d"][:], positions)
    shutil.move(moved, tmp_path)


@pytest.mark.parametrize("name", ["50%b of %%.h5", "走る", "two.dots.h5", "-00001-0123456789ab.h5"])
def test_any_name_does(tmp_path: Path, name: str) -> None:
    positions = write(tmp_path / name, LENGTHS, SIZE)
    assert all(data_files.is_named_after(tmp_path / name, own.name) for own in files_of(tmp_path / name))
    with h5py.File(tmp_path / name) as file:
        np.testing.assert_array_equal(file["positions_3d"][:], positions)
    assert verify(tmp_path / name).findings == _stretching(tmp_path / name)


def _sum(store: Store) -> float:
    return float(store.read(0, store.num_frames).sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_it_survives_fork_spawn_and_pickling(path: Path, method: str) -> None:
    store = Store(path)
    expected = _sum(store)
    assert _sum(pickle.loads(pickle.dumps(store))) == expected  # noqa: S301 # our own object, made here
    with multiprocessing.get_context(method).Pool(1) as pool:
        # A function of this module would import all that the tests need.
        assert float(pool.apply(methodcaller("read", 0, sum(LENGTHS)), (store,)).sum()) == expected
    store.close()
    assert _sum(store) == expected


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
def test_few_files_are_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_frames, "MAX_OPEN", 2)

    def open_files() -> int:
        links = Path("/proc/self/fd").iterdir()
        return sum(path.parent.name in str(link.readlink()) for link in links if link.is_symlink())

    preadv, most = os.preadv, [0]

    def counting_preadv(*arguments: Any) -> int:
        most[0] = max(most[0], open_files())
        return preadv(*arguments)

    monkeypatch.setattr(os, "preadv", counting_preadv)
    store = Store(path)
    assert len(store.data_files) > 3
    assert open_files() == 0
    for _ in range(2):
        positions = store.read(0, sum(LENGTHS))
        assert open_files() == 2
        again = np.empty_like(positions)
        row = np.arange(len(positions))
        store.read_runs(row, again, row, row + 1)
        np.testing.assert_array_equal(again, positions)
        assert most == [2]
        assert open_files() == 2
    store.close()
    assert open_files() == 0


def test_windows_are_those_of_one_file(path: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    write(tmp_path / "one" / "s.h5", LENGTHS, None)
    one, split = (WindowDataset(Store(own), 9, step=4, padding="edge") for own in (tmp_path / "one" / "s.h5", path))
    chosen = np.random.default_rng(0).permutation(len(one)).tolist()
    again = collate(split.__getitems__(chosen))
    for name, values in collate(one.__getitems__(chosen)).items():
        np.testing.assert_array_equal(again[name], values)
    sizes = sequence_bytes(Store(tmp_path / "one" / "s.h5"))
    np.testing.assert_array_equal(sequence_bytes(Store(path)), sizes)
    told = as_object(Store(path), tree(Store(path)))["store"]["data_files"]
    assert [own["bytes"] for own in told] == [own.stat().st_size for own in files_of(path)]


def _cut(file: Path, _: Path) -> None:
    os.truncate(file, file.stat().st_size - 3000)


def _exchange(file: Path, other: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(other.read_bytes())
    other.write_bytes(content)


def _of_another_build(file: Path, _: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "s.h5", LENGTHS, SIZE, seed=1)
        shutil.copy(files_of(Path(folder) / "s.h5")[1], file)


def _made_a_folder(file: Path, _: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda file, _: file.unlink(), "is missing"),
        (_made_a_folder, "is missing"),
        (_cut, "is not the file that s.h5 was written with"),
        (_exchange, "has the seal of another"),
        (_of_another_build, "has the seal of another"),
        (lambda file, _: file.write_bytes(b""), "has no seal"),
    ],
)
def test_a_data_file_that_is_not_the_one_is_named(path: Path, harm: Callable[[Path, Path], None], reason: str) -> None:
    file, other = files_of(path)[1:3]
    harm(file, other)
    with pytest.raises(StoreError, match=reason) as caught:
        Store(path)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)
    found = verify(path).findings
    assert str(caught.value) in found
    assert sum(file.name in finding for finding in found) == 1
    assert {finding.split(":")[0] for finding in found} <= {str(file), str(other)}


def test_rows_of_a_missing_file_are_no_positions(path: Path) -> None:
    files_of(path)[0].unlink()
    with h5py.File(path) as file:
        assert np.isnan(file["positions_3d"][0]).all()
        assert np.isnan(file["sequences/D/s0/q0000/positions_3d"][:]).all()


def test_a_data_file_that_goes_while_the_store_is_open_is_named(path: Path) -> None:
    store = Store(path)
    files_of(path)[1].unlink()
    with pytest.raises(StoreError, match=f"{files_of(path)[1].name}: is not there any more"):
        store.read(0, store.num_frames)


@settings(max_examples=6)
@given(data=st.data())
def test_one_flipped_byte_of_any_file_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped" / "s.h5"
    if not path.exists():
        path.parent.mkdir()
        write(path, LENGTHS, SIZE)
    file = data.draw(st.sampled_from([path, *files_of(path)]))
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    whole = file.read_bytes()
    try:
        file.write_bytes(content)
        assert any(finding.startswith(f"{file}:") for finding in verify(path).findings)
    finally:
        file.write_bytes(whole)


def test_virtual_positions_that_are_other_rows_are_found(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        layout = h5py.VirtualLayout(file["positions_3d"].shape, "<f4")
        first = 0
        for own in reversed(data_files.read(file)):
            source = h5py.VirtualSource(own.name, "joint_sets/pair/positions_3d", (own.frames, 2, 3))
            layout[first : first + own.frames, :2] = source
            first += own.frames
        del file["joint_sets/pair/positions_3d"]
        file["joint_sets/pair"].create_virtual_dataset("positions_3d", layout)
    found = verify(path, quick=True).findings
    assert any("positions of its joint set pair are not those of its data files" in finding for finding in found)


@pytest.mark.parametrize("name", ["../s.h5", "/etc/passwd", "..", ""])
def test_an_index_that_names_files_elsewhere_is_refused(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        names = file["data_files/name"]
        names[0] = name.encode()
    with pytest.raises(StoreError, match="is damaged"):
        Store(path)


class Killed(BaseException):
    """Stands for a process that ends at once."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Let the n-th renaming or removal of a file, and all that follow, not happen."""
    countdown = [-1]

    def hindered(original: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object, **options: object) -> object:
            if countdown[0] == 0:
                raise Killed
            countdown[0] -= 1
            return original(*arguments, **options)

        return run

    for name in ("replace", "unlink"):
        monkeypatch.setattr(Path, name, hindered(getattr(Path, name)))
    yield lambda number: countdown.__setitem__(0, number)
    countdown[0] = -1


@pytest.mark.parametrize(("old_size", "new_size"), [(SIZE, SIZE), (SIZE, None), (None, SIZE), (SIZE, 10**9)])
def test_whenever_it_ends_one_store_is_whole_and_nothing_else_stays(
    tmp_path: Path, killed_at: Callable[[int], None], old_size: int | None, new_size: int | None
) -> None:
    path, parts_dir = tmp_path / "s.h5", tmp_path / "parts"
    mine = {
        tmp_path / name: b"mine"
        for name in ("s-00001-0123456789ab.h5", "s-00001.h5", "s.h5.00001.tmp", "notes.h36m-amass-tmp")
    }
    seen, number = set(), 0
    while True:
        for own in tmp_path.glob("*.*"):
            own.unlink()
        old = write(path, FEW_LENGTHS, old_size, seed=1)
        for own, content in mine.items():
            own.write_bytes(content)
        killed_at(number)
        try:
            new = write(path, FEW_LENGTHS, new_size, seed=2)
            ended = True
        except Killed:
            ended = False
        killed_at(-1)
        found = Store(path).read(0, len(old))
        seen.add(is_new := not np.array_equal(found, old))
        for own in (path, *files_of(path)):
            sealing.check_all(own)
        whole_file.unfinished(path).unlink(missing_ok=True)
        publishing.clear_away(path, path, parts_dir)
        np.testing.assert_array_equal(Store(path).read(0, len(old)), found)
        assert {*tmp_path.iterdir()} == {path, parts_dir, *files_of(path), *mine}
        assert not list(parts_dir.iterdir())
        assert {own: own.read_bytes() for own in mine} == mine
        if ended:
            assert is_new
            np.testing.assert_array_equal(found, new)
            break
        number += 1
    assert seen == {False, True}


def test_files_of_a_store_that_was_renamed_stay(path: Path, tmp_path: Path) -> None:
    positions = Store(path).read(0, sum(LENGTHS))
    renamed = path.rename(tmp_path / "kept.h5")
    write(path, LENGTHS, SIZE, seed=1)
    write(path, LENGTHS, SIZE, seed=2)
    np.testing.assert_array_equal(Store(renamed).read(0, len(positions)), positions)


def test_files_of_a_store_that_was_renamed_after_a_killed_build_stay(
    tmp_path: Path, killed_at: Callable[[int], None]
) -> None:
    path, kept, parts_dir = tmp_path / "s.h5", tmp_path / "kept.h5", tmp_path / "parts"
    ended, number = False, 0
    while not ended:
        for own in tmp_path.glob("*.*"):
            own.unlink()
        write(path, FEW_LENGTHS, SIZE, seed=1)
        killed_at(number)
        try:
            write(path, FEW_LENGTHS, SIZE, seed=2)
            ended = True
        except Killed:
            number += 1
        killed_at(-1)
        found = Store(path).read(0, sum(FEW_LENGTHS))
        path.rename(kept)
        publishing.clear_away(path, path, parts_dir)
        np.testing.assert_array_equal(Store(kept).read(0, len(found)), found)
        write(path, FEW_LENGTHS, SIZE, seed=3)
        np.testing.assert_array_equal(Store(kept).read(0, len(found)), found)
        assert not list(parts_dir.iterdir())


def test_what_a_killed_build_has_left_where_no_store_was_goes_when_there_is_one(
    tmp_path: Path, killed_at: Callable[[int], None]
) -> None:
    path, parts_dir = tmp_path / "s.h5", tmp_path / "parts"
    ended, number = False, 0
    while not ended:
        for own in tmp_path.glob("*.*"):
            own.unlink()
        killed_at(number)
        try:
            write(path, FEW_LENGTHS, SIZE, seed=1)
            ended = True
        except Killed:
            number += 1
        killed_at(-1)
        whole_file.unfinished(path).unlink(missing_ok=True)
        publishing.clear_away(path, path, parts_dir)
        write(path, FEW_LENGTHS, SIZE, seed=2)
        assert {*tmp_path.iterdir()} == {path, parts_dir, *files_of(path)}
        assert not list(parts_dir.iterdir())


def test_what_is_noted_of_stores_at_other_addresses_is_left(path: Path, tmp_path: Path) -> None:
    parts_dir, others = tmp_path / "parts", {"s3://bucket/s.h5": {"old": None, "new": [files_of(path)[0].name]}}
    journal = parts_dir / publishing.JOURNAL
    journal.write_text(json.dumps(others))
    publishing.clear_away(path, path, parts_dir)
    write(path, LENGTHS, SIZE, seed=1)
    assert json.loads(journal.read_text()) == others
    assert {*tmp_path.glob("s-*")} == {*files_of(path)}


def test_a_folder_in_the_place_of_an_old_data_file_stays(path: Path) -> None:
    lost = files_of(path)[1]
    lost.unlink()
    lost.mkdir()
    positions = write(path, LENGTHS, None, seed=3)
    np.testing.assert_array_equal(Store(path).read(0, len(positions)), positions)
    assert {own.name for own in path.parent.iterdir()} == {path.name, "parts", lost.name}


def test_files_that_are_called_after_another_store_stay(path: Path, tmp_path: Path) -> None:
    positions = Store(path).read(0, sum(LENGTHS))
    write(Path(shutil.copy(path, tmp_path / "copy.h5")), LENGTHS, SIZE, seed=1)
    np.testing.assert_array_equal(Store(path).read(0, len(positions)), positions)


def test_a_build_gives_the_same_files_for_any_workers_and_takes_them_over(support_dir: Path, tmp_path: Path) -> None:
    amass_dir = tmp_path / "amass"
    write_dataset(amass_dir, "D", 30)

    def built(folder: str, split_size: int | None, **options: object) -> dict[str, bytes]:
        (tmp_path / folder).mkdir(exist_ok=True)
        report = build(
            amass_dir,
            tmp_path / folder / "s.h5",
            support_dir=support_dir,
            split_size=split_size,
            **options,  # type: ignore[arg-type]
        )
        assert report.reused == (30 if options.get("update") else 0)
        return {own.name: own.read_bytes() for own in (tmp_path / folder).iterdir()}

    one = built("one", None)
    assert set(one) == {"s.h5"}
    split = built("a", 100_000)
    assert len(split) > 3
    assert built("b", 100_000, workers=2) == split
    assert built("one", 100_000, update=True) == split
    assert Store(tmp_path / "one" / "s.h5").header.options["split_size"] == 100_000
    smaller = built("a", 200_000, update=True)
    assert 1 < len(smaller) < len(split)
    assert built("a", None, update=True) == one
    assert "split_size" not in Store(tmp_path / "a" / "s.h5").header.options
    assert built("a", 100_000, overwrite=True) == split


@pytest.mark.parametrize(
    ("size", "expected"),
    [("500MB", 5 * 10**8), ("10GB", 10**10), ("2GiB", 2**31), ("2.5 gb", 25 * 10**8), ("100kB", 10**5)],
)
def test_sizes_are_read_as_people_write_them(size: str, expected: int) -> None:
    assert bytes_of(size) == expected


@pytest.mark.parametrize("size", ["10", "", "GB", "-1GB", "10 G", "1e3GB", "10PB", "٣GB", "nanGB"])
def test_what_is_no_size_is_wrong_usage(cli: Callable[..., object], tmp_path: Path, size: str) -> None:
    with pytest.raises(SizeError, match="10GB"):
        bytes_of(size)
    outcome = cli("build", tmp_path, tmp_path / "s.h5", "--split-size", size)
    assert getattr(outcome, "exit_code", None) == 2


def test_a_size_that_is_too_small_is_an_error(cli: Callable[..., object], tmp_path: Path) -> None:
    outcome = cli("build", tmp_path, tmp_path / "s.h5", "--split-size", "99kB")
    assert getattr(outcome, "exit_code", None) == 1
    assert "100 kB" in getattr(outcome, "stderr", "")
