"""The datasets that AMASS is made of, and the names that each of them has had.

An archive of AMASS's download page unpacks to a folder that is often called something else, earlier releases called
some archives otherwise, and papers have names of their own. A dataset is found under all of them.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from h36m_amass.errors import H36mAmassError
from h36m_amass.wording import first_names

HUMAN36M = "Human36M"
"""What stores call Human3.6M (Ionescu et al., PAMI 2014), which is not a dataset of AMASS."""
HUMAN36M_SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
"""Subjects of Human3.6M whose motion capture is published, in the order in which people use them."""
HUMAN36M_CAMERAS = ("54138969", "55011271", "58860488", "60457274")
NEAR, MAX_NEAREST, MAX_LISTED = 0.6, 3, 8
"""How alike two names are, from 0 to 1, if one may be a slip for the other; and how many an error names."""


class DatasetError(H36mAmassError):
    """No dataset of that name is there; the message does not say where."""


@dataclass(frozen=True)
class Dataset:
    """A dataset of AMASS and its names."""

    name: str  # the canonical one: the AMASS-to-3DHPE script's, or the archive's if that does not know it
    archive: str  # on AMASS's download page, without its ending
    folders: tuple[str, ...] = ()  # that the archive unpacks to, where that is not `name` or `archive`
    others: tuple[str, ...] = ()  # of earlier archives and in papers

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, the canonical one first, without those that differ only in their spelling."""
        spellings: dict[str, str] = {}
        for name in (self.name, self.archive, *self.folders, *self.others):
            spellings.setdefault(_spelled(name), name)
        return tuple(spellings.values())


# Archives and the folders that they unpack to: https://amass.is.tue.mpg.de/download.php, today and as it was in 2020;
# canonical names: the list in the README of https://github.com/goldbricklemon/AMASS-to-3DHPE.
DATA: dict[str, Any] = json.loads(Path(__file__).with_name("datasets.json").read_text(encoding="utf-8"))
CATALOGUE = tuple(
    Dataset(entry["name"], entry["archive"], tuple(entry.get("folders", ())), tuple(entry.get("others", ())))
    for entry in DATA["datasets"]
)


def canonical(name: str) -> str:
    """The canonical name of a dataset; an unknown name is returned as it is.

    Names match whatever their case, with or without underscores, hyphens and spaces.
    """
    known = find(name)
    return name if known is None else known.name


def find(name: str) -> Dataset | None:
    """The dataset of the catalogue that has this name, if there is one."""
    return _BY_SPELLING.get(_spelled(name))


def same(name: str) -> str:
    """A text that is the same for all names of a dataset, known to the catalogue or not."""
    spelled = _spelled(canonical(name))
    return _spelled(HUMAN36M) if spelled in ("human3.6m", "h3.6m", "h36m") else spelled


def choose(requested: Iterable[str], present: Iterable[str]) -> tuple[str, ...]:
    """Those of the datasets `present` that any of the `requested` names means, in the order of `present`.

    Several folders of one dataset of the catalogue, such as ``HDM05`` and ``MPI_HDM05``, are all meant by each of its
    names. The name of any other dataset means that folder alone, if it is there to the letter.

    Raises
    ------
    DatasetError
        One of the names means nothing that is there.
    """
    listed = tuple(present)
    chosen: set[str] = set()
    for name in requested:
        matching = [other for other in listed if same(other) == same(name)]
        if find(name) is None and name in matching:
            matching = [name]
        if not matching:
            raise DatasetError(_unknown(name, listed))
        chosen.update(matching)
    return tuple(name for name in listed if name in chosen)


def _unknown(name: str, present: tuple[str, ...]) -> str:
    """Says that a dataset is not there, and which ones that are have a name like it."""
    folders = defaultdict[str, list[str]](list)
    for folder in present:
        dataset = find(folder)
        for each in (folder, *(() if dataset is None else dataset.names)):
            folders[_spelled(each)].append(folder)
    alike = get_close_matches(_spelled(name), folders, len(folders) + 1, NEAR)
    near = list(dict.fromkeys(folder for each in alike for folder in folders[each]))[:MAX_NEAREST]
    if near:
        return f"has no dataset {name!r}; the nearest {'name is' if len(near) == 1 else 'names are'} {', '.join(near)}"
    return f"has no dataset {name!r}; it has {first_names(present, MAX_LISTED) or 'none'}"


def _spelled(name: str) -> str:
    """A name without what people write in different ways."""
    return name.translate(_IGNORED).casefold()


_IGNORED = str.maketrans("", "", "_- ")
_BY_SPELLING = {_spelled(name): dataset for dataset in CATALOGUE for name in dataset.names}
