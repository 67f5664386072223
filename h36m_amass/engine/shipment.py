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
_GRAIN = 2**20  # bytes that memory is taken in multiples of
_ALIGNMENT = 256  # bytes at whose multiples arrays begin, as CUDA's allocations do


class Shipment:
    """Memory of one run in flight, on the host and on a device; it grows to what the largest run needs."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._there, self._back = _Pair(device), _Pair(device)
        self._forms: Mapping[str, Form] = {}
        # A waiting thread sleeps; it would spin otherwise, on a core that another worker could use.
        self._arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch does not type it

    def lay_out(self, forms: Mapping[str, Form]) -> dict[str, np.ndarray]:
        """Arrays to fill on the host, with whatever was there before."""
        self._forms = forms
        self._there.reserve(forms)
        return {name: view.numpy() for name, view in _views(self._there.near, forms).items()}

    def send(self) -> dict[str, Tensor]:
        """Start the way to the device; the same arrays there."""
        length = _length(self._forms)
        self._there.far.narrow(0, 0, length).copy_(self._there.near.narrow(0, 0, length), non_blocking=True)
        return _views(self._there.far, self._forms)

    def room(self, forms: Mapping[str, Form]) -> dict[str, Tensor]:
        """Arrays on the device for what goes back."""
        self._forms = forms
        self._back.reserve(forms)
        return _views(self._back.far, forms)

    def fetch(self) -> None:
        """Start the way back of what is in the `room` by then."""
        length = _length(self._forms)
        self._back.near.narrow(0, 0, length).copy_(self._back.far.narrow(0, 0, length), non_blocking=True)
        self._arrived.record(torch.cuda.current_stream(self._device))

    def wait(self) -> dict[str, np.ndarray]:
        """What came back, once it is there; the memory is the caller's until the next `fetch`."""
        self._arrived.synchronize()
        return {name: view.numpy() for name, view in _views(self._back.near, self._forms).items()}


class _Pair:
    """As many bytes on the host as on the device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.near = self.far = torch.empty(0, dtype=torch.uint8, device="cpu")

    def reserve(self, forms: Mapping[str, Form]) -> None:
        length = -(-_length(forms) // _GRAIN) * _GRAIN
        if length > len(self.near):
            self.near = torch.zeros(length, dtype=torch.uint8, device="cpu", pin_memory=True)
            self.far = torch.zeros(length, dtype=torch.uint8, device=self._device)


def _views(memory: Tensor, forms: Mapping[str, Form]) -> dict[str, Tensor]:
    views, start = {}, 0
    for name, (shape, dtype) in forms.items():
        length = prod(shape) * dtype.itemsize
        views[name] = memory.narrow(0, start, length).view(dtype).view(shape)
        start += _aligned(length)
    return views


def _length(forms: Mapping[str, Form]) -> int:
    return sum(_aligned(prod(shape) * dtype.itemsize) for shape, dtype in forms.values())


def _aligned(length: int) -> int:
    return -(-length // _ALIGNMENT) * _ALIGNMENT
