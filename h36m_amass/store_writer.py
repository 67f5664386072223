"""Writing a store, front to back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float32

from h36m_amass.sealing import seal
from h36m_amass.store_format import (
    CHUNK_FRAMES,
    FORMAT,
    FORMAT_VERSION,
    INDEX_COLUMNS,
    UNFINISHED,
    UNIT_COLUMNS,
    JointSet,
    SequenceRecord,
    StoreHeader,
    UnitRecord,
    header_text,
)
from h36m_amass.writable_file import WritableFile


class StoreWriter:
    """Writes a store front to back: frames with `append`, the sequences that they make up with `add`, then `finish`.

    A write that fails, because the disk is full say, raises its `OSError` at the end of the call; only `close` is
    possible then.

    Parameters
    ----------
    path
        File to make; an existing one is replaced.
    header
        What the store says of itself.
    compression
        ``"none"``, ``"lzf"`` or ``"gzip"``.
    """

    def __init__(self, path: Path, header: StoreHeader, compression: str = "none") -> None:
        self._path = path
        path.unlink(missing_ok=True)
        self._target = WritableFile(path)
        self._file = h5py.File(self._target, "w")
        self._header = header
        self._write_header(header)
        self._sets = [self._make_joint_set(own, compression) for own in header.joint_sets]
        # The first set is also where readers of one set look.
        self._file["positions_3d"] = self._sets[0]
        self._file["skeleton"] = self._file[f"joint_sets/{header.joint_sets[0].name}/skeleton"]
        self._positions = self._file["positions_3d"]
        self._joint_shape = (len(header.joint_sets[0].skeleton), 3)
        self._units: list[UnitRecord] = []
        self._records: list[SequenceRecord] = []
        self._other_checksums: list[tuple[int, ...]] = []
        self._starts: list[int] = []
        self._num_entered = 0
        self._subjects: dict[str, h5py.Group] = {}
        self._scalar = h5py.h5s.create(h5py.h5s.SCALAR)
        self._string_type = h5py.h5t.py_create(h5py.string_dtype(), logical=True)
        self._string_in_memory = h5py.h5t.py_create(h5py.string_dtype())

    def append(self, positions_3d: Float32[np.ndarray, "frames joints 3"]) -> None:
        """Write the next frames, the joints of each set behind those of the one before."""
        written, end = len(self._positions), 0
        for dataset in self._sets:
            dataset.resize(written + len(positions_3d), axis=0)
            begin, end = end, end + dataset.shape[1]
            dataset[written:] = positions_3d[:, begin:end]
        self._target.check()

    def add(self, record: SequenceRecord, other_checksums: tuple[int, ...] = ()) -> None:
        """Enter the next sequence, whose frames have been appended.

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
        _write_columns(self._file.create_group("index"), INDEX_COLUMNS, columns)
        for number, own in enumerate(self._header.joint_sets):
            group = self._file["joint_sets"][own.name]
            if number == 0:
                group["checksum"] = self._file["index/checksum"]
            else:
                _write_columns(
                    group, {"checksum": "<u4"}, {"checksum": [others[number - 1] for others in self._other_checksums]}
                )
        columns = {name: [getattr(unit, name) for unit in self._units] for name in UNIT_COLUMNS}
        _write_columns(self._file.create_group("units"), UNIT_COLUMNS, columns)
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
        attrs["format_version"] = FORMAT_VERSION
        attrs["software_version"] = header.software_version
        attrs["frame_rate"] = header.frame_rate
        attrs["regressor_sha256"] = header.joint_sets[0].regressor_sha256
        attrs["joint_sets"] = json.dumps({"names": [own.name for own in header.joint_sets]})
        regressors = {own.name: own.regressor_sha256 for own in header.joint_sets}
        attrs["regressors_sha256"] = json.dumps(regressors, sort_keys=True)
        attrs["body_model_sha256"] = json.dumps(dict(header.body_model_sha256), sort_keys=True)
        attrs["options"] = json.dumps(dict(header.options), sort_keys=True)
        attrs["synthetic"] = header.synthetic

    def _make_joint_set(self, joint_set: JointSet, compression: str) -> h5py.Dataset:
        """The group of a joint set, but for its checksums; returns its positions."""
        group = self._file.create_group(f"joint_sets/{joint_set.name}")
        bones = group.create_group("skeleton")
        _write_columns(bones, {"joint_names": str}, {"joint_names": joint_set.skeleton.joint_names})
        for name in ("parents", "left", "right"):
            bones.create_dataset(name, data=np.array(getattr(joint_set.skeleton, name), dtype="<i8"))
        joint_shape = (len(joint_set.skeleton), 3)
        return group.create_dataset(
            "positions_3d",
            shape=(0, *joint_shape),
            maxshape=(None, *joint_shape),
            chunks=(CHUNK_FRAMES, *joint_shape),
            dtype="<f4",
            compression=None if compression == "none" else compression,
            shuffle=compression != "none",
        )

    def _write_view(self, record: SequenceRecord, start: int) -> None:
        """The sequence by its name, for readers that know HDF5 and not this library."""
        shape = (record.length, *self._joint_shape)
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
        # h5py's high-level way of writing an attribute takes several times as long, for each of thousands of sequences.
        frame_rate = h5py.h5a.create(view, b"frame_rate", h5py.h5t.IEEE_F64LE, self._scalar)
        frame_rate.write(np.array(record.frame_rate), mtype=h5py.h5t.NATIVE_DOUBLE)
        gender = h5py.h5a.create(view, b"gender", self._string_type, self._scalar)
        gender.write(np.array(record.gender, dtype=h5py.string_dtype()), mtype=self._string_in_memory)


def _write_columns(
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
