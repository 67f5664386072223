"""What a build did: converted, skipped and why, for people and machines."""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from h36m_amass.body.families import FAMILIES
from h36m_amass.conversion.options import BuildError
from h36m_amass.recordings.resampling import exact_rate
from h36m_amass.recordings.tree import Skipped
from h36m_amass.store.format import SequenceRecord
from h36m_amass.system import atomic_file


@dataclass(frozen=True)
class DatasetRow:
    """One dataset's numbers."""

    dataset: str
    subjects: int
    sequences: int
    source_frames: int
    frames: int
    without_dmpls: int
    skipped: int


@dataclass(frozen=True)
class RecordingWarning:
    """A warning about a recording that was still converted."""

    dataset: str
    path: str  # relative to the AMASS folder
    message: str


@dataclass(frozen=True)
class Changes:
    """What an update did to a store, in sequences."""

    added: int
    changed: int  # converted again
    kept: int  # as they were
    gone: int  # no longer among the inputs; they stay, unless they were pruned
    pruned: bool  # whether those were removed


@dataclass(frozen=True)
class BuildReport:
    """What `h36m_amass.build` returns."""

    store: str  # its path
    datasets: tuple[DatasetRow, ...]  # sorted
    skipped: tuple[Skipped, ...]  # every file that could have been a sequence and was not converted, with the reason
    warnings: tuple[RecordingWarning, ...]  # by path; for sequences that an update keeps, only those about frame rates
    corrected_rates: int  # how many sequences' recordings have another frame rate than their files say, as asked
    unused_rates: tuple[str, ...]  # rules of --frame-rates that count for no recording of the store
    unused_excludes: tuple[str, ...]  # patterns of --exclude that match no recording
    ignored: Mapping[str, int]  # number of files that are not recordings, by kind (licences, ``shape.npz`` ...)
    # How many recordings the subset did not select, by the attribute of `h36m_amass.Subset` that decided it.
    not_selected: Mapping[str, int]
    use_dmpls: bool  # whether soft tissue was requested
    # Paths of the recordings that were converted without soft tissue because they have none. Those of SMPL-X, which
    # knows no soft tissue, do not count.
    without_dmpls: tuple[str, ...]
    reused: int  # how many sequences an interrupted build had converted already
    changes: Changes | None  # what an update did; None without ``--update``
    synthetic: bool  # whether anything that went in was made up
    device: str  # where joints were computed, several with commas between them
    seconds: float  # from start to end

    @property
    def frames(self) -> int:
        """Frames of the store."""
        return sum(row.frames for row in self.datasets)

    @property
    def source_frames(self) -> int:
        """Frames of the recordings that they come from."""
        return sum(row.source_frames for row in self.datasets)

    def reasons(self) -> list[tuple[str, tuple[Skipped, ...]]]:
        """Reasons with the files that were skipped for them, the most frequent first."""
        return grouped((skipped.reason, skipped) for skipped in self.skipped)

    def warning_groups(self) -> list[tuple[str, tuple[RecordingWarning, ...]]]:
        """Messages with the recordings that they are about, the most frequent first."""
        return grouped((warning.message, warning) for warning in self.warnings)

    def to_json(self) -> str:
        """The report as a JSON object, its keys the attributes' names."""
        return json.dumps(asdict(self), indent=2) + "\n"


_Item = TypeVar("_Item", Skipped, RecordingWarning)


def grouped(items: Iterable[tuple[str, _Item]]) -> list[tuple[str, tuple[_Item, ...]]]:
    """Items by the text beside them, the most frequent text first."""
    groups: dict[str, list[_Item]] = defaultdict(list)
    for text, item in items:
        groups[text].append(item)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[1][0].path))
    return [(text, tuple(members)) for text, members in ordered]


def rate_is_corrected(record: SequenceRecord) -> bool:
    """Whether a recording was converted at another frame rate than its file says."""
    return exact_rate(record.recorded_frame_rate) != exact_rate(record.source_frame_rate)


def lacks_dmpls(record: SequenceRecord) -> bool:
    """Whether soft tissue could have gone into the joints, and did not."""
    return FAMILIES[record.model].has_dmpls and not record.has_dmpls


def dataset_rows(records: Iterable[SequenceRecord], skipped: Iterable[Skipped]) -> tuple[DatasetRow, ...]:
    """The numbers of each dataset that has sequences or skipped files."""
    by_dataset: dict[str, list[SequenceRecord]] = defaultdict(list)
    num_skipped = Counter(file.dataset for file in skipped)
    for record in records:
        by_dataset[record.dataset].append(record)
    return tuple(
        DatasetRow(
            dataset=dataset,
            subjects=len({record.subject for record in by_dataset[dataset]}),
            sequences=len(by_dataset[dataset]),
            source_frames=sum(record.source_frames for record in by_dataset[dataset]),
            frames=sum(record.length for record in by_dataset[dataset]),
            without_dmpls=sum(map(lacks_dmpls, by_dataset[dataset])),
            skipped=num_skipped[dataset],
        )
        for dataset in sorted({*by_dataset, *num_skipped})
    )


def write_report(path: Path, report: BuildReport) -> None:
    """Write a report as JSON; raises `BuildError` if it cannot be written."""
    try:
        if path.exists() and not path.is_file():  # /dev/stdout, say
            path.write_text(report.to_json(), encoding="utf-8")
            return
        with atomic_file.written(Path(os.path.realpath(path))) as file:  # a link stays one
            file.write(report.to_json().encode())
    except OSError as error:
        raise BuildError(
            f"the report cannot be written ({error.strerror}); {report.store} is whole, and up to date", path
        ) from error
