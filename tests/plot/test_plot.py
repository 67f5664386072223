"""Pictures: which kind of file, how many frames and cells, what is in sight, and one line for what cannot be drawn."""

from __future__ import annotations

import json
import logging
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb
from PIL import Image

from h36m_amass.demo import Demo
from h36m_amass.plot import animation, picture
from h36m_amass.plot.animation import DPI, MARGIN, MAX_BOX, MAX_GIF_FRAMES, MAX_RATES, SIZE, animate, boxes, timing
from h36m_amass.plot.contact_sheet import PAGE, page_paths
from h36m_amass.plot.picture import label, seen
from h36m_amass.plot.poses import draw_poses
from h36m_amass.skeleton import H36M, named
from h36m_amass.store.format import JointSet
from h36m_amass.store.store import Store
from tests.small_stores import write_store

Cli = Callable[..., Any]
WALK = "Pretend/s1/walk_poses"
MAGIC = {".png": b"\x89PNG\r\n\x1a\n", ".pdf": b"%PDF-", ".svg": b"<?xml", ".gif": b"GIF89a"}


def refused(outcome: Any, *words: str) -> None:
    """One line on standard error, with these words in it; lines about progress begin otherwise."""
    assert outcome.exit_code == 1, outcome
    lines = [line for line in outcome.stderr.splitlines() if not line.startswith("drawing ")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert all(word in lines[0] for word in words), lines


def small_store(path: Path, keys: list[str], length: int = 2, rate: float = 50.0, bones: bool = True) -> Path:
    """A store of people who stand where they please."""
    skeleton = H36M if bones else named(tuple(f"joint_{k}" for k in range(17)))
    rng = np.random.default_rng(0)
    positions = {key: [rng.normal(scale=0.5, size=(length, len(skeleton), 3))] for key in keys}
    return write_store(path, [JointSet("h36m", "r", skeleton)], positions, rate)


def ids(path: Path) -> list[str]:
    """The names of an SVG's parts."""
    return [element.attrib["id"] for element in ElementTree.parse(path).iter() if "id" in element.attrib]


# --- files


@pytest.mark.parametrize("ending", MAGIC)
def test_the_ending_says_the_kind_of_file(cli: Cli, demo: Demo, tmp_path: Path, ending: str) -> None:
    for path in (tmp_path / f"walk{ending}", tmp_path / f"again{ending.upper()}"):
        outcome = cli("plot", demo.store, WALK, "--out", path, "--seconds", 0.1)
        assert outcome.exit_code == 0, outcome
        assert outcome.stdout.splitlines() == [str(path)]
        assert path.read_bytes().startswith(MAGIC[ending])
    assert (tmp_path / f"walk{ending}").read_bytes() == (tmp_path / f"again{ending.upper()}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_without_out_the_file_is_named_after_the_key(
    cli: Cli, demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("plot", demo.store.absolute(), f"/{WALK}/").stdout == "Pretend-s1-walk_poses.png\n"
    assert cli("plot", demo.store.absolute(), "Pretend", "--contact-sheet").stdout == "Pretend-contact-sheet.png\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "Pretend-contact-sheet.png",
        "Pretend-s1-walk_poses.png",
    ]


@pytest.mark.parametrize(
    ("out", "options", "words"),
    [
        ("walk.jpg", [WALK], ["walk.jpg", ".png", ".mp4"]),
        ("walk", [WALK], [".gif"]),
        ("walk.gif", ["Pretend", "--contact-sheet"], ["walk.gif", ".svg"]),
        ("walk.png", [WALK, "--contact-sheet"], ["dataset or subject"]),
        ("walk.png", ["Pretend/s1"], ["--contact-sheet"]),
        ("walk.png", ["Pretend/s1/crawl"], ["crawl"]),
        ("walk.gif", [WALK, "--poses", "3"], ["--poses"]),
        ("walk.png", [WALK, "--start", "6"], ["6.00 s long", "--start"]),
        ("walk.gif", [WALK, "--start", "600"], ["--start"]),
        ("walk.png", [WALK, "--start", "inf"], ["from inf s on", "--start"]),
        ("walk.gif", [WALK, "--start", "-1"], ["from -1 s on", "--start"]),
        ("walk.gif", [WALK, "--seconds", "0"], ["0 s", "--seconds", "positive"]),
        ("walk.png", [WALK, "--seconds", "inf"], ["inf s", "--seconds", "positive"]),
        ("walk.png", [WALK, "--poses", "0"], ["1 to 50"]),
        ("walk.png", [WALK, "--poses", "51"], ["1 to 50"]),
        ("walk.png", [], ["amass_h36m.h5", "KEY", "--contact-sheet"]),
        ("walk.png", ["--contact-sheet", "--poses", "3"], ["--poses", "--contact-sheet"]),
        ("walk.png", ["--contact-sheet", "--start", "1"], ["--start", "--contact-sheet"]),
        ("walk.png", ["--contact-sheet", "--seconds", "3"], ["--seconds", "--contact-sheet"]),
        ("nowhere/walk.png", [WALK], ["nowhere"]),
        ("folder.png", [WALK], ["is a folder"]),
        ("there.png", [WALK], ["there.png", "--overwrite"]),
        ("there.gif", [WALK], ["there.gif", "--overwrite"]),
        ("there.png", ["Pretend", "--contact-sheet"], ["there.png", "--overwrite"]),
        ("walk.png", [WALK, "--joint-set", "spam"], ["spam"]),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_writes_nothing(
    cli: Cli, demo: Demo, tmp_path: Path, out: str, options: list[str], words: list[str]
) -> None:
    (tmp_path / "folder.png").mkdir()
    for name in ("there.png", "there.gif"):
        (tmp_path / name).write_text("mine", encoding="utf-8")
    refused(cli("plot", demo.store, *options, "--out", tmp_path / out), *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png", "there.gif", "there.png"]
    assert (tmp_path / "there.png").read_text(encoding="utf-8") == "mine"


def test_overwrite_replaces(cli: Cli, demo: Demo, tmp_path: Path) -> None:
    path = tmp_path / "walk.png"
    path.write_text("mine", encoding="utf-8")
    assert cli("plot", demo.store, WALK, "--out", path, "--overwrite").exit_code == 0
    assert path.read_bytes().startswith(MAGIC[".png"])


def test_joints_without_bones_are_refused_by_name(cli: Cli, tmp_path: Path) -> None:
    store = small_store(tmp_path / "s.h5", ["D/s/q"], bones=False)
    for options in (["D/s/q", "--out", tmp_path / "q.png"], ["D/s/q", "--out", tmp_path / "q.gif"]):
        refused(cli("plot", store, *options), "D/s/q", "no bones")
    refused(cli("plot", store, "--contact-sheet", "--out", tmp_path / "q.png"), "no bones")
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]


@pytest.mark.parametrize("name", ["cost $5 to $\\frac$", "走る\nnew line", "_x", "Q" * 200])
def test_names_are_drawn_as_they_are(cli: Cli, tmp_path: Path, name: str) -> None:
    """None is taken for a formula or leads to a warning, which the tests turn into errors."""
    store = small_store(tmp_path / "s.h5", [f"D/s/{name}"])
    for out, options in (("a.png", []), ("b.gif", []), ("c.svg", ["--contact-sheet"])):
        key = "D" if options else f"D/s/{name}"
        assert cli("plot", store, key, *options, "--out", tmp_path / out).exit_code == 0
    assert cli("info", store, "D/s", "--plot", tmp_path / "d.png").exit_code == 0


@given(st.text(max_size=80), st.integers(2, 40))
def test_labels_fit_and_can_be_printed(text: str, limit: int) -> None:
    shown = label(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()
    if text.isprintable() and len(text) <= limit:
        assert shown == text


# --- views


@given(st.floats(0, 6.28), st.floats(-5, 5), st.sampled_from([0.0, 35.0, 90.0]))
def test_a_view_turns_and_moves_with_the_person(angle: float, shift: float, degrees: float) -> None:
    pose = np.random.default_rng(1).normal(size=(17, 3))
    cos, sin = np.cos(angle), np.sin(angle)
    turned = pose @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) + [shift, -shift, 0]
    for before, after in zip(seen(pose, H36M, degrees), seen(turned, H36M, degrees), strict=True):
        np.testing.assert_allclose(before, after, atol=1e-9)


def test_left_is_on_the_right_from_the_front_and_the_nose_from_the_side(demo: Demo) -> None:
    """The demo's people look ahead: their noses are in front of them."""
    left, right, nose = list(H36M.left), list(H36M.right), H36M.joint_names.index("nose")
    with Store(demo.store) as store:
        for sequence in store.sequences:
            pose = sequence.positions_3d[0]
            front, nearer = seen(pose, H36M, 0)
            assert front[left, 0].mean() > front[right, 0].mean()
            assert nearer[nose] > nearer[0]
            side, near_side = seen(pose, H36M, 90)
            assert side[nose, 0] > side[0, 0]
            assert near_side[right].mean() > near_side[left].mean()
            np.testing.assert_array_equal(side[:, 1], pose[:, 2])


# --- animations


@given(st.integers(1, 400), st.fractions(1, 300), st.floats(0, 1), st.none() | st.floats(0.01, 3))
def test_an_animation_runs_in_real_time(length: int, rate: Any, begin: float, seconds: float | None) -> None:
    sequence: Any = _Timed(length, float(rate))
    start = begin * (length - 1) / float(rate)
    for kind, max_rate in MAX_RATES.items():
        made = timing(sequence, kind, start, seconds)
        assert made.rate <= max_rate + 1e-6
        assert made.rate > min(max_rate / 2, float(rate)) / 1.25
        assert abs(made.frames[0] / float(rate) - start) <= 0.5 / float(rate) + 1e-9
        assert made.frames[-1] < length
        shown = made.frames[0] / float(rate) + np.arange(len(made.frames)) / made.rate
        assert np.abs(made.frames / float(rate) - shown).max() <= 0.5 / float(rate) + 1e-9
        rest = length - made.frames[0]
        expected = rest if seconds is None else min(rest, seconds * float(rate))
        assert abs(len(made.frames) / made.rate * float(rate) - expected) <= float(rate) / made.rate + 0.5
        if kind == ".gif":
            assert abs(100 / made.rate - round(100 / made.rate)) < 1e-9
        else:
            assert len(set(np.diff(made.frames))) <= 1


class _Timed:
    """What `timing` asks of a sequence."""

    key = "D/s/q"

    def __init__(self, length: int, rate: float) -> None:
        self.length, self.frame_rate, self.duration = length, rate, length / rate

    def __len__(self) -> int:
        return self.length


@pytest.mark.parametrize(
    ("rate", "hundredths", "step"),
    [(50.0, 4, 2), (59.94, 5, 3), (20.0, 5, 1), (120.0, 5, 6), (100 / 6, 6, 1), (30.0, 7, 2.1)],
)
def test_a_gif_has_the_sequences_frames_and_lasts_as_long(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float, hundredths: int, step: float
) -> None:
    monkeypatch.setattr(animation, "DPI", 10)
    length = 13
    store = small_store(tmp_path / "s.h5", ["D/s/q"], length, rate)
    assert cli("plot", store, "D/s/q", "--out", tmp_path / "q.gif").exit_code == 0
    with Image.open(tmp_path / "q.gif") as gif:
        durations = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            durations.append(gif.info["duration"])
    assert durations == [10 * hundredths] * math.ceil((length - 0.5) / step)


def test_a_gif_that_is_too_long_is_refused_before_it_is_drawn(cli: Cli, tmp_path: Path) -> None:
    store = small_store(tmp_path / "s.h5", ["D/s/q"], 2 * MAX_GIF_FRAMES + 1)
    refused(cli("plot", store, "D/s/q", "--out", tmp_path / "q.gif"), "--seconds", ".mp4")


@given(st.integers(1, 30), st.floats(0, 8), st.floats(0, 8), st.integers(0, 9))
def test_a_person_stays_in_view_at_one_scale(frames: int, walked: float, climbed: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = np.linspace([0, 0, 0], [walked, -walked, climbed], frames)
    positions = (path[:, None] + rng.uniform(-0.5, 0.5, (frames, 17, 3))).astype(np.float32)
    limits = boxes(positions, centred=0)
    assert (positions >= limits[:, None, :, 0] + MARGIN - 1e-5).all()
    assert (positions <= limits[:, None, :, 1] - MARGIN + 1e-5).all()
    sizes = limits[..., 1] - limits[..., 0]
    np.testing.assert_allclose(sizes, np.broadcast_to(sizes[0], sizes.shape), atol=1e-9)
    np.testing.assert_allclose(sizes[:, 0], sizes[:, 1])
    assert (sizes[0] <= MAX_BOX + 2.5).all()
    still = np.ptp(positions, axis=(0, 1))[:2].max() <= MAX_BOX
    assert still == (limits[:, :2] == limits[0, :2]).all() or frames == 1


FFMPEG = """#!{python}
import json, pathlib, sys
data = sys.stdin.buffer.read()
pathlib.Path({log!r}).write_text(json.dumps([len(data), sys.argv[1:]]))
if {status}:
    sys.exit("spam is not a codec")
pathlib.Path(sys.argv[-1]).write_bytes(b"movie")
"""


def fake_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, status: int = 0) -> Path:
    """An ffmpeg that notes what it got."""
    folder.mkdir()
    program, log = folder / "ffmpeg", folder / "log"
    program.write_text(FFMPEG.format(python=sys.executable, log=str(log), status=status), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return log


def test_ffmpeg_gets_every_frame(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = small_store(tmp_path / "s.h5", ["D/s/q"], 10, 120.0)
    log = fake_ffmpeg(tmp_path / "bin", monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert cli("plot", store, "D/s/q", "--out", "-q.mp4").exit_code == 0
    got, arguments = json.loads(log.read_text(encoding="utf-8"))
    side = round(SIZE * DPI)
    assert got == 5 * side * side * 4
    assert float(arguments[arguments.index("-framerate") + 1]) == 60
    assert side % 2 == 0
    assert arguments[-1].startswith("/")  # no name is an option or a protocol of ffmpeg
    assert (tmp_path / "-q.mp4").read_bytes() == b"movie"


def test_an_ffmpeg_that_fails_or_is_missing_is_one_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = small_store(tmp_path / "s.h5", ["D/s/q"], 3)
    fake_ffmpeg(tmp_path / "bin", monkeypatch, status=1)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # those of pytest would take what matplotlib prints
    refused(cli("plot", store, "D/s/q", "--out", tmp_path / "q.mp4"), "q.mp4", "spam is not a codec", ".gif")
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(cli("plot", store, "D/s/q", "--out", tmp_path / "q.mp4"), "q.mp4", "ffmpeg", ".gif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "s.h5"]


@pytest.mark.parametrize("drawn", [1, 3])
@pytest.mark.parametrize("kind", ["gif", "mp4"])
def test_an_animation_that_is_interrupted_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, drawn: int
) -> None:
    """Nor does it write what it has, or hide the interrupt behind an ffmpeg that was interrupted, too."""
    path = small_store(tmp_path / "s.h5", ["D/s/q"], 10)
    fake_ffmpeg(tmp_path / "bin", monkeypatch, status=255)
    monkeypatch.setattr(Image.Image, "save", None)

    def stop(done: int, total: int) -> None:
        assert total == (5 if kind == "gif" else 10)
        if done == drawn:
            raise KeyboardInterrupt

    with Store(path) as store, pytest.raises(KeyboardInterrupt):
        animate(store["D/s/q"], tmp_path / f"q.{kind}", progress=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "s.h5"]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg")
def test_a_movie_of_the_real_ffmpeg_is_an_mp4(cli: Cli, demo: Demo, tmp_path: Path) -> None:
    assert cli("plot", demo.store, WALK, "--seconds", 0.2, "--out", tmp_path / "q.mp4").exit_code == 0
    assert (tmp_path / "q.mp4").read_bytes()[4:8] == b"ftyp"


# --- contact sheets


def test_a_contact_sheet_has_one_cell_a_sequence(cli: Cli, demo: Demo, tmp_path: Path) -> None:
    with Store(demo.store) as store:
        keys = [sequence.key for sequence in store.sequences]
    for key in ("", "Pretend", "Madeup/02"):
        path = tmp_path / f"all{key.replace('/', '-')}.svg"
        assert cli("plot", demo.store, *filter(None, [key]), "--contact-sheet", "--out", path).exit_code == 0
        below = [one for one in keys if one.startswith(key)]
        assert [one for one in ids(path) if one in keys] == below


def test_a_long_contact_sheet_goes_on_to_further_pages(cli: Cli, tmp_path: Path) -> None:
    keys = [f"D/s/{number:03}" for number in range(2 * PAGE + 1)]
    store = small_store(tmp_path / "s.h5", keys)
    outcome = cli("plot", store, "D", "--contact-sheet", "--out", tmp_path / "d.svg")
    files = [tmp_path / f"d-{page}.svg" for page in (1, 2, 3)]
    assert outcome.stdout.splitlines() == [str(file) for file in files]
    assert [one for file in files for one in ids(file) if one in keys] == keys
    refused(cli("plot", store, "D", "--contact-sheet", "--out", tmp_path / "d.svg"), "d-1.svg", "--overwrite")


@given(st.integers(1, 10**5))
def test_pages_hold_all_cells_and_sort_by_their_names(number: int) -> None:
    paths = page_paths(Path("d.png"), number)
    assert len(paths) == len(set(paths))
    assert (len(paths) - 1) * PAGE < number <= len(paths) * PAGE
    assert paths == sorted(paths)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved, as matplotlib has them."""
    figures: list[Any] = []
    monkeypatch.setattr(picture, "save", lambda figure, path: figures.append(figure))
    return figures


def test_left_is_blue_and_right_is_red_in_pictures_legends_and_the_viewer() -> None:
    colours = dict(zip(H36M.joint_names, picture.colours_of(H36M).tolist(), strict=True))
    legend = {line.get_label(): 255 * np.array(to_rgb(line.get_color())) for line in picture.legend_handles()}
    for name, (red, green, blue) in (colours | legend).items():
        if name.startswith("left"):
            assert blue > 1.3 * max(red, green), name
        elif name.startswith("right"):
            assert red > 1.3 * max(green, blue), name
        else:
            assert max(red, green, blue) < 1.3 * min(red, green, blue), name


def test_a_picture_of_poses_shows_the_frames_that_its_ticks_name(tmp_path: Path, drawn: list[Any], demo: Demo) -> None:
    with Store(demo.store) as store:
        walk = store["Pretend/s1/walk_poses"]
        draw_poses(walk, tmp_path / "walk.png", num_poses=4, start=1.0, seconds=2.0)
        (figure,) = drawn
        front = figure.axes[0]
        frames = [50, 83, 116, 149]
        assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == [
            "1.00 s",
            "1.66 s",
            "2.32 s",
            "2.98 s",
        ]
        clouds = [c for c in front.collections if isinstance(c, PathCollection)]
        heights = [np.asarray(cloud.get_offsets())[:, 1] for cloud in clouds]
        for frame, drawn_heights in zip(frames, heights, strict=True):
            np.testing.assert_allclose(drawn_heights, walk.positions_3d[frame][:, 2], atol=1e-6)
        # In the front view the left side is on the right; a bone has the colour of the joint that it leads to.
        names = list(walk.store.joint_names)
        points = np.asarray(clouds[0].get_offsets())
        assert points[names.index("left_hip"), 0] > points[names.index("right_hip"), 0]
        side = np.asarray(next(c for c in figure.axes[1].collections if isinstance(c, PathCollection)).get_offsets())
        assert side[names.index("nose"), 0] > side[names.index("thorax"), 0]
        limbs = next(c for c in front.collections if isinstance(c, LineCollection))
        for segment, colour in zip(limbs.get_segments(), limbs.get_colors(), strict=True):
            joint = int(np.argmin(np.abs(points - segment[1]).sum(axis=1)))
            assert np.allclose(colour[:3], picture.colours_of(walk.store.skeleton)[joint] / 255), names[joint]


def test_ticks_are_seconds_at_the_sequences_own_rate(tmp_path: Path, drawn: list[Any]) -> None:
    with Store(small_store(tmp_path / "s.h5", ["D/s/q"], length=80, rate=20.0)) as store:
        draw_poses(store["D/s/q"], tmp_path / "q.png", num_poses=4, start=1.0, seconds=2.0)
    ticks = [text.get_text() for text in drawn[0].axes[1].get_xticklabels()]
    assert ticks == ["1.00 s", "1.65 s", "2.30 s", "2.95 s"]
