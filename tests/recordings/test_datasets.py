"""A dataset is the same under each of its names, and a tree's keys have the canonical one."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_amass.datasets import CATALOGUE, Dataset, DatasetError, canonical, choose, find, same
from h36m_amass.recordings.inventory import Folder, take_inventory
from h36m_amass.recordings.recording import AmassError
from h36m_amass.recordings.tree import find_recordings
from tests.archive_files import members_of

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
    present = ("CMU", "HDM05", "MPI_HDM05", "Mine", "mine")
    for name in ("HDM05", "mpi-hdm05", "MPIHDM05"):
        assert choose([name], present) == ("HDM05", "MPI_HDM05")
    assert choose(["mine", "cmu", "CMU"], present) == ("CMU", "mine")
    assert choose(["MINE"], present) == ("Mine", "mine")
    assert choose([], present) == ()


@pytest.mark.parametrize(
    ("name", "present", "message"),
    [
        ("CMUU", ("CMU", "KIT"), "has no dataset 'CMUU'; the nearest name is CMU"),
        ("BioMotionLab", ("BMLrub", "KIT"), "has no dataset 'BioMotionLab'; the nearest name is BMLrub"),
        ("HDM5", ("HDM05", "MPI_HDM05"), "has no dataset 'HDM5'; the nearest names are HDM05, MPI_HDM05"),
        ("MPI", ("MPI_HDM05", "MPIx", "MPIyy"), "has no dataset 'MPI'; the nearest names are MPIx, MPIyy"),
        ("HDM05", ("KIT", "CMU"), "has no dataset 'HDM05'; it has KIT, CMU"),
        ("x", (), "has no dataset 'x'; it has none"),
        ("zzz", tuple("abcdefghij"), "has no dataset 'zzz'; it has a, b, c, d, e, f, g, h and 2 more"),
    ],
)
def test_a_name_that_means_nothing_is_refused_with_those_that_are_near(
    name: str, present: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DatasetError, match=f"^{re.escape(message)}$"):
        choose([name], present)


def files_of(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no npz")
    return tmp_path


def test_trees_know_every_name_and_their_keys_have_the_canonical_one(tmp_path: Path) -> None:
    files_of(tmp_path, "BioMotionLab_NTroje/S/a.npz", "HDM05/S/a.npz", "Mine/S/a.npz", "mine/S/a.npz")
    listing = find_recordings(tmp_path, ("bmlrub", "mpi_HDM05", "Mine"))
    assert [(file.key, file.path) for file in listing.files] == [
        ("BMLrub/S/a", "BioMotionLab_NTroje/S/a.npz"),
        ("MPIHDM05/S/a", "HDM05/S/a.npz"),
        ("Mine/S/a", "Mine/S/a.npz"),
    ]
    with pytest.raises(AmassError, match="has no dataset 'PosePrior'; it has"):
        find_recordings(tmp_path, ("Mine", "PosePrior"))


def test_an_inventory_counts_what_is_there_and_opens_no_recording(tmp_path: Path) -> None:
    files_of(tmp_path, "MPI_HDM05/MPI_HDM05/dg/a.npz", "MPI_HDM05/MPI_HDM05/dg/b.npz", "my\x1bown/s/a.npz")
    members_of(tmp_path / "KIT.tar", ("3/a.npz", b""))
    (tmp_path / "CMU (1).tar.bz2").write_bytes(b"no archive")
    (tmp_path / "mine.tar.gz").write_bytes(b"no archive")
    inventory = take_inventory(tmp_path)
    assert {dataset.name: folders for dataset, folders in inventory.datasets if folders} == {
        "MPIHDM05": (Folder("MPI_HDM05", 2),),
        "KIT": (Folder("KIT", None),),
        "CMU": (Folder("CMU (1)", None),),
    }
    assert inventory.unknown == (Folder("mine", None), Folder("my\x1bown", 1))
    with pytest.raises(AmassError, match="is not a folder"):
        take_inventory(str(tmp_path / "nowhere"))
