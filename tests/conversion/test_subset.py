"""A build of some recordings has these and no others, says how many it passed over, and costs no more than they do."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_amass import Store, Subset, build
from h36m_amass.conversion import planning
from h36m_amass.conversion.options import BuildError
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.subset import SubsetError
from h36m_amass.recordings.tree import Listing, find_sequences
from tests.conftest import Outcome
from tests.scenes import recording, write

# Frames at 120 Hz of each recording, in sorted order of their keys.
FRAMES = {
    "CMU/01/jump": 60,
    "CMU/01/walk": 120,
    "CMU/02/run": 240,
    "CMU/02/walk": 360,
    "KIT/01/walk": 120,
    "KIT/3/walk back": 480,
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("amass")
    for number, (key, frames) in enumerate(FRAMES.items()):
        write(folder / f"{key}.npz", recording(frames, number))
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Recordings whose headers have been read."""
    read, paths = amass.read_header, list[str]()

    def recording_read(path: Path | str, *arguments: Any) -> amass.Header:
        paths.append(Path(path).stem)
        return read(path, *arguments)

    monkeypatch.setattr(amass, "read_header", recording_read)
    return paths


def plan_of(tree: Path, subset: Subset, datasets: tuple[str, ...] = ()) -> planning.Plan:
    return planning.make_plan(tree, find_sequences(tree, datasets), subset=subset)


def keys(plan: planning.Plan) -> list[str]:
    return [f"{p.file.dataset}/{p.file.subject}/{p.file.sequence}" for p in plan.sequences]


PATTERNS = st.none() | st.sampled_from(["0.", "01|3", "walk", "walk.*", ".*", "nobody"])
SECONDS = st.none() | st.sampled_from([0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 4.0])


@given(PATTERNS, PATTERNS, SECONDS, SECONDS, st.none() | st.integers(1, 7))
def test_a_subset_is_what_fits_everything_and_the_rest_is_counted_once(
    tree: Path, subject: str | None, sequence: str | None, shortest: float | None, longest: float | None, limit: Any
) -> None:
    if shortest is not None and longest is not None and shortest > longest:
        shortest, longest = longest, shortest
    fitting, missed = [], Counter[str]()
    for key, frames in FRAMES.items():
        _, own_subject, own_sequence = key.split("/")
        seconds = frames / 120
        if subject is not None and not re.fullmatch(subject, own_subject):
            missed["subject"] += 1
        elif sequence is not None and not re.fullmatch(sequence, own_sequence):
            missed["sequence"] += 1
        elif len(fitting) == limit:
            missed["limit"] += 1
        elif shortest is not None and seconds < shortest:
            missed["min_seconds"] += 1
        elif longest is not None and seconds > longest:
            missed["max_seconds"] += 1
        else:
            fitting.append(key)
    plan = plan_of(tree, Subset(subject, sequence, shortest, longest, limit))
    assert keys(plan) == fitting
    assert plan.not_selected == missed
    assert plan.left_out == ()


def test_no_header_is_read_of_what_is_not_wanted(tree: Path, opened: list[str]) -> None:
    plan_of(tree, Subset(subject="0.", sequence="walk"))
    assert opened == ["walk"] * 3
    opened.clear()
    plan_of(tree, Subset(limit=2))
    assert opened == ["jump", "walk"]


def test_a_damaged_recording_takes_no_place_and_is_told_of_if_it_is_wanted(tree: Path, tmp_path: Path) -> None:
    for key in list(FRAMES)[:2]:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{key}.npz").symlink_to(tree / f"{key}.npz")
    (tmp_path / "CMU/01/a bad one.npz").write_bytes(b"spam")
    plan = plan_of(tmp_path, Subset(limit=1))
    assert keys(plan) == ["CMU/01/jump"]
    assert [left.path for left in plan.left_out] == ["CMU/01/a bad one.npz"]
    assert plan.not_selected == {"limit": 1}
    assert plan_of(tmp_path, Subset(sequence="walk|jump")).left_out == ()


def test_the_command_converts_the_subset_and_reports_the_rest(
    cli: Callable[..., Outcome], tree: Path, support_dir: Path, tmp_path: Path
) -> None:
    store, report = tmp_path / "s.h5", tmp_path / "report.json"
    options = ("--dataset", "cmu", "--subject", "0[12]", "--sequence", "walk|run", "--min-seconds", 1, "--limit", 2)
    outcome = cli("build", tree, store, "--support-dir", support_dir, "--report", report, *options, "--max-seconds", 9)
    assert outcome.exit_code == 0
    assert [sequence.key for sequence in Store(store).sequences] == ["CMU/01/walk", "CMU/02/run"]
    assert "not selected: 2 recordings, 1 by --sequence, 1 by --limit" in outcome.stdout.splitlines()
    assert "left out:" not in outcome.stdout
    assert outcome.stderr.count("warning") == 0
    written = json.loads(report.read_text())
    assert written["not_selected"] == {"sequence": 1, "limit": 1}
    assert written["left_out"] == []
    assert (
        Store(store).header.options.items()
        >= {
            "datasets": ["CMU"],
            "subject": "0[12]",
            "sequence": "walk|run",
            "min_seconds": 1.0,
            "max_seconds": 9.0,
            "limit": 2,
        }.items()
    )


@pytest.mark.parametrize(
    ("options", "arguments", "words"),
    [
        (("--subject", "("), {"subject": "("}, "--subject '(' is no regular expression"),
        (("--sequence", "a{9999999999}"), {"sequence": "a{9999999999}"}, "--sequence 'a{9999999999}' is no regular"),
        (("--min-seconds", "-1"), {"min_seconds": -1.0}, "--min-seconds -1 is no length"),
        (("--max-seconds", "nan"), {"max_seconds": float("nan")}, "--max-seconds nan is no length"),
        (
            ("--min-seconds", "3", "--max-seconds", "2"),
            {"min_seconds": 3.0, "max_seconds": 2.0},
            "swap --min-seconds and --max-seconds",
        ),
        (("--limit", "0"), {"limit": 0}, "--limit 0 leaves no recording"),
    ],
)
def test_a_choice_that_is_none_is_wrong_usage(
    cli: Callable[..., Outcome],
    tree: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    arguments: dict[str, Any],
    words: str,
) -> None:
    outcome = cli("build", tree, tmp_path / "s.h5", *options)
    assert outcome.exit_code == 2
    assert words in " ".join(outcome.stderr.replace("│", " ").split())
    with pytest.raises(SubsetError, match=re.escape(words)):
        Subset(**arguments)


def test_an_empty_subset_is_one_clear_error(
    cli: Callable[..., Outcome], tree: Path, support_dir: Path, tmp_path: Path
) -> None:
    command = "build", tree, tmp_path / "s.h5", "--support-dir", support_dir
    outcome = cli(*command, "--subject", "0.", "--sequence", "walk", "--min-seconds", 100)
    assert outcome.exit_code == 1
    assert outcome.stderr.splitlines()[-1] == (
        f"error: {tree}: no recording is selected; not selected are 1 by --subject, 2 by --sequence, "
        "3 by --min-seconds; choose others"
    )
    assert not (tmp_path / "s.h5").exists()
    (tmp_path / "amass" / "D" / "S").mkdir(parents=True)
    (tmp_path / "amass" / "D" / "S" / "a.npz").write_bytes(b"spam")
    (tmp_path / "amass" / "D" / "S" / "b.npz").write_bytes(b"spam")
    with pytest.raises(BuildError, match=r"1 left out, the first is D/S/a.npz: .*; not selected are 1 by --sequence"):
        build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, subset=Subset(sequence="a"))


def test_what_a_trial_has_converted_is_not_converted_again(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "UNIT_SOURCE_FRAMES", 1)  # each recording a unit
    build(tree, tmp_path / "s.h5", support_dir=support_dir, subset=Subset(limit=4))
    report = build(tree, tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert (report.reused, report.not_selected) == (4, {})
    build(tree, tmp_path / "whole.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    report = build(tree, tmp_path / "s.h5", support_dir=support_dir, update=True, subset=Subset(subject="0."))
    assert report.reused == 5
    assert len(Store(tmp_path / "s.h5").sequences) == 5


def test_no_more_processes_start_than_the_subset_is_worth(
    tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = find_sequences(tree).sequences
    assert [file.sequence for file in Subset(sequence="walk", limit=2).foreseen(files)] == ["walk", "walk"]
    seen = []

    def one(workers: int | None, listing: Listing, device: str) -> int:
        seen.append(len(listing.sequences))
        return 1

    monkeypatch.setattr("h36m_amass.conversion.workers.useful_workers", one)
    build(tree, tmp_path / "s.h5", support_dir=support_dir, subset=Subset(limit=1))
    assert seen == [1]
