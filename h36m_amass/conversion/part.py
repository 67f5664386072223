"""Parts: what a work unit becomes, kept beside the store until the store is in place.

A part holds the unit's positions, row after row, each joint set behind the one before; then, as JSON, which rows are
which sequence, and why others were left out; then a seal of fixed length. It is written under another name, brought to
the disk and renamed, so that one that is there is whole; what is read of it is compared with checksums all the same.
"""

from __future__ import annotations

import json
import os
import secrets
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from isal.isal_zlib import crc32
from jaxtyping import Float32

from h36m_amass.conversion.report import LeftOut
from h36m_amass.errors import H36mAmassError
from h36m_amass.store.format import SequenceRecord
from h36m_amass.system.atomic_file import sync

SUFFIX, UNFINISHED_SUFFIX = ".part", ".unfinished"
BLOCK_ROWS = 8192
_POINT = 12
"""Bytes of three coordinates."""
_BUFFER = 2**18
"""Bytes: short sequences are written many at a time."""
_MAGIC = b"h36m-amass part2"
_SEAL = struct.Struct("<16s3Q")


Positions = tuple[Float32[np.ndarray, "rows joints 3"], ...]
"""The same rows of every joint set, an array each."""


class PartError(H36mAmassError):
    """A part, or what an existing store holds of a unit, is not what was written."""


@dataclass(frozen=True)
class PlacedSequence:
    """A sequence and its first row among the positions that it is with.

    Attributes
    ----------
    record
        Its checksum is that of the first joint set.
    other_checksums
        Those of the other joint sets.
    """

    record: SequenceRecord
    start: int
    other_checksums: tuple[int, ...] = ()


class ConvertedUnit(Protocol):
    """What a work unit became.

    Attributes
    ----------
    sequences
        In index order, each behind the one before.
    left_out
        Recordings of the unit that could not be converted.
    """

    @property
    def sequences(self) -> Sequence[PlacedSequence]: ...

    @property
    def left_out(self) -> Sequence[LeftOut]: ...

    def blocks(self) -> Iterator[Positions]:
        """Positions of the sequences, one after another; what was given out is overwritten by what comes next.

        Raises
        ------
        PartError
            A sequence's positions do not have its checksum; they have been given out by then.
        """


@dataclass(frozen=True)
class GivenUpUnit:
    """A unit that became nothing; a `ConvertedUnit`. It is no file, so that the next build tries again."""

    left_out: tuple[LeftOut, ...]
    sequences: tuple[PlacedSequence, ...] = ()

    def blocks(self) -> Iterator[Positions]:
        yield from ()


class PartWriter:
    """Writes the part at `path`; a context manager that removes what was not finished.

    Parameters
    ----------
    path
        Where the part will be.
    joint_counts
        Joints of each set.
    num_rows
        Rows of each set.
    """

    def __init__(self, path: Path, joint_counts: tuple[int, ...], num_rows: int) -> None:
        self._joint_counts = joint_counts
        self._starts = _set_starts(joint_counts, num_rows)
        # Another process may be at the same part: one that outlived a killed build, say.
        self._temporary = path.with_name(f"{path.stem[:16]}-{os.getpid()}-{secrets.token_hex(4)}{UNFINISHED_SUFFIX}")
        # Each set is written through a file of its own: to seek is to write what is in the buffer.
        self._files = [self._temporary.open("xb", _BUFFER)]
        self._places = [0, *self._starts[1:-1]]
        self._finished = False
        for start in self._places[1:]:
            self._files.append(self._temporary.open("r+b", _BUFFER))
            self._files[-1].seek(start)

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            with suppress(OSError):  # a full disk says so twice
                file.close()
        if not self._finished:
            self._temporary.unlink(missing_ok=True)

    def write(self, row: int, positions_3d: Positions) -> None:
        """Put positions at `row` and behind; rows may come in any order."""
        for number, own in enumerate(positions_3d):
            place = self._starts[number] + row * self._joint_counts[number] * _POINT
            if place != self._places[number]:
                self._files[number].seek(place)
            self._files[number].write(np.ascontiguousarray(own, "<f4").data)
            self._places[number] = place + len(own) * self._joint_counts[number] * _POINT

    def finish(self, fingerprint: str, sequences: Sequence[PlacedSequence], left_out: Sequence[LeftOut]) -> Path:
        """Close the part, and return the file, which `commit` brings to the disk and to its name."""
        end = self._starts[-1]
        content = {
            "fingerprint": fingerprint,
            "joint_counts": self._joint_counts,
            "sequences": [
                {"start": placed.start, "other_checksums": placed.other_checksums, **vars(placed.record)}
                for placed in sequences
            ],
            "left_out": [vars(left) for left in left_out],
        }
        text = json.dumps(content).encode()
        *others, last = self._files
        for file in others:
            file.close()
        last.truncate(end)
        last.seek(end)
        last.write(text + _SEAL.pack(_MAGIC, end, len(text), crc32(text)))
        last.close()
        self._finished = True
        return self._temporary


def _set_starts(joint_counts: tuple[int, ...], num_rows: int) -> list[int]:
    """Where each joint set begins in a part, and where the last one ends."""
    return list(accumulate((num_rows * count * _POINT for count in joint_counts), initial=0))


def commit(temporary: Path, path: Path) -> None:
    """Bring a finished part to the disk, and to its name.

    This waits for the disk, so it is not for workers, who have more to compute.
    """
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


class Part:
    """A part that is there, opened for reading; a `ConvertedUnit`.

    Parameters
    ----------
    path
        Of the part.
    fingerprint
        That it must carry.

    Raises
    ------
    PartError
        It is damaged, or another unit's.
    OSError
        It cannot be read.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self._path = path
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _SEAL.size))
            seal = file.read(_SEAL.size)
            if len(seal) < _SEAL.size or not seal.startswith(_MAGIC):
                raise PartError(f"{path}: is no finished part")
            _, num_bytes, text_bytes, checksum = _SEAL.unpack(seal)
            if num_bytes + text_bytes + _SEAL.size != size:
                raise PartError(f"{path}: is cut short")
            file.seek(num_bytes)
            text = file.read(text_bytes)
        if crc32(text) != checksum:
            raise PartError(f"{path}: is damaged")
        try:
            content = json.loads(text)
            written_for: str = content["fingerprint"]
            self._joint_counts: tuple[int, ...] = tuple(content["joint_counts"])
            self.sequences = tuple(
                PlacedSequence(
                    start=values.pop("start"),
                    other_checksums=tuple(values.pop("other_checksums")),
                    record=SequenceRecord(**values),
                )
                for values in content["sequences"]
            )
            self.left_out = tuple(LeftOut(**values) for values in content["left_out"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PartError(f"{path}: is not a part of this version ({error})") from error
        if written_for != fingerprint:
            raise PartError(f"{path}: belongs to another unit")
        self._starts = _set_starts(self._joint_counts, num_bytes // max(1, sum(self._joint_counts) * _POINT))

    def blocks(self) -> Iterator[Positions]:
        with self._path.open("rb", buffering=0) as file:

            def read_into(first: int, rows: Positions) -> None:
                for own, start, count in zip(rows, self._starts, self._joint_counts, strict=False):
                    file.seek(start + first * count * _POINT)
                    wanted = own.reshape(-1).view(np.uint8).data
                    while len(wanted):
                        num_bytes = file.readinto(wanted)
                        if not num_bytes:
                            raise PartError(f"{self._path}: is cut short")
                        wanted = wanted[num_bytes:]

            yield from checked_blocks(self.sequences, self._joint_counts, read_into, str(self._path))


def checked_blocks(
    sequences: Sequence[PlacedSequence],
    joint_counts: tuple[int, ...],
    read_into: Callable[[int, Positions], None],
    where: str,
) -> Iterator[Positions]:
    """Positions of `sequences` in blocks of at most `BLOCK_ROWS`, each sequence compared with its checksums.

    Parameters
    ----------
    joint_counts
        Joints of each set.
    read_into
        Fills arrays with the rows from a given one on.
    where
        What is read, for the message.

    Raises
    ------
    PartError
        A sequence is not what was written.
    """
    block = [np.empty((BLOCK_ROWS, count, 3), "<f4") for count in joint_counts]
    waiting = iter(sequences)
    placed, seen = next(waiting, None), 0
    checksums: tuple[int, ...] | None = None
    while placed is not None:
        # As many rows as lie one after another, through as many sequences as fit.
        first, filled = placed.start + seen, 0
        pieces: list[tuple[PlacedSequence, int, int]] = []
        while placed is not None and filled < BLOCK_ROWS and placed.start + seen == first + filled:
            count = min(placed.record.length - seen, BLOCK_ROWS - filled)
            pieces.append((placed, filled, filled + count))
            filled, seen = filled + count, seen + count
            if seen == placed.record.length:
                placed, seen = next(waiting, None), 0
        rows = tuple(own[:filled] for own in block)
        read_into(first, rows)
        for piece, begin, end in pieces:
            checksums = checksums_of(tuple(own[begin:end] for own in rows), checksums)
            if first + end == piece.start + piece.record.length:
                if checksums != (piece.record.checksum, *piece.other_checksums):
                    raise PartError(f"{where}: the positions of {piece.record.key} are damaged")
                checksums = None
        yield rows


def checksums_of(positions_3d: Positions, before: tuple[int, ...] | None) -> tuple[int, ...]:
    """CRC-32 of each joint set's positions, as little-endian float32, going on from those of the rows `before`."""
    return tuple(
        crc32(np.ascontiguousarray(own, "<f4").data, checksum)
        for own, checksum in zip(positions_3d, before or (0,) * len(positions_3d), strict=True)
    )
