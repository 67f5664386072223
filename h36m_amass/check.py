"""Is everything in place that a build needs?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from h36m_amass import amass, body_model, regressor
from h36m_amass.planning import Plan, PlannedSequence, Progress, make_plan
from h36m_amass.preparation import NUM_BETAS, NUM_DMPLS


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
    joint_regressor: Path | None = None,
    amass_dir: Path | None = None,
    use_dmpls: bool = True,
    progress: Progress | None = None,
) -> Check:
    """Load the joint regressor and every gender's body models, and look through an AMASS folder.

    Of recordings only the headers are read.

    Parameters
    ----------
    support_dir, joint_regressor, amass_dir, use_dmpls, progress
        As for `h36m_amass.build`; without `amass_dir` only the models and the regressor are looked at, and all
        three genders count.
    """
    findings: list[Finding] = []
    path = joint_regressor or Path(support_dir) / f"{regressor.H36M_FILE_NAME}.npy"
    joints: regressor.JointRegressor | None = None
    try:
        joints = regressor.load(path)
        findings.append(Finding(True, f"{path}: regressor of {joints.num_joints} joints"))
    except regressor.RegressorError as error:
        findings.append(Finding(False, str(error)))
    everything = dict.fromkeys(body_model.GENDERS, use_dmpls)
    genders, recordings, datasets = everything, list[Finding](), tuple[CheckedDataset, ...]()
    if amass_dir is not None:
        amass_dir = Path(amass_dir)
        try:
            listing = amass.find_sequences(amass_dir, use_dmpls=use_dmpls, progress=progress)
            plan = make_plan(amass_dir, listing, frame_rate=None, use_dmpls=use_dmpls, progress=progress)
        except amass.AmassError as error:
            recordings = [Finding(False, str(error))]
        else:
            genders, datasets = _genders(plan) or everything, tuple(_datasets(plan))
            recordings = [
                Finding(True, f"{amass_dir / row.dataset}: {row.recordings} recordings")
                for row in datasets
                if row.recordings
            ]
            recordings += [Finding(False, f"{amass_dir / left.path}: {left.reason}") for left in plan.left_out]
    for gender, needs_dmpls in genders.items():
        findings += _check_body_model(Path(support_dir), gender, joints, path, needs_dmpls)
    return Check((*findings, *recordings), datasets)


def _check_body_model(
    support_dir: Path, gender: str, joints: regressor.JointRegressor | None, regressor_path: Path, use_dmpls: bool
) -> list[Finding]:
    findings = []
    # Without and with the DMPLs, so that one look tells of both files.
    for path, num_dmpls in (
        (body_model.smplh_path(support_dir, gender), 0),
        (body_model.dmpl_path(support_dir, gender), NUM_DMPLS),
    ):
        if num_dmpls and not use_dmpls:
            continue
        try:
            if num_dmpls and not path.exists():
                body_model.require(path, body_model.dmpl_origin(gender))
            body = body_model.load(support_dir, gender, NUM_BETAS, num_dmpls)
            body_model.check_smplh(body, body_model.smplh_path(support_dir, gender))
            if joints is not None:
                regressor.check_fits(joints, body.num_vertices, regressor_path)
        except (body_model.BodyModelError, regressor.RegressorError) as error:
            if Finding(False, str(error)) not in findings:
                findings.append(Finding(False, str(error)))
            continue
        made_up = ", SYNTHETIC: not data to train on" if body.synthetic else ""
        findings.append(Finding(True, f"{path}: fits {body.num_vertices} vertices, {body.num_bones} bones{made_up}"))
    return findings


def _genders(plan: Plan) -> dict[str, bool]:
    """The genders whose body models the recordings need, each with or without DMPLs."""
    headers = [planned.header for planned in plan.sequences]
    genders = sorted({header.gender for header in headers})
    return {gender: any(header.has_dmpls for header in headers if header.gender == gender) for gender in genders}


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
            models=tuple(sorted({_model(planned) for planned in own})),
            genders=tuple(sorted({header.gender for header in headers})),
            without_dmpls=sum(not header.has_dmpls for header in headers),
            problems=problems[dataset],
        )


def _model(planned: PlannedSequence) -> str:
    """Which family of body models a recording is of: there is one that can be converted."""
    return "SMPL+H"
