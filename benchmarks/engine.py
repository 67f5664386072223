"""The folded engine beside the full mesh and beside body-models: same model, same motion, same cores.

The engine poses recordings of AMASS's mix of lengths, one by one, as `h36m_amass.build` does. The others pose frames
without ends of recordings between them, in batches of the size that is best for each. On one core all three run in
this process. On more, the others use torch's threads and the engine uses processes.

``python benchmarks/engine.py`` prints a table and writes ``results/engine.json``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import smplx.lbs
import torch
from body_models.smplh.torch import SMPLH
from common import Target, pick, table, take_turns, write_results
from flops import PRODUCT_FLOPS, multiply_adds, on_threads, product
from mesh_script import lbs_tensors
from processes import Engine, Work, pool
from trees import LONGEST_SECONDS, MEDIAN_SECONDS, SHORTEST_SECONDS, SPREAD

from h36m_amass import synthetic
from h36m_amass.body import folding, regressor
from h36m_amass.body import model as body_model

RATE = 120
RECORDINGS = pick(100, 8)
# The others have as many frames as are timed well.
POINT_FRAMES, MESH_FRAMES = pick((8192, 512), (256, 32))
MESH_BATCHES = pick((64, 128, 256), (32,))
POINT_BATCHES = pick((256, 1024, 4096), (256,))
BATCHES = pick((1024, 2048, 4096, 8192), (4096,))
ROUNDS = pick(3, 1)
ENGINE, POINTS, MESH = WAYS = ("engine", "forward_points", "full mesh")
STILL, MOVING, DENSE = "realistic, still fingers", "realistic, moving fingers", "dense"
LEAST_TIMES = (
    *((POINTS, STILL, 12), (POINTS, MOVING, 12), (POINTS, DENSE, 2)),
    *((MESH, STILL, 150), (MESH, MOVING, 150)),
)


class Case:
    """One body model and one motion, prepared for each of the three ways; a context manager that ends processes."""

    def __init__(
        self, folder: Path, path: Path, body: body_model.BodyModel, joints: regressor.JointRegressor, fingers: str
    ) -> None:
        self.body, self.joints = body, joints
        recordings = mixed_recordings()
        frames = max(POINT_FRAMES, *(first + length for first, length in recordings))
        self.motion = synthetic.motion("walk", frames / RATE, RATE, gender="male", fingers=fingers, dmpls=False)
        self.folded = folding.fold(body, joints)
        self._work = Work(folder / "folded.npz", folder / "motion.npz", folder / "joints", recordings)
        self._work.folded.write_bytes(folding.to_bytes(self.folded))
        np.savez(self._work.motion, **{name: self.motion[name] for name in ("betas", "poses", "trans")})
        self._processes = ExitStack()
        self.points = SMPLH(model_path=path, flat_hand_mean=True)
        dense = torch.as_tensor(joints.matrix.toarray(), dtype=torch.float32)
        self.point_regressor = self.points.prepare_point_regressor(dense)
        self.lbs = lbs_tensors(body)

    def __enter__(self) -> Case:
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()

    @property
    def num_frames(self) -> int:
        """Number of frames in all recordings that the engine poses."""
        return self._work.num_frames

    def pose(self, batch_size: int, num_frames: int) -> np.ndarray:
        """The engine's joints of the first frames of the motion."""
        return self._work.engine(batch_size).pose(0, num_frames)

    def engine(self, batch_size: int, cores: int) -> Callable[[], None]:
        """The engine as `build` runs it, from float64 recordings to joints: a process per core."""
        one: Engine = self._work.engine(batch_size)
        assert one.joints.size  # makes the file that the processes write to
        if cores == 1:
            return partial(one.pose_recordings, range(len(self._work.recordings)))
        workers, run = pool(self._work, batch_size, cores)
        self._processes.enter_context(workers)
        return run

    def forward_points(self, batch_size: int, cores: int) -> Callable[[], np.ndarray]:
        """body-models' regressed points, without the mesh, with an identity prepared once."""
        poses = torch.as_tensor(self.motion["poses"][:POINT_FRAMES], dtype=torch.float32).view(-1, 52, 3)
        trans = torch.as_tensor(self.motion["trans"][:POINT_FRAMES], dtype=torch.float32)
        betas = torch.as_tensor(self.motion["betas"], dtype=torch.float32)[None]

        def run() -> np.ndarray:
            parts = []
            with torch.no_grad():
                for start in range(0, POINT_FRAMES, batch_size):
                    pose = poses[start : start + batch_size]
                    parts.append(
                        self.points.forward_points(
                            pose[:, 1:22],
                            pose[:, 22:],
                            point_regressor=self.point_regressor,
                            pelvis_rotation=pose[:, 0],
                            shape=betas.expand(len(pose), -1),
                            global_translation=trans[start : start + batch_size],
                        )
                    )
            return torch.cat(parts).numpy()

        return on_threads(cores, run)

    def full_mesh(self, batch_size: int, cores: int) -> Callable[[], np.ndarray]:
        """What the known script does: every vertex of every frame, then the regressor."""
        poses = torch.as_tensor(self.motion["poses"][:MESH_FRAMES], dtype=torch.float32)
        trans = torch.as_tensor(self.motion["trans"][:MESH_FRAMES], dtype=torch.float32)
        betas = torch.as_tensor(self.motion["betas"], dtype=torch.float32)[None]
        matrix = torch.as_tensor(self.joints.matrix.toarray(), dtype=torch.float32)

        def run() -> np.ndarray:
            parts = []
            with torch.no_grad():
                for start in range(0, MESH_FRAMES, batch_size):
                    pose = poses[start : start + batch_size]
                    vertices, _ = smplx.lbs.lbs(betas.expand(len(pose), -1), pose, **self.lbs)
                    vertices = vertices + trans[start : start + batch_size, None]
                    parts.append(torch.einsum("bik,ji->bjk", vertices, matrix))
            return torch.cat(parts).numpy()

        return on_threads(cores, run)


def mixed_recordings() -> tuple[tuple[int, int], ...]:
    """First frame and number of frames of recordings with AMASS's distribution of lengths, in an order by chance."""
    quantiles = scipy.stats.norm.ppf((np.arange(RECORDINGS) + 0.5) / RECORDINGS)
    seconds = np.clip(MEDIAN_SECONDS * np.exp(SPREAD * quantiles), SHORTEST_SECONDS, LONGEST_SECONDS)
    rng = np.random.default_rng(0)
    lengths = rng.permutation((RATE * seconds).astype(int)).tolist()
    return tuple((int(rng.integers(max(lengths) - length + 1)), length) for length in lengths)


def best(make: Callable[[int, int], Callable[[], object]], sizes: tuple[int, ...], cores: int) -> int:
    """The batch size that is fastest, by one timed round after a warm-up."""
    timings = take_turns({str(size): make(size, cores) for size in sizes}, rounds=1)
    return int(min(timings, key=lambda name: timings[name].median))


def dense(body: body_model.BodyModel) -> body_model.BodyModel:
    """The same body with no zero weight and no zero corrective: the worst case for folding."""
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.1, 1.0, body.weights.shape)
    return replace(
        body,
        weights=weights / weights.sum(axis=1, keepdims=True),
        posedirs=rng.normal(scale=1e-3, size=body.posedirs.shape),
    )


def write_model(path: Path, body: body_model.BodyModel, source: Path) -> None:
    """`body` as a model file, which body-models reads."""
    with np.load(source) as npz:
        arrays = {name: npz[name] for name in npz.files}
    np.savez(path, **{**arrays, "weights": body.weights, "posedirs": body.posedirs})


def measure(case: Case, fingers: str, sizes: dict[int, dict[str, int]]) -> dict[str, Any]:
    """Frames per second of each way on each number of cores, and how far the ways are apart.

    Parameters
    ----------
    sizes
        For each number of cores the batch size of each way.
    """
    calls: dict[str, Callable[[], Any]] = {"product": product(1)}
    frames = {"product": PRODUCT_FLOPS}
    frames_of = {ENGINE: case.num_frames, POINTS: POINT_FRAMES, MESH: MESH_FRAMES}
    for cores, size in sizes.items():
        ways = {ENGINE: case.engine, POINTS: case.forward_points, MESH: case.full_mesh}
        calls |= {f"{way}, {cores}": make(size[way], cores) for way, make in ways.items()}
        frames |= {f"{way}, {cores}": frames_of[way] for way in ways}
    timings = take_turns(calls, ROUNDS)
    rates = {name: frames[name] / timing.median for name, timing in timings.items()}
    joints = {way: calls[f"{way}, 1"]() for way in (POINTS, MESH)}
    apart = {way: case.pose(sizes[1][ENGINE], frames_of[way]) - joints[way] for way in (POINTS, MESH)}
    flops = 2 * multiply_adds(case.folded, fingers == "moving")
    return {
        "pairs": case.folded.num_pairs,
        "bones": len(case.folded.bones),
        "recordings": RECORDINGS,
        "frames": case.num_frames,
        "batch_size": sizes,
        "frames_per_second": {cores: {way: rates[f"{way}, {cores}"] for way in WAYS} for cores in sizes},
        "seconds": {name: timing.seconds for name, timing in timings.items()},
        "difference_m": {way: float(np.abs(difference).max()) for way, difference in apart.items()},
        "flops_per_frame": flops,
        "sgemm_peak_flops_one_core": rates["product"],
        "share_of_sgemm_peak": flops * rates[f"{ENGINE}, 1"] / rates["product"],
    }


def rates_table(results: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, result in results.items():
        for cores, rates in result["frames_per_second"].items():
            ratios = (f"{rates[ENGINE] / rates[POINTS]:.1f}", f"{rates[ENGINE] / rates[MESH]:.0f}")
            rows.append((name, cores, *(f"{rates[way]:,.0f}" for way in WAYS), *ratios))
    rates_header = (f"{way} (frames/s)" for way in WAYS)
    return table(("model", "cores", *rates_header, f"engine ÷ {POINTS}", f"engine ÷ {MESH}"), rows)


def work_table(results: dict[str, dict[str, Any]]) -> str:
    rows = [
        (
            name,
            result["pairs"],
            f"{result['flops_per_frame']:,}",
            f"{result['share_of_sgemm_peak']:.0%}",
            *(f"{difference:.1e}" for difference in result["difference_m"].values()),
        )
        for name, result in results.items()
    ]
    differences = (f"engine − {way} (m, at most)" for way in (POINTS, MESH))
    return table(("model", "pairs", "flops per frame", "share of one core's sgemm peak", *differences), rows)


def targets(results: dict[str, dict[str, Any]]) -> list[Target]:
    return [
        Target(f"engine ÷ {way}, {name}, cores: {cores}", rates[ENGINE] / rates[way], bound, at_least=True)
        for way, name, bound in LEAST_TIMES
        for cores, rates in results[name]["frames_per_second"].items()
    ]


def main() -> None:
    results: dict[str, dict[str, Any]] = {}
    core_counts = sorted({1, torch.get_num_threads()})
    with tempfile.TemporaryDirectory() as folder:
        support_dir = Path(folder)
        synthetic.write_support_data(support_dir, genders=("male",))
        path, dense_path = body_model.model_path(support_dir, "male"), support_dir / "dense.npz"
        body = body_model.load(support_dir, "male", num_dmpls=0)
        write_model(dense_path, dense(body), path)
        joints = regressor.load(support_dir / "J_regressor_h36m.npy")
        sizes: dict[int, dict[str, int]] = {}
        for name, model_path, model, fingers in (
            (STILL, path, body, "still"),
            (MOVING, path, body, "moving"),
            (DENSE, dense_path, dense(body), "moving"),
        ):
            with Case(support_dir, model_path, model, joints, fingers) as case:
                engine_size = best(case.engine, BATCHES, 1)
                for cores in core_counts:
                    # The other ways cost the same whatever is zero in the model, so that one look is enough.
                    if cores not in sizes:
                        points, mesh = (case.forward_points, POINT_BATCHES), (case.full_mesh, MESH_BATCHES)
                        sizes[cores] = {POINTS: best(*points, cores), MESH: best(*mesh, cores)}
                    sizes[cores] = {**sizes[cores], ENGINE: engine_size}
                results[name] = measure(case, fingers, dict(sizes))
    write_results("engine", {"results": results}, f"{rates_table(results)}\n\n{work_table(results)}", targets(results))


if __name__ == "__main__":
    main()
