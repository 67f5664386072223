"""A dataset is the same under each of its names, in a tree, in a store and on the command line."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_amass import build, export_npz
from h36m_amass.datasets import CATALOGUE, Dataset, DatasetError, canonical, choose, find, same
from h36m_amass.files import archives
from h36m_amass.recordings.recording import AmassError
from h36m_amass.recordings.tree import find_sequences
from h36m_amass.store import footer as sealing
from h36m_amass.store.format import ADDED_IN
from h36m_amass.store.store import Store, StoreError
from h36m_amass.verification.store import verify
from tests.conftest import Outcome
from tests.scenes import write_dataset
from tests.store import test_store

ALL_NAMES = [(dataset, name) for dataset in CATALOGUE for name in (dataset.archive, *dataset.folders, *dataset.names)]
# What the README of the AMASS-to-3DHPE script lists.
ORIGINAL = [
    "CMU",
    "DanceDB",
    "MPILimits",
    "TotalCapture",
    "EyesJapanDataset",
    "HUMAN4D",
    "KIT",
    "BMLhandball",
    "BMLmovi",
    "BMLrub",
    "EKUT",
    "TCDhandMocap",
    "ACCAD",
    "Transitionsmocap",
    "MPIHDM05",
    "SFU",
    "MPImosh",
]


def test_the_seventeen_datasets_of_the_original_script_keep_their_names() -> None:
    assert len(ORIGINAL) == 17
    assert set(ORIGINAL) <= {dataset.name for dataset in CATALOGUE}


def test_no_two_datasets_share_a_name() -> None:
    owners = Counter(same(name) for dataset in CATALOGUE for name in {same(name) for name in dataset.names})
    assert set(owners.values()) == {1}
    for dataset, name in ALL_NAMES:
        assert find(name) is dataset


@given(st.sampled_from(ALL_NAMES), st.data())
def test_a_name_counts_however_it_is_spelled(named: tuple[Dataset, str], data: st.DataObject) -> None:
    dataset, name = named
    letters = [data.draw(st.sampled_from((c, c.upper(), c.lower(), f"_{c}", f"{c}-", f"{c} "))) for c in name]
    assert canonical("".join(letters)) == dataset.name


@given(st.text())
def test_a_canonical_name_is_its_own_and_an_unknown_one_stays_as_it_is(name: str) -> None:
    assert canonical(canonical(name)) == canonical(name)
    if find(name) is None:
        assert canonical(name) == name


def test_all_folders_of_a_dataset_are_meant_by_each_of_its_names() -> None:
    there = ("CMU", "HDM05", "MPI_HDM05", "Mine", "mine")
    for name in ("HDM05", "mpi-hdm05", "MPIHDM05"):
        assert choose([name], there) == ("HDM05", "MPI_HDM05")
    assert choose(["mine", "cmu", "CMU"], there) == ("CMU", "mine")
    assert choose(["MINE"], there) == ("Mine", "mine")
    assert choose([], there) == ()


@pytest.mark.parametrize(
    ("name", "there", "message"),
    [
        ("CMUU", ("CMU", "KIT"), "has no dataset 'CMUU'; the nearest name is CMU"),
        ("BioMotionLab", ("BMLrub", "KIT"), "has no dataset 'BioMotionLab'; the nearest name is BMLrub"),
        ("MPI", ("MPI_HDM05", "MPIx", "MPIyy"), "has no dataset 'MPI'; the nearest names are MPIx, MPIyy"),
        ("HDM05", ("KIT", "CMU"), "has no dataset 'HDM05'; it has KIT, CMU"),
        ("x", (), "has no dataset 'x'; it has none"),
        ("zzz", tuple("abcdefghij"), "has no dataset 'zzz'; it has a, b, c, d, e, f, g, h and 2 more"),
    ],
)
def test_a_name_that_means_nothing_is_refused_with_those_that_are_near(
    name: str, there: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DatasetError, match=f"^{re.escape(message)}$"):
        choose([name], there)


def test_trees_stores_and_exports_know_every_name(support_dir: Path, tmp_path: Path) -> None:
    for number, folder in enumerate(("BioMotionLab_NTroje", "HDM05", "MPI_HDM05", "Mine")):
        write_dataset(tmp_path / "amass", folder, 1, frames=30, seed=number)
    assert {file.dataset for file in find_sequences(tmp_path / "amass", ("bmlrub", "MPIHDM05")).sequences} == {
        "BioMotionLab_NTroje",
        "HDM05",
        "MPI_HDM05",
    }
    with pytest.raises(AmassError, match="has no dataset 'PosePrior'; it has"):
        find_sequences(tmp_path / "amass", ("Mine", "PosePrior"))
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, datasets=["bml_rub", "hdm05", "Mine"])
    store = Store(tmp_path / "s.h5")
    assert store.datasets == ("BioMotionLab_NTroje", "HDM05", "MPI_HDM05", "Mine")
    assert list(store.index["canonical_dataset"]) == ["BMLrub", "MPIHDM05", "MPIHDM05", "Mine"]
    assert store["HDM05/S/0000"].record.canonical_dataset == "MPIHDM05"
    assert store.header.options["datasets"] == ["BMLrub", "MPIHDM05", "Mine"]
    paths = export_npz(store, tmp_path / "npz", datasets=["MPIHDM05", "BMLrub"])
    assert [path.name for path in paths] == ["BioMotionLab_NTroje.npz", "HDM05.npz", "MPI_HDM05.npz"]
    with pytest.raises(StoreError, match=re.escape(f"{store.path}: has no dataset 'BMLrob'; the nearest name is BioM")):
        export_npz(store, tmp_path / "npz", datasets=["BMLrob"])


def test_the_command_lists_every_dataset_and_every_name(cli: Callable[..., Outcome]) -> None:
    header, *lines = cli("datasets").stdout.splitlines()
    assert header.split()[:2] == ["dataset", "archive"]
    for dataset, line in zip(CATALOGUE, lines, strict=True):
        assert re.split(r"\s{2,}", line)[0] == dataset.name
        for name in (dataset.archive, *dataset.folders, *dataset.others):
            assert name in line


def test_the_command_says_what_is_there_and_opens_nothing(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    for file in ("HDM05/bk/a.npz", "MPI_HDM05/MPI_HDM05/dg/a.npz", "MPI_HDM05/MPI_HDM05/dg/b.npz", "my\x1bown/s/a.npz"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"no npz")
    *lines, present, unknown = cli("datasets", tmp_path).stdout.splitlines()
    counts = {line.split()[0]: re.split(r"\s{2,}", line.strip())[-1] for line in lines}
    assert counts["MPIHDM05"] == "HDM05 (1), MPI_HDM05 (2)"
    assert not any(re.search(r"\(\d", count) for name, count in counts.items() if name != "MPIHDM05")
    assert present == f"present: 1 of {len(CATALOGUE)} datasets"
    assert unknown == "of no known dataset: my\\x1bown (1)"
    outcome = cli("datasets", tmp_path / "nowhere")
    assert (outcome.exit_code, len(outcome.stderr.splitlines())) == (1, 1)


def test_the_command_names_archives_without_looking_into_them(
    cli: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("HDM05/bk/a.npz", "MPI_HDM05.tar.bz2", "KIT.zip", "mine.tar"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"none")
    monkeypatch.setattr(archives, "examine", lambda *_: pytest.fail("an archive was opened"))
    *lines, present, unknown = cli("datasets", tmp_path).stdout.splitlines()
    found = {line.split()[0]: re.split(r"\s{2,}", line.strip())[-1] for line in lines}
    assert (found["MPIHDM05"], found["KIT"]) == ("HDM05 (1)", "KIT (archive)")  # the folder counts
    assert present == f"present: 2 of {len(CATALOGUE)} datasets"
    assert unknown == "of no known dataset: mine (archive)"
    (tmp_path / "HDM05/bk/a.npz").unlink()
    assert cli("datasets", tmp_path).exit_code == 0


def as_version_1(path: Path) -> None:
    """Rewrite a store of one joint set as one that was written before there was a canonical name."""
    with h5py.File(path, "r+") as file:
        for column in ADDED_IN:
            del file["index"][column]
        said = json.loads(file["header"][()])
        for name in ("joint_sets", "regressors_sha256"):
            del said[name], file.attrs[name]
        del file["joint_sets"], file["header"]
        file["header"] = np.bytes_(json.dumps(said, sort_keys=True).encode())
        file.attrs["format_version"] = np.int64(1)
    sealing.seal(path)


def test_a_store_of_version_1_is_read_as_one_of_today(tmp_path: Path) -> None:
    lengths = {"BioMotionLab_NTroje/1/x": 3, "BioMotionLab_NTroje/1/y": 300, "CMU/2/x": 1, "走る/ü ñ/z": 40}
    for name in ("old.h5", "new.h5"):
        positions = test_store.write(tmp_path / name, lengths)
    as_version_1(tmp_path / "old.h5")
    old, new = Store(tmp_path / "old.h5"), Store(tmp_path / "new.h5")
    assert (old.header.format_version, new.header.format_version) == (1, 2)
    assert [sequence.record for sequence in old.sequences] == [sequence.record for sequence in new.sequences]
    assert list(old.index["canonical_dataset"]) == ["BMLrub", "BMLrub", "CMU", "走る"]
    np.testing.assert_array_equal(old.read(0, len(positions)), positions)
    assert [sequence.key for sequence in old.split("uplift-upsample", "train")] == list(lengths)[:3]
    assert old.select(dataset="CMU")[0].record == new["CMU/2/x"].record


def test_a_store_of_version_1_verifies_exports_and_is_brought_up_to_date(
    cli: Callable[..., Outcome], support_dir: Path, tmp_path: Path
) -> None:
    for number, folder in enumerate(("MPI_mosh", "KIT")):
        write_dataset(tmp_path / "amass", folder, 2, frames=30, seed=10 * number)
    build(tmp_path / "amass", tmp_path / "today.h5", support_dir=support_dir)
    today = (tmp_path / "today.h5").read_bytes()
    path = tmp_path / "s.h5"
    path.write_bytes(today)
    as_version_1(path)
    found = verify(path, against=tmp_path / "amass", support_dir=support_dir, sample=10)
    assert found.findings == ()
    assert found.compared_frames > 0
    assert "format version 1" in cli("info", path).stdout
    assert [npz.name for npz in export_npz(path, tmp_path / "npz", datasets=["MoSh"])] == ["MPI_mosh.npz"]
    report = build(tmp_path / "amass", path, support_dir=support_dir, update=True)
    assert report.reused == 4
    assert path.read_bytes() == today


def test_a_column_of_today_may_not_be_missing_today(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    test_store.write(path, {"CMU/1/x": 3})
    with h5py.File(path, "r+") as file:
        del file["index/canonical_dataset"]
    with pytest.raises(StoreError, match="its index is damaged"):
        Store(path)
