"""``Rot - I`` of rotation vectors, without the difference of nearly equal numbers.

With theta the angle of a rotation vector v, ``(x, y, z) = sin(theta/2)/(theta/2) v`` and ``w = cos(theta/2)``, which is
the unit quaternion ``(x/2, y/2, z/2, w)``,

    Rot - I = [[-(yy+zz)/2, xy/2-zw, xz/2+yw], [xy/2+zw, -(xx+zz)/2, yz/2-xw], [xz/2-yw, yz/2+xw, -(xx+yy)/2]]

No entry is a difference of nearly equal numbers, where ``1 - cos(theta)`` would be for small angles. The halves cost
nothing: `torch.addcmul` multiplies by them in passing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

SCRATCH_ROWS = 9
"""Per bone."""


@dataclass(frozen=True)
class Constants:
    """Numbers on a device, which would be slow to make for every batch.

    Attributes
    ----------
    tiny
        The smallest normal number: with it as ``(theta/2)^2``, ``sin(theta/2)/(theta/2)`` is 1 where theta is 0.
    """

    zero: Float[Tensor, ""]
    tiny: Float[Tensor, ""]
    identity: Float[Tensor, "3 3 1"]

    @staticmethod
    def on(device: torch.device, dtype: torch.dtype) -> Constants:
        return Constants(
            zero=torch.zeros((), dtype=dtype, device=device),
            tiny=torch.full((), torch.finfo(dtype).tiny, dtype=dtype, device=device),
            identity=torch.eye(3, dtype=dtype, device=device).view(3, 3, 1),
        )


@dataclass(frozen=True)
class Rotations:
    """Views of where ``Rot - I`` of some bones is computed, made once: making them costs as much as the arithmetic.

    Attributes
    ----------
    cycle
        ``(x, y, z)``, ``(y, z, x)`` and ``(z, x, y)``, which lie in one another.
    last
        The third of ``(z, x, y)``.
    products
        Of two components, also scratch.
    diagonal, upper, lower
        Entries ``(0, 0), (1, 1), (2, 2)``, then ``(0, 1), (1, 2)``, then ``(1, 0), (2, 1)``.
    """

    half: Float[Tensor, "bones frames"]
    scale: Float[Tensor, "bones frames"]
    w: Float[Tensor, "bones frames"]
    cycle: tuple[Float[Tensor, "3 bones frames"], ...]
    again: Float[Tensor, "2 bones frames"]
    products: Float[Tensor, "3 bones frames"]
    pair: tuple[Float[Tensor, "2 bones frames"], ...]
    last: tuple[Float[Tensor, "bones frames"], ...]
    diagonal: Float[Tensor, "3 bones frames"]
    upper: Float[Tensor, "2 bones frames"]
    lower: Float[Tensor, "2 bones frames"]
    corners: tuple[Float[Tensor, "bones frames"], ...]

    @staticmethod
    def into(out: Float[Tensor, "9*bones frames"], scratch: Float[Tensor, "9*bones frames"]) -> Rotations:
        """Views for row-major ``Rot - I`` in `out`; `scratch` will be overwritten."""
        size = out.shape[1]
        planes, matrices = scratch.view(SCRATCH_ROWS, -1, size), out.view(-1, 3, 3, size)
        products = planes.narrow(0, 6, 3)
        half, scale, _ = products.unbind(0)
        first, second, third = (planes.narrow(0, start, 3) for start in (1, 2, 3))

        def entries(offset: int) -> Tensor:
            return matrices.diagonal(offset, 1, 2).permute(2, 0, 1)

        return Rotations(
            half=half,
            scale=scale,
            w=planes.select(0, 0),
            cycle=(first, second, third),
            again=planes.narrow(0, 4, 2),
            products=products,
            pair=(products.narrow(0, 0, 2), third.narrow(0, 0, 2)),
            last=(products.select(0, 2), third.select(0, 2)),
            diagonal=entries(0),
            upper=entries(1),
            lower=entries(-1),
            corners=(entries(2).select(0, 0), entries(-2).select(0, 0)),
        )

    def compute(self, rotvecs: Float[Tensor, "3*bones frames"], constants: Constants) -> None:
        """``Rot - I`` of rotation vectors in radians."""
        components = rotvecs.view(-1, 3, rotvecs.shape[1]).transpose(0, 1)
        x, y, z = components.unbind(0)
        half, scale, w = self.half, self.scale, self.w
        torch.addcmul(constants.tiny, x, x, value=0.25, out=half)
        half.addcmul_(y, y, value=0.25).addcmul_(z, z, value=0.25).sqrt_()
        torch.sin(half, out=scale).div_(half)
        torch.cos(half, out=w)
        xyz, yzx, zxy = self.cycle
        torch.mul(components, scale, out=xyz)
        torch.mul(components.narrow(0, 0, 2), scale, out=self.again)
        torch.addcmul(constants.zero, xyz, yzx, value=0.5, out=self.products)
        for (product, other), minus, plus in (
            (self.pair, self.upper, self.lower),
            (self.last, self.corners[1], self.corners[0]),
        ):
            torch.addcmul(product, other, w, value=-1.0, out=minus)
            torch.addcmul(product, other, w, out=plus)
        torch.addcmul(constants.zero, yzx, yzx, value=-0.5, out=self.products)
        torch.addcmul(self.products, zxy, zxy, value=-0.5, out=self.diagonal)


def rotation_minus_identity(rotvecs: Float[Tensor, "bones 3 frames"]) -> Float[Tensor, "bones 9 frames"]:
    """``Rot - I`` of rotation vectors in radians, row-major; holds for every angle, zero included."""
    bones, _, frames = rotvecs.shape
    out, scratch = (rotvecs.new_empty(9 * bones, frames) for _ in range(2))
    constants = Constants.on(rotvecs.device, rotvecs.dtype)
    Rotations.into(out, scratch).compute(rotvecs.reshape(3 * bones, frames), constants)
    return out.view(bones, 9, frames)
