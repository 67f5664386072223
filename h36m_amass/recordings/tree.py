"""Finding the recordings in an AMASS tree.

AMASS (Mahmood et al., ICCV 2019) unpacks to ``DATASET/[INNER/]SUBJECT/SEQUENCE.npz``. An archive of a dataset is
listed as if it had been unpacked into a folder of its name; a compressed tar is named and not gone through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from h36m_amass.datasets import DatasetError, choose
from h36m_amass.files.archive_names import RANDOM_KINDS, ArchiveError, base_name, kind_of
from h36m_amass.files.archives import list_members, read_member
from h36m_amass.files.paths import WEB, Location, is_url, read_ranges, shown, version_of
from h36m_amass.files.sources import FileSlice, Held, Source
from h36m_amass.recordings.archive_tree import ListedEntry, tree_of
from h36m_amass.recordings.dataset_sources import DatasetSource, check_single, dataset_sources, size_and_time
from h36m_amass.recordings.recording import AmassError
from h36m_amass.recordings.recording_files import CompressedArchive as CompressedArchive
from h36m_amass.recordings.recording_files import Listing as Listing
from h36m_amass.recordings.recording_files import RecordingFile as RecordingFile
from h36m_amass.recordings.recording_files import Skipped as Skipped
from h36m_amass.recordings.scanning import DiskScanner, Scanner, UrlScanner
from h36m_amass.recordings.walking import DatasetWalk, kind_of_other
from h36m_amass.recordings.walking import names_of as names_of

MAX_FETCHED = 2**25
"""Bytes of a recording at a URL that is fetched at once; a larger one is read in pieces."""
UNSAFE = "its name leads out of the archive; pack it again under another one"
EMPTY = "holds no recordings; download it again, or take it away"


def is_wanted(base_name: str) -> bool:
    """Whether a file is a recording by its name, without its folders."""
    return kind_of_other(base_name) is None


def find_recordings(
    amass_dir: Location, datasets: Sequence[str] = (), check: Callable[[], None] = lambda: None
) -> Listing:
    """List the recordings under `amass_dir`; nothing compressed is decompressed.

    Parameters
    ----------
    amass_dir
        Folder or URL that holds one folder or archive per dataset.
    datasets
        Names of the datasets to look at, see `h36m_amass.datasets.choose`; all of them if empty.
    check
        Called between folders; what it raises ends the search.

    Raises
    ------
    AmassError
        There is no such folder, it is empty, a dataset that was asked for is not in it, it has two sources of one
        dataset, or it holds no recording.
    h36m_amass.files.paths.UrlError
        Its URL cannot be reached.
    """
    scanner = _scanner(amass_dir)
    top = scanner.scan("")
    if scanner.failures:
        raise AmassError(f"{scanner.failures[0][1]}; check its permissions", shown(amass_dir))
    if not any(top):
        raise AmassError(
            "is empty; put AMASS datasets (SMPL+H G) into it, one folder or archive each"
            if isinstance(amass_dir, Path)
            else "nothing lies there; give the URL that your AMASS datasets lie below",
            shown(amass_dir),
        )
    sources, strays, unread = dataset_sources(top)
    sources = _chosen(amass_dir, sources, datasets)
    walk = DatasetWalk(scanner, check)
    if not datasets:
        walk.ignored.update({"archives of a kind that is not read": unread} if unread else {})
        walk.add_strays("", "", strays, "lies outside a dataset's folder")
    archives = []
    for source in sources:
        if source.archive is not None and kind_of(source.archive.name) not in RANDOM_KINDS:
            archives.append(CompressedArchive(source.dataset, source.archive.name, *size_and_time(source.archive)))
        elif source.archive is not None:
            _walk_archive(walk, amass_dir, source)
        else:
            scanner.list_below(source.folder)
            walk.add_dataset(source.dataset, source.folder)
    if not walk.files and not archives:
        raise AmassError(_why_none(walk.sorted_skipped()), shown(amass_dir))
    return Listing(
        tuple(walk.sorted_files()),
        tuple(archives),
        tuple(walk.sorted_skipped()),
        dict(sorted(walk.ignored.items())),
    )


def place_members(
    archive: CompressedArchive,
    names: Iterable[tuple[str, int, str | None]],
    unsafe: Iterable[str] = (),
    damage: str | None = None,
) -> tuple[list[RecordingFile], list[Skipped], dict[str, int]]:
    """Find the recordings in a compressed archive that was gone through, as `find_recordings` does in others.

    Parameters
    ----------
    names
        Name, size and problem of its members; of several of one name the last counts.
    unsafe, damage
        What `h36m_amass.files.tar_stream.TarStream` says of them and of the archive, which is skipped for it.
    """
    source = DatasetSource(archive.folder, ListedEntry(archive.name, 0, 0))
    entries = {
        name: ListedEntry(base_name(name), size, archive.modified, None, problem) for name, size, problem in names
    }
    walk = DatasetWalk(Scanner())
    walk.scanner.add(tree_of(entries, source.folder))
    _add_archive(walk, source, unsafe, damage)
    return walk.sorted_files(), walk.sorted_skipped(), dict(sorted(walk.ignored.items()))


def source_of(amass_dir: Location, file: RecordingFile) -> Source:
    """What a recording that is no member of a compressed archive is read from.

    Raises
    ------
    AmassError
        It cannot be read from its archive, which may have changed, or is no longer at its URL.
    h36m_amass.files.paths.UrlError
        Its URL cannot be reached.
    """
    if isinstance(file.member, FileSlice):
        return file.member
    path = amass_dir / file.path
    try:
        if file.member is not None:
            archive = amass_dir / file.member.archive
            if version_of(archive).modified != file.modified:
                raise AmassError("its archive has changed since it was listed; run the command again")
            return read_member(archive, file.member, shown(path))
        if is_url(path) and file.size <= MAX_FETCHED:
            return Held(shown(path), read_ranges(path, [0], [file.size])[0] if file.size else b"")
    except ArchiveError as error:
        raise AmassError(error.reason) from error
    except OSError as error:
        raise AmassError(f"cannot be read ({error.strerror})") from error
    return path


def _scanner(amass_dir: Location) -> Scanner:
    if not is_url(amass_dir):
        if not amass_dir.is_dir():
            raise AmassError("is not a folder; give the folder that holds your AMASS datasets", amass_dir)
        return DiskScanner(amass_dir)
    if amass_dir.protocol in WEB:
        raise AmassError(
            "pages of web servers are not listed; download the datasets, or put them into an object store",
            shown(amass_dir),
        )
    return UrlScanner(amass_dir)


def _chosen(amass_dir: Location, sources: list[DatasetSource], datasets: Sequence[str]) -> list[DatasetSource]:
    """Those of the sources that are asked for, of which none may be of the same dataset as another."""
    try:
        names = choose(datasets, [source.name for source in sources]) if datasets else None
        chosen = [source for source in sources if names is None or source.name in names]
        check_single(chosen)
    except (DatasetError, AmassError) as error:
        raise AmassError(error.reason, shown(amass_dir)) from error
    return chosen


def _walk_archive(walk: DatasetWalk, amass_dir: Location, source: DatasetSource) -> None:
    archive = source.archive
    if archive is None:
        return
    contents = list_members(amass_dir / archive.name, is_wanted)
    try:
        modified = size_and_time(archive)[1]
    except OSError as error:
        walk.skip(source.dataset, archive.name, f"cannot be read ({error.strerror})")
        return
    entries = {
        name: ListedEntry(base_name(name), member.size, modified, member, member.problem)
        for name, member in contents.members.items()
    }
    walk.scanner.add(tree_of(entries, source.folder))
    _add_archive(walk, source, contents.unsafe, contents.damage)


def _add_archive(walk: DatasetWalk, source: DatasetSource, unsafe: Iterable[str], damage: str | None) -> None:
    """Walk an archive whose tree the scanner has, and skip it if it is damaged or holds nothing."""
    name, before = str(source), walk.count
    for member in unsafe:
        walk.skip(source.dataset, f"{name}/{member}", UNSAFE)
    walk.add_dataset(source.dataset, source.folder)
    if damage is not None:
        walk.skip(source.dataset, name, damage)
    elif walk.count == before:
        walk.skip(source.dataset, name, EMPTY)


def _why_none(skipped: Sequence[Skipped]) -> str:
    archive = next((row for row in skipped if "/" not in row.path and not row.path.endswith(".npz")), None)
    if archive is not None:
        return f"holds no AMASS sequences; {archive.path}: {archive.reason}"
    hint = "datasets lie in it as DATASET/SUBJECT/SEQUENCE.npz or DATASET/INNER/SUBJECT/SEQUENCE.npz"
    if skipped:
        hint += f", but {skipped[0].path} does not; is this a single dataset? Then give its parent folder"
    return f"holds no AMASS sequences; {hint}"
