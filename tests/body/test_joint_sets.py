"""Several joint sets from one pass: each is what a build with it alone gives, and the skeleton is the body's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import smplx.joint_names
import torch

from h36m_amass import export_npz
from h36m_amass.body import model as body_model
from h36m_amass.body import regressor
from h36m_amass.body.joint_sets import JointSetError, load_sources
from h36m_amass.body.regressor import RegressorError
from h36m_amass.conversion import recipe
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.check import check_inputs
from h36m_amass.conversion.options import BuildError, BuildOptions
from h36m_amass.engine.reference import skeleton_joints
from h36m_amass.recordings import recording as amass
from h36m_amass.skeleton import BODY_JOINTS, H36M
from h36m_amass.store.store import Store, UnknownKeyError
from h36m_amass.synthetic import relatives
from h36m_amass.training.windows import WindowDataset
from h36m_amass.verification.store import verify
from tests.scenes import recording, write


@pytest.fixture(scope="module")
def half(support_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A regressor of other joints."""
    path = tmp_path_factory.mktemp("half") / "half.npy"
    np.save(path, regressor.load(support_dir / "J_regressor_h36m.npy").matrix.toarray()[3::2])
    return path


@pytest.fixture(scope="module")
def three(amass_dir: Path, support_dir: Path, half: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("three") / "three.h5"
    regressors = (support_dir / "J_regressor_h36m.npy", f"few={half}", "skeleton")
    build(amass_dir, path, support_dir=support_dir, joint_regressor=regressors, datasets=["Pretend"])
    return path


@pytest.mark.parametrize("name", ["h36m", "few", "skeleton"])
def test_each_set_is_what_a_build_with_it_alone_gives(
    three: Path, amass_dir: Path, support_dir: Path, half: Path, tmp_path: Path, name: str
) -> None:
    alone = {"h36m": None, "few": f"few={half}", "skeleton": "skeleton"}[name]
    build(amass_dir, tmp_path / "one.h5", support_dir=support_dir, joint_regressor=alone, datasets=["Pretend"])
    one, of_three = Store(tmp_path / "one.h5"), Store(three, name)
    assert one.joint_sets == (name,)
    assert one.joint_set == of_three.joint_set
    for sequence in one.sequences:
        ours = of_three[sequence.key]
        assert np.abs(ours.positions_3d[:] - sequence.positions_3d[:]).max() < 1e-6
        assert ours.record.source_path == sequence.record.source_path


def test_a_store_says_which_sets_it_has_and_reads_the_first(three: Path) -> None:
    store = Store(three)
    assert store.joint_sets == ("h36m", "few", "skeleton")
    assert store.skeleton == H36M
    assert len(store.with_joint_set("few").skeleton) == 7
    with pytest.raises(UnknownKeyError, match=r"no joint set 'mesh'; it has h36m, few, skeleton"):
        Store(three, "mesh")
    with h5py.File(three) as file:
        assert set(file["joint_sets"]) == {"few", "skeleton"}
        assert file["joint_sets/skeleton/positions_3d"].shape == (len(file["positions_3d"]), 52, 3)


def test_the_skeleton_is_the_posed_joints_of_lbs(three: Path, amass_dir: Path, support_dir: Path) -> None:
    store = Store(three, "skeleton")
    for sequence in store.sequences:
        if sequence.record.source_frame_rate % 50:
            continue
        path = amass_dir / sequence.record.source_path
        header = amass.read_header(path)
        body = body_model.load(support_dir, header.gender)
        with np.load(path) as npz:
            step = int(sequence.record.source_frame_rate // 50)
            arrays = [npz[name][::step][:40] for name in ("poses", "trans", "dmpls")]
        exact = skeleton_joints(body, amass.fit_betas(header.betas, body.num_betas), *arrays)
        assert np.linalg.norm(sequence.positions_3d[:40] - exact, axis=2).max() < 2e-6


@pytest.mark.parametrize(
    ("model", "names"), [("smplh", smplx.joint_names.SMPLH_JOINT_NAMES), ("smplx", smplx.joint_names.JOINT_NAMES)]
)
def test_kinematic_joints_have_smplx_s_names(model: str, names: list[str]) -> None:
    assert list(BODY_JOINTS[model]) == names[: len(BODY_JOINTS[model])]
    assert len(BODY_JOINTS[model]) == body_model.FAMILIES[model].num_bones
    assert len(BODY_JOINTS["smpl"]) == body_model.FAMILIES["smpl"].num_bones


def test_the_skeleton_s_bones_and_sides_are_the_body_s(three: Path, support_dir: Path) -> None:
    skeleton = Store(three, "skeleton").skeleton
    assert skeleton.parents == tuple(body_model.load(support_dir, "male", num_dmpls=0).parents.tolist())
    for left, right in zip(skeleton.left, skeleton.right, strict=True):
        assert skeleton.joint_names[right] == "right" + skeleton.joint_names[left].removeprefix("left")
    assert len({*skeleton.left, *skeleton.right}) == 52 - 6  # the pelvis, three of the spine, neck and head are single


def test_sets_are_the_same_with_any_number_of_workers_and_taken_over_by_an_update(
    three: Path, amass_dir: Path, support_dir: Path, half: Path, tmp_path: Path
) -> None:
    regressors = (support_dir / "J_regressor_h36m.npy", f"few={half}", "skeleton")
    options = {"support_dir": support_dir, "joint_regressor": regressors, "datasets": ["Pretend"]}
    store = tmp_path / "s.h5"
    build(amass_dir, store, workers=2, **options)  # type: ignore[arg-type]
    assert store.read_bytes() == three.read_bytes()
    changes = build(amass_dir, store, update=True, **options).changes  # type: ignore[arg-type]
    assert changes is not None
    assert changes.kept == len(Store(three).sequences)
    assert store.read_bytes() == three.read_bytes()
    options["joint_regressor"] = regressors[:2]
    with pytest.raises(BuildError, match="--overwrite"):
        build(amass_dir, store, update=True, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("which", [None, "few", "skeleton"])
def test_a_store_of_several_sets_is_verified_whole(
    three: Path, amass_dir: Path, support_dir: Path, half: Path, which: str | None
) -> None:
    joint_regressor = f"few={half}" if which == "few" else which
    done = verify(three, against=amass_dir, support_dir=support_dir, joint_regressor=joint_regressor, sample=40)
    assert done.findings == ()
    assert done.compared_frames
    assert done.largest < 2e-6


def test_a_byte_of_any_set_is_found(three: Path, tmp_path: Path) -> None:
    from h36m_amass.store import footer

    path = tmp_path / "s.h5"
    path.write_bytes(three.read_bytes())
    with h5py.File(path, "r+") as file:
        file["joint_sets/skeleton/positions_3d"][5, 7] += 1.0
    footer.write(path)
    assert any("checksum" in finding for finding in verify(path).findings)


def test_windows_and_exports_read_the_set_that_is_asked_for(three: Path, tmp_path: Path) -> None:
    windows = WindowDataset(Store(three, "skeleton"), 27)
    assert windows[0]["positions_3d"].shape == (27, 52, 3)
    assert isinstance(windows[0]["positions_3d"], torch.Tensor)
    (path,) = export_npz(three, tmp_path, joint_set="few")
    with np.load(path, allow_pickle=True) as npz:  # our own file
        subjects = npz["positions_3d"].item()
    key = Store(three).sequences[0].key.split("/")
    np.testing.assert_array_equal(
        subjects[key[1]][key[2]]["positions_3d"], Store(three, "few")["/".join(key)].positions_3d[:]
    )


def test_the_skeleton_is_of_one_family_of_bodies(smplx_support: Path, tmp_path: Path) -> None:
    write(tmp_path / "amass" / "D" / "S" / "a.npz", recording(40))
    write(
        tmp_path / "amass" / "D" / "S" / "b.npz",
        relatives.as_smplx(recording(40, gender="neutral", synthetic=np.array(True))),
    )
    report = build(
        tmp_path / "amass", tmp_path / "s.h5", support_dir=smplx_support, joint_regressor="skeleton", skip_missing=True
    )
    assert "the store holds the skeleton of another family" in report.skipped[0].reason
    assert len(Store(tmp_path / "s.h5").skeleton) == 52
    checked = check_inputs(BuildOptions(smplx_support, ["skeleton"]), tmp_path / "amass")
    assert [finding.message for finding in checked.findings if not finding.ok] == [
        "SMPL-X recordings cannot be converted: the joint set skeleton holds the joints of SMPL+H, and SMPL-X has "
        "others; build recordings of the two into two stores"
    ]
    assert sum(row.without_dmpls for row in checked.datasets) == 0


@pytest.mark.parametrize(
    ("regressors", "names", "message"),
    [
        (["{h}", "{h}"], None, "same name"),
        (["skeleton"], "{n}", "the skeleton's have names already; omit it"),
        (["{h}", "few={f}"], "{n}", "give NAME=FILE for one of h36m, few"),
        (["{h}"], "other={n}", "give NAME=FILE for one of h36m"),
    ],
)
def test_sets_that_cannot_be_told_apart_are_refused(
    support_dir: Path, half: Path, tmp_path: Path, regressors: list[str], names: str | None, message: str
) -> None:
    names_file = tmp_path / "names.txt"
    names_file.write_text("\n".join(f"j{i}" for i in range(7)))
    files = {"h": support_dir / "J_regressor_h36m.npy", "f": half, "n": names_file}
    arguments = [text.format(**files) for text in regressors]
    with pytest.raises(JointSetError, match=message):
        load_sources(arguments, None if names is None else names.format(**files), support_dir)


def test_names_go_to_the_set_that_they_are_given_for(support_dir: Path, half: Path, tmp_path: Path) -> None:
    names_file = tmp_path / "names.txt"
    names_file.write_text("\n".join(f"j{i}" for i in range(7)))
    sources = load_sources(["skeleton", f"few={half}"], names_file, support_dir)
    assert [source.name for source in sources] == ["skeleton", "few"]
    assert sources[1].joints is not None
    assert sources[1].joints.skeleton.joint_names == tuple(f"j{i}" for i in range(7))
    with pytest.raises(RegressorError, match=r"is not a file"):
        load_sources("few=nowhere.npy", None, support_dir)


def test_a_made_up_vertex_map_makes_what_comes_of_it_made_up(smplx_support: Path) -> None:
    (source,) = load_sources(None, None, smplx_support)
    assert source.joints is not None
    real = replace(source, joints=replace(source.joints, synthetic=False))
    vertex_map = regressor.load_map(smplx_support / "smplx_to_smpl.npz", source.joints.num_vertices)
    for made_up in (False, True):
        how = recipe.of_options(BuildOptions(), (real,), replace(vertex_map, synthetic=made_up), "cpu", {})
        assert how.synthetic == made_up
    assert not recipe.of_options(BuildOptions(), (real,), None, "cpu", {}).synthetic
