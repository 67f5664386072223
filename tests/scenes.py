"""Small trees, quick to convert, for tests that build again and again."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h36m_amass import synthetic
from h36m_amass.skeleton import H36M

TEST_DATA = Path(os.environ.get("H36M_AMASS_TEST_DATA", os.devnull))
"""Folder of real recordings and regressors, which are not ours to distribute."""
REAL = TEST_DATA / "real"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="H36M_AMASS_TEST_DATA names no folder with real recordings")


UPRIGHT = np.pi / 2 * (np.arange(156) == 0)
"""Turns SMPL's y, which is up, into AMASS's z."""


def recording(frames: int, seed: int = 0, gender: str = "male", rate: float = 120.0, **changes: Any) -> dict[str, Any]:
    """Arrays of a recording of random poses of somebody who stands; None omits one."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Any] = {
        "poses": rng.normal(scale=0.2, size=(frames, 156)) + UPRIGHT,
        "trans": rng.normal(size=(frames, 3)),
        "dmpls": rng.normal(size=(frames, 8)),
        "betas": rng.normal(size=16),
        "gender": np.array(gender),
        "mocap_framerate": np.array(rate),
    }
    return {name: array for name, array in (arrays | changes).items() if array is not None}


def write(path: Path, arrays: dict[str, Any]) -> Path:
    """Write a recording as an npz file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


def write_dataset(amass_dir: Path, name: str, recordings: int, frames: int = 120, seed: int = 0) -> list[Path]:
    """A dataset of one subject, its recordings of one gender after the other."""
    paths = []
    for number in range(recordings):
        arrays = recording(frames + number % 7, seed + number, ("male", "female")[number % 2])
        paths.append(write(amass_dir / name / "S" / f"{number:04}.npz", arrays))
    return paths


def write_mixed_tree(amass_dir: Path) -> Path:
    """A small tree with something of each kind: recordings, a damaged one, and other files."""
    for number, key in enumerate(("One/s 1/walk", "One/s 1/run", "Two/in/x/jump", "Two/in/y/sit")):
        write(amass_dir / f"{key}.npz", recording(60 + number, number))
    (amass_dir / "One/s 1/shape.npz").write_bytes(b"none")
    (amass_dir / "One/s 1/broken.npz").write_bytes(b"not a zip archive")
    (amass_dir / "Two/LICENSE.txt").write_text("free")
    return amass_dir


def write_long_tree(amass_dir: Path, recordings: int) -> Path:
    """A dataset that takes some seconds, of one long recording under many names. Not to be written to."""
    first = write_dataset(amass_dir, "D", 1, frames=30_000)[0]
    for number in range(1, recordings):
        first.with_name(f"{number:04}.npz").hardlink_to(first)
    return amass_dir


def random_template(rng: np.random.Generator, num_vertices: int) -> np.ndarray:
    """Vertices anywhere, from the left to the right; the outermost ones are low, and one in the middle is high."""
    vertices = rng.normal(size=(num_vertices, 3))
    vertices[:, 0] = np.sort(vertices[:, 0] - vertices[:, 0].mean())[::-1]
    vertices[[0, -1], 1] = vertices[:, 1].min() - 0.5
    vertices[num_vertices // 2, 1] = vertices[:, 1].max() + 0.5
    return vertices


def random_h36m_regressor(rng: np.random.Generator, num_vertices: int) -> np.ndarray:
    """Seventeen joints of a random template: left and right, and in order from hip to ankle, shoulder to wrist, and up.

    Each of a chain of joints lies nearer to a vertex at its end than the one before.
    """
    weights, names = rng.dirichlet(np.ones(num_vertices), len(H36M)), H36M.joint_names
    limbs = [(names.index(f"{side}_{name}"), side) for side in ("left", "right") for name in ("hip", "shoulder")]
    chains = [(range(first, first + 3), {"left": 0, "right": num_vertices - 1}[side]) for first, side in limbs]
    for joints, end in [*chains, ([names.index(name) for name in ("pelvis", "thorax", "head_top")], num_vertices // 2)]:
        first = np.sort(weights[joints[0]]) if end == num_vertices - 1 else np.sort(weights[joints[0]])[::-1]
        for joint, share in zip(joints, (0.0, 0.3, 0.6), strict=True):
            weights[joint] = (1 - share) * first
            weights[joint, end] += share
    return weights


def write_support(folder: Path) -> Path:
    """Made-up body models and a regressor."""
    synthetic.write_support_data(folder)
    return folder


def write_thin_support(folder: Path, whole: Path) -> Path:
    """The models and the regressor of a folder with an eighth of their vertices."""
    regressor = np.load(whole / "J_regressor_h36m.npy")
    kept = np.flatnonzero(regressor.any(axis=0) | (np.arange(regressor.shape[1]) % 8 == 0))
    for path in whole.glob("body_models/*/*/model.npz"):
        with np.load(path) as npz:
            arrays = {name: npz[name] for name in npz if name != "f"}
        for name in {"v_template", "shapedirs", "posedirs", "weights", "eigvec"} & set(arrays):
            arrays[name] = arrays[name][kept]
        if "J_regressor" in arrays:
            rest = arrays["J_regressor"][:, kept]
            arrays["J_regressor"] = rest / rest.sum(axis=1, keepdims=True)
        synthetic.body.write_model(folder, path.parts[-3], path.parts[-2], arrays)
    synthetic.body.write_regressor(folder / "J_regressor_h36m.npy", regressor[:, kept])
    return folder


_TASKS_OF = "import sys; from h36m_amass.conversion import tasks; tasks.TASK_BYTES = int(sys.argv.pop(1)); "


@contextmanager
def command(
    *arguments: object, task_bytes: int = 2**26, before: str = "", errors: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """``h36m-amass ARGUMENTS`` in a process group of its own, which nothing outlives; with small tasks, if asked."""
    program = f"{_TASKS_OF}{before}\nfrom h36m_amass.cli import app; app()"
    line = [sys.executable, "-c", program, str(task_bytes), *map(str, arguments)]
    with (errors or Path(os.devnull)).open("wb") as stream:
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=stream, start_new_session=True)
        try:
            yield process
        finally:
            end_group(process)


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Look at a condition until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of it running, whatever a test found."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def group_of(process: subprocess.Popen[bytes]) -> list[int]:
    """Processes of its group but itself."""
    listed = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, check=True, text=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, group, state in rows if int(group) == process.pid != int(pid) and state[0] != "Z"]


def own_peak() -> int:
    """The most memory in bytes that this process had; Linux counts into ru_maxrss what its parent had."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024
