"""Named splits of AMASS into training, validation and test data, by dataset."""

from collections.abc import Mapping
from types import MappingProxyType

from h36m_amass.datasets import DATA, same
from h36m_amass.errors import H36mAmassError

REST = ("*",)
"""All datasets that no other part of the split names."""
# "uplift-upsample": Einfalt et al., "Uplift and Upsample", WACV 2023: common/dataset/amass_dataset.py of its code.
# "amass": validation and test as AMASS recommends, https://github.com/nghorbani/amass; the rest to train on.
SPLITS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {split: {part: tuple(names) for part, names in parts.items()} for split, parts in DATA["splits"].items()}
)


class SplitError(H36mAmassError):
    """There is no split or part of a split with that name."""


def datasets_of(split: str, part: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the datasets `names` that belong to a part of a split, in the order of `names`.

    A dataset matches under any name of `h36m_amass.datasets.CATALOGUE`: releases of AMASS write ``MPI_HDM05``,
    ``MPIHDM05`` and ``HDM05``.

    Raises
    ------
    SplitError
        The split or the part is unknown.
    """
    if split not in SPLITS:
        raise SplitError(f"split {split!r} is unknown; choose from {', '.join(SPLITS)}")
    parts = SPLITS[split]
    if part not in parts:
        raise SplitError(f"split {split!r} has no part {part!r}; choose from {', '.join(parts)}")
    named = {same(name) for name in parts[part]}
    if parts[part] == REST:
        others = {same(name) for other in parts.values() for name in other}
        return tuple(name for name in names if same(name) not in others)
    return tuple(name for name in names if same(name) in named)
