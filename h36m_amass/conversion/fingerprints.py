"""What a work unit's joints depend on, as one digest: equal fingerprints, equal positions.

It covers the content of the recordings, the body models and the regressor, the options that change numbers, and
which sequences the unit is made of, because those share batches. Nothing in it depends on when a file was written
or where it lies, so that a store of copied files has the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from h36m_amass.conversion.planning import BodyKind, Unit
from h36m_amass.version import __version__


@dataclass(frozen=True)
class Ingredients:
    """What all units of a build share.

    Attributes
    ----------
    regressors
        Digests of the joint sets' sources, in order.
    body_sha256
        Of the body model files of each kind, and of the vertex map where one leads to its mesh.
    num_betas, num_dmpls
        How many shape and soft-tissue directions are used, at most.
    batch_size
        Frames a batch: another one rounds differently.
    device
        Where it is computed, for the same reason.
    """

    regressors: tuple[str, ...]
    body_sha256: Mapping[BodyKind, str]
    num_betas: int
    num_dmpls: int
    batch_size: int
    device: str


def unit_fingerprint(unit: Unit, ingredients: Ingredients) -> str:
    """SHA-256 of everything that the positions of `unit` depend on."""
    kinds = sorted({planned.body for planned in unit.sequences})
    content = {
        "software_version": __version__,
        "regressor": ingredients.regressors,
        "bodies": [(kind.model, kind.gender, kind.has_dmpls, ingredients.body_sha256[kind]) for kind in kinds],
        "num_betas": ingredients.num_betas,
        "num_dmpls": ingredients.num_dmpls,
        "batch_size": ingredients.batch_size,
        "device": ingredients.device.partition(":")[0],  # any GPU of a machine will do
        "sequences": [
            (
                planned.file.dataset,
                planned.file.subject,
                planned.file.sequence,
                planned.file.path,
                planned.file.size,
                planned.header.digest,
                str(planned.frame_rate),
            )
            for planned in unit.sequences
        ],
    }
    return _digest(content)


def part_fingerprint(unit: Unit, fingerprint: str) -> str:
    """`fingerprint`, and when the recordings were last changed.

    A part is for this machine and the next minutes: it is better to convert once too often than to miss that a
    file was damaged in place.
    """
    return _digest([fingerprint, [planned.header.layout.modified for planned in unit.sequences]])


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
