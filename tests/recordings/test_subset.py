"""A subset says exactly which recordings match, and refuses conditions that none can match."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_amass.recordings.subset import EVERYTHING, Subset, SubsetError, filters
from h36m_amass.recordings.tree import RecordingFile

FILES = [RecordingFile("CMU", subject, name, "", 0, 0) for subject in ("01", "02") for name in ("jump", "walk back")]


@pytest.mark.parametrize(
    ("subset", "missed"),
    [
        (EVERYTHING, [None] * 4),
        (Subset(subject="0"), ["subject"] * 4),
        (Subset(subject="0[13]"), [None, None, "subject", "subject"]),
        (Subset(subject="01", sequence="walk"), ["sequence", "sequence", "subject", "subject"]),
        (Subset(sequence="walk.*"), ["sequence", None, "sequence", None]),
    ],
)
def test_patterns_match_whole_names_and_the_first_that_does_not_counts(
    subset: Subset, missed: list[str | None]
) -> None:
    assert [subset.missed_by_name(file) for file in FILES] == missed
    assert subset.foreseen(FILES) == tuple(file for file, why in zip(FILES, missed, strict=True) if why is None)


def test_a_limit_is_foreseen() -> None:
    assert Subset(sequence="jump", limit=1).foreseen(FILES) == (FILES[0],)


def test_filters_are_named_as_options() -> None:
    assert filters({"min_seconds": 1200, "limit": 1}) == "1,200 by --min-seconds, 1 by --limit"


@given(st.integers(1, 10_000), st.sampled_from([Fraction(120), Fraction("59.94"), Fraction(100)]))
def test_a_recording_as_long_as_the_bound_fits_it(num_frames: int, rate: Fraction) -> None:
    seconds = num_frames / rate
    bound = float(f"{float(seconds):.12g}")
    limit = Fraction(str(bound))
    assert (Subset(min_seconds=bound).missed_by_length(num_frames, rate) is None) == (seconds >= limit)
    assert (Subset(max_seconds=bound).missed_by_length(num_frames, rate) is None) == (seconds <= limit)
    # A tenth of a second is ten frames at 100 Hz, though the float 0.1 is a little more.
    assert Subset(min_seconds=0.1, max_seconds=0.1).missed_by_length(10, Fraction(100)) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"subject": "("}, "--subject '(' is not a regular expression"),
        ({"sequence": "a{9999999999}"}, "--sequence 'a{9999999999}' is not a regular"),
        ({"min_seconds": -1.0}, "--min-seconds -1 is not a length"),
        ({"max_seconds": float("nan")}, "--max-seconds nan is not a length"),
        ({"min_seconds": 3.0, "max_seconds": 2.0}, "swap --min-seconds and --max-seconds"),
        ({"limit": 0}, "--limit 0 leaves no recording"),
    ],
)
def test_a_choice_that_none_can_fit_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(SubsetError, match=re.escape(words)):
        Subset(**arguments)
