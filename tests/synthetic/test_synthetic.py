"""What is made up has the real files' formats, and the properties of them that the code relies on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from h36m_amass import skeleton, synthetic
from h36m_amass.body import folding, regressor
from h36m_amass.body import model as body_model
from h36m_amass.engine.reference import mesh_joints
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.tree import find_recordings
from h36m_amass.synthetic import GENDERS, JOINT_NAMES, KINDS, PARENTS

VERTICES, BONES = 6890, 52
FIRST_FINGER = JOINT_NAMES.index("left_index1")
SIDES = ("left", "right")


@pytest.fixture(scope="module", params=GENDERS)
def gender(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(gender: str) -> dict[str, np.ndarray]:
    return synthetic.body_model(gender)


@pytest.fixture(scope="module")
def joints() -> np.ndarray:
    return synthetic.joint_regressor()


@pytest.fixture(scope="module")
def male(whole_support_dir: Path) -> body_model.BodyModel:
    return body_model.load(whole_support_dir, "male")


def bones_of_hand(side: str) -> list[int]:
    """The wrist and the fingers of one side."""
    fingers = [i for i, name in enumerate(JOINT_NAMES) if i >= FIRST_FINGER and name.startswith(side)]
    return [JOINT_NAMES.index(f"{side}_wrist"), *fingers]


def test_a_body_model_has_the_real_files_shapes_and_types(model: dict[str, np.ndarray]) -> None:
    shapes = {
        "v_template": (VERTICES, 3),
        "shapedirs": (VERTICES, 3, 16),
        "posedirs": (VERTICES, 3, 9 * (BONES - 1)),
        "weights": (VERTICES, BONES),
        "J_regressor": (BONES, VERTICES),
    }
    for name, shape in shapes.items():
        assert model[name].shape == shape
        assert model[name].dtype == np.float64
        assert np.isfinite(model[name]).all()
    assert model["kintree_table"].shape == (2, BONES)
    assert model["kintree_table"].dtype == np.uint32
    assert model["kintree_table"][0, 0] == 2**32 - 1
    assert model["kintree_table"][1].tolist() == list(range(BONES))
    assert tuple(model["kintree_table"][0, 1:].tolist()) == PARENTS[1:]
    assert model["f"].shape == (13776, 3)


def test_the_mesh_is_one_closed_surface(model: dict[str, np.ndarray]) -> None:
    faces = model["f"].astype(np.int64)
    assert np.array_equal(np.unique(faces), np.arange(VERTICES))
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 1).all()
    assert {tuple(edge) for edge in directed.tolist()} == {(j, i) for i, j in directed.tolist()}


def test_a_vertex_hangs_on_at_most_four_bones_and_its_weights_sum_to_one(model: dict[str, np.ndarray]) -> None:
    weights = model["weights"]
    assert (weights >= 0).all()
    assert np.count_nonzero(weights, axis=1).max() <= 4
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    assert weights.any(axis=0).sum() == BONES


def test_rest_joints_are_averages_of_vertices_inside_the_body(model: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(model["J_regressor"].sum(axis=1), 1.0, atol=1e-12)
    rest = model["J_regressor"] @ model["v_template"]
    assert 1.5 < np.ptp(model["v_template"][:, 1]) < 1.9
    for left in (name for name in JOINT_NAMES if name.startswith("left_")):
        joint, opposite = (rest[JOINT_NAMES.index(name)] for name in (left, left.replace("left_", "right_")))
        np.testing.assert_allclose(joint * [-1, 1, 1], opposite, atol=2e-3)
        assert joint[0] > 0


@pytest.mark.parametrize("side", SIDES)
def test_pose_correctives_of_fingers_move_vertices_of_their_own_hand_alone(
    model: dict[str, np.ndarray], side: str
) -> None:
    columns = model["posedirs"].reshape(VERTICES, 3, BONES - 1, 9)
    hand = bones_of_hand(side)
    moved = np.abs(columns[:, :, [bone - 1 for bone in hand[1:]]]).max(axis=(1, 2, 3)) > 0
    assert moved.any()
    assert (model["weights"][moved][:, hand].sum(axis=1) > 0).all()
    rest = model["J_regressor"] @ model["v_template"]
    wrist = rest[JOINT_NAMES.index(f"{side}_wrist")]
    outward = model["v_template"][:, 0] * (1 if side == "left" else -1)
    assert (outward[moved] > abs(wrist[0]) - 0.03).all(), "a finger moves the arm"
    body = np.abs(columns[:, :, : FIRST_FINGER - 1]).max(axis=(1, 2, 3)) > 0
    assert body.sum() > moved.sum()


def test_soft_tissue_has_the_real_files_shape_and_moves_no_hand(gender: str, model: dict[str, np.ndarray]) -> None:
    eigvec = synthetic.dmpl_model(gender)["eigvec"]
    assert eigvec.shape == (VERTICES, 3, 8)
    assert eigvec.dtype == np.float64
    size = np.abs(eigvec).max(axis=(1, 2))
    assert 1e-3 < size.max() < 0.05
    fingers = model["weights"][:, FIRST_FINGER:].sum(axis=1) > 0.5
    assert size[fingers].max() < 1e-3 * size.max()


def test_the_regressor_is_like_the_real_one(joints: np.ndarray) -> None:
    assert joints.shape == (17, VERTICES)
    assert joints.dtype == np.float64
    assert joints.flags.f_contiguous
    assert not joints.flags.c_contiguous
    counts = np.count_nonzero(joints, axis=1)
    assert counts.min() >= 4
    assert counts.max() <= 12
    np.testing.assert_allclose(joints.sum(axis=1), 1.0, atol=1e-12)


def test_the_regressors_joints_lie_where_their_names_say(model: dict[str, np.ndarray], joints: np.ndarray) -> None:
    rest = dict(zip(skeleton.H36M.joint_names, joints @ model["v_template"], strict=True))
    bones = dict(zip(JOINT_NAMES, model["J_regressor"] @ model["v_template"], strict=True))
    for name in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"):
        for side in SIDES:
            assert np.linalg.norm(rest[f"{side}_{name}"] - bones[f"{side}_{name}"]) < 0.05
    heights = [rest[name][1] for name in ("left_ankle", "left_knee", "pelvis", "spine", "thorax", "nose", "head_top")]
    assert heights == sorted(heights)


def test_folding_keeps_the_pairs_that_weights_and_regressor_connect(whole_support_dir: Path) -> None:
    body = body_model.load(whole_support_dir, "neutral")
    joints = regressor.load(whole_support_dir / "J_regressor_h36m.npy")
    folded = folding.fold(body, joints)
    assert len(folded.pair_joint) == np.count_nonzero((joints.matrix != 0).astype(int) @ (body.weights != 0))
    assert set(folded.pair_joint.tolist()) == set(range(17))


def test_every_file_says_that_it_is_made_up(whole_support_dir: Path, amass_dir: Path) -> None:
    note = synthetic.SYNTHETIC_NOTE
    archives = [*whole_support_dir.rglob("*.npz"), *amass_dir.rglob("*.npz")]
    assert len(archives) == 6 + 12 + 6
    for path in archives:
        with np.load(path) as npz:
            assert str(npz["synthetic"]) == note
    others = [
        p for folder in (whole_support_dir, amass_dir) for p in folder.rglob("*") if p.is_file() and p.suffix != ".npz"
    ]
    assert len(others) == 2 + 3
    for path in others:
        assert path.read_bytes().rstrip().endswith(note.encode())


def test_every_file_is_taken_for_made_up_by_its_loader(whole_support_dir: Path, amass_dir: Path) -> None:
    assert regressor.load(whole_support_dir / "J_regressor_h36m.npy").synthetic
    assert body_model.load(whole_support_dir, "male", num_dmpls=0).synthetic
    for file in find_recordings(amass_dir).files:
        assert amass.read_header(amass_dir / file.path).synthetic


def test_the_written_regressor_is_read_by_numpy_as_it_was(whole_support_dir: Path, joints: np.ndarray) -> None:
    read = np.load(whole_support_dir / "J_regressor_h36m.npy")
    np.testing.assert_array_equal(read, joints)
    assert read.flags.f_contiguous


def test_the_same_seed_makes_the_same_things_and_another_makes_others(
    gender: str, model: dict[str, np.ndarray]
) -> None:
    for name, array in synthetic.body_model(gender).items():
        np.testing.assert_array_equal(array, model[name])
    other = synthetic.body_model(gender, seed=1)
    assert not np.array_equal(other["posedirs"], model["posedirs"])
    np.testing.assert_array_equal(other["v_template"], model["v_template"])
    np.testing.assert_array_equal(synthetic.dmpl_model(gender)["eigvec"], synthetic.dmpl_model(gender)["eigvec"])
    np.testing.assert_array_equal(synthetic.joint_regressor(), synthetic.joint_regressor())
    assert not np.array_equal(synthetic.joint_regressor(1), synthetic.joint_regressor())
    for kind in KINDS:
        first, again, others = (synthetic.motion(kind, 0.5, 30.0, gender=gender, seed=seed) for seed in (3, 3, 4))
        for name, array in first.items():
            np.testing.assert_array_equal(again[name], array)
        assert not np.array_equal(first["poses"], others["poses"])


def test_two_written_trees_are_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        synthetic.write_amass_tree(tmp_path / name, seconds=0.1)
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.npz"))
    assert names == sorted(path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*.npz"))
    for name in names:
        with np.load(tmp_path / "a" / name) as one, np.load(tmp_path / "b" / name) as other:
            assert sorted(one) == sorted(other)
            for key in one:
                np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fingers", ["still", "moving"])
def test_a_motion_has_the_real_files_shapes_and_finite_values(kind: str, fingers: str) -> None:
    made = synthetic.motion(kind, 2.0, 60.0, gender="female", fingers=fingers, seed=1)  # type: ignore[arg-type]
    for name, shape in {"poses": (120, 156), "trans": (120, 3), "dmpls": (120, 8), "betas": (16,)}.items():
        assert made[name].shape == shape
        assert made[name].dtype == np.float64
        assert np.isfinite(made[name]).all()
    assert made["gender"].shape == made["mocap_framerate"].shape == ()
    assert str(made["gender"]) == "female"
    assert made["mocap_framerate"] == 60.0
    assert np.ptp(made["poses"][:, : 3 * FIRST_FINGER], axis=0).max() > 0.05
    constant = np.ptp(made["poses"][:, 3 * FIRST_FINGER :], axis=0) == 0
    assert constant.all() if fingers == "still" else not constant.any()
    assert "dmpls" not in synthetic.motion(kind, 0.1, 60.0, gender="female", dmpls=False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_motion_stays_near_the_floor_and_its_bones_keep_their_lengths(
    whole_support_dir: Path, male: body_model.BodyModel, kind: str
) -> None:
    joints = regressor.load(whole_support_dir / "J_regressor_h36m.npy")
    made = synthetic.motion(kind, 4.0, 12.0, gender="male", seed=2)
    positions = mesh_joints(male, joints, made["betas"], made["poses"], made["trans"], made["dmpls"])
    names = skeleton.H36M.joint_names
    ankles = positions[:, [names.index("left_ankle"), names.index("right_ankle")], 2]
    lower = ankles.min(axis=1)
    aloft = 0.5 if kind == "jump" else 0.2
    assert (lower > 0).all(), "an ankle below the floor"
    assert lower.min() < 0.2, "never on the floor"
    assert (lower < 0.2 + aloft).all(), "too high above the floor"
    assert (positions[:, names.index("head_top"), 2] > ankles.min(axis=1)).all()
    lengths = skeleton.bone_lengths(positions, skeleton.H36M)
    assert lengths.min() > 0.02
    assert (np.ptp(lengths, axis=0) < 0.12).all()
    speed = np.linalg.norm(np.diff(positions, axis=0), axis=-1) * 12.0
    assert speed.max() < 15.0, "nobody moves that fast"


def test_a_tree_has_the_variety_that_it_says(amass_dir: Path) -> None:
    listing = find_recordings(amass_dir)
    assert {s.dataset for s in listing.files} == {"Madeup", "Pretend", "Invented"}
    assert len(listing.files) == 12
    assert listing.skipped == ()
    headers = [amass.read_header(amass_dir / s.path) for s in listing.files]
    assert {header.gender for header in headers} == set(GENDERS)
    assert len({header.frame_rate for header in headers}) >= 4
    assert sum(not header.has_dmpls for header in headers) == 1
    assert len({s.subject for s in listing.files if s.dataset == "Invented"}) == 1


@pytest.mark.parametrize(
    ("kind", "seconds", "options"),
    [
        ("spam", 1.0, {"gender": "female"}),
        ("walk", 0.0, {"gender": "female"}),
        ("walk", 1.0, {"gender": "spam"}),
        ("walk", 1.0, {"gender": "female", "fingers": "spam"}),
        ("walk", 1.0, {"gender": "female", "betas": np.zeros(17)}),
    ],
)
def test_a_motion_that_cannot_be_made_up_is_refused(kind: str, seconds: float, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"choose|make|'still'|betas"):
        synthetic.motion(kind, seconds, 60.0, **options)  # type: ignore[arg-type]


def test_a_body_of_an_unknown_gender_is_refused() -> None:
    with pytest.raises(ValueError, match="spam"):
        synthetic.body_model("spam")


def test_a_motion_of_a_single_frame_is_a_motion() -> None:
    for kind in KINDS:
        made = synthetic.motion(kind, 0.01, 100.0, gender="neutral")
        assert made["poses"].shape == (1, 156)
        assert np.isfinite(made["poses"]).all()
