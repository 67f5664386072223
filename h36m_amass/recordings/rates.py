"""Frame rates of AMASS's recordings that are known beforehand, or given by a person: rules in CSV files.

A rule has a dataset, a subject, a sequence and a rate in hertz; ``*`` stands for all. Of several rules that fit a
recording the most specific one counts. ``known_rates.csv`` is a census of the SMPL+H release: the rates of all 14,244
recordings as NVlabs/ProtoMotions lists them (``data/yaml_files/motion_fps_amass.yaml``). About 5,000 files of the
SMPL-X release say something else (https://github.com/nghorbani/amass/issues/49). ``known_disputed_rates.csv`` lists
recordings whose SMPL+H files are believed to be wrong, too (https://github.com/nghorbani/amass/issues/68).
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
KNOWN, DISPUTED = (Path(__file__).with_name(f"known_{name}.csv") for name in ("rates", "disputed_rates"))
_ENDING = re.compile(r"_(poses|stageii)$")  # of the names of recordings; the census does not have it
_PLAIN = str.maketrans(" -()[]{}", "________")  # as the census spells names

Key = tuple[str, str, str]  # dataset, subject and sequence


class RatesError(H36mAmassError):
    """A file of frame rates cannot be read, or has a line that is not a rule."""


@dataclass(frozen=True)
class Rule:
    """The frame rate of all recordings that a key fits, in hertz."""

    frame_rate: Fraction
    source: str  # who says so; empty for the rule's file alone


class RateRules:
    """Rules by key, of which the most specific one counts: with the fewest ``*``, then with a sequence or a subject."""

    def __init__(self, rules: Mapping[Key, Rule]) -> None:
        self.rules = dict(rules)

    def find(self, dataset: str, subject: str, sequence: str) -> Rule | None:
        """The rule for a recording; its dataset has its canonical name."""
        if not self.rules:
            return None
        d, s, q = dataset, subject.translate(_PLAIN), _plain_sequence(sequence)
        one, two = ((ALL, ALL, q), (ALL, s, ALL), (d, ALL, ALL)), ((ALL, s, q), (d, ALL, q), (d, s, ALL))
        for key in ((d, s, q), *two, *one, (ALL, ALL, ALL)):
            if key in self.rules:
                return self.rules[key]
        return None

    def frame_rate(self, dataset: str, subject: str, sequence: str) -> Fraction | None:
        """The frame rate that a rule gives a recording, in hertz."""
        rule = self.find(dataset, subject, sequence)
        return None if rule is None else rule.frame_rate

    def __or__(self, others: RateRules) -> RateRules:
        """These rules and `others`, which come first: these count for recordings that none of the others fits."""
        covered = {key: rule for key, rule in self.rules.items() if key not in others.rules}
        return _Layered({**covered, **others.rules}, (others, self))

    @property
    def digest(self) -> str:
        """SHA-256 of all rules, in whatever order their file has them."""
        lines = sorted(f"{key} {rule.frame_rate}" for key, rule in self.rules.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class _Layered(RateRules):
    """Rules of several files, each asked after the one before it."""

    def __init__(self, rules: Mapping[Key, Rule], layers: tuple[RateRules, ...]) -> None:
        super().__init__(rules)
        self._layers = layers

    def find(self, dataset: str, subject: str, sequence: str) -> Rule | None:
        found = (layer.find(dataset, subject, sequence) for layer in self._layers)
        return next((rule for rule in found if rule is not None), None)


NO_RULES = RateRules({})


def load(path: Path) -> RateRules:
    """Rules from a CSV file with the columns `COLUMNS`; others are not looked at, but for ``source``.

    Raises `RatesError`, which names the line, if it cannot be read, lacks a column, or a line is not a rule.
    """
    rules: dict[Key, Rule] = {}
    for number, row in _rows(path):
        texts = {name: (row[name] or "").strip() for name in COLUMNS}
        if not all(texts.values()):
            missing = next(name for name in COLUMNS if not texts[name])
            raise RatesError(f"line {number} has no {missing}; give * for all", path)
        key = _key(texts)
        try:
            rate = exact_rate(float(texts["hertz"]))
        except (ValueError, FrameRateError) as error:
            reason = f"line {number}: hertz is {texts['hertz']!r:.50}, not a positive number"
            raise RatesError(f"{reason}; give one, like 120", path) from error
        if key in rules:
            raise RatesError(f"line {number}: {', '.join(key)} stands there twice; give one rate", path)
        rules[key] = Rule(rate, (row.get("source") or "").strip())
    return RateRules(rules)


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
    """What is known to be another frame rate than a recording's, in words; None if nothing is."""
    rule = known().find(dataset, subject, sequence)
    if rule is None or rule.frame_rate == frame_rate:
        return None
    known_rate = f"{float(rule.frame_rate):g} Hz"
    why = f"it is believed to be {known_rate}" if rule.source else f"AMASS's census has {known_rate}"
    return f"taken at {float(frame_rate):g} Hz, but {why}; --known-rates corrects it"


def _rows(path: Path) -> Iterable[tuple[int, dict[str, str | None]]]:
    """The lines of a CSV file by the names of its columns, with their numbers."""
    try:
        with open_file(path) as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise RatesError(f"is larger than {MAX_BYTES} bytes; give one rule per line", path)
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise RatesError(f"has no column {missing[0]}; its first line must be {','.join(COLUMNS)}", path)
        return [(reader.line_num, row) for row in reader]
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
