"""Recordings that are known by their paths, one after the other, wherever they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from h36m_amass.files.archives import ArchiveError, dataset_name
from h36m_amass.files.paths import Location, shown
from h36m_amass.files.sources import FileSlice, Source
from h36m_amass.files.tar_stream import TarStream
from h36m_amass.recordings.dataset_sources import same_recording
from h36m_amass.recordings.recording import AmassError
from h36m_amass.recordings.tree import CompressedArchive, find_recordings, is_wanted, source_of

SCRATCH = "member.npz"


def open_recordings(
    amass_dir: Location, paths: Iterable[str], scratch_dir: Path, check: Callable[[], None] = lambda: None
) -> Iterator[tuple[str, Source | AmassError]]:
    """Each of some recordings and what it can be read from until the next one is asked for, in any order.

    Compressed archives are gone through once, and of each no further than needed.

    Parameters
    ----------
    paths
        As of `RecordingFile.path`; a dataset's folder or archive may be called otherwise by now. What is not there is
        not given.
    scratch_dir
        A folder that members of compressed archives are copied to, one at a time.
    check
        Called now and then; what it raises ends the search.

    Yields
    ------
    tuple
        The path as it was asked for, and a source or why there is none.

    Raises
    ------
    AmassError
        The folder holds no recordings, or two sources of a dataset.
    h36m_amass.files.paths.UrlError
        A URL cannot be reached.
    """
    waiting = {same_recording(path): path for path in paths}
    if isinstance(amass_dir, Path):
        for key, path in list(waiting.items()):
            if (amass_dir / path).is_file():
                del waiting[key]
                yield path, amass_dir / path
    if not waiting:
        return
    listing = find_recordings(amass_dir, check=check)
    for file in listing.files:
        asked = waiting.pop(same_recording(file.path), None)
        if asked is not None:
            check()
            try:
                yield asked, source_of(amass_dir, file)
            except AmassError as error:
                yield asked, error
    datasets = {dataset for dataset, _ in waiting}
    for archive in listing.archives:
        if archive.dataset in datasets:
            yield from _members(amass_dir, archive, waiting, scratch_dir / SCRATCH, check)


def _members(
    amass_dir: Location,
    archive: CompressedArchive,
    waiting: dict[tuple[str, str], str],
    scratch: Path,
    check: Callable[[], None],
) -> Iterator[tuple[str, Source | AmassError]]:
    """Those of `waiting` that lie in an archive, which are taken out of it."""
    left = sum(dataset == archive.dataset for dataset, _ in waiting)
    try:
        stream = TarStream(amass_dir / archive.name, is_wanted)
    except ArchiveError:
        return
    with stream:
        for member in stream:
            check()
            asked = waiting.pop(same_recording(f"{dataset_name(archive.name)}/{member.name}"), None)
            if asked is None:
                continue
            left -= 1
            name = shown(amass_dir / asked)
            try:
                if member.problem is not None:
                    raise ArchiveError(member.problem)
                with scratch.open("wb") as file:
                    member.copy_to(file)
                yield asked, FileSlice(name, scratch, 0, member.size)
            except ArchiveError as error:
                yield asked, AmassError(error.reason)
            if not left:
                break
    scratch.unlink(missing_ok=True)
