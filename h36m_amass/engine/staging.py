"""Copies to a GPU and back, one each for every run, which run while the host does something else."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

ArraySpecs: TypeAlias = Mapping[str, tuple[tuple[int, ...], torch.dtype]]
"""Shape and type of arrays that lie one behind the other."""
_ALIGNMENT = 256  # bytes at whose multiples arrays begin, as CUDA's allocations do
_CPU = torch.device("cpu")


class Memory:
    """Bytes on the host or on a device, seen as arrays.

    If `pinned`, they are page-locked memory of the host, which copies to and from a GPU need to run by themselves, and
    are not zeroed. What is no longer in use torch keeps for the next time.
    """

    def __init__(self, length: int, device: torch.device, pinned: bool = False) -> None:
        make = torch.empty if pinned else torch.zeros
        self.bytes = make(_rounded(length), dtype=torch.uint8, device=device, pin_memory=pinned)
        self._typed: dict[torch.dtype, Tensor] = {}

    def views(self, specs: ArraySpecs) -> dict[str, Tensor]:
        """The arrays, by name."""
        views, start = {}, 0
        for name, (shape, dtype) in specs.items():
            if dtype not in self._typed:
                self._typed[dtype] = self.bytes.view(dtype)
            strides = tuple(prod(shape[axis:]) for axis in range(1, len(shape) + 1))
            views[name] = self._typed[dtype].as_strided(shape, strides, start // dtype.itemsize)
            start += _aligned(prod(shape) * dtype.itemsize)
        return views

    def arrays(self, specs: ArraySpecs) -> dict[str, np.ndarray]:
        """The arrays as NumPy sees them, of memory of the host."""
        return {name: view.numpy() for name, view in self.views(specs).items()}


def length_of(specs: ArraySpecs, rows_of_last: int | None = None) -> int:
    """Bytes of arrays; if `rows_of_last` is given, with so many rows of the last of them alone."""
    lengths = [prod(shape) * dtype.itemsize for shape, dtype in specs.values()]
    if rows_of_last is not None:
        shape, _ = list(specs.values())[-1]
        lengths[-1] = lengths[-1] // shape[0] * rows_of_last
    return sum(map(_aligned, lengths[:-1])) + lengths[-1]


class Staging:
    """Memory of the host for one run in flight; it grows to what the largest run needs."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._inputs, self._outputs = device, Memory(0, _CPU), Memory(0, _CPU)
        # A waiting thread sleeps; it would spin otherwise, on a core that another worker could use.
        self._downloaded = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch does not type it

    def arrays(self, specs: ArraySpecs) -> dict[str, np.ndarray]:
        """Arrays to fill, with whatever was in their memory."""
        if (length := length_of(specs)) > len(self._inputs.bytes):
            self._inputs = Memory(length, _CPU, pinned=True)
        return self._inputs.arrays(specs)

    def upload(self, target: Memory, specs: ArraySpecs, rows_of_last: int) -> None:
        """Begin to copy the arrays to the device, so many rows of the last of them."""
        length = length_of(specs, rows_of_last)
        target.bytes.narrow(0, 0, length).copy_(self._inputs.bytes.narrow(0, 0, length), non_blocking=True)

    def download(self, source: Memory, specs: ArraySpecs, rows_of_last: int) -> None:
        """Begin to copy arrays from the device, once it has computed them, into new memory, which is the receiver's."""
        length = length_of(specs, rows_of_last)
        self._outputs = Memory(length_of(specs), _CPU, pinned=True)
        self._outputs.bytes.narrow(0, 0, length).copy_(source.bytes.narrow(0, 0, length), non_blocking=True)
        self._downloaded.record(torch.cuda.current_stream(self._device))

    def wait(self, specs: ArraySpecs) -> dict[str, np.ndarray]:
        """The downloaded arrays, once they are complete."""
        self._downloaded.synchronize()
        return self._outputs.arrays(specs)


def _aligned(length: int) -> int:
    return -(-length // _ALIGNMENT) * _ALIGNMENT


def _rounded(length: int) -> int:
    """Few lengths, so that what is given back fits again: eight from a power of two to the next."""
    step = max(_ALIGNMENT, 2 ** max(0, length.bit_length() - 4))
    return -(-length // step) * step
