"""Send SIGINT and SIGTERM from the points where handlers that raise deadlock: ``python -m tests.signal_torture``.

A signal is sent as the main thread enters or leaves a function of `threading`, `queue`, `concurrent.futures`,
`multiprocessing` or pebble in a build. Each build must end in under two seconds with 130 or 143 and one line, leave no
process behind, and end with the same bytes when it is run again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from h36m_amass.conversion.builder import build
from tests.scenes import end_group, group_of, write_dataset, write_support

MODULES = ("threading", "queue", "concurrent", "multiprocessing", "pebble")
SECONDS_TO_END = 2.0
SECONDS_TO_START = 60.0
# Runs a build with a profiler in the main thread. It notes each point, or sends a signal from one of them.
_PROGRAM = f"""
import json, os, sys, time
where = json.loads(sys.argv.pop(1))
seen = {{}}
def profile(frame, event, argument):
    module = frame.f_globals.get("__name__") or ""
    if event in ("call", "return") and module.partition(".")[0] in {MODULES!r}:
        point = f"{{module}}.{{frame.f_code.co_qualname}} {{event}}"
        seen[point] = seen.get(point, 0) + 1
        if point == where.get("point") and seen[point] == where["visit"]:
            with open(where["file"], "w") as file:
                file.write(str(time.monotonic()))
            os.kill(os.getpid(), where["signal"])
def done():
    sys.setprofile(None)
    if "points" in where:
        with open(where["points"], "w") as file:
            json.dump(seen, file)
import atexit
atexit.register(done)
from h36m_amass.conversion import tasks
tasks.TASK_BYTES = 1_000_000
import h36m_amass.__main__
sys.setprofile(profile)
h36m_amass.__main__.main()
"""


@dataclass(frozen=True)
class Scene:
    """A small tree, and the store that an undisturbed build makes of it."""

    folder: Path
    support: Path
    tree: Path
    workers: int
    whole: bytes

    @property
    def arguments(self) -> tuple[str, ...]:
        """Arguments of the command line."""
        support = ("--support-dir", str(self.support))
        return ("build", str(self.tree), str(self.store), *support, "--workers", str(self.workers))

    @property
    def store(self) -> Path:
        return self.folder / "store.h5"

    @property
    def is_begun(self) -> bool:
        """Whether a build has left anything."""
        return bool(list(self.folder.glob("store.h5.*")))


def make_scene(folder: Path, workers: int = 2, support: Path | None = None) -> tuple[Scene, dict[str, int]]:
    """The scene, and how often an undisturbed build passes each point."""
    tree = folder / "amass"
    write_dataset(tree, "CMU", 6, 600)
    scene = Scene(folder, support or write_support(folder / "support"), tree, workers, b"")
    with _run({"points": str(folder / "points")}, scene.arguments, folder / "errors") as process:
        assert process.wait(SECONDS_TO_START) == 0, (folder / "errors").read_text()
    scene = replace(scene, whole=scene.store.read_bytes())
    scene.store.unlink()
    return scene, json.loads((folder / "points").read_text())


def strike(scene: Scene, point: str, visit: int, number: signal.Signals) -> bool:
    """Send a signal from a point, and check what the build does; False if the build did not come to it."""
    sent, errors = scene.folder / "sent", scene.folder / "errors"
    sent.unlink(missing_ok=True)
    where = {"point": point, "visit": visit, "signal": int(number), "file": str(sent)}
    with _run(where, scene.arguments, errors) as process:
        status = process.wait(SECONDS_TO_START)
        ended = time.monotonic()
        deadline = ended + SECONDS_TO_END
        while group_of(process):
            assert time.monotonic() < deadline, f"{commands(group_of(process))} are left: {point}, {errors.read_text()}"
            time.sleep(0.01)
        text = errors.read_text()  # of processes that end after the build, too
        if not sent.exists():
            assert status == 0, text
            scene.store.unlink()
            return False
        context = f"{number.name} at visit {visit} of {point}: {text}"
        assert status in (128 + number, -number), f"status {status}, {context}"
        seconds = ended - float(sent.read_text())
        assert seconds < SECONDS_TO_END, f"{seconds:.2f} s, {context}"
    lines = [line for line in text.splitlines() if not line.startswith(("converting", "skipped"))]
    word = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[number]
    if status == -number:  # before the build had a flag to set, or when it had none any more: there is nothing to say
        assert lines == [], context
        assert not scene.is_begun, context
        assert scene.store.exists() or text == "", context
    else:
        assert len(lines) == 1, context
        assert lines[0].startswith(word), context
    if scene.store.exists():  # the signal came when all was done
        assert scene.store.read_bytes() == scene.whole, context
        scene.store.unlink()
    build(scene.tree, scene.store, support_dir=scene.support)  # which goes on from what is there
    assert scene.store.read_bytes() == scene.whole, context
    scene.store.unlink()
    return True


def commands(processes: list[int]) -> list[str]:
    """What processes are, for messages."""
    line = ["ps", "-o", "pid=,stat=,etime=,args=", "-p", ",".join(map(str, processes))]
    return subprocess.run(line, capture_output=True, check=False, text=True).stdout.splitlines()


def strike_some(folder: Path, strikes: int, seed: int, workers: int = 2, support: Path | None = None) -> int:
    """Strike points drawn at random, each of them at least once if there are so many strikes; gives how many."""
    chance = random.Random(seed)
    scene, points = make_scene(folder, workers, support)
    order = sorted(points)
    chance.shuffle(order)
    struck = 0
    for number in range(2 * strikes):
        point = order[number % len(order)]
        visit = chance.randint(1, points[point]) if number >= len(order) else 1
        struck += strike(scene, point, visit, (signal.SIGINT, signal.SIGTERM)[chance.randrange(2)])
        if struck == strikes:
            break
    return struck


class _run:  # used like a function
    """A build in a process group of its own; no process of it is left at the end."""

    def __init__(self, where: dict[str, object], arguments: tuple[str, ...], errors: Path) -> None:
        line = [sys.executable, "-c", _PROGRAM, json.dumps(where), *arguments]
        with errors.open("wb") as stream:
            self._process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=stream, start_new_session=True)

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self._process

    def __exit__(self, *_: object) -> None:
        end_group(self._process)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strikes", type=int, default=320)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs inherit as ignored
    print(f"sending {options.strikes} signals, seed {options.seed}, process {os.getpid()}")
    with tempfile.TemporaryDirectory() as folder:
        struck = strike_some(Path(folder), options.strikes, options.seed)
    print(f"ok: {struck} builds were sent a signal; each ended as it should, and the next one with the same bytes")


if __name__ == "__main__":
    main()
