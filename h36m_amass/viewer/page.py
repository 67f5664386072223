"""The viewer's page (extra ``view``): its panel and its scene in the browser, through viser.

Everything that happens on the page comes into one queue and is answered in one thread, so nothing here is locked.
"""

from __future__ import annotations

import contextlib
import io
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import viser
from jaxtyping import Float

from h36m_amass.skeleton import root
from h36m_amass.store.selection import StoredSequence
from h36m_amass.store.store import Store
from h36m_amass.viewer.chooser import Chooser, catalogue
from h36m_amass.viewer.facts import apart, facts, table
from h36m_amass.viewer.figure import SceneFigure
from h36m_amass.viewer.frames import Frames, trajectory
from h36m_amass.viewer.playback import SPEEDS, Playback
from h36m_amass.viewer.scene import FIELD_OF_VIEW, beside, camera, facing

POSES_A_SECOND, TEXTS_A_SECOND = 30.0, 10.0
"""How often, at most, the scene and the panel change while a sequence plays."""
ONE_TURNED_BY = np.radians(30.0)
"""How far to the side a camera stands that looks at one person, in radians; at two it looks straight."""
_NO_PATH = "none"
_Command = Callable[[], None]


class _PrivateServer(viser.ViserServer):
    """Without viser's way of sharing a page through a server on the internet: the data must not leave the machine."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        return None


@dataclass(frozen=True)
class Shown:
    """What the page begins with.

    Attributes
    ----------
    first, second
        Stores, read for the joint sets that are shown; `second` is what the second sequence is chosen from.
    side_by_side
        Whether the second sequence is shown from the start.
    text
        What the names of the first sequence are filtered by.
    """

    first: Store
    second: Store
    side_by_side: bool
    text: str


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without what viser prints when it starts and stops."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def serve(shown: Shown, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve the page until an exception, like `KeyboardInterrupt`, ends it.

    Parameters
    ----------
    shown
        What it shows at first.
    host, port
        Where it is served; the port is free, or 0 for any.
    ready
        Called with the port once browsers can open it.

    Raises
    ------
    h36m_amass.viewer.ViewerError
        If there is no sequence to show.
    h36m_amass.store.store.StoreError
        If a store is damaged.
    """
    for store, text in ((shown.first, shown.text), (shown.second, "")):
        catalogue(store, text)
    with _silent():
        server = _PrivateServer(host=host, port=port, label="h36m-amass", verbose=False)
    try:
        page = _Page(server, shown)
        ready(server.get_port())
        page.run()
    finally:
        with _silent():
            server.stop()


@dataclass(frozen=True)
class _Person:
    """A sequence in the scene."""

    frames: Frames
    figure: SceneFigure
    start: Float[np.ndarray, "joints 3"]


class _Page:
    """The page: what is on it, and what happens when somebody uses it."""

    def __init__(self, server: viser.ViserServer, shown: Shown) -> None:
        self._server = server
        self._commands: queue.SimpleQueue[_Command] = queue.SimpleQueue()
        self._second: _Person | None = None
        self._drawn = -1
        self._text_at = 0.0
        server.scene.set_up_direction("+z")
        server.scene.configure_default_lights(enabled=True, cast_shadow=True)
        server.gui.configure_theme(show_logo=False, show_share_button=False, control_width="medium")
        server.gui.main_panel.dock_right()
        self._world = server.scene.add_frame("/world", show_axes=False)
        server.scene.add_grid(
            "/world/ground", infinite_grid=True, fade_distance=25.0, cell_color=(225, 225, 225), shadow_opacity=0.2
        )
        self._add_fields(server.gui, shown)
        self._first = self._person("first", self._chooser.sequence, faint=False)
        self._playback = Playback(len(self._first.frames), self._first.frames.sequence.frame_rate)
        self._begin_first()
        if shown.side_by_side:
            self._show_second()
        position, look_at = self._camera()
        camera = server.initial_camera
        camera.fov, camera.position, camera.look_at, camera.up = FIELD_OF_VIEW, position, look_at, (0, 0, 1)

    def _add_fields(self, gui: viser.GuiApi, shown: Shown) -> None:
        self._text = gui.add_html("")
        self._slider = gui.add_slider("Frame", min=0, max=1, step=1, initial_value=0)
        self._play = gui.add_button("Play", icon=viser.Icon.PLAYER_PLAY)
        self._step = gui.add_button_group("Step", ("-10", "-1", "+1", "+10"))
        self._speed = gui.add_dropdown("Speed", tuple(SPEEDS), initial_value="1 x")
        self._loop = gui.add_checkbox("Loop", True)
        with gui.add_folder("Sequence"):
            self._chooser = Chooser(gui, shown.first, shown.text, None, self._open_first)
        with gui.add_folder("Second sequence", expand_by_default=shown.side_by_side):
            self._beside = gui.add_checkbox("Show", shown.side_by_side)
            begin = self._chooser.names
            self._second_chooser = Chooser(gui, shown.second, "", begin, lambda _: self._show_second())
            self._gap = gui.add_slider("Distance (m)", min=0.0, max=4.0, step=0.1, initial_value=1.2)
        with gui.add_folder("View"):
            self._names = gui.add_checkbox("Joint names", False)
            self._path = gui.add_dropdown("Trajectory", _paths(shown.first.joint_names))
            self._follow = gui.add_checkbox("Follow", True, hint="Keep the person in the middle")
            self._front = gui.add_button("Look from the front", icon=viser.Icon.FOCUS_CENTERED)
        self._slider.on_update(self._slider_moved)
        for field, answer in self._answers():
            self._on(field, answer)

    def _answers(self) -> list[tuple[Any, _Command]]:
        """What is done when a field is used."""
        answers: list[tuple[Any, _Command]] = [
            (self._play, lambda: self._set(self._playback.toggled())),
            (self._step, lambda: self._seek(self._playback.frame + int(self._step.value))),
            (self._speed, lambda: self._set(replace(self._playback, speed=SPEEDS[self._speed.value]))),
            (self._loop, lambda: self._set(replace(self._playback, loop=self._loop.value))),
            (self._beside, self._show_second),
            (self._gap, self._redraw),
            (self._names, self._name_joints),
            (self._path, self._draw_paths),
            (self._follow, self._redraw),
            (self._front, self._look),
        ]
        for chooser in (self._chooser, self._second_chooser):
            answers.append((chooser.filter, chooser.narrow))
            answers.append((chooser.joint_set, chooser.take_joint_set))
            answers.extend((field, chooser.choose) for field in chooser.fields)
        return answers

    def _on(self, field: Any, answer: _Command) -> None:
        def came(event: Any) -> None:
            if event.client is not None:  # otherwise this program has set the field
                self._commands.put(answer)

        (field.on_click if hasattr(field, "on_click") else field.on_update)(came)

    async def _slider_moved(self, event: viser.GuiEvent[Any]) -> None:
        """Seek where somebody has put the slider; a coroutine, which viser runs before playing can move it on."""
        if event.client is not None:
            frame = int(self._slider.value)

            def seek() -> None:
                self._seek(frame)
                # The browser may show a frame that was on its way, and what is the same is not sent again.
                self._show_on_slider(frame - 1 if frame else 1)
                self._show_on_slider(frame)

            self._commands.put(seek)

    def run(self) -> None:
        """Answer what is done on the page, and play."""
        last = time.monotonic()
        while True:
            wait = 1.0 / POSES_A_SECOND if self._playback.playing else 0.5
            with contextlib.suppress(queue.Empty):
                command = self._commands.get(timeout=max(0.0, wait - (time.monotonic() - last)))
                with self._server.atomic():
                    command()
                    while not self._commands.empty():
                        self._commands.get()()
            now = time.monotonic()
            if self._playback.playing:
                self._set(self._playback.advanced(now - last))
            last = now

    def _set(self, playback: Playback) -> None:
        """Be somewhere else in time, or move on in another way."""
        changed = playback.playing != self._playback.playing
        self._playback = playback
        if changed:
            self._play.label = "Pause" if playback.playing else "Play"
            self._play.icon = viser.Icon.PLAYER_PAUSE if playback.playing else viser.Icon.PLAYER_PLAY
        self._draw()

    def _seek(self, frame: int) -> None:
        self._set(replace(self._playback.sought(frame), playing=False))

    def _person(self, name: str, sequence: StoredSequence, faint: bool) -> _Person:
        frames = Frames(sequence)
        start = frames[0]
        nodes = SceneFigure(self._server.scene, f"/world/{name}", start, sequence.store.skeleton, faint)
        return _Person(frames, nodes, start)

    def _open_first(self, sequence: StoredSequence) -> None:
        self._first.figure.remove()
        self._first = self._person("first", sequence, faint=False)
        self._set(self._playback.over(sequence))
        self._begin_first()

    def _begin_first(self) -> None:
        """Make the rest of the page fit the first sequence."""
        sequence = self._first.frames.sequence
        self._slider.max = max(1, len(sequence) - 1)
        paths = _paths(sequence.store.joint_names)
        if self._path.options != paths:
            none = self._path.value == self._path.options[0]
            self._path.options = paths
            if none:
                self._path.value = paths[0]  # type: ignore[misc] # as above
        self._name_joints()
        self._draw_paths()
        self._redraw()

    def _show_second(self) -> None:
        if self._second is not None:
            self._second.figure.remove()
        self._second = self._person("second", self._second_chooser.sequence, faint=True) if self._beside.value else None
        self._name_joints()
        self._draw_paths()
        self._redraw()

    def _people(self) -> list[_Person]:
        return [self._first] if self._second is None else [self._first, self._second]

    def _pose(self, person: _Person) -> Float[np.ndarray, "joints 3"]:
        return (
            person.frames[self._playback.frame] if person is self._first else person.frames.at(self._playback.seconds)
        )

    def _name_joints(self) -> None:
        for person in self._people():
            person.figure.name_joints(self._pose(person), self._names.value)

    def _draw_paths(self) -> None:
        chosen = None if self._path.value == self._path.options[0] else self._path.value
        for person in self._people():
            names = person.figure.skeleton.joint_names
            joint = names.index(chosen) if chosen in names else None
            person.figure.draw_path(None if joint is None else trajectory(person.frames.sequence, joint))

    def _shift(self) -> Float[np.ndarray, "3"]:
        """Of the second figure."""
        if self._second is None:
            return np.zeros(3)
        ahead = facing(self._first.start, self._first.figure.skeleton)
        roots = [person.start[root(person.figure.skeleton)] for person in self._people()]
        same = self._first.frames.sequence.key == self._second.frames.sequence.key
        return beside(roots[0], roots[1], ahead, self._gap.value, same)

    def _middle(self) -> Float[np.ndarray, "3"]:
        """The point of the ground under the people."""
        roots = [self._pose(person)[root(person.figure.skeleton)].astype(np.float64) for person in self._people()]
        roots[-1] = roots[-1] + self._shift()
        return np.mean(roots, axis=0) * (1.0, 1.0, 0.0)

    def _redraw(self) -> None:
        """Draw although the frame is the same, with the people in the middle."""
        self._drawn = -1
        self._world.position = -self._middle()
        self._draw()

    def _draw(self) -> None:
        """Show where playback is, if that has changed: first the people, and now and then the numbers."""
        now, playback = time.monotonic(), self._playback
        if playback.frame != self._drawn:
            self._drawn = playback.frame
            with self._server.atomic():
                self._first.figure.show(self._pose(self._first), np.zeros(3))
                if self._second is not None:
                    self._second.figure.show(self._pose(self._second), self._shift())
                if self._follow.value:
                    self._world.position = -self._middle()
        if not playback.playing or now - self._text_at >= 1.0 / TEXTS_A_SECOND:
            self._text_at = now
            self._show_on_slider(playback.frame)
            self._text.content = self._lines()

    def _show_on_slider(self, frame: int) -> None:
        self._slider.value = frame  # type: ignore[misc] # mypy misses the setter, which does not follow its property

    def _lines(self) -> str:
        playback, first = self._playback, self._first.frames.sequence
        rows = [
            (f"Frame {playback.frame} of {playback.num_frames}", f"{playback.seconds:.2f} s of {first.duration:.2f} s"),
            *facts(first),
        ]
        if self._second is not None:
            second = self._second.frames.sequence
            rows.extend(facts(second, "Second"))
            if first.key == second.key and first.store.joint_names == second.store.joint_names:
                rows.append(
                    ("Apart", apart(self._pose(self._first), self._pose(self._second), first.store.joint_names))
                )
        return table(rows, any(person.frames.sequence.store.header.synthetic for person in self._people()))

    def _camera(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        shifts = (np.zeros(3), self._shift())
        points = np.concatenate(
            [self._pose(person) + shift for person, shift in zip(self._people(), shifts, strict=False)]
        )
        ahead = facing(self._pose(self._first), self._first.figure.skeleton)
        turn = 0.0 if self._second else ONE_TURNED_BY
        return camera(points + np.array(self._world.position), ahead, turn)

    def _look(self) -> None:
        position, look_at = self._camera()
        for client in self._server.get_clients().values():
            with client.atomic():
                client.camera.position, client.camera.look_at = position, look_at


def _paths(joint_names: tuple[str, ...]) -> tuple[str, ...]:
    """What the trajectory may be of: nothing first, under a name that no joint has."""
    nothing = _NO_PATH
    while nothing in joint_names:
        nothing = f"({nothing})"
    return (nothing, *joint_names)
