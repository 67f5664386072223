"""What an archive holds is remembered until the archive changes; a damaged listing is not an error."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from h36m_amass.files.paths import parse
from h36m_amass.files.sources import Held
from h36m_amass.recordings import listings
from h36m_amass.recordings.listings import ArchiveListing, ListedMember, list_member, load, save
from h36m_amass.recordings.recording import read_header
from h36m_amass.recordings.tree import Archive
from tests.archive_files import recording

ARCHIVE = Archive("CMU", "CMU.tar.bz2", 1000, 5)
LISTING = ArchiveListing(
    (
        ListedMember("01/走る.npz", 10, "ab" * 32, None, 600, Fraction(2997, 50), "smplh", "male", True),
        ListedMember("01/bad.npz", 3, problem="is not an npz"),
    ),
    ("../x.npz",),
    "is damaged",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(listings.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_listing_is_remembered_for_this_archive_alone(tmp_path: Path, cache: Path) -> None:
    assert load(tmp_path, ARCHIVE, True) is None
    save(tmp_path, ARCHIVE, True, LISTING)
    assert load(tmp_path, ARCHIVE, True) == LISTING
    for other in (
        replace(ARCHIVE, size=1001),
        replace(ARCHIVE, modified=6),
        replace(ARCHIVE, name="KIT.tar.bz2"),
    ):
        assert load(tmp_path, other, True) is None
    assert load(tmp_path / "elsewhere", ARCHIVE, True) is None
    assert len(list(cache.rglob("*.json"))) == 1
    save(tmp_path, replace(ARCHIVE, size=1001), True, replace(LISTING, damage=None))
    assert load(tmp_path, ARCHIVE, True) is None
    assert len(list(cache.rglob("*.json"))) == 1


def test_a_relative_folder_is_the_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("amass"), ARCHIVE, True, LISTING)
    assert load(tmp_path / "amass", ARCHIVE, True) == LISTING


def test_no_secret_of_a_url_gets_to_the_disk(cache: Path) -> None:
    amass_dir = parse("s3://me:secret@bucket/amass")
    save(amass_dir, ARCHIVE, True, LISTING)
    assert load(amass_dir, ARCHIVE, True) == LISTING
    (path,) = cache.rglob("*.json")
    assert "secret" not in path.read_text() + path.name


def test_damage_to_the_cache_is_no_error(tmp_path: Path, cache: Path) -> None:
    save(tmp_path, ARCHIVE, True, LISTING)
    (path,) = cache.rglob("*.json")
    whole = path.read_bytes()
    for offset in range(0, len(whole), 3):
        for damaged in (whole[:offset], whole[:offset] + bytes([whole[offset] ^ 0x15]) + whole[offset + 1 :]):
            path.write_bytes(damaged)
            listing = load(tmp_path, ARCHIVE, True)
            assert listing is None or isinstance(listing, ArchiveListing)
    content = json.loads(whole)
    for row in (
        {"size": -1.5},
        {"num_frames": "7"},
        {"gender": None},
        {"frame_rate": "1/0"},
        {"frame_rate": 60},
        {"spam": 1},
    ):
        path.write_text(json.dumps({**content, "members": [{**content["members"][0], **row}]}))
        assert load(tmp_path, ARCHIVE, True) is None, row
    path.write_text("[" * 100_000)
    assert load(tmp_path, ARCHIVE, True) is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    save(tmp_path, ARCHIVE, True, LISTING)
    assert load(tmp_path, ARCHIVE, True) is None


def test_processes_that_write_at_the_same_time_leave_one_whole_listing(tmp_path: Path, cache: Path) -> None:
    threads = [threading.Thread(target=save, args=(tmp_path, ARCHIVE, True, LISTING)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert load(tmp_path, ARCHIVE, True) == LISTING
    assert [path.suffix for path in cache.rglob("*") if path.is_file()] == [".json"]


def test_a_member_is_listed_with_what_its_header_says(tmp_path: Path) -> None:
    source = Held("a", recording(60))
    header, member = read_header(source), list_member("S/a.npz", source, use_dmpls=True)
    assert member == ListedMember(
        "S/a.npz", len(source.content), header.content_digest, None, 60, Fraction(120), "smplh", "male", True
    )
    bad = list_member("S/b.npz", Held("b", b"spam"), use_dmpls=True)
    assert (bad.size, bad.content_digest) == (4, "")
    assert "download it again" in str(bad.problem)
    listing = ArchiveListing((member, bad), (), None)
    save(tmp_path, ARCHIVE, True, listing)
    assert load(tmp_path, ARCHIVE, True) == listing
