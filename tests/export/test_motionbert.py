"""MotionBERT's pretraining reads the clips that are exported, unchanged."""

from __future__ import annotations

import csv
import os
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from h36m_amass import export_motionbert, import_human36m, skeleton
from h36m_amass.export.motionbert import REAL_TO_CAMERA, SCALE, MotionBertExport, to_camera
from h36m_amass.export.npz import ExportError
from h36m_amass.store.format import StoreHeader
from h36m_amass.store.store import Store, StoreError
from h36m_amass.store.writer import StoreWriter
from h36m_amass.system import atomic_file as whole_file
from h36m_amass.system.disk import SpaceError
from h36m_amass.system.lock import LockedError, locked
from tests.human36m_files import poses, write_npz
from tests.store.test_store import HEADER, record
from tests.store.test_store import write as write_store

LENGTHS = {"A/1/exact": 243, "A/1/short": 242, "A/2/long": 243 + 3 * 81 + 80, "B/1/x": 300}
CLIPS = [("exact", 0), ("long", 0), ("long", 81), ("long", 162), ("long", 243), ("x", 0)]
EPSILON = np.finfo(np.float32).eps


def write(path: Path, lengths: dict[str, int], header: StoreHeader = HEADER, rate: float = 60.0) -> np.ndarray:
    """A store of noise at one rate."""
    return write_store(path, lengths, replace(header, frame_rate=rate), rate=rate)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    write(tmp_path / "s.h5", LENGTHS)
    return Store(tmp_path / "s.h5")


def load(path: Path) -> np.ndarray:
    content = pickle.loads(path.read_bytes())  # noqa: S301  written by this test
    assert list(content) == ["data_input", "data_label"]
    assert content["data_input"] is None
    label = content["data_label"]
    assert type(label) is np.ndarray
    assert label.dtype == np.float32
    return label


def listed(out: Path) -> list[dict[str, str]]:
    with (out / "clips.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def undone(clip: np.ndarray) -> np.ndarray:
    """A clip in the store's axes, unit and joint order."""
    return (clip / SCALE @ REAL_TO_CAMERA.T)[:, np.argsort(skeleton.JOINT_ORDERS["h36m"])]


# --- what the clips are


def test_clips_tile_each_sequence_and_undone_they_are_the_stores_frames(store: Store, tmp_path: Path) -> None:
    made = export_motionbert(store, tmp_path / "out")
    assert made == MotionBertExport(tmp_path / "out" / "train", clips=6, sequences=3, too_short=1)
    rows = listed(tmp_path / "out")
    assert [(row["sequence"], int(row["start"])) for row in rows] == CLIPS
    assert [row["clip"] for row in rows] == [f"{i:08d}.pkl" for i in range(6)]
    assert sorted(path.name for path in made.folder.iterdir()) == [row["clip"] for row in rows]
    for row in rows:
        clip = load(made.folder / row["clip"])
        assert clip.shape == (243, 17, 3)
        start = int(row["start"])
        frames = store["/".join((row["dataset"], row["subject"], row["sequence"]))].positions_3d[start : start + 243]
        np.testing.assert_allclose(undone(clip), frames, rtol=2 * EPSILON)


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    clip_length=st.integers(1, 20),
    stride=st.integers(1, 25),
    stretch=st.booleans(),
)
@settings(max_examples=20)
def test_no_clip_leaves_its_sequence_and_none_that_fits_is_missing(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], clip_length: int, stride: int, stretch: bool
) -> None:
    folder = tmp_path_factory.mktemp("clips")
    by_key = {f"A/1/{i}": length for i, length in enumerate(lengths)}
    write(folder / "s.h5", by_key)
    # Whole clips are wherever one fits; a sequence without has one of all its frames if it is to be stretched.
    expected = [
        (key.split("/")[2], start, clip_length)
        for key, length in by_key.items()
        for start in range(0, length, stride)
        if start + clip_length <= length
    ]
    short = [key for key, length in by_key.items() if length < clip_length]
    if stretch:
        expected += [(key.split("/")[2], 0, by_key[key]) for key in short]
    options: Any = {"clip_length": clip_length, "stride": stride, "stretch_short": stretch}
    if not expected:
        with pytest.raises(ExportError, match=f"no sequence is as long as a clip of {clip_length} frames"):
            export_motionbert(folder / "s.h5", folder / "out", **options)
        return
    made = export_motionbert(folder / "s.h5", folder / "out", **options)
    rows = [(row["sequence"], int(row["start"]), int(row["frames"])) for row in listed(folder / "out")]
    assert rows == sorted(expected, key=lambda clip: (int(clip[0]), clip[1]))
    assert made.clips == len(expected)
    assert made.too_short == (0 if stretch else len(short))


def test_a_stretched_clip_has_all_frames_in_order_each_about_as_often(store: Store, tmp_path: Path) -> None:
    export_motionbert(store, tmp_path / "out", clip_length=1000, stretch_short=True)
    for row in listed(tmp_path / "out"):
        sequence = store["/".join((row["dataset"], row["subject"], row["sequence"]))]
        clip = load(tmp_path / "out" / "train" / row["clip"])
        assert len(clip) == 1000
        alone = to_camera(sequence.positions_3d[:][:, skeleton.JOINT_ORDERS["h36m"]])
        shown = [int(np.flatnonzero((alone == frame).all((1, 2)))[0]) for frame in clip]
        assert shown == sorted(shown)
        times = np.bincount(shown, minlength=len(sequence))
        assert set(times) <= {1000 // len(sequence), -(-1000 // len(sequence))}


def test_the_camera_sees_x_right_y_down_z_away_and_no_mirror_image() -> None:
    assert np.linalg.det(REAL_TO_CAMERA) == 1.0
    np.testing.assert_array_equal(REAL_TO_CAMERA @ REAL_TO_CAMERA.T, np.eye(3))
    right, away, up = to_camera(np.eye(3, dtype=np.float32)[None])[0]
    scale = np.float32(0.298)  # of MotionBERT's convert_amass.py
    np.testing.assert_array_equal(right, [scale, 0, 0])
    np.testing.assert_array_equal(away, [0, 0, scale])
    np.testing.assert_array_equal(up, [0, -scale, 0])


def test_joints_come_in_the_order_that_its_mirror_image_swaps(store: Store, tmp_path: Path) -> None:
    """MotionBERT's ``flip_data`` names its joints of either side."""
    flip = {"left": [4, 5, 6, 11, 12, 13], "right": [1, 2, 3, 14, 15, 16]}
    export_motionbert(store, tmp_path / "out")
    clip = load(tmp_path / "out" / "train" / "00000000.pkl")
    stored = to_camera(store["A/1/exact"].positions_3d[:])
    for side, columns in flip.items():
        names = [f"{side}_{joint}" for joint in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")]
        np.testing.assert_array_equal(clip[:, columns], stored[:, [store.joint_names.index(name) for name in names]])
    middle = [store.joint_names.index(name) for name in ("pelvis", "spine", "thorax", "nose", "head_top")]
    np.testing.assert_array_equal(clip[:, [0, 7, 8, 9, 10]], stored[:, middle])


def test_clips_of_some_datasets_come_in_the_stores_order(store: Store, tmp_path: Path) -> None:
    export_motionbert(store, tmp_path / "both", datasets=["B", "A", "B"])
    export_motionbert(store, tmp_path / "all")
    assert contents(tmp_path / "both") == contents(tmp_path / "all")
    export_motionbert(store, tmp_path / "b", datasets=["B"])
    assert [row["dataset"] for row in listed(tmp_path / "b")] == ["B"]
    assert (tmp_path / "b/train/00000000.pkl").read_bytes() == (tmp_path / "all/train/00000005.pkl").read_bytes()


def test_a_dataset_is_exported_under_any_of_its_names(tmp_path: Path) -> None:
    write(tmp_path / "s.h5", {"KIT/1/x": 243, "MPI_HDM05/1/x": 243})
    export_motionbert(tmp_path / "s.h5", tmp_path / "out", datasets=["hdm05"])
    assert [row["dataset"] for row in listed(tmp_path / "out")] == ["MPI_HDM05"]


def test_a_set_that_fits_is_named_where_the_first_does_not(tmp_path: Path) -> None:
    others = replace(HEADER.joint_sets[0], name="few", skeleton=skeleton.named(("a", "b")))
    header = replace(HEADER, joint_sets=(others, HEADER.joint_sets[0]), frame_rate=60.0)
    write(tmp_path / "s.h5", {"A/1/x": 243}, header)
    with pytest.raises(ExportError, match="use --joint-set h36m"):
        export_motionbert(tmp_path / "s.h5", tmp_path / "out")
    assert export_motionbert(tmp_path / "s.h5", tmp_path / "out", joint_set="h36m").clips == 1


# --- as MotionBERT reads them


def read_as_pretraining_does(data_root: Path, subset: str, split: str) -> list[tuple[np.ndarray, torch.Tensor]]:
    """Input and target of each clip: every file of the folder, its x and y with confidence 1 as the detection."""
    pairs = []
    for name in sorted(os.listdir(data_root / subset / split)):  # noqa: PTH208  as it lists them
        with (data_root / subset / split / name).open("rb") as file:
            target = torch.FloatTensor(pickle.load(file)["data_label"])  # noqa: S301  written by this test
        detected = np.concatenate([target[..., :2].numpy(), np.ones((*target.shape[:2], 1), np.float32)], axis=2)
        pairs.append((detected, target))
    return pairs


def test_pretraining_finds_upright_people_that_move_and_nothing_to_test_on(demo: Any, tmp_path: Path) -> None:
    export_motionbert(demo.store, tmp_path / "AMASS", frame_rate=50)
    assert read_as_pretraining_does(tmp_path, "AMASS", "test") == []
    pairs = read_as_pretraining_does(tmp_path, "AMASS", "train")
    assert len(pairs) == len(listed(tmp_path / "AMASS"))
    names = [skeleton.H36M.joint_names[i] for i in skeleton.JOINT_ORDERS["h36m"]]
    head, pelvis, ankles = names.index("head_top"), 0, [names.index("left_ankle"), names.index("right_ankle")]
    for detected, target in pairs:
        assert detected.shape == target.shape == (243, 17, 3)
        assert (detected[:, head, 1] < detected[:, pelvis, 1]).all()
        assert (detected[:, pelvis, 1] < detected[:, ankles, 1].mean(1)).all()
        tall = np.linalg.norm(target[:, head] - target[:, ankles].mean(1), axis=-1) / 0.298
        assert ((tall > 0.5) & (tall < 2.5)).all()
        assert target.diff(dim=0).abs().max() > 0
        target *= 2  # training writes into what it has loaded


def test_a_pickle_names_nothing_private_and_needs_no_new_python(store: Store, tmp_path: Path) -> None:
    export_motionbert(store, tmp_path / "out")
    operations = list(pickletools.genops((tmp_path / "out/train/00000000.pkl").read_bytes()))
    assert max(operation.proto for operation, _, _ in operations) <= 4
    strings = [argument for operation, argument, _ in operations if isinstance(argument, str)]
    assert strings == ["data_input", "data_label", "numpy", "ndarray", "<f4", "builtins", "bytearray"]


# --- files


def test_the_same_store_gives_the_same_bytes_and_nothing_of_an_earlier_export_stays(
    store: Store, tmp_path: Path
) -> None:
    export_motionbert(store, tmp_path / "fresh")
    export_motionbert(store, tmp_path / "again", stride=40)
    assert len(listed(tmp_path / "again")) > len(listed(tmp_path / "fresh"))
    for _ in range(2):
        export_motionbert(store, tmp_path / "again")
        assert contents(tmp_path / "again") == contents(tmp_path / "fresh")
    assert sorted(path.name for path in (tmp_path / "fresh").iterdir()) == ["clips.csv", "test", "train"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_export_that_stops_leaves_what_was_there(store: Store, tmp_path: Path, stop: Any) -> None:
    out = tmp_path / "out"

    def stopping(done: int, total: int) -> None:
        if done == 2:
            raise stop

    for before in ({}, {"datasets": ["B"]}):
        if before:
            export_motionbert(store, out, **before)
        files = contents(out)
        with pytest.raises(SpaceError if isinstance(stop, OSError) else KeyboardInterrupt):
            export_motionbert(store, out, progress=stopping)
        assert contents(out) == files


def test_what_a_killed_export_left_is_cleared(store: Store, tmp_path: Path) -> None:
    export_motionbert(store, tmp_path / "fresh")
    for moment in ("writing", "moving"):
        out = tmp_path / moment
        for name in ("train", *(("old",) if moment == "moving" else ())):
            (out / f"train{whole_file.SUFFIX}" / name).mkdir(parents=True)
            (out / f"train{whole_file.SUFFIX}" / name / "00000099.pkl").write_bytes(b"half")
        (out / f"train{whole_file.SUFFIX}" / "clips.csv").write_text("half")
        (out / f"train{whole_file.SUFFIX}" / "lock").write_text("process 1 on nowhere")
        export_motionbert(store, out)
        assert contents(out) == contents(tmp_path / "fresh")


def test_a_folder_of_somebody_else_beside_the_clips_stays(store: Store, tmp_path: Path) -> None:
    (tmp_path / "train.tmp" / "train").mkdir(parents=True)
    (tmp_path / "train.tmp" / "train" / "mine").write_bytes(b"mine")
    export_motionbert(store, tmp_path)
    assert (tmp_path / "train.tmp" / "train" / "mine").read_bytes() == b"mine"


def test_two_exports_to_one_folder_do_not_mix(store: Store, tmp_path: Path) -> None:
    def second(done: int, total: int) -> None:
        with pytest.raises(LockedError, match="another process is writing it"):
            export_motionbert(store, tmp_path / "out", stride=1)

    export_motionbert(store, tmp_path / "out", progress=second)
    export_motionbert(store, tmp_path / "alone")
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")
    with locked(tmp_path / "out" / f"train{whole_file.SUFFIX}", tmp_path):
        pass  # and it is free again


FOREIGN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "clips of another tool": (lambda train: (train / "00000000.pkl").write_bytes(b"mine"), "no clips.csv"),
    "another file": (lambda train: (train / "notes.txt").write_bytes(b"mine"), "'notes.txt'"),
    "a file in place of the folder": (lambda train: (train.rmdir(), train.write_bytes(b"mine")), "is not a folder"),
}


@pytest.mark.parametrize("case", list(FOREIGN))
def test_what_no_export_wrote_is_never_replaced(store: Store, tmp_path: Path, case: str) -> None:
    make, words = FOREIGN[case]
    (tmp_path / "out" / "train").mkdir(parents=True)
    make(tmp_path / "out" / "train")
    before = contents(tmp_path / "out")
    with pytest.raises(ExportError, match=words):
        export_motionbert(store, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_an_export_follows_no_link(store: Store, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("00000000.pkl", "clips.csv", "lock"):
        (mine / name).write_bytes(b"mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / "train").symlink_to(mine, target_is_directory=True)
    (out / f"train{whole_file.SUFFIX}").symlink_to(mine, target_is_directory=True)
    (out / "clips.csv").symlink_to(mine / "clips.csv")
    with pytest.raises(ExportError, match=r"holds 'clips\.csv'"):  # the folder that the link leads to
        export_motionbert(store, out)
    (out / "train").unlink()
    (mine / "clips").mkdir()
    (mine / "clips" / "00000000.pkl").write_bytes(b"mine")
    (out / "train").symlink_to(mine / "clips", target_is_directory=True)
    export_motionbert(store, out)
    assert set(contents(mine).values()) == {b"mine", None}
    assert (mine / "clips" / "00000000.pkl").exists()
    assert not any(path.is_symlink() for path in out.rglob("*"))


def test_names_in_the_index_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for number, name in enumerate(("../evil", "/evil", "a\\..\\evil", 'x",\n"evil')):
        store = tmp_path / f"{number}.h5"
        write(store, {"A/1/x": 3})
        for column in ("dataset", "subject", "sequence"):
            with h5py.File(store, "r+") as file:
                del file[f"index/{column}"]
                file[f"index/{column}"] = np.array([name.encode()])
        try:
            export_motionbert(store, tmp_path / "deep" / str(number), clip_length=3)
        except StoreError as error:
            assert "evil" in str(error)  # a name that no store may hold
        else:
            (row,) = listed(tmp_path / "deep" / str(number))
            assert row["dataset"] == row["subject"] == row["sequence"] == name
    assert not list(tmp_path.rglob("*evil*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.h5", "1.h5", "2.h5", "3.h5", "deep"]


# --- what is refused


def test_nobody_is_advised_to_build_an_imported_store(tmp_path: Path) -> None:
    import_human36m(write_npz(tmp_path / "3d.npz", positions_3d=poses()), tmp_path / "s.h5")
    with pytest.raises(ExportError, match=r"s.h5: is at 50 Hz, and the clips are to be at 60 Hz; say --frame-rate 50"):
        export_motionbert(tmp_path / "s.h5", tmp_path / "out")


def test_a_store_at_another_rate_is_refused_unless_that_rate_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "50.h5", LENGTHS, rate=50.0)
    with pytest.raises(
        ExportError, match=r"50\.h5: is at 50 Hz, .* 60 Hz; build a store with -r 60, .*--frame-rate 50"
    ):
        export_motionbert(tmp_path / "50.h5", tmp_path / "out")
    with pytest.raises(ExportError, match="are to be at 25 Hz"):
        export_motionbert(tmp_path / "50.h5", tmp_path / "out", frame_rate=25)
    assert not (tmp_path / "out").exists()
    assert export_motionbert(tmp_path / "50.h5", tmp_path / "out", frame_rate=50).clips == len(CLIPS)


@pytest.mark.parametrize("rate", [59.94, 59.9998, 60.0002])
def test_a_rate_that_only_looks_like_60_hertz_is_refused(tmp_path: Path, rate: float) -> None:
    write(tmp_path / "s.h5", LENGTHS, rate=rate)
    with pytest.raises(ExportError, match="are to be at 60 Hz"):
        export_motionbert(tmp_path / "s.h5", tmp_path / "out")


def test_a_store_of_several_rates_gives_those_datasets_that_have_the_right_one(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "s.h5", HEADER.joint_sets)
    for key, rate in (("A/1/x", 60.0), ("B/1/x", 120.0)):
        writer.append(replace(record(key, 300), frame_rate=rate), [(np.ones((300, 17, 3), np.float32),)])
    writer.finish(replace(HEADER, frame_rate=float("nan")))
    writer.close()
    with pytest.raises(ExportError, match=r"2 frame rates, 60 to 120 Hz, .*-r 60, or export datasets"):
        export_motionbert(tmp_path / "s.h5", tmp_path / "out")
    assert export_motionbert(tmp_path / "s.h5", tmp_path / "a", datasets=["A"]).clips == 1
    assert export_motionbert(tmp_path / "s.h5", tmp_path / "b", datasets=["B"], frame_rate=120).clips == 1


def test_what_cannot_be_exported_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no dataset 'Nope'"):
        export_motionbert(store, tmp_path / "out", datasets=["Nope"])
    for name in ("clip_length", "stride"):
        with pytest.raises(ExportError, match=f"{name.replace('_', ' ')} must be at least 1, not 0"):
            export_motionbert(store, tmp_path / "out", **{name: 0})
    names = tuple(f"joint_{i}" for i in range(17))
    write(
        tmp_path / "other.h5",
        LENGTHS,
        replace(HEADER, joint_sets=(replace(HEADER.joint_sets[0], skeleton=skeleton.named(names)),)),
    )
    with pytest.raises(ExportError, match=r"other\.h5: its joint set h36m does not have the 17 joints of Human3\.6M"):
        export_motionbert(tmp_path / "other.h5", tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="file"):
        export_motionbert(store, tmp_path / "file")
    assert not (tmp_path / "out").exists()


# --- the command


def test_the_command_says_what_it_wrote_and_fails_in_one_line(
    cli: Callable[..., Any], store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    outcome = cli("export-motionbert", store.path, out)
    assert (outcome.exit_code, outcome.stdout.splitlines()) == (
        0,
        [f"{out / 'train'}: 6 clips of 3 sequences; 1 shorter than a clip have none"],
    )
    options = ("--dataset", "A", "--clip-length", "100", "--stride", "50", "--frame-rate", "60", "--stretch-short")
    assert cli("export-motionbert", store.path, tmp_path / "cli", *options).exit_code == 0
    export_motionbert(
        store, tmp_path / "library", datasets=["A"], clip_length=100, stride=50, frame_rate=60, stretch_short=True
    )
    assert contents(tmp_path / "cli") == contents(tmp_path / "library")
    outcome = cli("export-motionbert", store.path, tmp_path / "no", "--frame-rate", "50")
    assert outcome.exit_code == 1
    (error,) = [line for line in outcome.stderr.splitlines() if line.startswith("error:")]
    assert "is at 60 Hz" in error
    assert not (tmp_path / "no").exists()
    assert cli("export-motionbert", store.path, tmp_path / "no", "--stride", "0").exit_code == 2
