"""Draw the figures of docs/joint-orders.md: each joint order and skeleton, on the made-up body, with index and name.

Run by ``make figures``. The body is the demo's, standing; its joints are computed by builds, as any user's are.
"""

from __future__ import annotations

import io
import pickle
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from h36m_amass import Store, build, export_motionbert, synthetic
from h36m_amass.plot.picture import colours_of
from h36m_amass.skeleton import BODY_JOINTS, H36M, Skeleton, joint_order, reorder, side

IMAGES = Path(__file__).resolve().parents[1] / "images"
GENDER, SECONDS, FRAME = "female", 0.5, 0
ORDERS = {
    "regressor": "regressor: as a store of SPIN's regressor has it",
    "h36m": "h36m: VideoPose3D, MotionBERT",
    "uplift-upsample": "uplift-upsample: uplift-upsample-3dhpe",
}
TITLES = {"smplh": "SMPL+H: 52 joints", "smplx": "SMPL-X: 55 joints", "smpl": "SMPL: 24 joints"}

REACH, HAND_REACH = 0.22, 0.035
"""Metres from a body or a hand to the names beside it."""
ROOM = 2.9
"""Metres from a body to the edge of the picture: what the longest name needs."""

Flat = Float[np.ndarray, "joints 2"]


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        support, amass = Path(folder) / "support_data", Path(folder) / "amass"
        synthetic.write_support_data(support, [GENDER])
        synthetic.write_smplx_support(support, [GENDER])
        synthetic.write_smpl_support(support, [GENDER])
        standing = synthetic.motion("turn", SECONDS, 120, gender=GENDER, betas=np.zeros(16))
        recordings = {
            "smplh": standing,
            "smplx": synthetic.as_smplx(standing),
            "smpl": synthetic.as_smpl(standing),
        }
        for family, recording in recordings.items():
            synthetic.write_recording(amass / family / "s1" / "turn_poses.npz", recording)

        store = Path(folder) / "h36m.h5"
        build(amass, store, support_dir=support, datasets=["smplh"])
        with Store(store) as opened:
            pose, skeleton = opened.sequences[0].positions_3d[FRAME], opened.skeleton
        for order, title in ORDERS.items():
            indices = joint_order(order, skeleton)
            draw_body(front(pose[list(indices)]), reorder(skeleton, indices), title, f"order-{order}")
        draw_motionbert(store, Path(folder) / "clips")

        for family in BODY_JOINTS:
            store = Path(folder) / f"{family}.h5"
            build(amass, store, support_dir=support, datasets=[family], joint_regressor="skeleton")
            with Store(store) as opened:
                pose, skeleton = opened.sequences[0].positions_3d[FRAME], opened.skeleton
            if family == "smpl":
                draw_body(front(pose), skeleton, TITLES[family], f"skeleton-{family}")
            else:
                draw_body_and_hands(pose, skeleton, TITLES[family], f"skeleton-{family}")


def draw_motionbert(store: Path, folder: Path) -> None:
    """A clip's first frame as its camera sees it, from the front: x to the right, y down."""
    made = export_motionbert(store, folder, clip_length=1, stride=1, frame_rate=50)
    clip = pickle.loads((made.folder / "00000000.pkl").read_bytes())["data_label"][FRAME]  # noqa: S301 # just written
    skeleton = reorder(H36M, joint_order("h36m", H36M))
    figure, axes = new_figure("MotionBERT's clips: the order h36m, in a camera's axes")
    flat = clip[:, :2] - [clip[0, 0], 0]
    draw_bones(axes, flat, skeleton, range(len(skeleton)))
    label(axes, flat, skeleton, *sides(flat, skeleton, range(len(skeleton))), upwards=-1, reach=0.298 * REACH)
    axes.invert_yaxis()
    axes.set_xlabel("x to the right (0.298 a metre)")
    axes.set_ylabel("y down (0.298 a metre)")
    save(figure, "order-motionbert")


def front(pose: Float[np.ndarray, "joints 3"]) -> Flat:
    """The made-up person stands facing -y, so that seen from the front the left is on the right."""
    return np.stack([pose[:, 0] - pose[:, 0].mean(), pose[:, 2]], axis=1)


def new_figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, 7), layout="constrained")
    figure.suptitle(title)
    return figure, figure.subplots()


def draw_body(flat: Flat, skeleton: Skeleton, title: str, name: str) -> None:
    figure, axes = new_figure(title)
    joints = range(len(skeleton))
    draw_bones(axes, flat, skeleton, joints)
    label(axes, flat, skeleton, *sides(flat, skeleton, joints))
    axes.set_ylabel("z (m)")
    axes.set_xlabel("seen from the front (m)")
    save(figure, name)


def draw_body_and_hands(pose: Float[np.ndarray, "joints 3"], skeleton: Skeleton, title: str, name: str) -> None:
    """The body without its fingers, and beside it each hand, enlarged."""
    fingers = [joint for joint, name in enumerate(skeleton.joint_names) if name[-1] in "123" and "spine" not in name]
    body = [joint for joint in range(len(skeleton)) if joint not in fingers]
    figure = Figure(figsize=(13, 7), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplot_mosaic([["body", "right"], ["body", "left"]], width_ratios=(1.15, 1))
    flat = front(pose)
    draw_bones(panels["body"], flat, skeleton, body)
    label(panels["body"], flat, skeleton, *sides(flat, skeleton, body))
    panels["body"].set_ylabel("z (m)")
    panels["body"].set_xlabel("seen from the front (m)")
    for name_of_side in ("right", "left"):
        axes = panels[name_of_side]
        wrist = skeleton.joint_names.index(f"{name_of_side}_wrist")
        hand = [wrist, *(joint for joint in fingers if side(skeleton, joint) == name_of_side)]
        flat = unfolded(pose, hand)
        draw_bones(axes, flat, skeleton, hand)
        ranked = sorted(hand, key=lambda joint: flat[joint, 0])
        label(axes, flat, skeleton, ranked[: len(hand) // 2], ranked[len(hand) // 2 :], reach=HAND_REACH)
        axes.set_xlabel(f"the {name_of_side} hand in its plane (m)")
    save(figure, name)


def unfolded(pose: Float[np.ndarray, "joints 3"], hand: Sequence[int]) -> Flat:
    """Coordinates in the plane that a hand lies nearest to, its fingers pointing up."""
    centred = pose - pose[list(hand)].mean(axis=0)
    along, across, _ = np.linalg.svd(centred[list(hand)])[2]
    along = along * -np.sign(centred[hand[0]] @ along)
    return np.stack([centred @ across, centred @ along], axis=1)


def sides(flat: Flat, skeleton: Skeleton, joints: Sequence[int]) -> tuple[list[int], list[int]]:
    """Which joints are named on the left of the picture and on the right; those in the middle take turns."""
    columns: tuple[list[int], list[int]] = ([], [])
    left_is_right = bool(np.mean(flat[list(skeleton.left), 0]) > np.mean(flat[list(skeleton.right), 0]))
    turn = 0
    for joint in sorted(joints, key=lambda joint: flat[joint, 1]):
        if side(skeleton, joint) == "middle":
            columns[turn % 2].append(joint)
            turn += 1
        else:
            columns[(side(skeleton, joint) == "left") == left_is_right].append(joint)
    return columns


def draw_bones(axes: Axes, flat: Flat, skeleton: Skeleton, joints: Sequence[int]) -> None:
    colours, shown = colours_of(skeleton) / 255, list(joints)
    for joint in joints:
        parent = skeleton.parents[joint]
        if parent in joints:
            axes.plot(*flat[[parent, joint]].T, color=colours[joint], linewidth=2.2, solid_capstyle="round")
    axes.scatter(flat[shown, 0], flat[shown, 1], s=22, c=colours[shown], zorder=3)
    axes.set_aspect("equal")


def label(
    axes: Axes,
    flat: Flat,
    skeleton: Skeleton,
    on_left: Sequence[int],
    on_right: Sequence[int],
    upwards: int = 1,
    reach: float = REACH,
) -> None:
    """Write index and name of each joint in a column beside the body, in the order of their heights."""
    shown, colours = flat[[*on_left, *on_right]], colours_of(skeleton) / 255
    low, high = shown[:, 1].min(), shown[:, 1].max()
    for joints, edge, align, outwards in (
        (on_left, shown[:, 0].min(), "right", -1),
        (on_right, shown[:, 0].max(), "left", 1),
    ):
        ranked = sorted(joints, key=lambda joint: (upwards * flat[joint, 1], outwards * flat[joint, 0]))
        heights = np.linspace(low, high, len(ranked))[::upwards]
        for joint, height in zip(ranked, heights, strict=True):
            axes.annotate(
                f"{joint}  {skeleton.joint_names[joint]}",
                xy=flat[joint],
                xytext=(edge + outwards * reach, height),
                color=tuple(colours[joint].tolist()),
                ha=align,
                va="center",
                fontsize=9,
                bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
                arrowprops={
                    "arrowstyle": "-",
                    "color": "0.75",
                    "linewidth": 0.8,
                    "relpos": (align == "right", 0.5),  # the end of the name that looks to the body
                    "shrinkA": 0,
                    "shrinkB": 3,
                },
            )
    margin = 0.05 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlim(shown[:, 0].min() - ROOM * reach, shown[:, 0].max() + ROOM * reach)


def save(figure: Figure, name: str) -> None:
    path = IMAGES / f"{name}.png"
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=90)
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)  # a third of the bytes
    sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
