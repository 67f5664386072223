"""What a build did: converted, left out and why, for people and machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class LeftOut:
    """A file that was not converted, and why, in words that its owner can act on."""

    dataset: str
    path: str
    reason: str


@dataclass(frozen=True)
class DatasetRow:
    """One dataset's numbers."""

    dataset: str
    subjects: int
    sequences: int
    source_frames: int
    frames: int
    without_dmpls: int
    left_out: int


@dataclass(frozen=True)
class BuildReport:
    """What `h36m_amass.build` returns.

    Attributes
    ----------
    store
        Path of the store.
    datasets
        A row a dataset, in sorted order.
    left_out
        Every file that could have been a sequence and was not converted.
    ignored
        How many files of which kind are no recordings (licences, ``shape.npz`` ...).
    not_selected
        How many recordings were not of the subset that was asked for, by the attribute of `h36m_amass.Subset` that
        said so first.
    use_dmpls
        Whether soft tissue was asked for.
    without_dmpls
        Paths of the recordings that were converted with zero soft tissue, because they have none. Those of SMPL-X,
        which knows no soft tissue, do not count.
    reused
        How many sequences were taken over from an interrupted build, or from the store that was there.
    synthetic
        True if anything that went in was made up.
    device
        Where it was computed; several with commas between them.
    seconds
        From start to end.
    shard
        As ``3/16`` of a build of that shard alone: datasets, what was left out on reading, and the like are then those
        of its share, and what was left out for its header, ignored or not selected is told by the build that puts the
        store together. None otherwise.
    """

    store: str
    datasets: tuple[DatasetRow, ...]
    left_out: tuple[LeftOut, ...]
    ignored: Mapping[str, int]
    not_selected: Mapping[str, int]
    use_dmpls: bool
    without_dmpls: tuple[str, ...]
    reused: int
    synthetic: bool
    device: str
    seconds: float
    shard: str | None = None

    @property
    def frames(self) -> int:
        """Frames written."""
        return sum(row.frames for row in self.datasets)

    @property
    def source_frames(self) -> int:
        """Frames of the recordings that were converted."""
        return sum(row.source_frames for row in self.datasets)

    def to_json(self) -> str:
        """The report as a JSON object, its keys the attributes' names."""
        return json.dumps(asdict(self), indent=2) + "\n"
