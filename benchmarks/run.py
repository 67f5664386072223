"""Run every benchmark and write ``RESULTS.md``: what ``make bench`` does."""

from __future__ import annotations

import json
import subprocess
import sys

from common import HERE, RESULTS

BENCHMARKS = {"engine": "The engine beside the full mesh and beside body-models"}


def main() -> None:
    for name in BENCHMARKS:
        subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=True)
    (HERE / "RESULTS.md").write_text(report(), encoding="utf-8")


def report() -> str:
    """The tables of all benchmarks, with the machine they ran on."""
    results = {name: json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in BENCHMARKS}
    machine = next(iter(results.values()))["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        "# Benchmark results",
        "",
        f"Written by `make bench` at commit {machine['commit']}, on {machine['cpu']} with {machine['cores']} cores,",
        f"{machine['system']}, Python {machine['python']}, {versions}. Medians of runs taken in turn.",
    ]
    for name, title in BENCHMARKS.items():
        lines += ["", f"## {title}", "", f"`python benchmarks/{name}.py`", "", results[name]["table"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
