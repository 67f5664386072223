"""Runs on a GPU: the host gathers frames, and all else is one copy there, one launch and one copy back.

All bones count as moving: to find out which do not would take the host longer than the GPU takes to compute them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from h36m_amass.engine.graphs import Replayed
from h36m_amass.engine.rotations import Step
from h36m_amass.engine.run import Arriving, Body, Positions, Run, gather
from h36m_amass.engine.shipment import Forms, Shipment, length_of
from h36m_amass.engine.skinning import padded_size

MOST_OUTPUTS = 2**62  # no limit


@torch.inference_mode()
def begin(body: Body, run: Run) -> Arriving:
    """Start a run and return before it is done. What the host has written is left alone until the result is there."""
    between, number = run.between, len(run.between.first)
    program = _program(body, len(run.rows), number, run.dmpls is not None)
    idle = body.skinner.workspace.idle
    shipment = idle.pop() if idle else Shipment(body.skinner.device)
    host = shipment.lay_out(program.inputs)
    for name, array in (("first", between.first), ("second", between.second)):
        host[name][:number], host[name][number:] = array, 0
    host["weight"][:number] = host["float_weight"][:number] = between.weight
    host["constants"][:, 0] = body.shape_terms
    rows = {"trans": run.trans, "poses": run.poses} | ({} if run.dmpls is None else {"dmpls": run.dmpls})
    for name, values in rows.items():
        gather(values, run.rows, host[name][: len(run.rows)])
    shipment.send(program.there, program.inputs, len(run.rows))
    program.run()
    shipment.fetch(program.result, program.outputs, number)
    return partial(_wait, shipment, program.outputs, number, idle)


def _wait(shipment: Shipment, outputs: Forms, number: int, idle: list[Shipment]) -> Positions:
    arrived = shipment.wait(outputs)
    idle.append(shipment)
    return tuple(positions.reshape(len(positions), -1, 3)[:number] for positions in arrived.values())


class Program:
    """What a GPU does for a run of at most so many needed frames and output frames: steps on memory that stays.

    A run is written to `inputs`, which lie in `there`, and gives `outputs` in `result`. Each step rounds as NumPy's
    does on a CPU (`Neighbours.interpolate`, `run.add_translation`). All programs use the same memory in turn.
    """

    def __init__(self, body: Body, num_frames: int, num_outputs: int, has_dmpls: bool) -> None:
        skinner = body.skinner
        self._body, self._has_dmpls = body, has_dmpls
        self._batch = skinner.batch(num_frames, frozenset(range(len(skinner.layout.classes))), has_dmpls)
        frames, columns = self._batch.poses.shape[1], 3 * skinner.folded.num_joints
        self.inputs: Forms = {
            "first": ((num_outputs,), torch.int64),
            "second": ((num_outputs,), torch.int64),
            "weight": ((num_outputs,), torch.float64),
            "float_weight": ((num_outputs,), skinner.dtype),
            "trans": ((frames, 3), torch.float64),
            "constants": ((3 * skinner.layout.num_vectors, 1), skinner.dtype),
            "dmpls": ((frames, skinner.folded.num_dmpls if has_dmpls else 0), skinner.dtype),
            "poses": ((frames, 3 * skinner.folded.num_body_bones), skinner.dtype),
        }
        self.outputs: Forms = {
            str(first): ((num_outputs, 3 * (stop - first)), skinner.dtype) for first, stop in body.sets()
        }
        between: Forms = {
            "joints": ((num_outputs, columns), skinner.dtype),
            "joints_before": ((num_outputs, columns), skinner.dtype),
            "trans": ((num_outputs, 3), torch.float64),
            "trans_before": ((num_outputs, 3), torch.float64),
            "shares": ((num_outputs, columns), torch.float64),
        }
        self.there = skinner.workspace.memory("inputs", length_of(self.inputs), skinner.device)
        self.result = skinner.workspace.memory("outputs", length_of(self.outputs), skinner.device)
        scratch = skinner.workspace.memory("between", length_of(between), skinner.device)
        run, values = self.there.views(self.inputs), scratch.views(between)
        steps = [
            *self._pose(run),
            *_interpolated(self._batch.joints.t(), run, "float_weight", values["joints"], values["joints_before"]),
            *_interpolated(run["trans"], run, "weight", values["trans"], values["trans_before"]),
            *self._place(values),
        ]
        self.run = Replayed(steps, skinner.device)

    def _pose(self, run: dict[str, Tensor]) -> Iterator[Step]:
        batch, constants = self._batch, run["constants"]
        yield partial(torch.mul, constants, 1.0, out=self._body.skinner.constants.narrow(0, 0, len(constants)))
        for span in batch.spans:
            first, height = 3 * span.bones[0], 3 * span.bones[1]
            rows = run["poses"].narrow(1, span.column, height)
            yield partial(torch.t_copy, rows, out=batch.poses.narrow(0, first, height))
        if self._has_dmpls:
            yield partial(torch.t_copy, run["dmpls"], out=batch.dmpls)
        yield from batch.steps

    def _place(self, values: dict[str, Tensor]) -> Iterator[Step]:
        trans, shares, row_sums = values["trans"], values["shares"], self._body.skinner.row_sums
        products = shares.view(len(shares), -1, 3)
        yield partial(torch.mul, trans.unsqueeze(1), row_sums.view(1, -1, 1), out=products)
        worlds = self.result.views(self.outputs).values()
        for (first, stop), world in zip(self._body.sets(), worlds, strict=True):
            extent = 3 * first, 3 * (stop - first)
            yield partial(torch.add, values["joints"].narrow(1, *extent), shares.narrow(1, *extent), out=world)


def _interpolated(values: Tensor, run: dict[str, Tensor], weight: str, out: Tensor, before: Tensor) -> Iterator[Step]:
    """Rows of output frames between those of needed frames."""
    yield partial(torch.index_select, values, 0, run["first"], out=before)
    yield partial(torch.index_select, values, 0, run["second"], out=out)
    yield partial(out.sub_, before)
    yield partial(out.mul_, run[weight].unsqueeze(1))
    yield partial(out.add_, before)


def _program(body: Body, num_frames: int, num_outputs: int, has_dmpls: bool) -> Program:
    skinner = body.skinner
    frames = padded_size(num_frames, skinner.tile_size, True)
    sizes = frames, max(frames, padded_size(num_outputs, MOST_OUTPUTS, True))  # few pairs: there are fewer outputs
    key = *sizes, has_dmpls, body.joint_counts
    if key not in skinner.programs:
        skinner.programs[key] = Program(body, *sizes, has_dmpls)
    return skinner.programs[key]
