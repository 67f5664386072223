"""2D positions as a detector would give them: MotionBERT's noise (Zhu et al., ICCV 2023), masks and confidences.

Its parameters, one mean and deviation per joint, were fitted by its authors to a detector's errors on Human3.6M;
``motionbert_noise.json`` has them (Apache-2.0). They are for its joints, the order ``h36m``.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from h36m_amass.skeleton import JOINT_ORDERS, Skeleton, SkeletonError, joint_order
from h36m_amass.training.windows import Batch

KEY_FRAMES = 27


class DetectionDraws(NamedTuple):
    """The random numbers of `Detect`; K are `KEY_FRAMES`."""

    select: Float[Tensor, "windows K joints"]  # uniform in [0, 1)
    gauss: Float[Tensor, "windows K joints 2"]  # standard normal
    uniform: Float[Tensor, "windows K joints 2"]  # uniform in [0, 1)
    jitter: Float[Tensor, "windows frames joints 2"]  # standard normal
    confidence: Float[Tensor, "windows frames joints"]  # standard normal


class Detect:
    """Noise and confidence of a detector on ``positions_2d``; the batch gains ``confidence`` (windows, frames, joints).

    In 27 key frames, each joint is off by a Gaussian of its own, with its own probability, or else by up to 0.03.
    Frames in between are interpolated linearly, and each frame gets a little more noise. The confidence falls with the
    distance. `skeleton` says in which order the windows have the 17 joints of Human3.6M; `SkeletonError` if they are
    others. Unlike the original, random numbers are drawn per window, not per batch.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        if not skeleton.is_h36m:
            raise SkeletonError(f"MotionBERT's noise is for the 17 joints of Human3.6M, not for {len(skeleton)} others")
        parameters = _parameters()
        # The file's joints are those of the order h36m; these are the windows'.
        order = sorted(range(17), key=joint_order("h36m", skeleton).__getitem__)
        self._mean, self._std, self._weight = (
            torch.tensor(parameters[name], dtype=torch.float64)[order] for name in ("mean", "std", "weight")
        )
        self._numbers = {name: float(parameters[name]) for name in ("a", "b", "m", "s", "uniform_range", "jitter_std")}

    def __call__(self, batch: Batch) -> Batch:
        positions = batch["positions_2d"]
        windows, frames, joints, _ = positions.shape
        like: dict[str, Any] = {"dtype": positions.dtype, "device": positions.device}
        draws = DetectionDraws(
            select=torch.rand(windows, KEY_FRAMES, joints, **like),
            gauss=torch.randn(windows, KEY_FRAMES, joints, 2, **like),
            uniform=torch.rand(windows, KEY_FRAMES, joints, 2, **like),
            jitter=torch.randn(windows, frames, joints, 2, **like),
            confidence=torch.randn(windows, frames, joints, **like),
        )
        detected, confidence = self.detected(positions, draws)
        return {**batch, "positions_2d": detected, "confidence": confidence}

    def detected(
        self, positions_2d: Float[Tensor, "windows frames joints 2"], draws: DetectionDraws
    ) -> tuple[Float[Tensor, "windows frames joints 2"], Float[Tensor, "windows frames joints"]]:
        """Noisy positions and their confidences, given the draws."""
        mean, std, weight = (values.to(positions_2d) for values in (self._mean, self._std, self._weight))
        numbers = self._numbers
        often = draws.gauss * std + mean
        seldom = (draws.uniform - 0.5) * numbers["uniform_range"]
        keys = torch.where((draws.select < weight)[..., None], often, seldom)
        offset = _between(keys, positions_2d.shape[1]) + numbers["jitter_std"] * draws.jitter
        distance = offset.norm(dim=-1)
        trust = numbers["a"] / (distance + numbers["a"]) + numbers["b"] * distance
        confidence = (trust + draws.confidence * numbers["s"] + numbers["m"]).clamp(0, 1)
        return positions_2d + offset, confidence


class Hide:
    """Set joints of ``positions_2d`` and ``confidence`` to 0: each with `joints`, and whole frames with `frames`.

    These are probabilities. Unlike in MotionBERT, whole frames are drawn for each window, and not once per batch.
    """

    def __init__(self, joints: float = 0.05, frames: float = 0.1) -> None:
        for name, value in (("joints", joints), ("frames", frames)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be a probability between 0 and 1, not {value}")
        self.joints, self.frames = joints, frames

    def __call__(self, batch: Batch) -> Batch:
        positions = batch["positions_2d"]
        shape, device = positions.shape[:3], positions.device
        return self.hidden(batch, torch.rand(shape, device=device), torch.rand(shape[:2], device=device))

    def hidden(
        self, batch: Batch, joints: Float[Tensor, "windows frames joints"], frames: Float[Tensor, "windows frames"]
    ) -> Batch:
        """The batch with those hidden whose draws, uniform in [0, 1), are below the probabilities."""
        kept = (joints >= self.joints) & (frames >= self.frames)[:, :, None]
        changed = {**batch, "positions_2d": batch["positions_2d"] * kept[..., None]}
        if "confidence" in batch:
            changed["confidence"] = batch["confidence"] * kept
        return changed


def _between(keys: Float[Tensor, "windows K joints 2"], frames: int) -> Float[Tensor, "windows frames joints 2"]:
    """Key frames spread over so many frames, linearly in between: frame k of T lies at (K - 1) k / (T - 1)."""
    last = keys.shape[1] - 1
    numerator = torch.arange(frames, device=keys.device) * last
    denominator = max(frames - 1, 1)
    first = (numerator // denominator).clamp(max=last - 1)
    weight = ((numerator - first * denominator).to(keys.dtype) / denominator)[:, None, None]
    before, after = keys.index_select(1, first), keys.index_select(1, first + 1)
    return torch.lerp(before, after, weight)


@cache
def _parameters() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name("motionbert_noise.json").read_text(encoding="utf-8"))
    assert len(JOINT_ORDERS["h36m"]) == len(loaded["mean"])
    return loaded
