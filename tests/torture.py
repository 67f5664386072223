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

from h36m_amass.conversion.builder import build
from h36m_amass.store.store import Store
from tests.scenes import command, write_dataset, write_support

TASK_BYTES = 1_000_000


def torture(
    folder: Path, kills: int, seed: int, recordings: int = 60, frames: int = 400, support: Path | None = None
) -> int:
    """Kill builds until there have been `kills`; gives how many builds ended by themselves in between."""
    moments = random.Random(seed)
    support, tree, store = support or write_support(folder / "support"), folder / "amass", folder / "store.h5"
    write_dataset(tree, "Before", 2)
    build(tree, store, support_dir=support)
    old = store.read_bytes()
    write_dataset(tree, "More", recordings, frames, seed=99)
    build(tree, folder / "whole.h5", support_dir=support)
    whole = (folder / "whole.h5").read_bytes()
    arguments = ("build", tree, store, "--support-dir", support, "--workers", 2, "--overwrite")
    killed = done = 0
    while killed < kills:
        with command(*arguments, task_bytes=TASK_BYTES) as process:
            more_parts, seconds = moments.randrange(4), moments.uniform(0, 0.1)
            num_parts = count_parts(folder) + more_parts
            while process.poll() is None and count_parts(folder) < num_parts:
                time.sleep(0.002)
            time.sleep(seconds)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
                assert store.read_bytes() in (old, whole), "the store is neither the old nor the new one"
                assert len(Store(store).sequences) > 0
                continue
            assert process.returncode == 0, f"a build after {killed} kills ended with {process.returncode}"
        done += 1
        check_done(folder, whole)
        store.write_bytes(old)
    with command(*arguments, task_bytes=TASK_BYTES) as process:
        assert process.wait() == 0
    check_done(folder, whole)
    return done


def count_parts(folder: Path) -> int:
    """Finished parts that lie beside the store."""
    return len(list(folder.glob("store.h5.parts/*.part.npz")))


def check_done(folder: Path, whole: bytes) -> None:
    """The store is what an undisturbed build makes, and nothing temporary is left."""
    assert (folder / "store.h5").read_bytes() == whole, "the bytes are not those of an uninterrupted build"
    names = sorted(path.name for path in folder.iterdir())
    assert set(names) - {"support"} == {"amass", "store.h5", "whole.h5"}, names


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
