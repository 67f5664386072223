"""The command line: quick help, one line an error, nothing written by what fails, and the main jobs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from h36m_amass.body import model as body_model
from h36m_amass.cli import app
from h36m_amass.demo import Demo
from h36m_amass.skeleton import JOINT_ORDERS
from h36m_amass.store.store import Store
from tests.scenes import random_h36m_regressor, random_template

COMMANDS = ("build", "export-npz", "export-motionbert", "check", "datasets", "info", "plot", "verify", "view", "demo")
VERTICES, BONES, FRAMES = 30, 52, 25
PROGRESS = ("reading headers ", "looking into ", "loading ", "converting ", "exporting ")

Cli = Callable[..., Any]


def small_model(gender: str, **changed: Any) -> dict[str, Any]:
    """An SMPL+H model with all 52 bones and hardly any vertices; None omits an array."""
    rng = np.random.default_rng(len(gender))
    arrays: dict[str, Any] = {
        "v_template": random_template(rng, VERTICES),
        "shapedirs": rng.normal(scale=0.01, size=(VERTICES, 3, 16)),
        "posedirs": rng.normal(scale=0.001, size=(VERTICES, 3, 9 * (BONES - 1))),
        "weights": rng.dirichlet(np.ones(BONES), VERTICES),
        "J_regressor": rng.dirichlet(np.ones(VERTICES), BONES),
        "kintree_table": np.array([range(-1, BONES - 1), range(BONES)]),
    }
    return {name: array for name, array in (arrays | changed).items() if array is not None}


def small_recording(**changed: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "poses": rng.normal(scale=0.2, size=(FRAMES, 156)),
        "trans": rng.normal(size=(FRAMES, 3)),
        "dmpls": rng.normal(size=(FRAMES, 8)),
        "betas": rng.normal(size=16),
        "gender": np.array("female"),
        "mocap_framerate": np.array(100.0),
    }
    return {name: array for name, array in (arrays | changed).items() if array is not None}


def write_npz(path: Path, arrays: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


@dataclass(frozen=True)
class Scene:
    """A folder with all that a build needs, small: one dataset, two female recordings."""

    root: Path

    @property
    def amass(self) -> Path:
        return self.root / "amass"

    @property
    def support(self) -> Path:
        return self.root / "support"

    @property
    def store(self) -> Path:
        return self.root / "store.h5"

    @property
    def regressor(self) -> Path:
        return self.support / "J_regressor_h36m.npy"

    @property
    def recording(self) -> Path:
        return self.amass / "Small" / "s1" / "b.npz"

    def model(self, kind: str = "smplh", gender: str = "female") -> Path:
        return self.support / "body_models" / kind / gender / "model.npz"

    def build(self, *options: object) -> tuple[object, ...]:
        return ("build", self.amass, self.store, "--support-dir", self.support, "--workers", 0, *options)

    def files(self) -> dict[Path, bytes]:
        """Every file below the root with its content, and every folder."""
        return {path: path.read_bytes() if path.is_file() else b"" for path in self.root.rglob("*")}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path / "scene")
    write_npz(made.model(), small_model("female"))
    write_npz(made.model("dmpls"), {"eigvec": np.random.default_rng(1).normal(scale=0.01, size=(VERTICES, 3, 8))})
    np.save(made.regressor, random_h36m_regressor(np.random.default_rng(2), VERTICES))
    write_npz(made.amass / "Small" / "s1" / "a.npz", small_recording())
    write_npz(made.recording, small_recording(dmpls=None))
    return made


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, support_dir: Path, amass_dir: Path) -> Any:
    """The made-up tree, built once with the command: outcome, store, and the report as JSON."""
    folder = tmp_path_factory.mktemp("built")
    store, report = folder / "store.h5", folder / "report.json"
    arguments = ["build", amass_dir, store, "--support-dir", support_dir, "--report", report, "--workers", 0]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return result, store, json.loads(report.read_text(encoding="utf-8"))


def positions(store: Path) -> np.ndarray:
    with Store(store) as opened:
        return opened.read(0, opened.num_frames)


def error_of(outcome: Any, name: str | Path) -> str:
    """The one line on standard error, beside lines about progress; it names the file or option."""
    assert outcome.exit_code == 1, outcome
    lines = [line for line in outcome.stderr.splitlines() if not line.startswith(PROGRESS)]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert str(name) in lines[0]
    assert "Traceback" not in outcome.stderr
    return lines[0]


# --- help


def test_help_imports_nothing_heavy() -> None:
    asked = [["--version"], ["-h"], ["--help"], *([command, "--help"] for command in COMMANDS)]
    program = (
        "import sys\nfrom h36m_amass.cli import app\n"
        "heavy = {'torch', 'numpy', 'h5py', 'scipy', 'smplx', 'matplotlib', 'upath'}\n"
        f"for arguments in {asked!r}:\n"
        "    try:\n        app(arguments)\n    except SystemExit as stop:\n        assert not stop.code, stop.code\n"
        "    assert not heavy & set(sys.modules), (arguments, heavy & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_names_every_command(cli: Cli) -> None:
    outcome = cli("--help")
    assert outcome.exit_code == 0
    assert all(command in outcome.stdout for command in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["spam"], ["build"], ["build", "only-one"], ["info"], ["export-npz", "only-one"], ["build", "a", "b", "c"]),
        *(["build", "a", "b", "--spam"], ["build", "a", "b", "--compression", "zip"], ["info", "a", "b", "c"]),
        *(["export-npz", "a", "b", "--joint-order", "spam"], ["export-npz", "a", "b", "--joint-order", ""]),
        *(["build", "a", "b", "-r", "fifty"], ["build", "a", "b", "--workers", "many"], ["--spam"]),
    ],
)
def test_wrong_usage_exits_2(cli: Cli, arguments: list[str]) -> None:
    outcome = cli(*arguments)
    assert outcome.exit_code == 2
    assert "Traceback" not in outcome.stderr


# --- builds that fail

Break = Callable[[Scene], Any]


def _regressor(array: Any) -> Break:
    return lambda scene: np.save(scene.regressor, array)


def _unlink(which: Callable[[Scene], Path]) -> Break:
    return lambda scene: which(scene).unlink()


def _empty_amass(scene: Scene) -> None:
    for path in scene.amass.rglob("*.npz"):
        path.unlink()
    (scene.amass / "Small" / "s1").rmdir()
    (scene.amass / "Small").rmdir()


def _damaged_model(scene: Scene) -> None:
    content = bytearray(scene.model().read_bytes())
    content[len(content) // 2] ^= 0xFF
    scene.model().write_bytes(content)


BROKEN: dict[str, tuple[Break, tuple[object, ...], str]] = {
    "no AMASS folder": (lambda s: s.amass.rename(s.root / "elsewhere"), (), "amass: "),
    "empty AMASS folder": (_empty_amass, (), "amass: "),
    "no sequences": (lambda s: [p.rename(p.with_suffix(".bvh")) for p in s.amass.rglob("*.npz")], (), "amass: "),
    "no usable sequence": (lambda s: [p.write_bytes(b"spam") for p in s.amass.rglob("*.npz")], (), "a.npz"),
    "missing body model": (_unlink(lambda s: s.model()), (), "https://mano.is.tue.mpg.de"),
    "missing DMPLs": (_unlink(lambda s: s.model("dmpls")), (), "https://smpl.is.tue.mpg.de"),
    "damaged model": (_damaged_model, (), "smplh/female/model.npz"),
    "model without weights": (
        lambda s: write_npz(s.model(), small_model("female", weights=None)),
        (),
        "smplh/female/model.npz",
    ),
    "SMPL instead of SMPL+H": (
        lambda s: write_npz(
            s.model(),
            small_model(
                "female",
                posedirs=np.zeros((VERTICES, 3, 9 * 23)),
                weights=np.ones((VERTICES, 24)),
                J_regressor=np.ones((24, VERTICES)),
                kintree_table=np.array([range(-1, 23), range(24)]),
            ),
        ),
        (),
        "24 bones",
    ),
    "regressor missing": (_unlink(lambda s: s.regressor), (), "J_regressor_h36m.npy"),
    "regressor of another mesh": (_regressor(np.ones((17, VERTICES + 1))), (), "J_regressor_h36m.npy"),
    "regressor with NaN": (_regressor(np.full((17, VERTICES), np.nan)), (), "J_regressor_h36m.npy"),
    "regressor of one dimension": (_regressor(np.ones(VERTICES)), (), "J_regressor_h36m.npy"),
    "regressor of objects": (_regressor(np.full((17, VERTICES), None)), (), "J_regressor_h36m.npy"),
    "regressor cut short": (lambda s: s.regressor.write_bytes(s.regressor.read_bytes()[:500]), (), "J_regressor"),
    "regressor from a pickle": (
        lambda s: (s.root / "r.pkl").write_bytes(b"spam"),
        ("--joint-regressor", "{root}/r.pkl"),
        "r.pkl",
    ),
    "names that are too few": (
        lambda s: (s.root / "names.txt").write_text("a\nb\n", encoding="utf-8"),
        ("--joint-names", "{root}/names.txt"),
        "names.txt",
    ),
    "names that are not there": (lambda s: None, ("--joint-names", "{root}/names.txt"), "names.txt"),
    "faster than any recording": (lambda s: None, ("-r", 240), "--upsample"),
    "unknown dataset": (lambda s: None, ("--dataset", "Spam"), "Spam"),
    "strict with a bad header": (
        lambda s: write_npz(s.recording, small_recording(gender=None)),
        ("--strict",),
        "Small/s1/b.npz",
    ),
    "strict with bad frames": (
        lambda s: write_npz(s.recording, small_recording(trans=np.full((FRAMES, 3), np.nan))),
        ("--strict",),
        "Small/s1/b.npz",
    ),
    "only bad frames": (
        lambda s: [write_npz(p, small_recording(trans=np.full((FRAMES, 3), np.inf))) for p in s.amass.rglob("*.npz")],
        (),
        "a.npz",
    ),
}


@pytest.mark.parametrize("case", list(BROKEN))
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_a_build_that_fails_says_why_in_one_line_and_writes_nothing(
    cli: Cli, scene: Scene, case: str, existing: bool
) -> None:
    spoil, options, name = BROKEN[case]
    spoil(scene)
    if existing:
        scene.store.write_bytes(b"a store of a month ago")
    before = scene.files()
    arguments = [str(option).replace("{root}", str(scene.root)) for option in options]
    error_of(cli(*scene.build(*arguments, *(["--overwrite"] if existing else []))), name)
    after = scene.files()
    if case.startswith("strict"):  # what was converted is kept for a build that is not
        after = {path: content for path, content in after.items() if ".h5.parts" not in str(path)}
    assert after == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7"])
@pytest.mark.parametrize("workers", [("--workers", 1), ()])
def test_cuda_where_there_is_none_is_an_error_and_no_cpu_build(
    cli: Cli, scene: Scene, device: str, workers: tuple[object, ...]
) -> None:
    before = scene.files()
    error_of(
        cli("build", scene.amass, scene.store, "--support-dir", scene.support, "--device", device, *workers), device
    )
    assert scene.files() == before


def test_an_existing_store_is_not_replaced_unless_asked(cli: Cli, scene: Scene) -> None:
    scene.store.write_bytes(b"a store of a month ago")
    before = scene.files()
    assert "--overwrite" in error_of(cli(*scene.build()), scene.store)
    assert scene.files() == before
    assert cli(*scene.build("--overwrite")).exit_code == 0
    assert len(positions(scene.store)) == 2 * 12


@pytest.mark.parametrize("where", ["absent/store.h5", ".", "file.txt/store.h5"])
def test_a_store_that_cannot_be_put_there_is_an_error(cli: Cli, scene: Scene, where: str) -> None:
    (scene.root / "file.txt").touch()
    before = scene.files()
    error_of(cli("build", scene.amass, scene.root / where, "--support-dir", scene.support), scene.root / where)
    assert scene.files() == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_an_error(cli: Cli, scene: Scene) -> None:
    (scene.root / "locked").mkdir(mode=0o500)
    error_of(cli("build", scene.amass, scene.root / "locked" / "store.h5", "--support-dir", scene.support), "locked")


def test_a_report_that_cannot_be_written_is_an_error(cli: Cli, scene: Scene) -> None:
    error_of(cli(*scene.build("--report", scene.root / "absent" / "report.json")), "report.json")


# --- builds that work


def test_a_build_leaves_the_store_and_nothing_else(cli: Cli, scene: Scene) -> None:
    before = scene.files()
    outcome = cli(*scene.build())
    assert outcome.exit_code == 0
    after = scene.files()
    assert set(after) - set(before) == {scene.store}
    assert {path: after[path] for path in before} == before
    assert str(scene.store) in outcome.stdout
    assert "error" not in outcome.stderr


def test_the_same_build_gives_the_same_bytes_with_any_number_of_workers(cli: Cli, scene: Scene) -> None:
    cli(*scene.build())
    first = scene.store.read_bytes()
    assert cli(*scene.build("--overwrite")).exit_code == 0
    assert scene.store.read_bytes() == first
    assert cli(*scene.build("--overwrite", "--workers", 2)).exit_code == 0
    assert scene.store.read_bytes() == first


def test_the_report_agrees_with_the_store(built: Any) -> None:
    result, path, report = built
    assert result.exit_code == 0
    with Store(path) as store:
        assert report["store"] == str(path)
        assert report["synthetic"] is store.header.synthetic is True
        assert [row["dataset"] for row in report["datasets"]] == list(store.datasets)
        for row in report["datasets"]:
            sequences = [s for s in store.sequences if s.record.dataset == row["dataset"]]
            assert row["subjects"] == len(store[row["dataset"]])
            assert row["sequences"] == len(sequences)
            assert row["frames"] == sum(len(s) for s in sequences)
            assert row["source_frames"] == sum(s.record.source_frames for s in sequences)
            assert row["without_dmpls"] == sum(not s.record.has_dmpls for s in sequences)
            assert row["skipped"] == 0
        assert report["without_dmpls"] == [s.record.source_path for s in store.sequences if not s.record.has_dmpls]
    assert report["skipped"] == []
    assert report["ignored"] == {"files that are not .npz": 3, "shape.npz": 6}
    assert report["seconds"] > 0


def test_what_is_skipped_is_in_the_report_and_on_the_screen(cli: Cli, scene: Scene) -> None:
    write_npz(scene.recording, small_recording(gender=np.array("unknown")))
    (scene.amass / "Small" / "stray.npz").touch()
    report = scene.root / "report.json"
    outcome = cli(*scene.build("--report", report))
    assert outcome.exit_code == 0
    skipped = json.loads(report.read_text(encoding="utf-8"))["skipped"]
    assert [entry["path"] for entry in skipped] == ["Small/s1/b.npz", "Small/stray.npz"]
    for entry in skipped:
        assert f"skipped: {entry['path']}: {entry['reason']}" in outcome.stdout.splitlines()
    with Store(scene.store) as store:
        assert [s.key for s in store.sequences] == ["Small/s1/a"]
    assert outcome.stderr.splitlines()[-1] == "warning: 2 recordings were skipped, see above for the reasons"


@pytest.mark.parametrize("name", ["new\nline", "bell\a", "\x1b]0;title\x07", "\x9b31m", "back\rwards"])
def test_names_of_files_never_steer_the_terminal(cli: Cli, scene: Scene, name: str) -> None:
    write_npz(scene.amass / "Small" / "s1" / f"{name}.npz", small_recording())
    write_npz(scene.amass / "Small" / "s1" / f"{name} bad.npz", small_recording(gender=np.array("unknown")))
    outcomes = [cli(*scene.build())]
    outcomes.append(cli("info", scene.store, "Small/s1"))
    outcomes.append(cli("info", scene.store, f"Small/s1/{name}"))
    outcomes.append(cli("info", scene.store, f"Small/{name}"))
    outcomes.append(cli("check", scene.amass, "--support-dir", scene.support))
    for outcome in outcomes:
        assert all(character.isprintable() for character in (outcome.stdout + outcome.stderr).replace("\n", ""))
    written = name.encode("unicode_escape").decode()
    assert any(f"skipped: Small/s1/{written} bad.npz: gender" in line for line in outcomes[0].stdout.splitlines())
    assert f"Small/s1/{written}: 12 frames" in outcomes[2].stdout


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
def test_a_file_name_that_is_no_utf8_does_not_stop_a_build(scene: Scene) -> None:
    with open(os.fsencode(scene.amass) + b"/Small/s1/\xff.npz", "wb"):  # noqa: PTH123
        pass
    arguments = [str(argument) for argument in scene.build("--report", scene.root / "report.json")]
    program = "from h36m_amass.cli import app; app()"
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict", "LC_ALL": "en_US.UTF-8"}
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, env=environment)
    assert b"Traceback" not in done.stderr, done.stderr.decode()[-800:]
    assert done.returncode == 0
    assert b"skipped: Small/s1/" in done.stdout
    assert len(positions(scene.store)) == 2 * 12
    assert len(json.loads((scene.root / "report.json").read_text(encoding="utf-8"))["skipped"]) == 1


@pytest.mark.parametrize("dtype", ["<f4", ">f8", ">f4", "<f2", "longdouble", "<i8", "u1"])
def test_a_recording_in_any_type_of_number_is_converted(cli: Cli, scene: Scene, dtype: str) -> None:
    whole = np.random.default_rng(0)
    arrays = {
        name: whole.integers(0, 2, size=(FRAMES, columns)).astype(np.float64)
        for name, columns in (("poses", 156), ("trans", 3), ("dmpls", 8))
    }
    write_npz(scene.recording, small_recording(**arrays))
    assert cli(*scene.build("--strict")).exit_code == 0
    expected = positions(scene.store)
    write_npz(scene.recording, small_recording(**{name: array.astype(dtype) for name, array in arrays.items()}))
    assert cli(*scene.build("--strict", "--overwrite")).exit_code == 0
    np.testing.assert_allclose(positions(scene.store), expected, atol=2e-6)


def test_chosen_datasets_give_the_same_positions_as_in_the_whole(
    cli: Cli, built: Any, support_dir: Path, amass_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "store.h5"
    outcome = cli(
        *("build", amass_dir, path, "--support-dir", support_dir, "--workers", 0),
        *("--dataset", "Pretend", "--dataset", "Invented"),
    )
    assert outcome.exit_code == 0
    with Store(path) as part, Store(built[1]) as whole:
        assert part.datasets == ("Invented", "Pretend")
        for sequence in part.sequences:
            np.testing.assert_allclose(sequence.positions_3d[:], whole[sequence.key].positions_3d[:], rtol=0, atol=2e-6)


def test_without_dmpls_no_sequence_has_soft_tissue_and_their_file_is_not_needed(cli: Cli, scene: Scene) -> None:
    cli(*scene.build())
    with_dmpls = positions(scene.store)
    with Store(scene.store) as store:
        assert [s.record.has_dmpls for s in store.sequences] == [True, False]
    scene.model("dmpls").unlink()
    assert cli(*scene.build("--overwrite", "--no-dmpls")).exit_code == 0
    with Store(scene.store) as store:
        assert [s.record.has_dmpls for s in store.sequences] == [False, False]
    without = positions(scene.store)
    assert np.abs(without[:12] - with_dmpls[:12]).max() > 1e-4
    np.testing.assert_allclose(without[12:], with_dmpls[12:], rtol=0, atol=2e-6)


def test_at_the_native_rate_every_frame_is_kept(cli: Cli, scene: Scene) -> None:
    write_npz(scene.recording, small_recording(mocap_framerate=np.array(59.94)))
    assert cli(*scene.build("--native-rate")).exit_code == 0
    with Store(scene.store) as store:
        assert [(len(s), s.frame_rate) for s in store.sequences] == [(FRAMES, 100.0), (FRAMES, 59.94)]
        assert np.isnan(store.header.frame_rate)
        native = store["Small/s1/a"].positions_3d[:]
    assert cli(*scene.build("--overwrite", "-r", 50)).exit_code == 0
    with Store(scene.store) as store:
        np.testing.assert_allclose(store["Small/s1/a"].positions_3d[:], native[:24:2], rtol=0, atol=2e-6)


def test_slower_recordings_are_skipped_unless_upsampled(cli: Cli, scene: Scene) -> None:
    write_npz(scene.recording, small_recording(mocap_framerate=np.array(25.0)))
    outcome = cli(*scene.build())
    assert outcome.exit_code == 0
    assert "Small/s1/b.npz" in outcome.stdout
    assert "--upsample" in outcome.stdout
    with Store(scene.store) as store:
        assert [s.key for s in store.sequences] == ["Small/s1/a"]
    assert cli(*scene.build("--overwrite", "--upsample")).exit_code == 0
    with Store(scene.store) as store:
        assert {s.key: len(s) for s in store.sequences} == {"Small/s1/a": 12, "Small/s1/b": 2 * FRAMES}


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_compression_changes_no_position(cli: Cli, scene: Scene, compression: str) -> None:
    cli(*scene.build())
    plain = positions(scene.store)
    assert cli(*scene.build("--overwrite", "--compression", compression)).exit_code == 0
    np.testing.assert_array_equal(positions(scene.store), plain)
    with h5py.File(scene.store) as file:
        assert file["positions_3d"].compression == compression


def test_named_joints_carry_their_names(cli: Cli, scene: Scene) -> None:
    names = scene.root / "names.txt"
    names.write_text("\n".join(f"marker {k}" for k in range(17)), encoding="utf-8")
    assert cli(*scene.build("--joint-names", names)).exit_code == 0
    with Store(scene.store) as store:
        assert store.joint_names == tuple(f"marker {k}" for k in range(17))


# --- info


def test_info_tells_a_made_up_store_and_its_contents(cli: Cli, built: Any) -> None:
    outcome = cli("info", built[1])
    assert outcome.exit_code == 0
    assert "SYNTHETIC" in outcome.stdout
    assert all(name in outcome.stdout for name in ("Invented", "Madeup", "Pretend", "50 Hz", "pelvis"))
    assert "SYNTHETIC" in built[0].stdout


def test_info_of_a_store_of_real_input_does_not_say_synthetic(cli: Cli, scene: Scene) -> None:
    assert "SYNTHETIC" not in cli(*scene.build()).stdout
    assert "SYNTHETIC" not in cli("info", scene.store).stdout


@pytest.mark.parametrize("key", ["Madeup", "Madeup/02", "Madeup/02/02_01_poses", "Madeup/", "/Madeup/02"])
def test_info_of_a_key_is_about_that(cli: Cli, built: Any, key: str) -> None:
    outcome = cli("info", built[1], key)
    assert outcome.exit_code == 0
    assert outcome.stdout.startswith(key.strip("/"))


@pytest.mark.parametrize(
    "key", ["Spam", "Madeup/99", "Madeup/02/spam", "Madeup/02/02_01_poses/more", "", "/", "Madeup//02"]
)
def test_info_of_an_unknown_key_is_an_error_that_names_it(cli: Cli, built: Any, key: str) -> None:
    error_of(cli("info", built[1], key), key.rpartition("/")[2])


def _hdf5(**attributes: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.attrs.update(attributes)

    return write


NO_STORES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such store"),
    "a folder": (lambda path: path.mkdir(), "store"),
    "text": (lambda path: path.write_text("spam", encoding="utf-8"), "store"),
    "empty": (lambda path: path.touch(), "store"),
    "another HDF5 file": (_hdf5(), "not an h36m-amass store"),
    "another format": (_hdf5(format="spam", format_version=4), "not an h36m-amass store"),
    "an older version": (_hdf5(format="h36m-amass", format_version=3), "version 3"),
    "a newer version": (_hdf5(format="h36m-amass", format_version=999), "999"),
    "a version of nothing": (_hdf5(format="h36m-amass", format_version=0), "0"),
    "no version": (_hdf5(format="h36m-amass"), "store"),
    "a version in words": (_hdf5(format="h36m-amass", format_version="one"), "store"),
    "nothing but a header": (_hdf5(format="h36m-amass", format_version=4), "build it again"),
    "a format of numbers": (_hdf5(format=np.arange(3), format_version=4), "store"),
}


@pytest.mark.parametrize("case", list(NO_STORES))
@pytest.mark.parametrize("command", ["info", "export-npz"])
def test_what_is_no_store_is_refused_by_name(cli: Cli, tmp_path: Path, case: str, command: str) -> None:
    write, words = NO_STORES[case]
    path = tmp_path / "thing.h5"
    write(path)
    arguments = ["info", path] if command == "info" else ["export-npz", path, tmp_path / "out"]
    assert words in error_of(cli(*arguments), path)
    assert not (tmp_path / "out").exists()


def test_a_store_cut_short_is_refused_by_name(cli: Cli, scene: Scene) -> None:
    cli(*scene.build())
    scene.store.write_bytes(scene.store.read_bytes()[:-1000])
    error_of(cli("info", scene.store), scene.store)
    error_of(cli("export-npz", scene.store, scene.root / "out"), scene.store)
    assert not (scene.root / "out").exists()


# --- export


def exported(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=True) as npz:
        dictionary: dict[str, Any] = npz["positions_3d"].item()
    return dictionary


def test_an_export_holds_every_sequence_as_the_store_does(cli: Cli, built: Any, tmp_path: Path) -> None:
    outcome = cli("export-npz", built[1], tmp_path / "out")
    assert outcome.exit_code == 0
    names = ["Invented", "Madeup", "Pretend"]
    assert outcome.stdout.splitlines() == [str(tmp_path / "out" / f"{name}.npz") for name in names]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"{name}.npz" for name in names]
    with Store(built[1]) as store:
        for name in names:
            dictionary = exported(tmp_path / "out" / f"{name}.npz")
            assert {k: set(v) for k, v in dictionary.items()} == {k: set(v) for k, v in store[name].items()}
            for sequence in (s for s in store.sequences if s.record.dataset == name):
                entry = dictionary[sequence.record.subject][sequence.record.sequence]
                assert entry["frame_rate"] == 50.0
                np.testing.assert_array_equal(entry["positions_3d"], sequence.positions_3d[:])


def test_an_export_of_one_dataset_in_another_order(cli: Cli, built: Any, tmp_path: Path) -> None:
    outcome = cli("export-npz", built[1], tmp_path, "--dataset", "Pretend", "--joint-order", "h36m")
    assert outcome.exit_code == 0
    assert [p.name for p in tmp_path.iterdir()] == ["Pretend.npz"]
    with Store(built[1]) as store:
        right_hip = store.joint_names.index("right_hip")
        for sequence in (s for s in store.sequences if s.record.dataset == "Pretend"):
            entry = exported(tmp_path / "Pretend.npz")[sequence.record.subject][sequence.record.sequence]
            np.testing.assert_array_equal(entry["positions_3d"][:, 1], sequence.positions_3d[:, right_hip])


@pytest.mark.parametrize(("options", "name"), [(("--dataset", "Spam"), "Spam"), (("--dataset", ""), "")])
def test_an_export_of_what_is_not_there_is_an_error_and_writes_nothing(
    cli: Cli, built: Any, tmp_path: Path, options: tuple[str, ...], name: str
) -> None:
    error_of(cli("export-npz", built[1], tmp_path / "out", *options), name)
    assert not (tmp_path / "out").exists()


def test_an_export_offers_every_joint_order_of_the_library() -> None:
    from h36m_amass.cli.export import JointOrder

    assert [order.value for order in JointOrder] == list(JOINT_ORDERS)


def test_an_export_to_a_file_is_an_error(cli: Cli, built: Any, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    error_of(cli("export-npz", built[1], tmp_path / "out"), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"mine"


@pytest.mark.parametrize("order", ["h36m", "uplift-upsample"])
def test_human36m_orders_do_not_fit_other_joints(cli: Cli, scene: Scene, order: str) -> None:
    np.save(scene.root / "three.npy", np.ones((3, VERTICES)))
    assert cli(*scene.build("--joint-regressor", scene.root / "three.npy")).exit_code == 0
    out = scene.root / "out"
    assert "regressor" in error_of(cli("export-npz", scene.store, out, "--joint-order", order), order)
    assert not out.exists()
    assert cli("export-npz", scene.store, out).exit_code == 0
    assert exported(out / "Small.npz")["s1"]["a"]["positions_3d"].shape == (12, 3, 3)


# --- check


def test_a_check_of_everything_in_place_is_all_ok(cli: Cli, support_dir: Path, amass_dir: Path) -> None:
    outcome = cli("check", amass_dir, "--support-dir", support_dir)
    assert outcome.exit_code == 0
    lines = outcome.stdout.splitlines()
    table = next(index for index, line in enumerate(lines) if line.startswith("dataset "))
    assert all(line.startswith("ok: ") for line in lines[:table])
    assert [line.split()[0] for line in lines[table + 1 :]] == sorted(path.name for path in amass_dir.iterdir())
    models = [body_model.model_path(support_dir, gender) for gender in body_model.GENDERS]
    models += [body_model.dmpl_path(support_dir, gender) for gender in body_model.GENDERS]
    for path in (*models, support_dir / "J_regressor_h36m.npy", *(path for path in amass_dir.iterdir())):
        assert str(path) in outcome.stdout


CHECKS: dict[str, tuple[Break, str]] = {
    "body model": (_unlink(lambda s: s.model()), "https://mano.is.tue.mpg.de"),
    "DMPLs": (_unlink(lambda s: s.model("dmpls")), "https://smpl.is.tue.mpg.de"),
    "regressor": (_unlink(lambda s: s.regressor), "https://github.com/nkolot/SPIN"),
    "recordings": (_empty_amass, "AMASS"),
    "good recording": (lambda s: s.recording.write_bytes(b"spam"), "b.npz"),
    "fitting regressor": (_regressor(np.ones((17, VERTICES + 1))), "J_regressor_h36m.npy"),
}


@pytest.mark.parametrize("case", list(CHECKS))
def test_a_check_says_what_is_missing_and_where_it_comes_from(cli: Cli, scene: Scene, case: str) -> None:
    for gender in ("male", "neutral"):
        write_npz(scene.model(gender=gender), small_model(gender))
        write_npz(scene.model("dmpls", gender), {"eigvec": np.zeros((VERTICES, 3, 8))})
    assert cli("check", scene.amass, "--support-dir", scene.support).exit_code == 0
    spoil, words = CHECKS[case]
    spoil(scene)
    outcome = cli("check", scene.amass, "--support-dir", scene.support)
    assert outcome.exit_code == 1
    problems = [line for line in outcome.stdout.splitlines() if not line.startswith("ok: ")]
    assert any(words in line for line in problems), problems
    assert "Traceback" not in outcome.stderr


def test_a_check_asks_only_for_the_body_models_that_the_recordings_need(cli: Cli, scene: Scene) -> None:
    outcome = cli("check", scene.amass, "--support-dir", scene.support)
    assert outcome.exit_code == 0, outcome.stdout
    assert cli("check", "--support-dir", scene.support).exit_code == 1


def test_a_check_of_an_smpl_model_fails_as_the_build_would(cli: Cli, scene: Scene) -> None:
    BROKEN["SMPL instead of SMPL+H"][0](scene)
    assert cli("check", scene.amass, "--support-dir", scene.support).exit_code == 1


# --- demo


def test_a_demo_makes_everything_it_lists(demo: Demo) -> None:
    assert demo.store.is_file()
    assert demo.picture.is_file()
    assert sorted(path.stem for path in demo.npz) == ["Invented", "Madeup", "Pretend"]
    with Store(demo.store) as store:
        assert store.header.synthetic
        assert store.num_frames == demo.report.frames


def test_messages_are_one_line_whatever_a_files_name(scene: Scene) -> None:
    odd = scene.root / "two\nlines.h5"
    result = CliRunner().invoke(app, ["info", str(odd)], catch_exceptions=False)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_a_check_asks_for_dmpls_only_where_recordings_have_them(cli: Cli, scene: Scene) -> None:
    for recording in scene.amass.rglob("*.npz"):
        with np.load(recording) as npz:
            arrays = {name: npz[name] for name in npz.files if name != "dmpls"}
        np.savez(recording, **arrays)
    shutil.rmtree(scene.support / "body_models" / "dmpls")
    assert cli("check", scene.amass, "--support-dir", scene.support).exit_code == 0
    asked = cli("check", "--support-dir", scene.support).stdout
    assert "DMPL model (female)" in asked
    assert "DMPL" not in cli("check", "--support-dir", scene.support, "--no-dmpls").stdout


def test_a_report_that_is_a_folder_is_refused_before_the_build(cli: Cli, scene: Scene, tmp_path: Path) -> None:
    outcome = cli("build", scene.amass, tmp_path / "s.h5", "--support-dir", scene.support, "--report", tmp_path)
    assert outcome.exit_code == 1
    assert str(tmp_path) in outcome.stderr
    assert not (tmp_path / "s.h5").exists()


def test_a_demo_never_overwrites_what_it_did_not_make(cli: Cli, tmp_path: Path) -> None:
    model = tmp_path / "support_data" / "body_models" / "smplh" / "male" / "model.npz"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"licensed")
    outcome = cli("demo", tmp_path)
    assert outcome.exit_code == 1
    assert "support_data" in outcome.stderr
    assert model.read_bytes() == b"licensed"
