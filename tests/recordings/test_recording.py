"""Recordings are read as they are, or skipped for one clear reason."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h36m_amass.files import sources
from h36m_amass.files.paths import open_file
from h36m_amass.files.sources import MAX_SMALL
from h36m_amass.recordings.recording import (
    AmassError,
    Frames,
    Recording,
    content_digest,
    fit_betas,
    read_header,
)
from h36m_amass.recordings.resampling import exact_rate
from h36m_amass.recordings.tree import find_recordings

FRAMES = 23


def recording_arrays(**changed: Any) -> dict[str, Any]:
    """A recording in AMASS's layout; None omits an array."""
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


def read_frames(path: Path, num_frames: int, num_dmpls: int, use_dmpls: bool = True) -> Iterator[Frames]:
    with Recording(path, use_dmpls) as recording:
        yield from recording.frames(num_frames, num_dmpls)


def reason_of(path: Path, use_dmpls: bool = True) -> str:
    """Why a recording is skipped: one line that does not repeat the file, because a list shows the file beside it."""
    with pytest.raises(AmassError) as caught:
        read_header(path, use_dmpls)
    reason = str(caught.value)
    assert reason
    assert "\n" not in reason
    assert str(path) not in reason
    return reason


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


@pytest.mark.parametrize("first", [np.float32, np.float64])
def test_a_rate_does_not_depend_on_what_was_read_before(tmp_path: Path, first: type) -> None:
    exact_rate.cache_clear()
    values = {np.float32: np.array(59.94, np.float32), np.float64: np.array(np.float32(59.94), np.float64)}
    rates = {
        dtype: read_header(write_recording(tmp_path, mocap_framerate=values[dtype]))
        for dtype in sorted(values, key=lambda dtype: dtype is not first)
    }
    assert (rates[np.float32].frame_rate, rates[np.float32].recorded_frame_rate) == (Fraction(2997, 50), 59.94)
    assert rates[np.float64].recorded_frame_rate == 59.939998626708984
    assert rates[np.float64].frame_rate == Fraction("59.939998626708984")


def test_one_rate_in_two_precisions_is_one_rate(tmp_path: Path) -> None:
    rates = {"mocap_framerate": np.array(59.94, np.float32), "mocap_frame_rate": np.array(59.94)}
    with Recording(write_recording(tmp_path, **rates)) as recording:
        assert not recording.warnings


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
@pytest.mark.parametrize("template", ["", "{}", "{}_locked_head", " {}\n"])
def test_the_columns_of_the_poses_tell_the_body_model(tmp_path: Path, columns: int, model: str, template: str) -> None:
    poses = np.random.default_rng(0).normal(size=(FRAMES, columns))
    word = {"surface_model_type": np.array(template.format(model).upper())} if template else {}
    path = write_recording(tmp_path, poses=poses, **word)
    header = read_header(path)
    assert header.model == model
    assert header.has_dmpls == (model != "smplx")
    read = np.concatenate([frames.poses[bool(i) :] for i, frames in enumerate(read_frames(path, 7, 0))])
    np.testing.assert_array_equal(read, poses.astype(np.float32))


@pytest.mark.parametrize("columns", [0, 3, 63, 69, 155, 157, 162, 168])
def test_columns_of_no_known_model_are_left_out_with_those_that_are(tmp_path: Path, columns: int) -> None:
    reason = reason_of(write_recording(tmp_path, poses=np.zeros((FRAMES, columns))))
    assert f" {columns} columns" in reason
    assert all(words in reason for words in ("156 of SMPL+H", "165 of SMPL-X", "72 of SMPL", "'SMPL-X N'"))


@pytest.mark.parametrize(
    ("columns", "model_type"),
    [(156, "smplx"), (156, "smpl"), (165, "smplh"), (72, "smplx"), (72, "smplh"), (156, "flame")],
)
def test_a_model_type_that_disagrees_with_the_columns_is_left_out(
    tmp_path: Path, columns: int, model_type: str
) -> None:
    path = write_recording(tmp_path, poses=np.zeros((FRAMES, columns)), surface_model_type=np.array(model_type))
    reason = reason_of(path)
    assert f"'{model_type}' (surface_model_type)" in reason
    assert str(columns) in reason


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
    runs = list(read_frames(path, run, num_dmpls=5))
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
    for num_dmpls, use_dmpls in ((0, True), (8, False)):
        assert all(run.dmpls is None for run in read_frames(path, 10, num_dmpls, use_dmpls))


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
        for _ in read_frames(path, run, num_dmpls=8):
            before += 1
    assert before == frame // run


def test_a_value_that_is_not_finite_does_not_matter_in_dmpls_that_are_not_read(tmp_path: Path) -> None:
    dmpls = np.zeros((FRAMES, 9))
    dmpls[3, 8] = np.nan
    path = write_recording(tmp_path, dmpls=dmpls)
    assert len(list(read_frames(path, 5, num_dmpls=8))) == 5


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["poses", "trans", "dmpls"])
def test_a_damaged_array_is_reported_without_the_files_name(tmp_path: Path, compressed: bool, name: str) -> None:
    path = write_recording(tmp_path, compressed)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
    damaged = bytearray(path.read_bytes())
    damaged[info.header_offset + 30 + len(info.filename) + info.compress_size * 2 // 3] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(AmassError, match="damaged") as caught:
        list(read_frames(path, 5, num_dmpls=8))
    assert str(path) not in str(caught.value)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files cannot be listed here")
@pytest.mark.parametrize("name", ["poses", "trans", "dmpls"])
def test_a_recording_that_turns_out_bad_is_closed_at_once(tmp_path: Path, name: str) -> None:
    array = recording_arrays()[name]
    array[13] = np.nan
    path = write_recording(tmp_path, **{name: array})
    with pytest.raises(AmassError, match="not a number") as caught:
        list(read_frames(path, 5, num_dmpls=8))
    assert caught.value.__traceback__ is not None, "the error must not keep the file open"
    assert path not in {link.resolve() for link in Path("/proc/self/fd").iterdir()}


def test_a_file_that_was_cut_short_after_it_was_opened_is_reported(tmp_path: Path) -> None:
    path = write_recording(tmp_path, poses=np.zeros((500, 156)), trans=np.zeros((500, 3)), dmpls=None)
    assert path.stat().st_size > MAX_SMALL
    with Recording(path) as recording:
        os.truncate(path, 5000)
        with pytest.raises(AmassError, match="download it again"):
            list(recording.frames(5, 8))


def test_the_real_recording_is_found_and_read(real_amass: Path) -> None:
    listing = find_recordings(real_amass)
    assert [file.key for file in listing.files] == ["Sample/subject_m/amass_sample_poses"]
    path = real_amass / listing.files[0].path
    header = read_header(path)
    assert (header.num_frames, header.frame_rate, header.gender) == (601, 120, "male")
    with np.load(path) as npz:
        runs = [frames.poses for frames in read_frames(path, 100, 8)]
        poses = np.concatenate([runs[0], *(run[1:] for run in runs[1:])])
        np.testing.assert_array_equal(poses, npz["poses"].astype(np.float32))


@pytest.mark.parametrize("name", ["poses", "trans", "dmpls"])
def test_values_that_are_all_near_the_bound_are_read(tmp_path: Path, name: str) -> None:
    path = write_recording(tmp_path, **{name: np.full(recording_arrays()[name].shape, -0.999e6)})
    (frames,) = read_frames(path, FRAMES, num_dmpls=8)
    np.testing.assert_array_equal(getattr(frames, name), getattr(frames, name)[:1].repeat(FRAMES, axis=0))


@pytest.mark.parametrize("frames", [FRAMES, 1000])
def test_a_recording_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    rng = np.random.default_rng(1)
    changed = {name: rng.normal(size=(frames, array.shape[1])) for name, array in arrays_of_frames().items()}
    path = write_recording(tmp_path, **changed)
    opened: list[object] = []

    def counting(*arguments: Any) -> Any:
        opened.append(arguments[0])
        return open_file(*arguments)

    monkeypatch.setattr(sources, "open_file", counting)
    with Recording(path) as recording:
        runs = list(recording.frames(frames, 8))
    assert opened == [path]
    np.testing.assert_array_equal(runs[0].trans, changed["trans"])


def arrays_of_frames() -> dict[str, np.ndarray]:
    return {name: recording_arrays()[name] for name in ("poses", "trans", "dmpls")}


@pytest.mark.parametrize("name", [*recording_arrays(), "surface_model_type", "synthetic"])
def test_a_content_digest_tells_contents_apart_and_needs_no_array(tmp_path: Path, name: str) -> None:
    path = write_recording(tmp_path)
    digest = content_digest(path)
    assert digest == read_header(path).content_digest == read_header(path, use_dmpls=False).content_digest
    changed = np.array("smplh") if name not in recording_arrays() else np.ones_like(recording_arrays()[name])
    write_recording(tmp_path, **{name: changed})
    assert content_digest(path) != digest
    write_recording(tmp_path, marker_labels=np.zeros(9))
    assert content_digest(path) == digest
    write_recording(tmp_path, gender=np.array([{}]))
    content_digest(path)  # what is in an array plays no part
    path.write_bytes(b"spam")
    with pytest.raises(AmassError, match="download it again"):
        content_digest(path)


def test_a_file_whose_dmpls_alone_are_compressed_reads_like_any_other(tmp_path: Path) -> None:
    path = write_recording(tmp_path)
    mixed = tmp_path / "mixed.npz"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(mixed, "w") as target:
        for info in source.infolist():
            deflated = info.filename == "dmpls.npy"
            method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
            target.writestr(info.filename, source.read(info), method)
    (frames,) = read_frames(mixed, FRAMES, num_dmpls=8)
    np.testing.assert_array_equal(frames.dmpls, recording_arrays()["dmpls"].astype(np.float32))
