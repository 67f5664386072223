"""Runs on a GPU: the host gathers frames, and all else is one upload, one launch and one download.

All bones count as moving: to find out which do not would take the host longer than the GPU takes to compute them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from h36m_amass.engine.graphs import Replayed
from h36m_amass.engine.rotations import Step
from h36m_amass.engine.run import Body, PendingPositions, Positions, Run, gather
from h36m_amass.engine.skinning import Batch, Skinner, padded_size
from h36m_amass.engine.staging import ArraySpecs, Staging, length_of


@torch.inference_mode()
def begin(body: Body, run: Run) -> PendingPositions:
    """Begin a run and return before it is done. What is uploaded is not written again before the result is there."""
    between, number = run.between, len(run.between.first)
    program = _program(body, len(run.rows), number, run.dmpls is not None)
    idle = body.skinner.workspace.idle
    staging = idle.pop() if idle else Staging(body.skinner.device)
    host = staging.arrays(program.inputs)
    for name, array in (("first", between.first), ("second", between.second)):
        host[name][:number], host[name][number:] = array, 0
    host["weight"][:number] = host["float_weight"][:number] = between.weight
    host["constants"][:, 0] = body.shape_terms
    rows = {"trans": run.trans, "poses": run.poses} | ({} if run.dmpls is None else {"dmpls": run.dmpls})
    for name, values in rows.items():
        gather(values, run.rows, host[name][: len(run.rows)])
    staging.upload(program.input_memory, program.inputs, len(run.rows))
    program.run()
    staging.download(program.output_memory, program.outputs, number)
    return partial(_wait, staging, program.outputs, number, idle)


def _wait(staging: Staging, outputs: ArraySpecs, number: int, idle: list[Staging]) -> Positions:
    downloaded = staging.wait(outputs)
    idle.append(staging)
    return tuple(positions.reshape(len(positions), -1, 3)[:number] for positions in downloaded.values())


class Program:
    """What a GPU does for a run of at most so many needed frames and output frames: steps on memory that stays.

    A run is written to `inputs` in the `input_memory`, and gives `outputs` in the `output_memory`. Each step rounds as
    NumPy's does on a CPU (`Neighbours.interpolate`, `run.add_translation`). All programs use the same memory in turn.
    """

    def __init__(self, body: Body, num_frames: int, num_outputs: int, has_dmpls: bool) -> None:
        skinner = body.skinner  # which keeps its programs, and is not kept by them
        batch = skinner.batch(num_frames, frozenset(range(len(skinner.layout.classes))), has_dmpls)
        frames, columns = batch.poses.shape[1], 3 * skinner.folded.num_joints
        self.inputs: ArraySpecs = {
            "first": ((num_outputs,), torch.int64),
            "second": ((num_outputs,), torch.int64),
            "weight": ((num_outputs,), torch.float64),
            "float_weight": ((num_outputs,), skinner.dtype),
            "trans": ((frames, 3), torch.float64),
            "constants": ((3 * skinner.layout.num_vectors, 1), skinner.dtype),
            "dmpls": ((frames, skinner.folded.num_dmpls if has_dmpls else 0), skinner.dtype),
            "poses": ((frames, 3 * skinner.folded.num_body_bones), skinner.dtype),
        }
        self.outputs: ArraySpecs = {
            str(first): ((num_outputs, 3 * (stop - first)), skinner.dtype) for first, stop in body.sets()
        }
        between: ArraySpecs = {
            "joints": ((num_outputs, columns), skinner.dtype),
            "joints_before": ((num_outputs, columns), skinner.dtype),
            "trans": ((num_outputs, 3), torch.float64),
            "trans_before": ((num_outputs, 3), torch.float64),
            "shares": ((num_outputs, columns), torch.float64),
        }
        self.input_memory = skinner.workspace.memory("inputs", length_of(self.inputs), skinner.device)
        self.output_memory = skinner.workspace.memory("outputs", length_of(self.outputs), skinner.device)
        scratch = skinner.workspace.memory("between", length_of(between), skinner.device)
        run, values = self.input_memory.views(self.inputs), scratch.views(between)
        worlds = zip(body.sets(), self.output_memory.views(self.outputs).values(), strict=True)
        steps = [
            *_posed(skinner, batch, run),
            *_interpolated(batch.joints.t(), run, "float_weight", values["joints"], values["joints_before"]),
            *_interpolated(run["trans"], run, "weight", values["trans"], values["trans_before"]),
            *_moved(values, skinner.row_sums, worlds),
        ]
        self.run = Replayed(steps, skinner.device)


def _posed(skinner: Skinner, batch: Batch, run: Mapping[str, Tensor]) -> Iterator[Step]:
    """Joints of the needed frames, from rows that are one frame each."""
    constants = run["constants"]
    yield partial(torch.mul, constants, 1.0, out=skinner.constants.narrow(0, 0, len(constants)))
    for span in batch.spans:
        first, height = 3 * span.bones[0], 3 * span.bones[1]
        rows = run["poses"].narrow(1, span.column, height)
        yield partial(torch.t_copy, rows, out=batch.poses.narrow(0, first, height))
    if run["dmpls"].numel():
        yield partial(torch.t_copy, run["dmpls"], out=batch.dmpls)
    yield from batch.steps


def _interpolated(
    values: Tensor, run: Mapping[str, Tensor], weight: str, out: Tensor, before: Tensor
) -> Iterator[Step]:
    """Rows of output frames between those of needed frames."""
    yield partial(torch.index_select, values, 0, run["first"], out=before)
    yield partial(torch.index_select, values, 0, run["second"], out=out)
    yield partial(out.sub_, before)
    yield partial(out.mul_, run[weight].unsqueeze(1))
    yield partial(out.add_, before)


def _moved(
    values: Mapping[str, Tensor], row_sums: Tensor, worlds: Iterable[tuple[tuple[int, int], Tensor]]
) -> Iterator[Step]:
    """World positions of each joint set: the translation is added in float64, and the sum rounded once."""
    trans, shares = values["trans"], values["shares"]
    products = shares.view(len(shares), -1, 3)
    yield partial(torch.mul, trans.unsqueeze(1), row_sums.view(1, -1, 1), out=products)
    for (first, stop), world in worlds:
        extent = 3 * first, 3 * (stop - first)
        yield partial(torch.add, values["joints"].narrow(1, *extent), shares.narrow(1, *extent), out=world)


def _program(body: Body, num_frames: int, num_outputs: int, has_dmpls: bool) -> Program:
    skinner = body.skinner
    frames = padded_size(num_frames, skinner.tile_size, True)
    outputs = frames  # as there are mostly fewer, which keeps the programs few
    if num_outputs > frames:
        outputs = padded_size(num_outputs, max(num_outputs, skinner.tile_size), True)
    key = frames, outputs, has_dmpls, body.joint_counts
    if key not in skinner.programs:
        skinner.programs[key] = Program(body, frames, outputs, has_dmpls)
    return skinner.programs[key]
