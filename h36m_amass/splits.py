"""Named splits of AMASS into training, validation and test data, by dataset."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

REST = ("*",)
"""All datasets that no other part of the split names."""

SPLITS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        # Einfalt et al., "Uplift and Upsample", WACV 2023: common/dataset/amass_dataset.py of its code.
        "uplift-upsample": {
            "train": (
                "CMU",
                "DanceDB",
                "MPILimits",
                "TotalCapture",
                "EyesJapanDataset",
                "HUMAN4D",
                "KIT",
                "BMLhandball",
                "BMLmovi",
                "BMLrub",
                "EKUT",
                "TCDhandMocap",
                "ACCAD",
                "Transitionsmocap",
            ),
            "val": ("MPIHDM05", "SFU", "MPImosh"),
        },
        # Validation and test as AMASS recommends, https://github.com/nghorbani/amass; the rest to train on.
        "amass": {
            "train": REST,
            "val": ("HumanEva", "MPIHDM05", "SFU", "MPImosh"),
            "test": ("Transitionsmocap", "SSM"),
        },
    }
)


ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "BMLrub": ("BioMotionLab_NTroje",),
        "DFaust": ("DFaust_67",),
        "MPIHDM05": ("HDM05",),
        "MPILimits": ("PosePrior",),
        "MPImosh": ("MoSh",),
        "SSM": ("SSM_synced",),
        "TCDhandMocap": ("TCDHands",),
        "Transitionsmocap": ("Transitions",),
    }
)
"""Other names that releases of AMASS have given to datasets and to their folders."""


class SplitError(ValueError):
    """There is no split, or no part of it, of that name."""


def datasets_of(split: str, part: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the datasets `names` that belong to a part of a split, in the order of `names`.

    Names match whatever their case, with or without underscores, and under any of their `ALIASES`: releases of AMASS
    write ``MPI_HDM05``, ``MPIHDM05`` and ``HDM05``.

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
    named = {_plain(name) for name in parts[part]}
    if parts[part] == REST:
        others = {_plain(name) for other in parts.values() for name in other}
        return tuple(name for name in names if _plain(name) not in others)
    return tuple(name for name in names if _plain(name) in named)


def _plain(name: str) -> str:
    """One spelling for all names of a dataset."""
    spelled = _spelled(name)
    return _CANONICAL.get(spelled, spelled)


def _spelled(name: str) -> str:
    return name.replace("_", "").casefold()


_CANONICAL = {_spelled(alias): _spelled(name) for name, aliases in ALIASES.items() for alias in aliases}
