"""The viewer's page (extra ``view``): its panel and its scene in the browser, through viser.

Everything that happens on the page comes into one queue and is answered in one thread, so nothing here is locked.
"""

import contextlib
import html
import io
import queue
import time
from collections.abc import Callable
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import viser

from h36m_amass.plot.image import ImageCamera
from h36m_amass.skeleton import root
from h36m_amass.store.selection import StoredSequence
from h36m_amass.store.store import Store
from h36m_amass.viewer.chooser import Chooser, catalogue
from h36m_amass.viewer.figure import FIELD_OF_VIEW, Person, Point, Pose, beside, camera, facing
from h36m_amass.viewer.image import camera_image
from h36m_amass.viewer.playback import SPEEDS, Playback, trajectory

POSES_A_SECOND, TEXTS_A_SECOND = 30.0, 10.0  # hertz, at most, of the scene and of the panel while a sequence plays
ONE_TURNED_BY = np.radians(30.0)  # to the side, of a camera that looks at one person; at two it looks straight
_Command = Callable[[], None]
_Field = TypeVar("_Field")


class _PrivateServer(viser.ViserServer):
    """Without viser's way of sharing a page through a server on the internet: the data must not leave the machine."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        return None


@dataclass(frozen=True)
class Shown:
    """What the page begins with: two stores, read for the joint sets that are shown."""

    first: Store
    second: Store  # what the second sequence is chosen from
    side_by_side: bool  # whether the second sequence is shown from the start
    text: str  # what the names of the first sequence are filtered by
    camera: ImageCamera | None = None  # what it sees of the first person is shown beside the scene


def serve(shown: Shown, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve the page at a free port, 0 for any, until an exception ends it; `ready` gets the port once it is there."""
    for store, text in ((shown.first, shown.text), (shown.second, "")):
        catalogue(store, text)
    silent = contextlib.redirect_stdout(io.StringIO())  # of what viser prints when it starts and stops
    with silent:
        server = _PrivateServer(host=host, port=port, label="h36m-amass", verbose=False)
    try:
        page = _Page(server, shown)
        ready(server.get_port())
        page.run()
    finally:
        with silent:
            server.stop()


class _Page:
    """The page: what is on it, and what happens when somebody uses it."""

    def __init__(self, server: viser.ViserServer, shown: Shown) -> None:
        self._server = server
        self._commands: queue.SimpleQueue[_Command] = queue.SimpleQueue()
        self._people: list[Person] = []  # the first and, where it is shown, the second
        self._playback = Playback(1, 1.0)
        self._drawn = -1
        self._text_at = 0.0
        server.scene.set_up_direction("+z")
        server.scene.configure_default_lights(enabled=True, cast_shadow=True)
        server.gui.configure_theme(show_logo=False, show_share_button=False, control_width="medium")
        server.gui.main_panel.dock_right()
        self._world = server.scene.add_frame("/world", show_axes=False)
        grid: Any = {"infinite_grid": True, "cell_color": (225, 225, 225), "shadow_opacity": 0.2}
        server.scene.add_grid("/world/ground", fade_distance=25.0, **grid)
        self._add_fields(server.gui, shown)
        self._open_first(self._chooser.sequence)
        self._show_second()
        camera = server.initial_camera
        camera.fov, camera.up, (camera.position, camera.look_at) = FIELD_OF_VIEW, (0, 0, 1), self._camera()

    def _add_fields(self, gui: viser.GuiApi, shown: Shown) -> None:
        on = self._on
        self._text = gui.add_html("")
        self._camera_seen = shown.camera
        if shown.camera is not None:
            blank = np.full((2, 2, 3), 255, np.uint8)
            self._image = gui.add_image(blank, label=f"Seen by {shown.camera.name}", format="png")
        self._slider = gui.add_slider("Frame", min=0, max=1, step=1, initial_value=0)
        self._slider.on_update(self._slider_moved)
        play = gui.add_button("Play", icon=viser.Icon.PLAYER_PLAY)
        self._play = on(play, lambda: self._set(self._playback.toggled()))
        step = gui.add_button_group("Step", ("-10", "-1", "+1", "+10"))
        on(step, lambda: self._seek(self._playback.frame + int(step.value)))
        self._speed = on(gui.add_dropdown("Speed", tuple(SPEEDS), initial_value="1 x"), self._play_otherwise)
        self._loop = on(gui.add_checkbox("Loop", True), self._play_otherwise)
        with gui.add_folder("Sequence"):
            self._chooser = Chooser(gui, shown.first, shown.text, None, self._open_first)
        with gui.add_folder("Second sequence", expand_by_default=shown.side_by_side):
            self._beside = on(gui.add_checkbox("Show", shown.side_by_side), self._show_second)
            begin = self._chooser.names
            self._second_chooser = Chooser(gui, shown.second, "", begin, lambda _: self._show_second())
            gap = gui.add_slider("Distance (m)", min=0.0, max=4.0, step=0.1, initial_value=1.2)
            self._gap = on(gap, self._redraw)
        with gui.add_folder("View"):
            self._names = on(gui.add_checkbox("Joint names", False), self._name_joints)
            self._path = on(gui.add_dropdown("Trajectory", _paths(shown.first.joint_names)), self._draw_paths)
            self._follow = on(gui.add_checkbox("Follow", True, hint="Keep the person in the middle"), self._redraw)
            on(gui.add_button("Look from the front", icon=viser.Icon.FOCUS_CENTERED), self._look)
        for chooser in (self._chooser, self._second_chooser):
            on(chooser.filter, chooser.narrow)
            on(chooser.joint_set, chooser.take_joint_set)
            for field in chooser.fields:
                on(field, chooser.choose)

    def _on(self, field: _Field, answer: _Command) -> _Field:
        def came(event: Any) -> None:
            if event.client is not None:  # otherwise this program has set the field
                self._commands.put(answer)

        getattr(field, "on_click" if hasattr(field, "on_click") else "on_update")(came)
        return field

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
        before, self._playback = self._playback, playback
        if playback.playing != before.playing:
            self._play.label = "Pause" if playback.playing else "Play"
            self._play.icon = viser.Icon.PLAYER_PAUSE if playback.playing else viser.Icon.PLAYER_PLAY
        self._draw()

    def _seek(self, frame: int) -> None:
        self._set(replace(self._playback.sought(frame), playing=False))

    def _play_otherwise(self) -> None:
        self._set(replace(self._playback, speed=SPEEDS[self._speed.value], loop=self._loop.value))

    def _open_first(self, sequence: StoredSequence) -> None:
        for person in self._people[:1]:
            person.remove()
        self._people[:1] = [Person(self._server.scene, "/world/first", sequence, faint=False)]
        length, rate = len(sequence), sequence.frame_rate
        self._set(replace(self._playback, num_frames=length, frame_rate=rate, position=0.0, playing=False))
        self._slider.max = max(1, length - 1)
        paths = _paths(sequence.store.joint_names)
        if self._path.options != paths:
            none = self._path.value == self._path.options[0]
            self._path.options = paths
            if none:
                self._path.value = paths[0]  # type: ignore[misc] # as below
        self._follow_people()

    def _show_second(self) -> None:
        for person in self._people[1:]:
            person.remove()
        scene, sequence = self._server.scene, self._second_chooser.sequence
        self._people[1:] = [Person(scene, "/world/second", sequence, faint=True)] if self._beside.value else []
        self._follow_people()

    def _follow_people(self) -> None:
        self._name_joints()
        self._draw_paths()
        self._redraw()

    def _pose(self, person: Person) -> Pose:
        frame, seconds = self._playback.frame, self._playback.seconds
        return person.frames[frame] if person is self._people[0] else person.frames.at(seconds)

    def _name_joints(self) -> None:
        for person in self._people:
            person.name_joints(self._pose(person), self._names.value)

    def _draw_paths(self) -> None:
        chosen = None if self._path.value == self._path.options[0] else self._path.value
        for person in self._people:
            names = person.skeleton.joint_names
            joint = names.index(chosen) if chosen in names else None
            person.draw_path(None if joint is None else trajectory(person.sequence, joint))

    def _shifts(self) -> list[Point]:
        if len(self._people) == 1:
            return [np.zeros(3)]
        first, second = self._people
        ahead, same = facing(first.start, first.skeleton), first.sequence.key == second.sequence.key
        roots = [person.start[root(person.skeleton)] for person in self._people]
        return [np.zeros(3), beside(roots[0], roots[1], ahead, self._gap.value, same)]

    def _placed(self) -> list[Pose]:
        """The people's joints, where they are in the world."""
        return [self._pose(person) + shift for person, shift in zip(self._people, self._shifts(), strict=True)]

    def _middle(self) -> Point:
        roots = [pose[root(person.skeleton)] for person, pose in zip(self._people, self._placed(), strict=True)]
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
                for person, shift in zip(self._people, self._shifts(), strict=True):
                    person.show(self._pose(person), shift)
                if self._follow.value:
                    self._world.position = -self._middle()
        if not playback.playing or now - self._text_at >= 1.0 / TEXTS_A_SECOND:
            self._text_at = now
            self._show_on_slider(playback.frame)
            self._text.content = self._lines()
            if self._camera_seen is not None:
                first = self._people[0]
                self._image.image = camera_image(self._pose(first), first.skeleton, self._camera_seen)

    def _show_on_slider(self, frame: int) -> None:
        self._slider.value = frame  # type: ignore[misc] # mypy misses the setter, which does not follow its property

    def _lines(self) -> str:
        playback, first = self._playback, self._people[0].sequence
        seconds = f"{playback.seconds:.2f} s of {first.duration:.2f} s"
        rows = [(f"Frame {playback.frame} of {playback.num_frames}", seconds), *_facts(first, "Sequence")]
        for person in self._people[1:]:
            second, names = person.sequence, first.store.joint_names
            rows.extend(_facts(second, "Second"))
            if first.key == second.key and names == second.store.joint_names:
                rows.append(("Apart", apart(self._pose(self._people[0]), self._pose(person), names)))
        return _table(rows, any(person.sequence.store.header.synthetic for person in self._people))

    def _camera(self) -> tuple[Point, Point]:
        first = self._people[0]
        turn = 0.0 if len(self._people) > 1 else ONE_TURNED_BY
        points = np.concatenate(self._placed()) + np.array(self._world.position)
        return camera(points, facing(self._pose(first), first.skeleton), turn)

    def _look(self) -> None:
        for client in self._server.get_clients().values():
            with client.atomic():
                client.camera.position, client.camera.look_at = self._camera()


def _facts(sequence: StoredSequence, title: str) -> list[tuple[str, str]]:
    """What a sequence is, as names and values."""
    record, store = sequence.record, sequence.store
    joints = f"{len(store.skeleton)} joints of {store.joint_set.name}"
    return [
        (title, record.key),
        ("Frames", f"{len(sequence):,} at {sequence.frame_rate:g} Hz, {joints}"),
        ("Body", f"{record.model}, {record.gender}, {'with' if record.has_dmpls else 'without'} soft tissue"),
        ("Source", f"{record.source_path}, {record.source_frames:,} frames at {record.source_frame_rate:g} Hz"),
        ("Store", str(store.path)),
    ]


def apart(first: Pose, second: Pose, joint_names: Ordered[str]) -> str:
    """How far the joints of two poses are from each other."""
    distances = 1000.0 * np.linalg.norm(first.astype(np.float64) - second, axis=1)
    largest = int(distances.argmax())
    return f"{distances.mean():.1f} mm on average, at most {distances[largest]:.1f} mm ({joint_names[largest]})"


def _table(rows: list[tuple[str, str]], synthetic: bool) -> str:
    """Names and values as HTML, with whatever names of files hold written out."""
    note = "<b style='color: #b45309'>SYNTHETIC: made-up, not data to train on</b>" if synthetic else ""
    lines = "".join(
        f"<div><b>{html.escape(name)}</b> <span style='overflow-wrap: anywhere'>{html.escape(value)}</span></div>"
        for name, value in rows
    )
    return f"<div style='padding: 0 1em 0.7em; font-size: 0.85em; line-height: 1.5'>{note}{lines}</div>"


def _paths(joint_names: tuple[str, ...]) -> tuple[str, ...]:
    """What the trajectory may be of: nothing first, under a name that no joint has."""
    nothing = "none"
    while nothing in joint_names:
        nothing = f"({nothing})"
    return (nothing, *joint_names)
