"""The way to a GPU and back: one copy there and one back for each run, from page-locked memory, beside other work."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

Form: TypeAlias = tuple[tuple[int, ...], torch.dtype]
"""Shape and type of an array."""
_ALIGNMENT = 256  # bytes at whose multiples arrays begin, as CUDA's allocations do


class Shipment:
    """Memory of one run in flight: what goes there, and what comes of it. It grows to what the largest run needs."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._here = self._there = self._result = _Memory(0, torch.device("cpu"))
        # A waiting thread sleeps; it would spin otherwise, on a core that another worker could use.
        self._arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch does not type it

    def lay_out(self, forms: Mapping[str, Form]) -> dict[str, np.ndarray]:
        """Arrays to fill on the host, with whatever was there before."""
        self._forms = forms
        if (length := _length(forms)) > len(self._here):
            self._here = _Memory(length, torch.device("cpu"), pinned=True)
            self._there = _Memory(length, self._device)
        return {name: view.numpy() for name, view in self._here.views(forms).items()}

    def send(self) -> dict[str, Tensor]:
        """Start the way to the device; the same arrays there."""
        length = _length(self._forms)
        self._there.first(length).copy_(self._here.first(length), non_blocking=True)
        return self._there.views(self._forms)

    def room(self, forms: Mapping[str, Form]) -> dict[str, Tensor]:
        """Arrays on the device for what comes back."""
        self._forms = forms
        if (length := _length(forms)) > len(self._result):
            self._result = _Memory(length, self._device)
        return self._result.views(forms)

    def fetch(self) -> None:
        """Start the way back of what will be in the `room` by then, into memory that is its receiver's from then on.

        Torch keeps page-locked memory for its next use: to copy from one piece that is ours would take longer.
        """
        length = _length(self._forms)
        self._back = _Memory(length, torch.device("cpu"), pinned=True)
        self._back.first(length).copy_(self._result.first(length), non_blocking=True)
        self._arrived.record(torch.cuda.current_stream(self._device))

    def wait(self) -> dict[str, np.ndarray]:
        """What came back, once it is there."""
        self._arrived.synchronize()
        return {name: view.numpy() for name, view in self._back.views(self._forms).items()}


class _Memory:
    """Bytes on the host or on a device, seen as arrays that lie one behind the other."""

    def __init__(self, length: int, device: torch.device, pinned: bool = False) -> None:
        self._bytes = torch.empty(_rounded(length), dtype=torch.uint8, device=device, pin_memory=pinned)
        self._typed: dict[torch.dtype, Tensor] = {}

    def __len__(self) -> int:
        return len(self._bytes)

    def first(self, length: int) -> Tensor:
        return self._bytes.narrow(0, 0, length)

    def views(self, forms: Mapping[str, Form]) -> dict[str, Tensor]:
        views, start = {}, 0
        for name, (shape, dtype) in forms.items():
            if dtype not in self._typed:
                self._typed[dtype] = self._bytes.view(dtype)
            strides = tuple(prod(shape[axis:]) for axis in range(1, len(shape) + 1))
            views[name] = self._typed[dtype].as_strided(shape, strides, start // dtype.itemsize)
            start += _aligned(prod(shape) * dtype.itemsize)
        return views


def _length(forms: Mapping[str, Form]) -> int:
    return sum(_aligned(prod(shape) * dtype.itemsize) for shape, dtype in forms.values())


def _aligned(length: int) -> int:
    return -(-length // _ALIGNMENT) * _ALIGNMENT


def _rounded(length: int) -> int:
    """Few lengths, so that what is given back fits again: eight from a power of two to the next."""
    step = 2 ** max(0, length.bit_length() - 4)
    return -(-length // step) * step
