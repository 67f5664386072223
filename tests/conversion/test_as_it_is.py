"""AMASS as it really is, from the command line: right sides, right rates, and nothing wrong in silence.

Real files where there are some beside the repository, and made-up ones of the same kind.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from h36m_amass.skeleton import H36M
from h36m_amass.store.store import Store
from tests.archive_files import packed_tree
from tests.scenes import REAL, needs_real, recording, write

Cli = Callable[..., Any]
RIGHT_FIRST = [0, 4, 5, 6, 1, 2, 3, *range(7, 17)]
UPRIGHT = (np.pi / 2, 0.0, 0.0)


def upright(frames: int, rate: float = 120.0, **changes: Any) -> dict[str, Any]:
    """A recording of random poses of somebody who stands, as AMASS has them."""
    arrays = recording(frames, rate=rate)
    arrays["poses"][:, :3] = UPRIGHT
    return arrays | changes


def run(cli: Cli, *arguments: object) -> Any:
    outcome = cli(*arguments)
    assert outcome.exit_code == 0, outcome.stderr
    return outcome


def build(cli: Cli, tree: Path, support: Path, *options: object) -> tuple[Store, Any]:
    """The store of a tree, which is built in this process, and what the command said."""
    store = tree.parent / "store.h5"
    outcome = run(cli, "build", tree, store, "--support-dir", support, "--workers", 0, "--overwrite", *options)
    return Store(store), outcome


def names_of(store: Store) -> tuple[str, ...]:
    return store.skeleton.joint_names


@needs_real
@pytest.mark.parametrize("file", ["J_regressor_h36m.npy", "J_regressor_h36m_correct.npy"])
def test_either_published_regressor_puts_left_on_the_left(
    cli: Cli, real_support: Path, tmp_path: Path, file: str
) -> None:
    """Copied to the place of SPIN's, as the manual invites to."""
    support = tmp_path / "support"
    shutil.copytree(real_support, support, symlinks=True)
    shutil.copy(REAL / "regressors" / file, support / "J_regressor_h36m.npy")
    (tmp_path / "amass/CMU/01").mkdir(parents=True)
    shutil.copy(REAL / "recordings" / "CMU_01_01_08_poses.npz", tmp_path / "amass/CMU/01/01_08_poses.npz")
    store, _ = build(cli, tmp_path / "amass", support)
    reordered = dict(zip(names_of(store), np.moveaxis(store["CMU/01/01_08_poses"].positions_3d[:], 1, 0), strict=True))
    mesh_store = tmp_path / "spin.h5"
    run(cli, "build", tmp_path / "amass", mesh_store, "--support-dir", real_support, "--workers", 0)
    spin = Store(mesh_store)["CMU/01/01_08_poses"].positions_3d[:]
    for joint, name in enumerate(H36M.joint_names):
        np.testing.assert_allclose(reordered[name], spin[:, joint], atol=1e-6)
    summary = run(cli, "info", tmp_path / "store.h5").stdout
    assert ("Pose2Mesh's J_regressor_h36m_correct, right leg first" in summary) == (file != "J_regressor_h36m.npy")
    assert ("SPIN's J_regressor_h36m, left leg first" in summary) == (file == "J_regressor_h36m.npy")
    for order in ("h36m", "regressor"):
        folder = tmp_path / order
        run(cli, "export-npz", tmp_path / "store.h5", folder, "--joint-order", order)
        with np.load(folder / "CMU.npz", allow_pickle=True) as exported:
            assert "J_regressor_h36m" in str(exported["joint_regressor"])
            positions = exported["positions_3d"].item()["01"]["01_08_poses"]["positions_3d"]
        expected = [H36M.joint_names[row] for row in RIGHT_FIRST] if order == "h36m" else names_of(store)
        np.testing.assert_array_equal(positions, np.stack([reordered[name] for name in expected], axis=1))


@pytest.mark.parametrize("rows", [list(range(17)), RIGHT_FIRST], ids=["left first", "right first"])
def test_an_unknown_file_of_that_name_is_named_by_the_body(
    cli: Cli, support_dir: Path, tmp_path: Path, rows: list[int]
) -> None:
    regressor = tmp_path / "J_regressor_h36m.npy"
    np.save(regressor, np.load(support_dir / "J_regressor_h36m.npy")[rows])
    write(tmp_path / "amass/D/s/q.npz", upright(60))
    store, _ = build(cli, tmp_path / "amass", support_dir, "--joint-regressor", regressor)
    assert names_of(store) == tuple(H36M.joint_names[row] for row in rows)
    against = "--against", tmp_path / "amass", "--joint-regressor", regressor
    run(cli, "verify", store.path, *against, "--support-dir", support_dir)
    clips = tmp_path / "clips"
    run(cli, "build", tmp_path / "amass", tmp_path / "s60.h5", "--support-dir", support_dir, "--workers", 0, "-r", 60)
    run(cli, "export-motionbert", tmp_path / "s60.h5", clips, "--clip-length", 20)
    assert (clips / "clips.csv").read_text().splitlines()[1].endswith(",J_regressor_h36m.npy")


def test_names_that_contradict_the_body_end_the_build(cli: Cli, support_dir: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    swapped = {"left": "right", "right": "left"}
    words = [re.sub("left|right", lambda match: swapped[match[0]], name) for name in H36M.joint_names]
    names.write_text("\n".join(words))
    regressor = tmp_path / "own.npy"
    np.save(regressor, np.load(support_dir / "J_regressor_h36m.npy"))
    write(tmp_path / "amass/D/s/q.npz", upright(60))
    arguments = "--joint-regressor", regressor, "--support-dir", support_dir, "--workers", 0
    outcome = cli("build", tmp_path / "amass", tmp_path / "s.h5", *arguments, "--joint-names", names)
    assert outcome.exit_code == 1
    assert "left_hip (row 4) is not left of right_hip (row 1)" in outcome.stderr
    assert outcome.stderr.count("error:") == 1
    assert not (tmp_path / "s.h5").exists()


def test_a_rate_that_is_nearly_whole_is_whole_and_the_index_says_what_the_file_said(
    cli: Cli, support_dir: Path, tmp_path: Path
) -> None:
    write(tmp_path / "amass/SSM/20160330_03333/a_poses.npz", upright(61, 59.9999885559082))
    write(tmp_path / "amass/SSM/20160330_03333/b_poses.npz", upright(61, 120.00004577636719))
    store, outcome = build(cli, tmp_path / "amass", support_dir, "-r", 60)
    first, second = (store[f"SSM/20160330_03333/{name}_poses"].record for name in "ab")
    assert (first.source_frame_rate, first.recorded_frame_rate, first.length) == (60.0, 59.9999885559082, 61)
    assert (second.source_frame_rate, second.recorded_frame_rate) == (120.0, 120.00004577636719)
    store, _ = build(cli, tmp_path / "amass", support_dir, "-r", 120, "--upsample")
    assert len(store["SSM/20160330_03333/b_poses"]) == 61
    assert "59.99998856 Hz in its file" in run(cli, "info", tmp_path / "store.h5", "SSM/20160330_03333/a_poses").stdout
    # The census has all of this subject at 60 Hz.
    assert "1 recording: taken at 120 Hz, but AMASS's census has 60 Hz" in outcome.stderr


@needs_real
def test_a_real_recording_at_its_own_rate_is_untouched(cli: Cli, real_support: Path, tmp_path: Path) -> None:
    (tmp_path / "amass/SSM/s").mkdir(parents=True)
    shutil.copy(REAL / "recordings" / "dmpl_sample.npz", tmp_path / "amass/SSM/s/sample.npz")
    store, _ = build(cli, tmp_path / "amass", real_support, "-r", 120)
    positions = store["SSM/s/sample"].positions_3d[:]
    native, _ = build(cli, tmp_path / "amass", real_support, "--native-rate")
    assert len(positions) == 235
    np.testing.assert_array_equal(positions, native["SSM/s/sample"].positions_3d[:])


WRONG = {"CMU/62/62_01_poses": 120.0, "CMU/62/62_02_poses": 120.0, "BMLhandball/S01/x_poses": 120.0}
RIGHT = {"CMU/62/62_01_poses": 60.0, "CMU/62/62_02_poses": 60.0, "BMLhandball/S01/x_poses": 240.0}


@pytest.fixture
def wrong_rates(tmp_path: Path) -> Path:
    """Recordings whose files are known or believed to say another rate than is true."""
    for key, rate in (WRONG | {"CMU/01/01_01_poses": 120.0}).items():
        write(tmp_path / "amass" / f"{key}.npz", upright(60, rate))
    return tmp_path / "amass"


def test_known_rates_are_held_against_the_files(cli: Cli, support_dir: Path, wrong_rates: Path) -> None:
    report = wrong_rates.parent / "r.json"
    store, outcome = build(cli, wrong_rates, support_dir, "--report", report)
    checked = run(cli, "check", wrong_rates, "--support-dir", support_dir)
    for said in (outcome.stderr, checked.stderr):
        assert "2 recordings: taken at 120 Hz, but AMASS's census has 60 Hz; --known-rates corrects it" in said
        assert "1 recording: taken at 120 Hz, but it is believed to be 240 Hz; --known-rates corrects it" in said
    assert "CMU: 3 recordings; AMASS's census of SMPL+H has 2,082" in checked.stdout
    listed = json.loads(report.read_text())
    assert sorted(warning["path"] for warning in listed["warnings"]) == sorted(f"{key}.npz" for key in WRONG)
    assert listed["corrected_rates"] == 0
    assert store["CMU/62/62_01_poses"].record.source_frame_rate == 120.0


def test_known_rates_are_taken_on_request_and_by_an_update(cli: Cli, support_dir: Path, wrong_rates: Path) -> None:
    store, outcome = build(cli, wrong_rates, support_dir, "--known-rates")
    assert "warning" not in outcome.stderr
    assert "frame rates corrected, as asked: 3\n" in outcome.stdout
    for key, rate in RIGHT.items():
        record = store[key].record
        assert (record.source_frame_rate, record.recorded_frame_rate) == (rate, WRONG[key])
        assert record.length == int(60 * 50 // rate)
    run(cli, "verify", store.path, "--against", wrong_rates, "--support-dir", support_dir)
    # Converted at the right rate from the beginning, a file gives the same.
    write(wrong_rates.parent / "right/CMU/62/62_01_poses.npz", upright(60, 60.0))
    expected = store["CMU/62/62_01_poses"].positions_3d[:]
    other, _ = build(cli, wrong_rates.parent / "right", support_dir)
    np.testing.assert_array_equal(other["CMU/62/62_01_poses"].positions_3d[:], expected)


def test_an_update_keeps_corrected_rates_and_takes_no_others(cli: Cli, support_dir: Path, wrong_rates: Path) -> None:
    store, _ = build(cli, wrong_rates, support_dir, "--known-rates")
    before = store.path.read_bytes()
    arguments = "build", wrong_rates, store.path, "--support-dir", support_dir, "--workers", 0, "--update"
    assert "0 added, 0 changed, 4 kept, 0 gone" in run(cli, *arguments).stdout
    assert store.path.read_bytes() == before
    rules = wrong_rates.parent / "own.csv"
    rules.write_text("dataset,subject,sequence,hertz\nCMU,*,*,100\n")
    outcome = cli(*arguments, "--frame-rates", rules)
    assert outcome.exit_code == 1
    assert "was built with --frame-rates none" in outcome.stderr
    assert "--overwrite" in outcome.stderr
    assert store.path.read_bytes() == before


def test_a_persons_rules_are_the_same_for_folders_archives_and_updates(
    cli: Cli, support_dir: Path, wrong_rates: Path, tmp_path: Path
) -> None:
    rules = tmp_path / "own.csv"
    rules.write_text("dataset,subject,sequence,hertz\nCMU,62,*,100\nCMU,62,62_02,30\nCUM,*,*,9\n")
    options = "--frame-rates", rules, "--upsample"
    store, outcome = build(cli, wrong_rates, support_dir, *options)
    unused = "rules of --frame-rates that fit no recording: 1, the first is CUM,*,*"
    assert unused in outcome.stdout
    assert unused in run(cli, "check", wrong_rates, "--support-dir", support_dir, *options).stdout
    assert "CMU/62" not in outcome.stderr  # what is given needs no warning
    rates = {key: store[key].record.source_frame_rate for key in (*WRONG, "CMU/01/01_01_poses")}
    assert list(rates.values()) == [100.0, 30.0, 120.0, 120.0]
    from_folders = store.path.read_bytes()
    archives = packed_tree(wrong_rates, tmp_path / "packed", ".tar.bz2")
    for _ in range(2):  # the second time what the archives hold is known
        packed, _ = build(cli, archives, support_dir, *options)
        assert [packed[key].record.source_frame_rate for key in rates] == list(rates.values())
    shutil.copy(packed.path, tmp_path / "packed.h5")
    arguments = "build", archives, tmp_path / "packed.h5", "--support-dir", support_dir, "--workers", 0, "--update"
    assert "4 kept" in run(cli, *arguments, *options).stdout
    assert build(cli, wrong_rates, support_dir, *options)[0].path.read_bytes() == from_folders


@pytest.mark.parametrize("rate", [0.0, np.nan])
def test_a_rule_does_not_make_a_rate_of_none(
    cli: Cli, support_dir: Path, wrong_rates: Path, tmp_path: Path, rate: float
) -> None:
    write(wrong_rates / "CMU/62/62_03_poses.npz", upright(60, rate))
    archives = packed_tree(wrong_rates, tmp_path / "packed", ".zip")
    for tree in (wrong_rates, archives):
        _, outcome = build(cli, tree, support_dir, "--known-rates")
        assert "CMU/62/62_03_poses.npz: mocap_framerate is" in outcome.stdout


def test_doubtful_recordings_are_converted_counted_and_listed(cli: Cli, support_dir: Path, tmp_path: Path) -> None:
    poses, trans = upright(60)["poses"], upright(60)["trans"]
    cases: dict[str, dict[str, Any]] = {
        "degrees": {"poses": np.degrees(poses)},
        "millimetres": {"trans": trans + np.array((0, 0, 900))},
        "rates": {"mocap_frame_rate": np.array(60.0)},
        "betas": {"betas": np.ones(300)},
        "flat": {"poses": np.where(np.arange(156) < 3, 0.0, poses)},
        "fine": {"betas": np.r_[np.ones(10), np.zeros(290)]},
    }
    for name, changes in cases.items():
        write(tmp_path / f"amass/D/s/{name}.npz", upright(60) | changes)
    expected = {
        "degrees": "may be in degrees",
        "millimetres": "may be in millimetres",
        "rates": "two frame rates, 120 and 60 Hz; the first is taken",
        "betas": "of 300 betas the first 16 are used: the body model has no more",
        "flat": "not upright in the first frame: the body's up is y",
    }
    report = tmp_path / "r.json"
    store, outcome = build(cli, tmp_path / "amass", support_dir, "--report", report)
    assert len(store.sequences) == len(cases)
    listed = {warning["path"]: warning["message"] for warning in json.loads(report.read_text())["warnings"]}
    assert listed.keys() == {"D", *(f"D/s/{name}.npz" for name in expected)}
    checked = run(cli, "check", tmp_path / "amass", "--support-dir", support_dir).stderr
    for name, message in expected.items():
        assert message in listed[f"D/s/{name}.npz"]
        assert message in outcome.stderr
        assert message in checked or name == "betas"
    archives = packed_tree(tmp_path / "amass", tmp_path / "packed", ".zip")
    _, outcome = build(cli, archives, support_dir)
    assert all(message in outcome.stderr for message in expected.values())
    checked = run(cli, "check", archives, "--support-dir", support_dir).stderr
    assert all(message in checked for name, message in expected.items() if name != "betas")


@pytest.mark.parametrize(("folder", "dataset"), [("BML", "BMLrub"), ("HMD05", "MPIHDM05")])
def test_folders_of_amass_own_splits_are_known(
    cli: Cli, support_dir: Path, tmp_path: Path, folder: str, dataset: str
) -> None:
    write(tmp_path / f"amass/{folder}/s/q.npz", upright(60))
    store, _ = build(cli, tmp_path / "amass", support_dir)
    assert store.datasets == (dataset,)


def test_all_betas_of_smplx_are_used(cli: Cli, smplx_support: Path, tmp_path: Path) -> None:
    arrays = upright(60) | {"poses": np.zeros((60, 165)), "gender": np.array("neutral")}
    del arrays["dmpls"]
    arrays["poses"][:, :3] = UPRIGHT
    betas = np.zeros(300)
    write(tmp_path / "amass/D/s/a.npz", arrays | {"betas": betas[:16]})
    betas[299] = 5.0
    write(tmp_path / "amass/D/s/b.npz", arrays | {"betas": betas})
    store, outcome = build(cli, tmp_path / "amass", smplx_support, "--joint-regressor", "skeleton")
    first, last = (store[f"D/s/{name}"].positions_3d[:] for name in "ab")
    assert "betas" not in outcome.stderr
    assert np.abs(first - last).max() > 1e-3
    verified = run(cli, "verify", store.path, "--against", tmp_path / "amass", "--support-dir", smplx_support)
    assert "error" not in verified.stderr


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["*treadmill*"], ["rub1/walk", "rub2/walk"]),
        (["rub1/*", "rub2/t*"], ["rub2/walk"]),
        (["BMLrub/rub2/walk"], ["rub1/treadmill_1", "rub1/walk", "rub2/treadmill_2"]),
        (["BioMotionLab_NTroje/RUB1/*", "rub2/treadmill_2"], ["rub2/walk"]),
        (["walk"], ["rub1/treadmill_1", "rub1/walk", "rub2/treadmill_2", "rub2/walk"]),
    ],
)
def test_recordings_are_excluded_by_patterns(
    cli: Cli, support_dir: Path, tmp_path: Path, patterns: list[str], left: list[str]
) -> None:
    for name in ("rub1/walk", "rub1/treadmill_1", "rub2/walk", "rub2/treadmill_2"):
        write(tmp_path / f"amass/BMLrub/{name}.npz", upright(60))
    options = [word for pattern in patterns for word in ("--exclude", pattern)]
    store, outcome = build(cli, tmp_path / "amass", support_dir, *options)
    kept = [store.names(row) for row in range(len(store.sequences))]
    assert [f"{subject}/{sequence}" for _, subject, sequence in kept] == left
    checked = run(cli, "check", tmp_path / "amass", "--support-dir", support_dir, *options)
    for said in (outcome.stdout, checked.stdout):
        assert (f"{4 - len(left)} by --exclude" in said) == (len(left) < 4)
        assert ("patterns of --exclude that match no recording: walk" in said) == (patterns == ["walk"])


def test_excludes_that_match_nothing_are_named_of_archives_as_well(cli: Cli, support_dir: Path, tmp_path: Path) -> None:
    write(tmp_path / "amass/D/s/walk.npz", upright(60))
    write(tmp_path / "amass/D/s/run.npz", upright(60))
    packed = packed_tree(tmp_path / "amass", tmp_path / "packed", ".tar.gz")
    _, outcome = build(cli, packed, support_dir, "--exclude", "s/run", "--exclude", "s/rum")
    assert "patterns of --exclude that match no recording: s/rum\n" in outcome.stdout


def test_the_census_counts_recordings_that_are_there_and_not_those_that_options_leave(
    cli: Cli, support_dir: Path, wrong_rates: Path
) -> None:
    checked = run(cli, "check", wrong_rates, "--support-dir", support_dir, "--subject", "62")
    assert "CMU: 3 recordings, 2 of them to convert; AMASS's census of SMPL+H has 2,082" in checked.stdout
    checked = cli("check", wrong_rates, "--support-dir", support_dir, "--subject", "99")
    assert "BMLhandball: 1 recording, 0 of them to convert" in checked.stdout


def test_two_rates_are_no_matter_where_another_is_given(cli: Cli, support_dir: Path, tmp_path: Path) -> None:
    write(tmp_path / "amass/D/s/q.npz", upright(60) | {"mocap_frame_rate": np.array(60.0)})
    rates = tmp_path / "rates.csv"
    rates.write_text("dataset,subject,sequence,hertz\nD,s,q,60\n")
    plain = run(cli, "check", tmp_path / "amass", "--support-dir", support_dir)
    assert "the file has two frame rates, 120 and 60 Hz" in plain.stderr
    corrected = run(cli, "check", tmp_path / "amass", "--support-dir", support_dir, "--frame-rates", rates)
    assert "two frame rates" not in corrected.stderr


@pytest.mark.parametrize("compression", ["none", "lzf"])  # the frames of the second are read through HDF5
def test_a_store_that_another_process_has_locked_is_read(
    cli: Cli, support_dir: Path, tmp_path: Path, compression: str
) -> None:
    """As on a network's file system: HDF5's own locks would refuse it."""
    write(tmp_path / "amass/D/s/q.npz", upright(60))
    store, _ = build(cli, tmp_path / "amass", support_dir, "--compression", compression)
    hold = f"import fcntl, sys\nfile = open({str(store.path)!r}, 'r+b')\nfcntl.flock(file, fcntl.LOCK_EX)\nprint()\n"
    with subprocess.Popen(
        [sys.executable, "-c", f"{hold}sys.stdout.flush()\nsys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(OSError, match="lock"):
            h5py.File(store.path, locking=True)
        assert len(Store(store.path)["D/s/q"].positions_3d[:]) == 25
        run(cli, "verify", store.path)
        run(cli, "export-npz", store.path, tmp_path / "npz")
        process.communicate()


def test_the_index_is_sorted_by_names_and_not_by_paths(cli: Cli, support_dir: Path, tmp_path: Path) -> None:
    for subject in ("s9-x", "s9"):  # as paths, s9-x/ comes before s9/
        write(tmp_path / f"amass/D/{subject}/q.npz", upright(60))
    store, _ = build(cli, tmp_path / "amass", support_dir)
    assert [store.names(row)[1] for row in range(2)] == ["s9", "s9-x"]
    run(cli, "verify", store.path)
