"""Which datasets of AMASS a folder holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from h36m_amass.datasets import CATALOGUE, Dataset, find
from h36m_amass.files.paths import Location, parse
from h36m_amass.recordings.tree import find_recordings


@dataclass(frozen=True)
class Folder:
    """A dataset's folder or archive, and how many recordings lie in it; None for an archive."""

    name: str
    recordings: int | None


@dataclass(frozen=True)
class Inventory:
    """Each dataset of the catalogue with the folder or archive that holds it, if there is one; and all others."""

    datasets: tuple[tuple[Dataset, tuple[Folder, ...]], ...]
    unknown: tuple[Folder, ...]


def take_inventory(amass_dir: Path | str | Location) -> Inventory:
    """Count the recordings of each dataset by their names alone; raises as `find_recordings` does."""
    listing = find_recordings(parse(amass_dir))
    counts = Counter((file.dataset, file.path.split("/")[0]) for file in listing.files)
    folders = [(dataset, Folder(name, count)) for (dataset, name), count in counts.items()]
    folders += [(archive.dataset, Folder(archive.folder, None)) for archive in listing.archives]
    folders.sort(key=lambda row: row[1].name)
    return Inventory(
        tuple((dataset, tuple(folder for name, folder in folders if name == dataset.name)) for dataset in CATALOGUE),
        tuple(folder for name, folder in folders if find(name) is None),
    )
