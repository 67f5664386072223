"""The known script's method, as AMASS-to-3DHPE has it: pose every vertex of every frame, then regress 17 joints.

Its ways of reading, batching and saving are kept; its mistakes are not, nor are what it loads anew for every
recording and its second and third reading of each array.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import smplx.lbs
import torch
from torch import Tensor
from trees import Recording

from h36m_amass.body import model as body_model
from h36m_amass.body.model import BodyModel

DEFAULT_BATCH_SIZE = 2048
FRAME_RATE = 50
NUM_BETAS, NUM_DMPLS = 16, 8

Datasets = dict[str, dict[str, dict[str, dict[str, Any]]]]
"""By dataset, subject and sequence: ``{"positions_3d": (frames, joints, 3), "frame_rate": float}``."""


@dataclass(frozen=True)
class MeshScript:
    """Body models by gender and a dense regressor, as float32 tensors."""

    models: Mapping[str, Mapping[str, Tensor]]
    regressor: Tensor

    @staticmethod
    def load(support_dir: Path, regressor: np.ndarray, genders: Iterable[str]) -> MeshScript:
        models = {gender: lbs_tensors(body_model.load(support_dir, gender)) for gender in genders}
        return MeshScript(models, torch.as_tensor(regressor, dtype=torch.float32))

    def convert(self, amass_dir: Path, recordings: Iterable[Recording], out_dir: Path, batch_size: int) -> Datasets:
        """Convert `recordings` and write one npz with a pickled dictionary per dataset."""
        datasets: Datasets = {}
        for recording in recordings:
            dataset, subject, name = recording.path.removesuffix(".npz").split("/")
            positions, rate = self.positions(amass_dir / recording.path, batch_size)
            sequence = {"positions_3d": resampled(positions, rate), "frame_rate": float(FRAME_RATE)}
            datasets.setdefault(dataset, {}).setdefault(subject, {})[name] = sequence
        for dataset, subjects in datasets.items():
            pickled: Any = subjects
            np.savez_compressed(out_dir / f"{dataset}.npz", positions_3d=pickled)
        return datasets

    def positions(self, path: Path, batch_size: int) -> tuple[np.ndarray, float]:
        """Joints of every frame of a recording, in metres, and its frame rate."""
        with np.load(path) as npz:
            recording = {name: npz[name] for name in npz.files}
        model = self.models[str(recording["gender"])]
        poses, trans = (torch.as_tensor(recording[name], dtype=torch.float32) for name in ("poses", "trans"))
        soft_tissue = torch.as_tensor(recording.get("dmpls", np.zeros((len(poses), NUM_DMPLS))), dtype=torch.float32)
        betas = torch.as_tensor(recording["betas"][:NUM_BETAS], dtype=torch.float32)
        positions = np.empty((len(poses), len(self.regressor), 3), np.float32)
        with torch.no_grad():
            for start in range(0, len(poses), batch_size):
                frames = slice(start, start + batch_size)
                shape = torch.cat([betas.expand(len(poses[frames]), -1), soft_tissue[frames, :NUM_DMPLS]], dim=1)
                vertices, _ = smplx.lbs.lbs(shape, poses[frames], **model)
                vertices = vertices + trans[frames, None]
                positions[frames] = torch.einsum("bik,ji->bjk", vertices, self.regressor).numpy()
        return positions, float(recording["mocap_framerate"])


def lbs_tensors(body: BodyModel) -> dict[str, Tensor]:
    """What `smplx.lbs.lbs` wants of a body model, soft tissue as more shape directions, in float32."""
    shapedirs = np.concatenate([body.shapedirs, body.dmpldirs], axis=2)
    arrays = {
        "v_template": body.v_template[None],
        "shapedirs": shapedirs,
        "posedirs": body.posedirs.reshape(3 * body.num_vertices, -1).T.copy(),
        "J_regressor": body.J_regressor,
        "lbs_weights": body.weights,
    }
    tensors = {name: torch.as_tensor(array, dtype=torch.float32) for name, array in arrays.items()}
    return {**tensors, "parents": torch.as_tensor(body.parents)}


def resampled(positions: np.ndarray, frame_rate: float) -> np.ndarray:
    """Positions at `FRAME_RATE`, interpolated linearly between their neighbours in time."""
    length = int(len(positions) * FRAME_RATE / frame_rate)
    source_frames = np.arange(length) * frame_rate / FRAME_RATE
    before = np.floor(source_frames).astype(int)
    weight = (source_frames - before)[:, None, None]
    after = np.minimum(before + 1, len(positions) - 1)
    return positions[before] * (1 - weight) + positions[after] * weight
