"""The viewer: what it shows, its figures, its URL; and its page in a real browser."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from h36m_amass.demo import Demo
from h36m_amass.plot.picture import LEFT, RIGHT, colours_of
from h36m_amass.skeleton import H36M, bones, named
from h36m_amass.store.format import JointSet
from h36m_amass.store.store import Store
from h36m_amass.viewer import ViewerError
from h36m_amass.viewer.chooser import Catalogue, catalogue
from h36m_amass.viewer.figure import (
    ASPECT,
    FIELD_OF_VIEW,
    beside,
    camera,
    facing,
    faint_colours_of,
    joint_radii,
    place_bones,
)
from h36m_amass.viewer.page import _paths, apart
from h36m_amass.viewer.playback import CHUNK, Frames, Playback, trajectory
from h36m_amass.viewer.serving import free_port, only_this_machine, page_url, tunnel
from tests.small_stores import write_store

CHROMIUM = shutil.which("chromium")
ARGUMENTS = (
    *("--no-sandbox", "--headless=new", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    "--disable-background-networking",
)
NAMES = Catalogue((("A", "1", "walk_a"), ("A", "1", "run"), ("A", "2", "Walk_b"), ("B", "1", "walk_c")))
finite = st.floats(-10, 10)


# --- what is chosen


def test_each_level_lists_what_is_below_it_in_order() -> None:
    assert NAMES.below() == ("A", "B")
    assert NAMES.below("A") == ("1", "2")
    assert NAMES.below("A", "1") == ("walk_a", "run")


def test_a_filter_keeps_those_with_every_word_in_capitals_or_not() -> None:
    assert [name[2] for name in NAMES.matching("WALK a/").names] == ["walk_a", "Walk_b"]
    assert NAMES.matching("") == NAMES
    assert NAMES.matching("walk swim").names == ()


def test_the_nearest_keeps_as_many_names_as_it_can() -> None:
    assert NAMES.nearest(("A", "2", "run")) == ("A", "2", "Walk_b")
    assert NAMES.nearest(("A", "3", "run")) == ("A", "1", "walk_a")
    assert NAMES.nearest(("C", "1", "run")) == ("A", "1", "walk_a")
    assert all(NAMES.nearest(name) == name for name in NAMES.names)


# --- where in time it is


@given(st.integers(1, 1000), st.floats(1, 240), st.lists(st.floats(0, 3), max_size=8), st.floats(0.1, 4), st.booleans())
def test_a_frame_that_is_there_is_shown_whatever_time_goes_by(
    frames: int, rate: float, steps: list[float], speed: float, loop: bool
) -> None:
    playback = Playback(frames, rate, playing=True, speed=speed, loop=loop)
    for step in steps:
        playback = playback.advanced(step)
        assert 0 <= playback.frame < frames
        assert playback.playing or not loop


def test_it_plays_at_the_rate_of_the_sequence_times_the_speed() -> None:
    playback = Playback(1000, 50.0, playing=True, speed=2.0)
    assert playback.advanced(0.5).frame == 50
    assert replace(playback, playing=False).advanced(0.5).frame == 0


def test_at_the_end_it_begins_again_or_stops_and_play_starts_it_over() -> None:
    playing = Playback(100, 50.0, position=90.0, playing=True)
    assert playing.advanced(0.4).frame == 10
    stopped = replace(playing, loop=False).advanced(0.4)
    assert (stopped.frame, stopped.playing) == (99, False)
    assert (stopped.toggled().frame, stopped.toggled().playing) == (0, True)


@given(st.integers(-10, 400))
def test_a_frame_that_is_sought_is_found_or_the_nearest(frame: int) -> None:
    assert Playback(300, 50.0).sought(frame).frame == min(max(frame, 0), 299)


# --- what it reads


def test_frames_are_those_of_the_store_and_read_a_run_at_a_time(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(demo.store) as store:
        sequence = max(store.sequences, key=len)
        assert len(sequence) > CHUNK  # or only one run would be read
        whole, read = sequence.positions_3d[:], []
        original = Store.read
        monkeypatch.setattr(Store, "read", lambda self, a, b: read.append(b - a) or original(self, a, b))
        frames = Frames(sequence, kept=1)
        frames[0], frames[CHUNK - 1]
        assert read == [CHUNK]
        for frame in range(len(sequence)):
            np.testing.assert_array_equal(frames[frame], whole[frame])
        assert len(read) == 2
        for frame in range(len(sequence)):
            np.testing.assert_array_equal(frames.at(frame / sequence.frame_rate), whole[frame])
        np.testing.assert_array_equal(frames.at(1e6), whole[-1])


def test_a_trajectory_goes_from_the_first_frame_to_the_last(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(demo.store) as store:
        sequence = store.sequences[0]
        whole = sequence.positions_3d[:, 5]
        np.testing.assert_array_equal(trajectory(sequence, 5), whole)
        monkeypatch.setattr("h36m_amass.viewer.playback.LONGEST_PATH", 7)
        some = trajectory(sequence, 5)
        assert len(some) == 7
        np.testing.assert_array_equal(some[[0, -1]], whole[[0, -1]])


def test_a_filter_that_matches_nothing_is_an_error_that_names_each_word(demo: Demo) -> None:
    with Store(demo.store) as store, pytest.raises(ViewerError, match=r"amass_h36m\.h5.* 'q' and 'swim' in its key"):
        catalogue(store, "q  swim")


LONG = 10_000
"""Frames of a sequence that is opened at once, however long it is."""


@pytest.fixture(params=["none", "gzip"])
def long_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store of a short sequence and one of `LONG` frames."""
    rng = np.random.default_rng(0)
    positions = {f"D/s/{name}": [rng.normal(size=(length, 17, 3))] for name, length in (("q", 7), ("walk", LONG))}
    write_store(tmp_path / "s.h5", [JointSet("h36m", "r", H36M)], positions, compression=request.param)
    with Store(tmp_path / "s.h5") as store:
        yield store


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each call on a store reads."""
    made: list[int] = []
    one, many = Store.read_into, Store.read_runs
    monkeypatch.setattr(Store, "read_into", lambda self, at, frames: made.append(len(frames)) or one(self, at, frames))
    monkeypatch.setattr(
        Store, "read_runs", lambda self, at, frames, *runs: made.append(len(frames)) or many(self, at, frames, *runs)
    )
    return made


def test_a_long_sequence_opens_at_once(long_store: Store, reads: list[int]) -> None:
    """The page is served, with two people on it, when a run of frames of each has been read."""
    pytest.importorskip("viser")
    from h36m_amass.viewer.page import Shown, serve

    def ready(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serve(Shown(long_store, long_store, True, "walk"), "127.0.0.1", 0, ready)
    assert reads == [CHUNK, CHUNK]


@pytest.mark.parametrize(("points", "rows"), [(LONG, LONG), (LONG // CHUNK + 1, LONG), (LONG // CHUNK, LONG // CHUNK)])
def test_a_trajectory_is_read_in_few_calls(
    long_store: Store, reads: list[int], monkeypatch: pytest.MonkeyPatch, points: int, rows: int
) -> None:
    """All rows while nearly each chunk has a point, and after that the points alone: `CHUNK` rows per point at most."""
    monkeypatch.setattr("h36m_amass.viewer.playback.LONGEST_PATH", points)
    sequence = long_store["D/s/walk"]
    whole = sequence.positions_3d[:, 5]
    reads.clear()
    path = trajectory(sequence, 5)
    assert sum(reads) == rows <= CHUNK * points
    assert len(reads) <= 1 + rows // (64 * CHUNK)
    np.testing.assert_array_equal(path, whole[np.linspace(0, LONG - 1, points).round().astype(int)])


# --- figures


@given(st.lists(st.tuples(finite, finite, finite), min_size=17, max_size=17))
def test_a_rod_that_is_placed_goes_from_the_parent_to_the_joint(points: list[tuple[float, float, float]]) -> None:
    """Rotating (0, 0, length) by q gives q (0, 0, length) q*; its third column as a rotation matrix."""
    pose = np.array(points)
    placed = place_bones(pose, H36M, joint_radii(pose, H36M))
    w, x, y, z = placed.wxyzs.T
    np.testing.assert_allclose(np.linalg.norm(placed.wxyzs, axis=1), 1.0)
    axis = np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=1)
    ends = placed.positions + placed.scales[:, 2:] * axis
    np.testing.assert_allclose(ends, pose[bones(H36M)[:, 1]], atol=2e-6)


@pytest.mark.parametrize("aside", [0.0, 1e-168])
def test_a_bone_that_points_straight_down_is_turned_over(aside: float) -> None:
    pose = np.zeros((17, 3))
    pose[2] = aside, 0, -1
    placed = place_bones(pose, H36M, joint_radii(pose, H36M))
    assert np.isfinite(placed.wxyzs).all()
    np.testing.assert_allclose(placed.wxyzs[bones(H36M)[:, 1] == 2], [(0, 1, 0, 0)], atol=1e-12)


def test_left_and_right_have_colours_of_their_own_and_the_second_figure_paler_ones() -> None:
    colours, faint = colours_of(H36M), faint_colours_of(H36M)
    assert LEFT != RIGHT
    assert {tuple(colours[joint]) for joint in H36M.left} == {LEFT}
    assert {tuple(colours[joint]) for joint in H36M.right} == {RIGHT}
    assert (faint >= colours).all()
    assert (faint > colours).any(axis=1).all()


def test_joints_without_bones_and_sides_can_be_shown() -> None:
    skeleton, pose = named(("a", "b")), np.array([[0.0, 0, 0], [0, 0, 1]])
    assert len(place_bones(pose, skeleton, joint_radii(pose, skeleton)).positions) == 0
    assert np.isfinite(camera(pose, facing(pose, skeleton))).all()


@given(st.floats(0, 6.28), st.tuples(finite, finite), st.floats(0, 0.6))
def test_the_camera_stands_in_front_and_sees_every_joint(angle: float, shift: tuple[float, float], turn: float) -> None:
    """A person who faces -y, turned by any angle and put anywhere."""
    pose = np.zeros((17, 3))
    pose[list(H36M.left), 0], pose[list(H36M.right), 0] = 0.2, -0.2
    pose[:, 2] = np.linspace(0, 1.8, 17)
    cosine, sine = np.cos(angle), np.sin(angle)
    pose = pose @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]]) + (*shift, 0.0)
    ahead = facing(pose, H36M)
    np.testing.assert_allclose(ahead, (sine, -cosine, 0), atol=1e-6)
    position, look_at = camera(pose, ahead, turn)
    view = (look_at - position) / np.linalg.norm(look_at - position)
    assert view @ ahead < -0.5
    right = np.cross(view, (0, 0, 1)) / np.linalg.norm(np.cross(view, (0, 0, 1)))
    rays = (pose - position) / ((pose - position) @ view)[:, None]
    assert (np.abs(rays @ np.cross(right, view)) < np.tan(FIELD_OF_VIEW / 2)).all()
    assert (np.abs(rays @ right) < ASPECT * np.tan(FIELD_OF_VIEW / 2)).all()


def test_two_people_fill_the_width_and_are_whole() -> None:
    points = np.array([[x, 0.1, z] for x in (-1.5, -1.0, 1.0, 1.5) for z in (0, 1.8)])
    position, look_at = camera(points, np.array([0.0, -1, 0]))
    view = (look_at - position) / np.linalg.norm(look_at - position)
    across = (points - position)[:, 0] / ((points - position) @ view)
    assert 0.8 < np.abs(across).max() / (ASPECT * np.tan(FIELD_OF_VIEW / 2)) < 1.0


@given(st.lists(st.sampled_from(["none", "(none)", "((none))", "hip"]), unique=True))
def test_no_joint_has_the_name_of_no_trajectory(names: list[str]) -> None:
    nothing, *joints = _paths(tuple(names))
    assert joints == names
    assert nothing not in names


def test_a_second_figure_stands_to_the_left_and_keeps_its_own_way_if_it_is_the_same_recording() -> None:
    first, second, ahead = np.array([1.0, 2, 0.9]), np.array([4.0, -3, 0.8]), np.array([0.0, -1, 0])
    np.testing.assert_allclose(second + beside(first, second, ahead, 1.5, same=False), (2.5, 2, 0.8))
    np.testing.assert_allclose(beside(first, second, ahead, 1.5, same=True), (1.5, 0, 0))


def test_how_far_apart_two_poses_are_is_said_in_millimetres() -> None:
    first, second = np.zeros((2, 3), np.float32), np.array([[0, 0, 0], [0, 0, 0.01]], np.float32)
    assert apart(first, second, "ab") == "5.0 mm on average, at most 10.0 mm (b)"


# --- where it is served


def test_a_port_that_is_taken_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port("127.0.0.1", port) > port
        with pytest.raises(ViewerError, match=f"no port from {port} on is free"):
            free_port("127.0.0.1", port, tries=1)
    assert free_port("127.0.0.1", 0) > 0


def test_an_address_that_is_not_this_machines_is_an_error() -> None:
    with pytest.raises(ViewerError, match=r"192\.0\.2\.1: cannot be served on"):  # RFC 5737: nobody's
        free_port("192.0.2.1", 8080)


def test_only_a_loopback_address_is_private() -> None:
    assert [only_this_machine(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost")] == [True] * 4
    assert [only_this_machine(host) for host in ("0.0.0.0", "::", "192.0.2.1", "example.org")] == [False] * 4


def test_the_address_that_is_printed_opens_in_a_browser() -> None:
    assert page_url("127.0.0.1", 80) == page_url("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert page_url("::1", 80) == page_url("::", 80) == "http://[::1]:80"
    assert tunnel("127.0.0.1", 8080).startswith("ssh -N -L 8080:127.0.0.1:8080 ")


# --- the command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.h5"], "missing.h5"),
        (["{store}", "missing.h5"], "missing.h5"),
        (["{store}", "--filter", "swim"], "'swim'"),
        (["{store}", "--joint-set", "none"], "'none'"),
        (["{store}", "--host", "192.0.2.1"], "192.0.2.1"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    cli: Callable[..., Any], demo: Demo, arguments: list[str], message: str
) -> None:
    outcome = cli("view", *(argument.format(store=demo.store) for argument in arguments), "--port", "0")
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith("error: ") and message in outcome.stderr
    assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("stores", "sets", "shown"),
    [
        (1, [], ["h36m", "h36m"]),
        (1, ["pair"], ["pair", "pair"]),
        (1, ["pair", "h36m"], ["pair", "h36m"]),
        (2, [], ["h36m", "h36m"]),
        (2, ["pair"], ["pair", "pair"]),
        (2, ["h36m", "pair"], ["h36m", "pair"]),
    ],
)
def test_one_joint_set_serves_both_stores(
    cli: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stores: int,
    sets: list[str],
    shown: list[str],
) -> None:
    from h36m_amass.viewer import page as viewer_page

    joint_sets = JointSet("h36m", "r", H36M), JointSet("pair", "p", named(("a", "b")))
    write_store(tmp_path / "s.h5", joint_sets, {"D/s/q": [np.zeros((1, len(one.skeleton), 3)) for one in joint_sets]})
    served: list[Any] = []
    monkeypatch.setattr(viewer_page, "serve", lambda page, *_: served.append(page))
    options = [word for name in sets for word in ("--joint-set", name)]
    assert cli("view", *[tmp_path / "s.h5"] * stores, *options, "--port", 0).exit_code == 0
    assert [store.joint_set.name for store in (served[0].first, served[0].second)] == shown
    assert served[0].side_by_side == (stores == 2 or len(sets) == 2)


def test_both_stores_may_lie_at_addresses(cli: Callable[..., Any], demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")
    from h36m_amass.viewer import page as viewer_page

    files = fsspec.filesystem("memory")
    files.put(str(demo.store), "/viewed.h5")
    served: list[Any] = []
    monkeypatch.setattr(viewer_page, "serve", lambda page, *_: served.append(page))
    try:
        assert cli("view", demo.store, "memory://viewed.h5", "--port", 0).exit_code == 0
    finally:
        files.rm("/viewed.h5")
    assert str(served[0].second.path) == "memory://viewed.h5"


def test_without_viser_it_says_what_to_install(
    cli: Callable[..., Any], demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    outcome = cli("view", demo.store)
    assert (outcome.exit_code, outcome.stderr.count("\n")) == (1, 1)
    assert "pip install 'h36m-amass[view]'" in outcome.stderr


# --- the page


@dataclass(frozen=True)
class Viewer:
    """A viewer that runs as a user started it."""

    process: subprocess.Popen[str]
    url: str


@pytest.fixture
def viewer(demo: Demo) -> Iterator[Viewer]:
    program = Path(sys.executable).with_name("h36m-amass")
    command = [program, "view", demo.store, demo.store, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Viewer(process, process.stdout.readline().split()[0])
        finally:
            process.kill()


def test_ctrl_c_ends_it_with_one_word(viewer: Viewer) -> None:
    viewer.process.send_signal(signal.SIGINT)
    _, message = viewer.process.communicate(timeout=20)
    assert (viewer.process.returncode, message) == (130, "interrupted\n")


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_sequence_is_chosen_played_and_scrubbed_in_a_browser(viewer: Viewer, tmp_path: Path) -> None:
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 480, "height": 320})
        page.set_default_timeout(60_000)
        errors: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.on("websocket", lambda socket: requests.append(socket.url))
        page.goto(viewer.url)

        shown = page.get_by_text(re.compile(r"^Frame \d+ of \d+$")).first

        def frame() -> int:
            return int(shown.inner_text().split()[1])

        expect(shown).to_have_text("Frame 0 of 300", timeout=60_000)
        expect(page.get_by_text("0.0 mm on average", exact=False)).to_be_visible(
            timeout=60_000
        )  # a store beside itself
        page.get_by_label("Sequence").first.click()
        assert page.get_by_role("option").all_inner_texts() == ["run_poses", "turn_poses"]
        page.get_by_role("option", name="turn_poses").click()
        expect(page.get_by_text("Invented/somebody/turn_poses", exact=True)).to_be_visible(timeout=60_000)

        page.get_by_text("Filter", exact=True).first.locator("xpath=following::input[1]").fill("pretend WALK")
        expect(page.get_by_text("Pretend/s1/walk_poses", exact=True)).to_be_visible(timeout=60_000)
        assert frame() == 0

        page.get_by_role("button", name="Play").click()
        expect(shown).not_to_have_text("Frame 0 of 300", timeout=60_000)
        slider = page.get_by_role("slider").first
        # Where it is put while it plays, it stays, and so does its knob.
        slider.press("End")
        expect(shown).to_have_text("Frame 299 of 300", timeout=60_000)
        expect(slider).to_have_attribute("aria-valuenow", "299", timeout=60_000)

        page.get_by_role("button", name="Play").click()
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Play")).to_be_visible(timeout=60_000)
        assert 0 <= frame() < 300

        slider.press("Home")
        expect(shown).to_have_text("Frame 0 of 300", timeout=60_000)
        slider.press("ArrowRight")
        expect(shown).to_have_text("Frame 1 of 300", timeout=60_000)
        for step, expected in (("+10", 11), ("-1", 10), ("+1", 11), ("-10", 1)):
            page.get_by_role("button", name=step, exact=True).click()
            expect(shown).to_have_text(f"Frame {expected} of 300", timeout=60_000)
        page.get_by_label("Joint names").click()

        picture = tmp_path / "page.png"
        deadline = time.monotonic() + 60
        while not told_apart(picture) and time.monotonic() < deadline:
            page.screenshot(path=picture, timeout=30_000)
        assert told_apart(picture), picture
        browser.close()
    assert errors == []
    host = viewer.url.removeprefix("http://")
    elsewhere = [url for url in requests if not re.match(rf"data:|(blob:http|http|ws)://{re.escape(host)}(/|$)", url)]
    assert requests and not elsewhere


def told_apart(picture: Path) -> bool:
    """Does it show limbs in blue and in red over a good part of its height, on something pale?"""
    if not picture.exists():
        return False
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=int)[:, : image.width // 2]
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    tall = [rows[-1] - rows[0] if len(rows) else 0 for rows in map(rows_of, (red - blue > 80, blue - red > 60))]
    return min(tall) > 0.3 * len(pixels) and float((green > 200).mean()) > 0.5


def rows_of(mask: np.ndarray) -> np.ndarray:
    """The rows in which some pixels are."""
    return np.flatnonzero(mask.sum(axis=1) >= 2)
