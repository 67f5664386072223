"""The page of all commands, made from the command line itself: ``python docs/commands.py`` writes ``commands.md``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, EnumMeta
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer

from h36m_amass.cli import app
from h36m_amass.cli.application import common_options
from h36m_amass.cli.examples import EXAMPLES

PAGE = Path(__file__).with_suffix(".md")
MORE = {
    "setup": "getting-the-data.md",
    "check": "converting.md#before-a-build-check",
    "build": "converting.md",
    "import-h36m": "human36m.md#import-it",
    "export-npz": "exporting.md#the-npz-dictionaries",
    "export-motionbert": "exporting.md#motionberts-clips",
    "datasets": "converting.md#names-of-datasets",
    "info": "pictures.md",
    "plot": "pictures.md",
    "view": "pictures.md#the-viewer-view",
    "verify": "reliability.md",
    "demo": "index.md#five-minutes",
}
"""Where the manual says more about each command."""
INTRODUCTION = """\
# Commands

*Made from the command line itself by `make commands`; `h36m-amass COMMAND --help` says the same.*

| exit status | |
|---|---|
| 0 | done |
| 1 | failed; one line on standard error says what is wrong and what to do |
| 2 | wrong usage, like a value that is not one of an option's choices |
| 130, 143 | interrupted with Ctrl-C, terminated |

A failure is one line, never a traceback. A line that begins with `internal error:` is a bug: please report it, with
what the same command prints with `--debug`. Remove the passwords and tokens of URLs first.

`h36m-amass --install-completion` teaches bash, zsh, fish or PowerShell to complete commands, options and their values
with Tab: datasets, joint sets, devices, and the keys of a store. `h36m-amass --version` prints the version.

## Options of every command

They may stand before the command's name, too.
"""


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page's text."""
    group: Any = typer.main.get_command(app)
    common = common_options()
    lines = [INTRODUCTION, *_options(common, {}), ""]
    for name, command in group.commands.items():
        parameters = [
            parameter for parameter in command.params if not any(parameter.name == other.name for other in common)
        ]
        arguments = [parameter for parameter in parameters if parameter.param_type_name == "argument"]
        hints = get_type_hints(command.callback)
        words = " ".join(["h36m-amass", name, "[OPTIONS]", *(_usage(argument) for argument in arguments)])
        lines += [f"## {name}", "", _escaped(" ".join(command.help.split())), "", "```text", words, "```", ""]
        if arguments:
            lines += ["| argument | |", "|---|---|"]
            lines += [
                f"| `{argument.metavar or argument.name.upper()}` | {_said(argument, hints)} |"
                for argument in arguments
            ]
            lines += [""]
        options = [
            parameter for parameter in parameters if parameter.param_type_name == "option" and parameter.name != "help"
        ]
        if options:
            lines += [*_options(options, hints), ""]
        lines += ["Examples:", "", "```console", *(f"$ {line}" for line in EXAMPLES[name]), "```", ""]
        lines += [f"More in [{MORE[name].partition('#')[0].removesuffix('.md').replace('-', ' ')}]({MORE[name]}).", ""]
    return "\n".join(lines).rstrip() + "\n"


def _options(options: Iterable[Any], hints: Mapping[str, Any]) -> Iterator[str]:
    """A table of options: names, default, meaning."""
    yield "| option | default | |"
    yield "|---|---|---|"
    for option in options:
        names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len))
        yield f"| {names} | {_escaped(default_of(option))} | {_said(option, hints)} |"


def default_of(parameter: Any) -> str:
    """The default that ``--help`` gives for an option; none for a flag."""
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if getattr(parameter, "is_flag", False) or parameter.default is None:
        return ""
    default = parameter.default.value if isinstance(parameter.default, Enum) else parameter.default
    return f"{default:g}" if isinstance(default, float) else str(default)


def _said(parameter: Any, hints: Mapping[str, Any]) -> str:
    hint = hints.get(parameter.name)
    values = [choice.value for kind in (hint, *get_args(hint)) if isinstance(kind, EnumMeta) for choice in kind]
    one_of = " One of " + ", ".join(f"`{value}`" for value in values) + "." if values else ""
    return _escaped(" ".join(parameter.help.split())) + one_of


def _usage(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required else f"[{name}]"


def _escaped(text: str) -> str:
    """Text in which nothing is Markdown: patterns and names in capitals stand as they are."""
    return re.sub(r"([|*_<\[\]])", r"\\\1", text)


if __name__ == "__main__":
    main()
