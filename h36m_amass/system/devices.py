"""Which device a build computes on, and how many cores there are; importing torch takes seconds, so it is avoided."""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from h36m_amass.errors import H36mAmassError

_log = logging.getLogger(__name__)

# What the drivers of NVIDIA's and AMD's GPUs bring, and Windows' subsystem for Linux.
_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


MIN_CORES_FOR_CPU = 16
"""Cores of a CPU with which builds were measured to take no longer than on a GPU (benchmarks/RESULTS.md)."""
# Variables that take effect within CUDA's libraries, where torch cannot put them aside.
_REFUSED_VARIABLES = {
    "NVIDIA_TF32_OVERRIDE": "products of matrices may be too coarse",
    "PYTORCH_TUNABLEOP_ENABLED": "the same input may give other bytes each time",
}


class DeviceError(H36mAmassError):
    """A device does not exist, or cannot compute."""


class DeviceLostError(DeviceError):
    """A GPU failed under a process, which cannot use it any more."""


def resolve_device(device: str, workers: int | None = 0) -> str:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N`` as a device that is there and can compute: ``cpu`` or ``cuda:N``.

    ``auto`` is the GPU where there is one, unless so many of this machine's cores compute, in `workers` processes or
    None for one per core, that they are as fast. `DeviceError` if the device is not there or cannot compute. Asking for
    CUDA where there is none is never answered with the CPU.
    """
    cores = usable_cores() if workers is None else min(workers, usable_cores())
    if device == "cpu" or (device == "auto" and (cores >= MIN_CORES_FOR_CPU or not _may_have_gpu())):
        return "cpu"
    with explained(device):
        return _resolved(device)


def _resolved(device: str) -> str:
    import torch

    if device == "auto":
        why_not = _why_not(0) if torch.cuda.is_available() else None
        if why_not is not None:
            _log.warning("the CPU is used: %s", why_not)
        device = "cuda" if torch.cuda.is_available() and why_not is None else "cpu"
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
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch does not type it
    # To ask for the current device where none is in use would take memory of one for this process.
    number = requested.index if requested.index is not None else torch.cuda.current_device() if in_use else 0
    if (why_not := _why_not(number)) is not None:
        raise DeviceError(f"{why_not}; or use --device cpu")
    return f"cuda:{number}"


def _why_not(number: int) -> str | None:
    """Why a GPU that is there cannot compute what it should, and what to do; None if it can."""
    import torch

    for variable, effect in _REFUSED_VARIABLES.items():
        if os.environ.get(variable, "0") not in ("", "0"):
            return f"{variable} is set, and {effect} on a GPU; unset it"
    major, minor = torch.cuda.get_device_capability(number)
    kernels = [re.fullmatch(r"(sm|compute)_(\d+)(\d)", name) for name in torch.cuda.get_arch_list()]
    built_for = [(match[1], int(match[2]), int(match[3])) for match in kernels if match]
    # Machine code runs on later cards of the same generation, and what the driver compiles on all later ones.
    is_for_it = any(
        (major, minor) >= (*version,) and (kind == "compute" or version[0] == major) for kind, *version in built_for
    )
    if built_for and not is_for_it:
        name = torch.cuda.get_device_name(number)
        return f"torch {torch.__version__} has no kernels for cuda:{number} ({name}); install a build of torch for it"
    return None


@contextmanager
def explained(device: str) -> Iterator[None]:
    """Raise what torch says of a GPU as `DeviceError`, or as `DeviceLostError` if it cannot be used any more."""
    try:
        yield
    except RuntimeError as error:
        import torch

        if device == "cpu":
            raise
        reason = str(error).partition("\n")[0]
        if isinstance(error, torch.OutOfMemoryError) or re.search("out of memory|ALLOC_FAILED|NOT_INIT", reason):
            advice = "use fewer --workers or a smaller --batch-size, or end what else runs there"
            raise DeviceError(f"{device} has too little free memory; {advice}") from error
        if re.search("No CUDA GPUs|forked subprocess", reason):
            raise DeviceError(f"{device} cannot be used in this process ({reason}); use --device cpu") from error
        if isinstance(error, torch.AcceleratorError) or reason.startswith(("CUDA error", "CUDA unknown error")):
            advice = "the process that used it has to be started again; or use --device cpu"
            raise DeviceLostError(f"{device} failed ({reason}); {advice}") from error
        raise


def resolve_devices(device: str, workers: int | None = 0) -> tuple[str, ...]:
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
    resolved = tuple(resolve_device(name, workers) for name in names)
    if len(set(resolved)) < len(resolved):
        raise DeviceError(f"device {device!r} names one GPU twice; name each once, or use --workers on one")
    kinds = dict.fromkeys(map(device_kind, resolved))
    if len(kinds) > 1:
        advice = "they round differently; give those of one kind"
        raise DeviceError(f"device {device!r} names several kinds of GPU ({'; '.join(kinds)}): {advice}")
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
