"""Which recordings of a tree are selected."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from fractions import Fraction

from h36m_amass.datasets import canonical
from h36m_amass.errors import H36mAmassError
from h36m_amass.recordings.tree import RecordingFile


class SubsetError(H36mAmassError):
    """A selection that no recording can match."""


@dataclass(frozen=True)
class Subset:
    """A selection of recordings: those that match every condition here, from all datasets or those chosen by name.

    Whole names must match the regular expressions `subject` and `sequence`, and none of the shell patterns `exclude`,
    which are for ``SUBJECT/SEQUENCE`` or ``DATASET/SUBJECT/SEQUENCE``. Recordings last `min_seconds` to `max_seconds`,
    both included, before any resampling. The first `limit` of these, in sorted order, are selected. None stands for no
    such condition. Raises `SubsetError` if a pattern is not a regular expression, or no recording can fit the numbers.
    """

    subject: str | None = None
    sequence: str | None = None
    min_seconds: float | None = None
    max_seconds: float | None = None
    limit: int | None = None
    exclude: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.exclude, str):
            raise SubsetError(f"exclude is the string {self.exclude!r}; give a tuple of patterns")
        for option, pattern in (("--subject", self.subject), ("--sequence", self.sequence)):
            try:
                re.compile(pattern or "")
            except (re.error, OverflowError) as error:
                raise SubsetError(f"{option} {pattern!r} is not a regular expression: {error}") from error
        for option, seconds in (("--min-seconds", self.min_seconds), ("--max-seconds", self.max_seconds)):
            if seconds is not None and not 0 <= seconds < math.inf:
                raise SubsetError(f"{option} {seconds:g} is not a length; give seconds, 0 or more")
        if self.min_seconds is not None and self.max_seconds is not None and self.min_seconds > self.max_seconds:
            reason = f"no recording lasts {self.min_seconds:g} s or more and {self.max_seconds:g} s or less"
            raise SubsetError(f"{reason}; swap --min-seconds and --max-seconds")
        if self.limit is not None and self.limit < 1:
            raise SubsetError(f"--limit {self.limit} leaves no recording; give at least 1")

    @staticmethod
    def names() -> tuple[str, ...]:
        """The attributes, in the order in which a recording is compared with them."""
        return tuple(field.name for field in fields(Subset))

    def missed_by_name(self, file: RecordingFile) -> str | None:
        """Which of the patterns does not select a recording by its name, the first that there is."""
        for filtered_by, pattern, name in (
            ("subject", self.subject, file.subject),
            ("sequence", self.sequence, file.sequence),
        ):
            if pattern is not None and not re.fullmatch(pattern, name):
                return filtered_by
        return "exclude" if self.excluding(file) else None

    def excluding(self, file: RecordingFile) -> set[str]:
        """The patterns that exclude a recording."""
        return {pattern for pattern in self.exclude if _matches(file, pattern)}

    def unused_excludes(self, used: Collection[str]) -> tuple[str, ...]:
        """The patterns that exclude nothing, if these exclude something."""
        return tuple(pattern for pattern in self.exclude if pattern not in used)

    def missed_by_length(self, num_frames: int, frame_rate: Fraction) -> str | None:
        """Which of the lengths a recording does not fit. Exact: the numbers are the decimals that they print as."""
        if self.min_seconds is not None and num_frames < Fraction(str(self.min_seconds)) * frame_rate:
            return "min_seconds"
        if self.max_seconds is not None and num_frames > Fraction(str(self.max_seconds)) * frame_rate:
            return "max_seconds"
        return None

    def foreseen(self, files: Sequence[RecordingFile]) -> tuple[RecordingFile, ...]:
        """Those that it will be, as far as that can be told from their names."""
        return tuple(file for file in files if self.missed_by_name(file) is None)[: self.limit]


EVERYTHING = Subset()


def _matches(file: RecordingFile, pattern: str) -> bool:
    """Whether a shell pattern matches a recording, in any case and under any name of its dataset.

    The ending ``_poses`` or ``_stageii`` of the recording's name is optional.
    """
    top, slash, rest = pattern.partition("/")
    patterns = pattern.casefold(), f"{canonical(top)}{slash}{rest}".casefold()
    sequences = {file.sequence, file.sequence.removesuffix("_poses").removesuffix("_stageii")}
    names = [f"{file.subject}/{sequence}".casefold() for sequence in sequences]
    names += [f"{file.dataset.casefold()}/{name}" for name in names]
    return any(fnmatchcase(name, each) for name in names for each in patterns)


def filters(not_selected: Mapping[str, int]) -> str:
    """Numbers of recordings that are not selected, by attribute of `Subset`, with the options' names."""
    counts = ((name, not_selected.get(name, 0)) for name in Subset.names())
    return ", ".join(f"{number:,} by --{name.replace('_', '-')}" for name, number in counts if number)
