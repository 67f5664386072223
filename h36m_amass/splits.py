"""Named splits of AMASS and Human3.6M into training, validation and test data, by dataset or by subject."""

from collections.abc import Mapping
from types import MappingProxyType

from h36m_amass.datasets import DATA, HUMAN36M, same
from h36m_amass.errors import H36mAmassError

REST = ("*",)
"""All datasets of AMASS that no other part of the split names."""
# "uplift-upsample": Einfalt et al., "Uplift and Upsample", WACV 2023: common/dataset/amass_dataset.py of its code.
# "amass": validation and test as AMASS recommends, https://github.com/nghorbani/amass; the rest to train on.
# "h36m": the usual protocol of Human3.6M, as of Martinez et al., ICCV 2017, and VideoPose3D (Pavllo et al., CVPR 2019).
# A part names datasets, or subjects as DATASET/SUBJECT.
SPLITS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {split: {part: tuple(names) for part, names in parts.items()} for split, parts in DATA["splits"].items()}
)


class SplitError(H36mAmassError):
    """There is no split or part of a split with that name."""


def datasets_of(split: str, part: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the datasets `names` that belong to a part of a split, all or in part, in the order of `names`.

    A dataset matches under any name of `h36m_amass.datasets.CATALOGUE`: releases of AMASS write ``MPI_HDM05``,
    ``MPIHDM05`` and ``HDM05``.

    Raises
    ------
    SplitError
        The split or the part is unknown.
    """
    return tuple(subjects_of(split, part, names))


def subjects_of(split: str, part: str, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """What `datasets_of` gives, and the subjects of each dataset that the part names, none for all of them."""
    if split not in SPLITS:
        raise SplitError(f"split {split!r} is unknown; choose from {', '.join(SPLITS)}")
    if part not in SPLITS[split]:
        raise SplitError(f"split {split!r} has no part {part!r}; choose from {', '.join(SPLITS[split])}")
    if SPLITS[split][part] == REST:
        others = {same(name) for other in SPLITS[split].values() for name in (*other, HUMAN36M)}
        return {name: () for name in names if same(name) not in others}
    named = [name.partition("/") for name in SPLITS[split][part]]
    datasets = {same(dataset) for dataset, *_ in named}
    subjects = {name: [subject for dataset, _, subject in named if same(dataset) == same(name)] for name in names}
    return {name: tuple(filter(None, subjects[name])) for name in names if same(name) in datasets}
