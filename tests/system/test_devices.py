"""Which devices a build takes; workers take them in turn, see tests/conversion. Most of it needs no GPU."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from h36m_amass.conversion import tasks
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.options import BuildError
from h36m_amass.system import devices
from h36m_amass.system.devices import DeviceError, DeviceLostError, explained, resolve_devices


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have torch see this many GPUs."""

    def see(count: int) -> None:
        monkeypatch.setattr(devices, "_may_have_gpu", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: (9, 0))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "fake")

    return see


@pytest.mark.parametrize(
    ("device", "resolved"),
    [
        ("cpu", ("cpu",)),
        ("cuda", ("cuda:0",)),
        ("cuda:2", ("cuda:2",)),
        ("cuda:2,cuda:0", ("cuda:2", "cuda:0")),
        ("cuda:1, cuda:2", ("cuda:1", "cuda:2")),
        ("cuda:all", ("cuda:0", "cuda:1", "cuda:2")),
    ],
)
def test_devices_are_those_that_were_asked_for(
    gpus: Callable[[int], None], device: str, resolved: tuple[str, ...]
) -> None:
    gpus(3)
    assert resolve_devices(device) == resolved


@pytest.mark.parametrize(
    ("device", "count", "why"),
    [
        ("cuda:0,cuda:3", 3, "'cuda:3' is not there: torch sees 3 CUDA devices"),
        ("cuda:0,cuda:1", 0, "'cuda:0' is not there: torch sees 0"),
        ("cuda:all", 0, "is not there: torch sees 0"),
        ("cuda:0,cpu", 3, "is a mixture"),
        ("auto,cuda:1", 3, "is a mixture"),
        ("cpu,cpu", 3, "is a mixture"),
        ("cuda:1,cuda:1", 3, "names one GPU twice"),
        ("cuda,cuda:0", 3, "names one GPU twice"),
        ("cuda:0,", 3, "is a mixture"),
        ("cuda:0,cuda:all", 3, "is unknown"),
        ("cuda:many", 3, "is unknown"),
    ],
)
def test_devices_that_are_not_there_or_do_not_go_together_are_refused(
    gpus: Callable[[int], None], device: str, count: int, why: str
) -> None:
    gpus(count)
    with pytest.raises(DeviceError, match=why):
        resolve_devices(device)


@pytest.mark.parametrize(
    ("capability", "kernels", "is_refused"),
    [
        ((9, 0), ["sm_75", "sm_90"], False),
        ((8, 9), ["sm_75", "sm_86"], False),  # machine code runs on later cards of its generation
        ((8, 0), ["sm_75", "sm_86"], True),
        ((12, 0), ["sm_75", "sm_90"], True),
        ((12, 0), ["sm_75", "sm_90", "compute_90"], False),  # which the driver compiles
        ((5, 2), ["sm_75", "sm_90", "compute_90"], True),
        ((10, 3), ["sm_90", "sm_100", "sm_120"], False),
        ((9, 0), [], False),  # torch does not say
    ],
)
def test_a_card_that_torch_has_no_kernels_for_is_named(
    gpus: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capability: tuple[int, int],
    kernels: list[str],
    is_refused: bool,
) -> None:
    gpus(1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: capability)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: kernels)
    reason = r"torch \S+ has no kernels for cuda:0 \(fake\); install a build of torch for it"
    with pytest.raises(DeviceError, match=f"{reason}; or use --device cpu") if is_refused else nullcontext():
        assert resolve_devices("cuda") == ("cuda:0",)
    assert resolve_devices("auto") == ("cpu" if is_refused else "cuda:0",)
    assert [bool(re.search(f"the CPU is used: {reason}", line)) for line in caplog.messages] == [True] * is_refused


@pytest.mark.parametrize("variable", ["NVIDIA_TF32_OVERRIDE", "PYTORCH_TUNABLEOP_ENABLED"])
def test_variables_that_make_a_gpu_coarse_or_fickle_are_refused(
    gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    gpus(1)
    monkeypatch.setenv(variable, "0")
    assert resolve_devices("cuda") == ("cuda:0",)
    monkeypatch.setenv(variable, "1")
    with pytest.raises(DeviceError, match=f"{variable} is set, .* on a GPU; unset it; or use --device cpu"):
        resolve_devices("cuda")


@pytest.mark.parametrize(
    ("cores", "workers", "device"),
    [(16, None, "cpu"), (16, 16, "cpu"), (16, 15, "cuda:0"), (16, 0, "cuda:0"), (8, None, "cuda:0"), (8, 20, "cuda:0")],
)
def test_many_cores_are_as_fast_as_a_gpu(
    gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, cores: int, workers: int | None, device: str
) -> None:
    gpus(1)
    monkeypatch.setattr(devices, "usable_cores", lambda: cores)
    assert resolve_devices("auto", workers) == (device,)
    assert resolve_devices("cuda", workers) == ("cuda:0",)


def test_gpus_of_several_kinds_are_not_mixed(gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card of {device}")
    with pytest.raises(
        DeviceError, match=r"several kinds of GPU \(card of cuda:0, .*; card of cuda:1, .*\): they round"
    ):
        resolve_devices("cuda:all")
    assert resolve_devices("cuda:1") == ("cuda:1",)


@pytest.mark.parametrize(
    ("error", "device", "raised", "reason"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            "cuda:1",
            DeviceError,
            "cuda:1 has too little free memory",
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "cuda:0", DeviceError, "use fewer --workers"),
        (torch.AcceleratorError("CUDA error: out of memory"), "cuda:0", DeviceError, "too little free memory"),
        (
            torch.AcceleratorError("CUDA error: unspecified\nmore"),
            "cuda:0",
            DeviceLostError,
            r"unspecified\); the proc",
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"), "cuda:0", DeviceLostError, "EXECUTION_FAILED"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED"), "cuda:0", DeviceError, "too little free memory"),
        (RuntimeError("CUDA unknown error - this may be"), "cuda:0", DeviceLostError, "unknown error"),
        (RuntimeError("No CUDA GPUs are available"), "cuda:0", DeviceError, "cannot be used in this process"),
        (RuntimeError("size mismatch"), "cuda:0", RuntimeError, "size mismatch"),
        (torch.OutOfMemoryError("out of memory"), "cpu", torch.OutOfMemoryError, "out of memory"),
    ],
)
def test_what_torch_says_of_a_gpu_is_one_line(
    error: RuntimeError, device: str, raised: type[Exception], reason: str
) -> None:
    with pytest.raises(raised, match=reason) as caught, explained(device):
        raise error
    assert type(caught.value) is raised
    assert "\n" not in str(caught.value)


def test_dask_leaves_no_choice_of_devices(gpus: Callable[[int], None], support_dir: Path, tmp_path: Path) -> None:
    gpus(2)
    with pytest.raises(BuildError, match="one device each"):
        build(tmp_path, tmp_path / "s.h5", support_dir=support_dir, device="cuda:all", dask="local")


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() == 0, reason="no CUDA device")
def test_any_gpus_give_the_same_bytes(
    support_dir: Path, amass_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "TASK_BYTES", 300 * tasks.FRAME_BYTES)
    for device in ("cuda:0", "cuda:all"):
        build(amass_dir, tmp_path / f"{device}.h5", support_dir=support_dir, device=device, workers=2)
    assert (tmp_path / "cuda:0.h5").read_bytes() == (tmp_path / "cuda:all.h5").read_bytes()
