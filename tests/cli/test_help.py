"""What ``--help`` says of every command, whichever there are: it fits, and it is true."""

from __future__ import annotations

import inspect
import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from h36m_amass import skeleton
from h36m_amass.body import regressor
from h36m_amass.cli import app
from h36m_amass.cli.application import common_options
from h36m_amass.cli.examples import EXAMPLES
from h36m_amass.conversion import builder, pool
from h36m_amass.conversion import options as build_options
from h36m_amass.export import motionbert
from h36m_amass.export import npz as export
from h36m_amass.plot import drawing as plot
from h36m_amass.plot import poses as plot_poses
from h36m_amass.verification import store as verification

WIDTH = 100
GROUP: Any = typer.main.get_command(app)
COMMANDS = sorted(GROUP.commands)
UNITS = {"HERTZ", "FRAMES", "SECONDS", "BYTES", "METRES", "PROCESSES", "RECORDINGS", "NUMBER", "PIXELS", "PORT"}
LIBRARY: dict[str, Callable[..., Any]] = {
    "build": builder.build,
    "export-npz": export.export_npz,
    "export-motionbert": motionbert.export_motionbert,
    "plot": plot.draw,
    "verify": verification.verify,
}
"""What a command is a face of: parameters of the same name have the same defaults."""
ABSENT = {"all", "any length", "none", "its first"}
"""What stands for the default None: nothing is narrowed down, given or chosen."""


def parameters() -> list[Any]:
    """Every option of every command that takes a value."""
    return [
        pytest.param(name, option, id=f"{name} {option.opts[0]}")
        for name in COMMANDS
        for option in GROUP.commands[name].params
        if option.param_type_name == "option" and not option.is_flag
    ]


stated_default = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "commands.py"), run_name="commands")[
    "default_of"
]
"""The default that ``--help`` gives for an option; none for a flag."""


def shown_help(*command: str) -> str:
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": str(WIDTH), "NO_COLOR": "1"})
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids="-".join)
def test_help_fits_and_nothing_of_it_is_cut(command: tuple[str, ...]) -> None:
    """Every word about the options is there, in order, at 100 columns."""
    shown = shown_help(*command)
    assert max(map(len, shown.splitlines())) <= WIDTH
    assert "…" not in shown
    assert "<bool>" not in shown
    for parameter in (GROUP.commands[command[0]] if command else GROUP).params:
        assert _letters(parameter.help or "") in _letters(shown), parameter.name


def _letters(text: str) -> str:
    """Without what lines are broken and framed with."""
    return re.sub(r"\W", "", text)


@pytest.mark.parametrize(("command", "option"), parameters())
def test_an_option_says_its_default_and_its_unit(command: str, option: Any) -> None:
    assert option.help.endswith("."), "a sentence"
    assert stated_default(option) or option.required
    kind = str(get_type_hints(GROUP.commands[command].callback).get(option.name, ""))
    if re.search(r"\b(int|float)\b", kind) and "Path" not in kind:
        assert option.metavar in UNITS


@pytest.mark.parametrize(("command", "option"), parameters())
def test_a_stated_default_is_the_real_one(command: str, option: Any) -> None:
    """The default in the help of an option is what the library does without the option."""
    stated, library = stated_default(option), LIBRARY.get(command)
    if isinstance(option.show_default, str):
        assert option.default is None, "what is not None shows itself"
    if library is not None:
        parameter = inspect.signature(library).parameters.get(option.name)
        if parameter is not None and parameter.default is not None and option.name != "workers":
            default = parameter.default
            assert stated == (f"{default:g}" if isinstance(default, float) else str(default))
    if option.name == "joint_regressor":
        assert stated == f"{regressor.H36M_FILE_NAME}.npy in --support-dir"


def test_the_remaining_defaults_are_words_for_none() -> None:
    words = {
        option.show_default
        for _, option in (case.values for case in parameters())
        if isinstance(option.show_default, str)
    }
    derived = {
        f"{build_options.FRAME_RATE:g}",
        f"{build_options.BATCH_SIZE}",
        f"{regressor.H36M_FILE_NAME}.npy in --support-dir",
        f"one per core, up to {pool.WORKERS_PER_GPU} per GPU, fewer for little data",
        "KEY.png, with - for slashes",  # see plot.draw
        f"{inspect.signature(plot_poses.draw_poses).parameters['num_poses'].default}",
        "as many as fit on a screen or two, with --json all",  # see describe.fitting_depth
        "the regressor's if it is known, else joint_0, joint_1, ...",  # see the next test
    }
    assert words <= ABSENT | derived


def test_joints_without_names_are_called_as_help_says(tmp_path: Any) -> None:
    import numpy as np

    for stem, names in (("J_regressor_h36m", skeleton.H36M.joint_names), ("other", ("joint_0", "joint_1"))):
        path = tmp_path / f"{stem}.npy"
        np.save(path, np.ones((17, 20)))
        assert regressor.load(path).skeleton.joint_names[: len(names)] == names


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_common_options(name: str) -> None:
    common = {option.opts[0] for option in common_options()}
    assert common <= {option.opts[0] for option in GROUP.commands[name].params}


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_can_be_given_as_they_are(name: str) -> None:
    assert len(EXAMPLES[name]) == 2
    assert any(line.split()[1] == name for line in EXAMPLES[name])
    for line in EXAMPLES[name]:
        program, command, *rest = shlex.split(line)
        assert program == "h36m-amass"
        GROUP.commands[command].make_context(command, rest)  # which parses, and raises at what is wrong


def test_every_command_has_examples() -> None:
    assert sorted(EXAMPLES) == COMMANDS
