"""Shards: which units of a plan are whose, when several machines convert them without speaking to each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapreplace
from typing import TYPE_CHECKING

from h36m_amass.errors import H36mAmassError

if TYPE_CHECKING:  # the command line looks at its options before it imports what reads recordings
    from h36m_amass.conversion.planning import Unit


class ShardError(H36mAmassError):
    """There is no such shard."""


@dataclass(frozen=True)
class Shard:
    """One of `count` shares of a build, which is converted by itself.

    Attributes
    ----------
    number
        From 1 to `count`.

    Raises
    ------
    ShardError
        It is not.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ShardError(f"{self}: is no shard; give one from 1/{self.count} to {self.count}/{self.count}")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def label(self) -> str:
        """As names of files have it."""
        return f"{self.number}-of-{self.count}"


def parse(text: str) -> Shard:
    """The shard that ``I/N`` stands for.

    Raises
    ------
    ShardError
        It stands for none.
    """
    found = re.fullmatch(r"([0-9]{1,9})/([1-9][0-9]{0,8})", text)
    if found is None:
        raise ShardError(f"{text!r}: is no shard; give one as I/N, like 3/16 for the third of sixteen")
    return Shard(int(found[1]), int(found[2]))


def share(units: Sequence[Unit], shard: Shard) -> list[Unit]:
    """Those of a plan's `units` that are for `shard` to convert, in plan order; each is in one share.

    The units go, those with most source frames first, to whichever share has the fewest by then, so that the largest
    share has at most a third more than it must (Graham, Bounds on multiprocessing timing anomalies, SIAM J. Appl.
    Math. 17, 1969). Every nth unit would not do: some are a hundred times as long as others, and all of these may
    fall to one. It depends on the plan alone, not on what is converted already, so that no machine has to ask another.
    """
    loads = [(0, number) for number in range(1, min(shard.count, len(units)) + 1)]  # a heap
    own = []
    for unit in sorted(units, key=lambda unit: (-unit.source_frames, unit.number)):
        frames, number = loads[0]
        heapreplace(loads, (frames + unit.source_frames, number))
        if number == shard.number:
            own.append(unit)
    return sorted(own, key=lambda unit: unit.number)
