"""Which work unit runs where, and which is given up: a schedule that knows neither processes, devices nor files.

A worker that dies takes the units with it that it was given. They run again; but the unit that killed it would kill the
next one, so its losses are counted. Of a place that works off one unit after the other it is known which one that was.
Elsewhere nobody says, and a loss counts only when nothing else was at work: no unit is given up for another's doing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MOST_DEATHS = 3
"""Of workers, after which a unit is given up."""
LOSSES_AMONG_OTHERS = 2
"""After so many a unit runs alone: what its neighbours take of the memory, or do, is not held against it then."""
MOST_RETURNS = 10
"""Losses that nobody's death explains, like those to a restart of the scheduler, after which each counts as a death."""


@dataclass(frozen=True)
class Place:
    """Where units run.

    Attributes
    ----------
    room
        Units that it may be given at a time, those that wait there included.
    serial
        Whether it works off one after the other, in the order in which it was given them.
    """

    room: int
    serial: bool


class Schedule:
    """Hands units out to places until all are done or given up.

    Parameters
    ----------
    units
        Numbers of the units, in the order in which they are wanted.
    places
        Where they can run.
    """

    def __init__(self, units: Iterable[int], places: Sequence[Place]) -> None:
        self._waiting = deque(units)
        self._suspects: deque[int] = deque()
        self._places = places
        self._at: list[list[int]] = [[] for _ in places]
        self._returns: Counter[int] = Counter()
        self._losses: Counter[int] = Counter()
        self._deaths: Counter[int] = Counter()
        self._unexplained: Counter[int] = Counter()
        self._alone = False

    @property
    def over(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not (self._waiting or self._suspects or any(self._at))

    def deaths(self, unit: int) -> int:
        """How many workers `unit` is known to have killed: those that died when nobody else can have been the cause."""
        return self._deaths[unit]

    def returns(self, unit: int) -> int:
        """How often `unit` came back undone without anybody's death."""
        return self._returns[unit]

    def hand_out(self) -> Iterator[tuple[int, int]]:
        """Place and unit of each unit that starts now; it counts as started when it is given."""
        while self._waiting and (place := self._free_place()) is not None:
            yield self._start(place, self._waiting.popleft())
        if self._suspects and not self._waiting and not any(self._at):
            self._alone = True
            yield self._start(0, self._suspects.popleft())

    def finished(self, place: int, unit: int) -> None:
        """`unit` is done."""
        self._at[place].remove(unit)
        self._alone = False

    def lost(self, place: int, unit: int, deaths: int) -> bool:
        """`unit` came back undone, from a place that is not serial; whether it is given up.

        Parameters
        ----------
        deaths
            Of workers that had it, one after another, as far as anybody says so.
        """
        alone = self._alone
        self.finished(place, unit)
        self._returns[unit] += deaths == 0
        unexplained = int(deaths == 0 and self._returns[unit] > MOST_RETURNS)
        self._unexplained[unit] += unexplained if alone else 0
        return self._lose(unit, deaths + unexplained, deaths if alone else 0)

    def died(self, place: int, at_work: bool) -> int | None:
        """The worker of a serial place is dead; gives the unit that is given up, if one is.

        Parameters
        ----------
        at_work
            Whether it had begun with the first of its units.
        """
        units, self._at[place], self._alone = self._at[place], [], False
        blamed = units[: int(at_work)]
        for unit in reversed(units[len(blamed) :]):
            (self._suspects if self._is_suspect(unit) else self._waiting).appendleft(unit)
        return next((unit for unit in blamed if self._lose(unit, 1, 1)), None)

    def _free_place(self) -> int | None:
        """The place with the fewest units of those that have room for one more.

        What waits behind another unit at a serial place can go nowhere else: when few are left, none does.
        """
        numbers = [number for number, own in enumerate(self._places) if len(self._at[number]) < own.room]
        place = min(numbers, key=lambda number: len(self._at[number]), default=None)
        if place is None or not self._at[place] or not self._places[place].serial or len(self._places) == 1:
            return place
        return place if len(self._waiting) > len(self._places) else None

    def _start(self, place: int, unit: int) -> tuple[int, int]:
        self._at[place].append(unit)
        return place, unit

    def _is_suspect(self, unit: int) -> bool:
        return self._losses[unit] >= LOSSES_AMONG_OTHERS

    def _lose(self, unit: int, losses: int, deaths: int) -> bool:
        self._losses[unit] += losses
        self._deaths[unit] += deaths
        if self._deaths[unit] + self._unexplained[unit] >= MOST_DEATHS:
            return True
        (self._suspects if self._is_suspect(unit) else self._waiting).append(unit)
        return False
