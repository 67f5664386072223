"""The bytes of recordings that were found, or that are known by their paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from h36m_amass.files.archives import ArchiveError, open_archive
from h36m_amass.files.paths import Location, is_url, read_ranges, shown
from h36m_amass.files.sources import FileSlice, Held, Source
from h36m_amass.recordings.recording import AmassError
from h36m_amass.recordings.tree import Archive, RecordingFile, find_recordings, is_wanted, same_recording

MAX_FETCHED = 2**25  # bytes of a recording at a URL that is fetched at once; a larger one is read in pieces


def source_of(amass_dir: Location, file: RecordingFile) -> Source:
    """What a recording is read from, which lies in a folder or was copied out of its archive.

    Raises `AmassError` if it is no longer at its URL, and `UrlError` if that cannot be reached.
    """
    if file.member is not None:
        return file.member
    path = amass_dir / file.path
    if not is_url(path) or file.size > MAX_FETCHED:
        return path
    try:
        return Held(shown(path), read_ranges(path, [0], [file.size])[0] if file.size else b"")
    except OSError as error:
        raise AmassError(f"cannot be read ({error.strerror})") from error


def open_recordings(
    amass_dir: Location, paths: Iterable[str], scratch_dir: Path
) -> Iterator[tuple[str, Source | AmassError]]:
    """Each of some recordings and what it can be read from until the next one is asked for, in any order.

    Archives are read once, and no further than needed; their members are copied into `scratch_dir`, one at a time.
    `paths` are as in `RecordingFile.path`, and come with a source or the reason why there is none. A dataset's folder
    or archive may have another name by now; missing recordings are not yielded. Raises as `find_recordings` does.
    """
    waiting = {same_recording(path): path for path in paths}
    if not is_url(amass_dir):
        for key, path in list(waiting.items()):
            if (amass_dir / path).is_file():
                del waiting[key]
                yield path, amass_dir / path
    if not waiting:
        return
    listing = find_recordings(amass_dir)
    for file in listing.files:
        asked = waiting.pop(same_recording(file.path), None)
        if asked is not None:
            try:
                yield asked, source_of(amass_dir, file)
            except AmassError as error:
                yield asked, error
    for archive in listing.archives:
        if archive.dataset in {dataset for dataset, _ in waiting}:
            yield from _members(amass_dir, archive, waiting, scratch_dir / "member.npz")


def _members(
    amass_dir: Location, archive: Archive, waiting: dict[tuple[str, str], str], scratch: Path
) -> Iterator[tuple[str, Source | AmassError]]:
    """Those of `waiting` that lie in an archive, which are taken out of it."""
    left = sum(dataset == archive.dataset for dataset, _ in waiting)
    try:
        stream = open_archive(amass_dir / archive.name, is_wanted)
    except ArchiveError:
        return
    with stream:
        for member in stream:
            asked = waiting.pop(same_recording(f"{archive.folder}/{member.name}"), None)
            if asked is None:
                continue
            left -= 1
            try:
                with scratch.open("wb") as file:
                    member.copy_to(file)
                yield asked, FileSlice(shown(amass_dir / asked), scratch, 0, member.size)
            except ArchiveError as error:
                yield asked, AmassError(error.reason)
            if not left:
                break
    scratch.unlink(missing_ok=True)
