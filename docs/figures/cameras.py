"""Draw ``docs/images/cameras-s1.png``: one pose of the demo through the four cameras of Human3.6M's subject S1.

Run by ``make figures``, after the demo.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from h36m_amass import Store
from h36m_amass.plot.picture import draw_person, legend_handles
from h36m_amass.training.cameras import human36m

ROOT = Path(__file__).resolve().parents[2]
KEY, FRAME = "Pretend/s1/walk_poses", 100


def main() -> None:
    store, cameras = Store(ROOT / "demo" / "amass_h36m.h5"), human36m(["S1"])
    pose = torch.from_numpy(store[KEY].positions_3d[FRAME]).double()
    # The walk leads away from the origin, around which Human3.6M's people are.
    pose[:, :2] -= pose[0, :2].clone()
    points = cameras.to_camera(pose.expand(len(cameras), -1, -1))
    pixels = cameras.pixels(cameras.project(points)).numpy()
    figure = Figure(figsize=(11, 3.4), layout="compressed")
    for row, axes in enumerate(figure.subplots(1, len(cameras))):
        width, height = cameras.size[row].tolist()
        draw_person(axes, pixels[row], -points[row, :, 2].numpy(), store.skeleton, small=True)
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", title=cameras.names[row])
        axes.set_xticks(np.linspace(0, width, 3))
        axes.set_yticks(np.linspace(0, 1000, 3))
    figure.legend(handles=legend_handles(), loc="outside lower center", ncols=3, frameon=False)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110)
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(64).save(ROOT / "docs" / "images" / "cameras-s1.png", optimize=True)


if __name__ == "__main__":
    main()
