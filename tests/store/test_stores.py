"""Several stores read as one are what each of them is."""

from __future__ import annotations

import math
import pickle
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from h36m_amass import import_human36m
from h36m_amass.skeleton import H36M, JOINT_ORDERS, Skeleton, reorder
from h36m_amass.store.errors import StoreError, UnknownKeyError
from h36m_amass.store.format import JointSet
from h36m_amass.store.store import Store
from h36m_amass.store.stores import Stores
from h36m_amass.training.windows import Padding, WindowDataset, WindowError, collate
from h36m_amass.verification.store import verify
from tests.human36m_files import IDS, METADATA, pixels, poses, write_npz
from tests.small_stores import write_store

LENGTHS = {"CMU/01/a": 5, "CMU/01/b": 300, "SFU/1/x": 41}


def amass_like(
    path: Path,
    lengths: dict[str, int] = LENGTHS,
    rate: float = 50.0,
    skeleton: Skeleton = H36M,
    compression: str = "none",
) -> Path:
    """A store of noise."""
    rng = np.random.default_rng(0)
    sequences = {key: [rng.normal(size=(length, len(skeleton), 3))] for key, length in lengths.items()}
    return write_store(path, [JointSet("h36m", "r", skeleton)], sequences, rate, compression)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two stores of AMASS's datasets, one of them compressed, and one of Human3.6M with detections."""
    folder, made = tmp_path_factory.mktemp("stores"), poses()
    data_3d = write_npz(folder / "3d.npz", positions_3d=made)
    data_2d = write_npz(folder / "2d.npz", positions_2d=pixels(made), metadata=METADATA)
    import_human36m(data_3d, folder / "h.h5", detections=data_2d)
    other = amass_like(folder / "b.h5", {"KIT/3/k": 77}, compression="gzip")
    return [amass_like(folder / "a.h5"), folder / "h.h5", other]


@pytest.fixture(scope="module")
def stores(paths: list[Path]) -> Stores:
    return Stores(paths)


@settings(max_examples=20)
@given(
    length=st.integers(1, 50),
    dilation=st.integers(1, 3),
    stride=st.integers(1, 40),
    padding=st.sampled_from(["edge", "zero", "none"]),
    detections=st.booleans(),
    seed=st.integers(0, 100),
)
def test_windows_of_several_stores_are_those_of_each(
    stores: Stores, length: int, dilation: int, stride: int, padding: Padding, detections: bool, seed: int
) -> None:
    how = {"length": length, "stride": stride, "dilation": dilation, "padding": padding, "joint_order": "h36m"}
    windows = WindowDataset(stores, detections=detections, **how)
    places: list[tuple[WindowDataset, int, int]] = []  # of each window: its own dataset, number and the store's rows
    first_row = 0
    for store in stores.stores:
        with suppress(WindowError):  # the store has no window of that length
            of_one = WindowDataset(store, detections=detections and bool(store.cameras), **how)
            places += [(of_one, number, first_row) for number in range(len(of_one))]
        first_row += len(store.sequences)
    assert len(windows) == len(places)
    numbers = np.random.default_rng(seed).permutation(len(windows))[:5]
    for number, item in zip(numbers, windows.__getitems__(numbers.tolist()), strict=True):
        of_one, own_number, first_row = places[number]
        expected = of_one[own_number]
        expected["sequence"] += first_row
        expected.setdefault("subject", torch.tensor(-1))
        if detections and "detections_2d" not in expected:
            expected["detections_2d"] = torch.full((length, 4, 17, 2), math.nan)
            if padding == "zero":
                expected["detections_2d"][~expected["mask"]] = 0
        for read in (item, windows[int(number)]):
            assert read.keys() == expected.keys()
            for name, values in expected.items():
                torch.testing.assert_close(read[name], values, rtol=0, atol=0, equal_nan=True)


def test_several_stores_are_chosen_from_as_one(paths: list[Path]) -> None:
    stores = Stores(paths)
    alone = [Store(path) for path in paths]
    assert [sequence.key for sequence in stores.sequences] == [s.key for store in alone for s in store.sequences]
    assert stores.num_frames == sum(store.num_frames for store in alone)
    assert (stores.datasets, stores.cameras) == (("CMU", "SFU", "Human36M", "KIT"), IDS)
    assert stores.frame_rate == 50.0
    for store in alone:
        for sequence in store.sequences:
            same = stores[sequence.key]
            np.testing.assert_array_equal(same.positions_3d, sequence.positions_3d)
            assert same.record == sequence.record
    chosen = stores.split("amass", "train") + stores.split("h36m", "train")
    assert [f"{s.dataset}/{s.subject}" for s in chosen] == ["CMU/01"] * 2 + ["Human36M/S1"] * 3 + ["KIT/3"]
    assert list((chosen + chosen).rows) == list(chosen.rows)
    assert np.isnan(stores["CMU/01/b"].detections_2d(IDS[0])).all()
    np.testing.assert_array_equal(
        stores["Human36M/S9/Walking 1"].detections_2d(IDS[2]), alone[1]["Human36M/S9/Walking 1"].detections_2d(IDS[2])
    )
    everything = np.concatenate([store.read(0, store.num_frames) for store in alone])
    np.testing.assert_array_equal(stores.read(0, stores.num_frames), everything)
    for first in (380, 340):  # the latter goes on in the next store
        frames = np.empty((20, 17, 3), np.float32)
        stores.read_runs(np.array([first, 350, 0]), frames, np.array([0, 12, 17]), np.array([12, 17, 20]))
        np.testing.assert_array_equal(frames, everything[[*range(first, first + 12), *range(350, 355), 0, 1, 2]])
    again = pickle.loads(pickle.dumps(chosen))  # noqa: S301 (its own)
    np.testing.assert_array_equal(again[-1].positions_3d, chosen[-1].positions_3d)
    nested = Stores([Stores(paths[:2]), paths[2]])
    np.testing.assert_array_equal(nested["KIT/3/k"].positions_3d, stores["KIT/3/k"].positions_3d)
    with pytest.raises(UnknownKeyError, match="has no dataset 'BMLrub'; it has CMU, SFU, Human36M, KIT"):
        stores["BMLrub"]
    with pytest.raises(StoreError, match="has no rows"):
        stores.read(stores.num_frames, stores.num_frames + 1)
    with pytest.raises(StoreError, match="open both with Stores"):
        _ = chosen + alone[0].sequences
    with pytest.raises(StoreError, match=r"a.h5 .*: has no path of its own"):
        verify(stores)
    assert verify(alone[1]).findings == ()
    stores.close()
    assert len(stores.read(0, 2)) == 2


def test_dataloaders_in_several_processes_read_several_stores(paths: list[Path]) -> None:
    windows = WindowDataset(Stores(paths), 9, stride=5, padding="edge", detections=True)
    batches = DataLoader(windows, batch_size=16, num_workers=2, collate_fn=collate)
    for expected, read in zip(DataLoader(windows, batch_size=16, collate_fn=collate), batches, strict=True):
        for name, values in expected.items():
            torch.testing.assert_close(values, read[name], rtol=0, atol=0, equal_nan=True)


def test_stores_that_do_not_go_together_are_refused_by_name(paths: list[Path], tmp_path: Path) -> None:
    right_first = amass_like(tmp_path / "r.h5", {"EKUT/1/a": 3}, skeleton=reorder(H36M, JOINT_ORDERS["h36m"]))
    faster = amass_like(tmp_path / "f.h5", {"EKUT/1/a": 3}, rate=60.0)
    native = Store(amass_like(tmp_path / "n.h5", {"EKUT/1/b": 3}))
    native.header = replace(native.header, frame_rate=math.nan)
    for others, message in (
        ([], "no stores are given"),
        ([paths[0], right_first], "r.h5: has other joints, or in another order, than .*a.h5"),
        ([paths[0], faster], "f.h5: is at 60 Hz, and .*a.h5 at 50 Hz; build it again with --frame-rate 50"),
        ([faster, paths[1]], "f.h5: is at 60 Hz, and .*h.h5 at 50 Hz; build it again with --frame-rate 50"),
        ([native, paths[0], faster], "f.h5: is at 60 Hz, and .*a.h5 at 50 Hz"),
        ([faster, native, paths[0]], "a.h5: is at 50 Hz, and .*f.h5 at 60 Hz"),
        ([paths[0], paths[0]], "two of these stores have CMU/01/a"),
    ):
        with pytest.raises(StoreError, match=message):
            Stores(others)
    for one in (str(paths[0]), paths[0], native):
        with pytest.raises(StoreError, match=r"takes a list, not one .*; write Stores\(\[...\]\)"):
            Stores(one)  # type: ignore[arg-type]
    assert math.isnan(Stores([paths[0], native]).frame_rate)
    assert math.isnan(Stores([native, paths[0], paths[1]]).frame_rate)
    with pytest.raises(WindowError, match="has no detections"):
        WindowDataset(Store(paths[0]), 3, detections=True)
