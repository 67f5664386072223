"""Settings of the process while the engine computes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import torch
from threadpoolctl import threadpool_info, threadpool_limits

from h36m_amass.engine.precision import reproducible


def test_precision_and_threads_are_put_aside_and_back() -> None:
    products = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before, threads = [product.fp32_precision for product in products], torch.get_num_threads()
    try:
        products[0].fp32_precision, products[1].fp32_precision = "tf32", "bf16"
        torch.set_num_threads(3)
        with reproducible():
            assert [product.fp32_precision for product in products] == ["ieee", "ieee"]
            assert torch.get_num_threads() == 1
        assert [product.fp32_precision for product in products] == ["tf32", "bf16"]
        assert torch.get_num_threads() == 3
    finally:
        products[0].fp32_precision, products[1].fp32_precision = before
        torch.set_num_threads(threads)


def test_numpys_products_too_have_one_thread_and_then_as_many_as_before() -> None:
    def num_threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(limits=3, user_api="blas"):
        with reproducible():
            assert num_threads() == {1}
        assert num_threads() == {3}


def test_threads_that_compute_at_once_leave_the_precision_as_it_was() -> None:
    def compute(delay: float) -> None:
        time.sleep(delay)
        with reproducible():
            time.sleep(0.2)
            assert product.fp32_precision == "ieee"

    product = torch.backends.mkldnn.matmul
    before = product.fp32_precision
    try:
        product.fp32_precision = "bf16"
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(compute, (0.0, 0.1)))  # the second begins while the first is at it, and ends later
        assert product.fp32_precision == "bf16"
    finally:
        product.fp32_precision = before
