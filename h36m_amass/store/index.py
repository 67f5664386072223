"""The index of a store in columns: one row per sequence, which becomes a `SequenceRecord` on request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from jaxtyping import Int, Shaped

from h36m_amass.store.format import ADDED, INDEX_COLUMNS, SequenceRecord
from h36m_amass.store.header import DAMAGE, bounded

if TYPE_CHECKING:
    import pandas
    import polars


class Index(Mapping[str, np.ndarray]):
    """Columns by name, those of `INDEX_COLUMNS`, each an array with an entry for each of the store's `rows`."""

    def __init__(self, columns: Mapping[str, Shaped[np.ndarray, "sequences"]], rows: Int[np.ndarray, "sequences"]):
        self._columns, self.rows = columns, rows

    def __getitem__(self, column: str) -> Shaped[np.ndarray, "sequences"]:
        values = self._columns[column]
        return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"<Index of {len(self.rows):,} sequences: {', '.join(self)}>"

    @property
    def starts(self) -> Int[np.ndarray, "sequences"]:
        """First row of each sequence in the store's positions."""
        return self._columns["start"]

    @property
    def lengths(self) -> Int[np.ndarray, "sequences"]:
        """Frames of each sequence."""
        return self._columns["length"]

    def texts(self, column: str) -> list[str]:
        """A column of strings."""
        return [value.decode("utf-8") for value in self._columns[column].tolist()]

    def names(self) -> list[tuple[str, str, str]]:
        """Dataset, subject and sequence of each."""
        return list(zip(*(self.texts(name) for name in ("dataset", "subject", "sequence")), strict=True))

    def record(self, number: int) -> SequenceRecord:
        """One row as a record."""
        values = {name: self._columns[name][number].item() for name in INDEX_COLUMNS if name != "start"}
        row: Any = {key: v.decode("utf-8") if isinstance(v, bytes) else v for key, v in values.items()}
        return SequenceRecord(**row)

    def take(self, numbers: Int[np.ndarray, "taken"]) -> Index:
        """The index of some of the sequences, in the order given."""
        return Index({name: values[numbers] for name, values in self._columns.items()}, self.rows[numbers])

    def to_pandas(self) -> pandas.DataFrame:
        """As a pandas frame, labelled with the store's rows; needs pandas."""
        import pandas

        return pandas.DataFrame(dict(self), index=pandas.Index(self.rows, name="row"))

    def to_polars(self) -> polars.DataFrame:
        """As a polars frame, with the store's rows in the column ``row``; needs polars."""
        import polars

        return polars.DataFrame({"row": self.rows, **self})


def joined(indexes: Sequence[Index], first_rows: Int[np.ndarray, "indexes"]) -> Index:
    """The indexes of several stores one after another, where the positions of each begin at a row of all positions."""
    columns = {name: np.concatenate([index._columns[name] for index in indexes]) for name in INDEX_COLUMNS}
    counts = [len(index.rows) for index in indexes]
    columns["start"] = columns["start"] + np.repeat(first_rows, counts)
    return Index(columns, np.arange(sum(counts)))


def read(file: h5py.File, joint_set: h5py.Group, num_frames: int) -> Index:
    """The index of a store of `num_frames` frames, with the checksums of the joint set in that group.

    Raises `ValueError` if a column is missing or of another type or length, a key comes twice, a recording would lie
    outside the AMASS folder, or the sequences do not lie one after another and make up all frames.
    """
    try:
        # The first stores of this format have no column for what a recording's file said.
        stored_names = {name: name if name in file["index"] else ADDED.get(name, name) for name in INDEX_COLUMNS}
        columns = {name: bounded(file["index"][column]) for name, column in stored_names.items()}
        if joint_set != file:
            columns["checksum"] = bounded(joint_set["checksum"])
    except DAMAGE as error:
        raise ValueError(str(error)) from error
    lengths = {values.size for values in columns.values()}
    if len(lengths) != 1 or any(values.ndim != 1 for values in columns.values()):
        raise ValueError("its columns differ in length")
    for name, kind in INDEX_COLUMNS.items():
        if columns[name].dtype.kind != ("S" if kind is str else np.dtype(kind).kind):
            raise ValueError(f"its column {name} holds {columns[name].dtype}")
    index = Index(columns, np.arange(lengths.pop()))
    ends = np.cumsum(index.lengths)
    sizes_fit = (index.lengths >= 1).all() and (index.lengths <= num_frames).all()
    if not sizes_fit or ends[-1:].sum() != num_frames or (index.starts != ends - index.lengths).any():
        raise ValueError("its sequences do not make up the frames")
    if not (index["frame_rate"] > 0).all():
        raise ValueError("a frame rate is not positive")
    keys = index.names()
    names = {name for key in keys for name in key}
    names.update(name for path in index.texts("source_path") for name in path.split("/"))
    for column in ("model", "gender", "content_digest"):
        index.texts(column)  # or raises `UnicodeDecodeError`, a `ValueError`
    for name in names:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"{name!r} is not a name")
    if len(set(keys)) != len(keys):
        raise ValueError("a key comes twice")
    return index
