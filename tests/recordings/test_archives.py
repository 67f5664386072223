"""An archive is listed as its unpacked tree is; a damaged or hostile one affects no other."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from h36m_amass import synthetic
from h36m_amass.files import archives
from h36m_amass.files.archives import ArchiveError, open_archive
from h36m_amass.files.paths import Location
from h36m_amass.files.sources import FileSlice
from h36m_amass.recordings.access import open_recordings, source_of
from h36m_amass.recordings.recording import AmassError, content_digest, read_header
from h36m_amass.recordings.tree import (
    Listing,
    RecordingFile,
    find_recordings,
    is_wanted,
    place_members,
)
from tests.archive_files import SUFFIXES, members_of, pack, packed_tree, recording, special, zip_of


def listed(amass_dir: Location) -> Listing:
    """What a folder holds, once its archives were read."""
    listing = find_recordings(amass_dir)
    files, skipped, ignored = list(listing.files), list(listing.skipped), dict(listing.ignored)
    for archive in listing.archives:
        names = []
        try:
            with open_archive(amass_dir / archive.name, is_wanted) as stream:
                for member in stream:
                    names.append((member.name, member.size, member.problem))
                more = place_members(archive, names, stream.unsafe, stream.damage)
        except ArchiveError as error:
            more = place_members(archive, names, damage=error.reason)
        files += more.files
        skipped += more.skipped
        ignored = {kind: ignored.get(kind, 0) + more.ignored.get(kind, 0) for kind in {*ignored, *more.ignored}}
    return Listing(
        tuple(sorted(files, key=lambda file: (file.dataset, file.subject, file.sequence))),
        listing.archives,
        tuple(sorted(skipped, key=lambda row: row.path)),
        ignored,
    )


def reasons(listing: Listing) -> dict[str, str]:
    return {row.path: row.reason for row in listing.skipped}


def keys(listing: Listing) -> list[str]:
    return [file.key for file in listing.files]


@pytest.fixture(scope="module")
def amass_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up AMASS tree of short recordings. Not to be written to."""
    folder = tmp_path_factory.mktemp("short")
    synthetic.write_amass_tree(folder, seconds=0.3)
    return folder


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_archives_of_any_kind_give_the_recordings_of_the_tree_and_nothing_is_unpacked(
    amass_dir: Path, tmp_path: Path, suffix: str
) -> None:
    tree = packed_tree(amass_dir, tmp_path / "packed", suffix)
    before = sorted(tmp_path.rglob("*"))
    listing, plain = listed(tree), find_recordings(amass_dir)
    assert sorted(tmp_path.rglob("*")) == before
    assert listing.skipped == ()
    assert len(listing.archives) == len(list(tree.iterdir()))
    unlike = {"member": None, "modified": 0}
    assert [replace(file, **unlike) for file in listing.files] == [replace(file, **unlike) for file in plain.files]  # type: ignore[arg-type]
    (tmp_path / "scratch").mkdir()
    paths = [file.path for file in plain.files]
    opened = {}
    for path, source in open_recordings(tree, [*paths, "Invented/gone.npz", "No/such/thing.npz"], tmp_path / "scratch"):
        assert not isinstance(source, AmassError)
        opened[path] = content_digest(source)
        assert read_header(source).synthetic
        assert str(tree / path) == str(source)
    assert opened == {path: content_digest(amass_dir / path) for path in paths}
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "scratch"])


def test_folders_and_archives_with_and_without_an_inner_folder_mix(amass_dir: Path, tmp_path: Path) -> None:
    tree = tmp_path / "mixed"
    tree.mkdir()
    pack(amass_dir / "Invented", tree / "Invented.tar.bz2", "Invented")
    pack(amass_dir / "Pretend", tree / "Pretend.zip", "./Pretend")
    (tree / "Madeup").symlink_to(amass_dir / "Madeup")
    assert keys(listed(tree)) == keys(find_recordings(amass_dir))


def test_recordings_are_found_by_their_path_whatever_their_dataset_is_called_now(tmp_path: Path) -> None:
    content = recording()
    members_of(tmp_path / "HDM05 (1).tar.gz", ("bk/a.npz", content), ("bk/b.npz", content))
    path, source = next(open_recordings(tmp_path, ["MPI_HDM05/bk/b.npz"], tmp_path))
    assert path == "MPI_HDM05/bk/b.npz"
    assert not isinstance(source, AmassError)
    assert read_header(source).num_frames == 60


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"no archive at all " * 99])
def test_a_file_that_is_no_archive_is_skipped_by_name(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"Bad{suffix}").write_bytes(content)
    members_of(tmp_path / "Good.tar", ("S/a.npz", recording()))
    listing = listed(tmp_path)
    assert keys(listing) == ["Good/S/a"]
    (row,) = listing.skipped
    assert (row.dataset, row.path) == ("Bad", f"Bad{suffix}")
    assert ("damaged" if content else "empty") in row.reason
    assert "\n" not in row.reason


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["D.tar.bz2", "D.zip"])
def test_an_archive_is_opened_as_what_it_is_whatever_its_ending(
    amass_dir: Path, tmp_path: Path, suffix: str, name: str
) -> None:
    pack(amass_dir / "Invented", tmp_path / f"packed{suffix}", ".")
    (tmp_path / "amass").mkdir()
    (tmp_path / f"packed{suffix}").rename(tmp_path / "amass" / name)
    listing = listed(tmp_path / "amass")
    expected = [file for file in find_recordings(amass_dir).files if file.dataset == "Invented"]
    assert [file.key.partition("/")[2] for file in listing.files] == [
        f"{each.subject}/{each.sequence}" for each in expected
    ]
    assert listing.skipped == ()


@pytest.mark.parametrize("begin", [b"Rar!\x1a\x07\0", b"7z\xbc\xaf\x27\x1c"])
def test_an_archive_of_another_kind_is_called_so_whatever_its_ending(tmp_path: Path, begin: bytes) -> None:
    (tmp_path / "D.tar.bz2").write_bytes(begin + bytes(600))
    assert reasons(listed(tmp_path)) == {"D.tar.bz2": "is a RAR or 7z archive, which is not read; unpack it"}


@pytest.mark.parametrize("suffix", [".tar", ".tar.bz2"])
def test_what_lies_before_the_missing_end_of_an_archive_is_listed(tmp_path: Path, suffix: str) -> None:
    members = [(f"S/{number}.npz", recording(200, number)) for number in range(5)]
    archive = members_of(tmp_path / f"Cut{suffix}", *members)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size * 4 // 5])
    listing = listed(tmp_path)
    assert 0 < len(listing.files) < 5
    assert keys(listing) == [f"Cut/S/{number}" for number in range(len(listing.files))]
    assert re.match(
        r"is damaged or cut short \(.*\); what lies before that is used; download it again",
        reasons(listing)[f"Cut{suffix}"],
    )


def test_an_archive_without_recordings_is_skipped_by_name(tmp_path: Path) -> None:
    members_of(tmp_path / "Empty.tar.gz")
    members_of(tmp_path / "None.tar", ("readme.txt", b"text"))
    members_of(tmp_path / "Good.tar", ("S/a.npz", recording()))
    reason = "holds no recordings; download it again, or remove it"
    assert reasons(listed(tmp_path)) == {"Empty.tar.gz": reason, "None.tar": reason}


@pytest.mark.parametrize("suffix", [".tar", ".tar.bz2"])
def test_hostile_members_lead_nowhere(tmp_path: Path, suffix: str) -> None:
    inner = recording()
    archive = members_of(
        tmp_path / "tree" / f"D{suffix}",
        ("../out.npz", inner),
        ("/absolute.npz", inner),
        ("S/b\\ack.npz", inner),
        ("S/../../up.npz", inner),
        ("S/x.txt", b"text"),
        ("S/shape.npz", b""),
        ("S/._hidden.npz", b""),
        ("__MACOSX/S/a.npz", inner),
        ("./S//a.npz", b"first"),
        ("S/a.npz", inner),
        (special("S/hard.npz", tarfile.LNKTYPE, "S/a.npz"), b""),
        (special("S/link.npz", tarfile.SYMTYPE, "/etc/passwd"), b""),
        (special("S/pipe.npz", tarfile.FIFOTYPE), b""),
        (special("S/disk.npz", tarfile.BLKTYPE), b""),
        (f"S/{'long' * 60}.npz", inner),
        ("S/deeper/a.npz", inner),
        ("top.npz", inner),
    )
    before = sorted(tmp_path.rglob("*"))
    listing = listed(tmp_path / "tree")
    assert sorted(tmp_path.rglob("*")) == before
    assert [file.sequence for file in listing.files] == ["a", "long" * 60]
    # Of two members of one name the last one counts.
    assert listing.files[0].size == len(inner)
    name, problems = archive.name, reasons(listing)
    for outside in ("../out.npz", "/absolute.npz", "S/b\\ack.npz", "S/../../up.npz"):
        assert problems.pop(f"{name}/{outside}").startswith("its name leads out of the archive")
    for kind in ("hard", "link", "pipe", "disk"):
        assert problems.pop(f"D/S/{kind}.npz").startswith("is a link or no plain file")
    assert problems.pop("D/S/deeper/a.npz").startswith("lies deeper")
    assert problems.pop("D/top.npz") == "lies outside a subject's folder"
    assert problems == {}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_of_links_in_an_archive_those_are_skipped_that_may_lead_to_recordings(tmp_path: Path, suffix: str) -> None:
    links = {"S/link.txt": "notes.txt", "S/shape.npz": "../shape.npz", "S/b.npz": "a.npz", "Other": "S"}
    if suffix == ".zip":
        with zipfile.ZipFile(tmp_path / "D.zip", "w") as packed:
            packed.writestr("S/a.npz", recording())
            for name, target in links.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = 0o120777 << 16
                packed.writestr(info, target)
    else:
        hard = (special("S/hard.txt", tarfile.LNKTYPE, "S/notes.txt"), b"")
        symbolic = ((special(name, tarfile.SYMTYPE, target), b"") for name, target in links.items())
        members_of(tmp_path / f"D{suffix}", ("S/a.npz", recording()), hard, *symbolic)
    listing = listed(tmp_path)
    assert [file.path for file in listing.files] == ["D/S/a.npz"]
    assert set(reasons(listing)) == {"D/S/b.npz", "D/Other"}


def test_a_zip_directory_that_would_take_much_memory_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zip_of(tmp_path / "D.zip", [("S/a.npz", recording(5))])
    zip_of(tmp_path / "E.zip", [(f"S/{number}.npz", b"") for number in range(99)])
    monkeypatch.setattr(archives, "MAX_DIRECTORY", 1000)
    listing = listed(tmp_path)
    assert keys(listing) == ["D/S/a"]
    assert re.search(r"a directory of \d+ bytes", reasons(listing)["E.zip"])


def test_encrypted_members_of_a_zip_are_one_line(tmp_path: Path) -> None:
    zip_of(tmp_path / "D.zip", [(f"S/{name}.npz", recording()) for name in ("a", "b", "c")], zipfile.ZIP_STORED)
    content = bytearray((tmp_path / "D.zip").read_bytes())
    for entry in list(re.finditer(b"PK\1\2", bytes(content)))[-2:]:  # of the archive's own directory
        content[entry.start() + 8] |= 1
    (tmp_path / "D.zip").write_bytes(content)
    listing = listed(tmp_path)
    assert keys(listing) == ["D/S/a"]
    assert reasons(listing) == {"D.zip": "holds 2 encrypted files; unpack it"}


def test_a_deflated_member_that_is_damaged_is_refused_alone(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "D.zip", [("S/a.npz", recording()), ("S/b.npz", recording())])
    with zipfile.ZipFile(path) as packed:
        start = packed.getinfo("S/b.npz").header_offset
    content = bytearray(path.read_bytes())
    content[start + 5000] ^= 1
    path.write_bytes(content)
    opened = dict(open_recordings(tmp_path, ["D/S/a.npz", "D/S/b.npz"], tmp_path))
    assert str(opened["D/S/b.npz"]) == "is damaged in its archive; download the archive again"
    assert not isinstance(opened["D/S/a.npz"], AmassError)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("D/", "D.tar"), "D.tar and the folder D"),
        (("HDM05.tar.bz2", "MPI_HDM05/"), "HDM05.tar.bz2 and the folder MPI_HDM05"),
        (("MoSh/", "MPI_mosh.tar"), "MPI_mosh.tar and the folder MoSh"),
        (("SSM.zip", "ssm-synced/"), "SSM.zip and the folder ssm-synced"),
        (("SSM.tar.bz2", "SSM (1).tar.bz2"), r"SSM (1).tar.bz2 and SSM.tar.bz2"),
        (("SSM(2).tar.bz2", "SSM_synced.tar.gz"), r"SSM(2).tar.bz2 and SSM_synced.tar.gz"),
        (("D.tar", "D.tar.gz"), "D.tar and D.tar.gz"),
        (("HDM05/", "MPI_HDM05/"), "the folder HDM05 and the folder MPI_HDM05"),
        (("KIT/", "KIT (1)/"), "the folder KIT and the folder KIT (1)"),
        (("KIT - Copy (2)/", "KIT.tar.bz2"), "KIT.tar.bz2 and the folder KIT - Copy (2)"),
        (("KIT (copy)/", "kit copy 2/"), "the folder KIT (copy) and the folder kit copy 2"),
    ],
)
def test_two_sources_of_one_dataset_are_one_error_before_anything_is_read(
    tmp_path: Path, names: tuple[str, str], words: str
) -> None:
    for name in names:
        if name.endswith("/"):
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).write_bytes(b"no archive")
    (tmp_path / "Good/S").mkdir(parents=True)
    (tmp_path / "Good/S/a.npz").touch()
    with pytest.raises(AmassError, match=rf"^{tmp_path}: {re.escape(words)} are two sources of .*; move one of them"):
        find_recordings(tmp_path)
    assert keys(find_recordings(tmp_path, ("Good",))) == ["Good/S/a"]


@pytest.mark.parametrize("name", ["SSM (1).tar", "SSM(3).tar", "SSM_synced.tar"])
def test_keys_are_canonical_and_paths_keep_the_names(tmp_path: Path, name: str) -> None:
    members_of(tmp_path / name, ("S/a.npz", recording()))
    (archive,) = find_recordings(tmp_path, ("ssm",)).archives
    (file,) = place_members(archive, [("S/a.npz", 5, None)]).files
    assert (file.key, file.path) == ("SSM/S/a", f"{name.removesuffix('.tar')}/S/a.npz")
    assert (file.size, file.modified) == (5, archive.modified)


@pytest.mark.parametrize(("ending", "like"), [(".tgz", ".tar.gz"), (".tbz2", ".tar.bz2"), (".txz", ".tar.xz")])
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_endings_count_in_their_short_form_and_whatever_their_case(
    tmp_path: Path, ending: str, like: str, case: Callable[[str], str]
) -> None:
    for name, written in (("Short", ending), ("Long", like)):
        members_of(tmp_path / f"{name}{like}", ("S/a.npz", recording())).rename(tmp_path / f"{name}{case(written)}")
    listing = listed(tmp_path)
    assert [file.path for file in listing.files] == ["Long/S/a.npz", "Short/S/a.npz"]
    assert dict(listing.ignored) == {}


def test_archives_that_are_not_read_are_named(tmp_path: Path) -> None:
    members_of(tmp_path / "D.tar", ("S/a.npz", recording()))
    unread = {"CNRS.rar", "SFU.7Z", "HDM05.bz2", "SSM.tar.bz2.1", "KIT.zip.2"}
    for name in ("EKUT.tar.bz2.part", "license.txt", ".hidden.rar", *unread):
        (tmp_path / name).touch()
    listing = find_recordings(tmp_path)
    assert dict(listing.ignored) == {"files that are not .npz": 1, "hidden files": 1}
    problems = reasons(listing)
    assert "still being downloaded" in problems.pop("EKUT.tar.bz2.part")
    assert problems.keys() == unread
    assert all("an ending that is not read; unpack it" in reason for reason in problems.values())
    assert find_recordings(tmp_path, ("D",)).skipped == ()


@pytest.mark.parametrize("name", ["SFU/0005/video.mp4", "SFU.rar"])
def test_what_else_was_downloaded_is_named_alone_and_beside_recordings(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    path = name.partition("/")[0]
    with pytest.raises(AmassError, match=f"holds no AMASS sequences; {path} ") as caught:
        find_recordings(tmp_path)
    (tmp_path / "D/S").mkdir(parents=True)
    (tmp_path / "D/S/a.npz").touch()
    (tmp_path / "D/S/a.mp4").touch()
    problems = reasons(find_recordings(tmp_path))
    assert problems.keys() == {path}
    assert problems[path] in str(caught.value)
    assert ("Render download; take SMPL+H G" if "/" in name else "unpack it") in problems[path]


def test_an_archive_that_is_not_asked_for_is_not_read(tmp_path: Path) -> None:
    members_of(tmp_path / "Good.tar", ("S/a.npz", recording()))
    (tmp_path / "Bad.tar").write_bytes(b"nothing")
    assert find_recordings(tmp_path, ("Good",)).skipped == ()
    with pytest.raises(AmassError, match=r"has no dataset 'Other'; it has Bad, Good"):
        find_recordings(tmp_path, ("Other",))


def test_a_search_ends_when_it_is_asked_to(amass_dir: Path) -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        find_recordings(amass_dir, check=stop)


def test_a_recording_that_was_copied_is_read_from_there(tmp_path: Path) -> None:
    (tmp_path / "scratch").write_bytes(b"before" + recording() + b"behind")
    content = FileSlice("D/S/a.npz", tmp_path / "scratch", 6, len(recording()))
    file = RecordingFile("D", "S", "a", "D/S/a.npz", content.size, 0, content)
    assert read_header(source_of(tmp_path, file)).num_frames == 60
