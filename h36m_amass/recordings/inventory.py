"""Which datasets of AMASS a folder holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from h36m_amass.datasets import CATALOGUE, Dataset, find
from h36m_amass.files.remote import Address, place
from h36m_amass.recordings.tree import find_sequences


@dataclass(frozen=True)
class Folder:
    """A dataset's folder, and how many recordings lie in it; None for an archive, which is not looked through."""

    name: str
    recordings: int | None


@dataclass(frozen=True)
class Inventory:
    """What an AMASS folder holds of the catalogue, and beside it.

    Attributes
    ----------
    datasets
        Each dataset of the catalogue, with the folders and archives that hold it; mostly one, or none.
    unknown
        Folders and archives of no dataset of the catalogue.
    """

    datasets: tuple[tuple[Dataset, tuple[Folder, ...]], ...]
    unknown: tuple[Folder, ...]


def take_inventory(amass_dir: Path | str | Address) -> Inventory:
    """Count the recordings of each dataset, by their names alone: none is opened.

    Raises
    ------
    h36m_amass.recordings.recording.AmassError
        There is no such folder, or it holds no recording.
    """
    listing = find_sequences(place(amass_dir), open_archives=False)
    counts = Counter(file.dataset for file in listing.sequences)
    folders = [Folder(name, count) for name, count in counts.items()] + [Folder(name, None) for name in listing.closed]
    folders.sort(key=lambda folder: folder.name)
    return Inventory(
        tuple((dataset, tuple(f for f in folders if find(f.name) is dataset)) for dataset in CATALOGUE),
        tuple(folder for folder in folders if find(folder.name) is None),
    )
