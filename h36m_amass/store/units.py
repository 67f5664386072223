"""Which work units went into a store, so that a later build can take over what has not changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from h36m_amass.conversion.part import PlacedSequence, Positions, checked_blocks
from h36m_amass.conversion.report import LeftOut
from h36m_amass.files.remote import Address
from h36m_amass.store.format import UNIT_COLUMNS, UnitRecord
from h36m_amass.store.header import bounded, opened
from h36m_amass.store.rows import StoreError
from h36m_amass.store.store import Store


class StoredUnit:
    """A unit whose sequences are rows of a store; a `h36m_amass.conversion.part.ConvertedUnit`.

    Parameters
    ----------
    stores
        The store, read for each of its joint sets.
    first
        The unit's first row in the index.
    record
        What the store says of it.
    """

    def __init__(self, stores: Sequence[Store], first: int, record: UnitRecord) -> None:
        self._stores = stores
        index, *others = (store.index for store in stores)
        self.sequences = tuple(
            PlacedSequence(
                index.record(row), int(index.starts[row]), tuple(int(other["checksum"][row]) for other in others)
            )
            for row in range(first, first + record.sequences)
        )
        self.left_out: tuple[LeftOut, ...] = ()

    def blocks(self) -> Iterator[Positions]:
        joint_counts = tuple(len(store.skeleton) for store in self._stores)
        yield from checked_blocks(self.sequences, joint_counts, self._read_into, str(self._stores[0].path))

    def _read_into(self, start: int, rows: Positions) -> None:
        for store, own in zip(self._stores, rows, strict=True):
            store.read_into(start, own)


def stored_units(store: Store) -> dict[str, StoredUnit]:
    """The units of a store by fingerprint; none if it does not say, as an older version's does not.

    Raises
    ------
    StoreError
        What it says of them is damaged.
    """
    records = read_units(store.path)
    if records and sum(record.sequences for record in records) != len(store.sequences):
        raise StoreError(f"{store.path}: its units do not make up its sequences; build it again with --overwrite")
    firsts = accumulate((record.sequences for record in records), initial=0)
    stores = [store, *(store.with_joint_set(name) for name in store.joint_sets[1:])]
    units = {
        record.fingerprint: StoredUnit(stores, first, record) for record, first in zip(records, firsts, strict=False)
    }
    units.pop("", None)
    return units


def read_units(path: Path | Address) -> list[UnitRecord]:
    """What a store says of its units, in order.

    Raises
    ------
    StoreError
        It is damaged.
    """
    with opened(path) as (file, _):
        if "units" not in file:
            return []
        fingerprints, counts = (bounded(file["units"][name]) for name in UNIT_COLUMNS)
        if (fingerprints.dtype.kind, counts.dtype.kind) != ("S", "i") or (counts < 0).any():
            raise ValueError(f"they are {fingerprints.dtype} and {counts.dtype}")
        texts = [fingerprint.decode() for fingerprint in fingerprints.tolist()]
        return [UnitRecord(*row) for row in zip(texts, counts.tolist(), strict=True)]
