"""Is everything in place that a build needs?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from h36m_amass import amass, body_model, regressor
from h36m_amass.planning import BodyKind, make_plan
from h36m_amass.preparation import NUM_BETAS, NUM_DMPLS


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is as it should be, and a line about it."""

    ok: bool
    message: str


def check_inputs(
    support_dir: Path,
    joint_regressor: Path | None = None,
    amass_dir: Path | None = None,
    use_dmpls: bool = True,
    vertex_map: Path | None = None,
) -> list[Finding]:
    """Load the joint regressor and every body model that is needed, and look through an AMASS folder.

    Parameters
    ----------
    support_dir, joint_regressor, amass_dir, use_dmpls, vertex_map
        As for `h36m_amass.build`; without `amass_dir` only the models and the regressor are looked at, and all
        three genders of SMPL+H count.
    """
    findings: list[Finding] = []
    path = joint_regressor or Path(support_dir) / f"{regressor.H36M_FILE_NAME}.npy"
    source: _Joints | None = None
    try:
        loaded = regressor.load(path)
        findings.append(Finding(True, f"{path}: regressor of {loaded.num_joints} joints"))
        source = _Joints(loaded, path, None)
        if vertex_map is not None:
            source = _Joints(loaded, path, regressor.load_map(vertex_map, loaded.num_vertices))
            findings.append(Finding(True, f"{vertex_map}: map to {loaded.num_vertices} vertices"))
    except regressor.RegressorError as error:
        findings.append(Finding(False, str(error)))
    recordings, kinds = _check_recordings(amass_dir, use_dmpls)
    for (model, gender), own in groupby(sorted(kinds), lambda kind: (kind.model, kind.gender)):
        family, needs_dmpls = body_model.FAMILIES[model], any(kind.has_dmpls for kind in own)
        findings += _check_body_model(Path(support_dir), family, gender, source, needs_dmpls)
    return findings + recordings


@dataclass(frozen=True)
class _Joints:
    """A regressor, its file, and the map from other meshes to its own."""

    joints: regressor.JointRegressor
    path: Path
    vertex_map: regressor.VertexMap | None


def _check_body_model(
    support_dir: Path, family: body_model.Family, gender: str, source: _Joints | None, use_dmpls: bool
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
            if source is not None:
                regressor.for_mesh(source.joints, body.num_vertices, source.path, source.vertex_map)
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


def _check_recordings(amass_dir: Path | None, use_dmpls: bool) -> tuple[list[Finding], set[BodyKind]]:
    """Findings about the recordings, and the body models that they need."""
    everything = {BodyKind(body_model.SMPLH.name, gender, use_dmpls) for gender in body_model.GENDERS}
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
    return findings, {planned.body for planned in sequences} or everything
