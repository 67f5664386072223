"""What all commands have in common: -q, -v, --debug, colours, and ends that are not failures of the input."""

from __future__ import annotations

import errno
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from h36m_amass.body.model import model_path
from h36m_amass.cli.application import Command, Group
from h36m_amass.cli.verbosity import Verbosity, verbosity
from h36m_amass.demo import Demo
from h36m_amass.store import summary as describe

Cli = Callable[..., Any]
RUN = "import sys; from h36m_amass.cli import app; app(prog_name='h36m-amass')"
ESCAPE = "\x1b["
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|9[0-7])(?:;[0-9;]*)?m")
"""An escape sequence that sets a colour; bold and dim do not set one."""


@pytest.fixture
def spoiled(amass_dir: Path, tmp_path: Path) -> Path:
    """The made-up tree, with one file that is not a recording, and its path in it."""
    for dataset in amass_dir.iterdir():
        (tmp_path / dataset.name).symlink_to(dataset)
    (tmp_path / "Bad" / "s1").mkdir(parents=True)
    (tmp_path / "Bad" / "s1" / "x_poses.npz").write_bytes(b"spam")
    return tmp_path


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Let `h36m-amass info` meet an exception in the library."""

    def fail(error: BaseException) -> None:
        def sum_up_nothing(*arguments: object) -> str:
            raise error

        monkeypatch.setattr(describe, "summary", sum_up_nothing)

    return fail


def on_terminal(*arguments: object, **environment: str) -> str:
    """What a command prints where both of its outputs are a terminal."""
    parent, child = pty.openpty()
    unset = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, arguments)],
        stdout=child,
        stderr=child,
        env=unset | {"TERM": "xterm-256color", "COLUMNS": "100"} | environment,
    ):
        os.close(child)
        printed = b""
        try:
            while block := os.read(parent, 65536):
                printed += block
        except OSError as error:  # how Linux says that the other end is closed
            assert error.errno == errno.EIO
    os.close(parent)
    return printed.decode()


# --- quiet and verbose


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_quiet_build_prints_only_what_was_skipped(
    cli: Cli, spoiled: Path, support_dir: Path, tmp_path_factory: pytest.TempPathFactory, where: str
) -> None:
    store = tmp_path_factory.mktemp("quiet") / "s.h5"
    arguments = ["build", spoiled, store, "--support-dir", support_dir, "--workers", 0]
    outcome = cli(*(["-q", *arguments] if where == "before" else [*arguments, "--quiet"]))
    assert outcome.exit_code == 0
    assert store.is_file()
    assert outcome.stdout == ""
    skipped, *doubts, warning = outcome.stderr.splitlines()
    assert all("is not a name of a dataset of AMASS" in line for line in doubts)
    assert skipped.startswith("skipped: Bad/s1/x_poses.npz: ")
    assert warning.startswith("warning: 1 recording was skipped")


def test_quiet_commands_say_problems_and_errors_alone(cli: Cli, demo: Demo, support_dir: Path, tmp_path: Path) -> None:
    for arguments in (
        ("info", demo.store),
        ("verify", demo.store),
        ("datasets",),
        ("export-npz", demo.store, tmp_path),
    ):
        outcome = cli(*arguments, "-q")
        assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, "", "")
    damaged = tmp_path / "damaged.h5"
    content = bytearray(demo.store.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    loud = cli("verify", damaged)
    quiet = cli("-q", "verify", damaged)
    problems = [line for line in loud.stdout.splitlines() if line.startswith("problem: ")]
    assert (quiet.exit_code, quiet.stdout, quiet.stderr.splitlines()[:-1]) == (1, "", problems)
    checked = cli("check", tmp_path, "--support-dir", tmp_path, "-q")
    assert (checked.exit_code, checked.stdout) == (1, "")
    assert all(line.startswith(("problem: ", "error: ")) for line in checked.stderr.splitlines())


def test_a_verbose_build_tells_stages_files_and_what_it_skips(
    cli: Cli,
    spoiled: Path,
    support_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    store = tmp_path_factory.mktemp("verbose") / "s.h5"
    outcome = cli("build", spoiled, store, "-v", "--support-dir", support_dir, "--workers", 0)
    lines = [line for line in outcome.stderr.splitlines() if re.match(r" *\d+\.\d\d s  \w+: ", line)]
    times = [float(line.split()[0]) for line in lines]
    assert times == sorted(times)
    text = "\n".join(lines)
    assert f"loaded {support_dir / 'J_regressor_h36m.npy'}" in text
    assert f"loaded {model_path(support_dir, 'male')}" in text
    assert "skipped: Bad/s1/x_poses.npz" in text
    skipped, converted = (next(i for i, line in enumerate(lines) if word in line) for word in ("skipped", "converted"))
    assert skipped < converted, "it is said when it is met, not at the end"
    for stage in ("13 recordings and 0 archives to convert", "converted", "finished"):
        assert re.search(rf"{stage}.*\(\d+\.\d\d s\)$", text, re.MULTILINE), stage
    assert "13 recordings" not in cli("build", spoiled, store, "--overwrite", "--support-dir", support_dir).stderr


def test_the_library_prints_nothing_by_itself(spoiled: Path, support_dir: Path, tmp_path: Path) -> None:
    """Not even warnings, which Python prints where nobody has set up logging."""
    program = (
        "from h36m_amass import build, export_npz, verify\n"
        f"build({str(spoiled)!r}, {str(tmp_path / 's.h5')!r}, support_dir={str(support_dir)!r})\n"
        f"verify({str(tmp_path / 's.h5')!r})\n"
        f"export_npz({str(tmp_path / 's.h5')!r}, {str(tmp_path / 'out')!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_command_leaves_logging_and_the_next_command_as_they_were(cli: Cli, demo: Demo) -> None:
    logger = logging.getLogger("h36m_amass")
    before = logger.level, list(logger.handlers)
    assert cli("-v", "verify", demo.store).exit_code == 0
    assert (logger.level, list(logger.handlers)) == before
    assert cli("-q", "info", demo.store).stdout == ""
    assert verbosity() == Verbosity()
    assert cli("info", demo.store).stdout != ""


def test_quiet_and_verbose_exclude_each_other(cli: Cli, demo: Demo) -> None:
    for arguments in (("-qv", "info", demo.store), ("-q", "info", demo.store, "-v"), ("info", demo.store, "-v", "-q")):
        outcome = cli(*arguments)
        assert outcome.exit_code == 2
        assert "exclude each other" in outcome.stderr


# --- failures


def test_a_bug_is_one_line_without_a_traceback(cli: Cli, demo: Demo, failing: Callable[[BaseException], None]) -> None:
    failing(KeyError("two\nlines"))
    outcome = cli("info", demo.store)
    assert outcome.exit_code == 1
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("internal error: KeyError: ")
    assert "--debug" in line
    assert "report" in line
    assert "as an issue of the repository" in line


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EIO, "Input/output error", "/mnt/amass/a.npz"), "/mnt/amass/a.npz: Input/output error"),
        (OSError("something else"), "something else"),
    ],
)
def test_an_error_of_the_system_names_its_file(
    cli: Cli, demo: Demo, failing: Callable[[BaseException], None], error: OSError, said: str
) -> None:
    failing(error)
    outcome = cli("info", demo.store)
    assert (outcome.exit_code, outcome.stderr) == (1, f"error: {said}\n")


@pytest.mark.parametrize("command", [("--debug", "info"), ("info", "--debug")])
def test_debug_shows_the_traceback_of_bugs_and_of_errors(
    cli: Cli, demo: Demo, tmp_path: Path, failing: Callable[[BaseException], None], command: tuple[str, ...]
) -> None:
    outcome = cli(*command, tmp_path / "absent.h5")
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith("Traceback (most recent call last)")
    assert outcome.stderr.splitlines()[-1].startswith("error: ")
    failing(ZeroDivisionError("spam"))
    outcome = cli(*command, demo.store)
    assert outcome.exit_code == 1
    assert "in sum_up_nothing" in outcome.stderr
    assert outcome.stderr.splitlines()[-1].startswith("internal error: ZeroDivisionError: spam")


def test_ctrl_c_where_no_command_answers_it_is_no_traceback() -> None:
    application = typer.Typer(name="x", cls=Group)

    @application.command(cls=Command)
    def one() -> None:
        raise KeyboardInterrupt

    @application.command(cls=Command)
    def two() -> None:
        """So that commands have names."""

    result = CliRunner().invoke(application, ["one"], catch_exceptions=False)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "interrupted\n")


@pytest.mark.parametrize("module", ["h36m_amass.cli", "typer", "h36m_amass.cli.view"])
def test_ctrl_c_while_a_command_is_imported_is_one_word(module: str) -> None:
    program = f"""
import signal, sys

class Interrupting:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

from h36m_amass.__main__ import main
sys.meta_path.insert(0, Interrupting)
main()
"""
    done = subprocess.run([sys.executable, "-c", program, "datasets"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_the_package_is_the_command() -> None:
    line = [sys.executable, "-m", "h36m_amass", "--version"]
    assert subprocess.run(line, capture_output=True, text=True, check=True).stdout.startswith("h36m-amass ")


@pytest.mark.parametrize("arguments", [("info", "{store}"), ("--help",)])
def test_a_reader_that_has_gone_is_no_failure_to_talk_about(demo: Demo, arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", RUN, *(argument.format(store=demo.store) for argument in arguments)],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_reader_may_go_before_the_last_is_flushed() -> None:
    program = (
        "import typer\n"
        "from h36m_amass.cli.application import Command, Group\n"
        "application = typer.Typer(name='x', cls=Group)\n"
        "application.command('one', cls=Command)(lambda: print('spam'))\n"
        "application.command('two', cls=Command)(lambda: None)\n"
        "application(['one'])"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=writing, stderr=subprocess.PIPE, text=True, check=False, env=buffered
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


# --- colours


@pytest.mark.parametrize("arguments", [("build", "--help"), ("build", "--spam"), ("export-npz", "{store}", "{out}")])
def test_colours_are_for_terminals_that_want_them(demo: Demo, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    command = [argument.format(store=demo.store, out=tmp_path) for argument in arguments]
    assert COLOUR.search(on_terminal(*command))
    assert not COLOUR.search(on_terminal(*command, NO_COLOR="1"))
    assert not COLOUR.search(on_terminal(*command, "--no-color"))


def test_without_a_terminal_there_are_no_escapes_unless_forced(demo: Demo) -> None:
    for arguments in (["build", "--spam"], ["datasets"]):
        for forced in (False, True):
            unset = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
            done = subprocess.run(
                [sys.executable, "-c", RUN, *arguments],
                capture_output=True,
                text=True,
                check=False,
                env=unset | ({"FORCE_COLOR": "1"} if forced else {}),
            )
            assert (ESCAPE in done.stdout + done.stderr) == forced, arguments


def test_no_color_does_not_outlast_its_command(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert cli("--no-color", "datasets").exit_code == 0
    assert "NO_COLOR" not in os.environ


def test_what_is_behind_two_dashes_is_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    application = typer.Typer(name="x", cls=Group)

    @application.command(cls=Command)
    def one(word: str) -> None:
        typer.echo(f"{word} {os.environ.get('NO_COLOR')}")

    @application.command(cls=Command)
    def two() -> None:
        """So that commands have names."""

    assert CliRunner().invoke(application, ["one", "--", "--no-color"]).stdout == "--no-color None\n"
    assert CliRunner().invoke(application, ["one", "a", "--no-color"]).stdout == "a 1\n"
