"""Windows from a server on this machine, beside a plain loop of range reads: ``python benchmarks/remote_reading.py``.

Both ask the same server, in a process of its own, through the same file system of fsspec. Needs the extra ``remote``.
Each round reads the same windows in every way. Prints the medians of the rounds, and writes
``results/remote_reading.json``.
"""

from __future__ import annotations

import multiprocessing
import re
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from common import Target, pick, table, take_turns, write_results

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the tests' made-up stores

FRAMES, LENGTH, WINDOWS, BATCH, ROUNDS = 200_000, 81, pick(256, 64), 64, pick(7, 1)
PLAIN, SINGLE, BATCHES = "a plain loop of range reads", "windows one by one", f"windows in batches of {BATCH}"
LEAST_SHARE = 0.7


def serve(path: Path, pipe: Connection) -> None:
    """A web server of one file, which knows ranges."""
    content = path.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(0, len(content), 200)

        def do_GET(self) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
            assert asked is not None
            start, stop = int(asked[1]), int(asked[2]) + 1
            self.answer(start, stop, 206)
            self.wfile.write(content[start:stop])

        def answer(self, start: int, stop: int, status: int) -> None:
            self.send_response(status)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(stop - start))
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(f"http://127.0.0.1:{server.server_port}/s.h5")
    server.serve_forever()


def measure() -> dict[str, Any]:
    """Seconds of each way, and until the store was open."""
    import fsspec

    from h36m_amass import Store, WindowDataset
    from h36m_amass.skeleton import H36M
    from h36m_amass.store.format import JointSet
    from tests.small_stores import write_store

    ours, theirs = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.h5"
        noise = np.random.default_rng(0).normal(size=(FRAMES, len(H36M), 3)).astype(np.float32)
        write_store(path, (JointSet("h36m", "r", H36M),), {"A/1/x": (noise,)})
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(path, theirs), daemon=True)
        server.start()
        url = ours.recv()
    files = fsspec.filesystem("http")
    began = time.perf_counter()
    windows = WindowDataset(Store(url), LENGTH)
    opened = time.perf_counter() - began
    row = 12 * len(windows.skeleton)
    rng = np.random.default_rng(0)

    numbers = rng.integers(0, len(windows), WINDOWS).tolist()

    def plain() -> None:
        for number in numbers:
            files.cat_file(url, start=number * row, end=(number + LENGTH) * row)

    def singly() -> None:
        for number in numbers:
            windows[number]

    def in_batches() -> None:
        for start in range(0, WINDOWS, BATCH):
            windows.__getitems__(numbers[start : start + BATCH])

    timings = take_turns({PLAIN: plain, SINGLE: singly, BATCHES: in_batches}, ROUNDS)
    server.terminate()
    return {"open_seconds": opened, "seconds": {name: timing.median for name, timing in timings.items()}}


def main() -> None:
    results = measure()
    seconds = results["seconds"]
    rows = [(name, f"{WINDOWS / taken:,.0f}", f"{seconds[PLAIN] / taken:.0%}") for name, taken in seconds.items()]
    header = (f"windows of {LENGTH} frames from a server on this machine", "windows/s", "of the plain loop")
    targets = [
        Target(f"{name} ÷ {PLAIN}", seconds[PLAIN] / seconds[name], LEAST_SHARE, at_least=True)
        for name in (SINGLE, BATCHES)
    ]
    write_results("remote_reading", results, table(header, rows), targets)


if __name__ == "__main__":
    main()
