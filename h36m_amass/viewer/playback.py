"""Where in time the viewer is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from h36m_amass.store.selection import StoredSequence

SPEEDS = {"0.1 x": 0.1, "0.25 x": 0.25, "0.5 x": 0.5, "1 x": 1.0, "2 x": 2.0, "4 x": 4.0}


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

    def over(self, sequence: StoredSequence) -> Playback:
        """Paused at the start of another sequence, with the same speed."""
        return replace(self, num_frames=len(sequence), frame_rate=sequence.frame_rate, position=0.0, playing=False)
