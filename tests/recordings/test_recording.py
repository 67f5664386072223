"""AMASS trees are listed whole and in order; recordings are read as they are, or left out for one clear reason."""

from __future__ import annotations

import os
import sys
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h36m_amass.recordings.recording import AmassError, fit_betas, read_frames, read_header
from h36m_amass.recordings.tree import Listing, find_sequences

FRAMES = 23


def make_tree(root: Path, *files: str) -> Path:
    """Empty files under `root`: what is in a file plays no part in finding it."""
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def keys(listing: Listing) -> list[tuple[str, str, str]]:
    return [(s.dataset, s.subject, s.sequence) for s in listing.sequences]


def recording_arrays(**changed: Any) -> dict[str, Any]:
    """A recording in AMASS's layout; None leaves an array out."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "poses": rng.normal(size=(FRAMES, 156)),
        "trans": rng.normal(size=(FRAMES, 3)),
        "dmpls": rng.normal(size=(FRAMES, 8)),
        "betas": rng.normal(size=16),
        "gender": np.array("female"),
        "mocap_framerate": np.array(120.0),
    }
    return {name: array for name, array in (arrays | changed).items() if array is not None}


def write_recording(folder: Path, compressed: bool = False, **changed: Any) -> Path:
    path = folder / "recording.npz"
    (np.savez_compressed if compressed else np.savez)(path, **recording_arrays(**changed))
    return path


def reason_of(path: Path, use_dmpls: bool = True) -> str:
    """Why a recording is left out: one line that does not repeat the file, which it stands beside in a list."""
    with pytest.raises(AmassError) as caught:
        read_header(path, use_dmpls)
    reason = str(caught.value)
    assert reason
    assert "\n" not in reason
    assert str(path) not in reason
    return reason


# --- finding


def test_a_recording_is_keyed_by_its_folders_with_or_without_an_inner_one(tmp_path: Path) -> None:
    make_tree(
        tmp_path, "Flat/s1/a.npz", "Flat/s2/b.npz", "Nested/Inner/s1/c.npz", "Nested/Inner/s2/d.npz", "Nested/readme"
    )
    listing = find_sequences(tmp_path)
    assert keys(listing) == [
        ("Flat", "s1", "a"),
        ("Flat", "s2", "b"),
        ("Nested", "s1", "c"),
        ("Nested", "s2", "d"),
    ]
    assert [s.path for s in listing.sequences] == [
        "Flat/s1/a.npz",
        "Flat/s2/b.npz",
        "Nested/Inner/s1/c.npz",
        "Nested/Inner/s2/d.npz",
    ]
    assert listing.misplaced == ()


def test_an_inner_folder_of_the_datasets_own_name_is_looked_through(tmp_path: Path) -> None:
    listing = find_sequences(make_tree(tmp_path, "ACCAD/ACCAD/Female1/a.npz", "ACCAD/LICENSE.txt"))
    assert keys(listing) == [("ACCAD", "Female1", "a")]


def test_a_datasets_only_subject_is_a_subject_with_or_without_an_inner_folder(tmp_path: Path) -> None:
    make_tree(tmp_path, "One/subject/a.npz", "One/subject/b.npz", "Two/Inner/subject/c.npz")
    assert keys(find_sequences(tmp_path)) == [("One", "subject", "a"), ("One", "subject", "b"), ("Two", "subject", "c")]


def test_only_the_last_suffix_is_cut_from_a_sequences_name(tmp_path: Path) -> None:
    listing = find_sequences(make_tree(tmp_path, "D/s/a.b_poses.npz", "D/s/walk.npz.npz", "D/s/white space.npz"))
    assert [s.sequence for s in listing.sequences] == ["a.b_poses", "walk.npz", "white space"]


def test_a_files_size_is_in_the_listing(tmp_path: Path) -> None:
    make_tree(tmp_path, "D/s/a.npz")
    (tmp_path / "D/s/a.npz").write_bytes(b"12345")
    assert find_sequences(tmp_path).sequences[0].size == 5


def test_a_second_stage_is_a_recording_and_a_first_stage_is_none(tmp_path: Path) -> None:
    make_tree(tmp_path, "D/s/A1_-_Stand_stageii.npz", "D/s/male_stagei.npz", "D/s/neutral_stagei.npz")
    listing = find_sequences(tmp_path)
    assert keys(listing) == [("D", "s", "A1_-_Stand_stageii")]
    assert listing.ignored == {"*_stagei.npz": 2}


def test_files_that_are_no_recordings_are_counted_by_kind_and_not_listed(tmp_path: Path) -> None:
    make_tree(
        tmp_path,
        *("D/s/a.npz", "D/s/shape.npz", "D/s/neutral_stagei.npz", "D/s/female_stagei.npz", "D/s/.hidden.npz"),
        *("D/s/video.mp4", "D/LICENSE.txt", "readme.md", "D/.DS_Store", "D/s/CAPITAL.NPZ.bak"),
        *("__MACOSX/D/s/a.npz", "D/__MACOSX/s/a.npz", ".cache/s/a.npz", "D/.cache/a.npz", "D/s/__MACOSX/._a.npz"),
    )
    listing = find_sequences(tmp_path)
    assert keys(listing) == [("D", "s", "a")]
    assert listing.misplaced == ()
    assert listing.ignored["shape.npz"] == 1
    assert listing.ignored["*_stagei.npz"] == 2
    assert listing.ignored["hidden files"] == 2
    assert listing.ignored["files that are not .npz"] == 4
    assert sum(listing.ignored.values()) == 9


@pytest.mark.parametrize(
    "stray",
    [
        *("stray.npz", "D/stray.npz", "D/s1/deeper/stray.npz", "E/stray.npz", "E/Inner/s/deeper/stray.npz"),
        *("D/s1/deeper/and/deeper/stray.npz", "E/Inner/s/deeper/still/stray.npz"),
    ],
)
def test_a_recording_out_of_place_is_reported_with_a_reason_wherever_it_lies(tmp_path: Path, stray: str) -> None:
    make_tree(tmp_path, "D/s1/a.npz", "D/s2/b.npz", "E/Inner/s/c.npz", stray)
    listing = find_sequences(tmp_path)
    assert keys(listing) == [("D", "s1", "a"), ("D", "s2", "b"), ("E", "s", "c")]
    assert [path for path, _ in listing.misplaced] == [stray]
    assert listing.misplaced[0][1]


def test_every_recording_of_a_mixed_tree_is_a_sequence_or_reported(tmp_path: Path) -> None:
    files = {"D/s/a.npz", "D/Inner/s/b.npz", "D/Inner/s/deep/c.npz", "D/Inner/t/d.npz", "F/only/one/two/three/e.npz"}
    listing = find_sequences(make_tree(tmp_path, *files))
    assert {s.path for s in listing.sequences} | {path for path, _ in listing.misplaced} == files


def test_a_dataset_given_instead_of_its_parent_is_refused_with_a_hint(tmp_path: Path) -> None:
    make_tree(tmp_path, "CMU/01/01_01_poses.npz", "CMU/02/02_01_poses.npz")
    with pytest.raises(AmassError, match="parent") as caught:
        find_sequences(tmp_path / "CMU")
    assert str(caught.value).startswith(f"{tmp_path / 'CMU'}: ")


def test_chosen_datasets_alone_are_looked_at(tmp_path: Path) -> None:
    make_tree(tmp_path, "A/s/a.npz", "B/s/b.npz", "C/s/c.npz", "B/stray.npz", "C/stray.npz", "stray.npz")
    listing = find_sequences(tmp_path, ("C", "A", "C"))
    assert keys(listing) == [("A", "s", "a"), ("C", "s", "c")]
    assert [path for path, _ in listing.misplaced] == ["C/stray.npz"]


@pytest.mark.parametrize("name", ["Spam", "..", ".", "A/s", "", "C"])
def test_an_unknown_dataset_is_refused_with_those_there_are(tmp_path: Path, name: str) -> None:
    make_tree(tmp_path, "A/s/a.npz", "B/s/b.npz")
    with pytest.raises(AmassError, match="A, B"):
        find_sequences(tmp_path, ("A", name))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AmassError, match="empty") as caught:
        find_sequences(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")


@pytest.mark.parametrize("files", [["D/readme.txt"], ["readme.txt"], ["D/s/shape.npz"], ["D/s/x_stagei.npz"]])
def test_a_folder_without_recordings_is_refused(tmp_path: Path, files: list[str]) -> None:
    with pytest.raises(AmassError, match="no AMASS sequences") as caught:
        find_sequences(make_tree(tmp_path, *files))
    assert str(caught.value).startswith(f"{tmp_path}: ")


@pytest.mark.parametrize("name", ["absent", "file"])
def test_what_is_no_folder_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AmassError, match=name):
        find_sequences(tmp_path / name)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
@pytest.mark.parametrize("place", ["D/s/\udcff.npz", "D/\udcff/a.npz", "\udcff/s/a.npz", "D/\udcff.npz"])
def test_a_recording_with_a_name_that_is_no_utf8_is_reported_under_a_printable_one(tmp_path: Path, place: str) -> None:
    make_tree(tmp_path, "D/s/good.npz")
    path = os.fsencode(tmp_path / place)
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 (a path of bytes)
    with open(path, "wb"):  # noqa: PTH123
        pass
    listing = find_sequences(tmp_path)
    assert keys(listing) == [("D", "s", "good")]
    printable = place.encode("utf-8", "backslashreplace").decode()
    assert [path for path, _ in listing.misplaced] == [printable]


@given(data=st.data())
@settings(max_examples=15)
def test_the_order_is_sorted_whatever_the_order_of_creation(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    files = [
        "B/s/b.npz",
        "B/s/B.npz",
        "A/t/a.npz",
        "A/s10/a.npz",
        "A/s9/z.npz",
        "A/s9/a.npz",
        "C/I/é/a.npz",
        "C/I/z/a.npz",
    ]
    root = make_tree(tmp_path_factory.mktemp("tree"), *data.draw(st.permutations(files)))
    found = keys(find_sequences(root))
    assert found == sorted(found)
    assert len(found) == len(files)


# --- headers


def test_a_header_is_what_the_file_says(tmp_path: Path) -> None:
    header = read_header(write_recording(tmp_path))
    assert (header.num_frames, header.frame_rate, header.gender) == (FRAMES, 120, "female")
    np.testing.assert_array_equal(header.betas, recording_arrays()["betas"])
    assert header.has_dmpls
    assert not header.synthetic
    assert read_header(write_recording(tmp_path, synthetic=np.array("made up"))).synthetic


@pytest.mark.parametrize("word", ["male", "female", "neutral"])
@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_gender_may_be_text_or_bytes_in_any_shape_of_one(
    tmp_path: Path, word: str, as_bytes: bool, shape: tuple[int, ...]
) -> None:
    gender = np.array(word.encode() if as_bytes else word).reshape(shape)
    assert read_header(write_recording(tmp_path, gender=gender)).gender == word


@pytest.mark.parametrize("word", ["Male", "MALE", " male "])
def test_gender_may_be_written_in_any_case(tmp_path: Path, word: str) -> None:
    assert read_header(write_recording(tmp_path, gender=np.array(word))).gender == "male"


@pytest.mark.parametrize("key", ["mocap_framerate", "mocap_frame_rate"])
@pytest.mark.parametrize(
    ("value", "rate"),
    [
        (np.array(120.0), Fraction(120)),
        (np.array([120.0]), Fraction(120)),
        (np.array(60), Fraction(60)),
        (np.array(100, dtype=np.uint8), Fraction(100)),
        (np.array(59.94), Fraction(2997, 50)),
        (np.array(59.94, dtype=np.float32), Fraction(2997, 50)),
        (np.array(119.88, dtype=np.float32), Fraction(2997, 25)),
        (np.array(59.94, dtype=">f4"), Fraction(2997, 50)),
        (np.array([[250.0]]), Fraction(250)),
    ],
)
def test_a_frame_rate_is_the_decimal_it_prints_as_under_either_key(
    tmp_path: Path, key: str, value: np.ndarray, rate: Fraction
) -> None:
    path = write_recording(tmp_path, **{"mocap_framerate": None, key: value})
    assert read_header(path).frame_rate == rate


@pytest.mark.parametrize("shape", [(1,), (10,), (16,), (300,), (1, 16)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_any_number_of_betas_is_taken(tmp_path: Path, shape: tuple[int, ...], dtype: Any) -> None:
    betas = np.linspace(-1, 1, int(np.prod(shape))).astype(dtype)
    read = read_header(write_recording(tmp_path, betas=betas.reshape(shape))).betas
    np.testing.assert_array_equal(read, betas.astype(np.float64))


@pytest.mark.parametrize("count", [1, 10, 16, 300])
def test_betas_are_cut_or_padded_with_zeros_to_the_models(count: int) -> None:
    betas = np.arange(1.0, count + 1)
    fitted = fit_betas(betas, 16)
    assert fitted.shape == (16,)
    np.testing.assert_array_equal(fitted[: min(count, 16)], betas[:16])
    assert not fitted[count:].any()


@pytest.mark.parametrize("name", ["poses", "trans", "betas", "gender", "mocap_framerate"])
def test_a_missing_array_is_named(tmp_path: Path, name: str) -> None:
    assert name in reason_of(write_recording(tmp_path, **{name: None}))


def test_all_missing_arrays_are_named_at_once(tmp_path: Path) -> None:
    reason = reason_of(write_recording(tmp_path, poses=None, betas=None, gender=None))
    assert all(name in reason for name in ("poses", "betas", "gender"))


@pytest.mark.parametrize(("columns", "model"), [(156, "smplh"), (165, "smplx"), (72, "smpl")])
@pytest.mark.parametrize("told", ["", "{}", "{}_locked_head", " {}\n"])
def test_the_columns_of_the_poses_tell_the_body_model(tmp_path: Path, columns: int, model: str, told: str) -> None:
    poses = np.random.default_rng(0).normal(size=(FRAMES, columns))
    word = {"surface_model_type": np.array(told.format(model).upper())} if told else {}
    path = write_recording(tmp_path, poses=poses, **word)
    header = read_header(path)
    assert header.model == model
    assert header.has_dmpls == (model != "smplx")
    read = np.concatenate([frames.poses[bool(i) :] for i, frames in enumerate(read_frames(path, header, 7, 0))])
    np.testing.assert_array_equal(read, poses.astype(np.float32))


@pytest.mark.parametrize("columns", [0, 3, 63, 69, 155, 157, 162, 168])
def test_columns_of_no_known_model_are_left_out_with_those_that_are(tmp_path: Path, columns: int) -> None:
    reason = reason_of(write_recording(tmp_path, poses=np.zeros((FRAMES, columns))))
    assert f" {columns} columns" in reason
    assert all(words in reason for words in ("156 of SMPL+H", "165 of SMPL-X", "72 of SMPL", "'SMPL-X N'"))


@pytest.mark.parametrize(
    ("columns", "told"), [(156, "smplx"), (156, "smpl"), (165, "smplh"), (72, "smplx"), (72, "smplh"), (156, "flame")]
)
def test_a_model_type_that_disagrees_with_the_columns_is_left_out(tmp_path: Path, columns: int, told: str) -> None:
    path = write_recording(tmp_path, poses=np.zeros((FRAMES, columns)), surface_model_type=np.array(told))
    reason = reason_of(path)
    assert f"'{told}' (surface_model_type)" in reason
    assert str(columns) in reason


def test_a_recording_whose_model_changes_after_its_header_was_read_is_damaged(tmp_path: Path) -> None:
    path = write_recording(tmp_path)
    header = read_header(path)
    write_recording(tmp_path, poses=np.zeros((FRAMES, 165)))
    with pytest.raises(AmassError, match="has changed since the build began"):
        next(read_frames(path, header, 10, 8))


@pytest.mark.parametrize(
    "changed",
    [
        {"poses": np.zeros((FRAMES, 155))},
        {"poses": np.zeros(156)},
        {"poses": np.zeros((FRAMES, 52, 3))},
        {"poses": np.zeros((FRAMES, 156), dtype="U1")},
        {"poses": np.zeros((FRAMES, 156), dtype=complex)},
        {"trans": np.zeros((FRAMES, 2))},
        {"trans": np.zeros((FRAMES, 3, 1))},
        {"trans": np.zeros((FRAMES, 3), dtype=bool)},
        {"dmpls": np.zeros((FRAMES, 8, 1))},
        {"betas": np.zeros(0)},
        {"betas": np.zeros((4, 4))},
        {"betas": np.zeros((16, 1))},
        {"betas": np.array(1.0)},
        {"betas": np.array(["a"] * 16)},
        {"betas": np.full(16, np.nan)},
        {"gender": np.array(1)},
        {"gender": np.array(["male", "female"])},
        {"gender": np.array([], dtype="U4")},
        {"gender": np.array(b"\xff\xfe")},
        {"gender": np.zeros((), dtype="V4")},
        {"mocap_framerate": np.array("120")},
        {"mocap_framerate": np.array([120.0, 120.0])},
        {"mocap_framerate": np.zeros(0)},
        {"mocap_framerate": np.array(120 + 1j)},
    ],
    ids=lambda changed: ", ".join(f"{name}-{value.dtype}-{value.shape}" for name, value in changed.items()),
)
def test_an_array_of_another_kind_or_shape_is_a_reason(tmp_path: Path, changed: dict[str, Any]) -> None:
    assert next(iter(changed)) in reason_of(write_recording(tmp_path, **changed))


@pytest.mark.parametrize("name", ["poses", "trans", "dmpls"])
def test_arrays_that_differ_in_frames_are_a_reason_with_their_numbers(tmp_path: Path, name: str) -> None:
    shorter = recording_arrays()[name][:-1]
    reason = reason_of(write_recording(tmp_path, **{name: shorter}))
    assert str(FRAMES) in reason
    assert str(FRAMES - 1) in reason


def test_a_recording_without_frames_is_left_out(tmp_path: Path) -> None:
    empty = {name: recording_arrays()[name][:0] for name in ("poses", "trans", "dmpls")}
    assert "frames" in reason_of(write_recording(tmp_path, **empty))


@pytest.mark.parametrize("word", ["unknown", "", "m", "female\nmale", "weiblich"])
def test_a_gender_without_a_body_model_is_a_reason_with_those_that_have_one(tmp_path: Path, word: str) -> None:
    assert "female, male, neutral" in reason_of(write_recording(tmp_path, gender=np.array(word)))


@pytest.mark.parametrize("value", [0, 0.0, -120.0, np.nan, np.inf, -np.inf])
def test_a_frame_rate_that_is_no_positive_number_is_a_reason(tmp_path: Path, value: float) -> None:
    assert "mocap_framerate is" in reason_of(write_recording(tmp_path, mocap_framerate=np.array(value)))


@pytest.mark.parametrize("name", ["gender", "betas", "poses", "mocap_framerate"])
def test_a_pickled_array_is_a_reason_and_stays_pickled(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "unpickled"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    assert "pickle" in reason_of(write_recording(tmp_path, **{name: np.array(Bomb(), dtype=object)}))
    assert not marker.exists()


def test_unread_pickled_arrays_do_no_harm(tmp_path: Path) -> None:
    extra = np.array([{"marker": 1}], dtype=object)
    assert read_header(write_recording(tmp_path, marker_labels=extra)).num_frames == FRAMES


@pytest.mark.parametrize("columns", [0, 1, 7])
def test_too_few_dmpls_are_a_reason_unless_soft_tissue_does_not_matter(tmp_path: Path, columns: int) -> None:
    path = write_recording(tmp_path, dmpls=np.zeros((FRAMES, columns)))
    assert "dmpls" in reason_of(path)
    assert not read_header(path, use_dmpls=False).has_dmpls


def test_more_dmpls_than_needed_are_fine(tmp_path: Path) -> None:
    assert read_header(write_recording(tmp_path, dmpls=np.zeros((FRAMES, 300)))).has_dmpls


def test_a_recording_without_dmpls_says_so(tmp_path: Path) -> None:
    assert not read_header(write_recording(tmp_path, dmpls=None)).has_dmpls


@pytest.mark.parametrize("content", [b"", b"spam", None])
def test_a_file_that_is_no_npz_is_a_reason(tmp_path: Path, content: bytes | None) -> None:
    path = write_recording(tmp_path)
    path.write_bytes(path.read_bytes()[:1000] if content is None else content)
    assert "download it again" in reason_of(path)


def test_a_missing_file_is_a_reason(tmp_path: Path) -> None:
    assert "no such file" in reason_of(tmp_path / "absent.npz")


# --- frames


@pytest.mark.parametrize("run", [1, 2, 7, FRAMES - 1, FRAMES, FRAMES + 1, 10**6])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("with_dmpls", [False, True])
def test_frames_put_together_are_the_file_for_any_run_length(
    tmp_path: Path, run: int, compressed: bool, order: Any, with_dmpls: bool
) -> None:
    poses = np.asarray(recording_arrays()["poses"], order=order)
    changed: dict[str, Any] = {"poses": poses} if with_dmpls else {"poses": poses, "dmpls": None}
    path = write_recording(tmp_path, compressed, **changed)
    runs = list(read_frames(path, read_header(path), run, num_dmpls=5))
    starts = range(0, FRAMES, run)
    assert len(runs) == len(starts)
    for frames, start in zip(runs, starts, strict=True):
        rows = slice(max(0, start - 1), start + run)
        np.testing.assert_array_equal(frames.poses, recording_arrays()["poses"][rows].astype(np.float32))
        np.testing.assert_array_equal(frames.trans, recording_arrays()["trans"][rows])
        if with_dmpls:
            assert frames.dmpls is not None
            np.testing.assert_array_equal(frames.dmpls, recording_arrays()["dmpls"][rows, :5].astype(np.float32))
        else:
            assert frames.dmpls is None


def test_dmpls_are_not_read_where_none_are_asked_for(tmp_path: Path) -> None:
    dmpls = np.full((FRAMES, 8), np.nan)
    path = write_recording(tmp_path, dmpls=dmpls)
    for header, num_dmpls in ((read_header(path), 0), (read_header(path, use_dmpls=False), 8)):
        assert all(run.dmpls is None for run in read_frames(path, header, 10, num_dmpls))


@pytest.mark.parametrize("name", ["poses", "trans", "dmpls"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("frame", "run"), [(0, 5), (FRAMES - 1, 5), (13, 100), (10, 5)])
def test_a_value_that_is_not_finite_is_reported_with_its_frame(
    tmp_path: Path, name: str, value: float, frame: int, run: int
) -> None:
    array = recording_arrays()[name]
    array[frame, -1] = value
    path = write_recording(tmp_path, **{name: array})
    before = 0
    with pytest.raises(AmassError, match=rf"{name} of frame {frame}\b"):
        for _ in read_frames(path, read_header(path), run, num_dmpls=8):
            before += 1
    assert before == frame // run


def test_a_value_that_is_not_finite_does_not_matter_in_dmpls_that_are_not_read(tmp_path: Path) -> None:
    dmpls = np.zeros((FRAMES, 9))
    dmpls[3, 8] = np.nan
    path = write_recording(tmp_path, dmpls=dmpls)
    assert len(list(read_frames(path, read_header(path), 5, num_dmpls=8))) == 5


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["poses", "trans", "dmpls"])
def test_a_damaged_array_is_reported_without_the_files_name(tmp_path: Path, compressed: bool, name: str) -> None:
    path = write_recording(tmp_path, compressed)
    header = read_header(path)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
    damaged = bytearray(path.read_bytes())
    damaged[info.header_offset + 30 + len(info.filename) + info.compress_size * 2 // 3] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(AmassError, match="damaged") as caught:
        list(read_frames(path, header, 5, num_dmpls=8))
    assert str(path) not in str(caught.value)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files cannot be listed here")
@pytest.mark.parametrize("name", ["poses", "trans", "dmpls"])
def test_a_recording_that_turns_out_bad_is_closed_at_once(tmp_path: Path, name: str) -> None:
    array = recording_arrays()[name]
    array[13] = np.nan
    path = write_recording(tmp_path, **{name: array})
    with pytest.raises(AmassError, match="no number") as caught:
        list(read_frames(path, read_header(path), 5, num_dmpls=8))
    assert caught.value.__traceback__ is not None, "whoever holds the error must not hold the file"
    assert path not in {link.resolve() for link in Path("/proc/self/fd").iterdir()}


def test_a_file_that_was_cut_short_after_its_header_was_read_is_reported(tmp_path: Path) -> None:
    path = write_recording(tmp_path)
    header = read_header(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(AmassError, match="download it again"):
        list(read_frames(path, header, 5, num_dmpls=8))


def test_the_real_recording_is_found_and_read(real_amass: Path) -> None:
    listing = find_sequences(real_amass)
    assert keys(listing) == [("Sample", "subject_m", "amass_sample_poses")]
    path = real_amass / listing.sequences[0].path
    header = read_header(path)
    assert (header.num_frames, header.frame_rate, header.gender) == (601, 120, "male")
    with np.load(path) as npz:
        runs = [frames.poses for frames in read_frames(path, header, 100, 8)]
        poses = np.concatenate([runs[0], *(run[1:] for run in runs[1:])])
        np.testing.assert_array_equal(poses, npz["poses"].astype(np.float32))


@pytest.mark.parametrize("name", ["poses", "trans", "dmpls"])
def test_values_that_are_all_near_the_bound_are_read(tmp_path: Path, name: str) -> None:
    path = write_recording(tmp_path, **{name: np.full(recording_arrays()[name].shape, -0.999e6)})
    (frames,) = read_frames(path, read_header(path), FRAMES, num_dmpls=8)
    np.testing.assert_array_equal(getattr(frames, name), getattr(frames, name)[:1].repeat(FRAMES, axis=0))


def test_frames_are_read_without_looking_through_the_archive_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recording(tmp_path)
    header = read_header(path)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("the archive was opened"))
    (frames,) = read_frames(path, header, FRAMES, num_dmpls=8)
    np.testing.assert_array_equal(frames.trans, recording_arrays()["trans"])


def test_a_file_that_was_written_anew_is_looked_through_again(tmp_path: Path) -> None:
    path = write_recording(tmp_path)
    header = read_header(path)
    trans = recording_arrays()["trans"] + 1.0
    write_recording(tmp_path, gender=np.array("a longer word moves all that follows"), trans=trans)
    (frames,) = read_frames(path, header, FRAMES, num_dmpls=8)
    np.testing.assert_array_equal(frames.trans, trans)


def test_a_file_whose_dmpls_alone_are_compressed_reads_like_any_other(tmp_path: Path) -> None:
    path = write_recording(tmp_path)
    mixed = tmp_path / "mixed.npz"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(mixed, "w") as target:
        for info in source.infolist():
            deflated = info.filename == "dmpls.npy"
            method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
            target.writestr(info.filename, source.read(info), method)
    (frames,) = read_frames(mixed, read_header(mixed), FRAMES, num_dmpls=8)
    np.testing.assert_array_equal(frames.dmpls, recording_arrays()["dmpls"].astype(np.float32))


def test_links_that_lead_nowhere_are_told_of(tmp_path: Path) -> None:
    make_tree(tmp_path, "D/s1/a.npz")
    (tmp_path / "D" / "s1" / "b.npz").symlink_to(tmp_path / "gone.npz")
    (tmp_path / "KIT").symlink_to(tmp_path / "unmounted")
    listing = find_sequences(tmp_path)
    assert keys(listing) == [("D", "s1", "a")]
    reason = "is a link that leads nowhere, or no file"
    assert listing.misplaced == (("D/s1/b.npz", reason), ("KIT", reason))


def test_a_folder_of_something_else_does_not_hide_the_inner_one(tmp_path: Path) -> None:
    make_tree(tmp_path, "D/Inner/s1/a.npz", "D/docs/readme.txt")
    assert keys(find_sequences(tmp_path)) == [("D", "s1", "a")]


@pytest.mark.parametrize(
    ("link", "target"),
    [
        *(("loop", target) for target in ("AMASS", "the folder above")),
        *(
            (link, target)
            for link in ("D/up", "D/s1/up", "D/Inner/up")
            for target in ("AMASS", "D", "the folder above")
        ),
    ],
)
def test_a_link_to_a_folder_above_finds_nothing_again(tmp_path: Path, link: str, target: str) -> None:
    root = make_tree(tmp_path / "real" / "amass", "D/s1/a.npz", "E/Inner/s1/a.npz")
    (root / link).parent.mkdir(exist_ok=True)
    (root / link).symlink_to({"AMASS": root, "D": root / "D", "the folder above": root.parent}[target])
    (tmp_path / "amass").symlink_to(root)
    for amass_dir in (root, tmp_path / "amass"):
        listing = find_sequences(amass_dir)
        assert keys(listing) == [("D", "s1", "a"), ("E", "s1", "a")]
        assert listing.misplaced == ()
        assert listing.ignored == {"links to a folder above": 1}


def test_a_dataset_that_is_a_link_may_hold_one_to_the_amass_folder(tmp_path: Path) -> None:
    make_tree(tmp_path, "disk/D/s1/a.npz", "amass/E/s1/a.npz")
    (tmp_path / "amass" / "D").symlink_to(tmp_path / "disk" / "D")
    (tmp_path / "disk" / "D" / "all").symlink_to(tmp_path / "amass")
    listing = find_sequences(tmp_path / "amass")
    assert keys(listing) == [("D", "s1", "a"), ("E", "s1", "a")]
    assert listing.ignored == {"links to a folder above": 1}
