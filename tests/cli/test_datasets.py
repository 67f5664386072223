"""The command that lists datasets."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from h36m_amass.datasets import CATALOGUE
from tests.conftest import Outcome


def test_the_command_lists_every_dataset_and_every_name(cli: Callable[..., Outcome]) -> None:
    header, *lines = cli("datasets").stdout.splitlines()
    assert header.split()[:2] == ["dataset", "archive"]
    for dataset, line in zip(CATALOGUE, lines, strict=True):
        assert re.split(r"\s{2,}", line)[0] == dataset.name
        for name in (dataset.archive, *dataset.folders, *dataset.others):
            assert name in line


def test_the_command_says_what_is_there_and_opens_nothing(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    for file in ("MPI_HDM05/MPI_HDM05/dg/a.npz", "MPI_HDM05/MPI_HDM05/dg/b.npz", "my\x1bown/s/a.npz"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"no npz")
    *lines, present, unknown = cli("datasets", tmp_path).stdout.splitlines()
    counts = {line.split()[0]: re.split(r"\s{2,}", line.strip())[-1] for line in lines}
    assert counts["MPIHDM05"] == "MPI_HDM05 (2)"
    assert not any(re.search(r"\(\d", count) for name, count in counts.items() if name != "MPIHDM05")
    assert present == f"present: 1 of {len(CATALOGUE)} datasets"
    assert unknown == "of no known dataset: my\\x1bown (1)"
    outcome = cli("datasets", tmp_path / "nowhere")
    assert (outcome.exit_code, len(outcome.stderr.splitlines())) == (1, 1)


def test_the_command_names_compressed_archives_without_going_through_them(
    cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    for file in ("HDM05/bk/a.npz", "KIT.tar.bz2", "mine.tar.gz"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"none")
    *lines, present, unknown = cli("datasets", tmp_path).stdout.splitlines()
    folders = {line.split()[0]: re.split(r"\s{2,}", line.strip())[-1] for line in lines}
    assert (folders["MPIHDM05"], folders["KIT"]) == ("HDM05 (1)", "KIT (archive)")
    assert present == f"present: 2 of {len(CATALOGUE)} datasets"
    assert unknown == "of no known dataset: mine (archive)"
