"""Torch's and NumPy's settings, so that the same input gives the same bytes in every process."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import RLock

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
    with (
        _settings,
        _numpy_blas().limit(limits=1),
        _precision("ieee", ("cuda", "matmul"), ("cuda", "all"), ("generic", "all")),
        _precision("ieee", ("mkldnn", "matmul"), ("mkldnn", "all"), ("generic", "all")),
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
def _precision(value: str, setting: tuple[str, str], *above: tuple[str, str]) -> Iterator[None]:
    """A precision for the time being of one of torch's settings, which follows the one `above` it if it is not set.

    Torch tells what holds, and not whether it is set: that shows when the one above is another. Its public names will
    not do: those of mkldnn as a whole read that setting, and write the one above (torch 2.9 to 2.13).
    """
    holds, follows = torch._C._get_fp32_precision_getter(*setting), False
    if above:
        with _precision("tf32" if holds != "tf32" else "ieee", *above):
            follows = torch._C._get_fp32_precision_getter(*setting) != holds
    torch._C._set_fp32_precision_setter(*setting, value)
    try:
        yield
    finally:
        torch._C._set_fp32_precision_setter(*setting, "none" if follows else holds)


def keep_to_one_thread() -> None:
    """Have NumPy compute on one thread for good: others would start, and wait for work, between any two recordings."""
    _numpy_blas().limit(limits=1)


@lru_cache(maxsize=1)
def _numpy_blas() -> ThreadpoolController:
    """The threads of NumPy's matrix products; looking for them takes some milliseconds."""
    return ThreadpoolController().select(user_api="blas")
