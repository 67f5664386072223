"""Steps of a run as a CUDA graph: one launch in place of about a hundred, which take longer than what they do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from h36m_amass.engine.rotations import Step


class Replayed:
    """Steps that run one by one the first time; the second time they are recorded, and from then on replayed.

    Recording needs what the first run does: it loads kernels and sets up libraries. A graph launches the same kernels
    on the same memory, and gives the same bytes.
    """

    def __init__(self, steps: Sequence[Step], device: torch.device) -> None:
        self._steps, self._device = steps, device  # the steps also keep their memory alive
        self._has_run = False
        self._graph: Any = None

    def __call__(self) -> None:
        if self._has_run and self._graph is None and self._device.type == "cuda":
            self._graph = _record(self._steps, self._device)
        if self._graph is None:
            self._has_run = True
            for step in self._steps:
                step()
        else:
            self._graph.replay()


def _record(steps: Sequence[Step], device: torch.device) -> Any:
    graph = torch.cuda.CUDAGraph()
    capture = torch.cuda.graph(graph, stream=_stream(device), capture_error_mode="thread_local")
    try:
        with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream(device)), capture:
            for step in steps:
                step()
    except RuntimeError as error:  # of the end of the recording, which hides what ended it
        raise error.__context__ or error from None
    return graph


@cache
def _stream(device: torch.device) -> Any:
    """A device's stream for recording, with the workspace for products of matrices that each stream has.

    It is taken with a first product, because none can be taken while a graph is recorded where torch keeps no memory.
    """
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch does not type it
    with torch.cuda.stream(stream):
        one = torch.ones((1, 1), device=device)
        torch.mm(one, one)
    return stream
