"""The schedule of work units, by itself: whoever dies, all that can be done is, and only the guilty are given up."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from h36m_amass.conversion.scheduling import MOST_DEATHS, Place, Schedule

places = st.lists(st.builds(Place, st.integers(1, 3), st.just(True)), min_size=1, max_size=4)
executors = st.builds(Place, st.integers(1, 50), st.just(False)).map(lambda place: [place])


def carried_out(
    units: int, where: list[Place], killers: set[int], seed: int, accidents: int = 0, restarts: int = 0
) -> tuple[list[int], list[int]]:
    """Units that were done and that were given up, where `killers` kill whatever takes them up.

    By accident other workers die, too, and executors lose all that they have. Devices are fake, time is the order of
    events, and whatever the schedule must keep to on the way is asserted.
    """
    chance = random.Random(seed)
    schedule, at = Schedule(range(units), where), [list[int]() for _ in where]
    done, given_up, started, events = list[int](), list[int](), set[int](), 0
    while not schedule.over:
        for place, unit in schedule.hand_out():
            at[place].append(unit)
            started.add(unit)
        running = [unit for own in at for unit in own]
        assert len(set(running)) == len(running) > 0
        assert all(len(own) <= place.room for own, place in zip(at, where, strict=True))
        assert all(at) or len(started) == units, "a place idles, though there is work"
        place = chance.choice([number for number, own in enumerate(at) if own])
        own = at[place]
        unit = own[0] if where[place].serial else chance.choice(own)
        accident = accidents > 0 and chance.random() < 0.3
        accidents -= accident
        if not where[place].serial and restarts and chance.random() < 0.3:
            restarts -= 1
            for each in own:
                assert not schedule.lost(place, each, 0)
            own.clear()
        elif unit not in killers and not accident:
            own.remove(unit)
            schedule.finished(place, unit)
            done.append(unit)
        elif where[place].serial:
            at_work = unit in killers
            if (lost := schedule.died(place, at_work)) is not None:
                given_up.append(lost)
            own.clear()
        else:  # all that its workers had is lost, whoever did it
            if accident and len(own) == 1:
                continue
            for each in list(own):
                if schedule.lost(place, each, 1):
                    given_up.append(each)
            own.clear()
        events += 1
        assert events < 100 + 20 * units, "it does not end"
    return done, given_up


@given(st.integers(0, 30), places, st.sets(st.integers(0, 29)), st.integers())
def test_where_it_is_known_who_killed_a_worker_only_that_unit_is_given_up(
    units: int, where: list[Place], killers: set[int], seed: int
) -> None:
    done, given_up = carried_out(units, where, killers, seed, accidents=10)
    assert sorted(done) == sorted(set(range(units)) - killers)
    assert sorted(given_up) == sorted(set(range(units)) & killers)


@given(st.integers(0, 30), executors, st.sets(st.integers(0, 29), max_size=3), st.integers())
def test_where_nobody_knows_no_unit_is_given_up_for_another(
    units: int, where: list[Place], killers: set[int], seed: int
) -> None:
    done, given_up = carried_out(units, where, killers, seed, accidents=2, restarts=5)
    assert sorted(done) == sorted(set(range(units)) - killers)
    assert sorted(given_up) == sorted(set(range(units)) & killers)


@given(places, st.integers())
def test_units_go_in_order_to_whichever_place_is_free(where: list[Place], seed: int) -> None:
    chance = random.Random(seed)
    schedule, at, order = Schedule(range(20), where), [list[int]() for _ in where], list[int]()
    while not schedule.over:
        for place, unit in schedule.hand_out():
            assert len(at[place]) == min(len(own) for own, of in zip(at, where, strict=True) if len(own) < of.room)
            if at[place] and len(where) > 1:
                assert 20 - len(order) > len(where), "it waits behind another, where soon another place is free"
            at[place].append(unit)
            order.append(unit)
        place = chance.choice([number for number, own in enumerate(at) if own])
        schedule.finished(place, at[place].pop(0))
    assert order == list(range(20))


def test_a_unit_that_keeps_killing_dies_alone_the_last_time() -> None:
    schedule = Schedule(range(3), [Place(2, True), Place(2, True)])
    assert list(schedule.hand_out()) == [(0, 0), (1, 1)]  # the last one goes to whichever is free first
    assert schedule.died(0, at_work=True) is None
    assert list(schedule.hand_out()) == [(0, 2)]
    schedule.finished(0, 2)
    assert list(schedule.hand_out()) == [(0, 0)]
    assert schedule.died(0, at_work=True) is None
    assert list(schedule.hand_out()) == []  # while unit 1 runs
    schedule.finished(1, 1)
    assert list(schedule.hand_out()) == [(0, 0)]
    assert schedule.died(0, at_work=True) == 0
    assert schedule.over


def test_a_worker_that_had_not_begun_blames_nobody() -> None:
    schedule = Schedule(range(2), [Place(2, True)])
    for _ in range(5 * MOST_DEATHS):
        assert list(schedule.hand_out()) == [(0, 0), (0, 1)]
        assert schedule.died(0, at_work=False) is None
    assert not schedule.over


def test_a_unit_that_comes_back_for_ever_is_given_up() -> None:
    schedule, turns = Schedule([7], [Place(10, False)]), 0
    while not schedule.over:
        assert list(schedule.hand_out()) == [(0, 7)]
        schedule.lost(0, 7, 0)
        turns += 1
        assert turns < 100
    assert turns > MOST_DEATHS


def test_a_unit_that_killed_enough_workers_by_itself_is_given_up_at_once() -> None:
    schedule = Schedule([0, 1], [Place(10, False)])
    assert len(list(schedule.hand_out())) == 2
    assert not schedule.lost(0, 0, 4)  # of two, either may have done it
    schedule.finished(0, 1)
    assert list(schedule.hand_out()) == [(0, 0)]
    assert schedule.lost(0, 0, 4)
