"""A little of what ``make fuzz`` does for minutes."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz import Fuzzer


def test_mutated_npz_files_raise_only_their_readers_own_errors(tmp_path: Path) -> None:
    Fuzzer(tmp_path).fuzz_npz(0)


def test_mutated_stores_raise_only_the_stores_own_errors(tmp_path: Path) -> None:
    Fuzzer(tmp_path).fuzz_store(0)
