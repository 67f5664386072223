"""Writing a store, front to back."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float32

from h36m_amass.store_format import (
    CHUNK_FRAMES,
    FORMAT,
    FORMAT_VERSION,
    INDEX_COLUMNS,
    SequenceRecord,
    StoreHeader,
)


class StoreWriter:
    """Writes a store front to back: the positions of each sequence in index order, then `finish`.

    Parameters
    ----------
    path
        File to make; an existing one is overwritten.
    header
        What the store says of itself.
    compression
        ``"none"``, ``"lzf"`` or ``"gzip"``.
    """

    def __init__(self, path: Path, header: StoreHeader, num_frames: int, compression: str = "none") -> None:
        self._file = h5py.File(path, "w")
        self._write_header(header)
        num_joints = len(header.skeleton)
        self._positions = self._file.create_dataset(
            "positions_3d",
            shape=(num_frames, num_joints, 3),
            maxshape=(None, num_joints, 3),
            chunks=(CHUNK_FRAMES, num_joints, 3),
            dtype="<f4",
            compression=None if compression == "none" else compression,
            shuffle=compression != "none",
        )
        self._written = 0
        self._subjects: dict[str, h5py.Group] = {}

    def append(self, positions_3d: Float32[np.ndarray, "frames joints 3"]) -> None:
        """Write the next frames."""
        self._positions[self._written : self._written + len(positions_3d)] = positions_3d
        self._written += len(positions_3d)

    def finish(self, records: list[SequenceRecord]) -> None:
        """Write the index of the sequences that were appended, and flush everything to the disk."""
        starts = np.cumsum([0, *(record.length for record in records)])[:-1]
        index = self._file.create_group("index")
        for column, kind in INDEX_COLUMNS.items():
            values = starts if column == "start" else [getattr(record, column) for record in records]
            if kind is str:
                encoded = np.array([str(value).encode("utf-8") for value in values])
                dtype = h5py.string_dtype("utf-8", length=max(1, encoded.dtype.itemsize))
                index.create_dataset(column, data=encoded.astype(dtype), dtype=dtype)
            else:
                index.create_dataset(column, data=np.asarray(values, dtype=kind))
        for record, start in zip(records, starts.tolist(), strict=True):
            self._write_view(record, start)
        self._file.flush()
        self._file.close()

    def close(self) -> None:
        """Close the file as it is, unfinished."""
        self._file.close()

    def _write_header(self, header: StoreHeader) -> None:
        attrs = self._file.attrs
        attrs["format"] = FORMAT
        attrs["format_version"] = FORMAT_VERSION
        attrs["software_version"] = header.software_version
        attrs["frame_rate"] = header.frame_rate
        attrs["regressor_sha256"] = header.regressor_sha256
        attrs["body_model_sha256"] = json.dumps(dict(header.body_model_sha256), sort_keys=True)
        attrs["options"] = json.dumps(dict(header.options), sort_keys=True)
        attrs["synthetic"] = header.synthetic
        group = self._file.create_group("skeleton")
        group.create_dataset("joint_names", data=list(header.skeleton.joint_names), dtype=h5py.string_dtype())
        for name in ("parents", "left", "right"):
            group.create_dataset(name, data=np.array(getattr(header.skeleton, name), dtype="<i8"))

    def _write_view(self, record: SequenceRecord, start: int) -> None:
        """The sequence by its name, for readers that know HDF5 and not this library."""
        shape = (record.length, *self._positions.shape[1:])
        rows, view_space = self._positions.id.get_space(), h5py.h5s.create_simple(shape)
        rows.select_hyperslab((start, 0, 0), shape)
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        # The high-level call would stamp the time of creation on every view, and no two builds would be alike.
        properties.set_obj_track_times(False)
        properties.set_virtual(view_space, b".", b"positions_3d", rows)
        parent = f"sequences/{record.dataset}/{record.subject}"
        if parent not in self._subjects:
            self._subjects[parent] = self._file.require_group(parent)
        group = h5py.h5g.create(self._subjects[parent].id, record.sequence.encode())
        view = h5py.h5d.create(group, b"positions_3d", self._positions.id.get_type(), view_space, dcpl=properties)
        _write_attribute(view, b"frame_rate", np.array(record.frame_rate))
        _write_attribute(view, b"gender", np.array(record.gender, dtype=h5py.string_dtype()))


def _write_attribute(dataset: h5py.h5d.DatasetID, name: bytes, value: np.ndarray) -> None:
    """A scalar: h5py's high-level way takes several times as long, for each of thousands of sequences."""
    dtype = h5py.h5t.py_create(value.dtype, logical=True)
    attribute = h5py.h5a.create(dataset, name, dtype, h5py.h5s.create(h5py.h5s.SCALAR))
    attribute.write(value)
