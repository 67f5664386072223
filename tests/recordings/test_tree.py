"""AMASS trees are listed whole and in order; what has no place in them is reported with a reason."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h36m_amass.recordings.recording import AmassError
from h36m_amass.recordings.tree import Listing, find_recordings


def make_tree(root: Path, *files: str) -> Path:
    """Empty files under `root`: what is in a file plays no part in finding it."""
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def keys(listing: Listing) -> list[tuple[str, str, str]]:
    return [(s.dataset, s.subject, s.sequence) for s in listing.files]


def skipped(listing: Listing) -> list[tuple[str, str]]:
    return [(row.path, row.reason) for row in listing.skipped]


def test_a_recording_is_keyed_by_its_folders_with_or_without_an_inner_one(tmp_path: Path) -> None:
    make_tree(
        tmp_path, "Flat/s1/a.npz", "Flat/s2/b.npz", "Nested/Inner/s1/c.npz", "Nested/Inner/s2/d.npz", "Nested/readme"
    )
    listing = find_recordings(tmp_path)
    assert keys(listing) == [
        ("Flat", "s1", "a"),
        ("Flat", "s2", "b"),
        ("Nested", "s1", "c"),
        ("Nested", "s2", "d"),
    ]
    assert [s.path for s in listing.files] == [
        "Flat/s1/a.npz",
        "Flat/s2/b.npz",
        "Nested/Inner/s1/c.npz",
        "Nested/Inner/s2/d.npz",
    ]
    assert listing.skipped == ()


def test_an_inner_folder_of_the_datasets_own_name_is_looked_through(tmp_path: Path) -> None:
    listing = find_recordings(make_tree(tmp_path, "ACCAD/ACCAD/Female1/a.npz", "ACCAD/LICENSE.txt"))
    assert keys(listing) == [("ACCAD", "Female1", "a")]


def test_a_datasets_only_subject_is_a_subject_with_or_without_an_inner_folder(tmp_path: Path) -> None:
    make_tree(tmp_path, "One/subject/a.npz", "One/subject/b.npz", "Two/Inner/subject/c.npz")
    assert keys(find_recordings(tmp_path)) == [
        ("One", "subject", "a"),
        ("One", "subject", "b"),
        ("Two", "subject", "c"),
    ]


def test_only_the_last_suffix_is_cut_from_a_sequences_name(tmp_path: Path) -> None:
    listing = find_recordings(make_tree(tmp_path, "D/s/a.b_poses.npz", "D/s/walk.npz.npz", "D/s/white space.npz"))
    assert [s.sequence for s in listing.files] == ["a.b_poses", "walk.npz", "white space"]


def test_a_files_size_is_in_the_listing(tmp_path: Path) -> None:
    make_tree(tmp_path, "D/s/a.npz")
    (tmp_path / "D/s/a.npz").write_bytes(b"12345")
    assert find_recordings(tmp_path).files[0].size == 5


def test_a_second_stage_is_a_recording_and_a_first_stage_is_none(tmp_path: Path) -> None:
    make_tree(tmp_path, "D/s/A1_-_Stand_stageii.npz", "D/s/male_stagei.npz", "D/s/neutral_stagei.npz")
    listing = find_recordings(tmp_path)
    assert keys(listing) == [("D", "s", "A1_-_Stand_stageii")]
    assert listing.ignored == {"*_stagei.npz": 2}


def test_files_that_are_no_recordings_are_counted_by_kind_and_not_listed(tmp_path: Path) -> None:
    make_tree(
        tmp_path,
        *("D/s/a.npz", "D/s/shape.npz", "D/s/neutral_stagei.npz", "D/s/female_stagei.npz", "D/s/.hidden.npz"),
        *("D/s/video.mp4", "D/LICENSE.txt", "readme.md", "D/.DS_Store", "D/s/CAPITAL.NPZ.bak"),
        *("__MACOSX/D/s/a.npz", "D/__MACOSX/s/a.npz", ".cache/s/a.npz", "D/.cache/a.npz", "D/s/__MACOSX/._a.npz"),
    )
    listing = find_recordings(tmp_path)
    assert keys(listing) == [("D", "s", "a")]
    assert listing.skipped == ()
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
    listing = find_recordings(tmp_path)
    assert keys(listing) == [("D", "s1", "a"), ("D", "s2", "b"), ("E", "s", "c")]
    assert [path for path, _ in skipped(listing)] == [stray]
    assert listing.skipped[0].reason


def test_every_recording_of_a_mixed_tree_is_a_sequence_or_reported(tmp_path: Path) -> None:
    files = {"D/s/a.npz", "D/Inner/s/b.npz", "D/Inner/s/deep/c.npz", "D/Inner/t/d.npz", "F/only/one/two/three/e.npz"}
    listing = find_recordings(make_tree(tmp_path, *files))
    assert {s.path for s in listing.files} | {path for path, _ in skipped(listing)} == files


def test_a_dataset_given_instead_of_its_parent_is_refused_with_a_hint(tmp_path: Path) -> None:
    make_tree(tmp_path, "CMU/01/01_01_poses.npz", "CMU/02/02_01_poses.npz")
    with pytest.raises(AmassError, match="parent") as caught:
        find_recordings(tmp_path / "CMU")
    assert str(caught.value).startswith(f"{tmp_path / 'CMU'}: ")


def test_chosen_datasets_alone_are_looked_at(tmp_path: Path) -> None:
    make_tree(tmp_path, "A/s/a.npz", "B/s/b.npz", "C/s/c.npz", "B/stray.npz", "C/stray.npz", "stray.npz")
    listing = find_recordings(tmp_path, ("C", "A", "C"))
    assert keys(listing) == [("A", "s", "a"), ("C", "s", "c")]
    assert [path for path, _ in skipped(listing)] == ["C/stray.npz"]


@pytest.mark.parametrize("name", ["Spam", "..", ".", "A/s", "", "C"])
def test_an_unknown_dataset_is_refused_with_those_there_are(tmp_path: Path, name: str) -> None:
    make_tree(tmp_path, "A/s/a.npz", "B/s/b.npz")
    with pytest.raises(AmassError, match="A, B"):
        find_recordings(tmp_path, ("A", name))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AmassError, match="empty") as caught:
        find_recordings(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")


@pytest.mark.parametrize("files", [["D/readme.txt"], ["readme.txt"], ["D/s/shape.npz"], ["D/s/x_stagei.npz"]])
def test_a_folder_without_recordings_is_refused(tmp_path: Path, files: list[str]) -> None:
    with pytest.raises(AmassError, match="no AMASS sequences") as caught:
        find_recordings(make_tree(tmp_path, *files))
    assert str(caught.value).startswith(f"{tmp_path}: ")


@pytest.mark.parametrize("name", ["absent", "file"])
def test_what_is_no_folder_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AmassError, match=name):
        find_recordings(tmp_path / name)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
@pytest.mark.parametrize("name", ["D/s/\udcff.npz", "D/\udcff/a.npz", "\udcff/s/a.npz", "D/\udcff.npz"])
def test_a_recording_with_a_name_that_is_no_utf8_is_reported_under_a_printable_one(tmp_path: Path, name: str) -> None:
    make_tree(tmp_path, "D/s/good.npz")
    path = os.fsencode(tmp_path / name)
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 (a path of bytes)
    with open(path, "wb"):  # noqa: PTH123
        pass
    listing = find_recordings(tmp_path)
    assert keys(listing) == [("D", "s", "good")]
    printable = name.encode("utf-8", "backslashreplace").decode()
    assert [path for path, _ in skipped(listing)] == [printable]


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
    order = keys(find_recordings(root))
    assert order == sorted(order)
    assert len(order) == len(files)


def test_links_that_lead_nowhere_are_reported(tmp_path: Path) -> None:
    make_tree(tmp_path, "D/s1/a.npz")
    (tmp_path / "D" / "s1" / "b.npz").symlink_to(tmp_path / "gone.npz")
    (tmp_path / "KIT").symlink_to(tmp_path / "unmounted")
    listing = find_recordings(tmp_path)
    assert keys(listing) == [("D", "s1", "a")]
    reason = "is a link that leads nowhere, or no file"
    assert skipped(listing) == [("D/s1/b.npz", reason), ("KIT", reason)]


def test_a_folder_of_something_else_does_not_hide_the_inner_one(tmp_path: Path) -> None:
    make_tree(tmp_path, "D/Inner/s1/a.npz", "D/docs/readme.txt")
    assert keys(find_recordings(tmp_path)) == [("D", "s1", "a")]


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
        listing = find_recordings(amass_dir)
        assert keys(listing) == [("D", "s1", "a"), ("E", "s1", "a")]
        assert listing.skipped == ()
        assert listing.ignored == {"links to a folder above": 1}


def test_a_dataset_that_is_a_link_may_hold_one_to_the_amass_folder(tmp_path: Path) -> None:
    make_tree(tmp_path, "disk/D/s1/a.npz", "amass/E/s1/a.npz")
    (tmp_path / "amass" / "D").symlink_to(tmp_path / "disk" / "D")
    (tmp_path / "disk" / "D" / "all").symlink_to(tmp_path / "amass")
    listing = find_recordings(tmp_path / "amass")
    assert keys(listing) == [("D", "s1", "a"), ("E", "s1", "a")]
    assert listing.ignored == {"links to a folder above": 1}
