"""Body models are loaded as they are, or refused in one line that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h36m_amass.body import model as body_model
from h36m_amass.body.model import BodyModelError

VERTICES, BETAS, DMPLS = 7, 5, 9
PARENTS = (-1, 0, 1, 0)
BONES = len(PARENTS)
SHAPES = {
    "v_template": (VERTICES, 3),
    "shapedirs": (VERTICES, 3, BETAS),
    "posedirs": (VERTICES, 3, 9 * (BONES - 1)),
    "weights": (VERTICES, BONES),
    "J_regressor": (BONES, VERTICES),
}


def smplh_arrays(**changed: Any) -> dict[str, Any]:
    """A made-up model of a few vertices in the layout of the real file; None omits an array."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    arrays["kintree_table"] = np.array([PARENTS, range(BONES)]).astype(np.uint32)
    arrays["f"] = np.array([[0, 1, 2]], dtype=np.uint32)
    return {name: array for name, array in (arrays | changed).items() if array is not None}


def dmpl_arrays(**changed: Any) -> dict[str, Any]:
    arrays = {"eigvec": np.random.default_rng(1).normal(size=(VERTICES, 3, DMPLS))} | changed
    return {name: array for name, array in arrays.items() if array is not None}


def write_model(path: Path, arrays: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


@pytest.fixture
def support(tmp_path: Path) -> Path:
    """A support folder with a small model that is in order, female."""
    write_model(body_model.model_path(tmp_path, "female"), smplh_arrays())
    write_model(body_model.dmpl_path(tmp_path, "female"), dmpl_arrays())
    return tmp_path


def refusal_of(support_dir: Path, path: Path, **options: int) -> str:
    """The message with which the model is refused: one line that begins with the file."""
    with pytest.raises(BodyModelError) as caught:
        body_model.load(support_dir, "female", **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message


def test_a_model_is_what_its_files_hold(support: Path) -> None:
    body = body_model.load(support, "female")
    for name, array in smplh_arrays().items():
        if name in SHAPES:
            np.testing.assert_array_equal(getattr(body, name), array)
            assert getattr(body, name).dtype == np.float64
    np.testing.assert_array_equal(body.dmpldirs, dmpl_arrays()["eigvec"][:, :, :8])
    assert body.parents.tolist() == list(PARENTS)
    assert (body.num_vertices, body.num_bones, body.num_betas, body.num_dmpls) == (VERTICES, BONES, BETAS, 8)
    assert not body.synthetic


def test_files_lie_where_their_downloads_put_them(tmp_path: Path) -> None:
    assert body_model.model_path(tmp_path, "male") == tmp_path / "body_models/smplh/male/model.npz"
    assert body_model.dmpl_path(tmp_path, "male") == tmp_path / "body_models/dmpls/male/model.npz"


@pytest.mark.parametrize("num_betas", [1, 3, BETAS, BETAS + 11])
def test_betas_are_cut_to_the_number_asked_for_and_never_padded(support: Path, num_betas: int) -> None:
    body = body_model.load(support, "female", num_betas=num_betas)
    np.testing.assert_array_equal(body.shapedirs, smplh_arrays()["shapedirs"][:, :, :num_betas])
    assert body.num_betas == min(num_betas, BETAS)


@pytest.mark.parametrize("num_dmpls", [1, DMPLS])
def test_dmpls_are_cut_to_the_number_asked_for(support: Path, num_dmpls: int) -> None:
    body = body_model.load(support, "female", num_dmpls=num_dmpls)
    np.testing.assert_array_equal(body.dmpldirs, dmpl_arrays()["eigvec"][:, :, :num_dmpls])


def test_without_dmpls_their_file_is_not_even_opened(support: Path) -> None:
    path = body_model.dmpl_path(support, "female")
    with_file = body_model.load(support, "female", num_dmpls=0)
    path.write_bytes(b"not an npz file")
    damaged = body_model.load(support, "female", num_dmpls=0)
    path.unlink()
    missing = body_model.load(support, "female", num_dmpls=0)
    assert with_file.num_dmpls == damaged.num_dmpls == missing.num_dmpls == 0
    assert missing.dmpldirs.shape == (VERTICES, 3, 0)
    assert with_file.sha256 == damaged.sha256 == missing.sha256


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_numeric_type_and_order_gives_the_same_numbers_in_float64(support: Path, dtype: Any, order: Any) -> None:
    arrays = {name: np.round(array * 8) / 8 for name, array in smplh_arrays().items() if name in SHAPES}
    if np.dtype(dtype).kind == "i":
        arrays = {name: np.round(array) for name, array in arrays.items()}
    stored = {name: np.asarray(array, dtype=dtype, order=order) for name, array in arrays.items()}
    write_model(body_model.model_path(support, "female"), smplh_arrays(**stored))
    body = body_model.load(support, "female")
    for name, array in arrays.items():
        np.testing.assert_array_equal(getattr(body, name), array)
        assert getattr(body, name).dtype == np.dtype(np.float64)


@pytest.mark.parametrize(
    ("dtype", "root"),
    [
        (np.int64, -1),
        (np.int32, -1),
        (np.int8, -1),
        (np.uint32, 2**32 - 1),
        (np.int64, 2**32 - 1),
        (np.uint64, 2**32 - 1),
        (np.uint64, 2**64 - 1),
    ],
)
def test_the_root_is_marked_by_minus_one_or_what_that_is_unsigned(support: Path, dtype: Any, root: int) -> None:
    table = np.array([(root, *PARENTS[1:]), range(BONES)], dtype=dtype)
    write_model(body_model.model_path(support, "female"), smplh_arrays(kintree_table=table))
    assert body_model.load(support, "female").parents.tolist() == list(PARENTS)


def test_bones_may_come_before_their_parents(support: Path) -> None:
    table = np.array([(-1, 3, 1, 0), range(BONES)])
    write_model(body_model.model_path(support, "female"), smplh_arrays(kintree_table=table))
    body = body_model.load(support, "female")
    assert body.parents.tolist() == [-1, 3, 1, 0]
    assert body_model.depths(body.parents).tolist() == [0, 2, 3, 1]


def test_the_digest_tells_any_change_of_either_file(support: Path) -> None:
    digests = {body_model.load(support, "female").sha256}
    changed = smplh_arrays()
    changed["weights"][0, 0] += 1e-9
    write_model(body_model.model_path(support, "female"), changed)
    digests.add(body_model.load(support, "female").sha256)
    moved = dmpl_arrays()
    moved["eigvec"][0, 0, 0] += 1e-9
    write_model(body_model.dmpl_path(support, "female"), moved)
    digests.add(body_model.load(support, "female").sha256)
    assert len(digests) == 3
    assert body_model.load(support, "female").sha256 in digests


@pytest.mark.parametrize("which", ["smplh", "dmpls"])
def test_a_model_that_says_it_is_made_up_is_marked_so(support: Path, which: str) -> None:
    note = np.array("made up")
    if which == "smplh":
        write_model(body_model.model_path(support, "female"), smplh_arrays(synthetic=note))
    else:
        write_model(body_model.dmpl_path(support, "female"), dmpl_arrays(synthetic=note))
    assert body_model.load(support, "female").synthetic


@pytest.mark.parametrize("gender", ["spam", "", "../female", "Female"])
def test_an_unknown_gender_is_refused_by_name(support: Path, gender: str) -> None:
    with pytest.raises(BodyModelError, match=r"female, male, neutral") as caught:
        body_model.load(support, gender)
    assert repr(gender) in str(caught.value)


def test_a_missing_model_names_its_path_and_the_page_it_comes_from(support: Path) -> None:
    path = body_model.model_path(support, "female")
    path.unlink()
    assert "https://mano.is.tue.mpg.de" in refusal_of(support, path)


def test_missing_dmpls_name_their_path_and_page_and_the_way_without(support: Path) -> None:
    path = body_model.dmpl_path(support, "female")
    path.unlink()
    message = refusal_of(support, path)
    assert "https://smpl.is.tue.mpg.de" in message
    assert "--no-dmpls" in message


@pytest.mark.parametrize("name", [*SHAPES, "kintree_table"])
def test_a_missing_array_is_named(support: Path, name: str) -> None:
    path = write_model(body_model.model_path(support, "female"), smplh_arrays(**{name: None}))
    assert name in refusal_of(support, path)


def test_dmpls_without_their_array_are_refused(support: Path) -> None:
    path = write_model(body_model.dmpl_path(support, "female"), {"spam": np.zeros(3)})
    assert "eigvec" in refusal_of(support, path)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *(
            (name, (*shape[:axis], shape[axis] + 1, *shape[axis + 1 :]))
            for name, shape in SHAPES.items()
            for axis in (0, 1)
        ),
        *((name, shape[:-1]) for name, shape in SHAPES.items()),
        *((name, (*shape, 1)) for name, shape in SHAPES.items()),
        *((name, ()) for name in SHAPES),
        ("posedirs", (VERTICES, 3, 9 * BONES)),
        ("posedirs", (VERTICES * 3, 9 * (BONES - 1))),
        ("shapedirs", (VERTICES, 3, 0)),
        ("v_template", (0, 3)),
        ("weights", (VERTICES, 0)),
        ("J_regressor", (VERTICES, BONES)),
    ],
)
def test_an_array_of_another_shape_is_refused(support: Path, name: str, shape: tuple[int, ...]) -> None:
    path = write_model(body_model.model_path(support, "female"), smplh_arrays(**{name: np.ones(shape)}))
    with pytest.raises(BodyModelError) as caught:
        body_model.load(support, "female", num_dmpls=0)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", list(SHAPES))
def test_a_value_that_is_not_finite_is_refused(support: Path, name: str, value: float) -> None:
    arrays = smplh_arrays()
    arrays[name].flat[-1] = value
    path = write_model(body_model.model_path(support, "female"), arrays)
    assert name in refusal_of(support, path)


@pytest.mark.parametrize("dtype", ["U3", "c16", "S3", "?", "M8[s]"])
@pytest.mark.parametrize("name", [*SHAPES, "kintree_table"])
def test_an_array_that_holds_no_numbers_is_refused(support: Path, name: str, dtype: str) -> None:
    shape = SHAPES.get(name, (2, BONES))
    path = write_model(body_model.model_path(support, "female"), smplh_arrays(**{name: np.zeros(shape, dtype=dtype)}))
    assert name in refusal_of(support, path)


@pytest.mark.parametrize("name", [*SHAPES, "kintree_table"])
def test_an_array_of_objects_is_refused_because_it_is_a_pickle(support: Path, name: str) -> None:
    objects = np.empty((2, BONES), dtype=object)
    path = write_model(body_model.model_path(support, "female"), smplh_arrays(**{name: objects}))
    assert "pickle" in refusal_of(support, path)


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ([-1, 2, 3, 1], "cycle"),
        ([-1, 1, 0, 0], "cycle"),
        ([-1, 0, -1, 0], "root"),
        ([1, -1, 0, 0], "root"),
        ([1, 0, 0, 0], "root"),
        ([-1, 0, 1, BONES], "parent"),
        ([-1, 0, 1, -2], "parent"),
        ([-1, 0, 1, 2**40], "parent"),
    ],
)
def test_bones_that_form_no_tree_about_the_first_are_refused(support: Path, table: list[int], word: str) -> None:
    kintree = np.array([table, range(BONES)])
    path = write_model(body_model.model_path(support, "female"), smplh_arrays(kintree_table=kintree))
    message = refusal_of(support, path)
    assert "kintree_table" in message
    assert word in message


@pytest.mark.parametrize("shape", [(2, BONES - 1), (2, BONES + 1), (BONES,), (), (0, BONES), (2, BONES, 1)])
def test_a_table_of_bones_of_another_shape_is_refused(support: Path, shape: tuple[int, ...]) -> None:
    table = np.full(shape, -1)
    path = write_model(body_model.model_path(support, "female"), smplh_arrays(kintree_table=table))
    assert "kintree_table" in refusal_of(support, path)


def test_a_table_of_floats_is_refused(support: Path) -> None:
    table = np.array([PARENTS, range(BONES)], dtype=np.float64)
    path = write_model(body_model.model_path(support, "female"), smplh_arrays(kintree_table=table))
    assert "kintree_table" in refusal_of(support, path)


@pytest.mark.parametrize("shape", [(VERTICES + 1, 3, 8), (VERTICES, 2, 8), (VERTICES, 24), (VERTICES, 3), ()])
def test_dmpls_of_another_mesh_are_refused(support: Path, shape: tuple[int, ...]) -> None:
    path = write_model(body_model.dmpl_path(support, "female"), dmpl_arrays(eigvec=np.zeros(shape)))
    assert "eigvec" in refusal_of(support, path)


def test_too_few_dmpls_are_refused_with_both_numbers(support: Path) -> None:
    path = write_model(body_model.dmpl_path(support, "female"), dmpl_arrays(eigvec=np.zeros((VERTICES, 3, 6))))
    message = refusal_of(support, path, num_dmpls=8)
    assert "6" in message
    assert "8" in message
    assert body_model.load(support, "female", num_dmpls=6).num_dmpls == 6


def test_dmpls_that_are_not_finite_are_refused(support: Path) -> None:
    eigvec = dmpl_arrays()["eigvec"]
    eigvec[3, 1, 2] = np.nan
    path = write_model(body_model.dmpl_path(support, "female"), dmpl_arrays(eigvec=eigvec))
    assert "eigvec" in refusal_of(support, path)


@pytest.mark.parametrize("which", ["smplh", "dmpls"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "flipped", "folder"])
def test_a_damaged_file_is_refused(support: Path, which: str, damage: str) -> None:
    path = body_model.model_path(support, "female") if which == "smplh" else body_model.dmpl_path(support, "female")
    whole = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage == "flipped":
        flipped = bytearray(whole)
        flipped[400] ^= 0xFF
        path.write_bytes(flipped)
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"spam"}[damage])
    refusal_of(support, path)
