"""Run every benchmark of one machine and write ``RESULTS.md``: what ``make bench`` does.

Those of more than one, ``make bench-scaling``, are in docs/scaling.md.

``python benchmarks/run.py NAME ...`` runs those alone and takes the others' results as they lie in ``results/``. With
``--quick`` it runs them in a tiny setting, and writes to a temporary folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plots
from common import HERE, OUTPUT, RESULTS, table


@dataclass(frozen=True)
class Benchmark:
    """A script of this folder, and how its results are presented.

    Attributes
    ----------
    about
        What is measured, and against what.
    draw
        Draws the results into a folder and returns the pictures.
    """

    title: str
    about: str
    draw: Callable[[dict[str, Any], Path], list[Path]]


BENCHMARKS = {
    "engine": Benchmark(
        "The engine beside the full mesh and beside body-models",
        "Frames in memory to joints, with one body model and one motion: the folded engine, "
        "`forward_points` of body-models with a regressor prepared once, and the full mesh of smplx with a dense "
        "regressor; each with its best batch size. The engine poses recordings of AMASS's mix of lengths one by one, "
        "as builds do; the others pose frames without ends of recordings between them. On one core all run in one "
        "process; on more, the engine runs in a process per core, and the others on torch's threads. The dense model "
        "has no zero in it, which is the worst for folding.",
        plots.engine,
    ),
    "build": Benchmark(
        "Whole builds",
        "The command line from start to exit, on a tree in AMASS's mix of lengths, rates and genders that lies in the "
        "page cache; it has a million distinct frames, each recording several times as hard links. Its floor is the "
        "time to read the same bytes, plus the products of the folded matrices at the machine's sgemm peak, on as many "
        "cores as there are workers. Then a smaller tree, from folders, from a `.tar.bz2` per dataset and from one of "
        "them all: beside it the time to decompress the archives and throw away what comes out, plus the build from "
        "folders. Beside builds the known script's method on every n-th recording of the tree: full "
        "mesh by smplx on all cores, in batches of its default size and in small ones, linear resampling, compressed "
        "npz.",
        plots.build,
    ),
    "breakdown": Benchmark(
        "Where the time of converting goes",
        "A tree in AMASS's mix, and one of short recordings, converted in one process under cProfile, which makes "
        " many small calls look dearer than they are. What torch, NumPy and the system take is charged to "
        "the function that called them; matrix products stand apart.",
        plots.breakdown,
    ),
    "scaling": Benchmark(
        "How builds scale",
        "The command line from start to exit, on trees of many sizes that lie in the page cache. The full line in the "
        "first picture is the time of the smallest build, which has next to no frames, plus the same for every frame; "
        "the dashed one leaves that fixed cost out.",
        plots.scaling,
    ),
    "reading": Benchmark(
        "Reading windows at random",
        "A store of AMASS's size, 8 million frames in 12,000 sequences of noise, beside the ways that people read "
        "today, all of it in the page cache: one h5py dataset per sequence, opened by name; one zarr v3 array with the "
        "store's chunks, not compressed; the npz dictionaries, in memory as a whole; and one plain numpy.memmap, which "
        "knows no sequences. All give torch tensors of the same windows. A batch is stacked in one call, except in the "
        "epochs of the others, where torch's own collate function stacks it; an epoch of zarr has a tenth of the "
        "windows.",
        plots.reading,
    ),
    "pairs": Benchmark(
        "Training pairs",
        "An epoch of windows drawn at random from a store of AMASS's size, through the presets, beside the same "
        "windows through plain NumPy functions of one window, as a user would write them, and beside reading and "
        "collating alone. One process and one thread.",
        lambda results, folder: [],
    ),
}
GPU = Benchmark(
    "On a GPU",
    "`make gpu`. The engine takes frames from memory, poses in float32 and translations in float64, and gives joints "
    "to memory, beside `forward_points` of body-models and the full mesh of smplx on the same card. Whole builds are "
    "the command line from start to exit, on trees like those above; on few cores, it may not run on the others. The "
    "memory of the GPU is what all processes together take of it.",
    lambda results, folder: [],
)


def main(names: list[str]) -> None:
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; choose from {', '.join(BENCHMARKS)}")
    for name in names or BENCHMARKS:
        subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=True)
    (OUTPUT / "RESULTS.md").write_text(report(), encoding="utf-8")


def report() -> str:
    """Tables, pictures and targets of all benchmarks, with the machine they ran on.

    Raises
    ------
    SystemExit
        The results are of different machines or versions.
    """
    results = {name: json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in BENCHMARKS}
    machine = next(iter(results.values()))["machine"]
    if any(result["machine"] != machine for result in results.values()):
        sys.exit("the results are of different machines or versions; run all benchmarks again")
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        "# Benchmark results",
        "",
        f"Written by `make bench`, on {machine['cpu']} with {machine['cores']} cores and {machine['memory_gib']} GiB,",
        f"{machine['system']}, Python {machine['python']}, {versions}.",
        "Medians of runs taken in turn. All body models and recordings are made up.",
        "",
        "## Targets",
        "",
        targets_table([target for result in results.values() for target in result["targets"]]),
    ]
    for name, benchmark in BENCHMARKS.items():
        lines += section(name, benchmark, results[name])
    gpu = RESULTS / "gpu.json"
    if gpu.exists():  # from another machine, at another time
        on_gpu = json.loads(gpu.read_text(encoding="utf-8"))
        lines += [*section("gpu", GPU, on_gpu), "", targets_table(on_gpu["targets"])]
    return "\n".join(lines) + "\n"


def section(name: str, benchmark: Benchmark, results: dict[str, Any]) -> list[str]:
    pictures = benchmark.draw(results, RESULTS)
    took = f"`python benchmarks/{name}.py`, at commit {results['commit']}, in {results['seconds']:.0f} s."
    links = [f"![{benchmark.title}]({picture.relative_to(OUTPUT).as_posix()})" for picture in pictures]
    parts = [f"## {benchmark.title}", took, benchmark.about, results["table"], *links]
    return ["", "\n\n".join(parts)]


def targets_table(targets: list[dict[str, Any]]) -> str:
    rows = [
        (
            target["what"],
            f"at {'least' if target['at_least'] else 'most'} {target['bound']:g}",
            f"{target['value']:.3g}",
            "yes" if target["met"] else "no",
        )
        for target in targets
    ]
    return table(("what", "target", "measured", "met"), rows)


if __name__ == "__main__":
    main(sys.argv[1:])
