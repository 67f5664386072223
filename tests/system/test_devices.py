"""Which devices a build takes; workers take them in turn, see tests/conversion. Most of it needs no GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from h36m_amass.conversion import tasks
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.options import BuildError
from h36m_amass.system import devices
from h36m_amass.system.devices import DeviceError, resolve_devices


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
