"""What a viewer of stores shows: which sequences are chosen from, where in time it is, which frames it reads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32

from h36m_amass.errors import H36mAmassError
from h36m_amass.store.store import Sequence, Store

CHUNK = 256
"""Frames that are read at a time, as many as a store's chunks have."""
LONGEST_PATH = 2000
"""Points of a joint's trajectory."""
_BLOCK = 64 * CHUNK
"""Frames that are read at a time to draw a trajectory: 3 MB of 17 joints."""
SPEEDS = {"0.1 x": 0.1, "0.25 x": 0.25, "0.5 x": 0.5, "1 x": 1.0, "2 x": 2.0, "4 x": 4.0}


class ViewerError(H36mAmassError):
    """There is nothing to show, or nothing to show it with."""


def require_viser() -> None:
    """Raise `ViewerError` unless viser is installed."""
    try:
        import viser  # noqa: F401 # an import is the test
    except ImportError as error:
        raise ViewerError(
            "the viewer needs viser, which is not installed; install it with: pip install 'h36m-amass[view]'"
        ) from error


@dataclass(frozen=True)
class Catalogue:
    """Sequences to choose from, by dataset, subject and sequence.

    Attributes
    ----------
    names
        The three names of each, in the order of the store's index.
    """

    names: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, store: Store) -> Catalogue:
        """All sequences of a store."""
        return cls(tuple(store.names(row) for row in range(len(store.sequences))))

    def matching(self, text: str) -> Catalogue:
        """Those in whose ``DATASET/SUBJECT/SEQUENCE`` each word of `text` is, in capitals or not."""
        words = text.casefold().split()
        return Catalogue(tuple(own for own in self.names if all(word in "/".join(own).casefold() for word in words)))

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(dataset for dataset, _, _ in self.names))

    def subjects(self, dataset: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(own[1] for own in self.names if own[0] == dataset))

    def sequences(self, dataset: str, subject: str) -> tuple[str, ...]:
        return tuple(own[2] for own in self.names if own[:2] == (dataset, subject))

    def nearest(self, wanted: tuple[str, str, str]) -> tuple[str, str, str]:
        """The first sequence that shares most of the names of `wanted`, from the dataset on."""
        return max(self.names, key=lambda own: _agreement(own, wanted))


def _agreement(one: Ordered[str], other: Ordered[str]) -> int:
    """How many names are the same before the first that differs."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))


def catalogue(store: Store, text: str = "") -> Catalogue:
    """The sequences of `store` that match `text`.

    Raises
    ------
    ViewerError
        None does.
    """
    found = Catalogue.of(store).matching(text)
    if not found.names:
        words = " and ".join(repr(word) for word in text.split())
        what = f"no sequence has {words} in its key; 'h36m-amass info' lists them" if words else "has no sequences"
        raise ViewerError(what, store.path)
    return found


@dataclass(frozen=True)
class Playback:
    """Where in a sequence a viewer is, and how it moves on.

    Attributes
    ----------
    num_frames, frame_rate
        Of the sequence; hertz.
    position
        In frames, with a fraction while it plays.
    playing
        Whether time goes on.
    speed
        Seconds of the sequence a second.
    loop
        Whether it begins again at the end; otherwise it stops there.
    """

    num_frames: int
    frame_rate: float
    position: float = 0.0
    playing: bool = False
    speed: float = 1.0
    loop: bool = True

    @property
    def frame(self) -> int:
        """The frame that is shown."""
        return min(int(self.position), self.num_frames - 1)

    @property
    def seconds(self) -> float:
        """Since the sequence's first frame, of the frame that is shown."""
        return self.frame / self.frame_rate

    def advanced(self, seconds: float) -> Playback:
        """After `seconds` of real time."""
        if not self.playing:
            return self
        position = self.position + seconds * self.speed * self.frame_rate
        if position < self.num_frames:
            return replace(self, position=position)
        if self.loop:
            return replace(self, position=position % self.num_frames)
        return replace(self, position=float(self.num_frames - 1), playing=False)

    def sought(self, frame: int) -> Playback:
        """At `frame`, or the nearest that there is."""
        return replace(self, position=float(min(max(frame, 0), self.num_frames - 1)))

    def toggled(self) -> Playback:
        """Paused if it plays; otherwise playing, from the start if it is at the end."""
        if not self.playing and self.frame == self.num_frames - 1:
            return replace(self, position=0.0, playing=True)
        return replace(self, playing=not self.playing)

    def over(self, sequence: Sequence) -> Playback:
        """Paused at the start of another sequence, with the same speed."""
        return replace(self, num_frames=len(sequence), frame_rate=sequence.frame_rate, position=0.0, playing=False)


class Frames:
    """Poses of a sequence, read in runs of `CHUNK` frames when one of them is asked for; the last few are kept."""

    def __init__(self, sequence: Sequence, kept: int = 8) -> None:
        self.sequence = sequence
        self._kept = kept
        self._runs: OrderedDict[int, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, frame: int) -> Float32[np.ndarray, "joints 3"]:
        run, place = divmod(frame, CHUNK)
        if run not in self._runs:
            self._runs[run] = self.sequence.positions_3d[run * CHUNK : (run + 1) * CHUNK]
            while len(self._runs) > self._kept:
                self._runs.popitem(last=False)
        self._runs.move_to_end(run)
        return self._runs[run][place]

    def at(self, seconds: float) -> Float32[np.ndarray, "joints 3"]:
        """The pose that is shown at a time; after the end, the last one."""
        # A frame's time divided by the rate and multiplied by it again may fall a hair short of the frame.
        return self[min(int(seconds * self.sequence.frame_rate + 1e-6), len(self) - 1)]


def trajectory(sequence: Sequence, joint: int) -> Float32[np.ndarray, "points 3"]:
    """A joint's way through the whole sequence, of at most `LONGEST_PATH` frames evenly spread over it.

    Where nearly every chunk of the store has one of these frames, all is read, in a few large pieces, because a
    compressed chunk is decoded as a whole. Otherwise only these frames are read, in one call.
    """
    frames = np.linspace(0, len(sequence) - 1, min(len(sequence), LONGEST_PATH)).round().astype(np.int64)
    if len(sequence) > CHUNK * len(frames):
        poses = np.empty((len(frames), *sequence.positions_3d.shape[1:]), np.float32)
        places = np.arange(len(frames))
        sequence.store.read_runs(sequence.start + frames, poses, places, places + 1)
        return poses[:, joint]
    points = np.empty((len(frames), 3), np.float32)
    for start in range(0, len(sequence), _BLOCK):
        inside = (frames >= start) & (frames < start + _BLOCK)
        points[inside] = sequence.positions_3d[start : start + _BLOCK, joint][frames[inside] - start]
    return points


def beside(
    first: Float[np.ndarray, "3"],
    second: Float[np.ndarray, "3"],
    ahead: Float[np.ndarray, "3"],
    gap: float,
    same: bool,
) -> Float[np.ndarray, "3"]:
    """How far the second figure is moved along the ground to stand `gap` metres to the left of the first.

    Parameters
    ----------
    first, second
        Where the two roots are at the start.
    ahead
        Where the first one faces.
    gap
        In metres; 0 for one on top of the other.
    same
        Whether both show one recording. Then the starts are not brought together, so that the two differ as they do.
    """
    to_left = np.array([-ahead[1], ahead[0], 0.0])
    shift = np.zeros(3) if same else (first - second).astype(np.float64) * (1.0, 1.0, 0.0)
    return shift + gap * to_left


def facts(sequence: Sequence, title: str = "Sequence") -> list[tuple[str, str]]:
    """What a sequence is, as names and values."""
    record, store = sequence.record, sequence.store
    return [
        (title, record.key),
        (
            "Frames",
            f"{len(sequence):,} at {sequence.frame_rate:g} Hz, {len(store.skeleton)} joints of {store.joint_set.name}",
        ),
        ("Body", f"{record.model}, {record.gender}, {'with' if record.has_dmpls else 'without'} soft tissue"),
        ("Source", f"{record.source_path}, {record.source_frames:,} frames at {record.source_frame_rate:g} Hz"),
        ("Store", str(store.path)),
    ]


def apart(
    first: Float32[np.ndarray, "joints 3"], second: Float32[np.ndarray, "joints 3"], joint_names: Ordered[str]
) -> str:
    """How far the joints of two poses are from each other."""
    distances = 1000.0 * np.linalg.norm(first.astype(np.float64) - second, axis=1)
    largest = int(distances.argmax())
    return f"{distances.mean():.1f} mm on average, at most {distances[largest]:.1f} mm ({joint_names[largest]})"
