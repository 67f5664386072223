"""Each window once per epoch, or the shares that were asked for; the same order from the same seed."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from h36m_amass.store.stores import Stores
from h36m_amass.training.sampling import WindowSampler
from h36m_amass.training.windows import WindowDataset, WindowError, collate
from tests.store.test_stores import amass_like

LENGTHS = {"CMU/01/a": 300, "CMU/02/a": 8, "Human36M/S1/Walking 1": 70, "MPI_HDM05/1/a": 40, "SFU/1/x": 1}
WEIGHTS = st.dictionaries(
    st.sampled_from(["CMU", "human36m", "HDM05", "SFU"]), st.floats(0.01, 9), min_size=1, max_size=3
)


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> WindowDataset:
    folder = tmp_path_factory.mktemp("sampling")
    first, second = dict(list(LENGTHS.items())[:2]), dict(list(LENGTHS.items())[2:])
    stores = Stores([amass_like(folder / "a.h5", first), amass_like(folder / "b.h5", second)])
    return WindowDataset(stores, 5, padding="edge")


def dataset_of(windows: WindowDataset) -> list[str]:
    """The dataset of each window."""
    store = windows.sequences.store
    rows = windows.__getitems__(range(len(windows))).batch["sequence"]
    return [store[row].dataset for row in rows.tolist()]


@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 1000))
def test_without_weights_each_window_comes_once(windows: WindowDataset, seed: int, epoch: int) -> None:
    sampler = WindowSampler(windows, seed=seed)
    sampler.epoch = epoch
    order = list(sampler)
    assert sorted(order) == list(range(len(windows)))
    assert len(sampler) == len(order)
    assert order == list(sampler)
    sampler.epoch += 1
    assert order != list(sampler)
    other = WindowSampler(windows, seed=seed + 1)
    other.epoch = epoch
    assert order != list(other)


@given(weights=WEIGHTS, rest=st.floats(0.01, 3), number=st.integers(1, 2000), seed=st.integers(0, 100))
def test_each_dataset_has_its_share_and_its_windows_come_equally_often(
    windows: WindowDataset, weights: dict[str, float], rest: float, number: int, seed: int
) -> None:
    all_weights = {**weights, "*": rest}
    order = list(WindowSampler(windows, all_weights, num_samples=number, seed=seed))
    assert len(order) == number
    of_window, counts = dataset_of(windows), Counter(order)
    stored = {"CMU": "CMU", "human36m": "Human36M", "HDM05": "MPI_HDM05", "SFU": "SFU"}
    named = {stored[name] for name in weights}
    for name, weight in all_weights.items():
        mine = [
            w
            for w, dataset in enumerate(of_window)
            if dataset == stored.get(name) or (name == "*" and dataset not in named)
        ]
        share = number * weight / sum(all_weights.values())
        times = [counts[window] for window in mine]
        assert abs(sum(times) - share) < 1
        assert max(times) - min(times) <= 1


def test_counts_are_the_nearest_to_the_shares(windows: WindowDataset) -> None:
    of_window = dataset_of(windows)
    drawn = Counter(
        of_window[window] for window in WindowSampler(windows, {"CMU": 0.7, "SFU": 0.3, "*": 0}, num_samples=11)
    )
    assert drawn == {"CMU": 8, "SFU": 3}  # of 7.7 and 3.3


def test_shares_are_mixed_and_a_weight_of_zero_is_no_window(windows: WindowDataset) -> None:
    sampler = WindowSampler(windows, {"Human36M": 1, "CMU": 1, "*": 0}, num_samples=4000)
    of_window = np.array(dataset_of(windows))
    drawn = of_window[list(sampler)]
    assert set(drawn) == {"Human36M", "CMU"}
    # Of each 500 in a row about half; a binomial number is off by 5 deviations once in a million.
    halves = (drawn.reshape(8, 500) == "CMU").sum(1)
    assert (abs(halves - 250) < 5 * math.sqrt(125)).all()


@pytest.mark.parametrize("weights", [None, {"Human36M": 0.3, "*": 0.7}])
def test_the_order_is_the_same_whatever_the_number_of_workers(
    windows: WindowDataset, weights: dict[str, float] | None
) -> None:
    epochs = []
    for workers in (0, 1, 2):
        sampler = WindowSampler(windows, weights, seed=3)
        loader = DataLoader(windows, batch_size=100, sampler=sampler, collate_fn=collate, num_workers=workers)
        epochs.append([(batch["sequence"].tolist(), batch["start"].tolist()) for batch in loader])
    assert epochs[0] == epochs[1] == epochs[2]


@given(replicas=st.integers(1, 7), number=st.integers(1, 500))
def test_processes_share_one_order(windows: WindowDataset, replicas: int, number: int) -> None:
    weights = {"*": 1.0}
    order = list(WindowSampler(windows, weights, num_samples=number))
    shares = [
        list(WindowSampler(windows, weights, num_samples=number, rank=rank, replicas=replicas))
        for rank in range(replicas)
    ]
    assert {len(share) for share in shares} == {-(-number // replicas)}
    dealt = [window for each in zip(*shares, strict=True) for window in each]
    assert dealt[:number] == order
    assert dealt[number:] == [order[i % number] for i in range(len(dealt) - number)]


def test_impossible_weights_are_refused(windows: WindowDataset) -> None:
    for weights, message in (
        ({"CMU": 1.0}, "dataset Human36M has no weight; give it one, or '\\*'"),
        (
            {"CMU": 1.0, "KIT": 1.0, "*": 1.0},
            "no windows of 'KIT', which has a weight; there are those of CMU, Human36M",
        ),
        ({"CMU": -1.0, "*": 1.0}, "not negative, and one above 0; they are CMU -1"),
        ({"CMU": math.nan, "*": 1.0}, "they are CMU nan"),
        ({"*": 0.0}, "they are all 0"),
        ({}, "weights name no dataset"),
        ({"CMU": "1", "*": 1.0}, "they are CMU '1'"),
        (dict.fromkeys((*windows.datasets(), "*"), 1.0), "'\\*' has a weight, but each dataset has one, too: CMU, "),
        ({"HDM05": 1.0, "MPI_HDM05": 1.0, "*": 1.0}, "two weights, under two of its names"),
    ):
        with pytest.raises(WindowError, match=message):
            WindowSampler(windows, weights)  # type: ignore[arg-type]
    with pytest.raises(WindowError, match="num_samples 0 must be at least 1"):
        WindowSampler(windows, num_samples=0)
    with pytest.raises(WindowError, match="rank 2 of 2"):
        WindowSampler(windows, rank=2, replicas=2)
    for wrong in ({"num_samples": 1.5}, {"seed": "1"}, {"rank": 0.0}):
        with pytest.raises(WindowError, match="is not a whole number"):
            WindowSampler(windows, **wrong)  # type: ignore[arg-type]


def test_only_the_ratio_of_weights_counts(windows: WindowDataset) -> None:
    orders = [
        list(WindowSampler(windows, {"Human3.6M": weight, "*": weight}, num_samples=100))
        for weight in (1, 1e-300, 1e308)
    ]
    assert orders[0] == orders[1] == orders[2]


def test_epochs_are_set_as_torchs_samplers_have_them(windows: WindowDataset) -> None:
    first, second = WindowSampler(windows), WindowSampler(windows)
    first.epoch = 3
    second.set_epoch(3)
    assert list(first) == list(second) != list(WindowSampler(windows))
