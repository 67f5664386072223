"""The engine and whole builds on a GPU, beside other ways on the same card and builds on the same machine's CPU.

``make gpu`` runs it before the tests that need a GPU; it prints tables and writes ``results/gpu.json``. Where there is
no GPU it says so and writes nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import command
import numpy as np
import smplx.lbs
import torch
import trees
from body_models.smplh.torch import SMPLH
from common import MIB, Target, pick, table, take_turns, write_results
from mesh_script import lbs_tensors

from h36m_amass import synthetic
from h36m_amass.body import folding, regressor
from h36m_amass.body import model as body_model
from h36m_amass.engine.precision import reproducible
from h36m_amass.engine.run import Run
from h36m_amass.engine.runs import pose_runs
from h36m_amass.engine.skinning import Skinner
from h36m_amass.store.store import Store
from h36m_amass.system.devices import MIN_CORES_FOR_CPU, usable_cores

DEVICE = "cuda:0"
RATE = 120
FRAMES, MESH_FRAMES = pick((2**19, 2**14), (4096, 256))
BATCHES = pick((1024, 2048, 4096, 16384, 65536), (4096,))
POINT_BATCHES = pick((4096, 16384, 65536), (4096,))
MESH_BATCHES = pick((256, 1024, 4096), (256,))
AMASS_FRAMES = 18_000_000
CORES = usable_cores()
FEW_CORES = 4
BUILDS: dict[int, list[tuple[int, str, int | None]]] = pick(
    {
        4_000_000: [(CORES, "cpu", None), (CORES, DEVICE, 1), (CORES, DEVICE, None), (CORES, DEVICE, None)],
        AMASS_FRAMES: [
            *((CORES, "cpu", None), (CORES, DEVICE, None), (CORES, DEVICE, 8)),
            *((FEW_CORES, "cpu", None), (FEW_CORES, DEVICE, None)),
        ],
    },
    {6_000: [(CORES, "cpu", None), (CORES, DEVICE, 1), (CORES, DEVICE, None)]},
)
"""By source frames: cores, device and workers, None for as many as a build starts by default."""
COMPARED = 300  # recordings whose joints of both devices are compared
LEAST_RATE, LEAST_POINTS, LEAST_MESH, LEAST_OF_BEST = 5e6, 1.5, 6, 0.95
BOUND_M, WORKER_MIB = 2e-6, 700


@dataclass(frozen=True)
class Motion:
    """Frames in memory, as builds have them: poses in float32, translations in float64."""

    betas: np.ndarray
    poses: np.ndarray
    trans: np.ndarray

    @staticmethod
    def make(num_frames: int) -> Motion:
        motion = synthetic.motion("walk", 60.0, RATE, gender="male", fingers="still", dmpls=False, seed=1)
        turn = np.arange(num_frames) % len(motion["poses"])
        return Motion(motion["betas"], motion["poses"][turn].astype(np.float32), motion["trans"][turn])

    def runs(self, batch_size: int) -> Iterator[Run]:
        for start, stop in pairwise([*range(0, len(self.poses), batch_size), len(self.poses)]):
            yield Run.whole(self.poses[start:stop], self.trans[start:stop])

    def tensors(self, batch_size: int, num_frames: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Poses and translations on the device, in batches."""
        for start in range(0, num_frames, batch_size):
            frames = slice(start, min(start + batch_size, num_frames))
            arrays = self.poses[frames], self.trans[frames].astype(np.float32)
            poses, trans = (torch.from_numpy(array).to(DEVICE) for array in arrays)
            yield poses, trans


def engine(folded: folding.FoldedRegressor, motion: Motion, batch_size: int) -> Callable[[], np.ndarray]:
    """From frames in memory to joints in memory."""
    skinner = Skinner(folded, batch_size, DEVICE)
    joints = np.zeros((len(motion.poses), folded.num_joints, 3), np.float32)

    def run() -> np.ndarray:
        done = 0
        with reproducible():
            for (positions,) in pose_runs(skinner, motion.betas, motion.runs(batch_size), (folded.num_joints,)):
                joints[done : done + len(positions)] = positions
                done += len(positions)
        return joints

    return run


def forward_points(
    points: Any, joints: regressor.JointRegressor, motion: Motion, size: int
) -> Callable[[], np.ndarray]:
    """body-models' regressed points of the same frames."""
    dense = torch.as_tensor(joints.matrix.toarray(), dtype=torch.float32, device=DEVICE)
    prepared = points.prepare_point_regressor(dense)
    shape = torch.as_tensor(motion.betas, dtype=torch.float32, device=DEVICE)[None]
    result = np.zeros((len(motion.poses), len(dense), 3), np.float32)

    @torch.no_grad()
    def run() -> np.ndarray:
        done = 0
        for poses, trans in motion.tensors(size, len(motion.poses)):
            pose = poses.view(-1, 52, 3)
            posed = points.forward_points(
                pose[:, 1:22],
                pose[:, 22:],
                point_regressor=prepared,
                pelvis_rotation=pose[:, 0],
                shape=shape.expand(len(pose), -1),
                global_translation=trans,
            )
            result[done : done + len(pose)] = posed.cpu().numpy()
            done += len(pose)
        return result

    return run


def full_mesh(
    body: body_model.BodyModel, joints: regressor.JointRegressor, motion: Motion, size: int
) -> Callable[[], np.ndarray]:
    """Every vertex of the first frames, then the regressor: the known script's method."""
    lbs = {name: tensor.to(DEVICE) for name, tensor in lbs_tensors(body).items()}
    matrix = torch.as_tensor(joints.matrix.toarray(), dtype=torch.float32, device=DEVICE)
    shape = torch.as_tensor(motion.betas, dtype=torch.float32, device=DEVICE)[None]

    @torch.no_grad()
    def run() -> np.ndarray:
        parts = []
        for poses, trans in motion.tensors(size, MESH_FRAMES):
            vertices, _ = smplx.lbs.lbs(shape.expand(len(poses), -1), poses, **lbs)
            parts.append(torch.einsum("bik,ji->bjk", vertices + trans[:, None], matrix).cpu())
        return torch.cat(parts).numpy()

    return run


def measure_engine(support_dir: Path) -> dict[str, Any]:
    """Frames per second of each way and batch size, memory to memory, and how far the ways are apart."""
    body = body_model.load(support_dir, "male", num_dmpls=0)
    joints = regressor.load(support_dir / "J_regressor_h36m.npy")
    folded, motion = folding.fold(body, joints), Motion.make(FRAMES)
    points = SMPLH(model_path=body_model.model_path(support_dir, "male"), flat_hand_mean=True).to(DEVICE)
    calls: dict[tuple[str, int], Callable[[], np.ndarray]] = {}
    for size in BATCHES:
        calls["engine", size] = engine(folded, motion, size)
    for size in POINT_BATCHES:
        calls["forward_points", size] = forward_points(points, joints, motion, size)
    for size in MESH_BATCHES:
        calls["full mesh", size] = full_mesh(body, joints, motion, size)
    timings = take_turns({f"{way}, {size}": call for (way, size), call in calls.items()}, pick(3, 1))
    frames = {"engine": FRAMES, "forward_points": FRAMES, "full mesh": MESH_FRAMES}
    rates = {key: frames[key[0]] / timings[f"{key[0]}, {key[1]}"].median for key in calls}
    ours = calls["engine", BATCHES[0]]()
    apart = {
        way: float(np.abs(ours[: frames[way]] - calls[way, sizes[0]]()).max())
        for way, sizes in (("forward_points", POINT_BATCHES), ("full mesh", MESH_BATCHES))
    }
    best = {way: max(rate for (name, _), rate in rates.items() if name == way) for way in frames}
    return {"rates": [[*key, rate] for key, rate in rates.items()], "best": best, "difference_m": apart}


class MemoryWatch:
    """The most memory of the GPU that was in use at a time, in MiB, by whatever process; a context manager."""

    def __enter__(self) -> MemoryWatch:
        self.peak, self._stop = 0, threading.Event()
        self.before = self._used()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self.peak = max(self.peak, self._used())

    @staticmethod
    def _used() -> int:
        free, total = torch.cuda.mem_get_info(DEVICE)
        return (total - free) // MIB


def measure_builds(support_dir: Path, folder: Path) -> dict[str, Any]:
    """Whole builds on each device, with several numbers of workers and of cores; the GPU's should be the same bytes."""
    rows: list[tuple[int, int, str, int | None, float, int]] = []
    hashes: dict[int, set[str]] = {}
    kept = {}
    all_cores = os.sched_getaffinity(0)
    for source_frames, builds in BUILDS.items():
        tree = trees.write_mixed(folder / f"amass-{source_frames}", source_frames)
        for cores, device, workers in builds:
            os.sched_setaffinity(0, sorted(all_cores)[:cores])
            store = folder / "store.h5"
            with MemoryWatch() as watch:
                run = command.build(tree, support_dir, workers, store, device=device)
            if device == DEVICE:
                hashes.setdefault(tree.num_frames, set()).add(hashlib.sha256(store.read_bytes()).hexdigest())
            kept[device] = shutil.move(store, folder / f"{device.replace(':', '')}.h5")
            used = watch.peak - watch.before if device != "cpu" else 0
            rows.append((tree.num_frames, usable_cores(), device, workers, run.seconds, used))
            print(rows[-1], flush=True)
        os.sched_setaffinity(0, all_cores)
    different = sum(len(values) - 1 for values in hashes.values())
    return {"builds": rows, "builds_of_other_bytes": different, "stores_apart_m": apart(kept["cpu"], kept[DEVICE])}


def apart(one: Path, another: Path) -> float:
    """Metres that two stores' joints are apart at most, in some recordings."""
    with Store(one) as some, Store(another) as others:
        number = len(some.sequences)
        rows = range(0, number, max(1, number // COMPARED))
        return max(float(np.abs(some[row].positions_3d[:] - others[row].positions_3d[:]).max()) for row in rows)


def about_machine() -> dict[str, Any]:
    """The GPU that results belong to, and what is beside it."""
    about = torch.cuda.get_device_properties(DEVICE)
    gpu = {"gpu": about.name, "gpu_memory_gib": round(about.total_memory / 2**30), "cuda": torch.version.cuda}
    return {**gpu, "torch": torch.__version__, "cores": CORES}


def shown(number: int | None) -> str:
    return "default" if number is None else str(number)


def report(points: dict[str, Any], builds: dict[str, Any], about: dict[str, Any]) -> tuple[str, list[Target]]:
    """Tables and targets."""
    intro = (
        f"On one {about['gpu']} with CUDA {about['cuda']}, torch {about['torch']} and {about['cores']} cores of a CPU."
    )
    engines = table(
        ("way", "frames per batch", "frames/s, memory to memory"),
        [(way, f"{size:,}", f"{rate:,.0f}") for way, size, rate in points["rates"]],
    )
    rows = [
        (f"{frames:,}", cores, device, shown(workers), f"{seconds:.2f}", f"{frames / seconds:,.0f}", used or "")
        for frames, cores, device, workers, seconds, used in builds["builds"]
    ]
    header = ("source frames", "cores", "device", "workers", "build (s)", "source frames/s", "memory of the GPU (MiB)")
    best = points["best"]
    targets = [
        Target("GPU: engine, memory to memory (frames/s)", best["engine"], LEAST_RATE, at_least=True),
        Target("GPU: engine ÷ forward_points", best["engine"] / best["forward_points"], LEAST_POINTS, at_least=True),
        Target("GPU: engine ÷ full mesh", best["engine"] / best["full mesh"], LEAST_MESH, at_least=True),
        Target("GPU: joints apart from the CPU's (m, at most)", builds["stores_apart_m"], BOUND_M),
        Target("GPU: builds of other bytes than the first", builds["builds_of_other_bytes"], 0),
    ]
    for frames, cores in dict.fromkeys((frames, cores) for frames, cores, *_ in builds["builds"]):
        took = [row for row in builds["builds"] if list(row[:2]) == [frames, cores]]
        device = "cpu" if cores >= MIN_CORES_FOR_CPU else DEVICE
        default = median(seconds for *_, on, workers, seconds, _ in took if (on, workers) == (device, None))
        fastest = min(seconds for *_, seconds, _ in took)
        what = f"GPU: fastest build ÷ build by default, {frames:,} source frames, {cores} cores"
        targets.append(Target(what, fastest / default, LEAST_OF_BEST, at_least=True))
    most = max(used / workers for *_, workers, _, used in builds["builds"] if workers)
    targets.append(Target("GPU: its memory per worker (MiB)", most, WORKER_MIB))
    return "\n\n".join([intro, engines, table(header, rows)]), targets


def main() -> None:
    if torch.cuda.device_count() == 0:
        print("there is no CUDA device here; nothing was measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        support_dir = Path(folder) / "support_data"
        synthetic.write_support_data(support_dir)
        points = measure_engine(support_dir)
        print(points, flush=True)
        torch.cuda.empty_cache()
        builds, about = measure_builds(support_dir, Path(folder)), about_machine()
        text, targets = report(points, builds, about)
        write_results("gpu", {**about, **points, **builds}, text, targets)


if __name__ == "__main__":
    main()
