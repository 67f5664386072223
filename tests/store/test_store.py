"""Reading a store: by this library, and by plain h5py."""

from __future__ import annotations

import json
import os
import pickle
import time
import zlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_amass import skeleton
from h36m_amass.datasets import CATALOGUE, HUMAN36M
from h36m_amass.files import paths
from h36m_amass.splits import SPLITS, SplitError, datasets_of
from h36m_amass.store import extents, open_file
from h36m_amass.store.format import INDEX_COLUMNS, JointSet, SequenceRecord, StoreHeader
from h36m_amass.store.store import Store, StoreError, UnknownKeyError
from h36m_amass.store.writer import StoreWriter

HEADER = StoreHeader("0", 50.0, {"male": "m"}, {"batch_size": 1}, True, (JointSet("h36m", "r", skeleton.H36M),))


def record(key: str, length: int) -> SequenceRecord:
    dataset, subject, sequence = key.split("/")
    source = 2 * length, 100.0, 100.0, "smplh", "male", True, f"{key}.npz", 7
    return SequenceRecord(dataset, subject, sequence, length, 50.0, *source, "d" * 64, 0)


def write(
    path: Path, lengths: dict[str, int], header: StoreHeader = HEADER, compression: str = "none", rate: float = 50.0
) -> np.ndarray:
    """A store of noise, with the checksums of it; gives the positions of the first joint set."""
    sets = [
        np.random.default_rng(0).normal(size=(sum(lengths.values()), len(joint_set.skeleton), 3)).astype("<f4")
        for joint_set in header.joint_sets
    ]
    writer, start = StoreWriter(path, header.joint_sets, compression), 0
    for key, length in lengths.items():
        blocks = [(start, start + 5), (start + 5, start + length)] if length > 5 else [(start, start + length)]
        checksum, *others = (zlib.crc32(positions[start : start + length].tobytes()) for positions in sets)
        writer.append(
            replace(record(key, length), frame_rate=rate, checksum=checksum),
            (tuple(positions[begin:end] for positions in sets) for begin, end in blocks),
            tuple(others),
        )
        start += length
    writer.finish(header)
    writer.close()
    return sets[0]


LENGTHS = {"A/1/x": 3, "A/1/y": 300, "A/2/x": 1, "B/ü ñ/走る": 40}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "s.h5", LENGTHS)
    return tmp_path / "s.h5"


def test_what_was_written_is_read(path: Path, tmp_path: Path) -> None:
    positions = write(tmp_path / "same.h5", LENGTHS)
    store = Store(path)
    start = 0
    for sequence, (key, length) in zip(store.sequences, LENGTHS.items(), strict=True):
        assert (sequence.key, sequence.start, len(sequence)) == (key, start, length)
        checksum = zlib.crc32(positions[start : start + length].tobytes())
        assert sequence.record == replace(record(key, length), checksum=checksum)
        assert (sequence.dataset, sequence.subject) == tuple(key.split("/")[:2])
        np.testing.assert_array_equal(sequence.positions_3d[:], positions[start : start + length])
        start += length
    assert (store.header, store.frame_rate) == (HEADER, 50.0)
    assert store[0].joint_names == skeleton.H36M.joint_names
    assert (tmp_path / "same.h5").read_bytes() == path.read_bytes()


def test_every_name_of_a_dataset_finds_it(tmp_path: Path) -> None:
    write(tmp_path / "s.h5", {"CMU/1/a": 3, "MPIHDM05/bd/x": 4, "My_Own/1/a": 5, "MyOwn/1/a": 6})
    store = Store(tmp_path / "s.h5")
    for name in ("MPIHDM05", "MPI_HDM05", "HDM05", "hdm05"):
        assert store[f"{name}/bd/x"] == store[name]["bd/x"] == store[1]
        assert name in store
        assert [sequence.key for sequence in store.select(dataset=name)] == ["MPIHDM05/bd/x"]
    assert [sequence.dataset for sequence in store.select(dataset="(?!MPIHDM05).*")] == ["CMU", "My_Own", "MyOwn"]
    assert (len(store["My_Own/1/a"]), len(store["MyOwn/1/a"])) == (5, 6)
    assert "my own" not in store
    assert store.select([("hdm05", ".*", ".*")]).num_frames == 4


def test_where_frames_lie_and_how_they_come_makes_no_difference(tmp_path: Path) -> None:
    lengths = {"A/1/x": 20_000, "A/1/y": 3, "A/2/x": 30_000}
    positions = write(tmp_path / "a.h5", lengths)
    writer = StoreWriter(tmp_path / "b.h5", HEADER.joint_sets)
    start = 0
    for key, length in lengths.items():
        rows = positions[start : start + length]
        checksum = zlib.crc32(rows.tobytes())
        writer.append(
            replace(record(key, length), checksum=checksum), ((rows[i : i + 777],) for i in range(0, length, 777))
        )
        start += length
    writer.finish(HEADER)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["extents"], extents.of_chunks(file["positions_3d"]))
        assert file["extents"].shape[1] > 1
        np.testing.assert_array_equal(file["positions_3d"], positions)
        for name in lengths:
            assert len(file[f"sequences/{name}/positions_3d"].virtual_sources()) == 1


def test_what_does_not_belong_together_is_not_written(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "s.h5", HEADER.joint_sets)
    rows = np.zeros((5, 17, 3), np.float32)
    with pytest.raises(ValueError, match="A/1/x: 5 frames"):
        writer.append(record("A/1/x", 4), [(rows,)])
    with pytest.raises(ValueError, match="2 joint sets"):
        writer.append(record("A/1/x", 5), [(rows,)], (7,))
    with pytest.raises(ValueError, match="other joint sets"):
        writer.finish(replace(HEADER, joint_sets=()))
    writer.close()
    with pytest.raises(StoreError, match="not finished"):
        Store(tmp_path / "s.h5")


@pytest.mark.parametrize("where", ["head", "index", "extents"])
def test_a_flipped_byte_in_what_is_read_to_open_a_store_is_noticed(path: Path, where: str) -> None:
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        offsets = {
            "head": 3000,
            **{name: file[key].id.get_offset() for name, key in (("index", "index/start"), ("extents", "extents"))},
        }
    content[offsets[where]] ^= 4
    path.write_bytes(content)
    with pytest.raises(StoreError, match="checksum mismatch at its ends"):
        Store(path)


def test_keys_work_level_by_level_and_as_paths(path: Path) -> None:
    store = Store(path)
    assert list(store) == ["A", "B"] == list(store.datasets)
    assert list(store["A"]) == ["1", "2"]
    assert list(store["A/1"]) == ["x", "y"]
    assert store["A"]["1"]["y"] == store["A/1/y"] == store["A"]["1/y"] == store[1]
    assert "A/1/y" in store
    assert "A/1/z" not in store
    assert "A/1/y/deeper" not in store
    assert 3 not in store
    assert store[-1] == store.sequences[3] == store["B/ü ñ/走る"] != store[0]
    with pytest.raises(UnknownKeyError, match="has no row 4; it has 4"):
        store[4]
    assert store.get(99) is None  # type: ignore[call-overload]
    assert len(store["A"]) == 2
    assert store.get("C") is None
    for key, message in (("C", "no dataset 'C'"), ("A/9", "no subject '9'"), ("A/1/q", "no sequence 'q'")):
        with pytest.raises(UnknownKeyError, match=message):
            store[key]
        with pytest.raises(KeyError):
            store[key]


@given(st.data())
def test_positions_are_indexed_like_an_array(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "indexed.h5"
    if not path.exists():
        write(path, LENGTHS)
    with Store(path) as store:
        lazy = store["B/ü ñ/走る"].positions_3d
        array = np.asarray(lazy)
        index = data.draw(
            st.one_of(
                st.slices(len(array)),
                st.integers(-len(array), len(array) - 1),
                st.tuples(st.slices(len(array)), st.integers(0, 16)),
                st.tuples(st.integers(-len(array), len(array) - 1), st.slices(17), st.just(2)),
                st.just(Ellipsis),
                st.just(()),
                st.tuples(st.just(Ellipsis), st.just(0)),
                st.lists(st.integers(0, len(array) - 1), min_size=1),
                st.lists(st.integers(0, len(array) - 1), min_size=1).map(np.array),
                st.integers(0, len(array) - 1).map(np.int64),
                st.just(np.arange(len(array)) % 3 == 0),
            )
        )
        np.testing.assert_array_equal(lazy[index], array[index])
        for outside in (len(array), -len(array) - 1):
            with pytest.raises(IndexError):
                lazy[outside]


def test_plain_h5py_reads_the_same_by_name(path: Path) -> None:
    store = Store(path)
    with h5py.File(path) as file:
        for sequence in store.sequences:
            view = file[f"sequences/{sequence.key}/positions_3d"]
            rows = file["positions_3d"][sequence.start : sequence.start + len(sequence)]
            np.testing.assert_array_equal(view[:], rows)
            np.testing.assert_array_equal(view[10:20], rows[10:20])


def test_a_moved_store_still_has_its_views(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / "other.h5")
    with h5py.File(moved) as file:
        np.testing.assert_array_equal(file["sequences/A/1/y/positions_3d"][:], file["positions_3d"][3:303])
        assert np.abs(file["sequences/A/1/y/positions_3d"][:]).max() > 0


def test_the_format_is_what_the_design_says(tmp_path: Path) -> None:
    sets = (*HEADER.joint_sets, JointSet("pair", "p", skeleton.named(("a", "b"))))
    write(tmp_path / "s.h5", LENGTHS, replace(HEADER, joint_sets=sets))
    with h5py.File(tmp_path / "s.h5") as file:
        assert (file.attrs["format"], file.attrs["format_version"]) == ("h36m-amass", 4)
        assert set(file) == {"positions_3d", "extents", "skeleton", "joint_sets", "index", "sequences", "header"}
        assert set(file["joint_sets/pair"]) == {"positions_3d", "extents", "skeleton", "checksum"}
        assert file["positions_3d"].dtype == np.dtype("<f4")
        assert file["positions_3d"].chunks == (256, 17, 3)
        columns = (
            "dataset subject sequence start length frame_rate source_frames source_frame_rate recorded_frame_rate "
            "model gender has_dmpls source_path source_size content_digest checksum"
        )
        assert set(file["index"]) == {*columns.split()} == {*INDEX_COLUMNS}
        assert {len(file["index"][name]) for name in file["index"]} == {len(LENGTHS)}
        assert set(file["skeleton"]) == {"joint_names", "parents", "left", "right"}
        header = json.loads(file["header"][()])
        for name, value in header.items():
            attribute = file.attrs[name]
            assert (json.loads(attribute) if isinstance(value, dict | list) else attribute) == value
        assert header["joint_sets"] == ["h36m", "pair"]


def test_nothing_in_a_store_tells_when_it_was_written(path: Path, tmp_path: Path) -> None:
    time.sleep(1.1)  # HDF5 stamps objects in whole seconds
    write(tmp_path / "later.h5", LENGTHS)
    assert (tmp_path / "later.h5").read_bytes() == path.read_bytes()


def test_a_store_can_be_pickled_and_closed(path: Path) -> None:
    store = Store(path)
    before = store["A/1/y"].positions_3d[5:9]
    again = pickle.loads(pickle.dumps(store))  # noqa: S301 # our own object, made here
    np.testing.assert_array_equal(again["A/1/y"].positions_3d[5:9], before)
    store.close()
    np.testing.assert_array_equal(store["A/1/y"].positions_3d[5:9], before)


def test_a_store_that_cannot_be_read_is_refused_by_name(path: Path, tmp_path: Path) -> None:
    cases = {}
    (tmp_path / "text.h5").write_text("no HDF5")
    cases["text.h5"] = "cannot be opened as a store"
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["x"] = 1
    cases["plain.h5"] = "not an h36m-amass store"
    (tmp_path / "cut.h5").write_bytes(path.read_bytes()[:-3000])
    cases["cut.h5"] = "cannot be opened as a store"
    for version in (1, 2, 3, 5):
        (tmp_path / f"{version}.h5").write_bytes(path.read_bytes())
        with h5py.File(tmp_path / f"{version}.h5", "r+") as file:
            file.attrs["format_version"] = version
        cases[f"{version}.h5"] = f"is of format version {version}, which this version does not read: build it again"
    cases["5.h5"] = "is of format version 5, and this h36m-amass reads version 4; upgrade it"
    holed = tmp_path / "holed.h5"
    holed.write_bytes(path.read_bytes())
    with h5py.File(holed, "r+") as file:
        del file["index/length"]
    cases["holed.h5"] = "index is damaged"
    cases["missing.h5"] = "no such store"
    for name, message in cases.items():
        with pytest.raises(StoreError, match=message) as caught:
            Store(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_index_that_does_not_fit_its_frames_is_refused(path: Path) -> None:
    content = path.read_bytes()

    def double(values: np.ndarray) -> np.ndarray:
        values[1] = values[0]
        return values

    changes = {
        "start": (lambda values: values[::-1], "do not make up the frames"),
        "length": (lambda values: values + 1, "do not make up the frames"),
        "gender": (lambda values: values[:2], "differ in length"),
        "checksum": (lambda values: values.astype("S9"), "checksum holds"),
        "sequence": (double, "a key comes twice"),
        "subject": (lambda values: np.array([b"\xff"] * len(values)), "can't decode byte"),
        "source_path": (lambda values: np.array([b"\xff"] * len(values)), "can't decode byte"),
        "frame_rate": (lambda values: values * np.nan, "a frame rate is not positive"),
    }
    for column, (change, message) in changes.items():
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            values = change(file["index"][column][:])
            del file["index"][column]
            file["index"][column] = values
        with pytest.raises(StoreError, match=f"its index is damaged .*{message}"):
            Store(path)


@pytest.mark.parametrize(("name", "value"), [("left", 99), ("parents", -2), ("parents", 17)])
def test_a_skeleton_of_other_joints_is_refused(path: Path, name: str, value: int) -> None:
    with h5py.File(path, "r+") as file:
        file["skeleton"][name][0] = value
    with pytest.raises(StoreError, match="names joints that it does not have"):
        Store(path)


def test_positions_that_do_not_fit_the_skeleton_are_refused(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["positions_3d"]
        file["positions_3d"] = np.zeros((344, 16, 3), np.float32)
    with pytest.raises(StoreError, match=r"damaged \(positions_3d has shape \(344, 16, 3\)\)"):
        Store(path)


@pytest.mark.parametrize("how", ["as written", "contiguous", "big-endian", "other chunks", "user block"])
def test_a_store_that_another_program_has_repacked_reads_the_same(path: Path, tmp_path: Path, how: str) -> None:
    repacked = tmp_path / "repacked.h5"
    with h5py.File(path) as old, h5py.File(repacked, "w", userblock_size=512 if how == "user block" else 0) as new:
        new.attrs.update(old.attrs)
        for name in ("index", "skeleton", "header", "extents"):
            old.copy(name, new)
        values = old["positions_3d"][:]
        kinds = {
            "other chunks": {"chunks": (100, 4, 3)},
            "contiguous": {},
            "big-endian": {"dtype": ">f4", "chunks": (256, 17, 3)},
        }
        new.create_dataset("positions_3d", data=values, **kinds.get(how, {"chunks": (256, 17, 3)}))
    with Store(path) as expected, Store(repacked) as actual:
        for sequence in expected.sequences:
            np.testing.assert_array_equal(actual[sequence.key].positions_3d[:], sequence.positions_3d[:])
        np.testing.assert_array_equal(actual.read(250, 260), expected.read(250, 260))


def test_rows_are_read_wherever_their_chunks_lie(tmp_path: Path) -> None:
    positions = write(tmp_path / "s.h5", {"A/1/a": 1793})
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        del file["positions_3d"]
        rows = file.create_dataset("positions_3d", positions.shape, "<f4", chunks=(256, 17, 3))
        for chunk in (5, 3, 4, 7, 0, 1, 2, 6):
            rows[256 * chunk : 256 * chunk + 256] = positions[256 * chunk : 256 * chunk + 256]
            file.flush()
        places: list[int] = []
        rows.id.chunk_iter(lambda chunk: places.append(chunk.byte_offset))
    assert len(set(np.diff(places))) > 2
    with Store(tmp_path / "s.h5") as store:
        for start, stop in ((0, 1793), (255, 257), (1023, 1793), (100, 100), (1792, 1793)):
            np.testing.assert_array_equal(store.read(start, stop), positions[start:stop])
        starts, lengths = np.array([0, 250, 700, 1000, 1500]), np.array([256, 700, 3, 793, 12])
        ends = np.cumsum(lengths)
        frames = np.empty((ends[-1], 17, 3), np.float32)
        store.read_runs(starts, frames, ends - lengths, ends)
        expected = [positions[start : start + length] for start, length in zip(starts, lengths, strict=True)]
        np.testing.assert_array_equal(frames, np.concatenate(expected))
        for start, stop in ((-1, 5), (5, 1794)):
            with pytest.raises(StoreError, match="has no rows"):
                store.read(start, stop)
        with pytest.raises(StoreError, match="has only 1793 rows"):
            store.read_runs(starts + 900, frames, ends - lengths, ends)


def test_a_file_that_is_cut_short_while_it_is_open_is_an_error(path: Path) -> None:
    with Store(path) as store:
        store.read(0, 1)
        os.truncate(path, 60000)
        with pytest.raises(StoreError, match=r"s\.h5: was cut short while it was open"):
            store.read(0, store.num_frames)


def test_only_contiguous_memory_is_filled(path: Path) -> None:
    with Store(path) as store, pytest.raises(TypeError):
        store.read_into(0, np.empty((2, 17, 6), np.float32)[:, :, ::2])


def test_a_store_is_found_from_another_folder(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    store = Store(path.name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(store.read(0, 3)) == 3


def test_selections_match_whole_names(path: Path) -> None:
    store = Store(path)

    def keys(**patterns: str) -> list[str]:
        return [sequence.key for sequence in store.select(**patterns)]

    assert keys() == list(LENGTHS)
    assert keys(dataset="A", sequence="x|q") == ["A/1/x", "A/2/x"]
    assert keys(subject="[12]", sequence="y") == ["A/1/y"]
    selection = store.select([("B", ".*", ".*"), ("A", "2", ".")])
    assert [sequence.key for sequence in selection] == ["A/2/x", "B/ü ñ/走る"]
    assert (len(selection), selection.num_frames) == (2, 41)
    assert store["A/2/x"] in selection
    assert store["A/1/x"] not in selection
    assert selection[-1] == store["B/ü ñ/走る"]
    assert [sequence.key for sequence in selection[::-1].select(dataset="A")] == ["A/2/x"]
    assert [sequence.key for sequence in store["A/1"].sequences] == ["A/1/x", "A/1/y"]
    assert [sequence.row for sequence in store.sequences[[2, 0]]] == [2, 0]
    assert [sequence.row for sequence in store.sequences[store.index["length"] > 39]] == [1, 3]
    assert len(store.sequences[[]]) == 0
    for patterns, message in (
        ({"dataset": "AA"}, "nothing matches dataset 'AA', subject"),
        ({"sequence": "x.+"}, "nothing matches"),
        ({"subject": ""}, "nothing matches"),
        ({"triples": [("A", "1", "x"), ("A", "9", "x")]}, "nothing matches dataset 'A', subject '9', sequence 'x'"),
        ({"dataset": "("}, "is not a regular expression"),
        ({"triples": ("A", "1", "x")}, "'A' is not a triple"),
    ):
        with pytest.raises(StoreError, match=message):
            store.select(**patterns)  # type: ignore[arg-type]


@pytest.mark.parametrize("split", SPLITS)
def test_no_other_name_of_a_dataset_puts_it_into_another_part(split: str) -> None:
    for dataset in CATALOGUE:
        parts = [part for part in SPLITS[split] if datasets_of(split, part, (dataset.name,))]
        for name in (*dataset.folders, *dataset.names):
            assert [part for part in SPLITS[split] if datasets_of(split, part, (name,))] == parts


def test_splits_name_datasets_of_the_catalogue() -> None:
    named = {name for parts in SPLITS.values() for names in parts.values() for name in names}
    datasets = {name.partition("/")[0] for name in named}
    assert datasets - {"*"} <= {HUMAN36M, *(dataset.name for dataset in CATALOGUE)}


def test_splits_find_datasets_however_they_are_written(tmp_path: Path) -> None:
    names = (
        "ACCAD",
        "CMU",
        "Eyes_Japan_Dataset",
        "Human36M",
        "HumanEva",
        "MPI_HDM05",
        "MPIMosh",
        "Mine",
        "SSM",
        "Transitions_mocap",
    )
    write(tmp_path / "s.h5", {f"{name}/1/a": 3 for name in names})
    store = Store(tmp_path / "s.h5")
    datasets = {
        (split, part): [sequence.record.dataset for sequence in store.split(split, part)]
        for split, parts in SPLITS.items()
        if split != "h36m"
        for part in parts
    }
    assert datasets == {
        ("uplift-upsample", "train"): ["ACCAD", "CMU", "Eyes_Japan_Dataset", "Transitions_mocap"],
        ("uplift-upsample", "val"): ["MPI_HDM05", "MPIMosh"],
        ("amass", "train"): ["ACCAD", "CMU", "Eyes_Japan_Dataset", "Mine"],
        ("amass", "val"): ["HumanEva", "MPI_HDM05", "MPIMosh"],
        ("amass", "test"): ["SSM", "Transitions_mocap"],
    }
    for split, part, message in (("vibe", "train", "split 'vibe' is unknown"), ("amass", "dev", "has no part 'dev'")):
        with pytest.raises(SplitError, match=message):
            store.split(split, part)
    write(tmp_path / "t.h5", {"Mine/1/a": 3})
    with pytest.raises(UnknownKeyError, match="has no dataset of 'val' of 'amass'; it has Mine"):
        Store(tmp_path / "t.h5").split("amass", "val")
    with pytest.raises(UnknownKeyError, match="has no subject of 'test' of 'h36m'; it has"):
        store.split("h36m", "test")  # the only subject is called 1


def test_human36m_is_split_by_subjects(tmp_path: Path) -> None:
    subjects = ("S1", "S11", "S2", "S5", "S6", "S7", "S8", "S9")
    write(tmp_path / "s.h5", {"CMU/S1/a": 3, **{f"Human36M/{subject}/Walking 1": 3 for subject in subjects}})
    store = Store(tmp_path / "s.h5")
    split = {part: [sequence.subject for sequence in store.split("h36m", part)] for part in SPLITS["h36m"]}
    assert split == {"train": ["S1", "S5", "S6", "S7", "S8"], "test": ["S11", "S9"]}
    assert {sequence.dataset for sequence in store.split("h36m", "train")} == {"Human36M"}
    assert [sequence.dataset for sequence in store.split("amass", "train")] == ["CMU"]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_the_index_is_a_frame_on_request(path: Path, library: str) -> None:
    pytest.importorskip(library)
    store = Store(path)
    part = store.index.take(np.array([3, 1]))
    whole, frame = (getattr(index, f"to_{library}")() for index in (store.index, part))
    assert set(INDEX_COLUMNS) <= set(frame.columns)
    assert (len(whole), len(frame)) == (4, 2)
    assert list(frame["sequence"]) == ["走る", "y"]
    assert list(frame["length"]) == [40, 300]
    assert list(frame.index if library == "pandas" else frame["row"]) == [3, 1]


def test_keys_complete_in_a_notebook(path: Path) -> None:
    store = Store(path)
    assert store._ipython_key_completions_() == ["A", "B"]
    assert store["A/1"]._ipython_key_completions_() == ["x", "y"]


def test_native_rate_is_nan(tmp_path: Path) -> None:
    write(tmp_path / "s.h5", LENGTHS, replace(HEADER, frame_rate=float("nan")))
    assert np.isnan(Store(tmp_path / "s.h5").header.frame_rate)


def test_reprs_say_what_a_thing_is(path: Path) -> None:
    store = Store(path)
    assert "2 datasets" in repr(store)
    assert repr(store["A"]) == "<A: 2 subjects (1, 2)>"
    assert "300 frames at 50 Hz" in repr(store["A/1/y"])
    assert store["A/1/y"].duration == 6.0


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_others_may_have_the_file_open(tmp_path: Path, compression: str) -> None:
    positions = write(tmp_path / "s.h5", LENGTHS, compression=compression)
    with h5py.File(tmp_path / "s.h5", "r") as file, Store(tmp_path / "s.h5") as store:
        np.testing.assert_array_equal(store.read(0, 344), positions)
        np.testing.assert_array_equal(file["positions_3d"], positions)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_store_at_a_url_is_opened_with_two_requests_and_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str
) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    lengths = {f"A/{number // 50}/{number}": 100 for number in range(500)}
    positions = write(tmp_path / "s.h5", lengths, compression=compression)
    memory.put(str(tmp_path / "s.h5"), "/s.h5")
    requests: list[int] = []
    read_ranges = paths.read_ranges

    def counted(path: Any, starts: Any, stops: Any) -> list[bytes]:
        requests.append(len(starts))
        return read_ranges(path, starts, stops)

    for module in (paths, open_file):
        monkeypatch.setattr(module, "read_ranges", counted)
    try:
        with Store("memory://s.h5") as store:
            assert compression != "none" or len(requests) == 1
            np.testing.assert_array_equal(store.read(20_000, 20_100), positions[20_000:20_100])
            assert compression != "none" or requests == [2, 1]
            again = pickle.loads(pickle.dumps(store))  # noqa: S301 # our own object, made here
            np.testing.assert_array_equal(again["A/3/177"].positions_3d[:], positions[17_700:17_800])
            memory.store["/s.h5"].created += timedelta(1)
            memory.store["/s.h5"].modified += timedelta(1)
            with pytest.raises(StoreError, match=r"memory:.*s\.h5: is another file than when it was opened"):
                again.close()
                again.read(0, 1)
    finally:
        memory.rm("/s.h5")
