"""The field's errors of 3D poses, in millimetres: MPJPE, P-MPJPE, N-MPJPE and MPJVE.

Poses are in metres, on any device, with as many axes in front as there are; each function gives one error per pose, and
the number that papers report is their mean over all poses of a test set. Errors are as exact as the numbers: to some
1e-12 mm in float64, and 1e-3 mm in float32, in which half precision is computed, within ``torch.autocast``, too.
Gradients are finite for poses of people, those of no size included; they are those of first order.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from h36m_amass.errors import H36mAmassError

_Metric = TypeVar("_Metric", bound=Callable[..., Tensor])
_DEGENERATE = 1e-12  # singular values whose sum is below this share of the largest do not say how to turn a pose


class MetricError(H36mAmassError):
    """Poses cannot be compared."""


def _in_full_precision(metric: _Metric) -> _Metric:
    """A metric that takes poses of any types, in or out of ``torch.autocast``, and computes in float32 at least."""

    @wraps(metric)
    def checked(predicted: Tensor, target: Tensor) -> Tensor:
        # Tensors that are broadcast give errors that look like others.
        if predicted.shape != target.shape or predicted.dim() < 2 or predicted.shape[-1] != 3:
            shapes = f"{tuple(predicted.shape)} and {tuple(target.shape)}"
            raise MetricError(f"poses of shapes {shapes} cannot be compared; both must be (..., joints, 3)")
        dtype = torch.promote_types(torch.promote_types(predicted.dtype, target.dtype), torch.float32)
        with torch.autocast(predicted.device.type, enabled=False):
            return metric(predicted.to(dtype), target.to(dtype))

    return cast(_Metric, checked)


@_in_full_precision
def mpjpe(
    predicted: Float[Tensor, "*poses joints 3"], target: Float[Tensor, "*poses joints 3"]
) -> Float[Tensor, "*poses"]:
    """Mean per-joint position error: the mean distance of joints (Ionescu et al., Human3.6M, PAMI 2014).

    Its Protocol 1 has both relative to the pelvis, whose error of 0 counts among the 17.
    """
    return 1000 * (predicted - target).norm(dim=-1).mean(-1)


@_in_full_precision
def p_mpjpe(
    predicted: Float[Tensor, "*poses joints 3"], target: Float[Tensor, "*poses joints 3"]
) -> Float[Tensor, "*poses"]:
    """MPJPE after the rotation, scale and translation that bring each pose nearest to its target: Protocol 2.

    The scale, and the rotation, which is never a reflection, are the least-squares ones (Umeyama, PAMI 1991), as
    Martinez et al. (ICCV 2017) have them. A pose whose joints are all in one place goes to the middle of the target's.
    """
    moved, fixed = (poses - poses.mean(-2, keepdim=True) for poses in (predicted, target))
    turned = moved @ _Rotation.apply(moved.mT @ fixed)  # type: ignore[no-untyped-call]
    return mpjpe(_scaled(turned, fixed), fixed)


@_in_full_precision
def n_mpjpe(
    predicted: Float[Tensor, "*poses joints 3"], target: Float[Tensor, "*poses joints 3"]
) -> Float[Tensor, "*poses"]:
    """MPJPE after the least-squares scale of each pose about the origin (Rhodin et al., CVPR 2018)."""
    return mpjpe(_scaled(predicted, target), target)


@_in_full_precision
def mpjve(
    predicted: Float[Tensor, "*sequences frames joints 3"], target: Float[Tensor, "*sequences frames joints 3"]
) -> Float[Tensor, "*sequences frames-1"]:
    """Mean per-joint velocity error: MPJPE of the differences between frames (Pavllo et al., CVPR 2019).

    Millimetres per frame, so errors at two frame rates cannot be compared. Raises `MetricError` if there is one frame.
    """
    if predicted.dim() < 3 or predicted.shape[-3] < 2:
        raise MetricError(f"poses of shape {tuple(predicted.shape)} have no velocity; give at least two frames")
    return mpjpe(predicted.diff(dim=-3), target.diff(dim=-3))


def _scaled(
    moved: Float[Tensor, "*poses joints 3"], fixed: Float[Tensor, "*poses joints 3"]
) -> Float[Tensor, "*poses joints 3"]:
    """Poses times the scale that brings them nearest to others, or times 0 if they have no size."""
    squares = moved.square().sum((-2, -1), keepdim=True)
    products = (moved * fixed).sum((-2, -1), keepdim=True)
    return moved * torch.where(squares > 0, products / torch.where(squares > 0, squares, 1), 0)


class _Rotation(torch.autograd.Function):
    """The rotation ``R = U D V^T`` of the covariance ``M = U S V^T``, with ``D = diag(1, 1, det(U V^T))`` (Umeyama).

    The gradient of torch's SVD is infinite where two singular values are equal, and that of R is not. With ``s = S D``
    and ``dA = U^T dM V D``, it is ``dR = U ((dA - dA^T) / (s_i + s_j)) D V^T``: infinite only where R is not unique,
    because joints lie on a line, say; it is taken as 0 there.
    """

    @staticmethod
    def forward(context: Any, covariance: Float[Tensor, "*poses 3 3"]) -> Float[Tensor, "*poses 3 3"]:
        u, s, vt = torch.linalg.svd(covariance)
        sign = torch.ones_like(s)
        sign[..., 2] = torch.linalg.det(u @ vt).sign()
        vt = sign[..., None] * vt
        context.save_for_backward(u, s * sign, vt)
        return u @ vt

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Float[Tensor, "*poses 3 3"]) -> Float[Tensor, "*poses 3 3"]:
        u, s, vt = context.saved_tensors
        sums = s[..., :, None] + s[..., None, :]
        determined = sums > _DEGENERATE * s[..., :1, None]
        turned = u.mT @ gradient @ vt.mT
        spread = (turned - turned.mT) * torch.where(determined, 1 / torch.where(determined, sums, 1), 0)
        return u @ spread @ vt
