"""Where the bytes of recordings come from: files, or members of archives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from h36m_amass import amass
from h36m_amass.amass import AmassError, Header
from h36m_amass.amass_tree import Listing, SequenceFile, find_sequences
from h36m_amass.archives import ArchiveError, MemberReader, dataset_name
from h36m_amass.npz import Source


class Sources:
    """Gives what each of some recordings can be read from; a context manager.

    Parameters
    ----------
    amass_dir
        Folder that they lie in.
    files
        The recordings, in the order in which they will be asked for: what is taken along from an archive on the way
        to one of them is kept for those to come.
    check
        Called often on such a way, which may take minutes; what it raises ends it.
    """

    def __init__(
        self, amass_dir: Path, files: Iterable[SequenceFile], check: Callable[[], None] = lambda: None
    ) -> None:
        self._amass_dir = amass_dir
        members = [file.member for file in files if file.member is not None]
        self._members = MemberReader(str(amass_dir), members, check)

    def __enter__(self) -> Sources:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what is open and held."""
        self._members.close()

    def __getitem__(self, file: SequenceFile) -> Source:
        """What `amass.read_header` and `amass.read_frames` take; of an archive's recording once.

        Raises
        ------
        AmassError
            It cannot be read from its archive.
        """
        path = f"{self._amass_dir}/{file.path}"
        if file.member is None:
            return path
        try:
            return self._members.read(file.member, path)
        except ArchiveError as error:
            raise AmassError(str(error)) from error


def listed_header(listing: Listing, sources: Sources, file: SequenceFile, use_dmpls: bool) -> Header:
    """Header of a recording of `listing`, which may have been read with its archive.

    Raises
    ------
    AmassError
        As `amass.read_header` does.
    """
    found = listing.headers.get((file.path, use_dmpls))
    if isinstance(found, str):
        raise AmassError(found)
    return found or amass.read_header(sources[file], use_dmpls)


def archived_files(
    amass_dir: Path, paths: Iterable[str], progress: Callable[[str, int, int], None] | None = None
) -> dict[str, SequenceFile]:
    """Those of the recordings `paths` (relative to `amass_dir`) that lie in archives, by path.

    `progress` is called as by `find_sequences`.

    Raises
    ------
    AmassError
        An archive that is looked through for them holds no recordings.
    """
    try:
        names = {dataset_name(entry.name) for entry in amass_dir.iterdir() if not (amass_dir / entry.name).is_dir()}
    except OSError:
        return {}
    datasets = {path.split("/")[0] for path in paths} & names
    datasets = {dataset for dataset in datasets if dataset is not None and not (amass_dir / dataset).is_dir()}
    if not datasets:
        return {}
    listing = find_sequences(amass_dir, tuple(sorted(datasets)), progress=progress)
    return {file.path: file for file in listing.sequences if file.member is not None}
