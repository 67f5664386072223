"""What only a CUDA device can tell: right however late it is, and whatever is in its memory or set by a caller."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from h36m_amass import build, synthetic
from h36m_amass.body import folding, regressor
from h36m_amass.body import model as body_model
from h36m_amass.engine import on_gpu
from h36m_amass.engine.posing import pose_joints
from h36m_amass.engine.precision import reproducible
from h36m_amass.engine.reference import mesh_joints
from h36m_amass.engine.run import Run
from h36m_amass.engine.runs import pose_runs
from h36m_amass.engine.skinning import Skinner
from h36m_amass.store.store import Store
from h36m_amass.system.devices import DeviceError

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() == 0, reason="no CUDA device"),
]
LENGTHS = (5, 256, 900, 1, 130, 256, 256, 7, 600)  # frames of recordings, some of several runs of 256
BOUND_M = 2e-6
SLEEP_CYCLES = 20_000_000  # about ten milliseconds


@pytest.fixture(scope="module")
def folded(body: body_model.BodyModel, joints: regressor.JointRegressor) -> folding.FoldedRegressor:
    return folding.fold(body, joints)


@pytest.fixture(scope="module", params=["still", "moving"])
def motion(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    motion = synthetic.motion("walk", 40.0, 120, gender="male", fingers=request.param, seed=1)
    motion["trans"] += 3.0 - motion["trans"].mean(axis=0)
    return motion


def pose(folded: folding.FoldedRegressor, motion: dict[str, np.ndarray], frames: int, **options: Any) -> np.ndarray:
    arguments = (motion["poses"][:frames], motion["trans"][:frames], motion["dmpls"][:frames])
    return pose_joints(folded, motion["betas"], *arguments, **options)


@pytest.mark.parametrize("batch_size", [2, 7, 511, 512, 513, 4096])
def test_it_agrees_with_the_cpu(
    folded: folding.FoldedRegressor, motion: dict[str, np.ndarray], batch_size: int
) -> None:
    frames = 40 if batch_size < 10 else len(motion["poses"])
    positions = pose(folded, motion, frames, batch_size=batch_size, device="cuda")
    assert np.abs(positions - pose(folded, motion, frames)).max() < BOUND_M


def test_it_agrees_with_the_full_mesh(
    body: body_model.BodyModel,
    joints: regressor.JointRegressor,
    folded: folding.FoldedRegressor,
    motion: dict[str, np.ndarray],
) -> None:
    every = slice(None, None, 50)
    arrays = (motion["poses"][every], motion["trans"][every], motion["dmpls"][every])
    exact = mesh_joints(body, joints, motion["betas"], *arrays)
    positions = pose(folded, motion, len(motion["poses"]), device="cuda")[every]
    assert np.linalg.norm(positions - exact, axis=2).max() < BOUND_M


def pose_all(skinner: Skinner, motion: dict[str, np.ndarray]) -> np.ndarray:
    """Joints of recordings of several lengths, some in many runs, each begun before the one before it is done."""
    poses, dmpls = motion["poses"].astype(np.float32), motion["dmpls"].astype(np.float32)

    def runs(length: int) -> Iterator[Run]:
        for start, stop in pairwise([*range(0, length, skinner.batch_size), length]):
            yield Run.whole(poses[start:stop], motion["trans"][start:stop], dmpls[start:stop])

    with reproducible():
        begun = [pose_runs(skinner, motion["betas"], runs(length), (17,)) for length in LENGTHS]
        return np.concatenate([positions for recording in begun for (positions,) in recording])


def test_recordings_in_flight_come_out_alike_again_and_again(
    folded: folding.FoldedRegressor, motion: dict[str, np.ndarray]
) -> None:
    skinner = Skinner(folded, 256, "cuda")
    first = pose_all(skinner, motion)  # without graphs; then with them
    assert np.abs(first - pose_all(Skinner(folded, 256), motion)).max() < BOUND_M
    for again in (skinner, skinner, skinner, Skinner(folded, 256, "cuda")):
        np.testing.assert_array_equal(pose_all(again, motion), first)


def test_nothing_is_read_that_was_not_written(folded: folding.FoldedRegressor, motion: dict[str, np.ndarray]) -> None:
    first = pose_all(Skinner(folded, 256, "cuda"), motion)
    skinner = Skinner(folded, 256, "cuda")
    for _ in range(3):
        with torch.inference_mode():
            poison(skinner)
        np.testing.assert_array_equal(pose_all(skinner, motion), first)


def poison(skinner: Skinner) -> None:
    """Fill what the skinner writes before it reads with NaN, and what torch gives to the next who asks."""
    for staging in skinner.workspace.idle:
        staging._uploaded.bytes.fill_(255)
    for memory in skinner.workspace._memories.values():
        memory.bytes.fill_(255)
    if skinner.workspace._buffers is not None:
        skinner.workspace._buffers.fill_(float("nan"))
    garbage = [torch.full((2**22,), float("nan"), device="cuda") for _ in range(16)]
    del garbage


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_device_that_lags_behind_gives_the_same_bytes(
    folded: folding.FoldedRegressor, motion: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    first, run = pose_all(Skinner(folded, 256, "cuda"), motion), on_gpu.Replayed.__call__

    def late(self: on_gpu.Replayed) -> None:
        if when == "before":
            torch.cuda._sleep(SLEEP_CYCLES)
        run(self)
        if when == "after":
            torch.cuda._sleep(SLEEP_CYCLES)

    monkeypatch.setattr(on_gpu.Replayed, "__call__", late)
    np.testing.assert_array_equal(pose_all(Skinner(folded, 256, "cuda"), motion), first)


def test_another_stream_and_another_thread_give_the_same_bytes(
    folded: folding.FoldedRegressor, motion: dict[str, np.ndarray]
) -> None:
    first = pose_all(Skinner(folded, 256, "cuda"), motion)

    def again() -> np.ndarray:
        skinner = Skinner(folded, 256, "cuda")
        pose_all(skinner, motion)
        return pose_all(skinner, motion)

    with torch.cuda.stream(torch.cuda.Stream()):
        np.testing.assert_array_equal(again(), first)
    with warnings.catch_warnings(), ThreadPoolExecutor(1) as pool:
        warnings.simplefilter("error")
        np.testing.assert_array_equal(pool.submit(again).result(), first)


def test_memory_does_not_grow(folded: folding.FoldedRegressor, motion: dict[str, np.ndarray]) -> None:
    skinner = Skinner(folded, 256, "cuda")

    def held() -> tuple[int, int]:
        gc.collect()
        return torch.cuda.memory_reserved(), torch.cuda.host_memory_stats().get("allocated_bytes.current", 0)

    for _ in range(3):
        pose_all(skinner, motion)
    before = held()
    for _ in range(10):
        pose_all(skinner, motion)
    assert held() == before


def test_a_full_device_is_one_line_and_afterwards_it_works(
    folded: folding.FoldedRegressor, motion: dict[str, np.ndarray]
) -> None:
    frames = len(motion["poses"])
    first = pose(folded, motion, frames, device="cuda")
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    hog = torch.empty(max(free - 2**26, 0), dtype=torch.uint8, device="cuda")
    with pytest.raises(DeviceError, match="too little free memory; use fewer --workers"):
        pose(folded, motion, frames, batch_size=65536, device="cuda")
    del hog
    torch.cuda.empty_cache()
    np.testing.assert_array_equal(pose(folded, motion, frames, device="cuda"), first)


@pytest.fixture
def matmul() -> Iterator[Any]:
    """The setting of TF32 for products, which is put back."""
    yield torch.backends.cuda.matmul
    torch.set_float32_matmul_precision("highest")
    torch.use_deterministic_algorithms(False)
    torch.set_default_device(None)


SETTINGS: dict[str, Callable[[], Any]] = {
    "precision high": lambda: torch.set_float32_matmul_precision("high"),
    "allow_tf32": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "deterministic": lambda: torch.use_deterministic_algorithms(True),
    "autocast": lambda: torch.autocast("cuda", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
    "default device": lambda: torch.set_default_device("cuda"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_what_a_caller_has_set_does_not_matter(
    folded: folding.FoldedRegressor, motion: dict[str, np.ndarray], matmul: Any, name: str
) -> None:
    expected = pose(folded, motion, 2000, batch_size=256, device="cuda")
    context = SETTINGS[name]()
    before = matmul.fp32_precision
    with context if isinstance(context, AbstractContextManager) else nullcontext():
        positions = pose(folded, motion, 2000, batch_size=256, device="cuda")
    assert matmul.fp32_precision == before
    np.testing.assert_array_equal(positions, expected)


POSE = """
import sys, numpy as np
from pathlib import Path
from h36m_amass import synthetic
from h36m_amass.body import folding, model, regressor
from h36m_amass.engine.posing import pose_joints
support = Path(sys.argv[1])
folded = folding.fold(model.load(support, "male", num_dmpls=8), regressor.load(support / "J_regressor_h36m.npy"))
m = synthetic.motion("walk", 2.0, 120, gender="male", fingers="moving", seed=1)
arguments = folded, m["betas"], m["poses"], m["trans"], m["dmpls"]
print(np.abs(pose_joints(*arguments, device="cuda") - pose_joints(*arguments)).max())
"""


def run(code: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, env={**os.environ, **variables})


def test_variables_of_the_environment_change_nothing_or_are_refused(support_dir: Path) -> None:
    done = run(POSE, support_dir, TORCH_ALLOW_TF32_CUBLAS_OVERRIDE="1")
    assert float(done.stdout) < BOUND_M, done.stderr
    for variable in ("NVIDIA_TF32_OVERRIDE", "PYTORCH_TUNABLEOP_ENABLED"):
        done = run(POSE, support_dir, **{variable: "1"})
        assert f"{variable} is set" in done.stderr.splitlines()[-1]


ASK = """
import ctypes
from h36m_amass.system import devices
name = devices.resolve_devices("cuda:all")[0]
assert devices.resolve_devices("auto") in (("cpu",), ("cuda:0",))
devices.device_kind(name)
cuda, device, flags, active = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_uint(), ctypes.c_int()
assert not cuda.cuInit(0) and not cuda.cuDeviceGet(ctypes.byref(device), 0)
cuda.cuDevicePrimaryCtxGetState(device, ctypes.byref(flags), ctypes.byref(active))
print(active.value)
"""


def test_asking_for_devices_takes_none_of_their_memory() -> None:
    done = run(ASK)
    assert done.stdout.strip() == "0", done.stderr


def test_builds_give_the_same_bytes_whatever_the_workers(amass_dir: Path, support_dir: Path, tmp_path: Path) -> None:
    for name, device, workers in (("cpu", "cpu", 0), ("0", "cuda", 0), ("1", "cuda:0", 1), ("3", "cuda", 3)):
        build(amass_dir, tmp_path / name, support_dir=support_dir, device=device, workers=workers)
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes() == (tmp_path / "3").read_bytes()
    with Store(tmp_path / "cpu") as expected, Store(tmp_path / "0") as converted:
        for ours, theirs in zip(converted.sequences, expected.sequences, strict=True):
            assert np.abs(ours.positions_3d[:] - theirs.positions_3d[:]).max() < BOUND_M
