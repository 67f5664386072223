"""Trees at URLs: in fsspec's memory file system, and in a server of S3 on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from h36m_amass.files.paths import UrlError, is_url, parse
from h36m_amass.recordings import access
from h36m_amass.recordings.access import open_recordings, source_of
from h36m_amass.recordings.recording import AmassError, Recording, content_digest
from h36m_amass.recordings.tree import find_recordings
from tests.archive_files import SUFFIXES, packed_tree
from tests.object_store import BUCKET, ObjectStore
from tests.recordings.test_archives import listed
from tests.scenes import recording, write, write_mixed_tree

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mixed_tree(tmp_path_factory.mktemp("tree"))


def unlike(file: Any) -> Any:
    return replace(file, modified=0, member=None)


def test_a_tree_at_a_url_is_that_on_the_disk(memory: Any, tree: Path) -> None:
    memory.put(str(tree), "/tree", recursive=True)
    far, near = find_recordings(parse("memory://tree")), find_recordings(tree)
    assert [unlike(file) for file in far.files] == [unlike(file) for file in near.files]
    assert (far.skipped, far.ignored, far.archives) == (near.skipped, near.ignored, near.archives)
    for file in far.files:
        if file.sequence != "broken":
            far_source, near_source = source_of(parse("memory://tree"), file), source_of(tree, file)
            assert content_digest(far_source) == content_digest(near_source)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_archives_at_urls_are_those_on_the_disk(memory: Any, tree: Path, tmp_path: Path, suffix: str) -> None:
    packed_tree(tree, tmp_path / "packed", suffix)
    memory.put(str(tmp_path / "packed"), "/tree", recursive=True)
    far, near = listed(parse("memory://tree")), listed(tree)
    assert [unlike(file) for file in far.files] == [unlike(file) for file in near.files]
    opened = {}
    for path, source in open_recordings(parse("memory://tree"), [file.path for file in near.files], tmp_path):
        assert not isinstance(source, AmassError)
        if not path.endswith("broken.npz"):
            opened[path] = content_digest(source)
    assert opened == {file.path: content_digest(tree / file.path) for file in near.files if file.sequence != "broken"}


def test_a_recording_that_is_too_large_to_fetch_is_read_in_ranges(
    memory: Any, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put(str(tree), "/tree", recursive=True)
    monkeypatch.setattr(access, "MAX_FETCHED", 10_000)
    (walk,) = (file for file in find_recordings(parse("memory://tree")).files if file.sequence == "walk")
    source = source_of(parse("memory://tree"), walk)
    assert is_url(source)
    with Recording(source) as far, Recording(tree / walk.path) as near:
        for one, other in zip(far.frames(25, 8), near.frames(25, 8), strict=True):
            assert (one.poses == other.poses).all()
            assert (one.trans == other.trans).all()


def test_a_recording_takes_one_request_and_a_tree_a_few(
    bucket: Any, server: ObjectStore, tree: Path, tmp_path: Path
) -> None:
    write(tmp_path / "more/Three/s/long.npz", recording(700, 9))
    for folder in (tree, tmp_path / "more"):
        bucket.put(str(folder) + "/", f"{BUCKET}/tree/", recursive=True)
    amass_dir = parse(f"s3://{BUCKET}/tree")
    server.forget()
    listing = find_recordings(amass_dir)
    assert len(server.requests) == 4  # of the folder, and of each of three datasets
    server.forget()
    for file in listing.files:
        source_of(amass_dir, file)
    assert server.of("GET") == [file.size for file in listing.files]
    assert len(server.requests) == len(listing.files)


def test_keys_that_lead_out_of_the_tree_are_skipped(memory: Any, tree: Path) -> None:
    memory.put(str(tree), "/tree", recursive=True)
    for name in ("back\\slash.npz", "../../out.npz", "../notes.txt"):
        memory.store[f"/tree/One/s 1/{name}"] = memory.store["/tree/One/s 1/walk.npz"]
    listing = find_recordings(parse("memory://tree"))
    assert [file.path for file in listing.files] == [file.path for file in find_recordings(tree).files]
    skipped = [row.path for row in listing.skipped if "leads out" in row.reason]
    assert skipped == ["One/s 1/../../out.npz", "One/s 1/back\\slash.npz"]


def test_a_recording_that_is_gone_or_shorter_is_one_line(memory: Any, tree: Path) -> None:
    memory.put(str(tree), "/tree", recursive=True)
    files = find_recordings(parse("memory://tree")).files
    memory.rm("/tree/Two/in/y/sit.npz")
    with pytest.raises(AmassError, match="there is no such file"):
        source_of(parse("memory://tree"), files[-1])
    memory.pipe_file(f"/tree/{files[-2].path}", b"short")
    with pytest.raises(UrlError, match="has changed since it was looked at"):
        source_of(parse("memory://tree"), files[-2])


def test_a_connection_that_dies_says_nothing_about_the_recording(
    memory: Any, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put(str(tree), "/tree", recursive=True)
    (*_, sit) = find_recordings(parse("memory://tree")).files

    def dead(*_: Any, **__: Any) -> None:
        raise ConnectionResetError("the line went dead")

    monkeypatch.setattr(type(memory), "cat_file", dead)
    with pytest.raises(UrlError, match=r"memory://tree/Two/in/y/sit.npz: cannot be read \(the line went dead\)"):
        source_of(parse("memory://tree"), sit)


def test_pages_of_web_servers_are_refused_in_one_line() -> None:
    with pytest.raises(AmassError, match=r"^https://host/amass: pages of web servers are not listed; download"):
        find_recordings(parse("https://me:secret@host/amass?token=x"))


def test_a_url_below_which_nothing_lies_is_named(memory: Any, tmp_path: Path) -> None:
    with pytest.raises(AmassError, match="memory://nowhere: nothing lies there"):
        find_recordings(parse("memory://nowhere"))
