"""An archive is read exactly once; a damaged or hostile one affects no other."""

from __future__ import annotations

import bz2
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from h36m_amass import Subset
from h36m_amass.conversion import feeds, unpack
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.check import check_inputs
from h36m_amass.conversion.options import BuildError, BuildOptions
from h36m_amass.conversion.recipe import of_options
from h36m_amass.conversion.tasks import ArchiveWork, Job
from h36m_amass.files import tar_reading
from h36m_amass.files.archives import ArchiveStream
from h36m_amass.recordings.tree import Archive, find_recordings
from h36m_amass.store.store import Store
from h36m_amass.verification.store import verify
from tests.archive_files import COMPRESSED, SUFFIXES, members_of, packed_tree, recording, special
from tests.scenes import write_dataset


@pytest.fixture(params=["with rapidgzip", "standard library"])
def either_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run once with the extra and once without."""
    if request.param == "standard library":
        monkeypatch.setattr(tar_reading, "_rapidgzip", lambda: None)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Compressed archives that were opened, and how many bytes of each were decompressed."""
    opened: list[tuple[str, int]] = []
    iterate = ArchiveStream.__iter__
    init, close = ArchiveStream.__init__, ArchiveStream.__exit__

    def opening(stream: Any, path: Path, *arguments: Any) -> None:
        init(stream, path, *arguments)
        stream.number = len(opened)
        opened.append((path.name, 0))

    def closing(stream: Any, *error: Any) -> None:
        opened[stream.number] = opened[stream.number][0], stream.position
        close(stream, *error)

    def once(stream: Any) -> Iterator[Any]:
        assert not hasattr(stream, "iterated")
        stream.iterated = True
        return iterate(stream)

    monkeypatch.setattr(ArchiveStream, "__init__", opening)
    monkeypatch.setattr(ArchiveStream, "__exit__", closing)
    monkeypatch.setattr(ArchiveStream, "__iter__", once)
    return opened


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Three datasets, each in an archive of its own kind."""
    for number, name in enumerate("ABC"):
        write_dataset(tmp_path / "amass", name, 4, frames=40, seed=10 * number)
    return packed_tree(tmp_path / "amass", tmp_path / "packed", *COMPRESSED)


def names(tree: Path) -> list[str]:
    return sorted(path.name for path in tree.iterdir())


def keys(store: Path) -> list[str]:
    with Store(store) as opened:
        return [sequence.key for sequence in opened.sequences]


def test_a_build_decompresses_each_archive_once(
    packed: Path, support_dir: Path, tmp_path: Path, passes: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (unpack, feeds):
        monkeypatch.setattr(module, "BATCH_BYTES", 1)
    build(packed, tmp_path / "s.h5", support_dir=support_dir)
    assert sorted(name for name, _ in passes) == names(packed)
    assert all(position <= (packed / name).stat().st_size for name, position in passes)


def test_an_update_without_a_change_decompresses_nothing(
    packed: Path, support_dir: Path, tmp_path: Path, passes: list[tuple[str, int]]
) -> None:
    build(packed, tmp_path / "s.h5", support_dir=support_dir)
    whole = (tmp_path / "s.h5").read_bytes()
    passes.clear()
    report = build(packed, tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert passes == []
    assert report.changes is not None
    assert (report.changes.added, report.changes.changed, report.changes.kept, report.changes.gone) == (0, 0, 12, 0)
    assert (tmp_path / "s.h5").read_bytes() == whole


def test_an_update_decompresses_the_archive_that_changed_alone(
    packed: Path, support_dir: Path, tmp_path: Path, passes: list[tuple[str, int]]
) -> None:
    build(packed, tmp_path / "s.h5", support_dir=support_dir)
    write_dataset(tmp_path / "amass", "B", 6, frames=40, seed=10)
    (packed / "B.tar.xz").unlink()
    packed_tree(tmp_path / "amass", tmp_path / "again", *COMPRESSED)
    (tmp_path / "again" / "B.tar.xz").rename(packed / "B.tar.xz")
    passes.clear()
    report = build(packed, tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert [name for name, _ in passes] == ["B.tar.xz"]
    assert report.changes is not None
    assert (report.changes.added, report.changes.changed, report.changes.kept) == (2, 0, 12)
    build(packed, tmp_path / "fresh.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "fresh.h5").read_bytes()


def test_a_limit_after_a_first_build_decompresses_what_it_converts_alone(
    packed: Path, support_dir: Path, tmp_path: Path, passes: list[tuple[str, int]]
) -> None:
    build(packed, tmp_path / "s.h5", support_dir=support_dir)
    passes.clear()
    build(packed, tmp_path / "few.h5", support_dir=support_dir, subset=Subset(limit=2))
    assert [name for name, _ in passes] == ["A.tar.bz2"]
    assert keys(tmp_path / "few.h5") == ["A/S/0000", "A/S/0001"]
    passes.clear()
    report = build(packed, tmp_path / "s.h5", support_dir=support_dir, subset=Subset(limit=2), update=True)
    assert passes == []
    assert report.not_selected == {"limit": 10}
    assert len(keys(tmp_path / "s.h5")) == 12


def test_a_limit_counts_what_it_does_not_select_once(packed: Path, support_dir: Path, tmp_path: Path) -> None:
    for _ in range(2):  # before it is known what the archives hold, and after
        subset = Subset(sequence="000[12]", limit=2)
        report = build(packed, tmp_path / "s.h5", support_dir=support_dir, subset=subset, overwrite=True)
        assert report.not_selected == {"sequence": 6, "limit": 4}
        assert keys(tmp_path / "s.h5") == ["A/S/0001", "A/S/0002"]


def test_a_check_reads_no_more_of_an_archive_than_its_first_recording_and_nothing_of_one_that_is_known(
    packed: Path, support_dir: Path, tmp_path: Path, passes: list[tuple[str, int]]
) -> None:
    check = check_inputs(BuildOptions(support_dir), packed)
    assert [(row.dataset, row.recordings, row.archive) for row in check.datasets] == [
        ("A", 1, "A.tar.bz2"),
        ("B", 1, "B.tar.xz"),
        ("C", 1, "C.tar.gz"),
    ]
    build(packed, tmp_path / "s.h5", support_dir=support_dir)
    passes.clear()
    check = check_inputs(BuildOptions(support_dir), packed)
    assert passes == []
    assert [(row.dataset, row.recordings, row.archive) for row in check.datasets] == [
        ("A", 4, ""),
        ("B", 4, ""),
        ("C", 4, ""),
    ]


def test_without_the_cache_nothing_but_time_is_lost(
    packed: Path,
    support_dir: Path,
    tmp_path: Path,
    passes: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build(packed, tmp_path / "s.h5", support_dir=support_dir)
    whole = (tmp_path / "s.h5").read_bytes()
    passes.clear()
    monkeypatch.setenv("H36M_AMASS_CACHE_DIR", str(tmp_path / "a file"))
    (tmp_path / "a file").touch()
    report = build(packed, tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert sorted(name for name, _ in passes) == names(packed)
    assert report.changes is not None
    assert (report.changes.added, report.changes.changed, report.changes.kept) == (0, 0, 12)
    assert (tmp_path / "s.h5").read_bytes() == whole


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_recordings_that_cannot_be_read_from_an_archive_cost_none_behind_them(
    support_dir: Path, tmp_path: Path, suffix: str
) -> None:
    good = recording()
    content = [("S/a.npz", good), ("S/b.npz", b"spam"), ("S/c.npz", good), ("T/deep/er/d.npz", good), ("T/e.npz", good)]
    (tmp_path / "amass").mkdir()
    if suffix == ".zip":
        with zipfile.ZipFile(tmp_path / "amass" / "D.zip", "w") as archive:
            for name, member in content:
                archive.writestr(name, member)
    else:
        link = special("S/bb.npz", tarfile.SYMTYPE, "a.npz")
        members_of(tmp_path / "amass" / f"D{suffix}", *content[:2], (link, b""), *content[2:])
    write_dataset(tmp_path / "amass", "E", 1, frames=40)
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    assert keys(tmp_path / "s.h5") == ["D/S/a", "D/S/c", "D/T/e", "E/S/0000"]
    skipped = ["D/S/b.npz", "D/S/bb.npz", "D/T/deep/er/d.npz"]
    if suffix == ".zip":
        skipped.remove("D/S/bb.npz")
    assert [row.path for row in report.skipped] == skipped
    again = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert again.skipped == report.skipped


def test_of_members_of_one_name_the_last_counts_as_in_an_unpacked_archive(support_dir: Path, tmp_path: Path) -> None:
    contents = [recording(60, seed) for seed in range(2)]
    for suffix in (".tar", ".tar.gz"):
        tree = tmp_path / suffix
        members_of(tree / f"D{suffix}", *(("S/a.npz", content) for content in contents))
        build(tree, tmp_path / f"s{suffix}.h5", support_dir=support_dir)
    path = tmp_path / "folder" / "D" / "S" / "a.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(contents[1])
    build(tmp_path / "folder", tmp_path / "s.h5", support_dir=support_dir)
    for suffix in (".tar", ".tar.gz"):
        assert (tmp_path / f"s{suffix}.h5").read_bytes() == (tmp_path / "s.h5").read_bytes()


def cut_tree(tmp_path: Path) -> tuple[Path, int]:
    """A ``.tar.bz2`` whose end is missing, and how many of its five recordings lie before that."""
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
    assert keys(tmp_path / "s.h5") == [f"Cut/S/{n}" for n in range(before)]
    assert 0 < before < 5
    (skipped,) = report.skipped
    assert (skipped.dataset, skipped.path) == ("Cut", "Cut.tar.bz2")
    assert re.match(r"is damaged or cut short \(.*\); what lies before that is used; download it again", skipped.reason)
    with pytest.raises(BuildError, match=r"Cut.tar.bz2: is damaged.*--strict"):
        build(tree, tmp_path / "strict.h5", support_dir=support_dir, strict=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"not an archive at all " * 99])
def test_a_file_that_is_not_an_archive_is_skipped_by_name(
    support_dir: Path, tmp_path: Path, suffix: str, content: bytes
) -> None:
    (tmp_path / "amass").mkdir()
    (tmp_path / "amass" / f"Bad{suffix}").write_bytes(content)
    members_of(tmp_path / "amass" / "Good.tar", ("S/a.npz", recording()))
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    (skipped,) = report.skipped
    assert (skipped.dataset, skipped.path) == ("Bad", f"Bad{suffix}")
    assert ("damaged" if content else "empty") in skipped.reason
    assert "\n" not in skipped.reason


def test_a_deflated_member_that_is_damaged_is_skipped_alone(support_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "amass").mkdir()
    path = tmp_path / "amass" / "D.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a", "b"):
            archive.writestr(f"S/{name}.npz", recording())
        start = archive.getinfo("S/b.npz").header_offset
    content = bytearray(path.read_bytes())
    content[start + 5000] ^= 1
    path.write_bytes(content)
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    (skipped,) = report.skipped
    assert skipped.path == "D/S/b.npz"
    assert ("damaged" if content else "empty") in skipped.reason


@pytest.mark.parametrize(
    ("names", "cores", "at_once", "threads"),
    [
        (("A.tar.bz2", "B.tar.bz2", "C.tar.bz2"), 2, 1, [2, 2, 2]),
        (("A.tar.bz2", "B.tar.bz2", "C.tar.bz2"), 8, 2, [4, 4, 4]),
        (("A.tar.bz2", "B.tar.bz2", "C.tar.bz2"), 1, 1, [1, 1, 1]),
        (("A.tar.bz2", "B.tar.xz", "C.tar.gz"), 4, 2, [4, 1, 1]),
        (("A.tar.xz", "B.tar.xz", "C.zip"), 2, 2, [1, 1, 1]),
        (("A.tar.xz",), 2, 1, [1]),
        ((), 2, 0, []),
    ],
)
def test_archives_share_the_cores(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    cores: int,
    at_once: int,
    threads: list[int],
) -> None:
    """Several archives are read at a time if each is decoded by one thread, or if there are cores for that."""
    pytest.importorskip("rapidgzip")
    begun_with: list[int] = []

    class Watched(unpack.Unpacked):
        def __init__(self, job: Job, work: ArchiveWork, num_threads: int, check: Callable[[], None]) -> None:
            super().__init__(job, work, num_threads, check)
            begun_with.append(num_threads)

    monkeypatch.setattr(feeds, "usable_cores", lambda: cores)
    monkeypatch.setattr(feeds, "Unpacked", Watched)
    recipe = of_options(BuildOptions(), (), None, "cpu", {})
    job = Job(tmp_path, tmp_path, tmp_path, recipe, Subset(), ("cpu",), skip_missing=False)
    reading = feeds.ArchiveFeeds(job, [ArchiveWork(Archive(name[0], name, 1, 0)) for name in names], 1)
    reading.stop()
    assert (len(reading._threads), begun_with) == (at_once, threads)


def test_two_sources_of_a_dataset_are_an_error_before_anything_is_converted(
    packed: Path, support_dir: Path, tmp_path: Path, passes: list[tuple[str, int]]
) -> None:
    os.link(packed / "A.tar.bz2", packed / "A (1).tar.bz2")
    with pytest.raises(ValueError, match=r"A.tar.bz2.*A \(1\).tar.bz2|A \(1\).tar.bz2.*A.tar.bz2"):
        build(packed, tmp_path / "s.h5", support_dir=support_dir)
    assert passes == []
    assert not list(tmp_path.glob("s.h5*"))
    (packed / "A (1).tar.bz2").unlink()
    assert len(find_recordings(packed).archives) == 3


def test_a_store_is_verified_against_archives(packed: Path, support_dir: Path, tmp_path: Path) -> None:
    build(packed, tmp_path / "s.h5", support_dir=support_dir)
    stages: set[str] = set()
    verification = verify(
        tmp_path / "s.h5",
        quick=True,
        against=packed,
        support_dir=support_dir,
        sample=40,
        progress=lambda stage, done, total, name="": stages.add(stage),
    )
    assert verification.findings == ()
    assert "compare" in stages
    assert verification.compared_frames > 0
    for archive in packed.iterdir():
        archive.write_bytes(archive.read_bytes()[:100])
    verification = verify(tmp_path / "s.h5", quick=True, against=packed, support_dir=support_dir, sample=20)
    assert verification.compared_frames == 0
    assert verification.findings
