"""Whole builds by local processes and by as many workers of Dask's: what does the scheduler in between cost?

``python benchmarks/executors.py`` prints a table and writes ``results/executors.json``.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import trees
from common import Target, in_turns, pick, seconds_of, table, write_results
from trees import Tree

from h36m_amass import synthetic

FRAMES = pick(1_000_000, 3_000)
PROCESSES = 2
ROUNDS = pick(4, 1)
MOST_OVERHEAD = 1.15
WORKERS, THERE, LOCAL = f"--workers {PROCESSES}", "--dask URL", f"--dask local --workers {PROCESSES}"


@contextmanager
def dask_cluster(folder: Path) -> Iterator[str]:
    """URL of a scheduler with `PROCESSES` workers of one thread, each started as a user would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host, port = free.getsockname()
    url = f"tcp://{host}:{port}"
    lines = [["scheduler", "--host", host, "--port", str(port), "--no-dashboard"]]
    lines += [["worker", url, "--nthreads", "1", "--no-dashboard"]] * PROCESSES
    with ExitStack() as stack:
        for line in lines:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "dask", *line],
                    cwd=folder,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            stack.callback(process.terminate)
        yield url


def wait_for_workers(url: str) -> None:
    from distributed import Client

    time.sleep(1)
    with Client(url, timeout=60, set_as_default=False) as client:
        client.wait_for_workers(PROCESSES)


def seconds_to_build(tree: Tree, support_dir: Path, *options: object) -> float:
    """Seconds of ``h36m-amass build`` of a tree that is in the page cache, from start to exit."""
    with tempfile.TemporaryDirectory() as folder:
        line = [
            "build",
            tree.folder,
            Path(folder) / "store.h5",
            "--support-dir",
            support_dir,
            "--device",
            "cpu",
            *options,
        ]
        program = [
            sys.executable,
            "-c",
            "from h36m_amass.cli import app; app()",
            *map(str, line),
            "--strict",
            "--quiet",
        ]
        tree.read()
        return seconds_of(partial(subprocess.run, program, check=True))


def measure() -> list[dict[str, Any]]:
    """Builds of one tree in the same rounds, after one that does not count."""
    with tempfile.TemporaryDirectory() as name, dask_cluster(Path(name)) as url:
        support, folder = Path(name) / "support", Path(name) / "amass"
        synthetic.write_support_data(support)
        tree = trees.write_mixed(folder, FRAMES)
        wait_for_workers(url)
        calls = {
            WORKERS: partial(seconds_to_build, tree, support, "--workers", PROCESSES),
            THERE: partial(seconds_to_build, tree, support, "--dask", url),
            LOCAL: partial(seconds_to_build, tree, support, "--dask", "local", "--workers", PROCESSES),
        }
        in_turns(calls, pick(1, 0))
        runs = in_turns(calls, ROUNDS)
    return [{"name": name, "source_frames": tree.num_frames, "runs_seconds": seconds} for name, seconds in runs.items()]


def ratio(results: list[dict[str, Any]], name: str) -> float:
    """How many times as long as local processes."""
    seconds = {result["name"]: median(result["runs_seconds"]) for result in results}
    return seconds[name] / seconds[WORKERS]


def main() -> None:
    results = measure()
    rows = [
        (
            r["name"],
            f"{r['source_frames']:,}",
            f"{median(r['runs_seconds']):.2f}",
            f"{r['source_frames'] / median(r['runs_seconds']):,.0f}",
            f"{ratio(results, r['name']):.2f}",
        )
        for r in results
    ]
    header = ("workers", "source frames", "seconds", "source frames/s", f"÷ {WORKERS}")
    targets = [Target(f"{THERE} ÷ {WORKERS}, of {FRAMES:,} frames", ratio(results, THERE), MOST_OVERHEAD)]
    write_results("executors", {"results": results}, table(header, rows), targets)


if __name__ == "__main__":
    main()
