"""Kill a build with SIGKILL at random moments, run it again until it is done, and compare: ``python -m tests.torture``.

The store that stood there before must be readable and unchanged until it is replaced, the bytes at the end those of
a build that nothing disturbed, and no temporary file may be left.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from pathlib import Path

from h36m_amass.store.store import Store
from tests.scenes import command, write_dataset, write_support

TASK_BYTES = 4_000_000


def torture(folder: Path, kills: int, seed: int, recordings: int = 60, frames: int = 400) -> int:
    """Kill builds until there have been `kills`; gives how many builds ended by themselves in between."""
    moments = random.Random(seed)
    support, tree, store = write_support(folder / "support"), folder / "amass", folder / "store.h5"
    write_dataset(tree, "Before", 2)
    arguments = ("build", tree, store, "--support-dir", support, "--workers", 2)
    old = run(*arguments)
    write_dataset(tree, "More", recordings, frames, seed=99)
    seconds = time.monotonic()
    whole = run("build", tree, folder / "whole.h5", *arguments[3:], store=folder / "whole.h5")
    seconds = time.monotonic() - seconds
    killed = done = 0
    while killed < kills:
        with command(*arguments, "--overwrite", task_bytes=TASK_BYTES) as process:
            deadline = time.monotonic() + moments.uniform(0, 1.1 * seconds)
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.002)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
                assert store.read_bytes() in (old, whole), "the store is neither the old nor the new one"
                assert len(Store(store).sequences) > 0
                continue
            assert process.returncode == 0, f"a build after {killed} kills ended with {process.returncode}"
        done += 1
        assert store.read_bytes() == whole, "the bytes are not those of an uninterrupted build"
        check_tidy(folder)
        store.write_bytes(old)
    run(*arguments, "--overwrite")
    assert store.read_bytes() == whole, "the bytes are not those of an uninterrupted build"
    check_tidy(folder)
    return done


def run(*arguments: object, store: Path | None = None) -> bytes:
    """A build that nothing disturbs; gives the store's bytes."""
    with command(*arguments, task_bytes=TASK_BYTES) as process:
        assert process.wait() == 0
    return Path(str(store or arguments[2])).read_bytes()


def check_tidy(folder: Path) -> None:
    """Nothing temporary is left."""
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["amass", "store.h5", "support", "whole.h5"], names


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"killing builds {options.kills} times, seed {options.seed}")
    with tempfile.TemporaryDirectory() as folder:
        done = torture(Path(folder), options.kills, options.seed)
    print(f"ok: {options.kills} builds were killed, {done + 1} ended, all with the same bytes")


if __name__ == "__main__":
    main()
