"""What the folded matrices' products cost, and what the machine could do at most."""

from __future__ import annotations

from collections.abc import Callable

import torch

from h36m_amass.body.folding import FoldedRegressor

FIRST_FINGER = 22
PRODUCT_SIZE = 2048
PRODUCT_FLOPS = 2 * PRODUCT_SIZE**3


def multiply_adds(folded: FoldedRegressor, fingers_move: bool) -> int:
    """Multiplications of the products that every frame needs; elementwise work is not counted.

    Correctives of a bone that no vertex of a pair follows are zero and not counted; those of still fingers are a
    constant of the recording.
    """
    needed = (folded.pair_pose != 0).any(axis=(1, 3))
    if not fingers_move:
        needed = needed[:, folded.pose_bones < FIRST_FINGER]
    correctives = 27 * int(needed.sum())
    chain = 36 * (len(folded.bones) - 1)
    sums = 3 * folded.num_joints * (folded.num_pairs + len(folded.bones))
    return correctives + chain + 9 * folded.num_pairs + sums


def product(threads: int) -> Callable[[], object]:
    """A large float32 product of `PRODUCT_FLOPS` operations on `threads` threads, to be timed."""
    matrix = torch.randn(PRODUCT_SIZE, PRODUCT_SIZE)
    out = torch.empty_like(matrix)
    return on_threads(threads, lambda: torch.mm(matrix, matrix, out=out))


def on_threads(threads: int, call: Callable[[], object]) -> Callable[[], object]:
    """`call` with that many torch threads."""

    def run() -> object:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return call()
        finally:
            torch.set_num_threads(before)

    return run
