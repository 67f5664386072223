"""``Rot - I`` of rotation vectors, without the difference of nearly equal numbers.

With theta the angle of a rotation vector v, ``(x, y, z) = sin(theta/2)/(theta/2) v`` and ``w = cos(theta/2)``, which is
the unit quaternion ``(x/2, y/2, z/2, w)``,

    Rot - I = [[-(yy+zz)/2, xy/2-zw, xz/2+yw], [xy/2+zw, -(xx+zz)/2, yz/2-xw], [xz/2-yw, yz/2+xw, -(xx+yy)/2]]

No entry is a difference of nearly equal numbers, where ``1 - cos(theta)`` would be for small angles. The halves cost
nothing: `torch.addcmul` multiplies by them in passing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

SCRATCH_ROWS = 9  # per bone

Step: TypeAlias = Callable[[], object]
"""A torch call with its arguments: their views are made once, which takes as long as the arithmetic."""


@dataclass(frozen=True)
class Numbers:
    """Numbers on a device, which would be slow to make for every batch."""

    zero: Float[Tensor, ""]
    tiny: Float[Tensor, ""]
    """The smallest normal number: with it as ``(theta/2)^2``, ``sin(theta/2)/(theta/2)`` is 1 where theta is 0."""
    identity: Float[Tensor, "3 3 1"]

    @staticmethod
    def on(device: torch.device, dtype: torch.dtype) -> Numbers:
        zero, tiny = (torch.full((), value, dtype=dtype, device=device) for value in (0.0, torch.finfo(dtype).tiny))
        return Numbers(zero, tiny, torch.eye(3, dtype=dtype, device=device).view(3, 3, 1))


def rotations(
    rotvecs: Float[Tensor, "3*bones frames"],
    out: Float[Tensor, "9*bones frames"],
    scratch: Float[Tensor, "9*bones frames"],
    numbers: Numbers,
) -> Iterator[Step]:
    """``Rot - I``, row-major into `out`, of rotation vectors in radians."""
    components = rotvecs.view(-1, 3, rotvecs.shape[1]).transpose(0, 1)
    x, y, z = components.unbind(0)
    planes = scratch.view(SCRATCH_ROWS, -1, out.shape[1])
    products = planes.narrow(0, 6, 3)
    half, scale, _ = products.unbind(0)  # theta/2 and sin(theta/2)/(theta/2)
    # (x, y) comes again behind (x, y, z), so that (y, z, x) and (z, x, y) are views too.
    w, xyz, xy = planes.select(0, 0), planes.narrow(0, 1, 3), planes.narrow(0, 4, 2)
    yield partial(torch.addcmul, numbers.tiny, x, x, value=0.25, out=half)
    yield partial(half.addcmul_, y, y, value=0.25)
    yield partial(half.addcmul_, z, z, value=0.25)
    yield half.sqrt_
    yield partial(torch.sin, half, out=scale)
    yield partial(scale.div_, half)
    yield partial(torch.cos, half, out=w)
    yield partial(torch.mul, components, scale, out=xyz)
    yield partial(torch.mul, components.narrow(0, 0, 2), scale, out=xy)
    yield from _entries(out, w, planes.narrow(0, 1, 5), products, numbers.zero)


def _entries(
    out: Float[Tensor, "9*bones frames"],
    w: Float[Tensor, "bones frames"],
    xyzxy: Float[Tensor, "5 bones frames"],
    products: Float[Tensor, "3 bones frames"],
    zero: Float[Tensor, ""],
) -> Iterator[Step]:
    """The nine entries from the quaternion, several at a time: those along a diagonal."""
    matrices = out.view(-1, 3, 3, out.shape[1])
    xyz, yzx, zxy = (xyzxy.narrow(0, first, 3) for first in range(3))

    def diagonal(offset: int) -> Tensor:
        return matrices.diagonal(offset, 1, 2).permute(2, 0, 1)

    yield partial(torch.addcmul, zero, xyz, yzx, value=0.5, out=products)
    for first, number, minus, plus in ((0, 2, 1, -1), (2, 1, -2, 2)):
        product, other = products.narrow(0, first, number), zxy.narrow(0, first, number)
        yield partial(torch.addcmul, product, other, w, value=-1.0, out=diagonal(minus))
        yield partial(torch.addcmul, product, other, w, out=diagonal(plus))
    yield partial(torch.addcmul, zero, yzx, yzx, value=-0.5, out=products)
    yield partial(torch.addcmul, products, zxy, zxy, value=-0.5, out=diagonal(0))


def rotation_minus_identity(rotvecs: Float[Tensor, "bones 3 frames"]) -> Float[Tensor, "bones 9 frames"]:
    """``Rot - I`` of rotation vectors in radians, row-major; holds for every angle, zero included."""
    bones, _, frames = rotvecs.shape
    out, scratch = (rotvecs.new_empty(9 * bones, frames) for _ in range(2))
    numbers = Numbers.on(rotvecs.device, rotvecs.dtype)
    for step in rotations(rotvecs.reshape(3 * bones, frames), out, scratch, numbers):
        step()
    return out.view(bones, 9, frames)
