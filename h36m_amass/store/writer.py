"""Writing a store, front to back: sequences as they come, and then all that is said about them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float32

from h36m_amass.store import extents, footer
from h36m_amass.store.format import (
    CHUNK_FRAMES,
    DETECTIONS,
    FORMAT,
    FORMAT_VERSION,
    INDEX_COLUMNS,
    UNFINISHED,
    JointSet,
    SequenceRecord,
    StoreHeader,
    header_attributes,
    header_object,
)
from h36m_amass.store.writable_file import WritableFile

Positions = tuple[Float32[np.ndarray, "frames joints axes"], ...]
"""The same frames, an array for each joint set, and one for each camera's detections."""
BUFFERED_FRAMES = 64 * CHUNK_FRAMES
"""HDF5 gets frames in such blocks, wherever sequences end: then its chunks are whole, and lie where they always do."""


class StoreWriter:
    """Writes a store of at least one joint set: `append` in the order of the index, then `finish`. It replaces a file.

    With `cameras` each block has a detector's joints in the images of each, in pixels, for those of the first set.
    A write that fails, because the disk is full say, raises its `OSError` at the end of the call; then only `close`.
    """

    def __init__(
        self, path: Path, joint_sets: Sequence[JointSet], compression: str = "none", cameras: Sequence[str] = ()
    ) -> None:
        self._path, self._joint_sets = path, tuple(joint_sets)
        path.unlink(missing_ok=True)
        self._target = WritableFile(path)
        self._file = _new_file(path, self._target)
        self._file.attrs["format"], self._file.attrs["format_version"] = UNFINISHED, FORMAT_VERSION
        self._groups = [self._file]
        if self._joint_sets[1:] or cameras:
            parent = _new_group(self._file.id, "joint_sets")
            self._groups += [h5py.Group(_new_group(parent, joint_set.name)) for joint_set in self._joint_sets[1:]]
        self._frames, self._buffers = [(group, "positions_3d") for group in self._groups], list[np.ndarray]()
        for group, joint_set in zip(self._groups, self._joint_sets, strict=True):
            _write_joint_set(group, joint_set, compression)
        if cameras:
            detections = h5py.Group(_new_group(_new_group(parent, self._joint_sets[0].name), DETECTIONS))
            for camera in cameras:
                _new_frames(detections, camera, (len(self._joint_sets[0].skeleton), 2), compression)
                self._frames.append((detections, camera))
        for group, name in self._frames:
            self._buffers.append(np.empty((BUFFERED_FRAMES, *group[name].shape[1:]), np.float32))
        self._num_buffered = self._num_flushed = 0
        self._views = _Views(self._file, len(self._joint_sets[0].skeleton))
        self._records: list[SequenceRecord] = []
        self._starts: list[int] = []
        self._other_checksums: list[tuple[int, ...]] = []

    def append(
        self, record: SequenceRecord, blocks: Iterable[Positions], other_checksums: tuple[int, ...] = ()
    ) -> None:
        """Write the next sequence, whose row of the index is `record`: `blocks` are positions, cut along the frames.

        `other_checksums` are those in the joint sets behind the first. Raises `ValueError` if the record does not fit.
        """
        start = self._num_flushed + self._num_buffered
        for block in blocks:
            self._buffer(block)
        end = self._num_flushed + self._num_buffered
        if end - start != record.length or len(other_checksums) != len(self._joint_sets) - 1:
            raise ValueError(f"{record.key}: {end - start} frames and {1 + len(other_checksums)} joint sets were given")
        self._views.add(record, start)
        self._records.append(record)
        self._starts.append(start)
        self._other_checksums.append(other_checksums)
        self._target.check()

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        self._target.sync()
        self._target.check()

    def finish(self, header: StoreHeader) -> None:
        """Write the index and the header, append the footer; the file is whole and on the disk when this returns."""
        if tuple(header.joint_sets) != self._joint_sets:
            raise ValueError("the header is that of other joint sets")
        self._flush()
        self._file.flush()
        tail_start = self._file.id.get_filesize()
        columns = {name: [getattr(r, name) for r in self._records] for name in INDEX_COLUMNS if name != "start"}
        index = h5py.Group(_new_group(self._file.id, "index"))
        _write_columns(index, INDEX_COLUMNS, {**columns, "start": self._starts})
        for number, (group, name) in enumerate(self._frames):
            listed = extents.of_chunks(group[name])
            if listed is not None:
                group.create_dataset(extents.name_for(name), data=np.array(listed, "<i8"))
            if 0 < number < len(self._groups):
                checksums = [others[number - 1] for others in self._other_checksums]
                _write_columns(group, {"checksum": "<u4"}, {"checksum": checksums})
        text = np.bytes_(json.dumps(header_object(header), sort_keys=True).encode("utf-8"))
        self._file.create_dataset("header", data=text, dtype=h5py.string_dtype("utf-8", text.itemsize))
        self._file.attrs.update({**header_attributes(header), "format": FORMAT})
        self._file.close()
        self._target.check()
        footer.write(self._path, tail_start)
        self.sync()

    def close(self) -> None:
        """Close the file, as it is if it is not finished."""
        self._file.close()
        self._target.close()

    def _buffer(self, block: Positions) -> None:
        """Take over frames, and write what is whole."""
        done, num_frames = 0, len(block[0])
        while done < num_frames:
            count = min(num_frames - done, BUFFERED_FRAMES - self._num_buffered)
            for buffer, positions in zip(self._buffers, block, strict=True):
                buffer[self._num_buffered : self._num_buffered + count] = positions[done : done + count]
            self._num_buffered, done = self._num_buffered + count, done + count
            if self._num_buffered == BUFFERED_FRAMES:
                self._flush()

    def _flush(self) -> None:
        if not self._num_buffered:
            return
        end = self._num_flushed + self._num_buffered
        for (group, name), buffer in zip(self._frames, self._buffers, strict=True):
            group[name].resize(end, axis=0)
            group[name][self._num_flushed :] = buffer[: self._num_buffered]
        self._num_flushed, self._num_buffered = end, 0
        self._target.check()


class _Views:
    """Sequences by name, for readers of HDF5 alone. h5py's high-level calls would take several times as long."""

    def __init__(self, file: h5py.File, num_joints: int) -> None:
        self._joint_shape = (num_joints, 3)
        self._groups: dict[tuple[str, ...], h5py.h5g.GroupID] = {(): _new_group(file.id, "sequences")}
        self._rows, self._space = (h5py.h5s.create_simple((0, *self._joint_shape)) for _ in range(2))
        self._properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        self._properties.set_obj_track_times(False)

    def add(self, record: SequenceRecord, start: int) -> None:
        shape = (record.length, *self._joint_shape)
        self._rows.set_extent_simple((start + record.length, *self._joint_shape))
        self._rows.select_hyperslab((start, 0, 0), shape)
        self._space.set_extent_simple(shape)
        self._properties.set_layout(h5py.h5d.VIRTUAL)  # without the rows of the view before
        self._properties.set_virtual(self._space, b".", b"positions_3d", self._rows)
        parent = self._group(record.dataset, record.subject)
        group = _new_group(parent, record.sequence)
        h5py.h5d.create(group, b"positions_3d", h5py.h5t.IEEE_F32LE, self._space, dcpl=self._properties)

    def _group(self, *names: str) -> h5py.h5g.GroupID:
        if names not in self._groups:
            self._groups[names] = _new_group(self._group(*names[:-1]), names[-1])
        return self._groups[names]


def _new_group(parent: h5py.h5g.GroupID, name: str) -> h5py.h5g.GroupID:
    return h5py.h5g.create(parent, name.encode(), gcpl=_GROUP_PROPERTIES)


# Times of creation would be stamped on the groups, and no two builds would be alike.
_GROUP_PROPERTIES = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
_GROUP_PROPERTIES.set_obj_track_times(False)


def _new_file(path: Path, target: WritableFile) -> h5py.File:
    """A new HDF5 file of the format of HDF5 1.10, which has views, and indexes for chunks that are appended."""
    creation, access = h5py.h5p.create(h5py.h5p.FILE_CREATE), h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    creation.set_obj_track_times(False)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, target)
    return h5py.File(h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, creation, access))


def _write_joint_set(group: h5py.Group, joint_set: JointSet, compression: str) -> None:
    """The skeleton of a joint set, and its positions, still empty."""
    bones = h5py.Group(_new_group(group.id, "skeleton"))
    _write_columns(bones, {"joint_names": str}, {"joint_names": joint_set.skeleton.joint_names})
    for name in ("parents", "left", "right"):
        bones.create_dataset(name, data=np.array(getattr(joint_set.skeleton, name), dtype="<i8"))
    _new_frames(group, "positions_3d", (len(joint_set.skeleton), 3), compression)


def _new_frames(group: h5py.Group, name: str, joint_shape: tuple[int, int], compression: str) -> None:
    """A dataset for frames, still without any."""
    packing = {} if compression == "none" else {"compression": compression, "shuffle": True}
    empty, extent, chunks = ((rows, *joint_shape) for rows in (0, None, CHUNK_FRAMES))
    group.create_dataset(name, empty, "<f4", maxshape=extent, chunks=chunks, **packing)


def _write_columns(group: h5py.Group, kinds: Mapping[str, type | str], columns: Mapping[str, Sequence[Any]]) -> None:
    """One dataset per column, strings of a fixed length."""
    for name, kind in kinds.items():
        if kind is str:
            encoded = np.array([str(value).encode("utf-8") for value in columns[name]], dtype=np.bytes_)
            dtype = h5py.string_dtype("utf-8", length=max(1, encoded.dtype.itemsize))
            group.create_dataset(name, data=encoded.astype(dtype), dtype=dtype)
        else:
            group.create_dataset(name, data=np.asarray(columns[name], dtype=kind))
