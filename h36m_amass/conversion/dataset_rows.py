"""The report of a build, and of a shard of one, from what became of its units."""

from __future__ import annotations

import os
from pathlib import Path

from h36m_amass.body.model import FAMILIES
from h36m_amass.conversion.options import BuildError
from h36m_amass.conversion.report import BuildReport, DatasetRow, LeftOut
from h36m_amass.store.format import SequenceRecord
from h36m_amass.system import atomic_file as whole_file


def lacks_dmpls(record: SequenceRecord) -> bool:
    """Whether soft tissue could have gone into the joints, and did not."""
    return FAMILIES[record.model].has_dmpls and not record.has_dmpls


def dataset_rows(records: list[SequenceRecord], left_out: tuple[LeftOut, ...]) -> tuple[DatasetRow, ...]:
    """The numbers of each dataset that has anything."""
    rows = []
    for dataset in sorted({record.dataset for record in records} | {left.dataset for left in left_out}):
        own = [record for record in records if record.dataset == dataset]
        rows.append(
            DatasetRow(
                dataset=dataset,
                subjects=len({record.subject for record in own}),
                sequences=len(own),
                source_frames=sum(record.source_frames for record in own),
                frames=sum(record.length for record in own),
                without_dmpls=sum(map(lacks_dmpls, own)),
                left_out=sum(left.dataset == dataset for left in left_out),
            )
        )
    return tuple(rows)


def write_report(path: Path, report: BuildReport) -> None:
    """Write a report as JSON; raises `BuildError` if it cannot be."""
    try:
        if path.exists() and not path.is_file():  # /dev/stdout, say
            path.write_text(report.to_json(), encoding="utf-8")
            return
        with whole_file.written(Path(os.path.realpath(path))) as file:  # a link stays one
            file.write(report.to_json().encode())
    except OSError as error:
        kept = f"{report.store} is whole, and up to date" if report.shard is None else f"shard {report.shard} is done"
        raise BuildError(f"{path}: the report cannot be written ({error.strerror}); {kept}") from error
