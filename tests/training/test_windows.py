"""Windows are slices of their sequences, however and from wherever they are read."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from h36m_amass import skeleton
from h36m_amass.store.rows import CACHE_SLOTS, CACHED_BYTES, Hdf5FrameReader
from h36m_amass.store.store import Store, StoreError
from h36m_amass.training.windows import Padding, WindowBatch, WindowDataset, WindowError, collate
from tests.store.test_store import write

LENGTHS = {"A/1/a": 1, "A/1/b": 2, "A/2/a": 300, "B/1/a": 7, "B/1/b": 1, "B/2/a": 41, "C/1/a": 530}
COMPRESSIONS = ("none", "lzf", "gzip")


@pytest.fixture(scope="module", params=COMPRESSIONS)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("windows") / "s.h5"
    write(path, LENGTHS, compression=request.param)
    return path


# Compressed stores of both kinds are read by one code, and processes are slow to start.
started = pytest.mark.parametrize(
    ("path", "method"), [("none", "fork"), ("gzip", "fork"), ("gzip", "spawn")], indirect=["path"], scope="module"
)
COUNT = {"fork": 2, "spawn": 1}
"""What a spawned process imports takes seconds, whatever it reads then."""


@pytest.fixture(scope="module")
def store(path: Path) -> Iterator[Store]:
    with Store(path) as store:
        yield store


def by_hand(store: Store, length: int, dilation: int, stride: int, padding: Padding) -> list[dict[str, Any]]:
    """All windows, frame by frame, as the documentation describes them."""
    windows = []
    for row, sequence in enumerate(store.sequences):
        frames = np.asarray(sequence.positions_3d)
        for frame in range(0, len(frames), stride):
            start = frame if padding == "none" else frame - (length - 1) // 2 * dilation
            indices = [start + i * dilation for i in range(length)]
            mask = [0 <= i < len(frames) for i in indices]
            if padding == "none" and not all(mask):
                continue
            inside = [i for i, is_inside in zip(indices, mask, strict=True) if is_inside]
            nearest = [min(max(i, inside[0]), inside[-1]) for i in indices]
            positions = frames[nearest].copy()
            if padding == "zero":
                positions[~np.array(mask)] = 0.0
            windows.append({"positions_3d": positions, "mask": mask, "sequence": row, "start": start})
    return windows


def assert_same(item: dict[str, torch.Tensor], expected: dict[str, Any]) -> None:
    assert item.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(item[name].numpy(), value)


@given(
    length=st.integers(1, 60),
    dilation=st.integers(1, 9),
    stride=st.integers(1, 70),
    padding=st.sampled_from(["none", "edge", "zero"]),
    data=st.data(),
)
def test_every_window_is_sliced_from_its_sequence(
    store: Store, length: int, dilation: int, stride: int, padding: Padding, data: st.DataObject
) -> None:
    expected = by_hand(store, length, dilation, stride, padding)
    if not expected:
        with pytest.raises(WindowError, match="no window"):
            WindowDataset(store, length, dilation=dilation, stride=stride, padding=padding)
        return
    windows = WindowDataset(store, length, dilation=dilation, stride=stride, padding=padding)
    assert len(windows) == len(expected)
    numbers = data.draw(st.lists(st.integers(-len(windows), len(windows) - 1), max_size=20))
    for number, item in zip(numbers, windows.__getitems__(numbers), strict=True):
        assert_same(item, expected[number])
        assert_same(windows[number], expected[number])


def test_all_windows_together_are_all_frames(store: Store) -> None:
    windows = WindowDataset(store, 1)
    batch = collate(windows.__getitems__(range(len(windows))))
    np.testing.assert_array_equal(batch["positions_3d"][:, 0].numpy(), store.read(0, store.num_frames))
    assert batch["mask"].all()


def test_windows_of_a_selection_are_only_its_own_and_in_its_order(store: Store) -> None:
    windows = WindowDataset(store.select(dataset="B|C")[::-1], 5, stride=3)
    rows = collate(windows.__getitems__(range(len(windows))))["sequence"].tolist()
    assert [store[row].key for row in dict.fromkeys(rows)] == ["C/1/a", "B/2/a", "B/1/a"]
    assert [sequence.key for sequence in windows.too_short] == ["B/1/b"]


@pytest.mark.parametrize("order", skeleton.JOINT_ORDERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_joint_order_and_type_are_as_asked(store: Store, order: str, dtype: torch.dtype) -> None:
    item = WindowDataset(store, 3, joint_order=order, dtype=dtype)[0]
    plain = WindowDataset(store, 3)[0]["positions_3d"]
    assert item["positions_3d"].dtype == dtype
    torch.testing.assert_close(
        item["positions_3d"], plain[:, list(skeleton.JOINT_ORDERS[order])].to(dtype), rtol=0, atol=0
    )
    names = WindowDataset(store, 3, joint_order=order).skeleton.joint_names
    assert names == tuple(store.joint_names[i] for i in skeleton.JOINT_ORDERS[order])


def test_a_dataloader_gives_each_window_once_with_and_without_our_collate(store: Store) -> None:
    windows = WindowDataset(store, 9, stride=4, padding="edge")
    for function in (collate, None):
        generator = torch.Generator().manual_seed(3)
        loader = DataLoader(windows, batch_size=16, shuffle=True, generator=generator, collate_fn=function)
        batches = list(loader)
        assert all(isinstance(batch, dict) for batch in batches)
        seen = sorted((s, f) for b in batches for s, f in zip(b["sequence"].tolist(), b["start"].tolist(), strict=True))
        assert seen == sorted((int(w["sequence"]), int(w["start"])) for w in (windows[i] for i in range(len(windows))))
    items = [windows[i] for i in range(5)]
    for name, values in collate(windows.__getitems__(range(5))).items():
        torch.testing.assert_close(collate(items)[name], values, rtol=0, atol=0)


def test_a_batch_is_a_list_of_its_windows(store: Store) -> None:
    batch = WindowDataset(store, 9).__getitems__([5, 3, 3])
    assert isinstance(batch, WindowBatch)
    assert len(batch) == len(list(batch)) == 3
    torch.testing.assert_close(batch[1]["positions_3d"], batch[-1]["positions_3d"], rtol=0, atol=0)
    assert len(batch[1:]) == 2
    with pytest.raises(IndexError):
        batch[3]


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64, torch.tensor])
def test_numbers_of_any_integer_type_are_the_same_window(store: Store, kind: Any) -> None:
    windows = WindowDataset(store, 27, padding="edge", stride=3)
    for number in (0, 1, 120):
        expected = {name: values.numpy() for name, values in windows[number].items()}
        assert_same(windows[kind(number)], expected)
        assert_same(windows.__getitems__([kind(number)])[0], expected)


def test_the_transform_sees_batches_and_what_it_gives_is_given(store: Store) -> None:
    def transform(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        assert batch["positions_3d"].ndim == 4
        return {"root": batch["positions_3d"][:, :, 0], "sequence": batch["sequence"]}

    windows = WindowDataset(store, 9, transform=transform)
    assert windows[4]["root"].shape == (9, 3)
    assert collate(windows.__getitems__([1, 2]))["root"].shape == (2, 9, 3)


def test_what_cannot_be_had_is_refused(store: Store) -> None:
    for arguments, message in (
        ({"length": 0}, "length 0 must be at least 1"),
        ({"length": 5, "dilation": 0}, "dilation 0"),
        ({"length": 5.0}, "length 5.0 is not a whole number"),
        ({"length": 5, "dtype": torch.int32}, "cannot hold positions"),
        ({"length": 5, "dtype": "float32"}, "cannot hold positions"),
        ({"length": 5, "stride": -1}, "stride -1"),
        ({"length": 5, "padding": "reflect"}, "padding 'reflect' is unknown; choose from none, edge, zero"),
        ({"length": 531}, "no window of 531 frames .* the longest has 530"),
        ({"length": 54, "dilation": 10}, "no window of 531 frames"),
        ({"length": 5, "sequences": store.sequences[:0]}, "no sequences are selected"),
    ):
        with pytest.raises(WindowError, match=message):
            WindowDataset(**{"sequences": store, **arguments})  # type: ignore[arg-type]
    windows = WindowDataset(store["C"], 530)
    assert len(windows) == 1
    for number in (0.0, slice(0, 1), [0]):
        with pytest.raises(TypeError):
            windows[number]  # type: ignore[index]
    with pytest.raises(TypeError):
        windows.__getitems__([0.5])  # type: ignore[list-item]
    for number in (1, -2):
        with pytest.raises(IndexError):
            windows[number]


def fingerprint(windows: WindowDataset) -> tuple[int, bytes]:
    """This process's number, and all that the windows hold."""
    batch = collate(windows.__getitems__(range(len(windows))))
    return os.getpid(), b"".join(values.numpy().tobytes() for values in batch.values())


@pytest.mark.slow
@started
def test_processes_read_what_this_one_reads(store: Store, method: str) -> None:
    windows = WindowDataset(store, 27, stride=5, padding="edge")
    _, expected = fingerprint(windows)
    with ProcessPoolExecutor(COUNT[method], multiprocessing.get_context(method)) as processes:
        fingerprints = list(processes.map(fingerprint, [windows] * 4))
    assert {content for _, content in fingerprints} == {expected}
    assert os.getpid() not in {process for process, _ in fingerprints}
    assert fingerprint(windows) == (os.getpid(), expected)


@pytest.mark.slow
@started
def test_dataloader_workers_read_what_this_process_reads(store: Store, method: str) -> None:
    windows = WindowDataset(store, 27, stride=20, padding="zero")

    def batches(workers: int) -> list[dict[str, torch.Tensor]]:
        context = method if workers else None
        return list(DataLoader(windows, 8, collate_fn=collate, num_workers=workers, multiprocessing_context=context))

    for batch, expected in zip(batches(COUNT[method]), batches(0), strict=True):
        for name, values in expected.items():
            torch.testing.assert_close(batch[name], values, rtol=0, atol=0)


def test_threads_read_what_one_reads(path: Path) -> None:
    with Store(path) as store:
        windows = WindowDataset(store, 27, stride=5, padding="edge")
        with ThreadPoolExecutor(8) as threads:
            fingerprints = list(threads.map(fingerprint, [windows] * 32))
    with Store(path) as store:
        assert set(fingerprints) == {fingerprint(WindowDataset(store, 27, stride=5, padding="edge"))}


def test_closing_a_store_does_not_disturb_those_who_read(path: Path) -> None:
    with Store(path) as store:
        windows = WindowDataset(store, 27, stride=5, padding="edge")
        expected = fingerprint(windows)
        with ThreadPoolExecutor(4) as threads:
            running = [threads.submit(fingerprint, windows) for _ in range(40)]
            while not all(future.done() for future in running):
                store.close()
        assert {future.result() for future in running} == {expected}


def test_a_fork_opens_a_compressed_store_anew(tmp_path: Path) -> None:
    write(tmp_path / "s.h5", LENGTHS, compression="gzip")
    store = Store(tmp_path / "s.h5")
    before, reader = store.read(5, 9), store._frames
    assert isinstance(reader, Hdf5FrameReader)
    _, opened = reader._opened
    reader._opened = -1, opened  # what a fork leaves behind
    np.testing.assert_array_equal(store.read(5, 9), before)
    assert reader._opened[1] is not opened


@pytest.mark.parametrize("compression", ["lzf", "gzip"])
def test_decoded_chunks_are_kept_up_to_a_bound(tmp_path: Path, compression: str) -> None:
    write(tmp_path / "s.h5", LENGTHS, compression=compression)
    store = Store(tmp_path / "s.h5")
    store.read(0, 1)
    reader = store._frames
    assert isinstance(reader, Hdf5FrameReader)
    _, slots, num_bytes, _ = reader._opened[1].file.id.get_access_plist().get_cache()
    assert (slots, num_bytes) == (CACHE_SLOTS, CACHED_BYTES)


def test_how_many_rows_are_read_together_makes_no_difference(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = WindowDataset(Store(path), 9, dilation=3, padding="edge")
    expected = fingerprint(windows)
    monkeypatch.setattr("h36m_amass.training.windows.ROWS_AT_ONCE", 40)
    assert fingerprint(windows) == expected


def test_a_pickled_dataset_reads_the_same_and_refuses_another_file(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    write(path, LENGTHS)
    windows = WindowDataset(Store(path), 9, stride=2)
    expected = fingerprint(windows)
    pickled = pickle.dumps(windows)
    assert fingerprint(pickle.loads(pickled)) == expected  # noqa: S301 # our own object, made here
    write(tmp_path / "other.h5", {**LENGTHS, "D/1/a": 400})
    (tmp_path / "other.h5").replace(path)
    assert fingerprint(windows) == expected
    with pytest.raises(StoreError, match=r"s\.h5: is another file than when it was opened; open it again"):
        fingerprint(pickle.loads(pickled))  # noqa: S301 # see above
