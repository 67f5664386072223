"""Memory that is kept from one recording to the next: taking it anew costs more than posing a short one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_GRAIN = 2**18  # numbers that the size of a device's memory is rounded up to


class HostMemory:
    """Host memory that grows to the largest size that was asked for, with the views of it that were."""

    def __init__(self) -> None:
        self._length = 0
        self._views: dict[tuple[int, ...], tuple[Tensor, np.ndarray]] = {}

    def take(self, shape: tuple[int, ...], dtype: torch.dtype, pinned: bool) -> tuple[Tensor, np.ndarray]:
        """Room for an array of this shape, as torch and as NumPy see it; with what was there before, or zeros."""
        if shape not in self._views:
            length = prod(shape)
            if length > self._length or not self._views:
                self._memory = torch.zeros(length, dtype=dtype, pin_memory=pinned)
                self._length, self._views = length, {}
            view = self._memory.narrow(0, 0, length).view(shape)
            self._views[shape] = view, view.numpy()
        return self._views[shape]


class Staging:
    """Host memory of one run in flight: page-locked where the device is not the CPU, so that copies run aside.

    Poses as recordings have them, what the skinner takes, and the joints on their way from another device.
    """

    def __init__(self) -> None:
        self.by_frame, self.poses, self.constants, self.dmpls, self.joints = (HostMemory() for _ in range(5))


class Workspace:
    """Memory that skinners of one device and type share; one skinner at a time computes a run."""

    def __init__(self) -> None:
        self._buffers: Tensor | None = None
        self._idle: list[tuple[Staging, Staging]] = []

    def take(self, length: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "at_least_length"]:
        """Room for this many numbers. Memory that was taken before stays valid for its users."""
        if self._buffers is None or len(self._buffers) < length:
            # Skinners of one body with and without soft tissue differ by a few rows.
            self._buffers = torch.empty(-(-length // _GRAIN) * _GRAIN, dtype=dtype, device=device)
        return self._buffers

    @contextmanager
    def lend_staging(self) -> Iterator[tuple[Staging, Staging]]:
        """Staging for two runs in flight, which nobody else has meanwhile."""
        staging = self._idle.pop() if self._idle else (Staging(), Staging())
        try:
            yield staging
        finally:
            self._idle.append(staging)
