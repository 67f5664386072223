"""Parts: what tasks give, kept beside the store until it is published.

A part is a plain, uncompressed npz file: for each recording and joint set a member with its positions, or a few if it
is long, and one of JSON with what the index has to know of each recording. It is written under another name and
renamed, so that one with a part's name is whole; its CRCs are checked wherever it is read.
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
from jaxtyping import Float32

from h36m_amass.errors import H36mAmassError
from h36m_amass.files.npz import NpzError, NpzReader
from h36m_amass.system import atomic_file

Positions = tuple[Float32[np.ndarray, "frames joints 3"], ...]  # the same frames of every joint set, an array each

SUFFIX, UNFINISHED_SUFFIX = ".part.npz", ".unfinished"
MAX_BYTES = 2**26
"""Bytes of positions after which a task begins another part, so that an interrupted build keeps this one."""
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
    num_blocks: int = 0  # members of each joint set that its positions are cut into


@dataclass(frozen=True)
class PartRow:
    """A converted recording in a part."""

    row: Row
    file: str  # name of the part
    name: str  # how the names of its members begin


class PartWriter:
    """Writes parts for a recipe's digest into a folder; a context manager that removes one that was not finished."""

    def __init__(self, folder: Path, recipe: str) -> None:
        self._folder, self._recipe = folder, recipe
        self._archive: zipfile.ZipFile | None = None
        self._path = folder
        self._rows: dict[str, Row] = {}
        self._num_bytes = self._num_begun = 0
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
        checksums = list[int]()
        name, num_blocks = str(self._num_begun), 0
        self._num_begun += 1
        for positions in blocks:
            checksums = checksums or [0] * len(positions)
            for number, array in enumerate(positions):
                content = np.ascontiguousarray(array, "<f4")
                member = zipfile.ZipInfo(f"{name}-{number}-{num_blocks}.npy")
                archive.writestr(member, _npy_header(content.shape) + content.tobytes())
                checksums[number] = crc32(content.data, checksums[number])
                self._num_bytes += content.nbytes
            num_blocks += 1
        self._rows[name] = replace(row, checksums=tuple(checksums), num_blocks=num_blocks, warnings=tuple(warnings))
        if self._num_bytes >= MAX_BYTES:
            self.finish()

    def finish(self) -> None:
        """Finish the part, if one was begun and holds a whole recording: its rows go to `finished`."""
        if self._archive is None or not self._rows:
            return
        content = {"recipe": self._recipe, "rows": {name: vars(row) for name, row in self._rows.items()}}
        text = np.frombuffer(json.dumps(content).encode(), np.uint8)
        self._archive.writestr(zipfile.ZipInfo(f"{ROWS}.npy"), _npy_header(text.shape, "|u1") + text.tobytes())
        self._archive.close()
        self._archive = None
        file = f"{self._path.name.removesuffix(UNFINISHED_SUFFIX)}{SUFFIX}"
        self._path.replace(self._folder / file)
        self.finished += [PartRow(row, file, name) for name, row in self._rows.items()]

    def _begin(self) -> zipfile.ZipFile:
        self._path = self._folder / f"{self._recipe[:16]}-{secrets.token_hex(8)}{UNFINISHED_SUFFIX}"
        self._archive = zipfile.ZipFile(self._path, "x", zipfile.ZIP_STORED)
        self._rows, self._num_bytes, self._num_begun = {}, 0, 0
        return self._archive


class Part:
    """A part that is opened for reading; a context manager. Raises `PartError` if it is not one, or damaged."""

    def __init__(self, path: Path) -> None:
        try:
            self._npz = NpzReader(path)
            content = json.loads(self._npz.read(ROWS).tobytes())
            self.recipe: str = content["recipe"]
            self.rows = [
                PartRow(
                    Row(**{**row, "checksums": tuple(row["checksums"]), "warnings": tuple(row["warnings"])}),
                    path.name,
                    name,
                )
                for name, row in content["rows"].items()
            ]
        except (NpzError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise PartError(f"is not a part of this version ({error})", path) from error

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        self._npz.__exit__()

    def blocks(self, part_row: PartRow) -> Iterator[Positions]:
        """The positions of a recording in blocks; raises `PartError` if they are damaged."""
        name, row = part_row.name, part_row.row
        try:
            for block in range(row.num_blocks):
                positions = tuple(self._npz.read(f"{name}-{number}-{block}") for number in range(len(row.checksums)))
                for array in positions:
                    if array.dtype != np.dtype("<f4"):
                        raise PartError(f"its positions are {array.dtype}, not float32", self._npz.name)
                yield positions
        except NpzError as error:
            raise PartError(str(error)) from error


def _npy_header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    """What stands before the values of an array in C order, see `numpy.lib.format`."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    length = -(-(10 + len(text) + 1) // 64) * 64 - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + f"{text:<{length - 1}}\n".encode("latin1")


def whole_rows(folder: Path, recipe: str) -> list[PartRow]:
    """The recordings of the parts of this `recipe` that are whole; a damaged part is removed."""
    rows: list[PartRow] = []
    for path in sorted(folder.glob(f"{recipe[:16]}-*{SUFFIX}")):
        try:
            with Part(path) as part:
                if part.recipe != recipe:
                    continue
                for row in part.rows:
                    for _ in part.blocks(row):
                        pass
                rows += part.rows
        except (PartError, OSError):
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
