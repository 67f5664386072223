"""The store that an update begins with: which of its sequences can be copied, and their positions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from isal.isal_zlib import crc32

from h36m_amass.body import model
from h36m_amass.body.families import BodyKind
from h36m_amass.body.joint_sets import MOTION_CAPTURE
from h36m_amass.conversion.options import BuildError
from h36m_amass.conversion.part import Positions
from h36m_amass.store.format import SequenceRecord, StoreHeader
from h36m_amass.store.store import Store
from h36m_amass.system import signals

BLOCK_FRAMES = 65536


class StoredRows:
    """The sequences of an existing store, by row of its index; a context manager.

    Those of a body model that has changed under `support_dir` are not `reusable`. Raises `StoreError` if the store is
    damaged.
    """

    def __init__(self, path: Path, support_dir: Path) -> None:
        first = Store(path)
        self.header: StoreHeader = first.header
        if first.joint_set.regressor_sha256 == MOTION_CAPTURE:
            raise BuildError("holds imported motion capture, which a build cannot update; build another store", path)
        self._stores = [first, *(first.with_joint_set(name) for name in first.joint_sets[1:])]
        rows = range(len(first.sequences))
        self.records: list[SequenceRecord] = [first.index.record(row) for row in rows]
        others = [store.index["checksum"] for store in self._stores[1:]]
        self.other_checksums = [tuple(int(column[row]) for column in others) for row in rows]
        recorded = self.header.body_model_sha256
        kinds = {kind_of(record) for record in self.records}
        same = {kind: recorded.get(kind.files_key) == model.files_sha256(support_dir, kind) for kind in kinds}
        self.reusable = {record.content_digest: row for row, record in enumerate(self.records) if same[kind_of(record)]}

    def __enter__(self) -> StoredRows:
        return self

    def __exit__(self, *_: object) -> None:
        for store in self._stores:
            store.close()

    def check(self) -> None:
        """Read all positions; raises `BuildError` if any are damaged."""
        for row in range(len(self.records)):
            signals.check()
            for _ in self.blocks(row):
                pass

    def blocks(self, row: int) -> Iterator[Positions]:
        """Positions of a sequence, in blocks; raises `BuildError` if they are damaged."""
        start, length = int(self._stores[0].index.starts[row]), self.records[row].length
        expected = (self.records[row].checksum, *self.other_checksums[row])
        checksums = (0,) * len(self._stores)
        for first in range(start, start + length, BLOCK_FRAMES):
            last = min(first + BLOCK_FRAMES, start + length)
            block: Positions = tuple(np.ascontiguousarray(store.read(first, last)) for store in self._stores)
            checksums = tuple(crc32(array.data, checksum) for array, checksum in zip(block, checksums, strict=True))
            yield block
        if checksums != expected:
            reason = f"its sequence {self.records[row].key} is damaged; build it again with --overwrite"
            raise BuildError(reason, self._stores[0].path)


def kind_of(record: SequenceRecord) -> BodyKind:
    """The kind of body that a sequence was converted with."""
    return BodyKind(record.model, record.gender, record.has_dmpls)
