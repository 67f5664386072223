"""From downloads in their official forms to a store, with setup, check and build alone."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from h36m_amass.body import model
from h36m_amass.body.families import SMPL, SMPLX
from h36m_amass.setup.identify import SetupError
from h36m_amass.setup.placing import set_up
from h36m_amass.store.store import Store
from h36m_amass.synthetic import body, relatives
from tests.scenes import REAL, needs_real, recording, write
from tests.setup import downloads as made
from tests.setup.downloads import npz, tar, zipped

Cli = Callable[..., Any]
GENDERS = made.GENDERS
ALL = {
    *(f"body_models/{kind}/{gender}/model.npz" for kind in ("smplh", "dmpls") for gender in GENDERS),
    *("body_models/smpl/male/model.npz", "body_models/smplx/neutral/model.npz"),
    "J_regressor_h36m.npy",
}


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Downloads in their official forms. Not to be written to."""
    return made.write_all(tmp_path_factory.mktemp("downloads"))


def files_of(support: Path) -> set[str]:
    return {path.relative_to(support).as_posix() for path in support.rglob("*") if path.is_file()}


def test_setup_check_and_build_are_all_that_it_takes(cli: Cli, official: dict[str, Path], tmp_path: Path) -> None:
    support = tmp_path / "support"
    outcome = cli("setup", *official.values(), "--support-dir", support)
    assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
    assert files_of(support) == ALL
    assert "missing" not in outcome.stdout
    assert outcome.stdout.count("ok: ") == len(ALL)
    assert f"the SMPL+H model (female), from {official['smplh']}: female/model.npz" in outcome.stdout
    stamps = {path: path.stat().st_mtime_ns for path in support.rglob("*.np?")}
    again = cli("setup", *official.values(), "--support-dir", support)
    assert again.exit_code == 0, again.stdout
    assert again.stdout.count("there already") == len(ALL)
    assert {path: path.stat().st_mtime_ns for path in support.rglob("*.np?")} == stamps
    smplh = recording(60)
    write(tmp_path / "amass/D/s/a_poses.npz", smplh)
    smpl = {name: array for name, array in smplh.items() if name != "dmpls"} | {"poses": smplh["poses"][:, :72]}
    write(tmp_path / "amass/D/s/b_poses.npz", smpl)
    assert cli("check", tmp_path / "amass", "--support-dir", support).exit_code == 0
    built = cli("build", tmp_path / "amass", tmp_path / "s.h5", "--support-dir", support, "--workers", 0)
    assert built.exit_code == 0, built.stderr
    store = Store(tmp_path / "s.h5")
    assert len(store.sequences) == 2
    assert store.header.synthetic


def test_what_is_made_of_pickles_is_what_was_pickled(official: dict[str, Path], tmp_path: Path) -> None:
    set_up([official["smpl"]], tmp_path)
    loaded, arrays = model.load(tmp_path, "male", 300, 0, SMPL), made.light(made.smpl_model("male"))
    for name in ("v_template", "shapedirs", "J_regressor", "weights"):
        np.testing.assert_array_equal(getattr(loaded, name), arrays[name])


@pytest.mark.parametrize(("form", "name"), [("matrix", "smplx_to_smpl.pkl"), ("mtx", "smplx2smpl_deftrafo_setup.pkl")])
def test_both_published_vertex_maps_are_taken(tmp_path: Path, form: str, name: str) -> None:
    (tmp_path / name).write_bytes(made.vertex_map(form))
    result = set_up([tmp_path / name], tmp_path / "support")
    assert [taken.target for taken in result.placed] == ["smplx_to_smpl.npz"]
    read = scipy.sparse.load_npz(tmp_path / "support/smplx_to_smpl.npz")
    assert abs(read[:, :10475] - relatives.smplx_to_smpl()).max() == 0


def test_smplx_comes_in_both_layouts_and_an_npz_before_a_pickle(tmp_path: Path) -> None:
    arrays = made.light(made.smplx_model("male"))
    plain = {name: array for name, array in arrays.items() if name not in ("part2num", "synthetic")}
    members = {"models/smplx/SMPLX_MALE.npz": npz(arrays), "models/smplx/SMPLX_MALE.pkl": pickle.dumps(plain, 2)}
    locked = {"models_lockedhead/smplx/SMPLX_FEMALE.npz": npz(made.light(made.smplx_model("female")))}
    paths = zipped(tmp_path / "a.zip", members), zipped(tmp_path / "b.zip", locked)
    result = set_up(paths, tmp_path / "support")
    assert result.problems == []
    assert [taken.target for taken in result.placed] == [f"body_models/smplx/{g}/model.npz" for g in ("male", "female")]
    assert model.load(tmp_path / "support", "male", 16, 0, SMPLX).synthetic


def test_names_do_not_matter_and_folders_are_gone_through(official: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "deep"
    folder.mkdir(parents=True)
    shutil.copy(official["smplh"], folder / "download (1)")
    shutil.copy(official["spin"], folder / "spin.zip")
    (folder / "notes.txt").write_text("none of ours")
    result = set_up([tmp_path / "mine"], tmp_path / "support")
    assert result.problems == []
    assert len(result.placed) == 4
    assert len(result.missing) == 3
    assert all("DMPL" in line and "https://smpl.is.tue.mpg.de" in line for line in result.missing)


def test_nothing_is_overwritten_unasked(official: dict[str, Path], tmp_path: Path) -> None:
    set_up([official["spin"]], tmp_path)
    other = tmp_path / "other.npy"
    np.save(other, 2 * np.load(tmp_path / "J_regressor_h36m.npy"))
    shutil.move(other, tmp_path / "J_regressor_h36m.npy")
    changed = (tmp_path / "J_regressor_h36m.npy").read_bytes()
    result = set_up([official["spin"]], tmp_path)
    assert result.placed == []
    assert "is there already and differs" in result.problems[0]
    assert (tmp_path / "J_regressor_h36m.npy").read_bytes() == changed
    assert len(set_up([official["spin"]], tmp_path, overwrite=True).placed) == 1
    assert (tmp_path / "J_regressor_h36m.npy").read_bytes() != changed


@pytest.mark.parametrize("share", [0.3, 0.6, 0.98])
def test_of_a_damaged_archive_nothing_is_taken(official: dict[str, Path], tmp_path: Path, share: float) -> None:
    content = official["smplh"].read_bytes()
    (tmp_path / "smplh.tar.xz").write_bytes(content[: int(len(content) * share)])
    result = set_up([tmp_path / "smplh.tar.xz", official["dmpls"]], tmp_path / "support")
    assert "damaged or cut short" in result.problems[0]
    assert files_of(tmp_path / "support") == {f"body_models/dmpls/{gender}/model.npz" for gender in GENDERS}


def test_a_stop_leaves_nothing_half_placed(
    official: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise error

    for error in (OSError(28, "No space left on device"), KeyboardInterrupt()):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises((SetupError, KeyboardInterrupt)) as caught:
                set_up([official["smplh"]], tmp_path / "s")
        if isinstance(error, OSError):  # which is the support folder's matter, and not the download's
            assert str(caught.value).startswith(f"{tmp_path / 's'}: cannot be written (No space left on device)")
        assert files_of(tmp_path / "s") == set()
        assert list((tmp_path / "s").iterdir()) == []


def test_what_a_killed_setup_has_left_is_removed_by_the_next(official: dict[str, Path], tmp_path: Path) -> None:
    left = tmp_path / "s" / ".setup" / "tmpabc"
    left.mkdir(parents=True)
    (left / "1.npz").write_bytes(bytes(9))
    set_up([official["dmpls"]], tmp_path / "s")
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["body_models"]


class _Code:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("in_archive", [False, True])
def test_a_pickle_that_would_run_code_is_refused_by_name(cli: Cli, tmp_path: Path, in_archive: bool) -> None:
    content = pickle.dumps({"v_template": _Code(tmp_path / "canary")})
    path = tmp_path / "basicmodel_m.pkl"
    path.write_bytes(content)
    if in_archive:
        path = tar(tmp_path / "smpl.tar.gz", {"smpl/models/basicmodel_m.pkl": content})
    outcome = cli("setup", path, "--support-dir", tmp_path / "support")
    assert outcome.exit_code == 1
    (line,) = [line for line in outcome.stdout.splitlines() if line.startswith("problem")]
    assert "posix.system" in line or "nt.system" in line
    assert str(path) in line
    assert not (tmp_path / "canary").exists()
    assert files_of(tmp_path / "support") == set()


CASES: dict[str, tuple[str, bytes, str]] = {
    "login page": ("smplh.tar.xz", b"<!DOCTYPE html><html><body>Log in</body></html>", "you were not logged in"),
    "lfs": ("model.npz", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "video": ("KIT.zip", b"\0\0\0\x20ftypisom" + bytes(600), "Render download"),
    "empty": ("smplh.tar.xz", b"", "is empty"),
    "unfinished": ("smplh.tar.xz.crdownload", b"\xfd7zXZ\0" + bytes(600), "still being downloaded"),
    "text": ("readme.npz", b"hello" * 200, "is not a body model, regressor or vertex map"),
    "recording": ("01_01_poses.npz", npz(recording(3)), "is a recording"),
    "no gender": ("model.npz", npz(made.light(made.body_model("male"))), "tells its gender"),
    "two genders": ("male_female.npz", npz(made.light(made.body_model("male"))), "tells its gender"),
    "mano": (
        "SMPLH_MALE.pkl",
        pickle.dumps({n: a for n, a in made.light(made.body_model("male")).items() if n != "synthetic"}, 2),
        "AMASS needs the other one",
    ),
    "other map": ("map.pkl", pickle.dumps({"mtx": scipy.sparse.csc_matrix((10475, 6890))}, 2), "shape (10475, 6890)"),
}


@pytest.mark.parametrize("case", CASES)
def test_downloads_gone_wrong_are_called_by_their_names(cli: Cli, tmp_path: Path, case: str) -> None:
    name, content, expected = CASES[case]
    (tmp_path / name).write_bytes(content)
    outcome = cli("setup", tmp_path / name, "--support-dir", tmp_path / "support")
    assert outcome.exit_code == 1
    (line,) = [line for line in outcome.stdout.splitlines() if line.startswith("problem")]
    assert expected in line
    assert line.startswith(f"problem: {tmp_path / name}: ")
    assert files_of(tmp_path / "support") == set()


@pytest.mark.parametrize(
    ("kind", "case"),
    [
        *(("archive", case) for case in ("login page", "lfs", "video", "empty")),
        *(("recording", "login page"), ("model", "lfs"), ("regressor", "empty")),
    ],
)
def test_they_are_called_so_wherever_they_lie(
    cli: Cli, support_dir: Path, tmp_path: Path, case: str, kind: str
) -> None:
    content, expected = CASES[case][1:]
    support, tree = tmp_path / "support", tmp_path / "amass"
    shutil.copytree(support_dir, support, copy_function=os.link)
    write(tree / "D/s/fine.npz", recording(60))
    target = {
        "archive": tree / "KIT.tar.bz2",
        "recording": tree / "D/s/bad.npz",
        "model": support / "body_models/smplh/male/model.npz",
        "regressor": support / "J_regressor_h36m.npy",
    }[kind]
    target.unlink(missing_ok=True)
    target.write_bytes(content)
    outcome = cli("build", tree, tmp_path / "s.h5", "--support-dir", support, "--workers", 0)
    assert expected in outcome.stdout + outcome.stderr
    assert outcome.exit_code == (1 if kind in ("model", "regressor") else 0)
    checked = cli("check", tree, "--support-dir", support)
    assert expected in checked.stdout
    assert checked.exit_code == 1


def test_an_archive_of_videos_is_the_render_download(cli: Cli, support_dir: Path, tmp_path: Path) -> None:
    write(tmp_path / "amass/D/s/fine.npz", recording(60))
    tar(tmp_path / "amass/KIT.tar.bz2", {"KIT/3/walk.mp4": b"\0\0\0\x20ftypisom", "KIT/LICENSE.txt": b""})
    outcome = cli("build", tmp_path / "amass", tmp_path / "s.h5", "--support-dir", support_dir, "--workers", 0)
    assert "KIT.tar.bz2: holds videos and no recordings: it is AMASS's Render download" in outcome.stdout


def test_a_model_in_any_place_it_may_have_counts_as_there(tmp_path: Path) -> None:
    folder = tmp_path / "body_models/smplx"
    folder.mkdir(parents=True)
    (folder / "SMPLX_MALE.npz").write_bytes(npz(made.light(made.smplx_model("male"))))
    path = zipped(tmp_path / "a.zip", {"models/smplx/SMPLX_MALE.npz": (folder / "SMPLX_MALE.npz").read_bytes()})
    result = set_up([path], tmp_path)
    assert ([taken.target for taken in result.unchanged], result.placed) == (["body_models/smplx/male/model.npz"], [])


def test_a_check_says_what_lies_where_it_is_not_looked_for(cli: Cli, official: dict[str, Path], tmp_path: Path) -> None:
    support = tmp_path / "support"
    (support / "body_models/female").mkdir(parents=True)
    (support / "body_models/female/model.npz").write_bytes(npz(made.light(made.body_model("female"))))
    shutil.copy(official["dmpls"], support / "dmpls.tar.xz")
    np.save(support / "body_models/J_regressor_h36m.npy", body.joint_regressor())
    said = cli("check", "--support-dir", support).stdout
    assert f"model.npz: is the SMPL+H model (female), which belongs to {support}/body_models/smplh/female" in said
    assert f"dmpls.tar.xz: is packed; h36m-amass setup {support}/dmpls.tar.xz" in said
    assert f"belongs to {support}/J_regressor_h36m.npy" in said
    assert "is not a folder" in cli("check", "--support-dir", tmp_path / "suport").stdout


@pytest.mark.parametrize("packed", [False, True])
def test_a_regressor_that_lies_elsewhere_is_found_until_it_is_in_place(
    cli: Cli, official: dict[str, Path], whole_support_dir: Path, tmp_path: Path, packed: bool
) -> None:
    support = tmp_path / "support"
    shutil.copytree(whole_support_dir, support, copy_function=os.link)
    (support / "J_regressor_h36m.npy").unlink()
    (support / "data").mkdir()
    path = support / "data" / ("data.tar.gz" if packed else "J_regressor_h36m.npy")
    shutil.copy(official["spin"] if packed else whole_support_dir / "J_regressor_h36m.npy", path)
    advice = f"h36m-amass setup {path} --support-dir {support}"
    assert advice in cli("check", "--support-dir", support).stdout
    assert cli("setup", path, "--support-dir", support).exit_code == 0
    (support / "body_models/smplh/male/model.npz").unlink()
    outcome = cli("check", "--support-dir", support)
    assert outcome.exit_code == 1
    assert str(path) not in outcome.stdout


def test_models_in_each_others_places_are_called_by_their_names(cli: Cli, tmp_path: Path, support_dir: Path) -> None:
    shutil.copytree(support_dir, tmp_path / "s", copy_function=os.link)
    models = tmp_path / "s/body_models"
    (models / "smplh").rename(models / "other")
    (models / "dmpls").rename(models / "smplh")
    (models / "other").rename(models / "dmpls")
    said = cli("check", "--support-dir", tmp_path / "s").stdout
    smplh, dmpls = (models / kind / "female/model.npz" for kind in ("smplh", "dmpls"))
    assert f"{smplh}: is the DMPL model (female), which belongs to {dmpls}, where another file lies" in said
    assert f"{dmpls}: is the SMPL+H model (female), which belongs to {smplh}, where another file lies" in said


def test_a_gender_is_told_by_the_file_and_its_folder_alone(tmp_path: Path) -> None:
    """And never by a folder above, like ``/mnt/f``."""
    folder = tmp_path / "f" / "downloads"
    folder.mkdir(parents=True)
    (folder / "model.npz").write_bytes(npz(made.light(made.body_model("male"))))
    result = set_up([folder / "model.npz"], tmp_path / "s")
    assert (result.placed, "tells its gender" in result.problems[0]) == ([], True)
    (folder / "male").mkdir()
    shutil.move(folder / "model.npz", folder / "male/model.npz")
    (taken,) = set_up([folder / "male/model.npz"], tmp_path / "s").placed
    assert taken.target == "body_models/smplh/male/model.npz"


def test_a_model_that_cannot_be_loaded_is_not_placed(tmp_path: Path) -> None:
    arrays = made.light(made.body_model("male"))
    content = bytearray(npz(arrays))
    content[len(content) // 2] ^= 1
    (tmp_path / "male.npz").write_bytes(content)
    np.savez(tmp_path / "female.npz", **(arrays | {"v_template": np.array([{}], object)}))
    result = set_up([tmp_path / "male.npz", tmp_path / "female.npz"], tmp_path / "s")
    assert result.placed == []
    assert "the SMPL+H model (male), but" in result.problems[0]
    assert "holds Python objects" in result.problems[1]


def test_a_folder_of_downloads_says_what_is_wrong_and_passes_over_the_rest(
    official: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "Downloads"
    folder.mkdir()
    shutil.copy(official["dmpls"], folder)
    (folder / "smplh.tar.xz").write_bytes(CASES["login page"][1])
    (folder / "models_smplx_v1_1.zip").write_bytes(b"")
    zipped(folder / "photos.zip", {"a.jpg": b"a"})
    tar(folder / "KIT.tar.bz2", {"KIT/3/a_poses.npz": npz(recording(3))})
    np.save(folder / "cube_parts.npy", np.zeros((3, 3)))
    result = set_up([folder], tmp_path / "s")
    assert len(result.placed) == 3
    said = sorted(line.removeprefix(str(folder)) for line in result.problems)
    assert [line.split(": ")[0] for line in said] == ["/models_smplx_v1_1.zip", "/smplh.tar.xz"]


def test_members_that_are_no_downloads_are_named(tmp_path: Path) -> None:
    members = {"female/model.npz": npz(made.light(made.body_model("female"))), "male/model.npz": CASES["login page"][1]}
    result = set_up([tar(tmp_path / "smplh.tar.xz", members)], tmp_path / "s")
    assert [taken.target for taken in result.placed] == ["body_models/smplh/female/model.npz"]
    assert "male/model.npz: is a web page" in result.problems[0]


def test_an_archive_in_an_archive_is_to_be_unpacked_first(official: dict[str, Path], tmp_path: Path) -> None:
    path = zipped(tmp_path / "all.zip", {"mano/smplh.tar.xz": official["smplh"].read_bytes()})
    (problem,) = set_up([path], tmp_path / "s").problems
    assert problem == f"{path}: holds the archive mano/smplh.tar.xz; unpack it, and give what is in it"


def test_the_two_vertex_maps_are_the_same_file(tmp_path: Path) -> None:
    for form in ("matrix", "mtx"):
        (tmp_path / f"{form}.pkl").write_bytes(made.vertex_map(form))
    result = set_up([tmp_path / "matrix.pkl", tmp_path / "mtx.pkl"], tmp_path / "s")
    assert (len(result.placed), len(result.unchanged), result.problems) == (1, 1, [])


@needs_real
def test_spins_regressor_is_known_by_its_values(tmp_path: Path) -> None:
    shutil.copy(REAL / "regressors" / "J_regressor_h36m.npy", tmp_path / "regressor.npy")
    (taken,) = set_up([tmp_path / "regressor.npy"], tmp_path / "s").placed
    assert taken.target == "J_regressor_h36m.npy"


@needs_real
def test_another_regressor_keeps_its_name(tmp_path: Path) -> None:
    files = REAL / "regressors" / "J_regressor_h36m_correct.npy", REAL / "regressors" / "J_regressor_h36m.npy"
    result = set_up(files, tmp_path)
    assert [taken.target for taken in result.placed] == ["J_regressor_h36m_correct.npy", "J_regressor_h36m.npy"]


def test_a_support_folder_that_cannot_be_is_one_line(cli: Cli, official: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = cli("setup", official["spin"], "--support-dir", tmp_path / "file")
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith(f"error: {tmp_path / 'file'}: cannot be written")


def test_body_models_among_the_recordings_are_called_so(cli: Cli, official: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "amass").mkdir()
    shutil.copy(official["smplh"], tmp_path / "amass")
    said = cli("check", tmp_path / "amass", "--support-dir", tmp_path).stdout
    assert "is a body model and not a recording; h36m-amass setup puts it" in said
