"""The first hour with a folder of downloads: mistakes are called by their names, and `check` says what `build` does."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h36m_amass.conversion import feeds, unpack
from h36m_amass.store.store import Store
from tests.archive_files import packed_tree
from tests.scenes import recording, write

Cli = Callable[..., Any]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Recordings of several datasets, rates and lengths, one of them damaged."""
    amass = tmp_path / "amass"
    for key, frames, rate in (
        ("CMU/01/01_01_poses", 240, 120.0),
        ("CMU/01/01_02_poses", 60, 120.0),
        ("CMU/62/62_01_poses", 60, 120.0),
        ("MPI_HDM05/bk/walk_poses", 90, 60.0),
        ("MPI_HDM05/bk/slow_poses", 90, 30.0),
        ("SSM_synced/s/a_poses", 100, 59.9999885559082),
    ):
        write(amass / f"{key}.npz", recording(frames, rate=rate))
    (amass / "CMU/01/01_03_poses.npz").write_bytes(b"<html>log in</html>")
    return amass


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-r", 60],
        ["-r", 120, "--dataset", "CMU", "--dataset", "ssm"],
        ["-r", 60, "--known-rates"],
        ["--native-rate", "--exclude", "*slow*", "--min-seconds", 1],
        ["--upsample", "--max-frames", 95],
        ["--limit", 2, "--sequence", ".*0[12].*"],
    ],
    ids=str,
)
def test_a_check_says_what_the_build_does(
    cli: Cli, support_dir: Path, tree: Path, tmp_path: Path, options: list[Any], packed: bool
) -> None:
    amass = packed_tree(tree, tmp_path / "packed", ".tar.gz") if packed else tree
    common = *options, "--support-dir", support_dir
    said = json.loads(cli("check", amass, *common, "--thorough", "--json").stdout)
    report = tmp_path / "r.json"
    assert cli("build", amass, tmp_path / "s.h5", *common, "--workers", 0, "--report", report).exit_code == 0
    done = json.loads(report.read_text())
    rows = {row["dataset"]: (row["recordings"], row["frames"]) for row in said["datasets"] if row["recordings"]}
    assert rows == {row["dataset"]: (row["sequences"], row["frames"]) for row in done["datasets"] if row["sequences"]}
    problems = [finding["message"] for finding in said["findings"] if not finding["ok"]]
    for skipped in done["skipped"]:
        is_choice = any(skipped == each for each in said["skipped"])
        assert is_choice or any(skipped["path"] in line and skipped["reason"] in line for line in problems)
    assert len(said["skipped"]) + len(problems) == len(done["skipped"])
    assert said["not_selected"] == done["not_selected"]
    assert said["warnings"] == done["warnings"]


def test_what_a_rate_leaves_out_is_known_beforehand(cli: Cli, support_dir: Path, tree: Path) -> None:
    (tree / "CMU/01/01_03_poses.npz").unlink()
    outcome = cli("check", tree, "-r", 120, "--support-dir", support_dir)
    assert outcome.exit_code == 0
    lines = [line for line in outcome.stdout.splitlines() if line.startswith("skipped: ")]
    assert [line.split(", slower than 120 Hz")[0] for line in lines] == [
        "skipped: 2 recordings, each: is at 60 Hz",
        "skipped: MPI_HDM05/bk/slow_poses.npz: is at 30 Hz",
    ]
    assert "AMASS's census has 120 Hz; --known-rates corrects it" in lines[0]


def test_equal_reasons_are_one_line(cli: Cli, support_dir: Path, tree: Path) -> None:
    for number in range(5):
        shutil.copy(tree / "CMU/01/01_03_poses.npz", tree / f"CMU/01/02_{number}_poses.npz")
    outcome = cli("check", tree, "--support-dir", support_dir)
    (line,) = [line for line in outcome.stdout.splitlines() if line.startswith("problem")]
    assert line.startswith("problem: 6 files, each: is a web page, not the download")
    assert line.endswith("and 3 more")


@pytest.mark.parametrize("command", ["check", "build"])
def test_a_folder_one_level_too_high_is_named(
    cli: Cli, support_dir: Path, tree: Path, tmp_path: Path, command: str
) -> None:
    (tmp_path / "data").mkdir()
    shutil.move(tree, tmp_path / "data/smplh_g")
    arguments = (tmp_path / "data", *([tmp_path / "s.h5"] if command == "build" else []), "--support-dir", support_dir)
    outcome = cli(command, *arguments)
    assert outcome.exit_code == 1
    assert f"did you mean {tmp_path / 'data/smplh_g'}?" in outcome.stdout + outcome.stderr


@pytest.mark.parametrize("beside", [None, "CMU"])
@pytest.mark.parametrize("command", ["check", "build", "datasets"])
def test_a_folder_of_archives_one_level_too_high_is_named(
    cli: Cli, support_dir: Path, tree: Path, tmp_path: Path, command: str, beside: str | None
) -> None:
    top = tmp_path / "hia"
    top.mkdir()
    packed_tree(tree, top / "amass", ".tar.bz2")
    if beside is not None:
        shutil.move(tree / beside, top)
    options = [] if command == "datasets" else ["--support-dir", support_dir]
    outcome = cli(command, top, *([tmp_path / "s.h5"] if command == "build" else []), *options)
    assert outcome.exit_code == 1
    said = outcome.stdout + outcome.stderr
    assert f"{top}: amass is not a dataset, and holds CMU, MPI_HDM05, SSM_synced; did you mean {top}/amass?" in said
    assert "no datasets of AMASS itself" not in said


@pytest.mark.parametrize("command", ["check", "build", "verify"])
def test_a_support_folder_that_is_none_is_named(
    cli: Cli, support_dir: Path, tree: Path, tmp_path: Path, command: str
) -> None:
    store = tmp_path / "s.h5"
    assert cli("build", tree, store, "--support-dir", support_dir, "--workers", 0).exit_code == 0
    arguments = {
        "check": ["check"],
        "build": ["build", tree, tmp_path / "n.h5"],
        "verify": ["verify", store, "--against", tree],
    }
    for folder, reason in (
        (tmp_path / "suport", "is not a folder; give yours as --support-dir"),
        (support_dir / "body_models", f"lies in a support folder; did you mean {support_dir}?"),
    ):
        outcome = cli(*arguments[command], "--support-dir", folder)
        assert outcome.exit_code == 1
        assert f"{folder}: {reason}" in outcome.stdout + outcome.stderr
        assert "puts it there" not in outcome.stdout


def test_a_renamed_dataset_is_said(cli: Cli, support_dir: Path, tree: Path, tmp_path: Path) -> None:
    shutil.move(tree / "CMU", tree / "cmu_smplhg")
    packed_tree(tree, tmp_path / "packed", ".tar.bz2")
    shutil.move(tmp_path / "packed/SSM_synced.tar.bz2", tree / "MySSM.tar.bz2")
    shutil.rmtree(tree / "SSM_synced")
    report = tmp_path / "r.json"
    options = "--support-dir", support_dir
    checked = cli("check", tree, *options)
    built = cli("build", tree, tmp_path / "s.h5", *options, "--workers", 0, "--report", report)
    assert built.exit_code == 0
    lines = [
        f"warning: {name}: is not a name of a dataset of AMASS; if it holds one, rename it: h36m-amass datasets lists"
        for name in ("MySSM.tar.bz2", "cmu_smplhg")
    ]
    for outcome in (checked, built):
        assert [sum(line in said for said in outcome.stderr.splitlines()) for line in lines] == [1, 1]
        assert "MPI_HDM05: is not" not in outcome.stderr
    assert {"MySSM.tar.bz2", "cmu_smplhg"} <= {
        warning["path"] for warning in json.loads(report.read_text())["warnings"]
    }


def test_a_copy_of_a_dataset_has_its_name(cli: Cli, support_dir: Path, tree: Path, tmp_path: Path) -> None:
    shutil.move(tree / "CMU", tree / "CMU - Copy")
    assert cli("build", tree, tmp_path / "s.h5", "--support-dir", support_dir, "--workers", 0).exit_code == 0
    assert "CMU" in Store(tmp_path / "s.h5").datasets


def test_a_folder_one_level_too_low_is_named(cli: Cli, support_dir: Path, tree: Path) -> None:
    said = cli("check", tree / "CMU", "--support-dir", support_dir).stdout
    assert "is this a single dataset? Then give its parent folder" in said


def test_an_archive_within_its_own_folder_is_named(cli: Cli, support_dir: Path, tree: Path, tmp_path: Path) -> None:
    packed = packed_tree(tree, tmp_path / "packed", ".tar.bz2")
    (packed / "KIT").mkdir()
    shutil.move(packed / "SSM_synced.tar.bz2", packed / "KIT" / "KIT.tar.bz2")
    said = cli("check", packed, "--support-dir", support_dir).stdout
    assert "KIT/KIT.tar.bz2: is an archive within a dataset's folder; move it up" in said


@pytest.mark.parametrize("name", ["everything.tar", "CMU.tar"])
def test_an_archive_of_several_datasets_is_named(
    cli: Cli, support_dir: Path, tree: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.make_archive(str(folder / name.removesuffix(".tar")), "tar", tree)
    write(folder / "D/s/fine.npz", recording(60))
    outcome = cli("build", folder, tmp_path / "s.h5", "--support-dir", support_dir, "--workers", 0)
    assert f"{name}: holds the datasets CMU, MPI_HDM05, SSM_synced; unpack it into the AMASS folder" in outcome.stdout
    assert Store(tmp_path / "s.h5").datasets == ("D",)


@pytest.mark.parametrize(
    ("folder", "name", "reason"),
    [
        ("amass/SSM_synced", "all.tar", "lies deeper in its archive than [DATASET/]SUBJECT/; unpack it"),
        ("SSM_synced", "MySSM.tar", "holds the dataset SSM_synced; rename it to SSM_synced.tar"),
    ],
)
def test_an_archive_that_a_build_cannot_use_is_named_at_first_look(
    cli: Cli, support_dir: Path, tmp_path: Path, folder: str, name: str, reason: str
) -> None:
    write(tmp_path / "tree" / folder / "s/a_poses.npz", recording(60))
    write(tmp_path / "amass/D/s/fine.npz", recording(60))
    shutil.make_archive(str(tmp_path / "amass" / name.removesuffix(".tar")), "tar", tmp_path / "tree")
    common = tmp_path / "amass", "--support-dir", support_dir
    checked = cli("check", *common)
    assert checked.exit_code == 1
    built = cli("build", common[0], tmp_path / "s.h5", *common[1:], "--workers", 0)
    assert reason in checked.stdout
    assert reason in built.stdout
    assert Store(tmp_path / "s.h5").datasets == ("D",)


def test_an_archive_of_several_datasets_alone_leaves_no_parts_and_promises_none(
    cli: Cli, support_dir: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "BATCH_BYTES", 1)  # so that recordings are converted before the last one is seen
    monkeypatch.setattr(feeds, "BATCH_BYTES", 1)
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.make_archive(str(folder / "CMU"), "tar", tree)
    outcome = cli("build", folder, tmp_path / "s.h5", "--support-dir", support_dir, "--workers", 0)
    assert outcome.exit_code == 1
    assert "CMU.tar: holds the datasets CMU, MPI_HDM05, SSM_synced; unpack it" in outcome.stderr
    assert "kept" not in outcome.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"amass", "one"} | {tree.name}


def test_names_are_printed_as_they_are(cli: Cli, support_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "a  b" / "two  spaces.h5"
    path.parent.mkdir()
    outcome = cli("info", path)
    assert str(path) in outcome.stderr
    assert cli("build", tmp_path / "no  where", path, "--support-dir", support_dir).stderr.count("no  where") == 1


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--device", "", "give auto, cpu, cuda, cuda:N"),
        ("--device", "meta", "give auto, cpu, cuda, cuda:N"),
        ("--device", "cuda:-1", "give auto, cpu, cuda, cuda:N"),
        ("-r", "nan", "a positive number of hertz"),
        ("-r", "inf", "a positive number of hertz"),
        ("--device", "gpu", "give auto, cpu, cuda, cuda:N"),
        ("-r", "0", "a positive number of hertz"),
        ("-r", "-5", "a positive number of hertz"),
        ("--workers", "-1", "greater than or equal to 0"),
        ("--workers", "two", "it should be a valid integer"),
        ("--batch-size", "0", "greater than or equal to 2"),
        ("--batch-size", "99999", "less than or equal to 65536"),
        ("--max-frames", "0", "greater than or equal to 1"),
        ("--compression", "zip", "'zip' is not one of 'none', 'lzf', 'gzip'"),
    ],
)
def test_values_that_no_build_can_have_are_wrong_usage(
    cli: Cli, tmp_path: Path, option: str, value: str, allowed: str
) -> None:
    outcome = cli("build", tmp_path, tmp_path / "s.h5", option, value)
    assert outcome.exit_code == 2
    said = " ".join(outcome.stderr.replace("│", " ").split())
    assert allowed in said
    assert not re.search("Value error|Input should|unable to parse", said)


def test_an_export_in_another_order_replaces_nothing_unasked(
    cli: Cli, support_dir: Path, tree: Path, tmp_path: Path
) -> None:
    store, out = tmp_path / "s.h5", tmp_path / "npz"
    assert cli("build", tree, store, "--support-dir", support_dir, "--workers", 0, "--dataset", "CMU").exit_code == 0
    for _ in range(2):  # the same file is not a change
        assert cli("export-npz", store, out).exit_code == 0
    before = (out / "CMU.npz").read_bytes()
    outcome = cli("export-npz", store, out, "--joint-order", "h36m")
    assert outcome.exit_code == 1
    assert "CMU.npz: is there already and differs" in outcome.stderr
    assert "--overwrite" in outcome.stderr
    assert [path.name for path in out.iterdir()] == ["CMU.npz"]
    assert (out / "CMU.npz").read_bytes() == before
    assert cli("export-npz", store, out, "--joint-order", "h36m", "--overwrite").exit_code == 0
    assert (out / "CMU.npz").read_bytes() != before


@pytest.mark.parametrize("name", ["MPIHDM05", "MPI_HDM05", "hdm05", "HMD05"])
def test_every_name_of_a_dataset_works_everywhere(
    cli: Cli, support_dir: Path, tree: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "s.h5"
    assert cli("build", tree, path, "--support-dir", support_dir, "--workers", 0, "--dataset", name).exit_code == 0
    store = Store(path)
    assert len(store[name].sequences) == len(store.select(dataset=name)) == 1
    assert store[f"{name}/bk/walk_poses"].key == "MPIHDM05/bk/walk_poses"
    assert cli("info", path, f"{name}/bk").exit_code == 0
    assert cli("plot", path, f"{name}/bk/walk_poses", "--out", tmp_path / "p.png").exit_code == 0
    assert cli("export-npz", path, tmp_path / "npz", "--dataset", name).exit_code == 0
    np.testing.assert_array_equal(
        store[name]["bk"]["walk_poses"].positions_3d[:], store["MPIHDM05"]["bk"]["walk_poses"].positions_3d[:]
    )


@pytest.mark.parametrize(
    "options", [["--min-seconds", 70], ["-r", 300, "--dataset", "CMU"], ["--subject", "none"]], ids=str
)
def test_where_a_build_would_fail_the_check_does(
    cli: Cli, support_dir: Path, tree: Path, tmp_path: Path, options: list[Any]
) -> None:
    (tree / "CMU/01/01_03_poses.npz").unlink()
    assert cli("build", tree, tmp_path / "s.h5", "--support-dir", support_dir, "--workers", 0, *options).exit_code == 1
    outcome = cli("check", tree, "--support-dir", support_dir, *options)
    assert outcome.exit_code == 1
    assert "with these options; choose others" in outcome.stdout


@pytest.mark.parametrize(
    "options", [["--limit", 0], ["--subject", "["], ["--min-seconds", 5, "--max-seconds", 2]], ids=str
)
@pytest.mark.parametrize("command", ["check", "build"])
def test_choices_that_nothing_can_fit_are_wrong_usage(
    cli: Cli, tmp_path: Path, command: str, options: list[Any]
) -> None:
    store = [tmp_path / "s.h5"] if command == "build" else []
    assert cli(command, tmp_path, *store, *options).exit_code == 2


def test_a_file_beside_the_datasets_is_of_none(cli: Cli, support_dir: Path, tree: Path, tmp_path: Path) -> None:
    (tree / "KIT.tar.bz2.crdownload").write_bytes(b"BZh9")
    for outcome in (
        cli("check", tree, "--support-dir", support_dir),
        cli("build", tree, tmp_path / "s.h5", "--support-dir", support_dir, "--workers", 0),
    ):
        assert sum(line.startswith("(no dataset) ") for line in outcome.stdout.splitlines()) == 1


def test_why_there_is_nothing_is_said(cli: Cli, support_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "amass/KIT").mkdir(parents=True)
    (tmp_path / "amass/KIT/KIT.tar.bz2").write_bytes(b"BZh9")
    said = cli("check", tmp_path / "amass", "--support-dir", support_dir).stdout
    assert "KIT/KIT.tar.bz2 is an archive within a dataset's folder; move it up" in said
