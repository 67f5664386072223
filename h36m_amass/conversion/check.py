"""What would a build do? Is everything that it needs in place?"""

from __future__ import annotations

import io
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import chain, groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from h36m_amass import skeleton
from h36m_amass.body import model, regressor
from h36m_amass.body.families import FAMILIES, GENDERS, SMPLH, BodyKind
from h36m_amass.body.joint_sets import SKELETON, JointSetError, JointSource, skeleton_family
from h36m_amass.conversion.convert import why_not
from h36m_amass.conversion.inputs import doubtful_names, placed
from h36m_amass.conversion.options import BuildOptions
from h36m_amass.conversion.recipe import NUM_BETAS, NUM_DMPLS, Recipe, joint_sources, of_options
from h36m_amass.conversion.report import RecordingWarning, grouped
from h36m_amass.conversion.tasks import Job
from h36m_amass.conversion.unpack import list_archive
from h36m_amass.files import paths
from h36m_amass.files.archives import ArchiveError, open_archive
from h36m_amass.files.paths import Location, UrlError
from h36m_amass.files.sources import Held
from h36m_amass.recordings import listings, rates
from h36m_amass.recordings.access import source_of
from h36m_amass.recordings.listings import ListedMember, at_rate, list_member
from h36m_amass.recordings.rates import Key
from h36m_amass.recordings.recording import AmassError
from h36m_amass.recordings.resampling import resampled_length
from h36m_amass.recordings.subset import EVERYTHING, Subset
from h36m_amass.recordings.tree import Archive, RecordingFile, Skipped, find_recordings, is_wanted, place_members
from h36m_amass.setup.placing import misplaced
from h36m_amass.system.progress import Progress, Stages, nothing
from h36m_amass.wording import counted, first_names

_log = logging.getLogger(__name__)
NAMED_FILES = 3  # of those that cannot be converted for one reason


@dataclass(frozen=True)
class Finding:
    """One checked thing: whether it is as it should be, and a line about it."""

    ok: bool
    message: str


@dataclass(frozen=True)
class CheckedDataset:
    """What a build would convert of a dataset, according to the headers of its recordings."""

    dataset: str
    recordings: int  # how many would be converted; the following are about these
    frames: int  # they would give
    hours: float  # they last together
    frame_rates: tuple[Fraction, ...]  # in hertz, ascending
    models: tuple[str, ...]  # the body models that they need, sorted
    genders: tuple[str, ...]
    without_dmpls: int  # how many have no soft tissue, or are converted without
    skipped: int  # how many would be skipped because of the options
    problems: int  # how many files cannot be converted
    archive: str = ""  # name of an archive, if only its first recording was read


@dataclass(frozen=True)
class Check:
    """What was found."""

    findings: tuple[Finding, ...]  # one line per checked thing
    warnings: tuple[RecordingWarning, ...]  # warnings about recordings, from their headers and first frames
    skipped: tuple[Skipped, ...]  # recordings that a build would skip because of its options
    not_selected: Mapping[str, int]  # as in `BuildReport`
    datasets: tuple[CheckedDataset, ...]  # a row for each dataset in the AMASS folder, sorted; none without one
    unused_rates: tuple[str, ...] = ()  # as in `BuildReport`, as far as recordings were looked at
    unused_excludes: tuple[str, ...] = ()

    def warning_groups(self) -> list[tuple[str, tuple[RecordingWarning, ...]]]:
        """Messages with the recordings that they are about, the most frequent first."""
        return grouped((warning.message, warning) for warning in self.warnings)

    def to_json(self) -> str:
        """The check as a JSON object, its keys the attributes' names; rates are floats."""
        return json.dumps(asdict(self), indent=2, default=float) + "\n"


def check_inputs(
    options: BuildOptions,
    amass_dir: Path | str | Location | None = None,
    *,
    thorough: bool = False,
    progress: Progress = nothing,
) -> Check:
    """Report what a build with these options would do: load the models that it needs, and read an AMASS folder.

    Only headers and first frames of recordings are read, and only the first recording of an archive that was never read
    before, unless the check is `thorough`. Without `amass_dir` only the models and the regressors are checked, and
    all three genders of SMPL+H count. Raises `h36m_amass.recordings.rates.RatesError` if the file of frame rates is
    wrong.
    """
    stages = Stages(_log)
    support_dir = Path(options.support_dir)
    findings, sources, loaded_map = _check_regressors(options)
    how = of_options(options, sources, loaded_map, "cpu", {})
    kinds = {BodyKind(SMPLH.name, gender, how.use_dmpls) for gender in GENDERS}
    lines, datasets, recordings = list[Finding](), tuple[CheckedDataset, ...](), None
    if amass_dir is not None:
        recordings = _Recordings(paths.parse(amass_dir), options, how, thorough)
        try:
            recordings.look(progress)
        except (AmassError, UrlError) as error:
            lines = [Finding(False, str(error))]
        else:
            kinds, datasets = recordings.kinds() or kinds, tuple(recordings.datasets())
            lines = recordings.findings(datasets)
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
    if not all(finding.ok for finding in findings):
        findings += [Finding(False, line) for line in misplaced(support_dir)]
    progress("bodies", total, total)
    stages.ended("looked at %d body models", total)
    if recordings is None:
        return Check(tuple(findings), (), (), {}, ())
    selected = {name: count for name in Subset.names() if (count := recordings.not_selected[name])}
    unused = how.frame_rates.unused(recordings.names), options.subset.unused_excludes(recordings.used_excludes)
    return Check(
        (*findings, *lines), tuple(recordings.warnings), tuple(recordings.left_out), selected, datasets, *unused
    )


def _check_regressors(
    options: BuildOptions,
) -> tuple[list[Finding], tuple[JointSource, ...], regressor.VertexMap | None]:
    try:
        sources, vertex_map = joint_sources(options)
    except (regressor.RegressorError, JointSetError, skeleton.SkeletonError) as error:
        return [Finding(False, str(error))], (), None
    described = [(source.path, source.joints) for source in sources if source.joints is not None]
    findings = [Finding(True, f"{path}: {_describe(joints)}") for path, joints in described]
    if vertex_map is not None:
        findings.append(Finding(True, f"{vertex_map.path}: map to {vertex_map.matrix.shape[0]} vertices"))
    return findings, sources, vertex_map


def _describe(joints: regressor.JointRegressor) -> str:
    """What a regressor is, in a few words."""
    legs = "left and right are told by a body model" if joints.sides_unknown else skeleton.leg_order(joints.skeleton)
    parts = joints.title, f"{joints.num_joints} joints", legs
    return ", ".join(part for part in parts if part)


def _check_body_model(
    support_dir: Path, kind: BodyKind, sources: Sequence[JointSource], vertex_map: regressor.VertexMap | None
) -> list[Finding]:
    findings, family, gender = list[Finding](), FAMILIES[kind.model], kind.gender
    path, path_of_dmpls = model.model_path(support_dir, gender, family), model.dmpl_path(support_dir, gender)
    # Without and with the DMPLs, so that one check covers both files.
    for file, num_dmpls in ((path, 0), (path_of_dmpls, NUM_DMPLS))[: 1 + kind.has_dmpls]:
        try:
            if num_dmpls:
                model.require(file, model.dmpl_origin(gender))
            body = model.load(support_dir, gender, NUM_BETAS, num_dmpls, family)
            model.check_bones(body, path, family)
            for source in sources:
                source.fit(body, vertex_map, kind.title)
        except (model.BodyModelError, regressor.RegressorError) as error:
            findings += [Finding(False, str(error))] if Finding(False, str(error)) not in findings else []
            continue
        traits = f"fits {body.num_vertices} vertices, {body.num_bones} bones, {body.num_betas} betas"
        traits += ", SYNTHETIC: not data to train on" if body.synthetic else ""
        findings.append(Finding(True, f"{file}: {traits}"))
    return findings


def _counted(number: int, converted: int, dataset: str) -> str:
    """How many recordings of a dataset are there, how many of them a build would convert, and how many AMASS has."""
    line = counted(number, "recordings") + ("" if converted == number else f", {converted:,} of them to convert")
    total = rates.census().get(dataset)
    return line + (f"; AMASS's census of SMPL+H has {total:,}" if total else "")


class _Recordings:
    """The headers of the recordings in an AMASS folder, and what a build would do with them."""

    def __init__(self, amass_dir: Location, options: BuildOptions, how: Recipe, thorough: bool) -> None:
        self._amass_dir, self._options, self._how, self._thorough = amass_dir, options, how, thorough
        self._members: dict[str, list[ListedMember]] = defaultdict(list)
        self._skipped: list[Skipped] = []
        self._unread: dict[str, str] = {}
        self.left_out: list[Skipped] = []
        self.not_selected = Counter[str]()
        self.warnings: list[RecordingWarning] = []
        self.names: set[Key] = set()  # of the recordings that the subset selects by their names
        self.used_excludes: set[str] = set()
        self._num_present = Counter[str]()  # recordings that are there, by dataset

    def look(self, progress: Progress) -> None:
        """Read headers, those of archives from the cache; raises `AmassError` if there are no recordings."""
        listing = find_recordings(self._amass_dir, tuple(self._options.datasets))
        self._skipped += listing.skipped
        self.warnings += doubtful_names(listing)
        for done, file in enumerate(listing.files):
            progress("headers", done, len(listing.files), file.path)
            if self._is_selected(file):
                try:
                    source = source_of(self._amass_dir, file)
                    self._add(file, list_member(file.path, source, self._how.use_dmpls))
                except AmassError as error:
                    self._skipped.append(Skipped(file.dataset, file.path, str(error)))
        progress("headers", len(listing.files), len(listing.files))
        for done, archive in enumerate(listing.archives):
            progress("archives", done, len(listing.archives), archive.name)
            self._look_into(archive)
        if listing.archives:
            progress("archives", len(listing.archives), len(listing.archives))

    def _is_selected(self, file: RecordingFile) -> bool:
        """Whether the subset selects a recording, as far as is known before it is opened."""
        limit = self._options.subset.limit
        is_full = limit is not None and sum(map(len, self._members.values())) >= limit
        filtered_by = self._options.subset.missed_by_name(file) or ("limit" if is_full else None)
        self.used_excludes |= self._options.subset.excluding(file)
        self._num_present[file.dataset] += 1
        self.not_selected.update([filtered_by] if filtered_by is not None else [])
        return filtered_by is None

    def _add(self, file: RecordingFile, member: ListedMember) -> None:
        """Note a recording that the subset selects by its name."""
        if member.problem is not None:
            self._skipped.append(Skipped(file.dataset, file.path, member.problem))
            return
        names = file.dataset, file.subject, file.sequence
        self.names.add(names)
        is_given = self._how.rates.find(*names) is not None
        known = None if is_given else rates.contradiction(*names, Fraction(member.frame_rate))
        member = at_rate(member, file, self._how.rates)
        filtered_by = self._options.subset.missed_by_length(member.num_frames, member.frame_rate)
        if filtered_by is not None:
            self.not_selected[filtered_by] += 1
            return
        reason = why_not(member.num_frames, member.frame_rate, self._how)
        if reason is not None:
            hint = rates.hint(*names, member.frame_rate)
            self.left_out.append(Skipped(file.dataset, file.path, reason + hint))
            return
        messages = (*([] if known is None else [known]), *member.warnings)
        self.warnings += [RecordingWarning(file.dataset, file.path, message) for message in messages]
        self._members[file.dataset].append(member)

    def _look_into(self, archive: Archive) -> None:
        """All recordings of an archive, if it was or is now read to its end; otherwise the first of them."""
        known = listings.load(self._amass_dir, archive, self._how.use_dmpls)
        if known is None and self._thorough:
            with TemporaryDirectory() as scratch:
                where = self._amass_dir, Path(self._options.support_dir), Path(scratch)
                known = list_archive(Job(*where, self._how, EVERYTHING, ("cpu",), True), archive)
        if known is not None:
            contents, members = placed(archive, known)
            self._skipped += contents.skipped
            for file in contents.files:
                if self._is_selected(file):
                    self._add(file, members[file.path])
            return
        self._unread[archive.dataset] = archive.name
        path = archive.name
        try:
            with open_archive(self._amass_dir / archive.name, is_wanted) as stream:
                for member in stream:
                    contents = place_members(archive, [(member.name, member.size, member.problem)])
                    self._skipped += contents.skipped
                    for file in contents.files:
                        path, content = file.path, io.BytesIO()
                        member.copy_to(content)
                        self._add(file, list_member(path, Held(path, content.getvalue()), self._how.use_dmpls))
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
        counts = {row.dataset: row.recordings for row in datasets}
        lines = [
            Finding(True, f"{self._amass_dir / dataset}: {_counted(number, counts.get(dataset, 0), dataset)}")
            for dataset, number in sorted(self._num_present.items())
        ]
        what = "an archive whose first recording can be read; --thorough reads all of it, as a build does"
        lines += [Finding(True, f"{self._amass_dir / row.archive}: {what}") for row in datasets if row.archive]
        for reason, files in grouped((skipped.reason, skipped) for skipped in self._skipped):
            paths = [str(self._amass_dir / file.path) for file in files]
            line = f"{len(paths):,} files, each: {reason}: {first_names(paths, NAMED_FILES)}"
            lines.append(Finding(False, f"{paths[0]}: {reason}" if len(paths) == 1 else line))
        if not any(row.recordings for row in datasets) and not self._skipped:
            reason = "no recording can be converted" if self.left_out else "no recording is selected"
            lines.append(Finding(False, f"{self._amass_dir}: {reason} with these options; choose others"))
        return lines

    def datasets(self) -> Iterator[CheckedDataset]:
        """Rows of the table, in sorted order."""
        problems, left_out = (Counter(file.dataset for file in files) for files in (self._skipped, self.left_out))
        for dataset in sorted(self._members.keys() | problems.keys() | left_out.keys()):
            members = self._members[dataset]
            yield CheckedDataset(
                dataset=dataset,
                recordings=len(members),
                frames=sum(
                    resampled_length(member.num_frames, member.frame_rate, self._how.frame_rate or member.frame_rate)
                    for member in members
                ),
                hours=float(sum(member.num_frames / Fraction(member.frame_rate) for member in members)) / 3600,
                frame_rates=tuple(sorted({Fraction(member.frame_rate) for member in members})),
                models=tuple(sorted({FAMILIES[member.model].title for member in members})),
                genders=tuple(sorted({member.gender for member in members})),
                without_dmpls=sum(FAMILIES[member.model].has_dmpls and not member.has_dmpls for member in members),
                skipped=left_out[dataset],
                problems=problems[dataset],
                archive=self._unread.get(dataset, ""),
            )
