"""Which device a build computes on, and how many cores there are; importing torch takes seconds, so it is avoided."""

import os
import sys
from pathlib import Path

from h36m_amass.errors import H36mAmassError

# What the drivers of NVIDIA's and AMD's GPUs bring, and Windows' subsystem for Linux.
_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


class DeviceError(H36mAmassError):
    """The requested device does not exist."""


def resolve_device(device: str) -> str:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N`` as a device that is there: ``cpu`` or ``cuda:N``.

    `DeviceError` if there is none. Asking for CUDA where there is none is never answered with the CPU.
    """
    if device == "cpu" or (device == "auto" and not _may_have_gpu()):
        return "cpu"
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        requested = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"device {device!r} is unknown; choose auto, cpu, cuda, cuda:N or cuda:all") from error
    if requested.type == "cpu":
        return "cpu"
    if requested.type != "cuda":
        raise DeviceError(f"device {device!r} is not supported; choose auto, cpu, cuda, cuda:N or cuda:all")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (requested.index or 0) >= count:
        advice = "use --device cpu, or install a CUDA build of torch and its driver"
        raise DeviceError(f"device {device!r} is not there: torch sees {count} CUDA devices; {advice}")
    return f"cuda:{torch.cuda.current_device() if requested.index is None else requested.index}"


def resolve_devices(device: str) -> tuple[str, ...]:
    """`resolve_device` of one, or of several GPUs: ``cuda:0,cuda:1`` or ``cuda:all``.

    `DeviceError`, too, if one of several is named twice, or is not a GPU: a CPU and a GPU round differently.
    """
    names = [name.strip() for name in device.split(",")]
    if names == ["cuda:all"]:
        resolve_device("cuda")
        import torch

        names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if len(names) > 1 and not all(name.partition(":")[0] == "cuda" for name in names):
        raise DeviceError(f"device {device!r} is a mixture; give one device, or several GPUs, like cuda:0,cuda:1")
    resolved = tuple(map(resolve_device, names))
    if len(set(resolved)) < len(resolved):
        raise DeviceError(f"device {device!r} names one GPU twice; name each once, or use --workers on one")
    return resolved


def device_kind(device: str) -> str:
    """What tells devices that round differently apart: ``cpu``, or a GPU's name with torch's and CUDA's versions."""
    if device == "cpu":
        return device
    import torch

    return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, CUDA {torch.version.cuda}"


def likely_devices() -> tuple[str, ...]:
    """What `resolve_devices` may take here, without asking torch: for suggestions."""
    gpus = sorted(Path("/dev").glob("nvidia[0-9]"))
    several = ("cuda:all",) if len(gpus) > 1 else ()
    return "auto", "cpu", "cuda", *several, *(f"cuda:{number}" for number in range(len(gpus)))


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _may_have_gpu() -> bool:
    """False only where torch can find no GPU, whatever its build."""
    return sys.platform != "linux" or any(map(os.path.exists, _GPU_DRIVERS))
