"""Is everything in place that a build needs?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from h36m_amass import amass, body_model, regressor
from h36m_amass.planning import make_plan
from h36m_amass.preparation import NUM_BETAS, NUM_DMPLS


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is as it should be, and a line about it."""

    ok: bool
    message: str


def check_inputs(
    support_dir: Path, joint_regressor: Path | None = None, amass_dir: Path | None = None, use_dmpls: bool = True
) -> list[Finding]:
    """Load the joint regressor and every gender's body models, and look through an AMASS folder.

    Parameters
    ----------
    support_dir, joint_regressor, amass_dir, use_dmpls
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
    recordings, genders = _check_recordings(amass_dir, use_dmpls)
    for gender, needs_dmpls in genders.items():
        findings += _check_body_model(Path(support_dir), gender, joints, path, needs_dmpls)
    return findings + recordings


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


def _check_recordings(amass_dir: Path | None, use_dmpls: bool) -> tuple[list[Finding], dict[str, bool]]:
    """Findings about the recordings, and the genders whose body models they need, each with or without DMPLs."""
    everything = dict.fromkeys(body_model.GENDERS, use_dmpls)
    if amass_dir is None:
        return [], everything
    try:
        plan = make_plan(Path(amass_dir), amass.find_sequences(Path(amass_dir)), frame_rate=None, use_dmpls=use_dmpls)
    except amass.AmassError as error:
        return [Finding(False, str(error))], everything
    sequences = plan.sequences
    counts = Counter(planned.file.dataset for planned in sequences)
    findings = [Finding(True, f"{Path(amass_dir) / name}: {count} recordings") for name, count in counts.items()]
    findings += [Finding(False, f"{Path(amass_dir) / left.path}: {left.reason}") for left in plan.left_out]
    if not sequences:
        return findings, everything
    headers = [planned.header for planned in sequences]
    genders = sorted({header.gender for header in headers})
    return findings, {gender: any(h.has_dmpls for h in headers if h.gender == gender) for gender in genders}
