"""Torch's and NumPy's settings, so that the same input gives the same bytes in every process."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import RLock
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

_settings = RLock()


@contextmanager
def reproducible() -> Iterator[None]:
    """Matrix products in true float32 and on one CPU thread, whatever the caller's process has set.

    TF32 and bfloat16 are too coarse, and the number of threads changes the order of sums: the same input would
    not give the same bytes with another number of workers. NumPy's threads, too, would wait for work on the cores
    of other workers. Matrix products on CUDA refuse to run where torch is to be deterministic, unless a variable is
    set in the environment; they are deterministic on one stream. The settings are the process's, so threads take turns.
    """
    backends: Any = torch.backends
    with (
        _settings,
        _numpy_blas().limit(limits=1),
        _precision("ieee", backends.cuda.matmul, backends.cudnn, backends),
        _precision("ieee", backends.mkldnn.matmul, backends.mkldnn, backends),
    ):
        threads, debug_mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
        torch.set_num_threads(1)
        torch.set_deterministic_debug_mode("default")
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(debug_mode)


@contextmanager
def _precision(value: str, setting: Any, *above: Any) -> Iterator[None]:
    """A precision for the time being, where one that is not set follows the setting `above` it.

    Torch tells what holds, and not whether it is set: that shows when the one above is another.
    """
    holds, follows = setting.fp32_precision, False
    if above:
        other = "tf32" if holds != "tf32" else "ieee"
        with _precision(other, *above):
            follows = setting.fp32_precision == other
    setting.fp32_precision = value
    try:
        yield
    finally:
        setting.fp32_precision = "none" if follows else holds


def keep_to_one_thread() -> None:
    """Have NumPy compute on one thread for good: others would start, and wait for work, between any two recordings."""
    _numpy_blas().limit(limits=1)


@lru_cache(maxsize=1)
def _numpy_blas() -> ThreadpoolController:
    """The threads of NumPy's matrix products; looking for them takes some milliseconds."""
    return ThreadpoolController().select(user_api="blas")
