"""Pickles give arrays, and nothing in them is ever called."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from h36m_amass.files import unpickling
from h36m_amass.files.unpickling import UnpicklingError
from tests.fuzz import Edits, edits, mutated
from tests.setup.downloads import chumpy, pickles, python2_array, read_pickle

DTYPES = st.sampled_from(["<f8", ">f8", "<f4", "<i8", "|u1", "|b1", ">i2"])
SEEDS = pickles()


def round_trip(content: Any, protocol: int) -> Any:
    return unpickling.load(pickle.dumps(content, protocol))


@given(
    array=DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4))),
    protocol=st.integers(0, 4),
    order=st.sampled_from("CF"),
)
def test_arrays_come_back_as_they_were(array: np.ndarray, protocol: int, order: Any) -> None:
    read = unpickling.value(round_trip({"a": np.asarray(array, order=order)}, protocol)["a"], "a")
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("form", ["csc", "csr", "coo"])
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_sparse_matrices_come_back_as_they_were(protocol: int, form: str, kind: str) -> None:
    dense = np.round(np.random.default_rng(0).normal(size=(3, 5)) * 2)
    matrix = getattr(scipy.sparse, f"{form}_{kind}")(dense)
    read = round_trip([matrix], protocol)[0]
    np.testing.assert_array_equal(unpickling.sparse(read, "m").toarray(), dense)
    np.testing.assert_array_equal(unpickling.value(read, "m"), dense)


def test_python_2_and_chumpy_are_read_without_either() -> None:
    array = np.arange(6.0).reshape(2, 3)
    read = unpickling.load(b"\x80\x02}U\x01a" + python2_array(array) + b"s.")
    np.testing.assert_array_equal(unpickling.value(read["a"], "a"), array)
    with chumpy() as module:
        content = pickle.dumps(module.Ch(x=array), 2)
    np.testing.assert_array_equal(unpickling.value(unpickling.load(content), "a"), array)


class Canary:
    """Unpickling one would touch a file."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


def code(marker: Path) -> list[tuple[Any, tuple[Any, ...]]]:
    """Calls that a pickle could name, and what with; some would leave a file at `marker`."""
    return [(os.system, (f"touch {marker}",)), (Path.touch, (marker,)), (eval, ("1",))]


@pytest.mark.parametrize("protocol", range(6))
def test_code_is_refused_by_name_and_nothing_runs(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "marker"
    for call, arguments in code(marker):
        with pytest.raises(UnpicklingError, match="nothing in it was run") as caught:
            round_trip({"v_template": Canary(call, *arguments)}, protocol)
        assert "\n" not in str(caught.value)
    for name in (b"numpy\nload", b"numpy.core.multiarray\nfromfile", b"scipy.sparse\nload_npz", b"builtins\ngetattr"):
        with pytest.raises(UnpicklingError, match=name.decode().replace("\n", ".")):
            unpickling.load(b"c" + name + b"\n.")
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # remembers two thousand million objects
        b"\x80\x02Nr\xff\xff\xff\x02.",  # so many that there is room for them
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",  # as many bytes as none has
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff.",
        pickle.dumps(np.zeros(1000))[:-40],
    ],
)
def test_damage_is_one_line_and_takes_no_memory(content: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UnpicklingError) as caught:
            unpickling.load(content)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["csc", "coo"])
def test_a_matrix_of_more_rows_than_memory_is_refused(form: str) -> None:
    matrix = getattr(scipy.sparse, f"{form}_matrix")(([1.0], ([0], [0])), shape=(2**30, 3))
    with pytest.raises(UnpicklingError, match="claims the shape"):
        unpickling.sparse(round_trip(matrix, 2), "m")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ((1, (10**9,), "d", False, b""), "claims the shape"),
        ((1, (-1,), "d", False, b""), "its shape is"),
        ((1, 3, "d", False, b""), "its shape is"),
    ],
)
def test_a_size_that_is_not_there_is_refused(state: tuple[Any, ...], reason: str) -> None:
    pickled = unpickling.StandIn()
    pickled.name, dtype = "_reconstruct", unpickling.StandIn("f8")
    dtype.name = "dtype"
    pickled.state = (*state[:2], dtype, *state[3:])
    with pytest.raises(UnpicklingError, match=f"its poses is not an array .*{reason}"):
        unpickling.value(pickled, "poses")


def test_python_objects_are_not_arrays() -> None:
    for content in ({"a": 1}, np.array([{}], object), "text", None):
        with pytest.raises(UnpicklingError):
            unpickling.value(round_trip(content, 2), "a")


@given(content=st.sampled_from(SEEDS), changes=edits)
def test_no_change_of_a_pickle_is_more_than_a_refusal(content: bytes, changes: Edits) -> None:
    read_pickle(mutated(content, changes))


def test_the_seeds_are_whole() -> None:
    for content in SEEDS:
        pickletools.dis(content, io.StringIO())
        for name, part in unpickling.load(content).items():
            if name != "d":
                np.testing.assert_array_equal(unpickling.value(part, name), np.arange(12.0).reshape(3, 4))
