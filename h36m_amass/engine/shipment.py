"""The way to a GPU and back: one copy there and one back for each run, beside what else is done."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

Forms: TypeAlias = Mapping[str, tuple[tuple[int, ...], torch.dtype]]
"""Shape and type of arrays that lie one behind the other."""
_ALIGNMENT = 256  # bytes at whose multiples arrays begin, as CUDA's allocations do
_CPU = torch.device("cpu")


class Memory:
    """Bytes on the host or on a device, seen as arrays."""

    def __init__(self, length: int, device: torch.device) -> None:
        self.bytes = torch.zeros(_rounded(length), dtype=torch.uint8, device=device)
        self._typed: dict[torch.dtype, Tensor] = {}

    @staticmethod
    def pinned(length: int) -> Memory:
        """Page-locked memory of the host, from which and to which copies run by themselves; not written before.

        What is no longer in use torch keeps for the next time.
        """
        memory = Memory(0, _CPU)
        memory.bytes = torch.empty(_rounded(length), dtype=torch.uint8, device="cpu", pin_memory=True)
        return memory

    def views(self, forms: Forms) -> dict[str, Tensor]:
        views, start = {}, 0
        for name, (shape, dtype) in forms.items():
            if dtype not in self._typed:
                self._typed[dtype] = self.bytes.view(dtype)
            strides = tuple(prod(shape[axis:]) for axis in range(1, len(shape) + 1))
            views[name] = self._typed[dtype].as_strided(shape, strides, start // dtype.itemsize)
            start += _aligned(prod(shape) * dtype.itemsize)
        return views

    def arrays(self, forms: Forms) -> dict[str, np.ndarray]:
        return {name: view.numpy() for name, view in self.views(forms).items()}


def length_of(forms: Forms, rows_of_last: int | None = None) -> int:
    """Bytes of arrays; if `rows_of_last` is given, with so many rows of the last of them alone."""
    lengths = [prod(shape) * dtype.itemsize for shape, dtype in forms.values()]
    if rows_of_last is not None:
        shape, _ = list(forms.values())[-1]
        lengths[-1] = lengths[-1] // shape[0] * rows_of_last
    return sum(map(_aligned, lengths[:-1])) + lengths[-1]


class Shipment:
    """What the host needs for one run in flight: it grows to what the largest run needs."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._here, self._back = device, Memory(0, _CPU), Memory(0, _CPU)
        # A waiting thread sleeps; it would spin otherwise, on a core that another worker could use.
        self._arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch does not type it

    def lay_out(self, forms: Forms) -> dict[str, np.ndarray]:
        """Arrays to fill, with whatever was there before."""
        if (length := length_of(forms)) > len(self._here.bytes):
            self._here = Memory.pinned(length)
        return self._here.arrays(forms)

    def send(self, there: Memory, forms: Forms, rows_of_last: int) -> None:
        """Start the way of arrays to the device, so many rows of the last of them."""
        length = length_of(forms, rows_of_last)
        there.bytes.narrow(0, 0, length).copy_(self._here.bytes.narrow(0, 0, length), non_blocking=True)

    def fetch(self, there: Memory, forms: Forms, rows_of_last: int) -> None:
        """Start the way back of arrays that will be there, into memory that is their receiver's from then on."""
        length = length_of(forms, rows_of_last)
        self._back = Memory.pinned(length_of(forms))
        self._back.bytes.narrow(0, 0, length).copy_(there.bytes.narrow(0, 0, length), non_blocking=True)
        self._arrived.record(torch.cuda.current_stream(self._device))

    def wait(self, forms: Forms) -> dict[str, np.ndarray]:
        """What came back, once it is here."""
        self._arrived.synchronize()
        return self._back.arrays(forms)


def _aligned(length: int) -> int:
    return -(-length // _ALIGNMENT) * _ALIGNMENT


def _rounded(length: int) -> int:
    """Few lengths, so that what is given back fits again: eight from a power of two to the next."""
    step = max(_ALIGNMENT, 2 ** max(0, length.bit_length() - 4))
    return -(-length // step) * step
