"""Where the bytes of recordings come from: files, members of archives, or addresses."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from h36m_amass.files import remote
from h36m_amass.files.archives import ArchiveError, Member, MemberReader, dataset_name
from h36m_amass.files.npz import HeldFile, Source
from h36m_amass.files.remote import Address, RemoteFile
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.recording import AmassError, Header
from h36m_amass.recordings.tree import Listing, SequenceFile, find_sequences

MAX_WHOLE = 2**25
"""Bytes of a recording at an address that is fetched at once; a larger one is read in pieces."""
MAX_AHEAD = 2**26
"""Bytes of such recordings that are in memory, or on their way, before they are asked for."""
REQUESTS = 4
SECONDS_TO_CHECK = 0.2


class Sources:
    """Gives what each of some recordings can be read from; a context manager.

    Parameters
    ----------
    amass_dir
        Folder that they lie in, or its address.
    files
        The recordings, in the order in which they will be asked for: what is taken along from an archive on the way
        to one of them is kept for those to come, and those at addresses are fetched ahead.
    check
        Called often on such a way, which may take minutes; what it raises ends it.
    """

    def __init__(
        self, amass_dir: Path | Address, files: Iterable[SequenceFile], check: Callable[[], None] = lambda: None
    ) -> None:
        self._amass_dir = amass_dir
        held = [file.member for file in files if file.member is not None]
        folder = amass_dir if isinstance(amass_dir, Address) else str(amass_dir)
        self._members = MemberReader(folder, [member for member in held if isinstance(member, Member)], check)
        self._ahead = _Ahead([member for member in held if isinstance(member, RemoteFile)], check)

    def __enter__(self) -> Sources:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what is open and held."""
        self._members.close()
        self._ahead.close()

    def __getitem__(self, file: SequenceFile) -> Source:
        """What `amass.read_header` and `amass.read_frames` take; of an archive's recording once.

        Raises
        ------
        AmassError
            It cannot be read from its archive, or is no longer at its address.
        h36m_amass.files.remote.RemoteError
            Its address cannot be reached.
        """
        path = f"{self._amass_dir}/{file.path}"
        if file.member is None:
            return path
        if isinstance(file.member, RemoteFile):
            try:
                return self._ahead.read(file.member)
            except FileNotFoundError as error:
                raise AmassError(str(error.strerror)) from error
        try:
            return self._members.read(file.member, path)
        except ArchiveError as error:
            raise AmassError(str(error)) from error


class _Ahead:
    """Brings recordings at addresses into memory while those before them are worked on.

    Parameters
    ----------
    files
        In the order in which they will be asked for.
    check
        As for `Sources`.
    """

    def __init__(self, files: Iterable[RemoteFile], check: Callable[[], None]) -> None:
        self._waiting = deque(file for file in files if file.size <= MAX_WHOLE)
        self._check = check
        self._coming: dict[RemoteFile, Future[bytes]] = {}
        self._pool = ThreadPoolExecutor(REQUESTS)  # starts no thread before it is given something to do

    def read(self, file: RemoteFile) -> Source:
        """What `file` is read from: its bytes, unless these are too many."""
        if file.size > MAX_WHOLE:
            return file
        self._go_on()
        future = self._coming.pop(file, None) or self._pool.submit(remote.content, file)
        while True:
            try:
                whole = future.result(SECONDS_TO_CHECK)
            except TimeoutError:
                self._check()
                continue
            self._go_on()
            return HeldFile(str(file), whole, file.version)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._coming.clear()

    def _go_on(self) -> None:
        held = sum(file.size for file in self._coming)
        while self._waiting and (held := held + self._waiting[0].size) <= MAX_AHEAD:
            file = self._waiting.popleft()
            self._coming[file] = self._pool.submit(remote.content, file)


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
    # To fetch all of a recording for its header would be to fetch it twice.
    return found or amass.read_header(file.member if isinstance(file.member, RemoteFile) else sources[file], use_dmpls)


def held_files(
    amass_dir: Path | Address, paths: Iterable[str], progress: Callable[[str, int, int], None] | None = None
) -> dict[str, SequenceFile]:
    """Those of the recordings `paths` (relative to `amass_dir`) that lie in archives or at addresses, by path.

    `progress` is called as by `find_sequences`.

    Raises
    ------
    AmassError
        An archive that is looked through for them holds no recordings.
    """
    if isinstance(amass_dir, Address):
        folders, files = remote.children(amass_dir)
        names = {*folders, *map(dataset_name, files)}
        datasets = {path.split("/")[0] for path in paths} & names
        listing = find_sequences(amass_dir, tuple(sorted(filter(None, datasets))), progress=progress)
        return {file.path: file for file in listing.sequences}
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
