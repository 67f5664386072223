"""Reading npz and npy files gives what numpy gives, and never runs or trusts what is in them."""

from __future__ import annotations

import io
import os
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from h36m_amass.files import npz as npz_module
from h36m_amass.files.npy import NpzError, read_content, read_npy
from h36m_amass.files.npz import NpzReader

DTYPES = st.one_of(
    hnp.floating_dtypes(endianness="?"),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.boolean_dtypes(),
    hnp.unicode_string_dtypes(endianness="?", min_len=1, max_len=5),
    hnp.byte_string_dtypes(min_len=1, max_len=5),
)
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6))
)
ORDERS = st.sampled_from("CF")


class Bomb:
    """Unpickling one writes the file it was made with."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


def npy_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def write_member(path: Path, payload: bytes, name: str = "a", compression: int = zipfile.ZIP_STORED) -> Path:
    """An npz file whose member `name` holds `payload`, with a CRC that fits it."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{name}.npy", payload)
    return path


def write_npz(folder: str | Path, compressed: bool, **arrays: np.ndarray) -> Path:
    path = Path(folder) / "file.npz"
    members: dict[str, Any] = arrays
    (np.savez_compressed if compressed else np.savez)(path, **members)
    return path


def handmade_npy(header: str, payload: bytes) -> bytes:
    text = header.encode("latin1")
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + payload


@given(array=ARRAYS, order=ORDERS, compressed=st.booleans())
def test_read_of_a_member_is_what_numpy_reads(array: np.ndarray, order: Any, compressed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_npz(folder, compressed, a=np.array(array, order=order, copy=True))
        with np.load(path) as loaded, NpzReader(path) as npz:
            read, expected = npz.read("a"), loaded["a"]
            header = npz.header("a")
    assert read.dtype == expected.dtype
    assert (header.shape, header.dtype) == (expected.shape, expected.dtype)
    assert np.array_equal(read, expected, equal_nan=expected.dtype.kind == "f")


@given(array=ARRAYS, order=ORDERS, trailer=st.binary(max_size=8))
def test_read_npy_is_what_numpy_reads_and_hands_back_the_bytes_behind(
    array: np.ndarray, order: Any, trailer: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.npy"
        path.write_bytes(npy_bytes(np.array(array, order=order, copy=True)) + trailer)
        expected = np.load(path)
        read, behind = read_npy(path)
    assert read.dtype == expected.dtype
    assert np.array_equal(read, expected, equal_nan=expected.dtype.kind == "f")
    assert behind == trailer


@given(
    array=hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=9)),
    order=ORDERS,
    compressed=st.booleans(),
    num_rows=st.integers(1, 12),
)
def test_rows_put_together_are_the_array_for_any_run_length(
    array: np.ndarray, order: Any, compressed: bool, num_rows: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_npz(folder, compressed, a=np.array(array, order=order, copy=True))
        with NpzReader(path) as npz:
            runs = list(npz.rows("a", num_rows))
    assert [len(run) for run in runs[:-1]] == [num_rows] * (len(runs) - 1)
    assert len(runs[-1]) <= num_rows
    assert np.array_equal(np.concatenate(runs), array, equal_nan=True)


@pytest.mark.parametrize(("order", "columns"), [("C", 3), ("F", 3), ("C", 0)])
@pytest.mark.parametrize("compressed", [False, True])
def test_rows_converted_block_by_block_are_those_converted_at_once(
    compressed: bool, order: Any, columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz_module, "_BLOCK", 40)
    array = np.asarray(np.random.default_rng(0).normal(size=(23, columns)).astype(">f8"), order=order)
    array[7, 1:2] = 1e300
    with NpzReader(write_npz(tmp_path, compressed, a=array)) as npz:
        runs = list(npz.rows("a", 9, 1, np.dtype(np.float32)))
    with np.errstate(over="ignore"):
        expected = array.astype(np.float32)
    assert all(run.dtype == np.float32 for run in runs)
    np.testing.assert_array_equal(np.concatenate([runs[0], *(run[1:] for run in runs[1:])]), expected)
    assert np.isinf(expected[7, 1:2]).all()


def test_members_are_read_independently_of_each_other_and_of_order(tmp_path: Path) -> None:
    arrays = {name: np.random.default_rng(i).normal(size=(5, i + 1)) for i, name in enumerate("abc")}
    path = write_npz(tmp_path, True, **arrays)
    with NpzReader(path) as npz:
        assert sorted(npz.names()) == sorted(arrays)
        for one, other in zip(npz.rows("c", 2), npz.rows("a", 2), strict=True):
            assert len(one) == len(other)
        for name in "cab":
            assert name in npz
            np.testing.assert_array_equal(npz.read(name), arrays[name])
        assert "d" not in npz


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
@pytest.mark.parametrize("how", ["read", "rows"])
@pytest.mark.parametrize("where", [0.3, 0.6, 0.99])
def test_a_flipped_byte_of_the_data_is_noticed(tmp_path: Path, compression: int, how: str, where: float) -> None:
    payload = npy_bytes(np.random.default_rng(0).normal(size=(40, 5)))
    path = write_member(tmp_path / "file.npz", payload, compression=compression)
    with zipfile.ZipFile(path) as archive:
        info = archive.infolist()[0]
    damaged = bytearray(path.read_bytes())
    begin = 30 + len(info.filename)
    # The first quarter is the npy header, which is checked by other means.
    damaged[begin + int(where * info.compress_size)] ^= 0x55
    path.write_bytes(damaged)
    with pytest.raises(NpzError, match=r"file\.npz") as caught, NpzReader(path) as npz:
        _ = npz.read("a") if how == "read" else list(npz.rows("a", 7))
    assert "\n" not in str(caught.value)


def check_flipped_bytes(path: Path, whole: bytes, offsets: range, array: np.ndarray) -> None:
    """With any one of these bytes flipped, the file gives its array or an error that names the file."""
    for offset in offsets:
        damaged = bytearray(whole)
        damaged[offset] ^= 0xFF
        path.write_bytes(damaged)
        try:
            with NpzReader(path) as npz:
                read = npz.read("a")
        except NpzError as error:
            assert path.name in str(error), offset
        else:
            assert np.array_equal(read, array), offset


@pytest.mark.parametrize("compressed", [False, True])
def test_no_flipped_byte_of_a_file_gives_anything_but_the_array_or_an_npz_error(
    tmp_path: Path, compressed: bool
) -> None:
    array = np.arange(6.0).reshape(2, 3)
    whole = write_npz(tmp_path, compressed, a=array).read_bytes()
    path = tmp_path / "damaged.npz"
    check_flipped_bytes(path, whole, range(len(whole)), array)


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_no_flipped_byte_of_an_npy_header_gives_anything_but_an_array_or_an_npz_error(
    tmp_path: Path, mask: int
) -> None:
    whole = npy_bytes(np.arange(6.0).reshape(2, 3))
    path = tmp_path / "damaged.npy"
    for offset in range(len(whole) - 48):
        damaged = bytearray(whole)
        damaged[offset] ^= mask
        path.write_bytes(damaged)
        try:
            array, _ = read_npy(path)
        except NpzError as error:
            assert "damaged.npy" in str(error), offset
        else:
            assert isinstance(array, np.ndarray)


def test_objects_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "unpickled"
    bomb = np.array([Bomb(marker)], dtype=object)
    npz_path = write_npz(tmp_path, False, a=bomb)
    npy_path = tmp_path / "file.npy"
    np.save(npy_path, bomb)
    with NpzReader(npz_path) as npz:
        for attempt in (lambda: npz.read("a"), lambda: list(npz.rows("a", 1)), lambda: npz.header("a")):
            with pytest.raises(NpzError, match=r"file\.npz.*pickle"):
                attempt()
    with pytest.raises(NpzError, match=r"file\.npy.*pickle"):
        read_npy(npy_path)
    assert not marker.exists()
    np.load(npy_path, allow_pickle=True)
    assert marker.exists(), "the bomb would not have gone off, so the test says nothing"


def test_an_object_inside_a_structured_array_is_refused(tmp_path: Path) -> None:
    array = np.zeros(2, dtype=[("number", "f8"), ("thing", "O")])
    with NpzReader(write_npz(tmp_path, False, a=array)) as npz, pytest.raises(NpzError, match="pickle"):
        npz.read("a")


@pytest.mark.parametrize("shape", ["(3, 4)", "(2, 3)", f"({2**40},)", f"({2**70}, {2**70})"])
def test_a_header_that_claims_more_or_less_than_the_member_holds_is_refused(tmp_path: Path, shape: str) -> None:
    payload = handmade_npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}", bytes(8 * 11))
    path = write_member(tmp_path / "file.npz", payload)
    with NpzReader(path) as npz:
        for attempt in (lambda: npz.read("a"), lambda: next(npz.rows("a", 2)), lambda: npz.header("a")):
            with pytest.raises(NpzError, match=r"file\.npz.*'a'"):
                attempt()


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 0), }",
        f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**70}, 0), }}",
        f"{{'descr': '<f8', 'fortran_order': True, 'shape': (0, {2**62}, {2**62}), }}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 3), ",
        "{'descr': '<f8', 'fortran_order': False, 'shape': 0, }",
        "{'descr': 'spam', 'fortran_order': False, 'shape': (0,), }",
        "{'descr': '<f8', 'shape': (0,), }",
        "[" * 3000,
        "-" * 9000 + "1",
        "'unclosed",
        "",
    ],
    ids=lambda header: header[:60],
)
def test_a_header_that_is_nonsense_is_refused(tmp_path: Path, header: str) -> None:
    payload = handmade_npy(header, b"")
    (tmp_path / "file.npy").write_bytes(payload)
    with pytest.raises(NpzError, match=r"file\.npy"):
        read_npy(tmp_path / "file.npy")
    path = write_member(tmp_path / "file.npz", payload)
    with NpzReader(path) as npz, pytest.raises(NpzError, match=r"file\.npz"):
        npz.read("a")


@pytest.mark.parametrize("dtype", ["<U0", "|S0", "|V0"])
def test_an_array_of_items_of_no_size_reads_or_is_refused_like_any_other(tmp_path: Path, dtype: str) -> None:
    payload = handmade_npy(f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': (), }}", b"")
    path = write_member(tmp_path / "file.npz", payload)
    with NpzReader(path) as npz:
        try:
            assert npz.read("a").shape == ()
        except NpzError as error:
            assert "file.npz" in str(error)


@pytest.mark.parametrize("version", [(3, 0), (9, 9)])
def test_an_unknown_version_of_the_npy_format_is_named(tmp_path: Path, version: tuple[int, int]) -> None:
    payload = bytearray(npy_bytes(np.zeros(2)))
    payload[6:8] = bytes(version)
    (tmp_path / "file.npy").write_bytes(payload)
    with pytest.raises(NpzError, match=rf"file\.npy.*{version[0]}\.{version[1]}"):
        read_npy(tmp_path / "file.npy")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path, compressed: bool) -> None:
    whole = write_npz(tmp_path, compressed, a=np.arange(30.0)).read_bytes()
    path = tmp_path / "short.npz"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(NpzError, match=r"short\.npz"), NpzReader(path) as npz:
            npz.read("a")


def test_an_npy_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    whole = npy_bytes(np.arange(9.0))
    path = tmp_path / "short.npy"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(NpzError, match=r"short\.npy"):
            read_npy(path)


@pytest.mark.parametrize("content", [b"", b"spam" * 50, b"PK\x05\x06", b"\x93NUMPY"])
def test_what_is_no_zip_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    with pytest.raises(NpzError, match=r"file\.npz"):
        NpzReader(path)
    with pytest.raises(NpzError, match=r"file\.npz"):
        read_npy(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for reader in (NpzReader, read_npy):
        with pytest.raises(NpzError, match=r"absent\.npz.*no such file"):
            reader(tmp_path / "absent.npz")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    for reader in (NpzReader, read_npy):
        with pytest.raises(NpzError, match="cannot be read"):
            reader(tmp_path)


@pytest.mark.parametrize("read", [read_npy, NpzReader, read_content])
def test_a_pipe_is_refused_at_once(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NpzError, match=r"pipe: cannot be read \(it is a pipe or a device"):
        read(tmp_path / "pipe")


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", [np.dtype("<f2"), np.dtype("<f8")])
def test_a_run_of_rows_is_bounded_before_and_after_it_is_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: np.dtype[Any], compressed: bool
) -> None:
    path = write_npz(tmp_path, compressed, a=np.ones((40, 25), dtype))
    monkeypatch.setattr(npz_module, "MAX_WHOLE", 1600)
    with NpzReader(path) as npz:
        runs = list(npz.rows("a", 8, dtype=np.dtype("<f8")))
        assert sum(map(len, runs)) == 40
        assert all(run.base is None for run in runs)  # or each would keep more in memory than its own rows
        with pytest.raises(NpzError, match="'a' has 1800 bytes in 9 rows, more than the 1600"):
            next(npz.rows("a", 8, overlap=1, dtype=np.dtype("<f8")))


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    with (
        NpzReader(write_npz(tmp_path, False, a=np.zeros(2))) as npz,
        pytest.raises(NpzError, match=r"file\.npz.*'spam'"),
    ):
        npz.read("spam")


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    path = write_member(tmp_path / "file.npz", b"spam and eggs")
    with NpzReader(path) as npz, pytest.raises(NpzError, match=r"file\.npz.*'a'"):
        npz.read("a")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_a_damaged_member_in_an_unusual_compression_gives_the_array_or_an_npz_error(
    tmp_path: Path, compression: int
) -> None:
    array = np.random.default_rng(0).normal(size=400)
    path = write_member(tmp_path / "file.npz", npy_bytes(array), compression=compression)
    whole = path.read_bytes()
    check_flipped_bytes(path, whole, range(30, len(whole), 61), array)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': " + str((1,) * 70) + "}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (140737488355328, 140737488355328, 0)}",
        "{'descr': ('<f8', (3,)), 'fortran_order': False, 'shape': (1,)}",
        "{'descr': (), 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}",
    ],
)
def test_headers_that_numpy_cannot_make_are_refused(tmp_path: Path, header: str) -> None:
    encoded = header.encode()
    content = b"\x93NUMPY\x01\x00" + len(encoded).to_bytes(2, "little") + encoded + bytes(64)
    (tmp_path / "odd.npy").write_bytes(content)
    with pytest.raises(NpzError, match=r"odd\.npy"):
        read_npy(tmp_path / "odd.npy")


@pytest.mark.parametrize("comment", [b"", b"made by a program that signs its work"])
@pytest.mark.parametrize("zip64", [False, True])
def test_a_directory_that_would_take_much_memory_is_refused(tmp_path: Path, comment: bytes, zip64: bool) -> None:
    size = 2**30
    end_64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 10**7, 10**7, size, 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, 1000 + size, 1)
    size_field = 2**32 - 1 if zip64 else size
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, size_field, 0, len(comment)) + comment
    with (tmp_path / "a.npz").open("wb") as file:  # which takes no room on the disk
        file.seek(1000 + size)
        file.write((end_64 + locator if zip64 else b"") + end)
    with pytest.raises(NpzError, match=f"a directory of {size} bytes"):
        NpzReader(tmp_path / "a.npz")


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for _ in range(2):
            archive.writestr("a.npy", npy_bytes(np.zeros(2)))
    with pytest.raises(NpzError, match=r"a\.npz: holds two arrays of one name"):
        NpzReader(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a", "ü", "走る"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_of_another_name_than_the_directory_says_is_refused(
    tmp_path: Path, name: str, compression: int
) -> None:
    path = write_member(tmp_path / "file.npz", npy_bytes(np.arange(3.0)), name, compression)
    with NpzReader(path) as npz:
        assert npz.names() == (name,)
        np.testing.assert_array_equal(npz.read(name), np.arange(3.0))
    content = bytearray(path.read_bytes())
    content[30 + len(name.encode())] ^= 1  # in the member's own header
    path.write_bytes(content)
    with NpzReader(path) as npz, pytest.raises(NpzError, match=r"file\.npz"):
        npz.read(name)


def test_an_archive_with_something_before_it_is_read(tmp_path: Path) -> None:
    content = write_npz(tmp_path, False, a=np.arange(30.0)).read_bytes()
    (tmp_path / "more.npz").write_bytes(b"before" * 9 + content)
    with NpzReader(tmp_path / "more.npz") as npz:
        np.testing.assert_array_equal(npz.read("a"), np.arange(30.0))
