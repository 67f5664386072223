"""An archive gives what its unpacked tree gives, to the byte; a damaged or hostile one costs nothing beside itself."""

from __future__ import annotations

import bz2
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from h36m_amass import synthetic
from h36m_amass.conversion import planning, reuse
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.options import BuildError
from h36m_amass.conversion.report import BuildReport
from h36m_amass.files import archives
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.recording import AmassError
from h36m_amass.recordings.sources import Sources
from h36m_amass.recordings.tree import Listing, find_sequences
from h36m_amass.store.store import Store
from h36m_amass.verification.store import verify

MODES = {".tar.bz2": "w:bz2", ".tar.xz": "w:xz", ".tar.gz": "w:gz", ".tar": "w"}
SUFFIXES = (*MODES, ".zip")


def pack(folder: Path, target: Path, arcname: str) -> None:
    """Pack a folder under the name `arcname` inside, in an order that is not the sorted one."""
    paths = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.name[::-1])
    named = [(path, os.path.normpath(f"{arcname}/{path.relative_to(folder).as_posix()}")) for path in paths]
    if target.name.endswith(".zip"):
        with zipfile.ZipFile(target, "w") as packed:
            for number, (path, name) in enumerate(named):
                packed.write(path, name, zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED)
        return
    suffix = next(suffix for suffix in SUFFIXES if target.name.endswith(suffix))
    with tarfile.open(target, MODES[suffix]) as tar:
        tar.add(folder, arcname, recursive=False)
        for path, name in named:
            tar.add(path, name)


def members_of(target: Path, *members: tuple[tarfile.TarInfo | str, bytes]) -> Path:
    """A ``.tar*`` with these members."""
    target.parent.mkdir(parents=True, exist_ok=True)
    suffix = next(suffix for suffix in SUFFIXES if target.name.endswith(suffix))
    with tarfile.open(target, MODES[suffix]) as tar:
        for info, content in members:
            made = tarfile.TarInfo(info) if isinstance(info, str) else info
            made.size = len(content)
            tar.addfile(made, io.BytesIO(content))
    return target


def recording(frames: int = 60, seed: int = 0) -> bytes:
    target = io.BytesIO()
    np.savez(target, **synthetic.motion("wave", frames / 120, 120, gender="male", seed=seed))
    return target.getvalue()


@pytest.fixture(params=["with rapidgzip", "standard library"])
def either_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run once with the extra and once without."""
    if request.param == "standard library":
        monkeypatch.setattr(archives, "_rapidgzip", lambda: None)


@pytest.fixture(scope="module")
def amass_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up AMASS tree of short recordings. Not to be written to."""
    folder = tmp_path_factory.mktemp("short")
    synthetic.write_amass_tree(folder, seconds=0.3)
    return folder


@pytest.fixture(scope="module")
def unpacked(amass_dir: Path, support_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the tree of folders. Not to be written to."""
    path = tmp_path_factory.mktemp("unpacked") / "store.h5"
    build(amass_dir, path, support_dir=support_dir)
    return path


def packed_tree(amass_dir: Path, target: Path, *suffixes: str) -> Path:
    """Every dataset as an archive of what lies in its folder, of the kinds `suffixes` in turn."""
    target.mkdir()
    folders = sorted(path for path in amass_dir.iterdir() if path.is_dir())
    for folder, suffix in zip(folders, cycle(suffixes), strict=False):
        pack(folder, target / f"{folder.name}{suffix}", ".")
    return target


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_archives_of_any_kind_give_the_bytes_of_the_tree_and_nothing_is_unpacked(
    unpacked: Path, amass_dir: Path, support_dir: Path, tmp_path: Path, suffix: str, either_library: None
) -> None:
    tree = packed_tree(amass_dir, tmp_path / "packed", suffix)
    before = sorted(tmp_path.rglob("*"))
    report = build(tree, tmp_path / "store.h5", support_dir=support_dir)
    assert report.left_out == ()
    assert (tmp_path / "store.h5").read_bytes() == unpacked.read_bytes()
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "store.h5"])


def test_short_units_and_two_workers_give_the_bytes_of_the_tree(
    amass_dir: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "UNIT_SOURCE_FRAMES", 100)
    build(amass_dir, tmp_path / "unpacked.h5", support_dir=support_dir)
    tree = packed_tree(amass_dir, tmp_path / "packed", ".tar.bz2", ".tar.xz", ".zip")
    build(tree, tmp_path / "packed.h5", support_dir=support_dir, workers=2)
    assert (tmp_path / "packed.h5").read_bytes() == (tmp_path / "unpacked.h5").read_bytes()


def test_folders_and_archives_with_and_without_an_inner_folder_mix(
    unpacked: Path, amass_dir: Path, support_dir: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "mixed"
    tree.mkdir()
    pack(amass_dir / "Invented", tree / "Invented.tar.bz2", "Invented")
    pack(amass_dir / "Pretend", tree / "Pretend.zip", "./Pretend")
    (tree / "Madeup").symlink_to(amass_dir / "Madeup")
    build(tree, tmp_path / "store.h5", support_dir=support_dir)
    mixed, plain = Store(tmp_path / "store.h5"), Store(unpacked)
    assert [sequence.key for sequence in mixed.sequences] == [sequence.key for sequence in plain.sequences]
    for sequence in plain.sequences:
        np.testing.assert_array_equal(mixed[sequence.key].positions_3d[:], sequence.positions_3d[:])


def cut_tree(tmp_path: Path) -> tuple[Path, int]:
    """A ``.tar.bz2`` of which the end is missing, and how many of its five recordings lie before that."""
    whole = members_of(
        tmp_path / "whole" / "Cut.tar.bz2", *((f"S/{number}.npz", recording(200, number)) for number in range(5))
    )
    content = whole.read_bytes()
    tree = tmp_path / "cut"
    tree.mkdir()
    (tree / "Cut.tar.bz2").write_bytes(content[: len(content) * 2 // 3])
    decoder = bz2.BZ2Decompressor()
    held = len(decoder.decompress(content[: len(content) * 2 // 3]))
    with tarfile.open(whole) as tar:
        return tree, sum(info.offset_data + info.size <= held for info in tar)


def test_what_lies_before_the_missing_end_of_an_archive_is_converted(
    support_dir: Path, tmp_path: Path, either_library: None
) -> None:
    tree, before = cut_tree(tmp_path)
    report = build(tree, tmp_path / "s.h5", support_dir=support_dir)
    assert [sequence.key for sequence in Store(tmp_path / "s.h5").sequences] == [f"Cut/S/{n}" for n in range(before)]
    assert 0 < before < 5
    (left,) = report.left_out
    assert (left.dataset, left.path) == ("Cut", "Cut.tar.bz2")
    assert re.match(r"is damaged or cut short \(.*\); what lies before that is used; download it again", left.reason)
    with pytest.raises(BuildError, match=r"Cut.tar.bz2: is damaged.*--strict"):
        build(tree, tmp_path / "strict.h5", support_dir=support_dir, strict=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("content", "reason"), [(b"", "damaged"), (b"no archive at all " * 99, "damaged")])
def test_a_file_that_is_no_archive_is_left_out_by_name(
    support_dir: Path, tmp_path: Path, suffix: str, content: bytes, reason: str
) -> None:
    (tmp_path / "amass").mkdir()
    (tmp_path / "amass" / f"Bad{suffix}").write_bytes(content)
    members_of(tmp_path / "amass" / "Good.tar", ("S/a.npz", recording()))
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    (left,) = report.left_out
    assert (left.dataset, left.path) == ("Bad", f"Bad{suffix}")
    assert reason in left.reason
    assert "\n" not in left.reason


def left_out(listing: Listing) -> dict[str, str]:
    return dict(listing.misplaced)


def test_an_archive_without_recordings_is_left_out_by_name(tmp_path: Path) -> None:
    members_of(tmp_path / "Empty.tar.gz")
    members_of(tmp_path / "Good.tar", ("S/a.npz", recording()))
    assert left_out(find_sequences(tmp_path)) == {
        "Empty.tar.gz": "holds no recordings; download it again, or take it away"
    }
    (tmp_path / "Good.tar").unlink()
    with pytest.raises(AmassError, match=r"Empty.tar.gz: holds no recordings"):
        find_sequences(tmp_path)


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


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
    listing = find_sequences(tmp_path / "tree")
    assert sorted(tmp_path.rglob("*")) == before
    assert [file.sequence for file in listing.sequences] == ["a", "long" * 60]
    name = archive.name
    reasons = left_out(listing)
    for outside in ("../out.npz", "/absolute.npz", "S/b\\ack.npz", "S/../../up.npz"):
        assert reasons.pop(f"{name}/{outside}").startswith("its name leads out of the archive")
    for kind in ("hard", "link", "pipe", "disk"):
        assert reasons.pop(f"D/S/{kind}.npz").startswith("is a link or no plain file")
    assert reasons.pop("D/S/deeper/a.npz").startswith("lies deeper")
    assert reasons.pop("D/top.npz") == "lies outside a subject's folder"
    assert reasons == {}
    assert dict(listing.ignored) == {"files that are not .npz": 1, "hidden files": 1, "shape.npz": 1}
    # Of two members of one name the last one counts.
    with Sources(tmp_path / "tree", listing.sequences) as sources:
        assert amass.read_header(sources[listing.sequences[0]]).num_frames == 60


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_of_links_in_an_archive_those_are_left_out_that_may_lead_to_recordings(tmp_path: Path, suffix: str) -> None:
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
    listing = find_sequences(tmp_path)
    assert [file.path for file in listing.sequences] == ["D/S/a.npz"]
    assert set(left_out(listing)) == {"D/S/b.npz", "D/Other"}


@pytest.mark.parametrize("first", ["a", "b", "c"])
def test_members_are_read_in_any_order_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, either_library: None, first: str
) -> None:
    contents = {name: recording(40 + number, number) for number, name in enumerate("abc")}
    members_of(tmp_path / "D.tar.bz2", *((f"S/{name}.npz", content) for name, content in contents.items()))
    listing = find_sequences(tmp_path)
    monkeypatch.setattr(archives, "MAX_HELD", 2 * max(map(len, contents.values())))
    order = sorted(listing.sequences, key=lambda file: (file.sequence != first, file.sequence))
    with Sources(tmp_path, order) as sources:
        for file in order:
            held = sources[file]
            assert held.content == contents[file.sequence]  # type: ignore[union-attr]
            kept = sources._members._held.values()
            assert len(contents[file.sequence]) + sum(map(len, kept)) <= archives.MAX_HELD


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_member_that_is_too_large_to_hold_says_to_unpack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    pack_folder = tmp_path / "unpacked"
    for name, content in (("a", recording(50)), ("b", recording(5))):
        (pack_folder / "S").mkdir(parents=True, exist_ok=True)
        (pack_folder / "S" / f"{name}.npz").write_bytes(content)
    (tmp_path / "tree").mkdir()
    pack(pack_folder, tmp_path / "tree" / f"D{suffix}", ".")
    monkeypatch.setattr(archives, "MAX_HELD", len(recording(5)))
    listing = find_sequences(tmp_path / "tree")
    if suffix in (".tar", ".zip"):  # read where they lie; in this zip the large one is stored
        assert [file.sequence for file in listing.sequences] == ["a", "b"]
    else:
        assert [file.sequence for file in listing.sequences] == ["b"]
        assert re.match(r"has \d+ bytes, more than .*; unpack the archive", left_out(listing)["D/S/a.npz"])


@pytest.mark.parametrize("suffix", [".tar.bz2", ".tar.gz", ".tar.xz"])
def test_an_archive_that_grows_beyond_reason_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(archives, "FREE_GROWTH", 0)
    monkeypatch.setattr(archives, "MAX_GROWTH", 10)
    members_of(tmp_path / f"D{suffix}", ("S/a.npz", recording()), ("zeros.bin", bytes(10**7)))
    listing = find_sequences(tmp_path)
    assert [file.sequence for file in listing.sequences] == ["a"]
    assert "it grows to more than" in left_out(listing)[f"D{suffix}"]


def test_headers_that_would_take_much_memory_end_an_archive(tmp_path: Path) -> None:
    info = tarfile.TarInfo("S/b.npz")
    info.pax_headers = {"comment": "x" * (archives.MAX_TAR_HEADER + 1)}
    info.size = 1
    archive = members_of(tmp_path / "D.tar", ("S/a.npz", recording()))
    with tarfile.open(archive, "a") as tar:
        tar.addfile(info, io.BytesIO(b"x"))
    listing = find_sequences(tmp_path)
    assert [file.sequence for file in listing.sequences] == ["a"]
    assert "a header of" in left_out(listing)["D.tar"]


def test_encrypted_members_of_a_zip_are_one_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "D.zip", "w") as packed:
        for name in ("a", "b", "c"):
            packed.writestr(f"S/{name}.npz", recording())
    content = bytearray((tmp_path / "D.zip").read_bytes())
    for found in list(re.finditer(b"PK\1\2", bytes(content)))[-2:]:  # of the archive's own directory
        content[found.start() + 8] |= 1
    (tmp_path / "D.zip").write_bytes(content)
    listing = find_sequences(tmp_path)
    assert [file.sequence for file in listing.sequences] == ["a"]
    assert left_out(listing) == {"D.zip": "holds 2 encrypted files; unpack it"}


def test_a_deflated_member_that_is_damaged_is_left_out_alone(support_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "amass").mkdir()
    path = tmp_path / "amass" / "D.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("a", "b"):
            packed.writestr(f"S/{name}.npz", recording())
        start = packed.getinfo("S/b.npz").header_offset
    content = bytearray(path.read_bytes())
    content[start + 5000] ^= 1
    path.write_bytes(content)
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    (left,) = report.left_out
    assert left.path == "D/S/b.npz"
    assert "damaged" in left.reason


def test_of_a_folder_and_an_archive_of_one_name_the_folder_counts(tmp_path: Path) -> None:
    members_of(tmp_path / "D.tar", ("S/archived.npz", recording()))
    folder = tmp_path / "D" / "S"
    folder.mkdir(parents=True)
    (folder / "unpacked.npz").write_bytes(recording())
    listing = find_sequences(tmp_path)
    assert [file.sequence for file in listing.sequences] == ["unpacked"]
    assert dict(listing.ignored) == {"archives beside a folder of their dataset": 1}


@pytest.mark.parametrize(("archive", "folder"), [("HDM05", "MPI_HDM05"), ("MPI_mosh", "MoSh"), ("SSM", "ssm-synced")])
def test_a_folder_counts_whichever_of_its_names_the_archive_beside_it_has(
    tmp_path: Path, archive: str, folder: str
) -> None:
    members_of(tmp_path / f"{archive}.tar", ("S/a.npz", recording()))
    members_of(tmp_path / f"Other{folder}.tar", ("S/a.npz", recording()))
    (tmp_path / folder / "S").mkdir(parents=True)
    (tmp_path / folder / "S" / "a.npz").write_bytes(recording())
    listing = find_sequences(tmp_path)
    assert {file.dataset for file in listing.sequences} == {folder, f"Other{folder}"}
    assert dict(listing.ignored) == {"archives beside a folder of their dataset": 1}


def test_an_archive_that_an_empty_folder_hides_is_left_out_by_name(tmp_path: Path) -> None:
    members_of(tmp_path / "HDM05.tar", ("S/a.npz", recording()))
    (tmp_path / "MPI_HDM05").mkdir()
    with pytest.raises(AmassError, match=r"no AMASS sequences; HDM05\.tar: is not read beside the folder MPI_HDM05"):
        find_sequences(tmp_path)
    members_of(tmp_path / "D.tar", ("S/a.npz", recording()))
    listing = find_sequences(tmp_path)
    assert list(left_out(listing)) == ["HDM05.tar"]
    assert dict(listing.ignored) == {}
    assert find_sequences(tmp_path, ("D",)).misplaced == ()
    assert find_sequences(tmp_path, open_archives=False).closed == ("D",)


@pytest.mark.parametrize(("ending", "like"), [(".tgz", ".tar.gz"), (".tbz2", ".tar.bz2"), (".txz", ".tar.xz")])
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_endings_count_in_their_short_form_and_whatever_their_case(
    tmp_path: Path, ending: str, like: str, case: Callable[[str], str]
) -> None:
    for name, written in (("Short", ending), ("Long", like)):
        members_of(tmp_path / f"{name}{like}", ("S/a.npz", recording())).rename(tmp_path / f"{name}{case(written)}")
    listing = find_sequences(tmp_path)
    assert [file.path for file in listing.sequences] == ["Long/S/a.npz", "Short/S/a.npz"]
    assert dict(listing.ignored) == {}
    with Sources(tmp_path, listing.sequences) as sources:
        assert all(amass.read_header(sources[file]).num_frames == 60 for file in listing.sequences)


def test_archives_that_are_not_read_are_counted_as_such(tmp_path: Path) -> None:
    members_of(tmp_path / "D.tar", ("S/a.npz", recording()))
    for name in ("CNRS.rar", "EKUT.tar.bz2.part", "SFU.7Z", "license.txt", ".hidden.rar"):
        (tmp_path / name).touch()
    assert dict(find_sequences(tmp_path).ignored) == {
        "archives of a kind that is not read": 3,
        "files that are not .npz": 1,
        "hidden files": 1,
    }


def test_two_archives_of_one_dataset_are_one_error(tmp_path: Path) -> None:
    members_of(tmp_path / "D.tar", ("S/a.npz", recording()))
    members_of(tmp_path / "D.tar.gz", ("S/a.npz", recording()))
    with pytest.raises(AmassError, match=r"has D\.tar and D\.tar\.gz, two archives of one dataset"):
        find_sequences(tmp_path)


def test_an_archive_that_is_not_asked_for_is_not_read(tmp_path: Path) -> None:
    members_of(tmp_path / "Good.tar", ("S/a.npz", recording()))
    (tmp_path / "Bad.tar.bz2").write_bytes(b"nothing")
    listing = find_sequences(tmp_path, ("Good",))
    assert listing.misplaced == ()
    with pytest.raises(AmassError, match=r"has no dataset 'Other'; it has Bad, Good"):
        find_sequences(tmp_path, ("Other",))


def archived_build(tree: Path, store: Path, support_dir: Path, **options: bool) -> BuildReport:
    return build(tree, store, support_dir=support_dir, **options)  # type: ignore[arg-type]


def test_update_takes_over_what_unpacked_trees_gave_and_rehash_reads_the_archives(
    unpacked: Path,
    amass_dir: Path,
    support_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    either_library: None,
) -> None:
    tree = packed_tree(amass_dir, tmp_path / "packed", ".tar.bz2", ".tar.gz", ".zip")
    store = tmp_path / "store.h5"
    store.write_bytes(unpacked.read_bytes())
    checked: list[int] = []
    check = amass.check_content

    def counting(path: archives.HeldFile, header: amass.Header) -> None:
        check(path, header)
        checked.append(header.num_frames)

    monkeypatch.setattr(reuse.amass, "check_content", counting)
    assert archived_build(tree, store, support_dir, update=True).reused == 12
    assert checked == []
    assert archived_build(tree, store, support_dir, update=True, rehash=True).reused == 12
    assert len(checked) == 12
    assert store.read_bytes() == unpacked.read_bytes()


def test_a_store_is_verified_against_archives(
    unpacked: Path, amass_dir: Path, support_dir: Path, tmp_path: Path
) -> None:
    tree = packed_tree(amass_dir, tmp_path / "packed", ".tar.bz2", ".tar", ".zip")
    stages: set[str] = set()
    found = verify(
        unpacked,
        quick=True,
        against=tree,
        support_dir=support_dir,
        sample=40,
        progress=lambda stage, done, total: stages.add(stage),
    )
    assert found.findings == ()
    assert stages == {"archives", "compare"}
    assert found.compared_frames > 0
    for archive in tree.iterdir():
        archive.write_bytes(archive.read_bytes()[:100])
    found = verify(unpacked, quick=True, against=tree, support_dir=support_dir, sample=20)
    assert found.compared_frames == 0
    assert len(found.findings) == 1
    assert "damaged" in found.findings[0]


def test_an_archive_that_changes_after_it_was_looked_through_is_not_read(tmp_path: Path) -> None:
    archive = members_of(tmp_path / "D.tar", ("S/a.npz", recording()))
    listing = find_sequences(tmp_path)
    os.utime(archive, ns=(1, 1))
    with (
        Sources(tmp_path, listing.sequences) as sources,
        pytest.raises(AmassError, match="its archive has changed since the build began"),
    ):
        _ = sources[listing.sequences[0]]


PEAK = """
import json, resource, sys
from pathlib import Path
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.tree import find_sequences
from h36m_amass.recordings.sources import Sources
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
listing = find_sequences(Path(sys.argv[1]))
(file,) = listing.sequences
with Sources(Path(sys.argv[1]), [file]) as sources:
    amass.check_content(sources[file], listing.headers.get((file.path, True)) or amass.read_header(sources[file]))
print(json.dumps((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024))
"""


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar", ".zip"])
def test_a_large_member_is_held_once_or_not_at_all(tmp_path: Path, suffix: str) -> None:
    frames = 60_000
    arrays = synthetic.motion("wave", 0.5, 120, gender="male", seed=0)
    arrays |= {name: np.zeros((frames, arrays[name].shape[1])) for name in ("poses", "trans", "dmpls")}
    (tmp_path / "D" / "S").mkdir(parents=True)
    np.savez(tmp_path / "D" / "S" / "a.npz", **arrays)
    size = (tmp_path / "D" / "S" / "a.npz").stat().st_size / 2**20
    (tmp_path / "tree").mkdir()
    pack(tmp_path / "D", tmp_path / "tree" / f"D{suffix}", ".")
    line = [sys.executable, "-c", PEAK, str(tmp_path / "tree")]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    held = size if suffix == ".tar.gz" else 0.0
    assert json.loads(done.stdout) < held * 1.2 + 40, size
