"""The folded engine beside the full mesh and beside body-models: same model, same poses, same process.

``python benchmarks/engine.py`` prints a table and writes ``results/engine.json``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import smplx.lbs
import torch
from body_models.smplh.torch import SMPLH
from common import table, take_turns, write_results

from h36m_amass import body_model, folding, regressor, synthetic
from h36m_amass.packing import PoseBlock, relative_joints, reproducible
from h36m_amass.skinning import Skinner, add_translation

FRAMES = 16384
MESH_FRAMES = 1024
MESH_BATCHES = (32, 64, 128, 256, 512)
POINT_BATCHES = (256, 1024, 4096, 16384)
BATCHES = (512, 1024, 2048, 4096)


class Case:
    """One body model and one motion, prepared for each of the three ways."""

    def __init__(self, path: Path, body: body_model.BodyModel, joints: regressor.JointRegressor, fingers: str) -> None:
        self.body, self.joints = body, joints
        self.motion = synthetic.motion("walk", FRAMES / 120, 120, gender="male", fingers=fingers, dmpls=False)
        self.folded = folding.fold(body, joints)
        self.points = SMPLH(model_path=path, flat_hand_mean=True)
        dense = torch.as_tensor(joints.matrix.toarray(), dtype=torch.float32)
        self.point_regressor = self.points.prepare_point_regressor(dense)
        self.lbs = {
            "v_template": torch.as_tensor(body.v_template, dtype=torch.float32)[None],
            "shapedirs": torch.as_tensor(body.shapedirs, dtype=torch.float32),
            "posedirs": torch.as_tensor(body.posedirs.reshape(3 * body.num_vertices, -1).T.copy(), dtype=torch.float32),
            "J_regressor": torch.as_tensor(body.J_regressor, dtype=torch.float32),
            "lbs_weights": torch.as_tensor(body.weights, dtype=torch.float32),
            "parents": torch.as_tensor(body.parents),
        }

    def engine(self, batch_size: int, threads: int = 1) -> Callable[[], np.ndarray]:
        """The engine as `build` runs it, from float64 recordings to joints: one skinner a core."""
        skinners = [Skinner(self.folded, batch_size) for _ in range(threads)]
        cuts = np.linspace(0, FRAMES, threads + 1).astype(int)

        def share(number: int) -> np.ndarray:
            frames = slice(cuts[number], cuts[number + 1])
            block = PoseBlock(self.motion["betas"], self.motion["poses"][frames], None)
            with reproducible():
                ((_, relative),) = relative_joints(skinners[number], [(None, block)])
            return add_translation(relative, self.motion["trans"][frames], self.folded.row_sums)

        def run() -> np.ndarray:
            return np.concatenate(list(pool.map(share, range(threads))))

        pool = ThreadPoolExecutor(threads)
        return run

    def forward_points(self, batch_size: int) -> Callable[[], np.ndarray]:
        """body-models' regressed points, without the mesh, with an identity prepared once."""
        poses = torch.as_tensor(self.motion["poses"], dtype=torch.float32).view(-1, 52, 3)
        trans = torch.as_tensor(self.motion["trans"], dtype=torch.float32)
        betas = torch.as_tensor(self.motion["betas"], dtype=torch.float32)[None]

        def run() -> np.ndarray:
            parts = []
            with torch.no_grad():
                for start in range(0, FRAMES, batch_size):
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

        return run

    def full_mesh(self, batch_size: int, frames: int = MESH_FRAMES) -> Callable[[], np.ndarray]:
        """What the known script does: every vertex of every frame, then the regressor."""
        poses = torch.as_tensor(self.motion["poses"][:frames], dtype=torch.float32)
        trans = torch.as_tensor(self.motion["trans"][:frames], dtype=torch.float32)
        betas = torch.as_tensor(self.motion["betas"], dtype=torch.float32)[None]
        matrix = torch.as_tensor(self.joints.matrix.toarray(), dtype=torch.float32)

        def run() -> np.ndarray:
            parts = []
            with torch.no_grad():
                for start in range(0, frames, batch_size):
                    pose = poses[start : start + batch_size]
                    vertices, _ = smplx.lbs.lbs(betas.expand(len(pose), -1), pose, **self.lbs)
                    vertices = vertices + trans[start : start + batch_size, None]
                    parts.append(torch.einsum("bik,ji->bjk", vertices, matrix))
            return torch.cat(parts).numpy()

        return run


def best(make: Callable[[int], Callable[[], object]], sizes: tuple[int, ...]) -> int:
    """The batch size that is fastest, by one timed round after a warm-up."""
    timings = take_turns({str(size): make(size) for size in sizes}, rounds=1)
    return int(min(timings, key=lambda name: timings[name].median))


def multiply_adds(folded: folding.FoldedRegressor, fingers_move: bool) -> int:
    """Multiplications of the products that every frame needs; elementwise work is not counted."""
    skinner = Skinner(folded, 1)
    classes = skinner.classes if fingers_move else skinner.classes[:1]
    correctives = sum(block.matrix.numel() for c in classes for block in c.blocks)
    chain = 36 * (len(folded.bones) - 1)
    return correctives + chain + 9 * folded.num_pairs + 3 * skinner._sums.numel()


def sgemm_peak() -> float:
    """Floating-point operations a second of one thread in a large float32 product."""
    matrix = torch.randn(2048, 2048)
    with reproducible():
        timing = take_turns({"mm": lambda: torch.mm(matrix, matrix)}, rounds=5)["mm"]
    return 2 * 2048**3 / timing.median


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


def measure(case: Case, fingers: str, rounds: int) -> dict[str, object]:
    sizes = {
        "engine": best(case.engine, BATCHES),
        "forward_points": best(case.forward_points, POINT_BATCHES),
        "full mesh": best(case.full_mesh, MESH_BATCHES),
    }
    cores = torch.get_num_threads()
    engine, points = case.engine(sizes["engine"], cores), case.forward_points(sizes["forward_points"])
    mesh = case.full_mesh(sizes["full mesh"])
    calls = {"engine": engine, "engine, one core": case.engine(sizes["engine"]), "forward_points": points}
    timings = take_turns({**calls, "full mesh": mesh}, rounds)
    frames = {**dict.fromkeys(calls, FRAMES), "full mesh": MESH_FRAMES}
    rates = {name: frames[name] / timing.median for name, timing in timings.items()}
    ours = engine()
    return {
        "fingers": fingers,
        "pairs": case.folded.num_pairs,
        "bones": len(case.folded.bones),
        "batch_size": sizes,
        "frames_per_second": rates,
        "seconds": {name: timing.seconds for name, timing in timings.items()},
        "times_forward_points": rates["engine"] / rates["forward_points"],
        "times_full_mesh": rates["engine"] / rates["full mesh"],
        "difference_forward_points_m": float(np.abs(ours - points()).max()),
        "difference_full_mesh_m": float(np.abs(ours[:MESH_FRAMES] - mesh()).max()),
        "flops_per_frame": 2 * multiply_adds(case.folded, fingers == "moving"),
    }


def main() -> None:
    results: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        support_dir = Path(folder)
        synthetic.write_support_data(support_dir, genders=("male",))
        path = body_model.smplh_path(support_dir, "male")
        body = body_model.load(support_dir, "male", num_dmpls=0)
        joints = regressor.load(support_dir / "J_regressor_h36m.npy")
        for fingers in ("still", "moving"):
            results[f"realistic, {fingers} fingers"] = measure(Case(path, body, joints, fingers), fingers, rounds=5)
        write_model(support_dir / "dense.npz", dense(body), path)
        results["dense"] = measure(Case(support_dir / "dense.npz", dense(body), joints, "moving"), "moving", rounds=3)
    peak = sgemm_peak()
    rows = []
    for name, result in results.items():
        rates: dict[str, float] = result["frames_per_second"]  # type: ignore[assignment]
        result["share_of_sgemm_peak"] = result["flops_per_frame"] * rates["engine, one core"] / peak  # type: ignore[operator]
        rows.append(
            (
                name,
                result["pairs"],
                *(f"{rates[way]:,.0f}" for way in ("engine", "engine, one core", "forward_points", "full mesh")),
                f"{result['times_forward_points']:.1f}",
                f"{result['times_full_mesh']:.0f}",
                f"{result['difference_forward_points_m']:.1e}",
                f"{result['difference_full_mesh_m']:.1e}",
                f"{result['flops_per_frame']:,}",
                f"{result['share_of_sgemm_peak']:.0%}",
            )
        )
    header = (
        *("model", "pairs", "engine (frames/s)", "on one core", "forward_points (frames/s)", "full mesh (frames/s)"),
        *("× forward_points", "× full mesh", "difference to forward_points (m)", "to full mesh (m)"),
        *("flops a frame", "share of one core's sgemm peak"),
    )
    text = table(header, rows)
    write_results("engine", {"sgemm_peak_flops_one_thread": peak, "results": results, "table": text})
    print(text)


if __name__ == "__main__":
    main()
