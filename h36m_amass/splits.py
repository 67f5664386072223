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
        # Recommended by AMASS itself: https://github.com/nghorbani/amass.
        "amass": {
            "train": REST,
            "val": ("HumanEva", "MPIHDM05", "SFU", "MPImosh"),
            "test": ("Transitionsmocap", "SSM"),
        },
    }
)


class SplitError(ValueError):
    """There is no split, or no part of it, of that name."""


def datasets_of(split: str, part: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the datasets `names` that belong to a part of a split, in the order of `names`.

    Names match whatever their case, and with or without underscores: releases of AMASS write both ``MPI_HDM05``
    and ``MPIHDM05``.

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
    return name.replace("_", "").casefold()
