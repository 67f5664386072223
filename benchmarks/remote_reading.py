"""Windows from a server on this machine, beside a plain loop of range reads: ``python benchmarks/remote_reading.py``.

Both ask the same server, in a process of its own, through the same file system of fsspec. Needs the extra ``remote``.
Prints the median of several rounds, in each of which every way reads the same windows.
"""

from __future__ import annotations

import multiprocessing
import re
import sys
import tempfile
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the tests' made-up stores

FRAMES, LENGTH, WINDOWS, BATCH, ROUNDS = 200_000, 81, 256, 64, 7


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


def measure() -> None:
    import fsspec

    from h36m_amass import Store, WindowDataset
    from tests.test_store import write

    ours, theirs = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.h5"
        write(path, {"A/1/x": FRAMES})
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(path, theirs), daemon=True)
        server.start()
        url = ours.recv()
    files = fsspec.filesystem("http")
    began = time.perf_counter()
    windows = WindowDataset(Store(url), LENGTH)
    print(f"opened in {time.perf_counter() - began:.2f} s")
    row = 12 * len(windows.skeleton)
    rng = np.random.default_rng(0)

    def plain(numbers: list[int]) -> None:
        for number in numbers:
            files.cat_file(url, start=number * row, end=(number + LENGTH) * row)

    def singly(numbers: list[int]) -> None:
        for number in numbers:
            windows[number]

    def batches(numbers: list[int]) -> None:
        for start in range(0, WINDOWS, BATCH):
            windows.__getitems__(numbers[start : start + BATCH])

    ways: dict[str, Callable[[list[int]], None]] = {
        "a plain loop of range reads": plain,
        "windows one by one": singly,
        f"batches of {BATCH} windows": batches,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        numbers = rng.integers(0, len(windows), WINDOWS).tolist()
        for name, way in ways.items():
            began = time.perf_counter()
            way(numbers)
            seconds[name].append(time.perf_counter() - began)
    for name, own in seconds.items():
        print(f"{name:<28} {WINDOWS / median(own):8.0f} windows/s")
    server.terminate()


if __name__ == "__main__":
    measure()
