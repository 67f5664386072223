"""Parts: what tasks give, kept beside the store until it is published.

A part is a plain, uncompressed npz file: the frames of its recordings one after another, cut into blocks of one length
with a member for each joint set, and a member of JSON with what the index has to know of each recording. It is written
under another name and renamed, so that one with a part's name is whole; its CRCs are checked wherever it is read.
"""

from __future__ import annotations

import json
import re
import secrets
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from isal.isal_zlib import crc32

from h36m_amass.errors import H36mAmassError
from h36m_amass.files.npz import NpzError, NpzReader
from h36m_amass.store.frame_buffer import FrameBuffer
from h36m_amass.store.frame_buffer import Positions as Positions
from h36m_amass.system import atomic_file

SUFFIX, UNFINISHED_SUFFIX = ".part.npz", ".unfinished"
MAX_BYTES = 2**26
"""Bytes of positions after which a task begins another part, so that an interrupted build keeps this one."""
BLOCK_FRAMES = 1024
"""Frames of a block: a member costs as much as several hundred frames, and is read whole for any frame in it."""
ROWS = "rows"  # name of the member of JSON
_TOKEN = r"[0-9a-f]{16}-[0-9a-f]{16}"
_PART = re.compile(rf"{_TOKEN}{re.escape(SUFFIX)}")
_PASSING = re.compile(
    rf"{_TOKEN}{re.escape(UNFINISHED_SUFFIX)}|scratch-[0-9a-f]{{16}}|"
    rf"folded-[0-9a-f]{{32}}\.(lock|npz({re.escape(atomic_file.SUFFIX)})?)"
)


class PartError(H36mAmassError):
    """A part is not what was written."""


@dataclass(frozen=True)
class Row:
    """What the index, and a later run of the same build, have to know of a converted recording."""

    # Where the recording lies, its bytes and its time of change, as in `h36m_amass.recordings.tree.RecordingFile`.
    path: str
    size: int
    modified: int
    length: int  # as in `h36m_amass.store.format.SequenceRecord`
    frame_rate: float
    source_frames: int
    source_frame_rate: float
    recorded_frame_rate: float
    model: str
    gender: str
    has_dmpls: bool
    content_digest: str
    body_sha256: str  # digest of the body model's files
    synthetic: bool  # whether the recording or its body model says that it was made up
    checksums: tuple[int, ...] = ()  # CRC-32 of the positions of each joint set, as little-endian float32
    warnings: tuple[str, ...] = ()  # about the recording
    start: int = 0  # its first frame in the part, and the one behind its last
    stop: int = 0


@dataclass(frozen=True)
class PartRow:
    """A converted recording in a part."""

    row: Row
    file: str  # name of the part


class PartWriter:
    """Writes parts for a recipe's digest into a folder; a context manager that removes one that was not finished."""

    def __init__(self, folder: Path, recipe: str) -> None:
        self._folder, self._recipe = folder, recipe
        self._archive: zipfile.ZipFile | None = None
        self._path = folder
        self._rows: list[Row] = []
        self._buffer = FrameBuffer(BLOCK_FRAMES)
        self._num_bytes = self._num_blocks = 0
        self.finished: list[PartRow] = []  # of all parts that are whole

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._archive is not None:
            with suppress(OSError, ValueError):  # a full disk says so twice
                self._archive.close()
            self._path.unlink(missing_ok=True)

    def write(self, row: Row, blocks: Iterable[Positions], warnings: Iterable[str] = ()) -> None:
        """Write a recording's positions, which may fail half-way, and then its row; begin another part if this is full.

        `warnings` may grow while the blocks come, and are taken after the last one. What was written of a recording
        that failed stays in the part, and no row leads to it.
        """
        archive = self._archive or self._begin()
        start, checksums = self._buffer.num_frames, list[int]()
        for positions in blocks:
            arrays = tuple(np.ascontiguousarray(array, "<f4") for array in positions)
            checksums = checksums or [0] * len(arrays)
            checksums = [crc32(array.data, before) for array, before in zip(arrays, checksums, strict=True)]
            self._write_blocks(archive, self._buffer.add(arrays))
            self._num_bytes += sum(array.nbytes for array in arrays)
        stop, texts = self._buffer.num_frames, tuple(warnings)
        self._rows.append(replace(row, checksums=tuple(checksums), warnings=texts, start=start, stop=stop))
        if self._num_bytes >= MAX_BYTES:
            self.finish()

    def finish(self) -> None:
        """Finish the part, if one was begun and holds a whole recording: its rows go to `finished`."""
        if self._archive is None or not self._rows:
            return
        self._write_blocks(self._archive, self._buffer.rest())
        content = {"recipe": self._recipe, "block_frames": BLOCK_FRAMES, "rows": [vars(row) for row in self._rows]}
        _write_member(self._archive, ROWS, np.frombuffer(json.dumps(content).encode(), np.uint8))
        self._archive.close()
        self._archive = None
        file = f"{self._path.name.removesuffix(UNFINISHED_SUFFIX)}{SUFFIX}"
        self._path.replace(self._folder / file)
        self.finished += [PartRow(row, file) for row in self._rows]

    def _begin(self) -> zipfile.ZipFile:
        self._path = self._folder / f"{self._recipe[:16]}-{secrets.token_hex(8)}{UNFINISHED_SUFFIX}"
        self._archive = zipfile.ZipFile(self._path, "x", zipfile.ZIP_STORED)
        self._rows, self._buffer = [], FrameBuffer(BLOCK_FRAMES)
        self._num_bytes = self._num_blocks = 0
        return self._archive

    def _write_blocks(self, archive: zipfile.ZipFile, blocks: Iterable[Positions]) -> None:
        for block in blocks:
            for number, array in enumerate(block):
                _write_member(archive, f"{self._num_blocks}-{number}", array)
            self._num_blocks += 1


class Part:
    """A part that is opened for reading; a context manager. All raise `PartError` or `NpzError` if it is damaged."""

    def __init__(self, path: Path) -> None:
        self._path, self._npz = path, NpzReader(path)
        self._block: tuple[int, Positions] = -1, ()  # the last that was read, and its number

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        self._npz.__exit__()

    def rows(self, recipe: str) -> list[PartRow]:
        """Its recordings; none if it is of another `recipe`."""
        try:
            content = json.loads(self._npz.read(ROWS).tobytes())
            if content["block_frames"] != BLOCK_FRAMES:
                raise ValueError(f"blocks of {content['block_frames']} frames")
            rows = content["rows"] if content["recipe"] == recipe else []
            rows = [{name: tuple(v) if isinstance(v, list) else v for name, v in row.items()} for row in rows]
            return [PartRow(Row(**row), self._path.name) for row in rows]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PartError(f"is not a part of this version ({error})", self._path) from error

    def blocks(self, part_row: PartRow) -> Iterator[Positions]:
        """The positions of a recording in blocks."""
        row = part_row.row
        for number in range(row.start // BLOCK_FRAMES, -(-row.stop // BLOCK_FRAMES)):
            if self._block[0] != number:  # otherwise it was read for the recording before
                self._block = number, tuple(self._npz.read(f"{number}-{i}") for i in range(len(row.checksums)))
            first = number * BLOCK_FRAMES
            for array in self._block[1]:
                if array.dtype != np.dtype("<f4"):
                    raise PartError(f"its positions are {array.dtype}, not float32", self._path)
            yield tuple(array[max(0, row.start - first) : row.stop - first] for array in self._block[1])


def _write_member(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:  # whose time stamp is always the same
        np.lib.format.write_array_header_1_0(member, np.lib.format.header_data_from_array_1_0(array))
        member.write(array.data)


def whole_rows(folder: Path, recipe: str) -> list[PartRow]:
    """The recordings of the parts of this `recipe` that are whole; a damaged part is removed."""
    rows: list[PartRow] = []
    for path in sorted(folder.glob(f"{recipe[:16]}-*{SUFFIX}")):
        try:
            with Part(path) as part:
                part_rows = part.rows(recipe)
                for row in part_rows:
                    for _ in part.blocks(row):
                        pass
                rows += part_rows
        except (PartError, NpzError, OSError):
            path.unlink(missing_ok=True)
    return rows


def clear_away(folder: Path, with_parts: bool) -> None:
    """Remove what a build has left in a folder of parts; whole parts only if asked, and nothing else."""
    for path in folder.glob("*"):
        if _PASSING.fullmatch(path.name) or (with_parts and _PART.fullmatch(path.name)):
            path.unlink(missing_ok=True)


def num_parts(folder: Path) -> int:
    """How many whole parts a folder holds."""
    return sum(1 for path in folder.glob(f"*{SUFFIX}") if _PART.fullmatch(path.name))
