"""Writing a split store: data files, each a store of some of the sequences, and an index store over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from h36m_amass.store import data_files
from h36m_amass.store.data_files import source_name
from h36m_amass.store.footer import read_seal
from h36m_amass.store.format import DATA_FILE_COLUMNS, SPLIT_VERSION, DataFile, StoreHeader, UnitRecord
from h36m_amass.store.writer import CatalogueWriter, Entry, Positions, StoreWriter, write_columns


@dataclass(frozen=True)
class Split:
    """How a store is split into files.

    Attributes
    ----------
    store
        What it is going to be called.
    size
        Bytes of positions that a data file has at most, of all joint sets together and before compression, unless it
        is of one sequence.
    data_path
        Gives the file to make for the data file of a number, from 1 on.
    """

    store: Path
    size: int
    data_path: Callable[[int], Path]


class SplitWriter:
    """Writes a split store front to back, unit by unit, then `finish`.

    Parameters
    ----------
    path
        File to make for the index; an existing one is replaced.
    split
        Where the data files are cut, and what they are called.
    header, compression
        See `h36m_amass.store.writer.StoreWriter`.
    """

    def __init__(self, path: Path, split: Split, header: StoreHeader, compression: str) -> None:
        self._split, self._header, self._compression = split, header, compression
        self._row_bytes = 12 * sum(len(own.skeleton) for own in header.joint_sets)
        self._files: list[DataFile] = []
        self._frames = self._filled = 0
        self._data: StoreWriter | None = None
        self._index = _IndexWriter(path, replace(header, format_version=SPLIT_VERSION))

    def write_unit(self, unit: UnitRecord, sequences: Sequence[Entry], blocks: Iterable[Positions]) -> None:
        """Write the frames of a unit, which come in blocks, and enter its sequences, which they make up, and it."""
        rows, run = _Rows(blocks), list[Entry]()
        for entry in sequences:
            num_bytes = entry[0].length * self._row_bytes
            if self._filled and self._filled + num_bytes > self._split.size:
                self._write(run, rows)
                self._finish_data_file()
                run = []
            run.append(entry)
            self._filled += num_bytes
        self._write(run, rows)
        self._index.add_unit(unit)

    def finish(self) -> None:
        """Finish the last data file and the index; all are whole and on the disk when this returns."""
        self._finish_data_file()
        self._index.add_data_files(self._files)
        self._index.finish()

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        if self._data is not None:
            self._data.sync()
        self._index.sync()

    def close(self) -> None:
        """Close the files, as they are if they are not finished."""
        if self._data is not None:
            self._data.close()
        self._index.close()

    def _write(self, sequences: Sequence[Entry], rows: _Rows) -> None:
        """Write sequences to the data file in the making, or to a new one."""
        if not sequences:
            return
        if self._data is None:
            self._data = StoreWriter(self._split.data_path(len(self._files) + 1), self._header, self._compression)
        num_rows = sum(record.length for record, _ in sequences)
        for positions_3d in rows.take(num_rows):
            self._data.append(*positions_3d)
        for record, other_checksums in sequences:
            self._data.add(record, other_checksums)
            self._index.add(record, other_checksums)
        self._frames += num_rows

    def _finish_data_file(self) -> None:
        if self._data is None:
            return
        self._data.finish()
        self._data.close()
        number = len(self._files) + 1
        seal = read_seal(self._split.data_path(number))
        self._files.append(DataFile(data_files.name_of(self._split.store, number, seal), self._frames, *seal))
        self._data, self._frames, self._filled = None, 0, 0


class _Rows:
    """Rows that come in blocks, to be taken in other numbers; what is taken holds until more is."""

    def __init__(self, blocks: Iterable[Positions]) -> None:
        self._blocks = iter(blocks)
        self._rest: Positions | None = None

    def take(self, count: int) -> Iterator[Positions]:
        """The next `count` rows, in blocks."""
        while count:
            block = next(self._blocks) if self._rest is None else self._rest
            rows = min(count, len(block[0]))
            yield tuple(own[:rows] for own in block)
            self._rest = tuple(own[rows:] for own in block) if rows < len(block[0]) else None
            count -= rows


class _IndexWriter(CatalogueWriter):
    """Writes a store whose positions are those of data files."""

    def add_data_files(self, files: Sequence[DataFile]) -> None:
        """Make the positions of each joint set out of those of all data files, once all sequences are entered."""
        columns = {name: [getattr(own, name) for own in files] for name in DATA_FILE_COLUMNS}
        write_columns(h5py.Group(self._new_group(self._file.id, "data_files")), DATA_FILE_COLUMNS, columns)
        for joint_set, group in zip(self._header.joint_sets, self._sets, strict=True):
            joint_shape = (len(joint_set.skeleton), 3)
            rows = h5py.h5s.create_simple((self._num_entered, *joint_shape))
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_obj_track_times(False)
            # HDF5 shows this where a file is missing, and says nothing: zeros would look like positions.
            properties.set_fill_value(np.array(np.nan, "<f4"))
            start = 0
            for own in files:
                shape = (own.frames, *joint_shape)
                rows.select_hyperslab((start, 0, 0), shape)
                source = f"joint_sets/{joint_set.name}/positions_3d".encode()
                properties.set_virtual(rows, source_name(own).encode(), source, h5py.h5s.create_simple(shape))
                start += own.frames
            rows.select_all()
            h5py.h5d.create(group.id, b"positions_3d", h5py.h5t.IEEE_F32LE, rows, dcpl=properties)
        self._file["positions_3d"] = self._sets[0]["positions_3d"]
