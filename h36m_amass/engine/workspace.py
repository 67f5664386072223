"""Memory that is kept from one recording to the next: taking it anew costs more than posing a short one."""

from __future__ import annotations

from contextlib import suppress
from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from h36m_amass.engine.staging import Memory, Staging

_GRAIN = 2**18  # numbers that the size of a device's memory is rounded up to


def give_back() -> None:
    """Give back what torch keeps of memory of GPUs, and of page-locked memory, for its next use."""
    with suppress(torch.AcceleratorError):  # of a GPU that has failed: that is said elsewhere
        torch.cuda.empty_cache()
        torch._C._host_emptyCache()  # torch.accelerator.empty_host_cache since torch 2.13


class HostMemory:
    """Host memory that grows to the largest size that was asked for."""

    def __init__(self) -> None:
        self._memory = np.empty(0)

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Room for an array of this shape, with whatever was there before."""
        length = prod(shape)
        if length > len(self._memory):
            self._memory = np.empty(length, dtype)
        return self._memory[:length].reshape(shape)


class Workspace:
    """Memory that skinners of one device and type share; one skinner at a time computes a run.

    Of the `idle` stagings each run in flight takes one.
    """

    def __init__(self) -> None:
        self._buffers: Tensor | None = None
        self.by_frame = HostMemory()
        self.idle: list[Staging] = []
        self._memories: dict[str, Memory] = {}

    def take(self, length: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "at_least_length"]:
        """Room for this many numbers. Memory that was taken before stays valid for its users."""
        if self._buffers is None or len(self._buffers) < length:
            # Skinners of one body with and without soft tissue differ by a few rows.
            self._buffers = torch.zeros(-(-length // _GRAIN) * _GRAIN, dtype=dtype, device=device)
        return self._buffers

    def memory(self, name: str, length: int, device: torch.device) -> Memory:
        """Memory of this name with room for so many bytes; what was taken before stays valid for its users."""
        if name not in self._memories or len(self._memories[name].bytes) < length:
            self._memories[name] = Memory(length, device)
        return self._memories[name]
