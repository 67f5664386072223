"""Errors are those of SciPy's Procrustes and of hand calculation; degenerate poses have finite errors and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from h36m_amass.training.metrics import MetricError, mpjpe, mpjve, n_mpjpe, p_mpjpe

Metric = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
SEEDS = st.integers(0, 2**31)
BOUND = 1e-6  # millimetres
PER_POSE = (mpjpe, p_mpjpe, n_mpjpe)


def two(seed: int, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of poses that have little to do with each other, metres."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*shape, 17, 3)), rng.normal((0, 1, 5), 0.5, size=(*shape, 17, 3))


def value(metric: Metric, predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    return metric(torch.from_numpy(predicted), torch.from_numpy(target)).numpy()


def by_hand(predicted: np.ndarray, target: np.ndarray) -> float:
    return 1000 * sum(math.dist(a, b) for a, b in zip(predicted, target, strict=True)) / len(target)


@given(seed=SEEDS)
def test_errors_are_those_of_hand_calculation(seed: int) -> None:
    predicted, target = two(seed, 2, 3)
    errors, scaled, speeds = (value(metric, predicted, target) for metric in (mpjpe, n_mpjpe, mpjve))
    assert errors.shape == scaled.shape == (2, 3) and speeds.shape == (2, 2)
    for i in range(2):
        for k in range(3):
            assert abs(errors[i, k] - by_hand(predicted[i, k], target[i, k])) < BOUND
            (scale,), *_ = np.linalg.lstsq(predicted[i, k].reshape(-1, 1), target[i, k].ravel(), rcond=None)
            assert abs(scaled[i, k] - by_hand(scale * predicted[i, k], target[i, k])) < BOUND
        for k in range(2):
            velocities = (poses[i, k + 1] - poses[i, k] for poses in (predicted, target))
            assert abs(speeds[i, k] - by_hand(*velocities)) < BOUND


@given(seed=SEEDS)
def test_p_mpjpe_is_that_of_scipys_rotation(seed: int) -> None:
    predicted, target = two(seed, 5)
    for error, moved, fixed in zip(value(p_mpjpe, predicted, target), predicted, target, strict=True):
        moved, fixed = moved - moved.mean(0), fixed - fixed.mean(0)
        rotation, _ = Rotation.align_vectors(fixed, moved)
        turned = rotation.apply(moved)
        (scale,), *_ = np.linalg.lstsq(turned.reshape(-1, 1), fixed.ravel(), rcond=None)
        assert abs(error - by_hand(scale * turned, fixed)) < BOUND


@given(seed=SEEDS)
def test_p_mpjpe_is_that_of_scipys_procrustes_where_that_does_not_reflect(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(17, 3))
    predicted = target + rng.normal(scale=0.1, size=(17, 3))
    fixed, moved, _ = procrustes(target, predicted)
    size = np.linalg.norm(target - target.mean(0))  # which procrustes makes 1
    assert abs(value(p_mpjpe, predicted, target) - by_hand(size * moved, size * fixed)) < BOUND


@given(seed=SEEDS, scale=st.floats(0.1, 10))
def test_similar_poses_have_no_error_and_mirrored_ones_have(seed: int, scale: float) -> None:
    target, _ = two(seed)
    rng = np.random.default_rng(seed)
    moved = scale * Rotation.random(random_state=seed % 2**31).apply(target) + rng.normal(size=3)
    assert value(p_mpjpe, moved, target) < BOUND
    assert value(n_mpjpe, scale * target, target) < BOUND
    assert value(mpjve, np.stack([target, moved]) + rng.normal(size=3), np.stack([target, moved])) < BOUND
    assert value(p_mpjpe, target * (-1, 1, 1), target) > 1


DEGENERATE = {
    "a point": np.zeros((17, 3)),
    "another point": np.ones((17, 3)),
    "a line": np.linspace(-1, 1, 17)[:, None] * (1.0, 2.0, 3.0),
    "a plane": np.random.default_rng(0).normal(size=(17, 3)) * (1, 1, 0),
    "a ball": np.concatenate([np.eye(3), -np.eye(3), np.zeros((11, 3))]),
    "a pose": np.random.default_rng(1).normal(size=(17, 3)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("metric", [*PER_POSE, mpjve])
def test_degenerate_poses_have_finite_errors_and_gradients(metric: Metric, dtype: torch.dtype) -> None:
    poses = torch.from_numpy(np.stack(list(DEGENERATE.values()))).to(dtype)
    mirrored = torch.cat([poses, poses * torch.tensor([-1, 1, 1], dtype=dtype)])
    predicted, target = mirrored.repeat_interleave(12, 0), mirrored.repeat(12, 1, 1)
    if metric is mpjve:
        predicted, target = (torch.stack([poses, poses.roll(1, 0)], 1) for poses in (predicted, target))
    predicted.requires_grad_()
    target.requires_grad_()
    errors = metric(predicted, target)
    errors.sum().backward()
    assert errors.isfinite().all()
    assert predicted.grad is not None and predicted.grad.isfinite().all()
    assert target.grad is not None and target.grad.isfinite().all()


def test_degenerate_poses_have_the_error_that_the_definition_gives() -> None:
    pose = DEGENERATE["a pose"]
    spread = by_hand(np.broadcast_to(pose.mean(0), (17, 3)), pose)
    for name in ("a point", "another point"):
        assert abs(value(p_mpjpe, DEGENERATE[name], pose) - spread) < BOUND
        assert value(p_mpjpe, pose, DEGENERATE[name]) < BOUND
    assert abs(value(n_mpjpe, DEGENERATE["a point"], pose) - by_hand(DEGENERATE["a point"], pose)) < BOUND
    for name in ("a line", "a plane", "a ball"):
        assert value(p_mpjpe, 3 * Rotation.random(random_state=2).apply(DEGENERATE[name]), DEGENERATE[name]) < BOUND


@pytest.mark.parametrize("metric", [*PER_POSE, mpjve])
def test_gradients_are_those_of_differences(metric: Metric) -> None:
    predicted, target = (torch.from_numpy(poses).requires_grad_() for poses in two(7, 4))
    mirrored = target.detach() * torch.tensor([-1.0, 1, 1])  # half of the rotations would be reflections
    for other in (target, mirrored.requires_grad_()):
        assert torch.autograd.gradcheck(lambda a, b: metric(a, b) / 1000, (predicted, other))


@settings(max_examples=15)
@given(poses=hnp.arrays(np.float32, (3, 4, 17, 3), elements=st.floats(-4, 4, width=32)))
def test_any_axes_may_stand_in_front_in_any_type(poses: np.ndarray) -> None:
    predicted, target = torch.from_numpy(poses), torch.from_numpy(np.roll(poses, 1, 2))
    for metric in PER_POSE:
        errors = metric(predicted, target)
        assert errors.shape == (3, 4) and errors.dtype == torch.float32
        torch.testing.assert_close(errors[2, 1], metric(predicted[2, 1], target[2, 1]), rtol=1e-4, atol=0.05)
    torch.testing.assert_close(
        mpjpe(predicted, target).double(), mpjpe(predicted.double(), target.double()), rtol=1e-5, atol=1e-3
    )


@pytest.mark.parametrize("metric", [*PER_POSE, mpjve])
def test_half_precision_is_computed_in_full_and_types_mix(metric: Metric) -> None:
    predicted, target = (torch.from_numpy(poses) for poses in two(3, 4))
    for dtype in (torch.float16, torch.bfloat16):
        halves = predicted.to(dtype), target.to(dtype)
        torch.testing.assert_close(metric(*halves), metric(*(half.float() for half in halves)), rtol=0, atol=0)
    torch.testing.assert_close(metric(predicted.float(), target), metric(predicted.float().double(), target))
    singles = predicted.float().requires_grad_(), target.float()
    with torch.autocast("cpu", torch.bfloat16):
        errors = metric(*singles)
    torch.testing.assert_close(errors, metric(*singles), rtol=0, atol=0)
    errors.sum().backward()
    assert singles[0].grad is not None and singles[0].grad.isfinite().all()


def test_gradients_of_gradients_are_refused() -> None:
    predicted, target = (torch.from_numpy(poses).requires_grad_() for poses in two(3, 4))
    (gradient,) = torch.autograd.grad(p_mpjpe(predicted, target).sum(), predicted, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_poses_that_do_not_fit_are_refused() -> None:
    pose, batch = torch.zeros(17, 3), torch.zeros(5, 17, 3)
    for metric in (*PER_POSE, mpjve):
        with pytest.raises(MetricError, match=r"shapes \(17, 3\) and \(5, 17, 3\) cannot be compared"):
            metric(pose, batch)
        with pytest.raises(MetricError, match="must be"):
            metric(torch.zeros(5, 17, 2), torch.zeros(5, 17, 2))
    for poses in (pose, batch[:1]):
        with pytest.raises(MetricError, match="have no velocity"):
            mpjve(poses, poses)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("metric", PER_POSE)
def test_a_gpu_gives_the_same(metric: Metric) -> None:
    predicted, target = (torch.from_numpy(poses) for poses in two(3, 100))
    on_gpu = metric(predicted.cuda(), target.cuda()).cpu()
    torch.testing.assert_close(on_gpu, metric(predicted, target), rtol=0, atol=BOUND)
