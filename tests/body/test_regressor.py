"""Joint regressors are the same matrix however they are stored, or refused in one line that names the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from h36m_amass import skeleton
from h36m_amass.body import regressor
from h36m_amass.body.regressor import RegressorError
from h36m_amass.skeleton import SkeletonError

# Multiples of 1/8 are the same numbers in float32 and float64; no row or column is empty.
MATRIX = np.round(np.random.default_rng(0).normal(size=(4, 10)) * 8) / 8
MATRIX[:, ::3] = 0
MATRIX[:, 0] = 1
SPARSE_FORMATS = ("csr", "csc", "coo", "bsr", "dia")


class Bomb:
    """Unpickling one writes the file it was made with."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


def save(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def save_sparse(path: Path, **arrays: Any) -> Path:
    """A file in the layout of `scipy.sparse.save_npz`, whether or not SciPy would write it."""
    np.savez(path, **arrays)
    return path


def csr_parts(**changed: Any) -> dict[str, Any]:
    matrix = scipy.sparse.csr_array(MATRIX)
    parts = {
        "indices": matrix.indices,
        "indptr": matrix.indptr,
        "data": matrix.data,
        "shape": np.array(matrix.shape),
        "format": np.array(b"csr"),
        "_is_array": np.array(True),
    } | changed
    return {name: array for name, array in parts.items() if array is not None}


def refusal_of(path: Path) -> str:
    with pytest.raises(RegressorError) as caught:
        regressor.load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ">f8", "longdouble"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_dense_files_of_any_type_and_order_are_the_same_matrix(tmp_path: Path, dtype: Any, order: Any) -> None:
    loaded = regressor.load(save(tmp_path / "r.npy", np.asarray(MATRIX, dtype=dtype, order=order)))
    np.testing.assert_array_equal(loaded.matrix.toarray(), MATRIX)
    assert loaded.matrix.dtype == np.float64
    assert (loaded.num_joints, loaded.num_vertices) == MATRIX.shape
    assert loaded.matrix.nnz == np.count_nonzero(MATRIX)


@pytest.mark.parametrize("sparse_format", SPARSE_FORMATS)
@pytest.mark.parametrize("make", [scipy.sparse.csr_array, scipy.sparse.csr_matrix])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sparse_files_of_any_format_are_the_same_matrix(
    tmp_path: Path, sparse_format: str, make: Any, compressed: bool, dtype: Any
) -> None:
    path = tmp_path / "r.npz"
    scipy.sparse.save_npz(path, make(MATRIX.astype(dtype)).asformat(sparse_format), compressed)
    loaded = regressor.load(path)
    np.testing.assert_array_equal(loaded.matrix.toarray(), MATRIX)
    assert loaded.matrix.dtype == np.float64
    assert loaded.matrix.nnz == np.count_nonzero(MATRIX)


@given(
    matrix=hnp.arrays(
        np.float64, st.tuples(st.integers(1, 6), st.integers(1, 12)), elements=st.floats(-10, 10) | st.just(0.0)
    ),
    sparse_format=st.sampled_from(SPARSE_FORMATS),
)
def test_dense_and_sparse_files_agree_on_any_matrix(
    tmp_path_factory: pytest.TempPathFactory, matrix: np.ndarray, sparse_format: str
) -> None:
    matrix[:, 0] += 20.0  # no row of zeros
    folder = tmp_path_factory.mktemp("r")
    scipy.sparse.save_npz(folder / "r.npz", scipy.sparse.csr_array(matrix).asformat(sparse_format))
    dense, sparse = regressor.load(save(folder / "r.npy", matrix)), regressor.load(folder / "r.npz")
    np.testing.assert_array_equal(dense.matrix.toarray(), matrix)
    np.testing.assert_array_equal(sparse.matrix.toarray(), matrix)


def test_entries_given_twice_are_added(tmp_path: Path) -> None:
    doubled = scipy.sparse.coo_array((np.array([0.25, 0.5, 1.0]), ([0, 0, 1], [2, 2, 0])), shape=(2, 3))
    scipy.sparse.save_npz(tmp_path / "r.npz", doubled)
    assert regressor.load(tmp_path / "r.npz").matrix.toarray().tolist() == [[0, 0, 0.75], [1, 0, 0]]


def test_a_single_joint_is_a_regressor(tmp_path: Path) -> None:
    loaded = regressor.load(save(tmp_path / "r.npy", MATRIX[:1]))
    assert loaded.num_joints == 1
    assert loaded.skeleton.joint_names == ("joint_0",)


def test_17_rows_in_spins_file_are_the_human36m_joints(tmp_path: Path) -> None:
    seventeen = np.ones((17, 5))
    assert regressor.load(save(tmp_path / "J_regressor_h36m.npy", seventeen)).skeleton is skeleton.H36M
    scipy.sparse.save_npz(tmp_path / "J_regressor_h36m.npz", scipy.sparse.csr_array(seventeen))
    assert regressor.load(tmp_path / "J_regressor_h36m.npz").skeleton is skeleton.H36M


@pytest.mark.parametrize(("name", "count"), [("r.npy", 17), ("J_regressor_h36m.npy", 18), ("J_regressor_extra.npy", 9)])
def test_joints_of_any_other_file_are_numbered(tmp_path: Path, name: str, count: int) -> None:
    joints = regressor.load(save(tmp_path / name, np.ones((count, 5)))).skeleton
    assert joints == skeleton.named(tuple(f"joint_{k}" for k in range(count)))


def test_named_joints_have_their_names(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\nd\n", encoding="utf-8")
    joints = regressor.load(save(tmp_path / "r.npy", MATRIX), names).skeleton
    assert joints == skeleton.named(("a", "b", "c", "d"))


def test_given_names_win_over_the_files_name(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    given_names = tuple(f"mine_{k}" for k in range(17))
    names.write_text("\n".join(given_names), encoding="utf-8")
    loaded = regressor.load(save(tmp_path / "J_regressor_h36m.npy", np.ones((17, 5))), names)
    assert loaded.skeleton == skeleton.named(given_names)


def test_the_human36m_names_bring_their_bones(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(skeleton.H36M.joint_names), encoding="utf-8")
    assert regressor.load(save(tmp_path / "r.npy", np.ones((17, 5))), names).skeleton == skeleton.H36M


@pytest.mark.parametrize("text", ["a\nb\nc", "a\nb\nc\nd\ne", "a\nb\nc\na", "a\n\nc\nd", ""])
def test_names_that_do_not_fit_are_refused(tmp_path: Path, text: str) -> None:
    names = tmp_path / "names.txt"
    names.write_text(text, encoding="utf-8")
    with pytest.raises(SkeletonError, match=r"names\.txt"):
        regressor.load(save(tmp_path / "r.npy", MATRIX), names)


def test_a_file_of_names_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SkeletonError, match=r"absent\.txt"):
        regressor.load(save(tmp_path / "r.npy", MATRIX), tmp_path / "absent.txt")


def test_names_from_a_pipe_or_a_huge_file_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 2**33)
    for name, reason in (("pipe", "it is a pipe or a device"), ("huge", "is larger than")):
        with pytest.raises(SkeletonError, match=reason):
            regressor.load(save(tmp_path / "r.npy", MATRIX), tmp_path / name)


def test_the_digest_tells_files_apart(tmp_path: Path) -> None:
    one = regressor.load(save(tmp_path / "a.npy", MATRIX))
    same = regressor.load(save(tmp_path / "b.npy", MATRIX))
    other = regressor.load(save(tmp_path / "c.npy", 2 * MATRIX))
    assert one.sha256 == same.sha256 != other.sha256


def test_a_missing_file_names_the_page_it_comes_from(tmp_path: Path) -> None:
    assert "https://github.com/nkolot/SPIN" in refusal_of(tmp_path / "absent.npy")


def test_a_folder_is_no_regressor(tmp_path: Path) -> None:
    (tmp_path / "r.npy").mkdir()
    refusal_of(tmp_path / "r.npy")


@pytest.mark.parametrize("name", ["r.pkl", "r.pickle", "r.pt", "r", "r.txt"])
def test_a_pickle_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04N.")
    message = refusal_of(tmp_path / name)
    assert "pickle" in message
    assert "run any code" in message
    assert "numpy.save" in message


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_objects_are_refused_and_never_unpickled(tmp_path: Path, suffix: str) -> None:
    marker, path = tmp_path / "unpickled", tmp_path / f"r{suffix}"
    bomb = np.array([[Bomb(marker)]], dtype=object)
    if suffix == ".npy":
        np.save(path, bomb)
    else:
        save_sparse(path, **csr_parts(data=bomb))
    assert "pickle" in refusal_of(path)
    assert not marker.exists()


@pytest.mark.parametrize("shape", [(), (10,), (4, 10, 1), (2, 2, 2, 2), (0, 10), (4, 0), (0, 0), (0,)])
def test_what_is_no_matrix_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    refusal_of(save(tmp_path / "r.npy", np.ones(shape)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    matrix = MATRIX.copy()
    matrix[2, 3] = value
    assert "finite" in refusal_of(save(tmp_path / "r.npy", matrix))
    scipy.sparse.save_npz(tmp_path / "r.npz", scipy.sparse.csr_array(matrix))
    assert "finite" in refusal_of(tmp_path / "r.npz")


@pytest.mark.parametrize("dtype", ["c16", "U3", "S3", "?", "M8[s]"])
def test_a_matrix_that_holds_no_numbers_is_refused(tmp_path: Path, dtype: str) -> None:
    refusal_of(save(tmp_path / "r.npy", np.ones((2, 3)).astype(dtype)))


def test_a_complex_sparse_matrix_is_refused(tmp_path: Path) -> None:
    scipy.sparse.save_npz(tmp_path / "r.npz", scipy.sparse.csr_array(MATRIX * 1j))
    refusal_of(tmp_path / "r.npz")


def test_a_joint_without_vertices_is_refused_with_its_row(tmp_path: Path) -> None:
    matrix = MATRIX.copy()
    matrix[2] = 0
    assert "row 2 " in refusal_of(save(tmp_path / "r.npy", matrix))
    scipy.sparse.save_npz(tmp_path / "r.npz", scipy.sparse.csc_array(matrix))
    assert "row 2 " in refusal_of(tmp_path / "r.npz")


def test_a_sparse_row_of_stored_zeros_counts_as_empty(tmp_path: Path) -> None:
    matrix = scipy.sparse.coo_array((np.array([1.0, 0.0]), ([0, 1], [0, 1])), shape=(2, 3))
    scipy.sparse.save_npz(tmp_path / "r.npz", matrix)
    assert "row 1 " in refusal_of(tmp_path / "r.npz")


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "flipped"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"r{suffix}"
    if suffix == ".npy":
        save(path, MATRIX)
    else:
        scipy.sparse.save_npz(path, scipy.sparse.csr_array(MATRIX), compressed=False)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[3 if suffix == ".npy" else 180] ^= 0xFF
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"spam", "flipped": flipped}[damage])
    refusal_of(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"indices": np.full(np.count_nonzero(MATRIX), MATRIX.shape[1], dtype=np.int32)},
        {"indices": np.full(np.count_nonzero(MATRIX), -1, dtype=np.int32)},
        {"indices": np.zeros(3, dtype=np.int32)},
        {"indptr": np.array([0, 5, 2, 9, np.count_nonzero(MATRIX)], dtype=np.int32)},
        {"indptr": np.array([0, 1, 2, 3, 10**6], dtype=np.int32)},
        {"indptr": np.zeros(0, dtype=np.int32)},
        {"indptr": np.zeros(())},
        {"shape": np.array([4, 3])},
        {"shape": np.array([3, 10])},
        {"shape": np.array([-4, 10])},
        {"shape": np.array([2**62, 2**62])},
        {"shape": np.array([4.5, 10.0])},
        {"shape": np.array([4])},
        {"shape": np.array([4, 10, 1])},
        {"shape": np.array(["four", "ten"])},
        {"shape": None},
        {"indices": None},
        {"data": None},
        {"format": None},
        {"format": np.array(b"spam")},
        {"format": np.array(b"dok")},
        {"format": np.array(b"\xff")},
        {"format": np.array([1, 2])},
        {"data": np.zeros((2, 2))},
        {"data": np.array(["a"] * np.count_nonzero(MATRIX))},
    ],
    ids=lambda changed: ", ".join(f"{name}={value}"[:50].replace("\n", "") for name, value in changed.items()),
)
def test_a_sparse_file_whose_parts_do_not_fit_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    refusal_of(save_sparse(tmp_path / "r.npz", **csr_parts(**changed)))


@pytest.mark.parametrize(
    ("row", "col", "shape"),
    [
        ([0, 4], [0, 1], (4, 10)),
        ([0, 1], [0, 10], (4, 10)),
        ([0, -1], [0, 1], (4, 10)),
        ([0, 1], [0, -1], (4, 10)),
        ([0, 1, 2], [0, 1], (4, 10)),
        ([0, 1], [0, 1], (2**60, 10)),
        ([0, 1], [0, 1], (2**62, 2**62)),
    ],
)
def test_a_coo_file_whose_indices_or_shape_are_impossible_is_refused(
    tmp_path: Path, row: list[int], col: list[int], shape: tuple[int, int]
) -> None:
    parts = {"row": np.array(row), "col": np.array(col), "data": np.ones(2), "shape": np.array(shape)}
    refusal_of(save_sparse(tmp_path / "r.npz", format=np.array(b"coo"), _is_array=np.array(True), **parts))


@pytest.mark.parametrize(
    "parts",
    [
        {"format": b"bsr", "indices": [0, 9], "indptr": [0, 1, 2], "data": np.ones((2, 1, 1)), "shape": [2, 3]},
        {"format": b"csc", "indices": [0, 9], "indptr": [0, 1, 2], "data": np.ones(2), "shape": [2, 2]},
        {"format": b"csc", "indices": [0], "indptr": [0, 1], "data": np.ones(1), "shape": [2**60, 1]},
        {"format": b"dia", "offsets": [0, 0], "data": np.ones((2, 3)), "shape": [3, 3]},
        {"format": b"dia", "offsets": [0], "data": np.ones((2, 3)), "shape": [3, 3]},
        {"format": b"dia", "offsets": [0], "data": np.ones((1, 3)), "shape": [2**60, 3]},
    ],
    ids=lambda parts: f"{parts['format'].decode()}-{parts['shape']}",
)
def test_a_file_of_another_sparse_format_whose_parts_do_not_fit_is_refused(
    tmp_path: Path, parts: dict[str, Any]
) -> None:
    arrays = {name: np.array(value) for name, value in parts.items()}
    refusal_of(save_sparse(tmp_path / "r.npz", _is_array=np.array(True), **arrays))


def test_a_sparse_vector_is_no_matrix(tmp_path: Path) -> None:
    scipy.sparse.save_npz(tmp_path / "r.npz", scipy.sparse.coo_array(np.ones(5)))
    refusal_of(tmp_path / "r.npz")


def test_a_dense_npz_is_refused_with_the_way_to_write_a_sparse_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", J_regressor=MATRIX)
    assert "scipy.sparse.save_npz" in refusal_of(tmp_path / "r.npz")


def test_a_regressor_of_another_mesh_is_refused_with_both_numbers(tmp_path: Path) -> None:
    path = save(tmp_path / "r.npy", MATRIX)
    loaded = regressor.load(path)
    assert regressor.for_mesh(loaded, 10, path) is loaded
    for num_vertices in (9, 11, 6890):
        with pytest.raises(RegressorError) as caught:
            regressor.for_mesh(loaded, num_vertices, path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "10" in str(caught.value)
        assert str(num_vertices) in str(caught.value)


def test_the_note_behind_a_made_up_regressor_marks_it(tmp_path: Path) -> None:
    from h36m_amass.synthetic import write_regressor

    write_regressor(tmp_path / "r.npy", MATRIX)
    assert regressor.load(tmp_path / "r.npy").synthetic
    assert not regressor.load(save(tmp_path / "plain.npy", MATRIX)).synthetic
    np.testing.assert_array_equal(np.load(tmp_path / "r.npy"), MATRIX)
