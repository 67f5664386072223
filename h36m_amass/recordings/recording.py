"""AMASS recordings (Mahmood et al., ICCV 2019): read and validate one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64

from h36m_amass.body.families import FAMILIES, GENDERS, Family
from h36m_amass.errors import H36mAmassError
from h36m_amass.files.npy import ArrayHeader
from h36m_amass.files.npz import NpzError, NpzReader
from h36m_amass.files.sources import Source
from h36m_amass.recordings import plausibility
from h36m_amass.recordings.resampling import FrameRateError, exact_rate

MAX_VALUE = 1e6  # no rotation in radians, position in metres or coefficient is beyond this
FRAME_RATE_KEYS = ("mocap_framerate", "mocap_frame_rate")
_DIGESTED = ("poses", "trans", "betas", "gender", *FRAME_RATE_KEYS, "dmpls", "surface_model_type", "synthetic")
"""Arrays that the joints depend on, or what is said of them."""
MIN_DMPLS, MAX_DMPLS = 8, 300
"""Columns of soft-tissue coefficients. AMASS has 8; thousands could only be there to take memory."""
MAX_SMALL_BYTES = 2**16  # of an array that is not one of frames
AMASS_NAMES = "'SMPL+H G', 'SMPL-X G' or 'SMPL-X N'"
"""What AMASS's page calls the downloads that can be converted."""


class AmassError(H36mAmassError):
    """An AMASS folder or recording cannot be used; the message says why."""


@dataclass(frozen=True)
class Header:
    """All of a recording but its frames."""

    num_frames: int
    model: str  # name of the body model's family, one of `h36m_amass.body.families.FAMILIES`
    frame_rate: Fraction  # in hertz: the file's, see `resampling.exact_rate`, or the one that was given
    recorded_frame_rate: float  # the file's number
    other_frame_rate: float | None  # the number under AMASS's other name for it, if the file has both
    gender: str
    betas: Float[np.ndarray, "betas"]
    has_dmpls: bool  # whether the file has soft-tissue coefficients, and its body model a use for them
    synthetic: bool  # true if the file says that it was made up (see `h36m_amass.synthetic`)
    content_digest: str  # of names, sizes and checksums of all arrays that matter, and of a rate that was given


@dataclass(frozen=True)
class Frames:
    """Consecutive frames of a recording: rotation vectors (radians), root translation (metres), soft tissue.

    Only the translation is in double precision: far from the origin float32 is too coarse.
    """

    poses: Float32[np.ndarray, "frames 3*bones"]
    trans: Float64[np.ndarray, "frames 3"]
    dmpls: Float32[np.ndarray, "frames dmpls"] | None

    def __len__(self) -> int:
        return len(self.poses)


class Recording:
    """A recording, opened once; a context manager. Without `use_dmpls`, it counts as one without soft tissue.

    `frame_rate` is in hertz, and takes the place of the file's. Raises `AmassError`, which does not name the file, if
    it is damaged, incomplete, or of no known body model; and `UrlError` if its URL cannot be reached.
    """

    def __init__(self, source: Source, use_dmpls: bool = True, frame_rate: Fraction | None = None) -> None:
        try:
            self._npz = NpzReader(source)
            self.name = self._npz.name
            self.warnings: dict[str, None] = {}  # about what was read so far, in order
            try:
                self.header = _header(self._npz, use_dmpls, frame_rate)
                if frame_rate is None:
                    self.warn(*plausibility.of_rates(self.header.recorded_frame_rate, self.header.other_frame_rate))
            except BaseException:
                self._npz.__exit__()
                raise
        except NpzError as error:
            raise AmassError(error.reason) from error

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; all but the frames can still be read."""
        self._npz.__exit__()

    def frames(self, num_frames: int, num_dmpls: int) -> Iterator[Frames]:
        """The frames in runs of at most `num_frames` new ones.

        Each run but the first begins with the last frame of the one before, because an output frame may lie between.
        `num_dmpls` soft-tissue coefficients are read. Raises `AmassError` if the file is damaged or holds values that
        are not numbers below `MAX_VALUE`, where float32 could overflow; the frames before were yielded already.
        """
        types: dict[str, np.dtype[Any]] = {"poses": np.dtype(np.float32), "trans": np.dtype(np.float64)}
        if self.header.has_dmpls and num_dmpls > 0:
            types["dmpls"] = np.dtype(np.float32)
        try:
            readers = [self._npz.rows(name, num_frames, overlap=1, dtype=types[name]) for name in types]
            start = 0
            for poses, trans, *soft_tissue in zip(*readers, strict=True):
                dmpls = [coefficients[:, :num_dmpls] for coefficients in soft_tissue]
                for name, values in zip(types, (poses, trans, *dmpls), strict=True):
                    _check_values(name, values, start)
                self.warn(*([] if start else plausibility.of_posture(poses[0, :3])))
                self.warn(*plausibility.of_values(poses, trans))
                yield Frames(poses, trans, dmpls[0] if dmpls else None)
                start += len(poses) - 1
        except NpzError as error:
            raise AmassError(error.reason) from error

    def look_at_first_frame(self) -> None:
        """Add warnings about the first frame; raises as `frames` does."""
        next(self.frames(1, 0))

    def warn(self, *messages: str) -> None:
        """Add warnings, each once."""
        self.warnings.update(dict.fromkeys(messages))


def read_header(source: Source, use_dmpls: bool = True, frame_rate: Fraction | None = None) -> Header:
    """Everything of a recording but its frames; takes what `Recording` takes, and raises as it does."""
    with Recording(source, use_dmpls, frame_rate) as recording:
        return recording.header


def content_digest(source: Source, frame_rate: Fraction | None = None) -> str:
    """What `Header.content_digest` holds, from a recording's zip directory alone; raises as `Recording` does."""
    try:
        with NpzReader(source) as npz:
            return digest_at_rate(_content_digest(npz), frame_rate)
    except NpzError as error:
        raise AmassError(error.reason) from error


def fit_betas(betas: Float[np.ndarray, "recorded"], num_betas: int) -> Float[np.ndarray, "betas"]:
    """`betas` cut or padded with zeros to the body model's number."""
    fitted = np.zeros(num_betas)
    fitted[: len(betas)] = betas[:num_betas]
    return fitted


def digest_at_rate(digest: str, frame_rate: Fraction | None) -> str:
    """The content digest of a recording whose frame rate is not the file's, if one is given, from the file's digest."""
    return digest if frame_rate is None else hashlib.sha256(f"{digest} at {frame_rate} Hz".encode()).hexdigest()


def _header(npz: NpzReader, use_dmpls: bool, given_rate: Fraction | None) -> Header:
    rate_keys = [key for key in FRAME_RATE_KEYS if key in npz]
    missing = [name for name in ("poses", "trans", "betas", "gender") if name not in npz]
    missing += [] if rate_keys else [FRAME_RATE_KEYS[0]]
    if missing and ("v_template" in npz or "eigvec" in npz):
        raise AmassError("is a body model and not a recording; h36m-amass setup puts it where it belongs")
    if missing:
        raise AmassError(f"has no {', '.join(missing)}; download the dataset as {AMASS_NAMES}")
    headers = {"poses": _header_of_rows(npz, "poses")}
    family = _family(npz, headers["poses"].shape[1])
    has_dmpls = use_dmpls and family.has_dmpls and "dmpls" in npz
    headers |= {name: _header_of_rows(npz, name) for name in ("trans", *(["dmpls"] if has_dmpls else []))}
    num_frames = _check_frames(headers)
    betas = npz.read("betas", MAX_SMALL_BYTES)
    if betas.dtype.kind not in "fiu" or betas.size == 0 or betas.shape[-1:] != (betas.size,):
        raise AmassError(f"betas are {betas.dtype} of shape {betas.shape}, not a row of numbers")
    betas = betas.reshape(-1).astype(np.float64)
    if not (np.abs(betas) <= MAX_VALUE).all():
        raise AmassError("betas are not numbers below 1e6; download the file again")
    recorded, *others = (_number(npz, key) for key in rate_keys)
    try:
        frame_rate = exact_rate(recorded)  # which must be a rate, whatever was given
    except FrameRateError as error:
        raise AmassError(f"{rate_keys[0]} is {recorded}, not a positive number of hertz") from error
    gender = _word(npz, "gender")
    if gender not in GENDERS:
        raise AmassError(f"gender is {gender!r}, not one of {', '.join(GENDERS)}")
    synthetic = "synthetic" in npz
    return Header(
        num_frames=num_frames,
        model=family.name,
        frame_rate=given_rate or frame_rate,
        recorded_frame_rate=recorded,
        other_frame_rate=others[0] if others else None,
        gender=gender,
        betas=betas,
        has_dmpls=has_dmpls,
        synthetic=synthetic,
        content_digest=digest_at_rate(_content_digest(npz), given_rate),
    )


def _content_digest(npz: NpzReader) -> str:
    return hashlib.sha256(repr(npz.checksums(_DIGESTED)).encode()).hexdigest()


def _family(npz: NpzReader, columns: int) -> Family:
    """The body model that a recording is of, by the columns of its poses; what the file says has to agree."""
    family = next((family for family in FAMILIES.values() if family.num_pose_columns == columns), None)
    if family is None:
        known = ", ".join(f"{family.num_pose_columns} of {family.title}" for family in FAMILIES.values())
        reason = f"is of no body model that is known: poses have {columns} columns, not {known}"
        raise AmassError(f"{reason}; download the dataset as {AMASS_NAMES}")
    if "surface_model_type" in npz:
        word = _word(npz, "surface_model_type")
        if word != family.name and not word.startswith(f"{family.name}_"):  # smplx_locked_head, say
            reason = f"says that it is of {word!r} (surface_model_type), but its poses have the {columns} columns of"
            raise AmassError(f"{reason} {family.title}; download the file again")
    return family


def _header_of_rows(npz: NpzReader, name: str) -> ArrayHeader:
    header = npz.header(name)
    if header.dtype.kind not in "fiu" or len(header.shape) != 2:
        raise AmassError(f"{name} are {header.dtype} of shape {header.shape}, not rows of numbers")
    return header


def _check_frames(headers: Mapping[str, ArrayHeader]) -> int:
    """Number of frames, once poses, trans and dmpls agree about it."""
    columns = {name: header.shape[1] for name, header in headers.items()}
    if columns["trans"] != 3:
        raise AmassError(f"trans have {columns['trans']} columns, not 3; download the file again")
    if not MIN_DMPLS <= columns.get("dmpls", MIN_DMPLS) <= MAX_DMPLS:
        reason = f"dmpls have {columns['dmpls']} columns, not {MIN_DMPLS} to {MAX_DMPLS}"
        raise AmassError(f"{reason}; convert it with --no-dmpls")
    frames = {name: header.shape[0] for name, header in headers.items()}
    if len(set(frames.values())) != 1:
        counts = ", ".join(f"{count} of {name}" for name, count in frames.items())
        raise AmassError(f"its arrays differ in frames ({counts}); download the file again")
    if frames["poses"] == 0:
        raise AmassError("has no frames")
    return frames["poses"]


def _check_values(name: str, values: Float[np.ndarray, "frames columns"], first_frame: int) -> None:
    # The sum of squares bounds them all, at a fraction of the cost; a comparison with NaN is false.
    if float(np.vdot(values, values)) <= MAX_VALUE**2:
        return
    within = (np.abs(values) <= MAX_VALUE).all(axis=1)
    if not within.all():
        frame = first_frame + int(np.argmin(within))
        raise AmassError(f"{name} of frame {frame} is not a number below 1e6; download the file again")


def _number(npz: NpzReader, name: str) -> float:
    """A number as the shortest decimal that its own type has for it: 59.94 in float32 is 59.94."""
    array = npz.read(name, MAX_SMALL_BYTES)
    if array.dtype.kind not in "fiu" or array.size != 1:
        raise AmassError(f"{name} is {array.dtype} of shape {array.shape}, not one number")
    return float(str(array.reshape(-1)[0]))


def _word(npz: NpzReader, name: str) -> str:
    array = npz.read(name, MAX_SMALL_BYTES)
    if array.dtype.kind not in "US" or array.size != 1:
        raise AmassError(f"{name} is {array.dtype} of shape {array.shape}, not a word")
    value = array.reshape(-1)[0]
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip().lower()
