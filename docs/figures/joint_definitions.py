"""Draw ``docs/images/joint-definitions.png``: one pose of the demo under two definitions of its 17 joints.

Run by ``make figures``, after the demo. The second definition is made up, as the person is.
"""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from h36m_amass import Store
from h36m_amass.plot.picture import draw_person, legend_handles, seen
from h36m_amass.skeleton import joint_order
from h36m_amass.synthetic import as_motion_capture

ROOT = Path(__file__).resolve().parents[2]
KEY, FRAME = "Pretend/s1/walk_poses", 100


def main() -> None:
    store = Store(ROOT / "demo" / "amass_h36m.h5")
    skeleton = store.skeleton_in("h36m")
    pose = store[KEY].positions_3d[FRAME][list(joint_order("h36m", store.skeleton))]
    views = [seen(joints, skeleton, 0.0) for joints in (pose, as_motion_capture(pose))]
    figure = Figure(figsize=(8, 4.8), layout="compressed")
    titles = "regressed", "another definition", "both: the other in circles"
    for number, (axes, title) in enumerate(zip(figure.subplots(1, 3, sharey=True), titles, strict=True)):
        draw_person(axes, *views[number % 2], skeleton)
        if number == 2:
            axes.scatter(*views[1][0].T, s=30, facecolors="none", edgecolors="black", linewidths=1.1, zorder=9)
        axes.set(aspect="equal", title=title, xlabel="metres", xlim=(-0.55, 0.55))
    figure.legend(handles=legend_handles(), loc="outside lower center", ncols=3, frameon=False)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110)
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(64).save(ROOT / "docs" / "images" / "joint-definitions.png", optimize=True)


if __name__ == "__main__":
    main()
