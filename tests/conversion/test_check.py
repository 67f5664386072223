"""The table of a check agrees with the headers of each dataset, and only headers are read for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from h36m_amass.conversion.check import CheckedDataset, check_inputs
from h36m_amass.conversion.options import BuildError, BuildOptions
from h36m_amass.files.npz import NpzReader
from h36m_amass.recordings import listings
from h36m_amass.recordings import recording as amass
from tests.conftest import Outcome
from tests.scenes import recording, write


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Datasets of all kinds: mixed, with problems, of nothing but problems."""
    folder = tmp_path / "amass"
    write(folder / "Mixed/s1/a.npz", recording(7200, gender="male", rate=120))
    write(folder / "Mixed/s1/b.npz", recording(3600, gender="female", rate=60))
    write(folder / "Mixed/s2/c.npz", recording(5994, gender="female", rate=59.94, dmpls=None))
    write(folder / "Part/s1/good.npz", recording(360, gender="neutral", rate=100))
    write(folder / "Part/s1/nothing.npz", recording(360, gender="nothing"))
    (folder / "Part/s1/spam.npz").write_bytes(b"spam")
    (folder / "Rotten/s1").mkdir(parents=True)
    (folder / "Rotten/s1/spam.npz").write_bytes(b"spam")
    return folder


def test_the_table_is_what_the_headers_say(tree: Path, support_dir: Path) -> None:
    check = check_inputs(BuildOptions(support_dir), tree)
    rates = Fraction("59.94"), Fraction(60), Fraction(120)
    hours = [(7200 / 120 + 3600 / 60 + 5994 / 59.94) / 3600, 3.6 / 3600, 0.0]
    assert [row.hours for row in check.datasets] == pytest.approx(hours, rel=1e-12)
    mixed, part, rotten = check.datasets
    assert mixed == CheckedDataset("Mixed", 3, 11_000, mixed.hours, rates, ("SMPL+H",), ("female", "male"), 1, 0, 0)
    assert part == CheckedDataset("Part", 1, 180, part.hours, (Fraction(100),), ("SMPL+H",), ("neutral",), 0, 0, 2)
    assert rotten == CheckedDataset("Rotten", 0, 0, 0.0, (), (), (), 0, 0, 1)
    # One reason is one line, for however many files.
    assert sum(row.problems for row in check.datasets) == 3
    assert sum(not finding.ok for finding in check.findings) == 2
    assert [row.without_dmpls for row in check_inputs(BuildOptions(support_dir, use_dmpls=False), tree).datasets] == [
        3,
        1,
        0,
    ]


def test_the_table_comes_behind_the_lines(cli: Callable[..., Outcome], tree: Path, support_dir: Path) -> None:
    outcome = cli("check", tree, "--support-dir", support_dir)
    assert outcome.exit_code == 1
    *lines, header, mixed, part, rotten = outcome.stdout.splitlines()
    assert all(line.startswith(("ok: ", "problem: ")) for line in lines)
    assert sum(line.startswith("problem: ") for line in lines) == 2
    assert not any("Rotten: 0 recordings" in line for line in lines)
    columns = "dataset,recordings,frames,hours,frame rates,model kinds,genders,without dmpls,skipped,problems"
    assert re.split(r"\s{2,}", header.strip()) == columns.split(",")
    assert re.split(r"\s{2,}", mixed.strip()) == [
        *("Mixed", "3", "11,000", "0.06", "59.94, 60, 120", "SMPL+H", "female, male", "1", "0", "0")
    ]
    assert part.split()[-1] == "2"
    assert rotten.split() == ["Rotten", "0", "0", "0.00", "0", "0", "1"]


def test_each_header_is_read_once_and_no_frame_but_the_first(
    tree: Path, support_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = list[str]()

    class Opened(amass.Recording):
        def __init__(self, source: Any, *arguments: Any) -> None:
            paths.append(str(source))
            super().__init__(source, *arguments)

    rows_of = NpzReader.rows

    def rows_of_one(self: NpzReader, name: str, num_rows: int, **options: Any) -> Any:
        assert num_rows == 1
        frames = rows_of(self, name, num_rows, **options)
        yield next(frames)
        raise AssertionError(f"more frames of {self} are read")

    monkeypatch.setattr(listings, "Recording", Opened)
    monkeypatch.setattr(NpzReader, "rows", rows_of_one)
    rows = check_inputs(BuildOptions(support_dir), tree).datasets
    assert [row.recordings for row in rows] == [3, 1, 0]
    assert sorted(paths) == sorted(str(path) for path in tree.rglob("*.npz"))


def test_without_recordings_there_is_no_table(cli: Callable[..., Outcome], support_dir: Path, tmp_path: Path) -> None:
    assert check_inputs(BuildOptions(support_dir)).datasets == ()
    assert check_inputs(BuildOptions(support_dir), tmp_path).datasets == ()
    assert "hours" not in cli("check", "--support-dir", support_dir).stdout


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 65537}, {"max_frames": 0}], ids=str)
def test_the_library_refuses_what_the_command_line_does(options: dict[str, int]) -> None:
    with pytest.raises(BuildError, match="give"):
        BuildOptions(**options)  # type: ignore[arg-type]
