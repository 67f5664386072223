"""Put a store together from parts, in plan order, while later parts are still being made."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from h36m_amass import interrupts
from h36m_amass.conversion import PartEntry, Workshop, part_entries, part_positions
from h36m_amass.store_format import StoreHeader
from h36m_amass.store_writer import StoreWriter


class Assembly:
    """A store in the making, under another name; a context manager that closes the file.

    Parameters
    ----------
    workshop
        Where the parts are.
    temporary
        File to write; an existing one is overwritten.
    header, compression
        See `h36m_amass.store_writer.StoreWriter`.

    Attributes
    ----------
    entries
        What became of each sequence of the parts that were copied so far.
    """

    def __init__(self, workshop: Workshop, temporary: Path, header: StoreHeader, compression: str) -> None:
        self.entries: list[PartEntry] = []
        self._workshop = workshop
        self._temporary = temporary
        self._writer = StoreWriter(temporary, header, compression)
        self._waiting: set[int] = set()
        self._next = 0

    @property
    def num_frames(self) -> int:
        """Frames of the store so far."""
        return sum(entry.record.length for entry in self.entries if entry.converted)

    def __enter__(self) -> Assembly:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def add(self, number: int) -> None:
        """Take the part of unit `number`; it is copied as soon as those before it in the plan have been."""
        self._waiting.add(number)
        while self._next in self._waiting:
            self._waiting.remove(self._next)
            # h5py cleans up in callbacks that an exception cannot leave: Ctrl-C would be lost in them.
            with interrupts.held():
                self._copy(self._workshop.part_path(self._next))
            self._next += 1

    def finish(self) -> None:
        """Write the index; the file is whole and on the disk when this returns."""
        with interrupts.held():
            self._writer.finish()
        sync(self._temporary)

    def _copy(self, path: Path) -> None:
        for positions in part_positions(path):
            self._writer.append(positions)
        entries = part_entries(path)
        for entry in entries:
            if entry.converted:
                self._writer.add(entry.record)
        self.entries += entries


def sync(path: Path) -> None:
    """Wait until a file or a folder's entries are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
