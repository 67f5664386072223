"""Runs on a GPU under NVIDIA's compute-sanitizer: ``python -m tests.sanitized``, part of ``make gpu``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from h36m_amass import synthetic
from h36m_amass.body import folding, regressor
from h36m_amass.body import model as body_model
from h36m_amass.engine.posing import pose_joints

TOOLS = "memcheck", "initcheck"


def pose() -> None:
    """A few runs, with and without soft tissue: one by one, then as graphs."""
    with tempfile.TemporaryDirectory() as folder:
        support_dir = Path(folder)
        synthetic.write_support_data(support_dir, genders=("male",))
        body = body_model.load(support_dir, "male", num_dmpls=8)
        folded = folding.fold(body, regressor.load(support_dir / "J_regressor_h36m.npy"))
    motion = synthetic.motion("walk", 1.6, 120, gender="male", fingers="moving", seed=1)
    for dmpls in (motion["dmpls"], None):
        pose_joints(folded, motion["betas"], motion["poses"], motion["trans"], dmpls, batch_size=64, device="cuda")


def main() -> None:
    checker = shutil.which("compute-sanitizer")
    if checker is None or torch.cuda.device_count() == 0:
        print("there is no CUDA device here, or no compute-sanitizer; nothing was checked")
        return
    for tool in TOOLS:
        line = [checker, "--tool", tool, "--error-exitcode", "9", sys.executable, "-m", "tests.sanitized", "pose"]
        # Torch's own memory would hide reads beyond an array, and those of what was not written.
        subprocess.run(line, check=True, env={**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"})


if __name__ == "__main__":
    if sys.argv[1:] == ["pose"]:
        pose()
    else:
        main()
