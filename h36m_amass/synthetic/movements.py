"""The kinds of made-up movement, as joint rotations over time.

Rotations are in the frame of SMPL's rest pose: about x, positive bends a limb backwards (a knee, say) and the
trunk forwards; about z, negative lowers the left arm. The body faces local +z, the world's -y at heading 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from h36m_amass.synthetic.anatomy import PERSON

Series = Float[np.ndarray, " frames"]
SIDES: tuple[tuple[str, int], ...] = (("left", 1), ("right", -1))
_GRAVITY = 9.81
_ARMS_DOWN = 1.25


@dataclass(frozen=True)
class Movement:
    """Joint rotations by name, and the body's way through the world; ``"pelvis"`` tilts the upright body."""

    rotations: dict[str, Rotation]
    heading: Series | float  # radians
    lift: Series | float = 0.0  # height of the soles above the floor, metres
    speed: float | None = None  # along the heading, metres per second; with None the feet stay about where they are


def turn(axis: str, angle: Series | float) -> Rotation:
    """Rotation by an angle in radians about ``"x"``, ``"y"`` or ``"z"``, one per frame where the angle has frames."""
    return Rotation.from_rotvec(np.multiply.outer(angle, np.eye(3)["xyz".index(axis)]))


def drift(
    time: Series, count: int, size: float, rng: np.random.Generator, low: float = 0.1, high: float = 0.7
) -> Float[np.ndarray, "frames count"]:
    """Slow random wandering about zero, `count` series of about that size: mixtures of six waves, in hertz."""
    frequency = np.linspace(low, high, 6) * rng.uniform(0.9, 1.1, 6)
    waves = np.sin(2 * np.pi * time[:, None] * frequency + rng.uniform(0, 2 * np.pi, 6))
    return waves @ rng.normal(scale=size / np.sqrt(3), size=(6, count))


def _pulse(phase: Series, at: float, sharpness: float) -> Series:
    """A smooth bump of height 1 once a turn of `phase` (radians), at the angle `at`."""
    return np.exp(sharpness * (np.cos(phase - at) - 1))


def _arm(
    side: str, sign: int, *, lowered: Series | float, forward: Series | float, elbow: Series | float
) -> dict[str, Rotation]:
    """An arm lowered from the T-pose, then swung forward about the body's x axis, its elbow bent; radians."""
    return {
        f"{side}_collar": turn("z", -0.08 * sign),
        f"{side}_shoulder": turn("x", -np.asarray(forward)) * turn("z", -sign * np.asarray(lowered)),
        f"{side}_elbow": turn("y", -sign * np.asarray(elbow)),
    }


def _leg(side: str, sign: int, *, hip: Series, knee: Series, foot: Series, spread: float = 0.05) -> dict[str, Rotation]:
    """A leg with hip and knee flexed; `foot` is the sole's pitch to the trunk, toes down; radians."""
    ankle = 0.9 * np.tanh((foot + hip - knee) / 0.9)
    return {
        f"{side}_hip": turn("x", -hip) * turn("z", sign * spread),
        f"{side}_knee": turn("x", knee),
        f"{side}_ankle": turn("x", ankle) * turn("z", -sign * spread),
    }


def _spine(bend: Series | float, twist: Series | float) -> dict[str, Rotation]:
    """A bend forwards and a twist to the left, shared by the three joints of the spine; radians."""
    third = turn("y", np.asarray(twist) / 3) * turn("x", np.asarray(bend) / 3)
    return dict.fromkeys(("spine1", "spine2", "spine3"), third)


def _gait(kind: str, time: Series, rng: np.random.Generator) -> Movement:
    """Walking or running along a winding way.

    `cadence` is in strides per second, `bounce` in metres, `speed` in metres per stride for each radian
    of `stride`; the other numbers of a gait are angles in radians.
    """
    gait = PERSON["gaits"][kind]
    lean, stride = gait["lean"], gait["stride"]
    cadence = gait["cadence"] * rng.uniform(0.92, 1.08)
    phase = 2 * np.pi * cadence * time + rng.uniform(0, 2 * np.pi)
    rotations = {"pelvis": turn("y", 0.08 * np.sin(phase)) * turn("x", np.full_like(time, lean))}
    rotations |= _spine(0.02, -0.16 * np.sin(phase)) | {"neck": turn("x", -lean), "head": turn("x", -0.05)}
    for side, sign in SIDES:
        p = phase if side == "left" else phase + np.pi
        hip = 0.12 + lean + stride * np.cos(p)
        knee = gait["knee_base"] + gait["knee_swing"] * _pulse(p, 1.42 * np.pi, 2.5)
        knee = knee + 0.12 * _pulse(p, 0.3 * np.pi, 4.0)
        foot = 0.6 * _pulse(p, 1.2 * np.pi, 3.5) - 0.25 * _pulse(p, 0.0, 4.0)
        rotations |= _leg(side, sign, hip=hip, knee=knee, foot=foot - lean, spread=0.0)
        forward, bent = 0.1 - stride * np.cos(p), gait["elbow"] - 0.2 * np.cos(p)
        rotations |= _arm(side, sign, lowered=_ARMS_DOWN, forward=forward, elbow=bent)
    curve = rng.choice([-1, 1]) * rng.uniform(0.15, 0.35)
    heading = rng.uniform(-np.pi, np.pi) + curve * time + 0.3 * np.sin(rng.uniform(0.2, 0.4) * time)
    lift = gait["bounce"] * (1 - np.cos(2 * phase - 0.6)) / 2
    return Movement(rotations, heading, lift, gait["speed"] * cadence * stride)


def _stand(time: Series, rng: np.random.Generator) -> dict[str, Rotation]:
    """Standing at ease: both legs straight, both arms down, weight shifting a little."""
    still = np.zeros_like(time)
    rotations = _spine(0.03, 0.1 * np.sin(0.7 * time + rng.uniform(0, 6)))
    for side, sign in SIDES:
        rotations |= _leg(side, sign, hip=still + 0.04, knee=still + 0.08, foot=still)
        rotations |= _arm(side, sign, lowered=_ARMS_DOWN, forward=0.05, elbow=0.3)
    return rotations


def _wave(time: Series, rng: np.random.Generator) -> Movement:
    """Waving the right hand beside the head."""
    rotations = _stand(time, rng)
    sweep = np.sin(2 * np.pi * rng.uniform(0.9, 1.4) * time)
    rotations["right_shoulder"] = turn("z", -0.25 + 0.08 * sweep) * turn("x", -1.4)
    rotations["right_elbow"] = turn("y", 1.25 + 0.45 * sweep)
    rotations["head"] = turn("y", -0.25)
    return Movement(rotations, rng.uniform(-np.pi, np.pi))


def _crouch(depth: Series) -> dict[str, Rotation]:
    """Trunk and legs at a share of a full squat, the soles flat."""
    lean = 0.5 * depth
    rotations = {"pelvis": turn("x", lean), "head": turn("x", -0.3 * depth)} | _spine(0.1 * depth, 0.0)
    for side, sign in SIDES:
        hip, knee = 0.03 + 1.7 * depth, 0.06 + 1.75 * depth
        rotations |= _leg(side, sign, hip=hip, knee=knee, foot=-lean, spread=0.12)
    return rotations


def _squat(time: Series, rng: np.random.Generator) -> Movement:
    depth = (1 - np.cos(2 * np.pi * rng.uniform(0.3, 0.4) * time)) / 2
    rotations = _crouch(depth)
    for side, sign in SIDES:
        rotations |= _arm(side, sign, lowered=_ARMS_DOWN + 0.1 * depth, forward=0.05 + 1.7 * depth, elbow=0.3)
    return Movement(rotations, rng.uniform(-np.pi, np.pi))


def _jump(time: Series, rng: np.random.Generator) -> Movement:
    """Jumping on the spot every two seconds or so: crouch, free flight, landing."""
    period, flight = rng.uniform(2.0, 2.4), rng.uniform(0.4, 0.5)
    phase = 2 * np.pi * time / period
    since_takeoff = np.mod(time - 0.45 * period, period)
    lift = np.where(since_takeoff < flight, _GRAVITY / 2 * since_takeoff * (flight - since_takeoff), 0.0)
    middle = 2 * np.pi * (0.45 + flight / 2 / period)
    depth = 0.65 * _pulse(phase, middle - 1.3, 5.0) + 0.45 * _pulse(phase, middle + 1.2, 5.0)
    aloft = _pulse(phase, middle, 8.0)
    rotations = _crouch(depth)
    for side, sign in SIDES:
        rotations[f"{side}_ankle"] = turn("x", 0.6 * aloft) * rotations[f"{side}_ankle"]
        swing = 2.2 * aloft - 0.7 * _pulse(phase, middle - 1.3, 5.0)
        rotations |= _arm(side, sign, lowered=_ARMS_DOWN, forward=0.05 + swing, elbow=0.4)
    return Movement(rotations, rng.uniform(-np.pi, np.pi), lift)


def _turn_about(time: Series, rng: np.random.Generator) -> Movement:
    """Turning on the spot in small steps."""
    heading = rng.uniform(-np.pi, np.pi) + rng.choice([-1, 1]) * (0.8 * time + 0.3 * np.sin(0.8 * time))
    phase = 2 * np.pi * 0.8 * time
    rotations = _stand(time, rng)
    for side, sign in SIDES:
        step = _pulse(phase, 0.0 if side == "left" else np.pi, 4.0)
        rotations |= _leg(side, sign, hip=0.04 + 0.35 * step, knee=0.08 + 0.7 * step, foot=0.1 * step)
        rotations |= _arm(side, sign, lowered=_ARMS_DOWN, forward=0.05 - 0.15 * step, elbow=0.4)
    return Movement(rotations, heading)


def _reach(time: Series, rng: np.random.Generator) -> Movement:
    """Reaching in front of the body with one hand and then the other, now high, now low."""
    phase = 2 * np.pi * rng.uniform(0.2, 0.3) * time
    left, right = _pulse(phase, 1.0, 2.5), _pulse(phase, 1.0 + np.pi, 2.5)
    both = left + right
    rotations = {"pelvis": turn("x", 0.15 * both)} | _spine(0.3 * both, 0.6 * (right - left))
    for (side, sign), out in zip(SIDES, (left, right), strict=True):
        height = 1.4 + 0.5 * np.sin(0.37 * phase + sign)
        rotations |= _arm(side, sign, lowered=_ARMS_DOWN, forward=0.05 + height * out, elbow=0.5 - 0.35 * out)
        hip, knee = 0.05 + 0.3 * both, 0.1 + 0.3 * both
        rotations |= _leg(side, sign, hip=hip, knee=knee, foot=-0.15 * both, spread=0.1)
    return Movement(rotations, rng.uniform(-np.pi, np.pi))


MOVEMENTS: dict[str, Callable[[Series, np.random.Generator], Movement]] = {
    "walk": partial(_gait, "walk"),
    "run": partial(_gait, "run"),
    "wave": _wave,
    "squat": _squat,
    "turn": _turn_about,
    "jump": _jump,
    "reach": _reach,
}
