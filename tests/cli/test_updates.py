"""What an update, a missing body model and a signal look like on the command line."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from h36m_amass.cli.application import Command, Group
from h36m_amass.store.store import Store
from h36m_amass.system.signals import StopRequestedError, stop_flag
from tests.cli.test_cli import VERTICES, Scene, error_of, scene, small_model, small_recording, write_npz

__all__ = ["scene"]

Cli = Callable[..., Any]


def keys(store: Path) -> list[str]:
    with Store(store) as opened:
        return [sequence.key for sequence in opened.sequences]


def last_line(outcome: Any) -> str:
    assert outcome.exit_code == 0, outcome.stderr
    line: str = outcome.stdout.splitlines()[-1]
    return line


def test_an_update_ends_with_a_line_of_what_it_did(cli: Cli, scene: Scene) -> None:
    cli(*scene.build())
    before = scene.store.read_bytes()
    assert last_line(cli(*scene.build("--update"))) == "updated: 0 added, 0 changed, 2 kept, 0 gone"
    assert scene.store.read_bytes() == before
    write_npz(scene.amass / "Other" / "s1" / "c.npz", small_recording(betas=np.ones(16)))
    write_npz(scene.recording, small_recording(dmpls=None, trans=np.zeros((25, 3))))
    assert last_line(cli(*scene.build("--update"))) == "updated: 1 added, 1 changed, 1 kept, 0 gone"
    assert keys(scene.store) == ["Other/s1/c", "Small/s1/a", "Small/s1/b"]


def test_what_is_gone_is_kept_until_it_is_pruned(cli: Cli, scene: Scene) -> None:
    cli(*scene.build())
    scene.recording.unlink()
    assert last_line(cli(*scene.build("--update"))) == (
        "updated: 0 added, 0 changed, 1 kept, 1 gone (no longer in AMASS_DIR but kept; --prune removes them)"
    )
    assert keys(scene.store) == ["Small/s1/a", "Small/s1/b"]
    assert last_line(cli(*scene.build("--update", "--prune"))) == (
        "updated: 0 added, 0 changed, 1 kept, 1 gone (removed)"
    )
    assert keys(scene.store) == ["Small/s1/a"]


def test_a_first_build_has_no_line_of_an_update(cli: Cli, scene: Scene) -> None:
    assert "updated:" not in cli(*scene.build()).stdout
    scene.store.unlink()
    assert cli(*scene.build("--update")).exit_code == 0


@pytest.mark.parametrize("options", [("--prune",), ("--update", "--overwrite")])
def test_prune_goes_with_update_and_update_not_with_overwrite(cli: Cli, scene: Scene, options: tuple[str, ...]) -> None:
    before = scene.files()
    outcome = cli(*scene.build(*options))
    assert outcome.exit_code == 2
    assert all(option in outcome.stderr for option in options)
    assert scene.files() == before


DIFFERENT: dict[str, tuple[tuple[object, ...], str, str, str]] = {
    "rate": (("-r", 25), "--frame-rate", "50", "25"),
    "native rate": (("--native-rate",), "--frame-rate", "50", "native"),
    "batch size": (("--batch-size", 512), "--batch-size", "4096", "512"),
    "compression": (("--compression", "gzip"), "--compression", "none", "gzip"),
    "upsample": (("--upsample",), "--upsample", "without --upsample", "with it"),
    "no dmpls": (("--no-dmpls",), "--no-dmpls", "without --no-dmpls", "with it"),
    "regressor": (("--joint-regressor", "{root}/other.npy"), "--joint-regressor", "h36m (", "other.npy ("),
    "names": (("--joint-names", "{root}/names.txt"), "--joint-names", "pelvis", "marker 0"),
    "map": (("--vertex-map", "{root}/map.npy"), "--vertex-map", "none", "not "),
}


@pytest.mark.parametrize("case", list(DIFFERENT))
def test_an_update_refuses_options_that_are_not_the_stores_and_names_both(cli: Cli, scene: Scene, case: str) -> None:
    np.save(scene.root / "other.npy", np.random.default_rng(9).dirichlet(np.ones(VERTICES), 17))
    np.save(scene.root / "map.npy", np.eye(VERTICES))
    (scene.root / "names.txt").write_text("\n".join(f"marker {k}" for k in range(17)), encoding="utf-8")
    cli(*scene.build())
    before = scene.files()
    options, *words = DIFFERENT[case]
    arguments = [str(option).replace("{root}", str(scene.root)) for option in options]
    line = error_of(cli(*scene.build("--update", *arguments)), scene.store)
    assert all(word in line for word in (*words, "build it again with --overwrite")), line
    assert scene.files() == before


def test_an_update_takes_options_that_are_not_given_from_the_store(cli: Cli, scene: Scene) -> None:
    cli(*scene.build("-r", 25, "--no-dmpls", "--compression", "gzip", "--joint-regressor", "skeleton"))
    first = scene.store.read_bytes()
    write_npz(scene.amass / "Other" / "s1" / "c.npz", small_recording())
    assert last_line(cli(*scene.build("--update"))) == "updated: 1 added, 0 changed, 2 kept, 0 gone"
    with Store(scene.store) as store:
        assert store.header.frame_rate == 25
        assert store.joint_sets == ("skeleton",)
    assert scene.store.read_bytes() != first


# --- missing body models


def test_a_missing_model_ends_the_build_unless_such_recordings_are_to_be_skipped(cli: Cli, scene: Scene) -> None:
    for name in ("m1", "m2", "m3", "m4"):
        write_npz(scene.amass / "Small" / "s1" / f"{name}.npz", small_recording(gender=np.array("male")))
    before = scene.files()
    line = error_of(cli(*scene.build()), "smplh/male/model.npz")
    assert "https://mano.is.tue.mpg.de" in line
    assert "--skip-missing" in line
    after = {path: content for path, content in scene.files().items() if ".h5.parts" not in str(path)}
    assert after == before
    outcome = cli(*scene.build("--skip-missing"))
    assert outcome.exit_code == 0
    (skipped,) = [text for text in outcome.stdout.splitlines() if text.startswith("skipped: ")]
    assert skipped.startswith("skipped: 4 recordings, each: ")
    assert "smplh/male/model.npz" in skipped
    assert skipped.endswith(": Small/s1/m1.npz, Small/s1/m2.npz, Small/s1/m3.npz and 1 more")
    assert outcome.stderr.splitlines()[-1] == "warning: 4 recordings were skipped, see above for the reasons"
    assert keys(scene.store) == ["Small/s1/a", "Small/s1/b"]


def test_skipped_recordings_come_with_the_next_update_once_their_model_is_there(cli: Cli, scene: Scene) -> None:
    write_npz(scene.amass / "Small" / "s1" / "m.npz", small_recording(gender=np.array("male")))
    cli(*scene.build("--skip-missing"))
    write_npz(scene.model(gender="male"), small_model("male"))
    write_npz(scene.model("dmpls", "male"), {"eigvec": np.zeros((VERTICES, 3, 8))})
    assert last_line(cli(*scene.build("--update"))) == "updated: 1 added, 0 changed, 2 kept, 0 gone"


# --- signals


@pytest.mark.parametrize(
    ("signum", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_that_a_loop_looked_at_is_one_line_with_its_status(
    signum: signal.Signals, status: int, word: str
) -> None:
    application = typer.Typer(name="x", cls=Group)

    @application.command(cls=Command)
    def one() -> None:
        with stop_flag():
            try:
                signal.raise_signal(signum)
                typer.echo("goes on until it looks")
                raise StopRequestedError(signum)
            except StopRequestedError as stop:
                stop.add_note("2 converted parts are kept")
                raise

    @application.command(cls=Command)
    def two() -> None:
        """So that commands have names."""

    result = CliRunner().invoke(application, ["one"], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (status, "goes on until it looks\n")
    assert result.stderr == f"{word}; 2 converted parts are kept\n"
