"""The headers of many recordings, read by several processes; those at addresses by threads, which mostly wait.

To look through an archive's directory and read its headers takes a quarter of a millisecond, and a tree may hold tens
of thousands. The processes begin at the end of the list, the caller at its start, until they meet.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from h36m_amass.files.remote import CONNECTIONS, Address, RemoteFile
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.recording import AmassError, Header
from h36m_amass.recordings.sources import Sources, listed_header
from h36m_amass.recordings.tree import Listing, SequenceFile
from h36m_amass.system import signals as interrupts

CHUNK = 128
AHEAD = 4 * CONNECTIONS
"""Recordings at addresses whose headers are asked for before they are wanted."""
WORTH_PROCESSES = 16384
"""Recordings: a process takes as long to start as to read the headers of a thousand, and in a build the other cores are
not idle meanwhile: torch is imported."""

HeaderOf = Callable[[SequenceFile], Header]
"""Gives the header of one of the recordings, asked for in order; raises `AmassError` as `amass.read_header` does."""


@contextmanager
def header_reader(
    amass_dir: Path | Address, listing: Listing, files: Sequence[SequenceFile], use_dmpls: bool, processes: int
) -> Iterator[HeaderOf]:
    """A `HeaderOf` for `files` of a `listing`.

    Parameters
    ----------
    processes
        How many may help; they do for more than `WORTH_PROCESSES` recordings that lie in folders.
    """
    with Sources(amass_dir, files) as sources:

        def read(file: SequenceFile) -> Header:
            return listed_header(listing, sources, file, use_dmpls)

        if isinstance(amass_dir, Address):
            with _threaded(read, files) as read_ahead:
                yield read_ahead
            return
        plain = [file for file in files if file.member is None]
        if processes < 1 or len(plain) < WORTH_PROCESSES:
            yield read
            return
        chunks = [plain[start : start + CHUNK] for start in range(0, len(plain), CHUNK)]
        chunk_of = {file.path: number for number, chunk in enumerate(chunks) for file in chunk}
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, context, initializer=interrupts.leave_to_parent) as pool:
            waiting: dict[int, Future[dict[str, Header | str]]] = {}
            with interrupts.ignored():  # the processes inherit it
                for number, chunk in reversed(list(enumerate(chunks))):
                    waiting[number] = pool.submit(_read_chunk, str(amass_dir), [file.path for file in chunk], use_dmpls)
            found: dict[str, Header | str] = {}

            def read_or_take(file: SequenceFile) -> Header:
                number = chunk_of.get(file.path)
                future = None if number is None else waiting.pop(number, None)
                if future is not None and not future.cancel():
                    with suppress(BrokenProcessPool):  # then they are read here
                        found.update(future.result())
                header = found.pop(file.path, None)
                if isinstance(header, str):
                    raise AmassError(header)
                return header or read(file)

            try:
                yield read_or_take
            finally:
                for future in waiting.values():
                    future.cancel()


@contextmanager
def _threaded(read: HeaderOf, files: Sequence[SequenceFile]) -> Iterator[HeaderOf]:
    """`read`, which several threads call for the coming ones of `files` that lie at addresses of their own."""
    waiting = (file for file in files if isinstance(file.member, RemoteFile))
    coming: dict[str, Future[Header]] = {}
    pool = ThreadPoolExecutor(CONNECTIONS)

    def read_ahead(file: SequenceFile) -> Header:
        for following in islice(waiting, AHEAD - len(coming)):
            coming[following.path] = pool.submit(read, following)
        future = coming.pop(file.path, None)
        return read(file) if future is None else future.result()

    try:
        yield read_ahead
    finally:
        pool.shutdown(cancel_futures=True)


def _read_chunk(amass_dir: str, paths: Sequence[str], use_dmpls: bool) -> dict[str, Header | str]:
    """The header of each recording, or why there is none."""
    found: dict[str, Header | str] = {}
    for path in paths:
        try:
            found[path] = amass.read_header(f"{amass_dir}/{path}", use_dmpls)
        except AmassError as error:
            found[path] = str(error)
    return found
