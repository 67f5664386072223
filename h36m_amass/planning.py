"""What a build will do: which recordings, in which work units. It depends on the input and the options alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from h36m_amass import amass
from h36m_amass.report import LeftOut
from h36m_amass.resampling import resampled_length

UNIT_SOURCE_FRAMES = 65536
MAX_UPSAMPLING = 100

Progress = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done and how much there is.

``"plan"`` counts recordings, ``"convert"`` source frames, ``"assemble"`` frames of the store.
"""


@dataclass(frozen=True)
class PlannedSequence:
    """A recording that will be converted.

    Attributes
    ----------
    frame_rate
        Of the output, in hertz.
    length
        Frames of the output.
    """

    file: amass.SequenceFile
    header: amass.Header
    frame_rate: Fraction
    length: int


@dataclass(frozen=True)
class Unit:
    """A run of sequences that becomes one part.

    Attributes
    ----------
    number
        Its place in the plan.
    sequences
        In index order.
    """

    number: int
    sequences: tuple[PlannedSequence, ...]

    @property
    def source_frames(self) -> int:
        return sum(planned.header.num_frames for planned in self.sequences)


@dataclass(frozen=True)
class Plan:
    """What a build will do.

    Attributes
    ----------
    units
        Work units, in the order in which their parts are assembled.
    left_out
        Files that will not be converted.
    ignored
        Files that are no recordings.
    """

    units: tuple[Unit, ...]
    left_out: tuple[LeftOut, ...]
    ignored: dict[str, int]

    @property
    def sequences(self) -> list[PlannedSequence]:
        return [planned for unit in self.units for planned in unit.sequences]


def make_plan(
    amass_dir: Path,
    listing: amass.Listing,
    frame_rate: Fraction | None = Fraction(50),
    use_dmpls: bool = True,
    upsample: bool = False,
    progress: Progress | None = None,
) -> Plan:
    """Read the headers of the recordings in `listing`, and cut them into work units.

    A unit is a run of sequences of about `UNIT_SOURCE_FRAMES` source frames.
    """
    left_out = [LeftOut(path.split("/")[0], path, reason) for path, reason in listing.misplaced]
    planned: list[PlannedSequence] = []
    for done, file in enumerate(listing.sequences):
        if progress is not None:
            progress("plan", done, len(listing.sequences))
        try:
            header = amass.read_header(f"{amass_dir}/{file.path}", use_dmpls)
            planned.append(_planned(file, header, frame_rate, upsample))
        except amass.AmassError as error:
            left_out.append(LeftOut(file.dataset, file.path, str(error)))
    if progress is not None:
        progress("plan", len(listing.sequences), len(listing.sequences))
    return Plan(tuple(_units(planned)), tuple(left_out), dict(listing.ignored))


def _planned(
    file: amass.SequenceFile, header: amass.Header, frame_rate: Fraction | None, upsample: bool
) -> PlannedSequence:
    if frame_rate is None:
        return PlannedSequence(file, header, header.frame_rate, header.num_frames)
    if header.frame_rate < frame_rate and not upsample:
        raise amass.AmassError(
            f"is at {float(header.frame_rate):g} Hz, slower than {float(frame_rate):g} Hz; "
            "to interpolate frames, use --upsample"
        )
    if frame_rate > MAX_UPSAMPLING * header.frame_rate:
        raise amass.AmassError(
            f"is at {float(header.frame_rate):g} Hz, too slow for {float(frame_rate):g} Hz even with --upsample"
        )
    length = resampled_length(header.num_frames, header.frame_rate, frame_rate)
    if length == 0:
        raise amass.AmassError(
            f"is too short: {header.num_frames} frames at {float(header.frame_rate):g} Hz "
            f"give none at {float(frame_rate):g} Hz"
        )
    return PlannedSequence(file, header, frame_rate, length)


def _units(planned: list[PlannedSequence]) -> Iterator[Unit]:
    number, run, frames = 0, list[PlannedSequence](), 0
    for sequence in planned:
        run.append(sequence)
        frames += sequence.header.num_frames
        if frames >= UNIT_SOURCE_FRAMES:
            yield Unit(number, tuple(run))
            number, run, frames = number + 1, [], 0
    if run:
        yield Unit(number, tuple(run))
