"""The npz dictionaries are what the AMASS-to-3DHPE script's users load."""

from __future__ import annotations

import pickletools
import time
import zipfile
from pathlib import Path
from typing import IO

import h5py
import numpy as np
import pytest

from h36m_amass.demo import Demo
from h36m_amass.export import pickles
from h36m_amass.export.npz import ExportError, export_npz
from h36m_amass.skeleton import H36M, JOINT_ORDERS, SkeletonError
from h36m_amass.store.store import Store, StoreError
from h36m_amass.system import atomic_file as whole_file
from h36m_amass.system.disk import SpaceError
from tests.store.test_store import write


def load(path: Path) -> dict[str, dict[str, dict[str, object]]]:
    with np.load(path, allow_pickle=True) as npz:
        assert npz.files == ["positions_3d", "joint_regressor"]
        return npz["positions_3d"].item()


def test_every_sequence_is_there_and_equals_the_store(demo: Demo) -> None:
    store = Store(demo.store)
    assert [path.name for path in demo.npz] == [f"{dataset}.npz" for dataset in store.datasets]
    for path in demo.npz:
        dictionary, dataset = load(path), store[path.stem]
        assert list(dictionary) == list(dataset)
        for subject, sequences in dictionary.items():
            assert list(sequences) == list(dataset[subject])
            for name, entry in sequences.items():
                sequence = dataset[subject][name]
                assert list(entry) == ["positions_3d", "frame_rate"]
                positions = entry["positions_3d"]
                assert type(positions) is np.ndarray
                assert positions.dtype == np.float32
                assert positions.shape == (len(sequence), 17, 3)
                np.testing.assert_array_equal(positions, sequence.positions_3d[:])
                assert type(entry["frame_rate"]) is float
                assert entry["frame_rate"] == 50.0


@pytest.mark.parametrize("order", JOINT_ORDERS)
def test_joint_orders_reorder_the_joints(demo: Demo, tmp_path: Path, order: str) -> None:
    (path,) = export_npz(demo.store, tmp_path, datasets=["Pretend"], joint_order=order)
    store = Store(demo.store)
    for subject, sequences in load(path).items():
        for name, entry in sequences.items():
            expected = store["Pretend"][subject][name].positions_3d[:][:, list(JOINT_ORDERS[order])]
            np.testing.assert_array_equal(entry["positions_3d"], expected)


def test_one_dataset_can_be_exported_alone_and_again(demo: Demo, tmp_path: Path) -> None:
    for _ in range(2):
        paths = export_npz(demo.store, tmp_path / "new" / "folder", datasets=["Madeup", "Madeup"])
        assert paths == [tmp_path / "new" / "folder" / "Madeup.npz"]
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["Madeup.npz"]


@pytest.mark.slow
def test_every_numpy_reads_it_and_the_bytes_are_always_the_same(tmp_path: Path) -> None:
    write(tmp_path / "s.h5", {"A/1/x": 3, "A/1/y": 2})
    (path,) = export_npz(tmp_path / "s.h5", tmp_path)
    before = path.read_bytes()
    with zipfile.ZipFile(path) as archive, archive.open("positions_3d.npy") as file:
        assert np.lib.format.read_magic(file) == (1, 0)
        assert np.lib.format.read_array_header_1_0(file) == ((), False, np.dtype(object))
        operations = list(pickletools.genops(file.read()))
    assert max(operation.proto for operation, _, _ in operations) <= 4
    names = {argument for operation, argument, _ in operations if isinstance(argument, str)}
    called = {"numpy", "array", "ndarray", "<f4", "O", "builtins", "bytearray"}
    assert names == {*called, "1", "x", "y", "positions_3d", "frame_rate"}
    (positions, *_) = (entry["positions_3d"] for entry in load(path)["1"].values())
    positions *= 2  # as one may with any array
    time.sleep(2.1)  # zip archives keep times in steps of two seconds
    export_npz(tmp_path / "s.h5", tmp_path)
    assert path.read_bytes() == before


def test_a_dataset_is_exported_by_each_of_its_names(tmp_path: Path) -> None:
    write(tmp_path / "s.h5", {"CMU/1/a": 3, "MPIHDM05/bd/x": 4})
    assert export_npz(tmp_path / "s.h5", tmp_path, datasets=["HDM05"]) == [tmp_path / "MPIHDM05.npz"]


def test_a_failed_export_leaves_the_old_file_as_it_was(
    demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = export_npz(demo.store, tmp_path, datasets=["Madeup"])
    before = path.read_bytes()

    def fail(content: object, file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pickles, "dump", fail)
    with pytest.raises(SpaceError, match=r"No space.*needs about .* kB"):
        export_npz(demo.store, tmp_path, datasets=["Madeup"])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["Madeup.npz"]


def test_where_one_file_differs_nothing_is_written(demo: Demo, tmp_path: Path) -> None:
    last = Store(demo.store).datasets[-1]
    (tmp_path / f"{last}.npz").write_bytes(b"mine")
    with pytest.raises(ExportError, match=r"is there already and differs; replace it with --overwrite"):
        export_npz(demo.store, tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]
    assert len(export_npz(demo.store, tmp_path, overwrite=True)) > 1


def test_what_cannot_be_exported_is_refused(demo: Demo, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no dataset 'Nope'"):
        export_npz(demo.store, tmp_path / "out", datasets=["Nope"])
    with pytest.raises(StoreError, match="no dataset 'Pretend/s1'"):
        export_npz(demo.store, tmp_path / "out", datasets=["Pretend/s1"])
    with pytest.raises(SkeletonError, match="joint order 'nope' is unknown"):
        export_npz(demo.store, tmp_path / "out", joint_order="nope")
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="file"):
        export_npz(demo.store, tmp_path / "file")
    assert not (tmp_path / "out").exists()


def test_a_dataset_name_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for number, dataset in enumerate(("../evil", "/evil", "a\\..\\evil")):
        store = tmp_path / f"{number}.h5"
        write(store, {"A/1/x": 3})
        with h5py.File(store, "r+") as file:
            del file["index/dataset"]
            file["index/dataset"] = np.array([dataset.encode()])
        with pytest.raises((ExportError, StoreError), match="evil"):
            export_npz(store, tmp_path / "deep" / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["0.h5", "1.h5", "2.h5", "deep"]


def test_the_h36m_order_is_the_usual_one() -> None:
    names = [H36M.joint_names[i] for i in JOINT_ORDERS["h36m"]]
    assert names[:7] == [
        "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    ]  # fmt: skip


def test_an_export_never_writes_through_a_link(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    out = tmp_path / "out"
    out.mkdir()
    for name in ("Madeup.npz", f"Madeup.npz{whole_file.SUFFIX}"):
        (out / name).symlink_to(tmp_path / "mine")
    export_npz(demo.store, out, datasets=["Madeup"], overwrite=True)
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert not (out / "Madeup.npz").is_symlink()
    assert [path.name for path in out.iterdir()] == ["Madeup.npz"]


def test_a_file_of_somebody_else_beside_the_export_stays(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "Madeup.npz.tmp").write_bytes(b"mine")
    export_npz(demo.store, tmp_path, datasets=["Madeup"])
    assert (tmp_path / "Madeup.npz.tmp").read_bytes() == b"mine"


def test_progress_is_told_of_what_has_been_read(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each sequence, and never ahead of it."""
    read, reports = [0], []
    original = Store.read_into
    monkeypatch.setattr(Store, "read_into", lambda self, at, rows: read.append(len(rows)) or original(self, at, rows))
    export_npz(demo.store, tmp_path, progress=lambda done, total: reports.append((done, total, sum(read))))
    with Store(demo.store) as store:
        assert len(reports) == 1 + len(store.sequences)
        assert reports[-1] == (store.num_frames,) * 3
    assert all(done == got for done, _, got in reports)
