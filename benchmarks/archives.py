"""A build from archives beside one from the unpacked tree: seconds, in turns. ``python benchmarks/archives.py``."""

from __future__ import annotations

import argparse
import subprocess
import tarfile
import tempfile
import zipfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from common import table, take_turns

from h36m_amass import build, synthetic

MODES = {".tar.bz2": "w:bz2", ".tar.xz": "w:xz", ".tar.gz": "w:gz", ".tar": "w"}


def pack(tree: Path, target: Path, suffix: str) -> None:
    """Each dataset of `tree` as an archive in `target`."""
    target.mkdir()
    for folder in sorted(path for path in tree.iterdir() if path.is_dir()):
        archive = target / f"{folder.name}{suffix}"
        if suffix == ".zip":
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
                for path in folder.rglob("*.npz"):
                    packed.write(path, path.relative_to(folder))
            continue
        with tarfile.open(archive, MODES[suffix]) as tar:
            tar.add(folder, ".")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="duration of each of the twelve recordings")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tree, support = folder / "unpacked", folder / "support"
        synthetic.write_support_data(support)
        synthetic.write_amass_tree(tree, seconds=arguments.seconds)
        trees = {"unpacked": tree}
        for suffix in MODES | {".zip": ""}:
            trees[suffix] = folder / suffix.removeprefix(".")
            pack(tree, trees[suffix], suffix)
        calls = {
            kind: partial(build, path, folder / "store.h5", support_dir=support, overwrite=True)
            for kind, path in trees.items()
        }
        timings = take_turns(calls, arguments.rounds)
        once = timings["unpacked"].median
        sizes = {kind: int(subprocess.check_output(["du", "-sm", path]).split()[0]) for kind, path in trees.items()}
        rows = [
            (kind, f"{sizes[kind]}", f"{timing.median:.2f}", f"{timing.median / once:.1f}")
            for kind, timing in timings.items()
        ]
        print(f"rapidgzip: {'yes' if find_spec('rapidgzip') else 'no'}; one worker\n")
        print(table(("input", "MB", "seconds", "times the unpacked tree's"), rows))


if __name__ == "__main__":
    main()
