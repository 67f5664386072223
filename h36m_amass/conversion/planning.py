"""What a build will do: which recordings, in which work units. It depends on the input and the options alone."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

from isal.isal_zlib import crc32

from h36m_amass.conversion.report import LeftOut
from h36m_amass.datasets import canonical
from h36m_amass.files import archives
from h36m_amass.files.remote import Address
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.headers import header_reader
from h36m_amass.recordings.resampling import resampled_length
from h36m_amass.recordings.subset import EVERYTHING, Subset
from h36m_amass.recordings.tree import Listing, SequenceFile
from h36m_amass.store.format import SequenceRecord

_log = logging.getLogger(__name__)

UNIT_SOURCE_FRAMES = 65536
MAX_UPSAMPLING = 100
MAX_FRAMES = 10_000_000
"""Of a recording, unless told otherwise: a day at 120 Hz. More is a damaged or hostile file."""

Progress = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done and how much there is.

``"archives"`` counts megabytes of archives, ``"plan"`` recordings, ``"bodies"`` body models, ``"reuse"`` frames that
are there already, ``"convert"`` source frames, ``"assemble"`` frames of the store, and ``"upload"`` its megabytes.
"""


@dataclass(frozen=True, order=True)
class BodyKind:
    """A body model, as recordings ask for it.

    Attributes
    ----------
    model
        Name of its family, one of `h36m_amass.body.model.FAMILIES`.
    gender
        One of `h36m_amass.body.model.GENDERS`.
    has_dmpls
        Whether it has soft tissue.
    """

    model: str
    gender: str
    has_dmpls: bool


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

    file: SequenceFile
    header: amass.Header
    frame_rate: Fraction
    length: int

    @property
    def body(self) -> BodyKind:
        """Which body model it needs."""
        return BodyKind(self.header.model, self.header.gender, self.header.has_dmpls)

    def record(self, checksum: int) -> SequenceRecord:
        """Its row of the store's index, when its positions have this `checksum`."""
        return SequenceRecord(
            dataset=self.file.dataset,
            subject=self.file.subject,
            sequence=self.file.sequence,
            length=self.length,
            frame_rate=float(self.frame_rate),
            source_frames=self.header.num_frames,
            source_frame_rate=float(self.header.frame_rate),
            model=self.header.model,
            gender=self.header.gender,
            has_dmpls=self.header.has_dmpls,
            source_path=self.file.path,
            source_size=self.file.size,
            checksum=checksum,
            canonical_dataset=canonical(self.file.dataset),
        )


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

    @property
    def frames(self) -> int:
        return sum(planned.length for planned in self.sequences)


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
    not_selected
        How many recordings are not of the subset that was asked for, by the first of its attributes that says so.
    """

    units: tuple[Unit, ...]
    left_out: tuple[LeftOut, ...]
    ignored: dict[str, int]
    not_selected: dict[str, int]

    @property
    def sequences(self) -> list[PlannedSequence]:
        return [planned for unit in self.units for planned in unit.sequences]


def make_plan(
    amass_dir: Path | Address,
    listing: Listing,
    frame_rate: Fraction | None = Fraction(50),
    use_dmpls: bool = True,
    upsample: bool = False,
    max_frames: int = MAX_FRAMES,
    progress: Progress | None = None,
    subset: Subset = EVERYTHING,
    processes: int = 0,
) -> Plan:
    """Read the headers of the recordings in `listing` that are of the `subset`, and cut them into work units.

    A unit is a run of sequences of one dataset, of about `UNIT_SOURCE_FRAMES` source frames. No header is read of what
    is not wanted for its name, nor once the subset is full. The headers of many recordings are read by up to so many
    other `processes`, too.
    """
    left_out = [LeftOut(_dataset_of(amass_dir, path), path, reason) for path, reason in listing.misplaced]
    for left in left_out:
        log_left_out(left)
    planned: list[PlannedSequence] = []
    missed: Counter[str] = Counter()
    named: list[SequenceFile] = []
    for file in listing.sequences:
        missed_by = subset.missed_by_name(file)
        if missed_by is None:
            named.append(file)
        else:
            missed[missed_by] += 1
    helpers = processes if subset.limit is None else 0
    with header_reader(amass_dir, listing, named, use_dmpls, helpers) as header_of:
        for done, file in enumerate(named):
            if progress is not None:
                progress("plan", done, len(named))
            if len(planned) == subset.limit:
                missed["limit"] += len(named) - done
                break
            try:
                header = header_of(file)
                missed_by = subset.missed_by_length(header.num_frames, header.frame_rate)
                if missed_by is not None:
                    missed[missed_by] += 1
                    continue
                if header.num_frames > max_frames:
                    raise amass.AmassError(
                        f"has {header.num_frames} frames, more than {max_frames}; if that is right, raise --max-frames"
                    )
                planned.append(_planned(file, header, frame_rate, upsample))
            except amass.AmassError as error:
                left_out.append(LeftOut(file.dataset, file.path, str(error)))
                log_left_out(left_out[-1])
    if progress is not None:
        progress("plan", len(named), len(named))
    not_selected = {field.name: missed[field.name] for field in fields(Subset) if missed[field.name]}
    return Plan(tuple(_units(planned)), tuple(left_out), dict(listing.ignored), not_selected)


def log_left_out(left: LeftOut) -> None:
    """Tell Python's logging of it as soon as it is known; the report comes at the end."""
    _log.warning("left out: %s: %s", left.path, left.reason)


def _dataset_of(amass_dir: Path | Address, path: str) -> str:
    """Name of the dataset that a misplaced file is of, or the archive that its path begins with."""
    first = path.split("/")[0]
    return first if (amass_dir / first).is_dir() else archives.dataset_name(first) or first


def without_bodies(plan: Plan, reasons: Mapping[BodyKind, str]) -> Plan:
    """`plan` without the recordings of some kinds of body, which are left out for these reasons.

    It is cut into units as if they had never been there.
    """
    kept = [planned for planned in plan.sequences if planned.body not in reasons]
    left_out = [
        LeftOut(planned.file.dataset, planned.file.path, reasons[planned.body])
        for planned in plan.sequences
        if planned.body in reasons
    ]
    for left in left_out:
        log_left_out(left)
    return replace(plan, units=tuple(_units(kept)), left_out=(*plan.left_out, *left_out))


def _planned(file: SequenceFile, header: amass.Header, frame_rate: Fraction | None, upsample: bool) -> PlannedSequence:
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
    """Cut a plan where datasets end, and in between where a sequence's name says so.

    Were it cut after so many frames, one recording more or less would move every cut behind it, and nothing of an
    earlier build could be used again. Cuts that depend on what lies beside them come back in step (content-defined
    chunking: Muthitacharoen, Chen and Mazieres, A low-bandwidth network file system, SOSP 2001).
    """
    number, run, frames = 0, list[PlannedSequence](), 0
    least, most = UNIT_SOURCE_FRAMES // 2, 2 * UNIT_SOURCE_FRAMES
    following: PlannedSequence | None
    for sequence, following in zip_longest(planned, planned[1:]):
        run.append(sequence)
        own = sequence.header.num_frames
        frames += own
        by_name = crc32(sequence.file.path.encode()) * least < own * 2**32
        dataset_ends = following is None or following.file.dataset != sequence.file.dataset
        if dataset_ends or frames >= most or (frames >= least and by_name):
            yield Unit(number, tuple(run))
            number, run, frames = number + 1, [], 0
