"""Is everything in place that a build needs?"""

from __future__ import annotations

import io
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, groupby
from pathlib import Path

from h36m_amass import skeleton
from h36m_amass.body import model, regressor
from h36m_amass.body.families import FAMILIES, GENDERS, SMPLH, BodyKind
from h36m_amass.body.joint_sets import SKELETON, JointSetError, JointSource, load_sources, num_vertices, skeleton_family
from h36m_amass.conversion.inputs import placed
from h36m_amass.conversion.recipe import NUM_BETAS, NUM_DMPLS
from h36m_amass.conversion.report import RecordingWarning
from h36m_amass.files import paths
from h36m_amass.files.archives import ArchiveError, open_archive
from h36m_amass.files.paths import Location, UrlError
from h36m_amass.files.sources import Held
from h36m_amass.recordings import listings, rates
from h36m_amass.recordings.access import source_of
from h36m_amass.recordings.listings import ListedMember, list_member
from h36m_amass.recordings.recording import AmassError
from h36m_amass.recordings.tree import Archive, RecordingFile, Skipped, find_recordings, is_wanted, names_of
from h36m_amass.system.progress import Progress, Stages, nothing

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is as it should be, and a line about it."""

    ok: bool
    message: str


@dataclass(frozen=True)
class CheckedDataset:
    """What the headers of a dataset's recordings say."""

    dataset: str
    recordings: int  # how many can be converted; the following are about these
    hours: float  # they last together
    frame_rates: tuple[Fraction, ...]  # in hertz, ascending
    models: tuple[str, ...]  # the body models that they need, sorted
    genders: tuple[str, ...]
    without_dmpls: int  # how many have no soft tissue, or are not asked for it
    problems: int  # how many files cannot be converted
    archive: str = ""  # name of an archive of which only the first recording was looked at; empty for none


@dataclass(frozen=True)
class Check:
    """What was found."""

    findings: tuple[Finding, ...]  # a line for each thing that was looked at
    warnings: tuple[RecordingWarning, ...]  # what is doubtful about recordings, from their headers and first frames
    datasets: tuple[CheckedDataset, ...]  # a row for each dataset in the AMASS folder, sorted; none without one


def check_inputs(
    support_dir: Path | str,
    joint_regressor: Path | str | Sequence[Path | str] | None = None,
    amass_dir: Path | str | Location | None = None,
    use_dmpls: bool = True,
    vertex_map: Path | None = None,
    progress: Progress = nothing,
) -> Check:
    """Load the joint regressor and every body model that is needed, and look through an AMASS folder.

    Of recordings only the headers are read, and of an archive that was never gone through only the first recording.
    The parameters are those of `h36m_amass.build`; without `amass_dir` only the models and the regressor are looked at,
    and all three genders of SMPL+H count.
    """
    stages = Stages(_log)
    support_dir = Path(support_dir)
    findings, sources, loaded_map = _check_regressors(support_dir, joint_regressor, vertex_map)
    kinds = {BodyKind(SMPLH.name, gender, use_dmpls) for gender in GENDERS}
    recordings, datasets, warnings = list[Finding](), tuple[CheckedDataset, ...](), tuple[RecordingWarning, ...]()
    if amass_dir is not None:
        found = _Recordings(paths.parse(amass_dir), use_dmpls)
        try:
            found.look(progress)
        except (AmassError, UrlError) as error:
            recordings = [Finding(False, str(error))]
        else:
            kinds, datasets = found.kinds() or kinds, tuple(found.datasets())
            recordings, warnings = found.findings(datasets), tuple(found.warnings)
        stages.ended("looked through %s", amass_dir)
    of_skeleton = skeleton_family({kind.model for kind in kinds})
    total = len({(kind.model, kind.gender) for kind in kinds})
    for done, (_, group) in enumerate(groupby(sorted(kinds), lambda kind: (kind.model, kind.gender))):
        progress("bodies", done, total)
        kind = max(group)  # with soft tissue, if any is
        if kind.model != of_skeleton and any(source.joints is None for source in sources):
            title, other = FAMILIES[of_skeleton].title, FAMILIES[kind.model].title
            reason = f"the joint set {SKELETON} holds the joints of {title}, and {other} has others"
            reason = f"{other} recordings cannot be converted: {reason}; build recordings of the two into two stores"
            findings.append(Finding(False, reason))
            continue
        findings += _check_body_model(support_dir, kind, sources, loaded_map)
    progress("bodies", total, total)
    stages.ended("looked at %d body models", total)
    return Check((*findings, *recordings), warnings, datasets)


def _check_regressors(
    support_dir: Path, joint_regressor: Path | str | Sequence[Path | str] | None, vertex_map: Path | None
) -> tuple[list[Finding], tuple[JointSource, ...], regressor.VertexMap | None]:
    findings, sources = list[Finding](), tuple[JointSource, ...]()
    loaded_map: regressor.VertexMap | None = None
    try:
        sources = load_sources(joint_regressor, None, support_dir)
        if vertex_map is not None:
            loaded_map = regressor.load_map(vertex_map, num_vertices(sources))
        sources = tuple(source.with_sides(support_dir, loaded_map) for source in sources)
        for source in sources:
            if source.joints is not None:
                findings.append(Finding(True, f"{source.path}: {_describe(source.joints)}"))
        if vertex_map is not None:
            findings.append(Finding(True, f"{vertex_map}: map to {num_vertices(sources)} vertices"))
    except (regressor.RegressorError, JointSetError) as error:
        findings.append(Finding(False, str(error)))
    return findings, sources, loaded_map


def _describe(joints: regressor.JointRegressor) -> str:
    """What a regressor is, in a few words."""
    legs = skeleton.leg_order(joints.skeleton).removesuffix(", ")
    return f"{joints.title}, {joints.num_joints} joints{f', {legs}' if legs else ''}"


def _check_body_model(
    support_dir: Path, kind: BodyKind, sources: Sequence[JointSource], vertex_map: regressor.VertexMap | None
) -> list[Finding]:
    findings, family, gender = list[Finding](), FAMILIES[kind.model], kind.gender
    path, path_of_dmpls = model.model_path(support_dir, gender, family), model.dmpl_path(support_dir, gender)
    # Without and with the DMPLs, so that one look tells of both files.
    for file, num_dmpls in ((path, 0), (path_of_dmpls, NUM_DMPLS))[: 1 + kind.has_dmpls]:
        try:
            if num_dmpls:
                model.require(file, model.dmpl_origin(gender))
            body = model.load(support_dir, gender, NUM_BETAS, num_dmpls, family)
            model.check_bones(body, path, family)
            for source in sources:
                source.fit(body, vertex_map, f"{family.title} ({gender})")
        except (model.BodyModelError, regressor.RegressorError) as error:
            findings += [Finding(False, str(error))] if Finding(False, str(error)) not in findings else []
            continue
        traits = f"fits {body.num_vertices} vertices, {body.num_bones} bones"
        traits += f", {body.num_betas} betas"
        traits += ", SYNTHETIC: not data to train on" if body.synthetic else ""
        findings.append(Finding(True, f"{file}: {traits}"))
    return findings


class _Recordings:
    """What the recordings of an AMASS folder say of themselves."""

    def __init__(self, amass_dir: Location, use_dmpls: bool) -> None:
        self._amass_dir, self._use_dmpls = amass_dir, use_dmpls
        self._members: dict[str, list[ListedMember]] = defaultdict(list)
        self._skipped: list[Skipped] = []
        self._unread: dict[str, str] = {}
        self.warnings: list[RecordingWarning] = []

    def look(self, progress: Progress) -> None:
        """Read headers, those of archives from the cache; raises `AmassError` if there are no recordings."""
        listing = find_recordings(self._amass_dir)
        self._skipped += listing.skipped
        for done, file in enumerate(listing.files):
            progress("headers", done, len(listing.files))
            try:
                member = list_member(file.path, source_of(self._amass_dir, file), self._use_dmpls)
                self._add(file, member)
            except AmassError as error:
                self._skipped.append(Skipped(file.dataset, file.path, str(error)))
        progress("headers", len(listing.files), len(listing.files))
        for archive in listing.archives:
            self._look_into(archive)

    def _add(self, file: RecordingFile, member: ListedMember) -> None:
        if member.problem is not None:
            self._skipped.append(Skipped(file.dataset, file.path, member.problem))
            return
        self._members[file.dataset].append(member)
        known = rates.contradiction(file.dataset, file.subject, file.sequence, Fraction(member.frame_rate))
        messages = (*([] if known is None else [known]), *member.warnings)
        self.warnings += [RecordingWarning(file.dataset, file.path, message) for message in messages]

    def _look_into(self, archive: Archive) -> None:
        """The recordings of an archive, if it was ever gone through; otherwise the first of them."""
        known = listings.load(self._amass_dir, archive, self._use_dmpls)
        if known is not None:
            contents, members = placed(archive, known)
            self._skipped += contents.skipped
            for file in contents.files:
                self._add(file, members[file.path])
            return
        self._unread[archive.dataset] = archive.name
        path = archive.name
        try:
            with open_archive(self._amass_dir / archive.name, is_wanted) as stream:
                for member in stream:
                    path, content = f"{archive.folder}/{member.name}", io.BytesIO()
                    member.copy_to(content)
                    listed = list_member(path, Held(path, content.getvalue()), self._use_dmpls)
                    self._add(RecordingFile(archive.dataset, *names_of(path), path, member.size, 0), listed)
                    return
            reason = stream.damage or "holds no recordings; download it again, or remove it"
        except ArchiveError as error:
            reason = error.reason
        self._skipped.append(Skipped(archive.dataset, path, reason))

    def kinds(self) -> set[BodyKind]:
        """The body models that the recordings need."""
        members = chain.from_iterable(self._members.values())
        return {BodyKind(member.model, member.gender, member.has_dmpls) for member in members}

    def findings(self, datasets: Sequence[CheckedDataset]) -> list[Finding]:
        """A line for each dataset and each file that cannot be converted."""
        found = []
        for row in (row for row in datasets if row.recordings):
            counted = "an archive whose first recording can be read; a build goes through all of it"
            if not row.archive:
                total = rates.census().get(row.dataset)
                counted = (
                    f"{row.recordings:,} of the {total:,} recordings in AMASS's census"
                    if total
                    else f"{row.recordings:,} recordings"
                )
            found.append(Finding(True, f"{self._amass_dir / (row.archive or row.dataset)}: {counted}"))
        return found + [Finding(False, f"{self._amass_dir / file.path}: {file.reason}") for file in self._skipped]

    def datasets(self) -> Iterator[CheckedDataset]:
        """Rows of the table, in sorted order."""
        problems = Counter(skipped.dataset for skipped in self._skipped)
        for dataset in sorted(self._members.keys() | problems.keys()):
            members = self._members[dataset]
            yield CheckedDataset(
                dataset=dataset,
                recordings=len(members),
                hours=float(sum(member.num_frames / Fraction(member.frame_rate) for member in members)) / 3600,
                frame_rates=tuple(sorted({Fraction(member.frame_rate) for member in members})),
                models=tuple(sorted({FAMILIES[member.model].title for member in members})),
                genders=tuple(sorted({member.gender for member in members})),
                without_dmpls=sum(FAMILIES[member.model].has_dmpls and not member.has_dmpls for member in members),
                problems=problems[dataset],
                archive=self._unread.get(dataset, ""),
            )
