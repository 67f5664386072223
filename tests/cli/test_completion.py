"""Completion of values, driven as bash drives it: a process for each Tab."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from h36m_amass.cli import app
from h36m_amass.demo import Demo
from h36m_amass.store.store import Store


def typed(*words: object, shell: str = "bash") -> dict[str, str]:
    """The environment in which a shell runs the command to complete the last of the words."""
    line = ["h36m-amass", *map(str, words)]
    asked = {"_H36M_AMASS_COMPLETE": f"complete_{shell}"}
    if shell == "bash":
        return asked | {"COMP_WORDS": "\n".join(line), "COMP_CWORD": str(len(line) - 1)}
    return asked | {"_TYPER_COMPLETE_ARGS": " ".join(line), "_TYPER_COMPLETE_FISH_ACTION": "get-args"}


def completed(*words: object, shell: str = "bash") -> list[str]:
    """Suggestions for the last of the words, as it is typed; nothing else may be printed."""
    result = CliRunner().invoke(app, prog_name="h36m-amass", env=typed(*words, shell=shell), catch_exceptions=False)
    assert result.stderr == ""
    assert result.exit_code == 0
    return result.stdout.split("\n")[:-1] if result.stdout.strip() else []


@pytest.fixture(scope="module")
def odd_store(amass_dir: Path, support_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with names that a shell would take apart."""
    from h36m_amass.conversion.builder import build

    folder = tmp_path_factory.mktemp("odd")
    recording = next(amass_dir.rglob("*_poses.npz"))
    for name in ("ACCAD/s 1/A1 - Stand_poses.npz", "ACCAD/s 1/it's $5_poses.npz", "KIT/3/x_poses.npz"):
        path = folder / "amass" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(recording)
    build(folder / "amass", folder / "odd.h5", support_dir=support_dir)
    return folder / "odd.h5"


def test_a_key_is_completed_level_by_level(demo: Demo) -> None:
    with Store(demo.store) as store:
        assert completed("info", demo.store, "") == list(store.datasets)
        (only, deeper) = completed("info", demo.store, "Pre")
        assert (only, deeper) == ("Pretend", "Pretend/"), "a shell does not put a space behind it"
        subjects = [f"Pretend/{subject}" for subject in store["Pretend"]]
        assert completed("info", demo.store, "Pretend/") == subjects
        keys = [sequence.key for sequence in store["Pretend"]["s1"].values()]
        assert completed("info", demo.store, "Pretend/s1/") == keys
        assert completed("info", demo.store, keys[0][:-3]) == keys[:1]
        assert completed("info", demo.store, f"{keys[0]}/") == completed("info", demo.store, "Spam") == []


def test_bash_gets_names_that_it_can_put_on_the_line(odd_store: Path) -> None:
    offered = completed("info", odd_store, r"ACCAD/s\ 1/")
    with Store(odd_store) as store:
        keys = [sequence.key for sequence in store["ACCAD"]["s 1"].values()]
    assert [shlex.split(word) for word in offered] == [[key] for key in keys]
    assert completed("info", odd_store, offered[0][:-6]) == offered[:1], "what it gave is completed further"


def test_other_shells_get_names_as_they_are(odd_store: Path) -> None:
    assert completed("info", odd_store, r"ACCAD/s\ 1/A", shell="fish") == ["ACCAD/s 1/A1 - Stand_poses"]


def test_every_argument_that_names_a_sequence_completes(demo: Demo) -> None:
    """Whichever commands there are: an argument `key` is one of the argument `store`."""
    group, names = typer.main.get_command(app), set()
    for name, command in group.commands.items():  # type: ignore[attr-defined] # a group
        arguments = [parameter.name for parameter in command.params if parameter.param_type_name == "argument"]
        if arguments[:2] == ["store", "key"]:
            names.add(name)
            assert completed(name, demo.store, "Pretend/s1/w") == ["Pretend/s1/walk_poses"], name
    assert {"info", "plot"} <= names


def test_datasets_come_from_the_folder_or_the_store_on_the_line(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "CMU").mkdir()
    (tmp_path / ".cache").mkdir()
    for name in ("KIT.tar.bz2", "SFU.zip", "readme.txt"):
        (tmp_path / name).touch()
    assert completed("build", tmp_path, "new.h5", "--dataset", "") == ["CMU", "KIT", "SFU"]
    assert completed("build", tmp_path, "new.h5", "--dataset", "CMU", "--dataset", "") == ["KIT", "SFU"]
    assert completed("build", tmp_path, "new.h5", "--dataset", "K") == ["KIT"]
    with Store(demo.store) as store:
        for command in ("export-npz", "export-motionbert"):
            assert completed(command, demo.store, "out", "--dataset", "") == list(store.datasets)


def test_joint_sets_devices_and_choices(demo: Demo) -> None:
    with Store(demo.store) as store:
        assert completed("export-npz", demo.store, "out", "--joint-set", "") == list(store.joint_sets)
    assert {"auto", "cpu", "cuda"} <= set(completed("build", "a", "b", "--device", ""))
    assert completed("build", "a", "b", "--compression", "") == ["none", "lzf", "gzip"]
    assert completed("export-npz", "a", "b", "--joint-order", "h") == ["h36m"]
    assert completed("bui") == ["build"]
    assert completed("info", "--verb") == ["--verbose"]


@pytest.mark.parametrize("words", [("info", "{}", ""), ("export-npz", "{}", "o", "--dataset", "")])
def test_nothing_is_said_of_what_cannot_be_read(demo: Demo, tmp_path: Path, words: tuple[str, ...]) -> None:
    content = bytearray(demo.store.read_bytes())
    content[1000] ^= 0xFF
    bad = {"damaged": bytes(content), "cut": demo.store.read_bytes()[:5000], "no store": b"spam", "empty": b""}
    for name, stored in bad.items():
        (tmp_path / name).write_bytes(stored)
    for name in (*bad, "absent", "."):
        assert completed(*(word.format(shlex.quote(str(tmp_path / name))) for word in words)) == [], name
    assert completed("build", tmp_path / "absent", "s.h5", "--dataset", "") == []


def test_home_and_variables_are_looked_up_as_the_shell_would(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(demo.store.parent))
    monkeypatch.setenv("STORES", str(demo.store.parent))
    for typed in (f"~/{demo.store.name}", f"$STORES/{demo.store.name}"):
        assert completed("info", typed, "Made") == ["Madeup", "Madeup/"]


def test_a_shell_gets_keys_from_a_process_that_does_not_import_torch(demo: Demo) -> None:
    program = "import sys; sys.modules['torch'] = None; from h36m_amass.cli import app; app(prog_name='h36m-amass')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | typed("info", demo.store, "Made"),
    )
    assert (done.stdout, done.stderr) == ("Madeup\nMadeup/\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_given_its_script(shell: str) -> None:
    environment = {"_H36M_AMASS_COMPLETE": f"source_{shell}"}
    script = CliRunner().invoke(app, prog_name="h36m-amass", env=environment, catch_exceptions=False).stdout
    assert f"_H36M_AMASS_COMPLETE=complete_{shell}" in script
