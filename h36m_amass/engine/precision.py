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
    of other workers. The settings are the process's, so threads take turns.
    """
    products: tuple[Any, ...] = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    with _settings, _numpy_blas().limit(limits=1):
        before, threads = [product.fp32_precision for product in products], torch.get_num_threads()
        for product in products:
            product.fp32_precision = "ieee"
        torch.set_num_threads(1)
        try:
            yield
        finally:
            for product, precision in zip(products, before, strict=True):
                product.fp32_precision = precision
            torch.set_num_threads(threads)


def keep_to_one_thread() -> None:
    """Have NumPy compute on one thread for good: others would start, and wait for work, between any two recordings."""
    _numpy_blas().limit(limits=1)


@lru_cache(maxsize=1)
def _numpy_blas() -> ThreadpoolController:
    """The threads of NumPy's matrix products; looking for them takes some milliseconds."""
    return ThreadpoolController().select(user_api="blas")
