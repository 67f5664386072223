"""Known frame rates of AMASS's recordings, or those that a user gives: rules in CSV files.

A rule has a dataset, a subject, a sequence and a rate in hertz; ``*`` stands for all. If several rules fit a recording,
the most specific one counts. ``known_rates.csv`` is a census of the SMPL+H release: the rates of all 14,244 recordings
as NVlabs/ProtoMotions lists them (``data/yaml_files/motion_fps_amass.yaml``). About 5,000 files of the SMPL-X release
say something else (https://github.com/nghorbani/amass/issues/49). ``known_disputed_rates.csv`` lists recordings whose
SMPL+H files are believed to be wrong, too (https://github.com/nghorbani/amass/issues/68).
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

from h36m_amass.datasets import canonical
from h36m_amass.errors import H36mAmassError
from h36m_amass.files.paths import open_file
from h36m_amass.recordings.resampling import FrameRateError, exact_rate

ALL = "*"
COLUMNS = ("dataset", "subject", "sequence", "hertz")
MAX_BYTES = 2**24
MIN_RATE, MAX_RATE = 1, 10_000  # hertz that a rule may give
KNOWN, DISPUTED = (Path(__file__).with_name(f"known_{name}.csv") for name in ("rates", "disputed_rates"))
_ENDING = re.compile(r"_(poses|stageii)$")  # of the names of recordings; the census does not have it
_PLAIN = str.maketrans(" -()[]{}", "________")  # as the census spells names

Key = tuple[str, str, str]  # dataset, subject and sequence


class RatesError(H36mAmassError):
    """A file of frame rates cannot be read, or has a line that is not a rule."""


@dataclass(frozen=True)
class Rule:
    """The frame rate of all recordings that a key fits, in hertz."""

    key: Key
    frame_rate: Fraction
    source: str = ""  # who says so; empty for the rule's file alone


class RateRules:
    """Rules of one file, or of several in layers: a recording's rule is that of the first layer that has one for it.

    In a layer the most specific rule counts: the one with the fewest ``*``. Among equals, a rule with a sequence
    counts, then one with a subject.
    """

    def __init__(self, *layers: Iterable[Rule]) -> None:
        self._layers = tuple({rule.key: rule for rule in layer} for layer in layers)

    def find(self, dataset: str, subject: str, sequence: str) -> Rule | None:
        """The rule for a recording; its dataset has its canonical name."""
        if not any(self._layers):
            return None
        d, s, q = dataset, subject.translate(_PLAIN), _plain_sequence(sequence)
        one, two = ((ALL, ALL, q), (ALL, s, ALL), (d, ALL, ALL)), ((ALL, s, q), (d, ALL, q), (d, s, ALL))
        for layer in self._layers:
            for key in ((d, s, q), *two, *one, (ALL, ALL, ALL)) if layer else ():
                if key in layer:
                    return layer[key]
        return None

    def frame_rate(self, dataset: str, subject: str, sequence: str) -> Fraction | None:
        """The frame rate that a rule gives a recording, in hertz."""
        rule = self.find(dataset, subject, sequence)
        return None if rule is None else rule.frame_rate

    def __or__(self, others: RateRules) -> RateRules:
        """These rules behind the layers of `others`."""
        return RateRules(*(layer.values() for layer in (*others._layers, *self._layers)))

    def all_keys(self) -> list[Key]:
        """What the rules are for."""
        return [key for layer in self._layers for key in layer]

    def unused(self, names: Iterable[Key]) -> tuple[str, ...]:
        """Keys of the rules that count for none of these recordings, as their file has them."""
        used = {rule.key for rule in (self.find(*name) for name in names) if rule is not None}
        return tuple(",".join(key) for key in self.all_keys() if key not in used)

    @property
    def digest(self) -> str:
        """SHA-256 of all rules by layer, in whatever order their files have them."""
        layers = [sorted(f"{key} {rule.frame_rate}" for key, rule in layer.items()) for layer in self._layers]
        return hashlib.sha256(repr(layers).encode()).hexdigest()


NO_RULES = RateRules()


def load(path: Path) -> RateRules:
    """Rules from a CSV file with the columns `COLUMNS`; other columns are ignored, except ``source``.

    Raises `RatesError`, which names the line, if it cannot be read, lacks a column, or a line is not a rule.
    """
    rules: dict[Key, Rule] = {}
    for number, row in _rows(path):
        texts = {name: (row[name] or "").strip() for name in COLUMNS}
        if not all(texts.values()):
            missing = next(name for name in COLUMNS if not texts[name])
            raise RatesError(f"line {number} has no {missing}; give * for all", path)
        partial = next((name for name in COLUMNS[:3] if ALL in texts[name] and texts[name] != ALL), None)
        if partial is not None:
            reason = f"line {number}: {partial} is {texts[partial]!r:.50}"
            raise RatesError(f"{reason}; give a whole name, or {ALL} for all", path)
        key = _key(texts)
        try:
            rate = exact_rate(float(texts["hertz"]))
        except (ValueError, FrameRateError):
            rate = Fraction(0)
        if not MIN_RATE <= rate <= MAX_RATE:
            reason = f"line {number}: hertz is {texts['hertz']!r:.50}"
            raise RatesError(f"{reason}; give a number from {MIN_RATE} to {MAX_RATE}, like 120", path)
        if key in rules:
            raise RatesError(f"line {number}: a second rule for {', '.join(key)}; keep one", path)
        rules[key] = Rule(key, rate, (row.get("source") or "").strip())
    return RateRules(rules.values())


@cache
def known() -> RateRules:
    """What is known of AMASS: the census, and before it the disputed ones."""
    return load(KNOWN) | load(DISPUTED)


@cache
def census() -> Mapping[str, int]:
    """How many SMPL+H recordings AMASS has of each dataset, canonical names, by the census."""
    counts = Counter[str]()
    for _, row in _rows(KNOWN):
        if row["subject"] == row["sequence"] == ALL:
            counts[canonical(row["dataset"] or "")] += int(row["recordings"] or 0)
    return counts


def contradiction(dataset: str, subject: str, sequence: str, frame_rate: Fraction) -> str | None:
    """A warning if another frame rate is known than the recording has; otherwise None."""
    rule = known().find(dataset, subject, sequence)
    if rule is None or rule.frame_rate == frame_rate:
        return None
    known_rate = f"{float(rule.frame_rate):g} Hz"
    why = f"it is believed to be {known_rate}" if rule.source else f"AMASS's census has {known_rate}"
    return f"taken at {float(frame_rate):g} Hz, but {why}; --known-rates corrects it"


def hint(dataset: str, subject: str, sequence: str, frame_rate: Fraction) -> str:
    """What to add to the reason for skipping a recording if its frame rate may be wrong."""
    warning = contradiction(dataset, subject, sequence, frame_rate)
    return "" if warning is None else f"; {warning}"


def _rows(path: Path) -> Iterable[tuple[int, dict[str, str | None]]]:
    """The lines of a CSV file by the names of its columns, with their numbers."""
    try:
        with open_file(path) as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise RatesError(f"is larger than {MAX_BYTES} bytes; give one rule per line", path)
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        for name in COLUMNS:
            if list(reader.fieldnames or ()).count(name) != 1:
                reason = f"has no column {name}, or more than one"
                raise RatesError(f"{reason}; its first line must be {','.join(COLUMNS)}", path)
        rows = [(reader.line_num, row) for row in reader]
        longer = next((number for number, row in rows if None in row), None)
        if longer is not None:
            raise RatesError(f"line {longer} has more fields than the first line; write 59.94 with a point", path)
        return rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RatesError(f"cannot be read as CSV ({error}); its first line is {','.join(COLUMNS)}", path) from error


def _key(texts: Mapping[str, str]) -> Key:
    dataset, subject, sequence = (texts[name] for name in COLUMNS[:3])
    return (
        dataset if dataset == ALL else canonical(dataset),
        subject.translate(_PLAIN),
        sequence if sequence == ALL else _plain_sequence(sequence),
    )


def _plain_sequence(sequence: str) -> str:
    return _ENDING.sub("", sequence).translate(_PLAIN)
