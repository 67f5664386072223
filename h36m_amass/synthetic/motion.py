"""Made-up recordings in the format of AMASS's SMPL+H files, and a small tree of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from h36m_amass.synthetic.anatomy import FINGERS, JOINT_NAMES, PERSON, Vector, landmark, shaped
from h36m_amass.synthetic.body import BETAS, DMPLS, SYNTHETIC_NOTE
from h36m_amass.synthetic.movements import MOVEMENTS, SIDES, Movement, Series, drift, turn

KINDS: tuple[str, ...] = tuple(MOVEMENTS)
_FIRST_FINGER = JOINT_NAMES.index("left_index1")


def motion(
    kind: str,
    seconds: float,
    frame_rate: float,
    *,
    gender: str,
    betas: Float[np.ndarray, " betas"] | None = None,
    fingers: Literal["still", "moving"] = "still",
    dmpls: bool = True,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Make up a recording: a smooth movement of one person, z up, on or near the floor at z = 0.

    A recording of one of `KINDS` has ``round(seconds * frame_rate)`` frames, a gender of `anatomy.GENDERS` and up to 16
    `betas`, padded with zeros, or drawn from `seed` if None, as is all that differs between two motions of a kind.
    Fingers that are ``"still"`` hold one relaxed pose, the same numbers in every frame.

    Returns
    -------
    dict of str to array
        Under the keys of the real files: ``poses`` (n, 156) in radians, ``trans`` (n, 3) in metres, ``betas``
        (16,) and, if asked, ``dmpls`` (n, 8), all float64; 0-d ``gender`` and ``mocap_framerate``; and
        ``synthetic``, the note that says it is made up.

    Raises
    ------
    ValueError
        An unknown kind, gender or finger mode, more than 16 betas, or less than one frame.
    """
    frames = round(seconds * frame_rate)
    if kind not in MOVEMENTS:
        raise ValueError(f"{kind!r} is not a synthetic motion: choose one of {', '.join(KINDS)}")
    if fingers not in ("still", "moving"):
        raise ValueError(f"fingers are 'still' or 'moving', not {fingers!r}")
    if frames < 1:
        raise ValueError(f"{seconds} s at {frame_rate} Hz are less than one frame: make the motion longer")
    if betas is not None and len(betas) > BETAS:
        raise ValueError(f"a synthetic body has {BETAS} betas, not {len(betas)}")
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    drawn = rng.normal(scale=0.7, size=BETAS)
    shape = drawn if betas is None else np.pad(np.asarray(betas, dtype=np.float64), (0, BETAS - len(betas)))

    time = np.arange(frames) / frame_rate
    movement = MOVEMENTS[kind](time, rng)
    tilt = movement.rotations.get("pelvis", Rotation.identity())
    sway = drift(time, 3 * _FIRST_FINGER, 0.015, rng).reshape(frames, -1, 3)
    heading = np.broadcast_to(movement.heading, time.shape)
    root = turn("z", heading) * turn("x", np.pi / 2) * tilt * Rotation.from_rotvec(sway[:, 0])
    poses = np.zeros((frames, len(JOINT_NAMES), 3))
    for name, rotation in (movement.rotations | {"pelvis": root}).items():
        poses[:, JOINT_NAMES.index(name)] = rotation.as_rotvec()
    poses[:, 1:_FIRST_FINGER] += sway[:, 1:]
    poses[:, _FIRST_FINGER:] = _finger_pose(time, fingers == "moving", rng)
    recording = {
        "poses": poses.reshape(frames, -1),
        "trans": _translation(time, movement, heading, root, gender, shape) + rng.uniform(-0.5, 0.5, 3) * [1, 1, 0],
        "betas": shape,
        "gender": np.array(gender),
        "mocap_framerate": np.array(frame_rate, dtype=np.float64),
        "synthetic": np.array(SYNTHETIC_NOTE),
    }
    if dmpls:
        recording["dmpls"] = drift(time, DMPLS, 0.3, rng, low=0.8, high=3.0)
    return recording


def _finger_pose(
    time: Series, moving: bool, rng: np.random.Generator
) -> Float[np.ndarray, "frames 30 3"] | Float[np.ndarray, "30 3"]:
    """Fingers curled towards the palm, a little or more and less by turns; axis-angle, radians."""
    axes = np.array([[0.1, -0.6, -0.4] if finger == "thumb" else [0.03, 0.05, -1.0] for finger in FINGERS])
    both = np.stack([axes, axes * [1, -1, -1]])[:, :, None] * np.array([1.0, 1.2, 0.8])[:, None]
    relaxed = 0.3 * rng.uniform(0.8, 1.2, (2, len(FINGERS), 1, 1))
    if not moving:
        return np.reshape(relaxed * both, (-1, 3))
    curl = 0.35 * (1 + np.tanh(drift(time, 2 * len(FINGERS), 0.8, rng, low=0.2, high=1.0)))
    curled = 0.5 * relaxed + curl.reshape(-1, 2, len(FINGERS), 1, 1)
    return np.reshape(curled * both, (len(time), -1, 3))


def _translation(
    time: Series, movement: Movement, heading: Series, root: Rotation, gender: str, betas: Float[np.ndarray, " betas"]
) -> Float[np.ndarray, "frames 3"]:
    """The `trans` that follows the movement's way and lifts the lower sole as high as it says; metres."""

    def rest(name: str) -> Vector:
        point = landmark(name)[None]
        return np.ravel(shaped(gender, point, point, betas))

    ankles, soles = [], []
    for side, _ in SIDES:
        turned, position, joint = root, np.zeros((len(time), 3)), "pelvis"
        for child in (f"{side}_hip", f"{side}_knee", f"{side}_ankle"):
            position = position + turned.apply(rest(child) - rest(joint))
            turned, joint = turned * movement.rotations[child], child
        ankles.append(position)
        soles += [position + turned.apply(rest(f"{side}_{end}") - rest(joint)) for end in ("heel", "toe")]
    depth = -np.stack(soles)[..., 2]
    sharpness, lowest = 150.0, depth.max(axis=0)
    smooth_lowest = lowest + np.log(np.exp(sharpness * (depth - lowest)).mean(axis=0)) / sharpness
    pelvis: Float[np.ndarray, "frames 3"] = np.empty((len(time), 3))
    pelvis[:, 2] = smooth_lowest + movement.lift
    if movement.speed is None:
        pelvis[:, :2] = -np.mean(ankles, axis=0)[:, :2]
    else:
        step = movement.speed * np.gradient(time) if len(time) > 1 else np.zeros(1)
        ahead = np.stack([np.sin(heading), -np.cos(heading)], axis=1)
        pelvis[:, :2] = np.cumsum(step[:, None] * ahead, axis=0)
    pelvis -= rest("pelvis")
    return pelvis


def write_recording(path: Path | str, arrays: Mapping[str, Any], *, compressed: bool = False) -> None:
    """Write a recording, from `motion` or like it, as ``.npz``, replacing an existing file and making its folder."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save = np.savez_compressed if compressed else np.savez
    save(path, **arrays)


def write_amass_tree(amass_dir: Path | str, *, seed: int = 0, seconds: float = 6.0) -> list[Path]:
    """Write a small tree of made-up recordings, laid out as AMASS's downloads are when unpacked.

    ``Madeup`` has an inner folder, ``Pretend`` has none, ``Invented`` has a single subject. Among the twelve
    recordings are all genders, rates from 60 to 250 Hz, still and moving fingers, one without ``dmpls``, one
    compressed, and one with ``gender`` as bytes and the rate as ``mocap_frame_rate`` of shape (1,). Beside them
    lie the other files of a download, ``shape.npz`` and ``LICENSE.txt``.

    The people and their motions depend on `seed`; each recording lasts `seconds`. Returns the recordings, sorted.
    """
    root = Path(amass_dir)
    paths: list[Path] = []
    for number, person in enumerate(PERSON["people"]):
        folder, gender = root / person["folder"], person["gender"]
        betas = np.random.default_rng([seed, number]).normal(scale=0.7, size=BETAS)
        for recording in person["recordings"]:
            options = dict(recording)
            name, compressed, other_keys = (options.pop(key, False) for key in ("name", "compressed", "other_keys"))
            arrays = motion(seconds=seconds, gender=gender, betas=betas, seed=seed + len(paths), **options)
            if other_keys:
                arrays["gender"] = np.array(gender.encode())
                arrays["mocap_frame_rate"] = arrays.pop("mocap_framerate").reshape(1)
            paths.append(folder / f"{name}.npz")
            write_recording(paths[-1], arrays, compressed=compressed)
        about = {"gender": np.array(gender), "betas": betas, "synthetic": np.array(SYNTHETIC_NOTE)}
        write_recording(folder / "shape.npz", about)
        licence = root / Path(person["folder"]).parts[0] / "LICENSE.txt"
        licence.write_text(SYNTHETIC_NOTE + "\n", encoding="utf-8")
    return sorted(paths)
