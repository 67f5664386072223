"""Finding the recordings in an AMASS tree.

AMASS (Mahmood et al., ICCV 2019) unpacks to ``DATASET/[INNER/]SUBJECT/SEQUENCE.npz``. An archive of a dataset is
listed as if it had been unpacked into a folder of its name.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from h36m_amass.datasets import DatasetError, canonical, choose
from h36m_amass.files import archives, remote
from h36m_amass.files.npz import HeldFile
from h36m_amass.files.remote import Address, RemoteFile
from h36m_amass.recordings.archive_tree import NO_FOLDERS, Entry, ListedEntry, tree_of
from h36m_amass.recordings.recording import AmassError, Header, read_header


@dataclass(frozen=True)
class SequenceFile:
    """A recording in an AMASS tree.

    Attributes
    ----------
    dataset, subject, sequence
        Its key in the store.
    path
        Relative to the AMASS folder, with forward slashes.
    size
        In bytes.
    member
        Where it lies, if that is in an archive or at an address; `path` is as in the unpacked tree all the same.
    """

    dataset: str
    subject: str
    sequence: str
    path: str
    size: int
    member: archives.Member | RemoteFile | None = None


@dataclass(frozen=True)
class Listing:
    """What an AMASS folder holds.

    Attributes
    ----------
    sequences
        In sorted order of dataset, subject and sequence.
    misplaced
        Relative path and reason of ``.npz`` files that are no sequences because of where they lie or what they
        are called.
    ignored
        How many files of which kind are no recordings.
    headers
        By path, and whether soft tissue matters: headers of recordings in compressed archives, which were at hand
        when these were looked through, or why there is none.
    closed
        Datasets in archives that were not looked through.
    """

    sequences: tuple[SequenceFile, ...]
    misplaced: tuple[tuple[str, str], ...]
    ignored: Mapping[str, int]
    headers: Mapping[tuple[str, bool], Header | str] = field(default_factory=dict)
    closed: tuple[str, ...] = ()


def find_sequences(
    amass_dir: Path | str | Address,
    datasets: tuple[str, ...] = (),
    use_dmpls: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
    open_archives: bool = True,
) -> Listing:
    """List the recordings under `amass_dir`.

    Parameters
    ----------
    amass_dir
        Folder, or its address, that holds one folder or archive a dataset. Where there are both, under any two of the
        dataset's names, the folder counts.
    datasets
        Names of the datasets to look at, see `h36m_amass.datasets.choose`; all of them if empty.
    use_dmpls
        As for `read_header`, which is called for recordings in compressed archives while they are looked through.
    progress
        Called with ``"archives"``, how many megabytes of archives have been looked through, and how many there are.
    open_archives
        Whether archives are looked through, which takes minutes where they are large.

    Raises
    ------
    AmassError
        There is no such folder, it is empty, a dataset that was asked for is not in it, it has two archives of one
        dataset, or it holds no recording.
    h36m_amass.files.remote.RemoteError
        Its address cannot be reached.
    """
    amass_dir = remote.place(amass_dir)
    if isinstance(amass_dir, Path) and not amass_dir.is_dir():
        raise AmassError(f"{amass_dir}: is no folder; give the folder that holds your AMASS datasets")
    finder = _Finder(amass_dir, use_dmpls)
    names = finder.datasets()
    if finder.misplaced:
        raise AmassError(f"{amass_dir}: {finder.misplaced[0][1]}; check its permissions")
    if finder.is_empty() and isinstance(amass_dir, Address):
        raise AmassError(f"{amass_dir}: nothing lies there; give the address that your AMASS datasets lie below")
    if finder.is_empty():
        raise AmassError(f"{amass_dir}: is empty; put AMASS datasets (SMPL+H G) into it, one folder or archive each")
    if datasets:
        try:
            names = list(choose(datasets, names))
        except DatasetError as error:
            raise AmassError(f"{amass_dir}: {error}") from error
    else:
        finder.add_strays(str(amass_dir), "lies outside a dataset's folder")
    closed = () if open_archives else tuple(name for name in names if finder.is_archive(name))
    names = [name for name in names if name not in closed]
    finder.list_below(names)
    finder.look_through_archives(names, progress or (lambda stage, done, total: None))
    for dataset in names:
        finder.add_dataset(dataset)
    finder.add_damage()
    if not finder.sequences and not closed and finder.damage:
        raise AmassError(f"{amass_dir}: holds no AMASS sequences; {': '.join(finder.damage[0])}")
    if not finder.sequences and not closed:
        hint = "datasets lie in it as DATASET/SUBJECT/SEQUENCE.npz or DATASET/INNER/SUBJECT/SEQUENCE.npz"
        if finder.misplaced:
            hint += f", but {finder.misplaced[0][0]} does not; is this a single dataset? Then give its parent folder"
        raise AmassError(f"{amass_dir}: holds no AMASS sequences; {hint}")
    return Listing(
        tuple(sorted(finder.sequences, key=lambda s: (s.dataset, s.subject, s.sequence))),
        tuple(sorted(finder.misplaced)),
        dict(sorted(finder.ignored.items())),
        finder.headers,
        closed,
    )


class _Finder:
    """Walks dataset folders, and archives as if they were unpacked, and sorts what lies in them."""

    def __init__(self, amass_dir: Path | Address, use_dmpls: bool) -> None:
        self.amass_dir, self._use_dmpls = amass_dir, use_dmpls
        self.sequences: list[SequenceFile] = []
        self.misplaced: list[tuple[str, str]] = []
        self.ignored: Counter[str] = Counter()
        self.headers: dict[tuple[str, bool], Header | str] = {}
        self.damage: list[tuple[str, str]] = []
        self._beside: list[tuple[str, list[str]]] = []
        self._scanned: dict[str, tuple[list[str], list[Entry]]] = {}
        self._archives = self._find_archives()

    def datasets(self) -> list[str]:
        """Names of the folders and archives that may be datasets."""
        return sorted({*self._scan(str(self.amass_dir))[0], *self._archives})

    def is_empty(self) -> bool:
        """Whether nothing at all lies in the folder."""
        if isinstance(self.amass_dir, Path):
            return not any(self.amass_dir.iterdir())
        return not any(self._scan(str(self.amass_dir))) and not self._archives

    def list_below(self, datasets: list[str]) -> None:
        """List what lies below each of `datasets` at an address: one by one its folders would take a request each."""
        if isinstance(self.amass_dir, Path):
            return
        for dataset in datasets:
            if dataset in self._archives:
                continue
            found = remote.descendants(self.amass_dir / dataset)
            places = {name: file for name, file in found.items() if _is_inside(name)}
            self._scanned.update(tree_of(places, f"{self.amass_dir}{os.sep}{dataset}"))
            reason = "its name leads out of its folder; copy it under another one"
            wanted = [name for name in found.keys() - places if _kind_of_other(name.rpartition("/")[2]) is None]
            self.misplaced += [(_printable(f"{dataset}/{name}"), reason) for name in wanted]

    def is_archive(self, dataset: str) -> bool:
        """Whether a dataset lies in an archive."""
        return dataset in self._archives

    def look_through_archives(self, datasets: list[str], progress: Callable[[str, int, int], None]) -> None:
        """Read the archives of `datasets`, so that these can be walked."""
        work = [dataset for dataset in datasets if dataset in self._archives]
        sizes = [_size(self._archives[dataset]) // 10**6 for dataset in work]
        for dataset, before in zip(work, accumulate(sizes, initial=0), strict=False):
            self._look_through(dataset, _shifted(progress, before, sum(sizes)))
        if work:
            progress("archives", sum(sizes), sum(sizes))

    def _look_through(self, dataset: str, progress: Callable[[int], None]) -> None:
        entry = self._archives[dataset]

        def show(name: str, file: HeldFile) -> None:
            self._read_header(f"{dataset}/{name}", file)

        where = entry.path if isinstance(self.amass_dir, Path) else self.amass_dir / entry.name
        contents = archives.examine(where, lambda name: _kind_of_other(name) is None, show, progress)
        if contents.damage is not None:
            self.damage.append((_printable(entry.name), contents.damage))
        reason = "its name leads out of the archive; pack it again under another one"
        self.misplaced += [(_printable(f"{entry.name}/{name}"), reason) for name in contents.unnamed]
        members = {name: archives.Member(contents.archive, place) for name, place in contents.places.items()}
        self._scanned.update(tree_of(members, f"{self.amass_dir}{os.sep}{dataset}"))

    def add_damage(self) -> None:
        """Count the archives that are damaged, empty, or beside a folder of theirs that is, as left out."""
        found = {sequence.dataset for sequence in self.sequences} | {path.split("/")[0] for path, _ in self.misplaced}
        damaged = {name for name, _ in self.damage}
        for dataset, entry in self._archives.items():
            looked_through = f"{self.amass_dir}{os.sep}{dataset}" in self._scanned
            if looked_through and _printable(entry.name) not in damaged and not found & {dataset, entry.name}:
                self.damage.append((_printable(entry.name), "holds no recordings; download it again, or take it away"))
        for archive, folders in self._beside:
            looked_through = all(f"{self.amass_dir}{os.sep}{folder}" in self._scanned for folder in folders)
            if found & set(folders) or not looked_through:
                self.ignored["archives beside a folder of their dataset"] += 1
            else:
                empty = f"the folder {_printable(folders[0])}, which holds no recordings"
                self.damage.append((_printable(archive), f"is not read beside {empty}; take that folder away"))
        self.misplaced += self.damage

    def _find_archives(self) -> dict[str, Entry]:
        """Archives by dataset; they are taken out of the files that lie beside the datasets."""
        folders, files = self._scan(str(self.amass_dir))
        found: dict[str, Entry] = {}
        others: list[Entry] = []
        for entry in files:
            dataset = archives.dataset_name(entry.name)
            own = [] if dataset is None else [name for name in folders if canonical(name) == canonical(dataset)]
            if archives.is_unread(entry.name):
                self.ignored["archives of a kind that is not read"] += 1
            elif dataset is None or not _is_file(entry):
                others.append(entry)
            elif own:
                self._beside.append((entry.name, own))
            elif dataset in found:
                both = f"{_printable(found[dataset].name)} and {_printable(entry.name)}"
                raise AmassError(f"{self.amass_dir}: has {both}, two archives of one dataset; take one away")
            else:
                found[dataset] = entry
        self._scanned[str(self.amass_dir)] = folders, others
        return found

    def _read_header(self, path: str, file: HeldFile) -> None:
        try:
            self.headers[path, self._use_dmpls] = read_header(file, self._use_dmpls)
        except AmassError as error:
            self.headers[path, self._use_dmpls] = str(error)

    def add_dataset(self, dataset: str) -> None:
        folder = f"{self.amass_dir}{os.sep}{dataset}"
        self.add_strays(folder, "lies outside a subject's folder")
        subjects = self._folders(folder)
        # One folder in between is looked through, where no folder beside it holds recordings.
        inner = [path for path in subjects if any(self._has_recordings(s) for s in self._folders(path))]
        if len(inner) == 1 and not any(self._has_recordings(path) for path in subjects):
            for path in subjects:
                self.add_strays(path, "lies outside a subject's folder")
            subjects = self._folders(inner[0])
        for path in subjects:
            self._add_subject(dataset, path)

    def add_strays(self, folder: str, reason: str) -> None:
        """Count the files of a folder that is not a subject's; its recordings are out of place."""
        for entry in self._scan(folder)[1]:
            if self._is_recording(entry):
                self.misplaced.append((_printable(self._relative(entry.path)), reason))

    def _add_subject(self, dataset: str, folder: str) -> None:
        subject = os.path.basename(folder)  # noqa: PTH119  # pathlib takes as long as reading a header
        for entry in self._scan(folder)[1]:
            if not self._is_recording(entry):
                continue
            path = self._relative(entry.path)
            if path != _printable(path):
                self.misplaced.append((_printable(path), "its name is not valid UTF-8; rename it"))
                continue
            sequence = entry.name.removesuffix(".npz")
            if isinstance(entry, ListedEntry):
                size = entry.member.size
                self.sequences.append(SequenceFile(dataset, subject, sequence, path, size, entry.member))
                continue
            try:
                size = entry.stat().st_size
            except OSError as error:
                self.misplaced.append((path, f"cannot be read ({error.strerror})"))
                continue
            self.sequences.append(SequenceFile(dataset, subject, sequence, path, size))
        waiting = self._folders(folder)
        while waiting:
            deeper = waiting.pop()
            self.add_strays(deeper, "lies deeper than its dataset's subjects; move it to DATASET/SUBJECT/")
            # A link could lead back up.
            waiting += [path for path in self._folders(deeper) if not os.path.islink(path)]  # noqa: PTH114  # pathlib is slow

    def _is_recording(self, entry: Entry) -> bool:
        """Whether a file is a recording by its name; if not, it is counted under its kind."""
        if isinstance(entry, ListedEntry):
            problem = entry.member.problem
            if problem is not None and not entry.name.startswith("."):
                self.misplaced.append((_printable(self._relative(entry.path)), problem))
                return False
        elif not _is_file(entry) and not entry.name.startswith("."):
            self.misplaced.append((_printable(self._relative(entry.path)), "is a link that leads nowhere, or no file"))
            return False
        kind = _kind_of_other(entry.name)
        if kind is not None:
            self.ignored[kind] += 1
        return kind is None

    def _has_recordings(self, folder: str) -> bool:
        return any(_kind_of_other(entry.name) is None for entry in self._scan(folder)[1])

    def _folders(self, folder: str) -> list[str]:
        return [f"{folder}{os.sep}{name}" for name in self._scan(folder)[0]]

    def _scan(self, folder: str) -> tuple[list[str], list[Entry]]:
        """Names of the folders in a folder, and its files with links that lead nowhere: those must be told of."""
        if folder not in self._scanned and isinstance(self.amass_dir, Address):
            # What lies below a dataset is there already: only the folder of all is listed like this.
            names, found_files = remote.children(self.amass_dir) if folder == str(self.amass_dir) else ([], {})
            self._scanned[folder] = (
                [name for name in names if not name.startswith(NO_FOLDERS)],
                [ListedEntry(name, f"{folder}{os.sep}{name}", file) for name, file in found_files.items()],
            )
        if folder not in self._scanned:
            try:
                with os.scandir(folder) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self.misplaced.append((_printable(self._relative(folder)), f"cannot be read ({error.strerror})"))
                found = []
            folders, files = list[str](), list[Entry]()
            for entry in found:
                if not _is_folder(entry):
                    files.append(entry)
                elif not entry.name.startswith(NO_FOLDERS):
                    if self._leads_up(entry):
                        self.ignored["links to a folder above"] += 1
                    else:
                        folders.append(entry.name)
            self._scanned[folder] = folders, files
        return self._scanned[folder]

    def _leads_up(self, entry: os.DirEntry[str]) -> bool:
        """Whether a folder is a link to one that it lies in, where everything would be found once more."""
        if not entry.is_symlink():
            return False
        link, top = Path(entry.path), Path(str(self.amass_dir))
        inside = [folder for folder in link.parents if folder.is_relative_to(top)]
        real = [link.parent.resolve(), top.resolve()]  # links may lie on the way here, too
        above = {*inside, *real, *(folder for place in real for folder in place.parents)}
        return any(link.samefile(folder) for folder in above)

    def _relative(self, path: str) -> str:
        # pathlib's way takes as long as reading a header, for each of thousands of files.
        return path.removeprefix(str(self.amass_dir)).lstrip(os.sep).replace(os.sep, "/")


def _shifted(progress: Callable[[str, int, int], None], before: int, total: int) -> Callable[[int], None]:
    return lambda done: progress("archives", before + done, total)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_file(entry: Entry) -> bool:
    try:
        return isinstance(entry, ListedEntry) or entry.is_file()
    except OSError:
        return False


def _is_inside(name: str) -> bool:
    """Whether a key's name stays below its folder, here and on another system."""
    return not {"", ".", ".."} & set(name.split("/")) and "\\" not in name and "\0" not in name


def _size(entry: Entry) -> int:
    return entry.member.size if isinstance(entry, ListedEntry) else entry.stat().st_size


def _kind_of_other(name: str) -> str | None:
    """What a file is by its name, if it is no recording."""
    if name.startswith("."):
        return "hidden files"
    if not name.endswith(".npz"):
        return "files that are not .npz"
    if name == "shape.npz":
        return "shape.npz"
    return "*_stagei.npz" if name.endswith("_stagei.npz") else None


def _printable(path: str) -> str:
    """`path` with bytes that are no UTF-8 written out."""
    return path.encode("utf-8", "backslashreplace").decode()
