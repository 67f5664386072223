"""Which device a build computes on, and how many cores there are; torch takes seconds, and is asked only if need be."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# What the drivers of NVIDIA's and AMD's GPUs bring, and Windows' subsystem for Linux.
_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


class DeviceError(ValueError):
    """The device that was asked for is not there."""


def resolve_device(device: str) -> str:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N`` as a device that is there: ``cpu`` or ``cuda:N``.

    Raises
    ------
    DeviceError
        No such device. Asking for CUDA where there is none is never answered with the CPU.
    """
    if device == "cpu" or (device == "auto" and not _may_have_gpu()):
        return "cpu"
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"device {device!r} is unknown; choose auto, cpu, cuda or cuda:N") from error
    if wanted.type == "cpu":
        return "cpu"
    if wanted.type != "cuda":
        raise DeviceError(f"device {device!r} is not supported; choose auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (wanted.index or 0) >= count:
        raise DeviceError(
            f"device {device!r} is not there: torch sees {count} CUDA devices; use --device cpu, or install a "
            "CUDA build of torch and its driver"
        )
    return f"cuda:{torch.cuda.current_device() if wanted.index is None else wanted.index}"


def likely_devices() -> tuple[str, ...]:
    """What `resolve_device` may take here, without asking torch: for suggestions."""
    gpus = sorted(Path("/dev").glob("nvidia[0-9]"))
    return "auto", "cpu", "cuda", *(f"cuda:{number}" for number in range(len(gpus)))


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _may_have_gpu() -> bool:
    """False only where torch can find no GPU, whatever its build."""
    return sys.platform != "linux" or any(map(os.path.exists, _GPU_DRIVERS))
