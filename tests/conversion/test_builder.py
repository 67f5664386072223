"""From an AMASS tree to a store: the right joints, the same bytes, nothing lost and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import h36m_amass
from h36m_amass import synthetic
from h36m_amass.body import model as body_model
from h36m_amass.body import regressor
from h36m_amass.body.model import MissingModelError
from h36m_amass.conversion import assembly, bodies, pool, tasks
from h36m_amass.conversion import convert as conversion
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.options import BuildError
from h36m_amass.conversion.report import BuildReport
from h36m_amass.engine.reference import mesh_joints
from h36m_amass.engine.skinning import Batch, Skinner
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.resampling import Resampling, exact_rate, interpolate, needed_frames, resample
from h36m_amass.recordings.tree import find_recordings
from h36m_amass.store.store import Store, StoredSequence
from h36m_amass.system.disk import SpaceError
from tests.conftest import Outcome
from tests.scenes import recording, write


@pytest.fixture(scope="module")
def built(amass_dir: Path, support_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of all recordings of `amass_dir` at 50 Hz. Not to be written to."""
    path = tmp_path_factory.mktemp("built") / "store.h5"
    build(amass_dir, path, support_dir=support_dir)
    return path


def error(sequence: StoredSequence, recording: Path, support_dir: Path, use_dmpls: bool = True) -> float:
    """Largest distance in metres between some frames of a sequence and the full mesh in float64, resampled."""
    with amass.Recording(recording, use_dmpls) as opened:
        header = opened.header
        (frames,) = opened.frames(header.num_frames, 8)
    body = body_model.load(support_dir, header.gender)
    joints = regressor.load(support_dir / "J_regressor_h36m.npy")
    betas = amass.fit_betas(header.betas, body.num_betas)
    whole = resample(header.num_frames, header.frame_rate, exact_rate(sequence.frame_rate))
    assert len(sequence) == len(whole)
    some = np.unique(np.linspace(0, len(whole) - 1, 9).round().astype(int))
    resampling = Resampling(whole.frame[some], whole.weight[some])
    needed = needed_frames(resampling)
    dmpls = None if frames.dmpls is None else frames.dmpls[needed]
    exact = interpolate(
        resampling, needed, mesh_joints(body, joints, betas, frames.poses[needed], frames.trans[needed], dmpls)
    )
    return float(np.linalg.norm(sequence.positions_3d[:][some] - exact, axis=2).max())


def one_recording(folder: Path, frames: int = 90, **changes: Any) -> Path:
    """A tree with one recording at 120 Hz; `changes` replace its arrays, or remove them if None."""
    arrays = synthetic.motion("wave", frames / 120, 120, gender="male", seed=5)
    arrays = {name: array for name, array in {**arrays, **changes}.items() if array is not None}
    path = folder / "D" / "S" / "seq.npz"
    synthetic.write_recording(path, arrays)
    return path


def leftovers(store: Path) -> list[str]:
    return sorted(path.name for path in store.parent.iterdir() if path.name.startswith(f"{store.name}."))


def test_every_sequence_equals_the_full_mesh(built: Path, amass_dir: Path, support_dir: Path) -> None:
    store = Store(built)
    assert len(store.sequences) == len(find_recordings(amass_dir).files) == 12
    for sequence in store.sequences:
        assert error(sequence, amass_dir / sequence.record.source_path, support_dir) < 2e-6


def test_the_real_recording_gives_250_frames_of_17_joints(real_amass: Path, support_dir: Path, tmp_path: Path) -> None:
    report = build(real_amass, tmp_path / "real.h5", support_dir=support_dir, frame_rate=50)
    (sequence,) = Store(tmp_path / "real.h5").sequences
    assert sequence.key == "Sample/subject_m/amass_sample_poses"
    assert sequence.positions_3d.shape == (250, 17, 3)
    assert report.without_dmpls == ()
    assert error(sequence, real_amass / sequence.record.source_path, support_dir) < 2e-6


def test_a_recording_without_dmpls_converts_and_says_so(support_dir: Path, tmp_path: Path) -> None:
    recording = one_recording(tmp_path / "amass", dmpls=None)
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    assert report.without_dmpls == ("D/S/seq.npz",)
    assert report.datasets[0].without_dmpls == 1
    (sequence,) = Store(tmp_path / "s.h5").sequences
    assert not sequence.record.has_dmpls
    assert error(sequence, recording, support_dir) < 2e-6


def test_no_dmpls_skips_soft_tissue(support_dir: Path, tmp_path: Path) -> None:
    recording = one_recording(tmp_path / "amass")
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, use_dmpls=False)
    (sequence,) = Store(tmp_path / "s.h5").sequences
    assert error(sequence, recording, support_dir, use_dmpls=False) < 2e-6
    assert error(sequence, recording, support_dir) > 1e-5


def test_native_rate_keeps_every_frame_and_each_rate(amass_dir: Path, support_dir: Path, tmp_path: Path) -> None:
    build(amass_dir, tmp_path / "s.h5", support_dir=support_dir, native_rate=True, datasets=["Pretend"])
    store = Store(tmp_path / "s.h5")
    assert np.isnan(store.header.frame_rate)
    for sequence in store.sequences:
        assert len(sequence) == sequence.record.source_frames
        assert sequence.frame_rate == sequence.record.source_frame_rate
        assert error(sequence, amass_dir / sequence.record.source_path, support_dir) < 2e-6


def test_a_slow_recording_is_skipped_unless_upsampled(support_dir: Path, tmp_path: Path) -> None:
    recording = one_recording(tmp_path / "amass", frames=30, mocap_framerate=np.array(30.0))
    with pytest.raises(BuildError, match=r"30 Hz, slower than 50 Hz.*--upsample"):
        build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, upsample=True)
    (sequence,) = Store(tmp_path / "s.h5").sequences
    assert len(sequence) == 50
    assert error(sequence, recording, support_dir) < 2e-6


@pytest.mark.parametrize("batch_size", [2, 100, 10000])
def test_any_batch_size_gives_the_same_joints(
    built: Path, amass_dir: Path, support_dir: Path, tmp_path: Path, batch_size: int
) -> None:
    build(amass_dir, tmp_path / "s.h5", support_dir=support_dir, batch_size=batch_size, datasets=["Invented"])
    whole = Store(built)
    for sequence in Store(tmp_path / "s.h5").sequences:
        assert np.abs(sequence.positions_3d[:] - whole[sequence.key].positions_3d[:]).max() < 1e-6


def test_no_parts_are_left_behind(built: Path) -> None:
    assert leftovers(built) == []


def test_a_sequence_does_not_depend_on_its_neighbours(
    built: Path, amass_dir: Path, support_dir: Path, tmp_path: Path
) -> None:
    sequence = Store(built).sequences[7]
    source = amass_dir / sequence.record.source_path
    target = tmp_path / "amass" / sequence.record.source_path
    target.parent.mkdir(parents=True)
    shutil.copy(source, target)
    build(tmp_path / "amass", tmp_path / "alone.h5", support_dir=support_dir)
    (alone,) = Store(tmp_path / "alone.h5").sequences
    np.testing.assert_allclose(alone.positions_3d[:], sequence.positions_3d[:], atol=1e-6)


def damage(path: Path) -> None:
    """Flip a bit in the middle of the poses: the header stays whole, the CRC does not fit."""
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"poses": np.full((90, 156), np.nan)}, "poses of frame 0 is not a number below 1e6"),
        ({"trans": np.full((90, 3), 1e300)}, "trans of frame 0 is not a number below 1e6"),
        ({"betas": np.full(16, 1e42)}, "betas are not numbers"),
        ({"poses": np.full((90, 156), -1e200)}, "poses of frame 0 is not a number"),
        ({"betas": None}, "has no betas"),
        ({"trans": np.zeros((91, 3))}, "differ in frames"),
        ({"gender": np.array("robot")}, "gender is 'robot'"),
        ({"mocap_framerate": np.array(0.0)}, "mocap_framerate is 0.0, not a positive number"),
        ({"poses": np.zeros((1, 156)), "trans": np.zeros((1, 3)), "dmpls": np.zeros((1, 8))}, "too short"),
        ("damage", "is damaged"),
    ],
)
def test_a_bad_sequence_is_skipped_with_its_reason_and_the_rest_converts(
    support_dir: Path, tmp_path: Path, change: Any, reason: str
) -> None:
    one_recording(tmp_path / "amass")
    bad = tmp_path / "amass" / "D" / "S" / "bad.npz"
    changes = {} if change == "damage" else change
    one_recording(tmp_path / "other", **changes).rename(bad)
    if change == "damage":
        damage(bad)
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    (left,) = report.skipped
    assert (left.path, left.dataset) == ("D/S/bad.npz", "D")
    assert reason in left.reason
    assert "\n" not in left.reason
    store = Store(tmp_path / "s.h5")
    assert [sequence.key for sequence in store.sequences] == ["D/S/seq"]
    assert error(store["D/S/seq"], tmp_path / "amass" / "D" / "S" / "seq.npz", support_dir) < 2e-6
    strict = tmp_path / "strict.h5"
    with pytest.raises(BuildError, match="--strict"):
        build(tmp_path / "amass", strict, support_dir=support_dir, strict=True)
    assert not strict.exists()
    build(tmp_path / "amass", strict, support_dir=support_dir)
    assert strict.read_bytes() == (tmp_path / "s.h5").read_bytes()
    assert leftovers(strict) == []


def test_only_the_genders_that_occur_are_loaded(support_dir: Path, tmp_path: Path) -> None:
    one_recording(tmp_path / "amass")
    for kind in ("smplh", "dmpls"):
        male = Path("body_models") / kind / "male"
        shutil.copytree(support_dir / male, tmp_path / "sup" / male, copy_function=os.symlink)
    shutil.copy(support_dir / "J_regressor_h36m.npy", tmp_path / "sup")
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=tmp_path / "sup")
    assert list(Store(tmp_path / "s.h5").header.body_model_sha256) == ["male+dmpls"]


def test_a_failed_build_leaves_the_old_store_as_it_was(
    built: Path, amass_dir: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "s.h5"
    shutil.copy(built, store)
    before = store.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", str(store))

    for target, name in (
        (conversion.PartWriter, "finish"),
        (assembly.StoreWriter, "append"),
        (assembly.StoreWriter, "finish"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, fail)
            with pytest.raises(SpaceError, match=r"No space.*needs about .* [kM]B"):
                build(amass_dir, store, support_dir=support_dir, overwrite=True)
        assert store.read_bytes() == before
        assert leftovers(store) == ([] if name == "finish" and target is conversion.PartWriter else ["s.h5.parts"])
    build(amass_dir, store, support_dir=support_dir, overwrite=True)
    assert store.read_bytes() == before
    assert leftovers(store) == []


@pytest.mark.parametrize("compression", ["lzf", "gzip"])
def test_compression_changes_the_file_and_not_the_positions(
    built: Path, amass_dir: Path, support_dir: Path, tmp_path: Path, compression: str
) -> None:
    build(amass_dir, tmp_path / "s.h5", support_dir=support_dir, compression=compression, datasets=["Madeup"])
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["positions_3d"].compression == compression
    whole = Store(built)
    for sequence in Store(tmp_path / "s.h5").sequences:
        np.testing.assert_allclose(sequence.positions_3d[:], whole[sequence.key].positions_3d[:], atol=1e-6)


def test_a_custom_regressor_gives_its_own_joints(support_dir: Path, tmp_path: Path) -> None:
    one_recording(tmp_path / "amass")
    rows = np.load(support_dir / "J_regressor_h36m.npy")[[3, 10]]
    np.save(tmp_path / "two.npy", rows.astype(np.float32))
    (tmp_path / "names.txt").write_text("ankle\ntop\n")
    build(tmp_path / "amass", tmp_path / "a.h5", support_dir=support_dir, joint_regressor=tmp_path / "two.npy")
    assert Store(tmp_path / "a.h5").joint_names == ("joint_0", "joint_1")
    build(
        tmp_path / "amass",
        tmp_path / "b.h5",
        support_dir=support_dir,
        joint_regressor=tmp_path / "two.npy",
        joint_names=tmp_path / "names.txt",
    )
    store = Store(tmp_path / "b.h5")
    assert store.joint_names == ("ankle", "top")
    build(tmp_path / "amass", tmp_path / "all.h5", support_dir=support_dir)
    of_all = Store(tmp_path / "all.h5")["D/S/seq"].positions_3d[:, [3, 10]]
    np.testing.assert_allclose(store["D/S/seq"].positions_3d[:], of_all, atol=1e-6)


def test_a_store_of_made_up_input_says_so(built: Path) -> None:
    assert Store(built).header.synthetic
    with h5py.File(built) as file:
        assert file.attrs["synthetic"]


def test_the_report_counts_what_the_store_holds(amass_dir: Path, support_dir: Path, tmp_path: Path) -> None:
    stages: dict[str, list[tuple[int, int]]] = {}
    names: set[str] = set()

    def progress(stage: str, done: int, total: int, name: str = "", /) -> None:
        stages.setdefault(stage, []).append((done, total))
        names.add(name)

    report = build(amass_dir, tmp_path / "s.h5", support_dir=support_dir, progress=progress)
    store = Store(tmp_path / "s.h5")
    assert report.frames == store.num_frames == sum(row.frames for row in report.datasets)
    assert [row.dataset for row in report.datasets] == list(store.datasets)
    for row in report.datasets:
        assert row.subjects == len(store[row.dataset])
        assert row.sequences == sum(len(subject) for subject in store[row.dataset].values())
    written = json.loads(report.to_json())
    assert written["datasets"][0]["dataset"] == store.datasets[0]
    page = (Path(__file__).parents[2] / "docs" / "converting.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `(\w+)` \|", page[page.index("## The report as JSON") :], re.MULTILINE)
    assert list(written) == [field.name for field in fields(BuildReport)]
    assert sorted(written) == sorted(documented)
    assert list(stages) == ["convert"]
    files = find_recordings(amass_dir).files
    assert names - {""} <= {file.path for file in files}
    assert len(names) > 1
    megabytes = sum(file.size for file in files) // 10**6
    assert stages["convert"][0] == (0, megabytes)
    assert stages["convert"][-1] == (megabytes, megabytes)
    assert stages["convert"] == sorted(stages["convert"])


def test_the_public_names_are_what_they_say() -> None:
    assert h36m_amass.build is build
    assert h36m_amass.Store is Store
    for name in h36m_amass.__all__:
        assert getattr(h36m_amass, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = h36m_amass.nonsense


def test_two_regressors_in_a_row_never_share_what_was_folded(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_recording(tmp_path / "amass")
    monkeypatch.setattr(bodies, "forget_skinners", lambda: None)  # as in a worker that outlives a build
    rows = np.load(support_dir / "J_regressor_h36m.npy")
    positions = []
    for row in (3, 10):
        np.save(tmp_path / "one.npy", rows[[row]])
        build(
            tmp_path / "amass",
            tmp_path / "s.h5",
            support_dir=support_dir,
            joint_regressor=tmp_path / "one.npy",
            overwrite=True,
        )
        positions.append(Store(tmp_path / "s.h5")["D/S/seq"].positions_3d[:])
    monkeypatch.undo()
    bodies.forget_skinners()
    assert np.abs(positions[0] - positions[1]).max() > 0.5


@pytest.fixture(scope="module")
def unmarked(support_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The male models without what says that they are made up. Not to be written to."""
    folder = tmp_path_factory.mktemp("unmarked")
    for kind in ("smplh", "dmpls"):
        with np.load(support_dir / "body_models" / kind / "male" / "model.npz") as npz:
            np.savez(folder / f"{kind}.npz", **{name: npz[name] for name in npz.files if name != "synthetic"})
    return folder


@pytest.mark.parametrize("marked", ["regressor", "recording", "smplh", "dmpls", "nothing"])
def test_one_thing_made_up_marks_the_store(support_dir: Path, unmarked: Path, tmp_path: Path, marked: str) -> None:
    recording = one_recording(tmp_path / "amass", **({} if marked == "recording" else {"synthetic": None}))
    support = tmp_path / "support"
    for kind in ("smplh", "dmpls"):
        source = support_dir / "body_models" / kind / "male" / "model.npz"
        target = support / "body_models" / kind / "male" / "model.npz"
        target.parent.mkdir(parents=True)
        target.symlink_to(source if kind == marked else unmarked / f"{kind}.npz")
    rows = np.load(support_dir / "J_regressor_h36m.npy")
    if marked == "regressor":
        shutil.copy(support_dir / "J_regressor_h36m.npy", support)
    else:
        np.save(support / "J_regressor_h36m.npy", rows)
    assert recording.exists()
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support)
    assert report.synthetic == Store(tmp_path / "s.h5").header.synthetic == (marked != "nothing")


def test_the_parent_of_workers_never_imports_torch(amass_dir: Path, support_dir: Path, tmp_path: Path) -> None:
    program = """if __name__ == "__main__":
        import sys
        from h36m_amass import build
        build(*sys.argv[1:3], support_dir=sys.argv[3], workers=1, device="cpu", datasets=["Invented"])
        print("torch" in sys.modules)
    """
    script = tmp_path / "script.py"
    script.write_text(program)
    line = [sys.executable, script, amass_dir, tmp_path / "s.h5", support_dir]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_recordings_are_converted_on_one_thread_in_full_precision(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, str, str]] = []
    batch = Skinner.batch

    def recorded(self: Skinner, *args: Any) -> Batch:
        products = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
        seen.append((torch.get_num_threads(), *(product.fp32_precision for product in products)))
        return batch(self, *args)

    one_recording(tmp_path / "amass")
    monkeypatch.setattr(Skinner, "batch", recorded)
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    assert set(seen) == {(1, "ieee", "ieee")}


def test_a_failed_task_ends_the_build_whatever_the_executor_does_with_the_others(
    amass_dir: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck(ThreadPoolExecutor):
        """Fails the first task, and never says that the others were cancelled."""

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            if not submitted:
                future.set_exception(OSError(5, "Input/output error"))
            submitted.append(future)
            return future

    submitted: list[Future[Any]] = []
    monkeypatch.setattr(tasks, "TASK_BYTES", 1)
    with pytest.raises(OSError, match="Input/output"):
        build(amass_dir, tmp_path / "s.h5", support_dir=support_dir, executor=Stuck(1))
    assert len(submitted) > 1


@pytest.mark.parametrize(
    ("devices", "size", "processes"),
    [
        (("cpu",), 9, 1),
        (("cpu",), 2 * pool.BYTES_WORTH_A_WORKER, 2),
        (("cpu",), 900 * pool.BYTES_WORTH_A_WORKER, 4),
        (("cuda:0",), 9, 1),
        (("cuda:0", "cuda:2"), 9, 2),
        (("cuda:0",), 2 * pool.BYTES_WORTH_A_WORKER, 2),
        (("cuda:0",), 900 * pool.BYTES_WORTH_A_WORKER, 4),
        (("cuda:0", "cuda:2"), 900 * pool.BYTES_WORTH_A_WORKER, 8),
    ],
)
def test_as_many_processes_start_as_are_worth_it(
    monkeypatch: pytest.MonkeyPatch, devices: tuple[str, ...], size: int, processes: int
) -> None:
    monkeypatch.setattr(pool, "usable_cores", lambda: 4 if devices == ("cpu",) else 16)
    assert pool.useful_workers(devices, size) == processes


@pytest.mark.parametrize("workers", [0, 1])
def test_a_missing_body_model_ends_the_build_early_with_its_file_and_page(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, converted: Counter[str], workers: int
) -> None:
    tree, support = tmp_path / "amass", without_model(support_dir, tmp_path / "support", "female")
    write(tree / "A" / "S" / "0.npz", recording(40, gender="female"))
    for number in range(30):
        write(tree / "B" / "S" / f"{number}.npz", recording(40, number))
    monkeypatch.setattr(tasks, "TASK_BYTES", 1)
    with pytest.raises(MissingModelError, match=r"female/model\.npz: there is no such file.*https://mano") as ended:
        build(tree, tmp_path / "s.h5", support_dir=support, workers=workers)
    assert str(support) in str(ended.value)
    assert len(converted) <= 1
    assert not (tmp_path / "s.h5").exists()


def test_skip_missing_goes_on_without_the_recordings_of_a_missing_model(
    support_dir: Path, tmp_path: Path, cli: Callable[..., Outcome]
) -> None:
    tree, support = tmp_path / "amass", without_model(support_dir, tmp_path / "support", "female")
    write(tree / "B" / "S" / "0.npz", recording(40))
    first = write(tree / "A" / "S" / "0.npz", recording(40, gender="female"))
    for number in range(1, 50):
        first.with_name(f"{number}.npz").hardlink_to(first)
    outcome = cli("build", tree, tmp_path / "s.h5", "--support-dir", support, "--skip-missing", "--workers", 0)
    assert outcome.exit_code == 0
    (line,) = (line for line in outcome.stderr.splitlines() + outcome.stdout.splitlines() if "no such file" in line)
    assert "50 recordings" in line
    report = build(tree, tmp_path / "t.h5", support_dir=support, skip_missing=True)
    assert len(report.skipped) == 50
    assert len({skipped.reason for skipped in report.skipped}) == 1
    assert [sequence.key for sequence in Store(tmp_path / "t.h5").sequences] == ["B/S/0"]


def without_model(support_dir: Path, target: Path, gender: str) -> Path:
    """Support data that lacks the body model of one gender."""
    target.mkdir()
    (target / "J_regressor_h36m.npy").symlink_to(support_dir / "J_regressor_h36m.npy")
    for kind in ("smplh", "dmpls"):
        (target / "body_models" / kind).mkdir(parents=True)
        for folder in (support_dir / "body_models" / kind).iterdir():
            if folder.name != gender:
                (target / "body_models" / kind / folder.name).symlink_to(folder)
    return target


def test_a_script_without_a_main_guard_ends_with_one_line(support_dir: Path, tmp_path: Path) -> None:
    one_recording(tmp_path / "amass")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom h36m_amass import build\n"
        "build(*sys.argv[1:3], support_dir=sys.argv[3], workers=2, device='cpu')\n"
    )
    line = [sys.executable, script, tmp_path / "amass", tmp_path / "s.h5", support_dir]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    (message,) = done.stderr.splitlines()
    assert 'needs if __name__ == "__main__"' in message
    assert not list(tmp_path.glob("s.h5*"))
