"""Walking a dataset's folder: which of its files are recordings, and which lie or are called as none may."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from h36m_amass.recordings.archive_tree import Entry, ListedEntry
from h36m_amass.recordings.dataset_sources import is_file, size_and_time
from h36m_amass.recordings.recording_files import RecordingFile, Skipped
from h36m_amass.recordings.scanning import Scanner

OUTSIDE = "lies outside a subject's folder"


class DatasetWalk:
    """Recordings of several datasets, and what lies beside them.

    Parameters
    ----------
    check
        Called between folders; what it raises ends the walk.
    """

    def __init__(self, scanner: Scanner, check: Callable[[], None] = lambda: None) -> None:
        self.scanner, self._check = scanner, check
        self.files: list[RecordingFile] = []
        self.ignored: Counter[str] = Counter()
        self._skipped: list[Skipped] = []

    @property
    def count(self) -> int:
        """Recordings, good or not."""
        return len(self.files) + len(self._skipped)

    def sorted_files(self) -> list[RecordingFile]:
        return sorted(self.files, key=lambda file: (file.dataset, file.subject, file.sequence))

    def sorted_skipped(self) -> list[Skipped]:
        return sorted(self._skipped, key=lambda skipped: (skipped.path, skipped.reason))

    def skip(self, dataset: str, path: str, reason: str) -> None:
        self._skipped.append(Skipped(dataset, printable(path), reason))

    def add_dataset(self, dataset: str, folder: str) -> None:
        """Walk the folder of a dataset."""
        self.add_strays(dataset, folder, self._files(folder), OUTSIDE)
        subjects = self._folders(folder)
        # One folder in between is looked through, where no folder beside it holds recordings.
        inner = [path for path in subjects if any(self._has_recordings(s) for s in self._folders(path))]
        if len(inner) == 1 and not any(self._has_recordings(path) for path in subjects):
            for path in subjects:
                self.add_strays(dataset, path, self._files(path), OUTSIDE)
            subjects = self._folders(inner[0])
        for path in subjects:
            self._add_subject(dataset, path)
        reason = "its name leads out of its folder; copy it under another one"
        unsafe = [(path, reason) for path in self.scanner.unsafe if kind_of_other(path.rpartition("/")[2]) is None]
        for path, reason in (*self.scanner.failures, *unsafe):
            self.skip(dataset, path, reason)
        self.scanner.failures.clear()
        self.scanner.unsafe.clear()
        self.ignored.update({"links to a folder above": self.scanner.links_up} if self.scanner.links_up else {})
        self.scanner.links_up = 0

    def add_strays(self, dataset: str, folder: str, entries: Iterable[Entry], reason: str) -> None:
        """Count the files of a folder that is not a subject's; its recordings are skipped for `reason`."""
        for entry in entries:
            path = f"{folder}/{entry.name}".lstrip("/")
            if self._is_recording(dataset, path, entry):
                self.skip(dataset, path, reason)

    def _add_subject(self, dataset: str, folder: str) -> None:
        for entry in self._files(folder):
            path = f"{folder}/{entry.name}"
            if not self._is_recording(dataset, path, entry):
                continue
            if path != printable(path):
                self.skip(dataset, path, "its name is not valid UTF-8; rename it")
                continue
            try:
                size, modified = size_and_time(entry)
            except OSError as error:
                self.skip(dataset, path, f"cannot be read ({error.strerror})")
                continue
            member = entry.member if isinstance(entry, ListedEntry) else None
            subject, sequence = names_of(path)
            self.files.append(RecordingFile(dataset, subject, sequence, path, size, modified, member))
        waiting = self._folders(folder)
        while waiting:
            deeper = waiting.pop()
            reason = "lies deeper than its dataset's subjects; move it to DATASET/SUBJECT/"
            self.add_strays(dataset, deeper, self._files(deeper), reason)
            waiting += [path for path in self._folders(deeper) if not self.scanner.is_link(path)]

    def _is_recording(self, dataset: str, path: str, entry: Entry) -> bool:
        """Whether a file is a recording by its name; if not, it is counted under its kind, or skipped."""
        problem = entry.problem if isinstance(entry, ListedEntry) else None
        if problem is None and not is_file(entry):
            problem = "is a link that leads nowhere, or no file"
        if problem is not None and not entry.name.startswith("."):
            self.skip(dataset, path, problem)
            return False
        kind = kind_of_other(entry.name)
        if kind is not None:
            self.ignored[kind] += 1
        return kind is None

    def _has_recordings(self, folder: str) -> bool:
        return any(kind_of_other(entry.name) is None for entry in self._files(folder))

    def _folders(self, folder: str) -> list[str]:
        self._check()
        return [f"{folder}/{name}" for name in self.scanner.scan(folder)[0]]

    def _files(self, folder: str) -> list[Entry]:
        return self.scanner.scan(folder)[1]


def kind_of_other(name: str) -> str | None:
    """What a file is by its name, if it is no recording."""
    if name.startswith("."):
        return "hidden files"
    if not name.endswith(".npz"):
        return "files that are not .npz"
    if name == "shape.npz":
        return "shape.npz"
    return "*_stagei.npz" if name.endswith("_stagei.npz") else None


def names_of(path: str) -> tuple[str, str]:
    """Subject and sequence of a recording by its path, if it lies where it should."""
    folder, _, base = path.rpartition("/")
    return folder.rpartition("/")[2], base.removesuffix(".npz")


def printable(path: str) -> str:
    """`path` with bytes that are no UTF-8 written out."""
    return path.encode("utf-8", "backslashreplace").decode()
