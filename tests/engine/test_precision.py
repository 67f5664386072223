"""Settings of the process while the engine computes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
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


SETTINGS = [
    ("generic", "all"),
    *((backend, what) for backend in ("cuda", "mkldnn") for what in ("all", "matmul", "conv")),
]
PRECISIONS = st.sampled_from(["none", "ieee", "tf32"])


def held() -> list[str]:
    return [torch._C._get_fp32_precision_getter(*setting) for setting in SETTINGS]


def put(precisions: Iterable[str]) -> None:
    for setting, precision in zip(SETTINGS, precisions, strict=True):
        torch._C._set_fp32_precision_setter(*setting, precision)


def held_when_the_highest_is(precision: str) -> list[str]:
    before = held()[0]
    torch._C._set_fp32_precision_setter(*SETTINGS[0], precision)
    precisions = held()
    torch._C._set_fp32_precision_setter(*SETTINGS[0], before)
    return precisions


@given(st.lists(PRECISIONS, min_size=len(SETTINGS), max_size=len(SETTINGS)))
def test_precisions_come_back_as_they_were_set_or_followed_each_other(precisions: list[str]) -> None:
    try:
        put(precisions)
        before = held(), held_when_the_highest_is("tf32"), held_when_the_highest_is("ieee")
        with reproducible():
            assert {held()[SETTINGS.index((backend, "matmul"))] for backend in ("cuda", "mkldnn")} == {"ieee"}
        assert (held(), held_when_the_highest_is("tf32"), held_when_the_highest_is("ieee")) == before
    finally:
        put(["none"] * len(SETTINGS))


@pytest.mark.parametrize("warn_only", [True, False])
def test_deterministic_algorithms_are_put_aside_and_back(warn_only: bool) -> None:
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    try:
        with reproducible():
            assert not torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled() == warn_only
    finally:
        torch.use_deterministic_algorithms(False)


def test_numpys_products_too_have_one_thread_and_then_as_many_as_before() -> None:
    def num_threads() -> set[int]:
        pools = (pool for pool in threadpool_info() if pool["user_api"] == "blas")
        return {pool["num_threads"] for pool in pools if pool["threading_layer"] != "disabled"}  # as OpenCV's may be

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
