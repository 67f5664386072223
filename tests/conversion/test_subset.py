"""A build of some recordings has these and no others, counts the rest, and opens no more than it must."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h36m_amass import Store, Subset, build
from h36m_amass.conversion.options import BuildError
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.subset import SubsetError
from tests.archive_files import packed_tree
from tests.conftest import Outcome
from tests.scenes import recording, write

# Frames at 120 Hz of each recording, in sorted order of their keys.
FRAMES = {
    "CMU/01/jump": 12,
    "CMU/01/walk": 24,
    "CMU/02/run": 48,
    "CMU/02/walk": 72,
    "KIT/01/walk": 24,
    "KIT/3/walk back": 96,
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("amass")
    for number, (key, frames) in enumerate(FRAMES.items()):
        write(folder / f"{key}.npz", recording(frames, number))
    return folder


@pytest.fixture(scope="module")
def packed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a compressed archive and a zip."""
    return packed_tree(tree, tmp_path_factory.mktemp("packed") / "amass", ".tar.gz", ".zip")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Recordings that have been opened."""
    opening, names = amass.Recording.__init__, list[str]()

    def recorded(self: amass.Recording, source: Any, *arguments: Any) -> None:
        names.append(Path(str(getattr(source, "name", source))).stem)
        opening(self, source, *arguments)

    monkeypatch.setattr(amass.Recording, "__init__", recorded)
    return names


def keys(store: Path) -> list[str]:
    with Store(store) as opened_store:
        return [sequence.key for sequence in opened_store.sequences]


PATTERNS = st.none() | st.sampled_from(["0.", "01|3", "walk", "walk.*", ".*", "nobody"])
SECONDS = st.none() | st.sampled_from([0.0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.8])


@given(PATTERNS, PATTERNS, SECONDS, SECONDS, st.none() | st.integers(1, 7), st.booleans())
@settings(max_examples=60)
def test_a_subset_is_what_fits_everything_and_the_rest_is_counted_once(
    tree: Path,
    packed: Path,
    support_dir: Path,
    subject: str | None,
    sequence: str | None,
    shortest: float | None,
    longest: float | None,
    limit: Any,
    in_archives: bool,
) -> None:
    if shortest is not None and longest is not None and shortest > longest:
        shortest, longest = longest, shortest
    fitting, missed = [], Counter[str]()
    for key, frames in FRAMES.items():
        _, name_of_subject, name = key.split("/")
        seconds = frames / 120
        if subject is not None and not re.fullmatch(subject, name_of_subject):
            missed["subject"] += 1
        elif sequence is not None and not re.fullmatch(sequence, name):
            missed["sequence"] += 1
        elif len(fitting) == limit:
            missed["limit"] += 1
        elif shortest is not None and seconds < shortest:
            missed["min_seconds"] += 1
        elif longest is not None and seconds > longest:
            missed["max_seconds"] += 1
        else:
            fitting.append(key)
    subset, amass_dir = Subset(subject, sequence, shortest, longest, limit), packed if in_archives else tree
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "s.h5"
        if not fitting:
            with pytest.raises(BuildError, match="no recording is selected"):
                build(amass_dir, store, support_dir=support_dir, subset=subset)
            return
        report = build(amass_dir, store, support_dir=support_dir, subset=subset)
        assert keys(store) == fitting
        assert report.not_selected == missed
        assert report.skipped == ()


def test_nothing_is_opened_that_is_not_asked_for(
    tree: Path, support_dir: Path, tmp_path: Path, opened: list[str]
) -> None:
    build(tree, tmp_path / "s.h5", support_dir=support_dir, subset=Subset(subject="0.", sequence="walk"))
    assert opened == ["walk"] * 3
    opened.clear()
    build(tree, tmp_path / "s.h5", support_dir=support_dir, subset=Subset(limit=2), overwrite=True)
    assert set(opened) == {"jump", "walk"}
    assert len(opened) <= 4


def test_a_damaged_recording_does_not_count_to_the_limit_and_is_reported_if_it_is_asked_for(
    tree: Path, support_dir: Path, tmp_path: Path
) -> None:
    for key in list(FRAMES)[:2]:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{key}.npz").symlink_to(tree / f"{key}.npz")
    (tmp_path / "CMU/01/a bad one.npz").write_bytes(b"spam")
    report = build(tmp_path, tmp_path / "s.h5", support_dir=support_dir, subset=Subset(limit=1))
    assert keys(tmp_path / "s.h5") == ["CMU/01/jump"]
    assert [row.path for row in report.skipped] == ["CMU/01/a bad one.npz"]
    assert report.not_selected == {"limit": 1}
    subset = Subset(sequence="walk|jump")
    assert build(tmp_path, tmp_path / "t.h5", support_dir=support_dir, subset=subset).skipped == ()


def test_the_command_converts_the_subset_and_reports_the_rest(
    cli: Callable[..., Outcome], tree: Path, support_dir: Path, tmp_path: Path
) -> None:
    store, report = tmp_path / "s.h5", tmp_path / "report.json"
    options = ("--dataset", "cmu", "--subject", "0[12]", "--sequence", "walk|run", "--min-seconds", 0.2, "--limit", 2)
    arguments = ("--support-dir", support_dir, "--report", report, "--workers", 0)
    outcome = cli("build", tree, store, *arguments, *options, "--max-seconds", 9)
    assert outcome.exit_code == 0
    assert keys(store) == ["CMU/01/walk", "CMU/02/run"]
    assert "not selected: 2 recordings, 1 by --sequence, 1 by --limit" in outcome.stdout.splitlines()
    assert "skipped:" not in outcome.stdout
    assert "skipped" not in outcome.stderr
    written = json.loads(report.read_text())
    assert written["not_selected"] == {"sequence": 1, "limit": 1}
    assert written["skipped"] == []


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (("--subject", "("), {"subject": "("}),
        (("--sequence", "a{9999999999}"), {"sequence": "a{9999999999}"}),
        (("--min-seconds", "-1"), {"min_seconds": -1.0}),
        (("--max-seconds", "nan"), {"max_seconds": float("nan")}),
        (("--min-seconds", "3", "--max-seconds", "2"), {"min_seconds": 3.0, "max_seconds": 2.0}),
        (("--limit", "0"), {"limit": 0}),
    ],
)
def test_a_choice_that_none_can_fit_is_refused_and_named(
    cli: Callable[..., Outcome], tree: Path, tmp_path: Path, options: tuple[str, ...], arguments: dict[str, Any]
) -> None:
    outcome = cli("build", tree, tmp_path / "s.h5", *options)
    assert outcome.exit_code in {1, 2}
    assert options[0] in outcome.stderr
    with pytest.raises(SubsetError, match=re.escape(f"{options[0]}")):
        Subset(**arguments)


def test_an_empty_subset_is_one_clear_error(
    cli: Callable[..., Outcome], tree: Path, support_dir: Path, tmp_path: Path
) -> None:
    command = "build", tree, tmp_path / "s.h5", "--support-dir", support_dir, "--workers", 0
    outcome = cli(*command, "--subject", "0.", "--sequence", "walk", "--min-seconds", 100)
    assert outcome.exit_code == 1
    assert outcome.stderr.splitlines()[-1] == (
        f"error: {tree}: no recording is selected; not selected: 1 by --subject, 2 by --sequence, "
        "3 by --min-seconds; choose others"
    )
    assert not (tmp_path / "s.h5").exists()
    (tmp_path / "amass" / "D" / "S").mkdir(parents=True)
    (tmp_path / "amass" / "D" / "S" / "a.npz").write_bytes(b"spam")
    (tmp_path / "amass" / "D" / "S" / "b.npz").write_bytes(b"spam")
    with pytest.raises(BuildError, match=r"1 skipped, the first is D/S/a.npz: .*; not selected: 1 by --sequence"):
        build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, subset=Subset(sequence="a"))


def test_what_a_trial_has_converted_is_not_converted_again(
    tree: Path, support_dir: Path, tmp_path: Path, converted: Counter[str]
) -> None:
    build(tree, tmp_path / "s.h5", support_dir=support_dir, subset=Subset(limit=4))
    converted.clear()
    report = build(tree, tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert report.not_selected == {}
    assert sum(converted.values()) == 2
    build(tree, tmp_path / "whole.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
