"""Is everything in place that a build needs?"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path

from h36m_amass.body import model as body_model
from h36m_amass.body import regressor
from h36m_amass.body.joint_sets import (
    JointSetError,
    JointSource,
    check_family,
    load_sources,
    num_vertices,
    skeleton_family,
)
from h36m_amass.conversion.planning import BodyKind, Plan, PlannedSequence, Progress, make_plan
from h36m_amass.conversion.preparation import NUM_BETAS, NUM_DMPLS
from h36m_amass.files.remote import Address, RemoteError, place
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.tree import find_sequences
from h36m_amass.system.progress import Stages

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is as it should be, and a line about it."""

    ok: bool
    message: str


@dataclass(frozen=True)
class CheckedDataset:
    """What the headers of a dataset's recordings say.

    Attributes
    ----------
    recordings
        How many can be converted; the following are about these.
    hours
        They last together.
    frame_rates
        In hertz, ascending.
    models, genders
        The body models that they need, sorted.
    without_dmpls
        How many have no soft tissue, or are not asked for it.
    problems
        How many files cannot be converted.
    """

    dataset: str
    recordings: int
    hours: float
    frame_rates: tuple[Fraction, ...]
    models: tuple[str, ...]
    genders: tuple[str, ...]
    without_dmpls: int
    problems: int


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes
    ----------
    findings
        A line for each thing that was looked at.
    datasets
        A row for each dataset in the AMASS folder, sorted; none without one.
    """

    findings: tuple[Finding, ...]
    datasets: tuple[CheckedDataset, ...]


def check_inputs(
    support_dir: Path,
    joint_regressor: Path | str | Sequence[Path | str] | None = None,
    amass_dir: Path | str | Address | None = None,
    use_dmpls: bool = True,
    vertex_map: Path | None = None,
    progress: Progress | None = None,
    processes: int = 0,
) -> Check:
    """Load the joint regressor and every body model that is needed, and look through an AMASS folder.

    Of recordings only the headers are read.

    Parameters
    ----------
    support_dir, joint_regressor, amass_dir, use_dmpls, vertex_map, progress
        As for `h36m_amass.build`; without `amass_dir` only the models and the regressor are looked at, and all
        three genders of SMPL+H count.
    processes
        How many may help to read the headers of very many recordings; they need the usual
        ``if __name__ == "__main__":`` in a script.
    """
    stages = Stages(_log)
    findings: list[Finding] = []
    sources: tuple[JointSource, ...] = ()
    loaded_map: regressor.VertexMap | None = None
    try:
        sources = load_sources(joint_regressor, None, Path(support_dir))
        findings += [
            Finding(True, f"{source.path}: regressor of {source.joints.num_joints} joints")
            for source in sources
            if source.joints is not None
        ]
        if vertex_map is not None:
            loaded_map = regressor.load_map(vertex_map, num_vertices(sources))
            findings.append(Finding(True, f"{vertex_map}: map to {num_vertices(sources)} vertices"))
    except (regressor.RegressorError, JointSetError) as error:
        findings.append(Finding(False, str(error)))
    kinds = {BodyKind(body_model.SMPLH.name, gender, use_dmpls) for gender in body_model.GENDERS}
    recordings, datasets = list[Finding](), tuple[CheckedDataset, ...]()
    if amass_dir is not None:
        amass_dir = place(amass_dir)
        try:
            listing = find_sequences(amass_dir, use_dmpls=use_dmpls, progress=progress)
            stages.ended("%s: found %d recordings", amass_dir, len(listing.sequences))
            plan = make_plan(amass_dir, listing, None, use_dmpls, progress=progress, processes=processes)
            stages.ended("read the headers of %d recordings", len(listing.sequences))
        except (amass.AmassError, RemoteError) as error:
            recordings = [Finding(False, str(error))]
        else:
            kinds, datasets = {planned.body for planned in plan.sequences} or kinds, tuple(_datasets(plan))
            recordings = [
                Finding(True, f"{amass_dir / row.dataset}: {row.recordings} recordings")
                for row in datasets
                if row.recordings
            ]
            recordings += [Finding(False, f"{amass_dir / left.path}: {left.reason}") for left in plan.left_out]
    of_skeleton = skeleton_family({kind.model for kind in kinds})
    total = len({(kind.model, kind.gender) for kind in kinds})
    for done, ((model, gender), own) in enumerate(groupby(sorted(kinds), lambda kind: (kind.model, kind.gender))):
        if progress is not None:
            progress("bodies", done, total)
        family, needs_dmpls = body_model.FAMILIES[model], any(kind.has_dmpls for kind in own)
        if any(source.joints is None for source in sources):
            try:
                check_family(family, of_skeleton)
            except regressor.MeshMismatchError as error:
                findings.append(Finding(False, f"{family.title} recordings cannot be converted: {error}"))
                continue
        findings += _check_body_model(Path(support_dir), family, gender, sources, loaded_map, needs_dmpls)
    if progress is not None:
        progress("bodies", total, total)
    stages.ended("looked at %d body models", total)
    return Check((*findings, *recordings), datasets)


def _check_body_model(
    support_dir: Path,
    family: body_model.Family,
    gender: str,
    sources: Sequence[JointSource],
    vertex_map: regressor.VertexMap | None,
    use_dmpls: bool,
) -> list[Finding]:
    findings = []
    # Without and with the DMPLs, so that one look tells of both files.
    path = body_model.model_path(support_dir, gender, family)
    for file, num_dmpls in ((path, 0), (body_model.dmpl_path(support_dir, gender), NUM_DMPLS)):
        if num_dmpls and not use_dmpls:
            continue
        try:
            if num_dmpls:
                body_model.require(file, body_model.dmpl_origin(gender))
            body = body_model.load(support_dir, gender, NUM_BETAS, num_dmpls, family)
            body_model.check_bones(body, path, family)
            for source in sources:
                source.for_mesh(body.num_vertices, vertex_map)
        except (body_model.BodyModelError, regressor.RegressorError) as error:
            if Finding(False, str(error)) not in findings:
                findings.append(Finding(False, str(error)))
            continue
        findings.append(Finding(True, f"{file}: {', '.join(_traits(body))}"))
    return findings


def _traits(body: body_model.BodyModel) -> Iterator[str]:
    yield f"fits {body.num_vertices} vertices"
    yield f"{body.num_bones} bones"
    if body.num_betas < NUM_BETAS:
        yield f"only {body.num_betas} of {NUM_BETAS} betas"
    if body.synthetic:
        yield "SYNTHETIC: not data to train on"


def _datasets(plan: Plan) -> Iterator[CheckedDataset]:
    """Rows of the table, in sorted order."""
    by_dataset = defaultdict[str, list[PlannedSequence]](list)
    for planned in plan.sequences:
        by_dataset[planned.file.dataset].append(planned)
    problems = Counter(left.dataset for left in plan.left_out)
    for dataset in sorted(by_dataset.keys() | problems.keys()):
        own = by_dataset[dataset]
        headers = [planned.header for planned in own]
        frames = Counter[Fraction]()
        for header in headers:
            frames[header.frame_rate] += header.num_frames
        yield CheckedDataset(
            dataset=dataset,
            recordings=len(own),
            hours=float(sum(number / rate for rate, number in frames.items())) / 3600,
            frame_rates=tuple(sorted(frames)),
            models=tuple(sorted({body_model.FAMILIES[header.model].title for header in headers})),
            genders=tuple(sorted({header.gender for header in headers})),
            without_dmpls=sum(body_model.FAMILIES[h.model].has_dmpls and not h.has_dmpls for h in headers),
            problems=problems[dataset],
        )
