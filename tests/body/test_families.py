"""SMPL-X and SMPL beside SMPL+H: the joints of smplx's own models, in one run, or skipped with what is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import smplx
import torch
from smplx.utils import Struct

from h36m_amass import synthetic
from h36m_amass.body import model as body_model
from h36m_amass.body import regressor
from h36m_amass.body.families import FAMILIES, SMPL, SMPLX, Family
from h36m_amass.body.model import BodyModelError, MissingModelError
from h36m_amass.body.regressor import MeshMismatchError, RegressorError
from h36m_amass.conversion import tasks
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.options import BuildError
from h36m_amass.conversion.report import BuildReport
from h36m_amass.recordings import recording as amass
from h36m_amass.store.store import Store
from h36m_amass.verification.store import verify
from tests.scenes import random_h36m_regressor, random_template

Arrays = Mapping[str, np.ndarray]
Cli = Callable[..., Any]
NEUTRAL_X = "body_models/smplx/neutral/model.npz"


@pytest.fixture(scope="module")
def full(smplx_support: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models as large as the real ones: SMPL+H female, SMPL-X neutral, SMPL male. Not to be written to."""
    folder = tmp_path_factory.mktemp("full")
    (folder / "body_models").mkdir()
    for name in ("smplh", "dmpls", "smplx"):
        (folder / "body_models" / name).symlink_to(smplx_support / "body_models" / name)
    for name in ("J_regressor_h36m.npy", "smplx_to_smpl.npz"):
        shutil.copy(smplx_support / name, folder)
    synthetic.write_smpl_support(folder, ["male"])
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a few vertices, 12 of SMPL+H and SMPL, 20 of SMPL-X; in these poses bones keep their lengths.

    Not to be written to.
    """
    folder, rng = tmp_path_factory.mktemp("models"), np.random.default_rng(8)
    for name, gender, num_vertices in (("smplh", "female", 12), ("smplx", "neutral", 20), ("smpl", "male", 12)):
        bones, columns = FAMILIES[name].num_bones, {"smplh": 16, "smplx": 400, "smpl": 10}[name]
        save(
            folder / "body_models" / name / gender / "model.npz",
            v_template=random_template(rng, num_vertices),
            shapedirs=rng.normal(scale=0.01, size=(num_vertices, 3, columns)),
            posedirs=rng.normal(scale=0.01, size=(num_vertices, 3, 9 * (bones - 1))),
            weights=rng.dirichlet(np.ones(bones), num_vertices),
            J_regressor=rng.dirichlet(np.ones(num_vertices), bones),
            kintree_table=np.array([range(-1, bones - 1), range(bones)]),
        )
    save(folder / "body_models" / "dmpls" / "female" / "model.npz", eigvec=rng.normal(scale=0.01, size=(12, 3, 8)))
    np.save(folder / "J_regressor_h36m.npy", random_h36m_regressor(rng, 12))
    np.save(folder / "direct.npy", rng.dirichlet(np.ones(20), 17))
    vertex_map = 0.1 * rng.dirichlet(np.ones(20), 12)
    vertex_map[range(12), np.linspace(0, 19, 12).round().astype(int)] += 0.9  # from the left to the right as well
    scipy.sparse.save_npz(folder / "smplx_to_smpl.npz", scipy.sparse.csr_array(vertex_map))
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One recording per family, of half a second. Not to be written to."""
    folder = tmp_path_factory.mktemp("tree")
    for name, arrays in recordings().items():
        synthetic.write_recording(folder / "D" / "S" / f"{name}.npz", arrays)
    return folder


@pytest.fixture
def support(models: Path, tmp_path: Path) -> Path:
    """The same as `models`, to be written to."""
    folder = tmp_path / "support"
    (folder / "body_models").mkdir(parents=True)
    for path in (models / "body_models").iterdir():
        shutil.copytree(path, folder / "body_models" / path.name, copy_function=os.symlink)
    for path in models.glob("*.np[yz]"):
        shutil.copy(path, folder)
    return folder


def recordings() -> dict[str, dict[str, np.ndarray]]:
    motions = [
        synthetic.motion("wave", 0.5, 120, gender=gender, fingers="moving", seed=seed)
        for seed, gender in enumerate(("female", "neutral", "male"))
    ]
    smplh, smplx_recording, smpl = motions
    return {
        "a_poses": smplh,
        "b_stageii": synthetic.as_smplx(smplx_recording),
        "c_poses": synthetic.as_smpl({name: array for name, array in smpl.items() if name != "dmpls"}),
    }


def save(path: Path, **arrays: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def converted(tree: Path, store: Path, models: Path, **options: Any) -> BuildReport:
    return build(tree, store, support_dir=models, vertex_map=models / "smplx_to_smpl.npz", **options)


def other_map(path: Path) -> None:
    rows = np.random.default_rng(1).dirichlet(np.ones(20), 12)
    scipy.sparse.save_npz(path, scipy.sparse.csr_array(rows))


def mesh_of_smplx(path: Path, recording: Arrays) -> np.ndarray:
    """Vertices in metres that smplx's ``SMPLX`` gives in float64, its expression zero."""
    parts = {"global_orient": 3, "body_pose": 63, "jaw_pose": 3, "leye_pose": 3, "reye_pose": 3}
    parts |= {"left_hand_pose": 45, "right_hand_pose": 45}
    split = np.split(recording["poses"], np.cumsum(list(parts.values()))[:-1], axis=1)
    options = {"num_betas": 16, "use_pca": False, "flat_hand_mean": True, "use_face_contour": False}
    model = smplx.SMPLX(str(path), ext="npz", batch_size=len(recording["poses"]), dtype=torch.float64, **options)
    return vertices(model, recording, dict(zip(parts, split, strict=True)), model.num_betas)


def mesh_of_smpl(arrays: Arrays, recording: Arrays) -> np.ndarray:
    """Vertices in metres that smplx's ``SMPL`` gives in float64."""
    data = Struct(**{**arrays, "f": np.zeros((1, 3), np.int64)})
    model = smplx.SMPL("", data_struct=data, batch_size=len(recording["poses"]), dtype=torch.float64)
    parts = {"global_orient": recording["poses"][:, :3], "body_pose": recording["poses"][:, 3:]}
    return vertices(model, recording, parts, 10)


def vertices(model: Any, recording: Arrays, parts: Arrays, num_betas: int) -> np.ndarray:
    betas = np.broadcast_to(recording["betas"][:num_betas], (len(recording["poses"]), num_betas))
    inputs = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in parts.items()}
    mesh = model(betas=torch.from_numpy(betas.copy()), transl=torch.from_numpy(recording["trans"]), **inputs)
    return np.asarray(mesh.vertices.detach().numpy())


def error(store: Path, key: str, matrix: Any, mesh: np.ndarray) -> float:
    """Largest distance in metres between a sequence at its native rate and the mesh's joints."""
    exact = np.stack([matrix @ frame for frame in mesh])
    return float(np.linalg.norm(Store(store)[key].positions_3d[:] - exact, axis=2).max())


@pytest.mark.parametrize("small_shape_space", [False, True])
def test_smpl_x_joints_are_those_of_smplx_own_model_with_a_direct_and_with_a_mapped_regressor(
    full: Path, tmp_path: Path, small_shape_space: bool
) -> None:
    recording, path = recordings()["b_stageii"], tmp_path / "body_models" / "smplx" / "SMPLX_NEUTRAL.npz"
    synthetic.write_recording(tmp_path / "amass" / "D" / "S" / "x.npz", recording)
    # Hands and face as the real file has them, which smplx asks for and this library does not.
    hands = {
        f"hands_{what}{side}": array
        for side in "lr"
        for what, array in (("mean", np.zeros(45)), ("components", np.eye(45)))
    }
    face = {"f": np.zeros((1, 3), int), "lmk_faces_idx": np.zeros(1, int), "lmk_bary_coords": np.ones((1, 3))}
    save(path, **synthetic.smplx_model("neutral", small_shape_space=small_shape_space), **hands, **face)
    mesh = mesh_of_smplx(path, recording)
    rows, direct = np.load(full / "J_regressor_h36m.npy"), synthetic.smplx_joint_regressor()
    mapped = rows @ scipy.sparse.load_npz(full / "smplx_to_smpl.npz")
    assert np.abs(direct @ mesh[0] - mapped @ mesh[0]).max() > 1e-4
    np.save(tmp_path / "direct.npy", direct)
    options: dict[str, Any] = {"support_dir": tmp_path, "native_rate": True}
    build(tmp_path / "amass", tmp_path / "d.h5", joint_regressor=tmp_path / "direct.npy", **options)
    assert error(tmp_path / "d.h5", "D/S/x", direct, mesh) < 2e-6
    through_map = {"joint_regressor": full / "J_regressor_h36m.npy", "vertex_map": full / "smplx_to_smpl.npz"}
    build(tmp_path / "amass", tmp_path / "m.h5", **through_map, **options)
    assert error(tmp_path / "m.h5", "D/S/x", mapped, mesh) < 2e-6


def test_smpl_joints_are_those_of_smplx_own_model(full: Path, tmp_path: Path) -> None:
    recording = recordings()["c_poses"]
    synthetic.write_recording(tmp_path / "amass" / "D" / "S" / "c.npz", recording)
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=full, native_rate=True)
    mesh = mesh_of_smpl(synthetic.smpl_model("male"), recording)
    assert error(tmp_path / "s.h5", "D/S/c", np.load(full / "J_regressor_h36m.npy"), mesh) < 2e-6


def test_all_families_convert_in_one_run_and_agree_with_the_full_mesh(full: Path, tree: Path, tmp_path: Path) -> None:
    report = converted(tree, tmp_path / "s.h5", full)
    assert report.skipped == ()
    assert report.without_dmpls == ("D/S/c_poses.npz",)  # SMPL-X has no use for them
    assert report.datasets[0].without_dmpls == 1
    with Store(tmp_path / "s.h5") as store:
        assert [s.record.model for s in store.sequences] == ["smplh", "smplx", "smpl"]
        assert list(store.header.body_model_sha256) == ["female+dmpls", "smpl/male", "smplx/neutral"]
    verification = verify(
        tmp_path / "s.h5", against=tree, support_dir=full, vertex_map=full / "smplx_to_smpl.npz", sample=60
    )
    assert verification.findings == ()
    assert 0 < verification.largest < 2e-6


def test_verify_asks_for_the_map_that_the_store_was_built_with(
    models: Path, tree: Path, tmp_path: Path, cli: Cli
) -> None:
    converted(tree, tmp_path / "s.h5", models)
    arguments = ("verify", tmp_path / "s.h5", "--against", tree, "--support-dir", models, "--sample", 30)
    outcome = cli(*arguments, "--vertex-map", models / "smplx_to_smpl.npz")
    assert outcome.exit_code == 0, outcome.stdout
    outcome = cli(*arguments)
    assert outcome.exit_code == 1
    assert "--vertex-map" in outcome.stderr
    assert "smplx, neutral" in cli("info", tmp_path / "s.h5", "D/S/b_stageii").stdout


def test_the_bytes_do_not_depend_on_the_workers(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, arrays in recordings().items():
        for number in range(2):
            synthetic.write_recording(tmp_path / "amass" / "D" / "S" / f"{number}{name}.npz", arrays)
    monkeypatch.setattr(tasks, "TASK_BYTES", 100 * tasks.FRAME_BYTES)
    for workers in (1, 2):
        converted(tmp_path / "amass", tmp_path / f"{workers}.h5", models, workers=workers)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


def test_recordings_whose_body_model_is_missing_are_left_out_with_what_to_download(
    support: Path, tree: Path, tmp_path: Path
) -> None:
    (support / NEUTRAL_X).unlink()
    shutil.rmtree(support / "body_models" / "smpl")
    with pytest.raises(BuildError, match=r"b_stageii.*smpl-x\.is\.tue\.mpg\.de.*--strict"):
        converted(tree, tmp_path / "s.h5", support, strict=True, skip_missing=True)
    assert not (tmp_path / "s.h5").exists()
    report = converted(tree, tmp_path / "s.h5", support, skip_missing=True)
    reasons = {skipped.path: skipped.reason for skipped in report.skipped}
    assert "SMPL-X model (neutral), downloaded from https://smpl-x.is.tue.mpg.de" in reasons["D/S/b_stageii.npz"]
    assert "SMPL model (male), downloaded from https://smpl.is.tue.mpg.de" in reasons["D/S/c_poses.npz"]
    for reason in reasons.values():
        assert str(support) in reason
        assert "\n" not in reason
    # What is left is as if there had been nothing else.
    synthetic.write_recording(tmp_path / "alone" / "D" / "S" / "a_poses.npz", recordings()["a_poses"])
    converted(tmp_path / "alone", tmp_path / "alone.h5", support)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "alone.h5").read_bytes()


def test_missing_dmpls_end_the_build_because_there_is_an_option_to_do_without(
    support: Path, tree: Path, tmp_path: Path
) -> None:
    shutil.rmtree(support / "body_models" / "dmpls")
    with pytest.raises(MissingModelError, match=r"DMPL model \(female\).*--no-dmpls"):
        converted(tree, tmp_path / "s.h5", support)
    assert converted(tree, tmp_path / "s.h5", support, use_dmpls=False).skipped == ()


def test_if_no_recording_has_a_body_model_the_build_fails_with_the_first_reason(
    support: Path, tree: Path, tmp_path: Path
) -> None:
    shutil.rmtree(support / "body_models")
    with pytest.raises(MissingModelError, match="smplh/female"):
        converted(tree, tmp_path / "s.h5", support)
    assert not list(tmp_path.glob("s.h5*"))


def test_a_damaged_model_ends_the_build_whatever_else_there_is(support: Path, tree: Path, tmp_path: Path) -> None:
    (support / NEUTRAL_X).unlink()
    (support / NEUTRAL_X).write_bytes(b"spam")
    with pytest.raises(BodyModelError, match=NEUTRAL_X):
        converted(tree, tmp_path / "s.h5", support)


def test_without_a_map_recordings_of_another_mesh_are_left_out(models: Path, tree: Path, tmp_path: Path) -> None:
    (left,) = build(tree, tmp_path / "s.h5", support_dir=models, skip_missing=True).skipped
    assert left.path == "D/S/b_stageii.npz"
    assert all(word in left.reason for word in ("--vertex-map", "(12, 20) map"))
    direct = models / "direct.npy"
    report = build(tree, tmp_path / "d.h5", support_dir=models, joint_regressor=direct, skip_missing=True)
    assert [left.path for left in report.skipped] == ["D/S/a_poses.npz", "D/S/c_poses.npz"]
    synthetic.write_recording(tmp_path / "x" / "D" / "S" / "b_stageii.npz", recordings()["b_stageii"])
    with pytest.raises(MeshMismatchError, match="--vertex-map"):
        build(tmp_path / "x", tmp_path / "n.h5", support_dir=models)


def test_an_update_keeps_all_with_the_same_map_and_refuses_another(support: Path, tree: Path, tmp_path: Path) -> None:
    converted(tree, tmp_path / "s.h5", support)
    changes = converted(tree, tmp_path / "s.h5", support, update=True).changes
    assert changes is not None
    assert changes.kept == 3
    before = (tmp_path / "s.h5").read_bytes()
    other_map(support / "smplx_to_smpl.npz")
    with pytest.raises(BuildError, match=r"--vertex-map.*--overwrite"):
        converted(tree, tmp_path / "s.h5", support, update=True)
    assert (tmp_path / "s.h5").read_bytes() == before


def test_a_check_looks_at_the_models_that_the_recordings_need(cli: Cli, support: Path, tree: Path) -> None:
    arguments = ("check", tree, "--support-dir", support)
    outcome = cli(*arguments, "--vertex-map", support / "smplx_to_smpl.npz")
    assert outcome.exit_code == 0, outcome.stdout
    for path in (NEUTRAL_X, "body_models/smpl/male/model.npz", "body_models/smplh/female/model.npz", "smplx_to_smpl"):
        assert path in outcome.stdout
    assert "24 bones, 10 betas" in outcome.stdout  # of the SMPL model
    outcome = cli(*arguments)
    assert outcome.exit_code == 1
    assert "--vertex-map" in outcome.stdout
    (support / NEUTRAL_X).unlink()
    assert "https://smpl-x.is.tue.mpg.de" in cli(*arguments).stdout


def test_verify_names_another_map(models: Path, tree: Path, tmp_path: Path) -> None:
    converted(tree, tmp_path / "s.h5", models)
    other_map(tmp_path / "other.npz")
    verification = verify(
        tmp_path / "s.h5", against=tree, support_dir=models, vertex_map=tmp_path / "other.npz", sample=30
    )
    assert "another vertex map" in verification.findings[0]
    assert "differs from the full mesh" in verification.findings[-1]


@pytest.mark.parametrize(
    ("columns", "used"), [(400, 16), (350, 16), (300, 16), (299, 10), (20, 10), (16, 10), (10, 10), (4, 4)]
)
def test_the_expressions_of_smpl_x_files_are_never_taken_for_the_shape(tmp_path: Path, columns: int, used: int) -> None:
    rng, path = np.random.default_rng(0), body_model.model_path(tmp_path, "male", SMPLX)
    shapedirs = rng.normal(size=(5, 3, columns))
    path.parent.mkdir(parents=True)
    np.savez(
        path,
        v_template=rng.normal(size=(5, 3)),
        shapedirs=shapedirs,
        posedirs=rng.normal(size=(5, 3, 9)),
        weights=np.ones((5, 2)) / 2,
        J_regressor=np.ones((2, 5)) / 5,
        kintree_table=np.array([[-1, 0], [0, 1]]),
    )
    body = body_model.load(tmp_path, "male", num_dmpls=0, family=SMPLX)
    np.testing.assert_array_equal(body.shapedirs, shapedirs[:, :, :used])


def test_a_model_lies_in_a_folder_of_its_gender_or_under_the_name_that_smplx_asks_for(tmp_path: Path) -> None:
    folder = tmp_path / "body_models"
    for family, other in ((SMPLX, "SMPLX_MALE.npz"), (SMPL, "SMPL_MALE.npz")):
        in_folder = folder / family.name / "male" / "model.npz"
        assert body_model.model_path(tmp_path, "male", family) == in_folder
        in_folder.parent.mkdir(parents=True)
        (folder / family.name / other).touch()
        assert body_model.model_path(tmp_path, "male", family) == folder / family.name / other
        in_folder.touch()
        assert body_model.model_path(tmp_path, "male", family) == in_folder


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_python_objects_in_a_model_are_not_touched_unless_they_are_needed_and_then_refused(tmp_path: Path) -> None:
    model = synthetic.smpl_model("male")
    path = body_model.model_path(tmp_path, "male", SMPL)
    path.parent.mkdir(parents=True)
    trap = np.array([Trap(tmp_path / "sprung")], dtype=object)
    np.savez(path, **model, hands_prior=trap)
    assert body_model.load(tmp_path, "male", num_dmpls=0, family=SMPL).num_bones == 24
    np.savez(path, **{**model, "J_regressor": trap})
    with pytest.raises(BodyModelError, match="holds Python objects"):
        body_model.load(tmp_path, "male", num_dmpls=0, family=SMPL)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_a_model_of_another_family_in_the_folder_is_refused_with_its_bones(
    family: Family, models: Path, support: Path, tree: Path, tmp_path: Path
) -> None:
    genders = {"smplh": "female", "smplx": "neutral", "smpl": "male"}
    wrong = SMPLX if family is SMPL else SMPL
    path = support / "body_models" / family.name / genders[family.name] / "model.npz"
    path.unlink()
    path.symlink_to(models / "body_models" / wrong.name / genders[wrong.name] / "model.npz")
    words = f"has {wrong.num_bones} bones, and {family.title} recordings need {family.num_bones};".replace("+", r"\+")
    with pytest.raises(BodyModelError, match=words):
        converted(tree, tmp_path / "s.h5", support, use_dmpls=False)


def test_soft_tissue_of_a_recording_of_smpl_x_is_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    synthetic.write_recording(path, {**recordings()["b_stageii"], "dmpls": np.zeros(3)})
    assert not amass.read_header(path).has_dmpls


# --- vertex maps


ROWS = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])  # of a regressor, for three vertices
MAP = np.array([[1.0, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1.0]])  # from four vertices to those


@pytest.fixture
def joints(tmp_path: Path) -> regressor.JointRegressor:
    np.save(tmp_path / "r.npy", ROWS)
    return regressor.load(tmp_path / "r.npy")


@pytest.mark.parametrize("kind", ["dense", "float32", "csr", "csc", "coo", "with normals"])
def test_a_regressor_through_a_map_is_their_product(
    tmp_path: Path, joints: regressor.JointRegressor, kind: str
) -> None:
    path = tmp_path / ("map.npy" if kind in ("dense", "float32") else "map.npz")
    if path.suffix == ".npy":
        np.save(path, MAP.astype(kind) if kind == "float32" else MAP)
    else:
        matrix = np.hstack([MAP, np.full(MAP.shape, np.pi)]) if kind == "with normals" else MAP
        scipy.sparse.save_npz(path, scipy.sparse.coo_array(matrix).asformat("csr" if " " in kind else kind))
    mapped = regressor.for_mesh(joints, 4, tmp_path / "r.npy", regressor.load_map(path, 3))
    np.testing.assert_array_equal(mapped.matrix.toarray(), ROWS @ MAP)
    assert mapped.skeleton == joints.skeleton
    assert mapped.sha256 != joints.sha256
    assert regressor.for_mesh(joints, 3, tmp_path / "r.npy", regressor.load_map(path, 3)) is joints
    with pytest.raises(MeshMismatchError, match="for another"):
        regressor.for_mesh(joints, 5, tmp_path / "r.npy", regressor.load_map(path, 3))


def test_a_joint_that_the_map_leaves_without_vertices_is_refused(
    tmp_path: Path, joints: regressor.JointRegressor
) -> None:
    np.save(tmp_path / "map.npy", np.diag([1.0, 1.0, 0.0]) @ MAP)
    with pytest.raises(RegressorError, match="the joint joint_1"):
        regressor.for_mesh(joints, 4, tmp_path / "r.npy", regressor.load_map(tmp_path / "map.npy", 3))


BAD_MAPS: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "none": ("map.npz", lambda path: None, "is not a file.*https://smpl-x.is.tue.mpg.de"),
    "transposed": ("map.npy", lambda path: np.save(path, MAP.T), r"\(4, 3\).*mesh of 3 vertices"),
    "a pickle": ("map.pkl", lambda path: path.write_bytes(b"\x80\x04N."), "pickles are not read.*save_npz"),
    "objects": ("map.npy", lambda path: np.save(path, MAP.astype(object)), "holds Python objects"),
    "one dimension": ("map.npy", lambda path: np.save(path, MAP[0]), r"not \(vertices, vertices\)"),
    "not finite": ("map.npy", lambda path: np.save(path, MAP * np.nan), "not finite"),
    "a dense npz": ("map.npz", lambda path: np.savez(path, mtx=MAP), "scipy.sparse.save_npz"),
}


@pytest.mark.parametrize("case", list(BAD_MAPS))
def test_a_bad_map_is_refused_in_one_line_that_names_it(tmp_path: Path, case: str) -> None:
    name, make, reason = BAD_MAPS[case]
    make(tmp_path / name)
    with pytest.raises(RegressorError, match=reason) as caught:
        regressor.load_map(tmp_path / name, 3)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)
