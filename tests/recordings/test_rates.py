"""Rules of frame rates: the most specific one counts, the census is AMASS's, and what is wrong names its line."""

from __future__ import annotations

import csv
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_amass.recordings import rates
from h36m_amass.recordings.rates import ALL, Key, RateRules, RatesError, Rule

NAMES = st.sampled_from(("A", "B", "C"))
KEYS = st.tuples(*(st.sampled_from(("A", "B", ALL)) for _ in range(3)))
HEADER = ",".join(rates.COLUMNS)


def rules(path: Path, *lines: str) -> RateRules:
    path.write_text("\n".join((HEADER, *lines)), encoding="utf-8")
    return rates.load(path)


@given(
    layers=st.lists(st.dictionaries(KEYS, st.integers(1, 250), max_size=8), max_size=3),
    name=st.tuples(NAMES, NAMES, NAMES),
)
def test_the_most_specific_rule_of_the_first_layer_counts(layers: list[dict[Key, int]], name: Key) -> None:
    def expected() -> int | None:
        for layer in layers:
            fitting = [key for key in layer if all(mine in (ALL, its) for mine, its in zip(key, name, strict=True))]
            # Fewer stars first; of as many the one with a sequence, then the one with a subject.
            if fitting:
                return layer[max(fitting, key=lambda key: (-key.count(ALL), key[2] != ALL, key[1] != ALL))]
        return None

    separate = RateRules(*([Rule(key, Fraction(hertz)) for key, hertz in layer.items()] for layer in layers))
    assert separate.frame_rate(*name) == expected()
    joined = RateRules()
    for layer in reversed(layers):
        joined |= RateRules([Rule(key, Fraction(hertz)) for key, hertz in layer.items()])
    assert joined.frame_rate(*name) == expected()


def test_a_digest_is_that_of_the_layers() -> None:
    one, other = (Rule(("A", ALL, ALL), Fraction(hertz)) for hertz in (50, 60))
    several = RateRules([one], [other]), RateRules([other], [one]), RateRules([one]), RateRules([other])
    assert len({each.digest for each in several}) == 4


def test_the_census_has_the_rates_of_all_recordings() -> None:
    assert sum(rates.census().values()) == 14_244
    counted = Counter[tuple[str, Fraction]]()
    with rates.KNOWN.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    census = rates.load(rates.KNOWN)
    # A row counts the recordings that it is for; those of a more specific one are among the dataset's.
    left = {row["dataset"]: int(row["recordings"]) for row in rows if row["subject"] == row["sequence"] == ALL}
    nested = {(row["dataset"], row["subject"]) for row in rows if row["subject"] != ALL and row["sequence"] == ALL}
    for row in rows:
        rate = census.frame_rate(rates.canonical(row["dataset"]), row["subject"], row["sequence"])
        assert rate == Fraction(row["hertz"])
        if row["subject"] != ALL:
            counted[row["dataset"], rate] += int(row["recordings"])
            left[row["dataset"]] -= int(row["recordings"])
    assert all(number >= 0 for number in left.values())
    assert ("EyesJapanDataset", "kudo") in nested
    assert sum(counted.values()) + sum(left.values()) == 14_244


@pytest.mark.parametrize(
    ("key", "hertz"),
    [
        (("CMU", "62", "62_01_poses"), 60),
        (("CMU", "01", "01_01_stageii"), 120),
        (("CMU", "88", "88_03_poses"), 120),
        (("EyesJapanDataset", "kudo", "gesture_etc-15-whip -kudo_poses"), 120),
        (("EyesJapanDataset", "kudo", "walk-01-normal-kudo_poses"), 250),
        (("KIT", "3", "walking_slow08_poses"), 100),
        (("BMLhandball", "S01_Expert", "Trial_upper_left_001_poses"), 240),
        (("SSM", "20161014_50033", "punch_kick_sync_poses"), 60),
        (("CNRS", "283", "-01_L_1_poses"), None),
    ],
)
def test_what_is_known_of_amass(key: tuple[str, str, str], hertz: int | None) -> None:
    assert rates.known().frame_rate(*key) == hertz


def test_names_are_spelled_as_datasets_and_the_census_spell_them(tmp_path: Path) -> None:
    read = rules(tmp_path / "r.csv", "MPI_HDM05,a b-c,x (1),60", "*,*,y_poses,30")
    assert read.frame_rate("MPIHDM05", "a_b c", "x_[1]_poses") == 60
    assert read.frame_rate("anything", "s", "y_stageii") == 30
    assert read.frame_rate("MPIHDM05", "other", "x") is None


def test_own_rules_come_before_what_is_known(tmp_path: Path) -> None:
    user_rules = rules(tmp_path / "r.csv", "CMU,*,*,100")
    assert (rates.known() | user_rules).frame_rate("CMU", "62", "62_01") == 100
    assert (rates.known() | user_rules).frame_rate("KIT", "62", "62_01") == 100
    assert (rates.known() | user_rules).digest not in (rates.known().digest, user_rules.digest)


def test_a_rate_that_is_nearly_whole_is_whole(tmp_path: Path) -> None:
    assert rules(tmp_path / "r.csv", "A,*,*,59.9999885559082").frame_rate("A", "s", "q") == 60
    assert rates.contradiction("SSM", "20160330_03333", "x", Fraction(60)) is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["A,*,*,fast"], "line 2: hertz is 'fast'; give a number from 1 to 10000"),
        (["A,*,*,-1"], "line 2: hertz is '-1'; give"),
        (["A,*,*,inf"], "line 2: hertz is 'inf'; give"),
        (["A,*,*,60", "A,,*,60"], "line 3 has no subject"),
        (["A,*,*,59,94"], "line 2 has more fields than the first line"),
        (["A,*,*"], "line 2 has no hertz"),
        (["A,*,*,60", "A,*,*,50"], "line 3: a second rule for A, *, *; keep one"),
        (["CMU,62,62_*,60"], "line 2: sequence is '62_*'; give a whole name, or * for all"),
    ],
)
def test_a_line_that_is_no_rule_is_named(tmp_path: Path, lines: list[str], message: str) -> None:
    path = tmp_path / "r.csv"
    with pytest.raises(RatesError) as caught:
        rules(path, *lines)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"dataset,subject,sequence\n", b"dataset,subject,sequence,hertz,hertz\n", b"\xff\xfe\x00", b"a\0b"]
)
def test_what_is_no_table_of_rates_says_what_its_first_line_must_be(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.csv").write_bytes(content)
    with pytest.raises(RatesError, match=HEADER):
        rates.load(tmp_path / "r.csv")
    with pytest.raises(RatesError, match="cannot be read"):
        rates.load(tmp_path / "none.csv")
