"""Memory that is kept from one recording to the next: taking it anew costs more than posing a short one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

_GRAIN = 2**18
"""Numbers that the size of a device's memory is rounded up to."""


class Memory:
    """A piece of memory that grows to the largest length that was asked for."""

    def __init__(self, grain: int = 1) -> None:
        self._memory: Tensor | None = None
        self._grain = grain

    def take(
        self, length: int, dtype: torch.dtype, device: torch.device, pinned: bool = False
    ) -> Float[Tensor, "length"]:
        """Room for so many numbers. What has been taken before is kept by those who use it still."""
        memory = self._memory
        if memory is None or len(memory) < length:
            rounded = -(-length // self._grain) * self._grain
            memory = self._memory = torch.empty(rounded, dtype=dtype, device=device, pin_memory=pinned)
        return memory.narrow(0, 0, length)


class Staging:
    """Host memory of one run in flight: page-locked where the device is not the CPU, so that copies run aside.

    Attributes
    ----------
    by_frame
        Poses as recordings have them.
    poses, constants, dmpls
        What the skinner takes.
    joints
        What it gives, on its way from another device.
    """

    def __init__(self) -> None:
        self.by_frame, self.poses, self.constants, self.dmpls, self.joints = (Memory() for _ in range(5))


class Workspace:
    """Memory that skinners of one device and type share, of which one at a time computes a run."""

    def __init__(self) -> None:
        self.buffers = Memory(_GRAIN)
        self._idle: list[tuple[Staging, Staging]] = []

    @contextmanager
    def lend_staging(self) -> Iterator[tuple[Staging, Staging]]:
        """Staging for two runs in flight, which nobody else has meanwhile."""
        staging = self._idle.pop() if self._idle else (Staging(), Staging())
        try:
            yield staging
        finally:
            self._idle.append(staging)
