"""Every damaged or odd file gets its own reason, the others convert, memory stays small and nothing takes long."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h36m_amass.conversion.builder import build
from h36m_amass.store.store import Store
from tests.corpus import models, recordings, stores
from tests.scenes import recording, write

GIBIBYTE = 2**30
SECONDS = 60
BUILD = """
import json, sys
from h36m_amass import build
from tests.scenes import own_peak
report = build(sys.argv[1], sys.argv[2], support_dir=sys.argv[3], skip_missing=True)
skipped = {row.path: row.reason for row in report.skipped}
print(json.dumps({"skipped": skipped, "peak": own_peak()}))
"""


def run(*arguments: object) -> Any:
    """What a program printed as JSON, within the time that it has."""
    line = [sys.executable, *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def built(whole_support_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """All recordings of the corpus, converted in one go, and what became of them."""
    folder = tmp_path_factory.mktemp("corpus")
    subject = folder / "amass" / "D" / "S"
    subject.mkdir(parents=True)
    for name, (make, _) in recordings.FAULTS.items():
        make(subject / f"bad {name}.npz")
    for name, make_odd in recordings.ODD.items():
        make_odd(subject / f"odd {name}.npz")
    write(folder / "amass" / "D" / os.fsdecode(b"\xff") / "a.npz", recording(40))
    (subject / "deeper" / "still").mkdir(parents=True)
    write(subject / "deeper" / "still" / "a.npz", recording(40))
    (folder / "amass" / "D" / "S" / "up").symlink_to("..")
    (folder / "amass" / "around").symlink_to("around")
    write(folder / "amass" / "E" / "S" / "good.npz", recording(40))
    outcome = run("-c", BUILD, folder / "amass", folder / "s.h5", whole_support_dir)
    return folder / "s.h5", outcome


@pytest.mark.parametrize("name", recordings.FAULTS)
def test_a_faulty_recording_is_skipped_for_its_reason(built: tuple[Path, dict[str, Any]], name: str) -> None:
    reason = built[1]["skipped"][f"D/S/bad {name}.npz"]
    assert re.search(recordings.FAULTS[name][1], reason), reason
    assert "\n" not in reason


@pytest.mark.parametrize("name", recordings.ODD)
def test_an_odd_recording_is_converted(built: tuple[Path, dict[str, Any]], name: str) -> None:
    assert f"D/S/odd {name}.npz" not in built[1]["skipped"]
    (sequence,) = Store(built[0]).select(subject="S", sequence=re.escape(f"odd {name}"))
    assert np.isfinite(sequence.positions_3d[:]).all()


def test_everything_else_is_converted_in_little_memory(built: tuple[Path, dict[str, Any]]) -> None:
    store = Store(built[0])
    assert {sequence.key for sequence in store.sequences} == {
        "E/S/good",
        *(f"D/S/odd {name}" for name in recordings.ODD),
    }
    skipped = built[1]["skipped"]
    assert skipped["D/\\udcff/a.npz"] == "its name is not valid UTF-8; rename it"
    assert "lies deeper" in skipped["D/S/deeper/still/a.npz"]
    assert "leads nowhere" in skipped["around"]
    assert not [path for path in skipped if path.startswith("D/S/up/")]
    assert built[1]["peak"] < GIBIBYTE


def test_a_frame_limit_can_be_raised_and_lowered(support_dir: Path, tmp_path: Path) -> None:
    write(tmp_path / "amass" / "D" / "S" / "a.npz", recording(40))
    write(tmp_path / "amass" / "D" / "S" / "b.npz", recording(41))
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, max_frames=40)
    assert [(row.path, row.reason) for row in report.skipped] == [
        ("D/S/b.npz", "has 41 frames, more than 40; if that is right, raise --max-frames")
    ]


@pytest.mark.parametrize(
    ("kind", "faults"), [("models", models.MODELS), ("regressors", models.REGRESSORS), ("stores", stores.STORES)]
)
def test_faulty_models_regressors_and_stores_are_refused_for_their_reasons(
    tmp_path: Path, kind: str, faults: dict[str, Any]
) -> None:
    report = run("-m", "tests.corpus.examine", kind, tmp_path)
    for name, (_, reason) in faults.items():
        fault = report["faults"][name]
        assert re.search(reason, fault["reason"]), (name, fault)
        assert fault["reason"].startswith(("h36m_amass.", "tests.corpus.stores")), (name, fault)
        assert str(tmp_path / name) in fault["reason"], (name, fault)
        assert fault["seconds"] < 10, name
    assert report["peak"] < GIBIBYTE
