"""A recording, run by run, from its frames to joints at the target frame rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from jaxtyping import Float

from h36m_amass.engine import on_cpu, on_gpu
from h36m_amass.engine.run import Body, PendingPositions, Positions, Run
from h36m_amass.engine.skinning import Skinner


def pose_runs(
    skinner: Skinner, betas: Float[np.ndarray, "betas"], runs: Iterable[Run], joint_counts: tuple[int, ...]
) -> Iterator[Positions]:
    """Positions of each run of one recording, in their order.

    They depend on the recording and the skinner's batch size alone. The skinner has the joints of each joint set,
    `joint_counts`, one set behind the other; betas are as many as the body model has. The first run is begun at once,
    and each other before the result of the one before is waited for: a GPU computes meanwhile.
    """
    body = Body(skinner, skinner.shape_terms(betas), joint_counts)
    begin = on_cpu.begin if skinner.device.type == "cpu" else on_gpu.begin
    begun = (begin(body, run) for run in runs)
    pending = deque(islice(begun, 1))
    return _results(pending, begun)


def _results(pending: deque[PendingPositions], begun: Iterator[PendingPositions]) -> Iterator[Positions]:
    for positions in begun:
        pending.append(positions)
        yield pending.popleft()()
    for positions in pending:
        yield positions()
