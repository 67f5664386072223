"""Writing a store, front to back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float32

from h36m_amass.store.footer import seal
from h36m_amass.store.format import (
    CHUNK_FRAMES,
    FORMAT,
    INDEX_COLUMNS,
    UNFINISHED,
    UNIT_COLUMNS,
    JointSet,
    SequenceRecord,
    StoreHeader,
    UnitRecord,
    header_text,
)
from h36m_amass.store.writable_file import WritableFile

Entry = tuple[SequenceRecord, tuple[int, ...]]
"""A sequence, and the checksums of its positions in the joint sets behind the first."""
Positions = tuple[Float32[np.ndarray, "frames joints 3"], ...]
"""The same frames of every joint set, an array each."""


class CatalogueWriter:
    """Writes all of a store but its positions: what it says of itself, and its sequences, with `add`, then `finish`.

    A write that fails, because the disk is full say, raises its `OSError` at the end of the call; only `close` is
    possible then.

    Parameters
    ----------
    path
        File to make; an existing one is replaced.
    header
        What the store says of itself.
    """

    def __init__(self, path: Path, header: StoreHeader) -> None:
        self._path = path
        path.unlink(missing_ok=True)
        self._target = WritableFile(path)
        # Times of creation would be stamped on the groups, and no two builds would be alike.
        self._group_properties = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
        self._group_properties.set_obj_track_times(False)
        self._file = _new_file(path, self._target)
        self._header = header
        self._write_header(header)
        self._joint_sets = self._new_group(self._file.id, "joint_sets")
        self._sets = [self._make_joint_set(own) for own in header.joint_sets]
        # The first set is also where readers of one set look.
        for name in ("positions_3d", "skeleton"):
            if name in self._sets[0]:
                self._file[name] = self._sets[0][name]
        self._joint_shape = (len(header.joint_sets[0].skeleton), 3)
        self._units: list[UnitRecord] = []
        self._records: list[SequenceRecord] = []
        self._other_checksums: list[tuple[int, ...]] = []
        self._starts: list[int] = []
        self._num_entered = 0
        self._sequences = self._new_group(self._file.id, "sequences")
        self._parents: dict[str, h5py.h5g.GroupID] = {}
        self._rows, self._view_space = (h5py.h5s.create_simple((0, *self._joint_shape)) for _ in range(2))
        self._view_properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        self._view_properties.set_obj_track_times(False)
        self._scalar = h5py.h5s.create(h5py.h5s.SCALAR)
        self._string = h5py.string_dtype()
        self._string_type = h5py.h5t.py_create(self._string, logical=True)
        self._string_in_memory = h5py.h5t.py_create(self._string)

    def add(self, record: SequenceRecord, other_checksums: tuple[int, ...] = ()) -> None:
        """Enter the next sequence.

        Parameters
        ----------
        other_checksums
            Of its positions in the joint sets behind the first.
        """
        self._write_view(record, self._num_entered)
        self._records.append(record)
        self._other_checksums.append(other_checksums)
        self._starts.append(self._num_entered)
        self._num_entered += record.length

    def add_unit(self, unit: UnitRecord) -> None:
        """Enter the unit that the sequences since the last one were."""
        self._units.append(unit)

    def finish(self) -> None:
        """Write the index, seal the file and close it; it is whole and on the disk when this returns."""
        columns = {name: [getattr(r, name) for r in self._records] for name in INDEX_COLUMNS if name != "start"}
        columns["start"] = self._starts
        write_columns(h5py.Group(self._new_group(self._file.id, "index")), INDEX_COLUMNS, columns)
        for number, own in enumerate(self._header.joint_sets):
            group = self._file["joint_sets"][own.name]
            if number == 0:
                group["checksum"] = self._file["index/checksum"]
            else:
                write_columns(
                    group, {"checksum": "<u4"}, {"checksum": [others[number - 1] for others in self._other_checksums]}
                )
        columns = {name: [getattr(unit, name) for unit in self._units] for name in UNIT_COLUMNS}
        write_columns(h5py.Group(self._new_group(self._file.id, "units")), UNIT_COLUMNS, columns)
        text = np.bytes_(header_text(self._header).encode("utf-8"))
        self._file.create_dataset("header", data=text, dtype=h5py.string_dtype("utf-8", text.itemsize))
        self._file.attrs["format"] = FORMAT
        self._file.close()
        self._target.check()
        seal(self._path)
        self.sync()

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        self._target.sync()
        self._target.check()

    def close(self) -> None:
        """Close the file, as it is if it is not finished."""
        self._file.close()
        self._target.close()

    def _write_header(self, header: StoreHeader) -> None:
        attrs = self._file.attrs
        attrs["format"] = UNFINISHED
        attrs["format_version"] = header.format_version
        attrs["software_version"] = header.software_version
        attrs["frame_rate"] = header.frame_rate
        attrs["regressor_sha256"] = header.joint_sets[0].regressor_sha256
        attrs["joint_sets"] = json.dumps({"names": [own.name for own in header.joint_sets]})
        regressors = {own.name: own.regressor_sha256 for own in header.joint_sets}
        attrs["regressors_sha256"] = json.dumps(regressors, sort_keys=True)
        attrs["body_model_sha256"] = json.dumps(dict(header.body_model_sha256), sort_keys=True)
        attrs["options"] = json.dumps(dict(header.options), sort_keys=True)
        attrs["synthetic"] = header.synthetic

    def _make_joint_set(self, joint_set: JointSet) -> h5py.Group:
        """The group of a joint set, but for its positions and checksums."""
        group = h5py.Group(self._new_group(self._joint_sets, joint_set.name))
        bones = h5py.Group(self._new_group(group.id, "skeleton"))
        write_columns(bones, {"joint_names": str}, {"joint_names": joint_set.skeleton.joint_names})
        for name in ("parents", "left", "right"):
            bones.create_dataset(name, data=np.array(getattr(joint_set.skeleton, name), dtype="<i8"))
        return group

    def _new_group(self, parent: h5py.h5g.GroupID, name: str) -> h5py.h5g.GroupID:
        return h5py.h5g.create(parent, name.encode(), gcpl=self._group_properties)

    def _write_view(self, record: SequenceRecord, start: int) -> None:
        """The sequence by its name, for readers that know HDF5 and not this library.

        There are thousands of them, and h5py's high-level calls take several times as long.
        """
        shape = (record.length, *self._joint_shape)
        self._rows.set_extent_simple((start + record.length, *self._joint_shape))
        self._rows.select_hyperslab((start, 0, 0), shape)
        self._view_space.set_extent_simple(shape)
        properties = self._view_properties.copy()
        properties.set_virtual(self._view_space, b".", b"positions_3d", self._rows)
        parent = self._sequences
        for name in (record.dataset, f"{record.dataset}/{record.subject}"):
            if name not in self._parents:
                self._parents[name] = self._new_group(parent, name.rpartition("/")[2])
            parent = self._parents[name]
        group = self._new_group(parent, record.sequence)
        view = h5py.h5d.create(group, b"positions_3d", h5py.h5t.IEEE_F32LE, self._view_space, dcpl=properties)
        frame_rate = h5py.h5a.create(view, b"frame_rate", h5py.h5t.IEEE_F64LE, self._scalar)
        frame_rate.write(np.array(record.frame_rate), mtype=h5py.h5t.NATIVE_DOUBLE)
        gender = h5py.h5a.create(view, b"gender", self._string_type, self._scalar)
        gender.write(np.array(record.gender, dtype=self._string), mtype=self._string_in_memory)


class StoreWriter(CatalogueWriter):
    """Writes a store in one file, front to back: frames with `append`, the sequences that they make up with `add`.

    Parameters
    ----------
    path, header
        See `CatalogueWriter`.
    compression
        ``"none"``, ``"lzf"`` or ``"gzip"``.
    """

    def __init__(self, path: Path, header: StoreHeader, compression: str = "none") -> None:
        self._compression = compression
        self._num_written = 0
        super().__init__(path, header)
        self._positions = [group["positions_3d"] for group in self._sets]

    def write_unit(self, unit: UnitRecord, sequences: Sequence[Entry], blocks: Iterable[Positions]) -> None:
        """Write the frames of a unit, which come in blocks, and enter its sequences, which they make up, and it."""
        for positions_3d in blocks:
            self.append(*positions_3d)
        for record, other_checksums in sequences:
            self.add(record, other_checksums)
        self.add_unit(unit)

    def append(self, *positions_3d: Float32[np.ndarray, "frames joints 3"]) -> None:
        """Write the next frames, an array for each joint set."""
        written = self._num_written
        self._num_written += len(positions_3d[0])
        for dataset, own in zip(self._positions, positions_3d, strict=True):
            dataset.resize(self._num_written, axis=0)
            dataset[written:] = own
        self._target.check()

    def _make_joint_set(self, joint_set: JointSet) -> h5py.Group:
        group = super()._make_joint_set(joint_set)
        joint_shape = (len(joint_set.skeleton), 3)
        group.create_dataset(
            "positions_3d",
            shape=(0, *joint_shape),
            maxshape=(None, *joint_shape),
            chunks=(CHUNK_FRAMES, *joint_shape),
            dtype="<f4",
            compression=None if self._compression == "none" else self._compression,
            shuffle=self._compression != "none",
        )
        return group


def _new_file(path: Path, target: WritableFile) -> h5py.File:
    """A new HDF5 file of the format of HDF5 1.8, of which groups take half as much room and less time than before."""
    creation, access = h5py.h5p.create(h5py.h5p.FILE_CREATE), h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    creation.set_obj_track_times(False)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_libver_bounds(h5py.h5f.LIBVER_V18, h5py.h5f.LIBVER_V110)  # views are of 1.10
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, target)
    return h5py.File(h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, creation, access))


def write_columns(
    group: h5py.Group, kinds: Mapping[str, type | str], columns: Mapping[str, Sequence[str | float]]
) -> None:
    """One dataset a column, strings of a fixed length."""
    for name, kind in kinds.items():
        if kind is str:
            encoded = np.array([str(value).encode("utf-8") for value in columns[name]], dtype=np.bytes_)
            dtype = h5py.string_dtype("utf-8", length=max(1, encoded.dtype.itemsize))
            group.create_dataset(name, data=encoded.astype(dtype), dtype=dtype)
        else:
            group.create_dataset(name, data=np.asarray(columns[name], dtype=kind))
