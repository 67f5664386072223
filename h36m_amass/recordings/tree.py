"""Finding the recordings in an AMASS tree.

AMASS (Mahmood et al., ICCV 2019) unpacks to ``DATASET/[INNER/]SUBJECT/SEQUENCE.npz``. An archive of a dataset is named
and not opened; once it was read, its names are placed as if it had been unpacked into a folder of its name.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from h36m_amass.datasets import DatasetError, canonical, choose, find
from h36m_amass.files.archive_names import VIDEOS, dataset_name, is_unread
from h36m_amass.files.first_bytes import UNFINISHED
from h36m_amass.files.paths import Location, is_url, shown
from h36m_amass.files.sources import FileSlice
from h36m_amass.recordings.folders import LINKS_UP, NO_FOLDERS, Entry, files_below, top_of
from h36m_amass.recordings.recording import AmassError

UNSAFE = "its name leads out of the archive; pack it again under another one"
EMPTY = "holds no recordings; download it again, or remove it"
STRAY = "lies outside a dataset's folder"
OUTSIDE = "lies outside a subject's folder"
DEEPER = "lies deeper than its dataset's subjects; move it to DATASET/SUBJECT/"
DEEPER_PACKED = "lies deeper in its archive than [DATASET/]SUBJECT/; unpack it, and move the dataset up"
UNREAD = "is an archive with an ending that is not read; unpack it, or rename it to .tar.bz2 if it is one"
NESTED = "is an archive within a dataset's folder; move it up into the AMASS folder, or unpack it"
# What browsers and file managers put behind the name of a file or folder that is there already.
_COPY = re.compile(r"(?<=.)( ?\(\d+\)| ?\(copy\)|( -)? copy( \d+)?)+$", re.IGNORECASE)


@dataclass(frozen=True)
class RecordingFile:
    """A recording in an AMASS tree; the dataset's name is the canonical one."""

    dataset: str
    subject: str
    sequence: str
    path: str  # from the AMASS folder, with forward slashes, as if archives were unpacked into folders of their names
    size: int  # in bytes
    modified: int  # nanoseconds of the last change, of the file or its archive; at a URL `FileVersion.modified`
    member: FileSlice | None = None  # where a member of an archive was copied to

    @property
    def key(self) -> str:
        return f"{self.dataset}/{self.subject}/{self.sequence}"


@dataclass(frozen=True)
class Archive:
    """The archive of a dataset (canonical name): its file's name, size and time as in `RecordingFile`."""

    dataset: str
    name: str
    size: int
    modified: int

    @property
    def folder(self) -> str:
        """Name of the folder that it would be unpacked into."""
        return dataset_name(self.name) or self.name


@dataclass(frozen=True)
class Skipped:
    """A recording or archive that cannot be converted: its path relative to the AMASS folder, and the reason."""

    dataset: str
    path: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """What an AMASS folder holds: recordings in folders, sorted by key, and archives, sorted by name.

    Also recordings `skipped` because of their place or name, and the number of files of each kind that are not
    recordings.
    """

    files: tuple[RecordingFile, ...]
    archives: tuple[Archive, ...]
    skipped: tuple[Skipped, ...]
    ignored: Mapping[str, int]


def find_recordings(
    amass_dir: Location, datasets: Sequence[str] = (), check: Callable[[], None] = lambda: None
) -> Listing:
    """List the recordings and archives under `amass_dir`, a folder or URL with one of either per dataset, unopened.

    Only those of `datasets`, see `h36m_amass.datasets.choose`, or all. `check` is called between folders, and an
    exception from it ends the search. Raises `AmassError` if the folder is not there or empty, a requested dataset is
    not in it, it has two sources of one dataset, or it holds no recording and no archive.
    """
    folders, files = top_of(amass_dir)
    if not folders and not files:
        nothing = "nothing lies there; give the URL that your AMASS datasets lie below"
        empty = "is empty; put AMASS datasets (SMPL+H G) into it, one folder or archive each"
        raise AmassError(nothing if is_url(amass_dir) else empty, shown(amass_dir))
    placing = _Placing()
    sources = [_Source(spelled(name), f"the folder {name}", name) for name in folders]
    for entry in files:
        if dataset_name(entry.name) is not None and entry.problem is None:
            sources.append(_Source(spelled(entry.name), entry.name, archive=entry))
        elif datasets:
            continue
        elif entry.name.lower().endswith(UNFINISHED) and not entry.name.startswith("."):
            placing.skip("", entry.path, "is still being downloaded; wait until it is there")
        elif is_unread(entry.name):
            placing.skip("", entry.path, UNREAD)
        else:
            placing.skip_stray("", entry, STRAY)
    archives = []
    for source in _chosen(amass_dir, sources, datasets):
        if source.archive is None:
            entries = list(files_below(amass_dir, source.folder, check))
            if find(source.name) is None:
                _refuse_datasets_in(amass_dir, source.folder, entries)
            placing.add(source.dataset, entries)
        else:
            file = source.archive
            archives.append(Archive(source.dataset, file.name, file.size, file.modified))
    if not placing.files and not archives:
        hint = "datasets lie in it as DATASET/SUBJECT/SEQUENCE.npz or DATASET/INNER/SUBJECT/SEQUENCE.npz"
        others = [row for row in placing.skipped if row.reason not in (OUTSIDE, DEEPER, STRAY)]
        if others:
            hint = f"{others[0].path} {others[0].reason}"
        elif placing.skipped:
            stray = min(row.path for row in placing.skipped)
            hint += f", but {stray} does not; is this a single dataset? Then give its parent folder"
        raise AmassError(f"holds no AMASS sequences; {hint}", shown(amass_dir))
    return placing.result(archives)


def place_members(
    archive: Archive,
    names: Iterable[tuple[str, int, str | None]],
    unsafe: Iterable[str] = (),
    damage: str | None = None,
) -> Listing:
    """Find the recordings in an archive that was read, as `find_recordings` does in folders.

    `names` are name, size and problem of its members; if several have one name, the last counts. `unsafe` and `damage`
    are those of its `ArchiveStream`.
    """
    top, names = archive.folder, list(names)
    inner = {name.split("/")[0] for name, _, _ in names if name.count("/") > 1}
    known = sorted(name for name in inner if find(name))
    if (known and find(archive.dataset) is None) or len(inner) == len(known) > 1:
        reason = f"holds the datasets {', '.join(sorted(inner)[:3])}; unpack it into the AMASS folder"
        if len(inner) == 1:
            ending = archive.name.removeprefix(archive.folder)
            reason = f"holds the dataset {known[0]}; rename it to {known[0]}{ending}"
        placing = _Placing()
        placing.skip(archive.dataset, archive.name, reason)
        return placing.result()
    entries = {name: Entry(f"{top}/{name}", size, archive.modified, problem) for name, size, problem in names}
    placing = _Placing()
    for name in unsafe:
        placing.skip(archive.dataset, f"{archive.name}/{name}", UNSAFE)
    placing.add(archive.dataset, entries.values(), DEEPER_PACKED)
    if damage is not None:
        placing.skip(archive.dataset, archive.name, damage)
    elif not placing.files and not placing.skipped:
        placing.skip(archive.dataset, archive.name, EMPTY)
    return placing.result()


@dataclass(frozen=True)
class _Source:
    """A folder, or the archive, of a dataset, whose `name` is as it is spelled here; `label` is for messages."""

    name: str
    label: str
    folder: str = ""
    archive: Entry | None = None

    @property
    def dataset(self) -> str:
        return canonical(self.name)


def _chosen(amass_dir: Location, sources: Iterable[_Source], datasets: Sequence[str]) -> list[_Source]:
    """The requested sources, sorted.

    No two may be of one dataset, under any two of its names: their recordings would have the same keys.
    """
    sources = sorted(sources, key=lambda source: (source.name, source.label))
    try:
        names = choose(datasets, [source.name for source in sources]) if datasets else None
    except DatasetError as error:
        raise AmassError(error.reason, shown(amass_dir)) from error
    chosen = [source for source in sources if names is None or source.name in names]
    single: dict[str, _Source] = {}
    for source in chosen:
        other = single.setdefault(source.dataset, source)
        if other is not source:
            reason = f"{other.label} and {source.label} are two sources of the dataset {source.dataset}"
            raise AmassError(f"{reason}; move one of them elsewhere", shown(amass_dir))
    return chosen


def _refuse_datasets_in(amass_dir: Location, folder: str, entries: Iterable[Entry]) -> None:
    """Raise `AmassError` if a folder that is not a dataset holds some, unpacked or packed."""
    names = [entry.path.split("/") for entry in entries if is_wanted(entry.name) or dataset_name(entry.name)]
    inner = {spelled(path[1]) for path in names if len(path) > 1}
    held = ", ".join(sorted(name for name in inner if find(name))[:3])
    if held:
        reason = f"{folder} is not a dataset, and holds {held}; did you mean {shown(amass_dir / folder)}?"
        raise AmassError(f"{reason} Otherwise move what it holds up", shown(amass_dir))


class _Placing:
    """Sorts files by their paths: recordings, those that lie or are called as none may, and others."""

    def __init__(self) -> None:
        self.files: list[RecordingFile] = []
        self.skipped: list[Skipped] = []
        self.ignored: Counter[str] = Counter()

    def result(self, archives: Iterable[Archive] = ()) -> Listing:
        return Listing(
            tuple(sorted(self.files, key=lambda file: (file.dataset, file.subject, file.sequence))),
            tuple(archives),
            tuple(sorted(self.skipped, key=lambda skipped: (skipped.path, skipped.reason))),
            dict(sorted(self.ignored.items())),
        )

    def skip(self, dataset: str, path: str, reason: str) -> None:
        self.skipped.append(Skipped(dataset, _printable(path), reason))

    def add(self, dataset: str, entries: Iterable[Entry], deeper: str = DEEPER) -> None:
        """Take all files of a dataset; `deeper` is said of those that lie too deep."""
        rows = [(entry, entry.path.split("/")) for entry in entries]
        rows = [(entry, parts) for entry, parts in rows if not any(_is_no_folder(part) for part in parts[1:-1])]
        # One folder in between is searched, if no folder beside it holds recordings.
        folders = [parts[1:-1] for entry, parts in rows if is_wanted(entry.name)]
        inner = {parts[0] for parts in folders if len(parts) == 2}
        if not folders and any(entry.name.lower().endswith(".mp4") for entry, _ in rows):
            self.skip(dataset, rows[0][1][0], VIDEOS)
        depth = 4 if len(inner) == 1 and all(len(parts) != 1 for parts in folders) else 3
        for entry, parts in rows:
            if dataset_name(entry.name) is not None and not entry.name.startswith("."):
                self.skip(dataset, entry.path, NESTED)
            elif len(parts) != depth:
                self.skip_stray(dataset, entry, OUTSIDE if len(parts) < depth else deeper)
            elif self._is_recording(dataset, entry):
                self.files.append(RecordingFile(dataset, *names_of(entry.path), entry.path, entry.size, entry.modified))

    def skip_stray(self, dataset: str, entry: Entry, reason: str) -> None:
        """Skip a file for `reason` if it is a recording by its name."""
        if self._is_recording(dataset, entry):
            self.skip(dataset, entry.path, reason)

    def _is_recording(self, dataset: str, entry: Entry) -> bool:
        """Whether a file is a recording by its name; if not, it is counted under its kind, or skipped."""
        kind, problem = _kind_of_other(entry.name), entry.problem
        if problem == LINKS_UP:
            kind = LINKS_UP
        elif problem is not None and not entry.name.startswith("."):
            self.skip(dataset, entry.path, problem)
            return False
        elif kind is None and entry.path != _printable(entry.path):
            self.skip(dataset, entry.path, "its name is not valid UTF-8; rename it")
            return False
        if kind is not None:
            self.ignored[kind] += 1
        return kind is None


def is_wanted(base_name: str) -> bool:
    """Whether a file is a recording by its name, without its folders."""
    return _kind_of_other(base_name) is None


def spelled(name: str) -> str:
    """The dataset of a folder or archive, as its name spells it."""
    return _COPY.sub("", dataset_name(name) or name)


def names_of(path: str) -> tuple[str, str]:
    """Subject and sequence of a recording by its path, if it lies where it should."""
    folder, _, base = path.rpartition("/")
    return folder.rpartition("/")[2], base.removesuffix(".npz")


def same_recording(path: str) -> tuple[str, str]:
    """A path, relative to the AMASS folder, that is the same whatever the dataset's folder or archive is called."""
    folder, _, rest = path.partition("/")
    return canonical(spelled(folder)), rest


def _kind_of_other(name: str) -> str | None:
    """What a file is by its name, if it is not a recording."""
    if name.startswith("."):
        return "hidden files"
    if not name.endswith(".npz"):
        return "files that are not .npz"
    if name == "shape.npz":
        return "shape.npz"
    return "*_stagei.npz" if name.endswith("_stagei.npz") else None


def _is_no_folder(name: str) -> bool:
    return name.startswith(NO_FOLDERS) and name not in (".", "..")


def _printable(path: str) -> str:
    """`path` with bytes that are not UTF-8 written out."""
    return path.encode("utf-8", "backslashreplace").decode()
