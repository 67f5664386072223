"""Runs on a GPU: the host gathers frames and starts the work, and all else is done there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from h36m_amass.engine.run import Arriving, Body, Positions, Run, gather
from h36m_amass.engine.shipment import Form, Shipment


def begin(body: Body, run: Run) -> Arriving:
    """Start a run and return before it is done. What the host has written is left alone until the result is there."""
    skinner, between = body.skinner, run.between
    moving = skinner.moving_classes(run.poses)
    constants = body.constants(run, moving)
    values = {"trans": run.trans, "poses": run.poses}
    if run.dmpls is not None:
        values["dmpls"] = run.dmpls
    indices = {"first": between.first, "second": between.second, "weight": between.weight}
    shipments = skinner.workspace.idle
    shipment = shipments.pop() if shipments else Shipment(skinner.device)
    shapes = {name: array.shape for name, array in indices.items()} | {"constants": (len(constants), 1)}
    shapes |= {name: (len(run.rows), rows.shape[1]) for name, rows in values.items()}
    host = shipment.lay_out({name: (shape, _TYPES.get(name, skinner.dtype)) for name, shape in shapes.items()})
    for name, array in indices.items():
        host[name][:] = array
    host["constants"][:, 0] = constants
    for name, rows in values.items():
        gather(rows, run.rows, host[name])
    forms: dict[str, Form] = {
        str(first): ((len(between.first), 3 * (stop - first)), skinner.dtype) for first, stop in body.sets()
    }
    there, room = shipment.send(), shipment.room(forms)
    place(body, there, moving, between.is_copy, tuple(room.values()))
    shipment.fetch()
    return partial(_wait, shipment, shipments)


_TYPES = {"first": torch.int64, "second": torch.int64, "weight": torch.float64, "trans": torch.float64}


def _wait(shipment: Shipment, idle: list[Shipment]) -> Positions:
    positions = tuple(array.reshape(len(array), -1, 3) for array in shipment.wait().values())
    idle.append(shipment)
    return positions


@torch.inference_mode()
def place(
    body: Body, run: Mapping[str, Tensor], moving: frozenset[int], is_copy: bool, out: tuple[Tensor, ...]
) -> None:
    """Positions of a run that is on the device, into an array per joint set there.

    Each step rounds as NumPy's does on a CPU (`Neighbours.interpolate`, `run.add_translation`).
    """
    skinner, number = body.skinner, len(run["poses"])
    torch.mul(run["constants"], 1.0, out=skinner.constants.narrow(0, 0, len(run["constants"])))
    batch = skinner.batch(number, moving, "dmpls" in run)
    for span in batch.spans:
        first, height = 3 * span.bones[0], 3 * span.bones[1]
        rows = batch.poses.narrow(0, first, height).narrow(1, 0, number)
        torch.t_copy(run["poses"].narrow(1, span.column, height), out=rows)
    if "dmpls" in run:
        torch.t_copy(run["dmpls"], out=batch.dmpls.narrow(1, 0, number))
    batch.run()
    joints, trans = batch.joints.t(), run["trans"]
    if is_copy:
        joints, trans = joints.index_select(0, run["first"]), trans.index_select(0, run["first"])
    else:
        joints, trans = (_interpolate(values, run["first"], run["second"], run["weight"]) for values in (joints, trans))
    shares = torch.mul(trans.unsqueeze(1), skinner.row_sums.view(1, -1, 1)).view(len(trans), -1)
    for (first, stop), world in zip(body.sets(), out, strict=True):
        extent = 3 * first, 3 * (stop - first)
        torch.add(joints.narrow(1, *extent), shares.narrow(1, *extent), out=world)


def _interpolate(
    values: Float[Tensor, "needed columns"],
    first: Int[Tensor, "outputs"],
    second: Int[Tensor, "outputs"],
    weight: Float[Tensor, "outputs"],
) -> Float[Tensor, "outputs columns"]:
    before, after = values.index_select(0, first), values.index_select(0, second)
    return after.sub_(before).mul_(weight.to(values.dtype).unsqueeze(1)).add_(before)
