"""Put a store together from converted units, in plan order, while later ones are still being made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

from h36m_amass.conversion.part import ConvertedUnit
from h36m_amass.conversion.planning import log_left_out
from h36m_amass.conversion.report import LeftOut
from h36m_amass.store.format import SequenceRecord, StoreHeader, UnitRecord
from h36m_amass.store.split_writer import Split, SplitWriter
from h36m_amass.store.writer import StoreWriter
from h36m_amass.system import signals as interrupts

SYNC_BYTES = 2**26
"""Written between two waits for the disk: to wait for all of it at the end could take long, and cannot be stopped."""


class Assembly:
    """A store in the making, under another name; a context manager that closes the file.

    Parameters
    ----------
    temporary
        File to write; an existing one is replaced.
    fingerprints
        Of the units, in plan order.
    converted
        Gives a unit of a number that was added.
    there
        Numbers of units that need not be added: they are converted.
    header, compression
        See `h36m_amass.store.writer.StoreWriter`.
    split
        How the store is split; None for a store in one file.

    Attributes
    ----------
    records
        The sequences that were copied so far.
    left_out
        The recordings of those units that could not be converted.
    """

    def __init__(
        self,
        temporary: Path,
        fingerprints: Sequence[str],
        converted: Callable[[int], ConvertedUnit],
        there: Iterable[int],
        header: StoreHeader,
        compression: str,
        split: Split | None = None,
    ) -> None:
        self.records: list[SequenceRecord] = []
        self.left_out: list[LeftOut] = []
        self._fingerprints = fingerprints
        self._converted = converted
        self._row_bytes = 12 * sum(len(own.skeleton) for own in header.joint_sets)
        # h5py writes and cleans up in callbacks that an exception cannot leave: Ctrl-C would be lost in them.
        with interrupts.held():
            self._writer = (
                StoreWriter(temporary, header, compression)
                if split is None
                else SplitWriter(temporary, split, header, compression)
            )
        self._waiting = set(there)
        self._next = self._unsynced = 0

    @property
    def num_frames(self) -> int:
        """Frames of the store so far."""
        return sum(record.length for record in self.records)

    def __enter__(self) -> Assembly:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with interrupts.held():
            self._writer.close()

    def add(self, number: int) -> None:
        """Take unit `number`, which is converted, and copy what can be."""
        self._waiting.add(number)
        self.copy()

    def copy(self) -> None:
        """Copy the units that are converted, as far as none before them in the plan is missing."""
        while self._next in self._waiting:
            self._waiting.remove(self._next)
            with interrupts.held():
                self._copy(self._next)
            self._next += 1

    def finish(self) -> None:
        """Write the index; the file is whole and on the disk when this returns."""
        with interrupts.held():
            self._writer.finish()

    def _copy(self, number: int) -> None:
        unit = self._converted(number)
        fingerprint = "" if unit.left_out else self._fingerprints[number]
        record = UnitRecord(fingerprint, len(unit.sequences))
        self._writer.write_unit(record, [(own.record, own.other_checksums) for own in unit.sequences], unit.blocks())
        self.records += [own.record for own in unit.sequences]
        self._unsynced += sum(own.record.length for own in unit.sequences) * self._row_bytes
        self.left_out += unit.left_out
        for left in unit.left_out:
            log_left_out(left)
        if self._unsynced >= SYNC_BYTES:
            self._writer.sync()
            self._unsynced = 0
