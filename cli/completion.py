"""What a shell suggests for the value of an option or argument, given the words before it on the line.

The shell runs the command for each Tab, so nothing here imports torch, and only the index of a store is read. A store
that cannot be read gives no suggestions: an error would go nowhere.
"""

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from h36m_amass.store.store import Store

_SPECIAL = re.compile(r"[^\w@%+=:,./-]", re.ASCII)


def complete_key(context: typer.Context, incomplete: str) -> list[str]:
    """``DATASET``, ``DATASET/SUBJECT`` or ``DATASET/SUBJECT/SEQUENCE`` of the store in the argument ``store``.

    One level is suggested at a time. A single match with a level below is suggested with a slash, too, so that the
    shell does not end the word.
    """
    with _store(context) as store:
        if store is None:
            return []
        depth = incomplete.count("/") + 1
        columns = [store.index.texts(name) for name in ("dataset", "subject", "sequence")]
        keys = {"/".join(names) for names in zip(*columns[:depth], strict=True)}
    fitting = sorted(key for key in keys if key.startswith(incomplete))
    if len(fitting) == 1 and depth < len(columns):
        return [*fitting, f"{fitting[0]}/"]
    return fitting if depth <= len(columns) else []


def complete_dataset(context: typer.Context, incomplete: str) -> list[str]:
    """A dataset of the AMASS folder in the argument ``amass_dir``, or else of the store in ``store``; each once."""
    if "amass_dir" in _arguments(context):
        datasets = _folder_datasets(_path(context, "amass_dir"))
    else:
        with _store(context) as store:
            datasets = [] if store is None else list(store.datasets)
    named = context.params.get("dataset") or ()
    return [name for name in datasets if name.startswith(incomplete) and name not in named]


def complete_joint_set(context: typer.Context, incomplete: str) -> list[str]:
    """A joint set of the store in the argument ``store``."""
    with _store(context) as store:
        return [] if store is None else [name for name in store.joint_sets if name.startswith(incomplete)]


def complete_device(incomplete: str) -> list[str]:
    """A device that torch may find."""
    from h36m_amass.system.devices import likely_devices

    return [device for device in likely_devices() if device.startswith(incomplete)]


@contextmanager
def quoted_for_bash() -> Iterator[None]:
    """Quote what Typer prints for bash to complete with, which puts it on the line as it is; names have spaces."""
    if os.environ.get("_H36M_AMASS_COMPLETE") != "complete_bash":
        yield
        return
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        sys.stdout.write(_SPECIAL.sub(lambda match: f"\\{match[0]}", printed.getvalue()).replace("\\\n", "\n"))


@contextmanager
def _store(context: typer.Context) -> "Iterator[Store | None]":
    """The store that was given, if it can be read."""
    from h36m_amass.store.errors import StoreError
    from h36m_amass.store.store import Store

    path, store = _path(context, "store"), None
    with ExitStack() as stack:
        with suppress(StoreError, OSError):
            store = None if path is None else stack.enter_context(Store(path))
        yield store


def _folder_datasets(folder: Path | None) -> list[str]:
    """Names of the folders and archives in an AMASS folder."""
    from h36m_amass.files.archives import dataset_name

    if folder is None:
        return []
    names: set[str | None] = set()
    with suppress(OSError):
        names.update(entry.name if entry.is_dir() else dataset_name(entry.name) for entry in os.scandir(folder))
    return sorted(name for name in names if name is not None and not name.startswith("."))


def _arguments(context: typer.Context) -> list[str]:
    """Names of the command's arguments, in order."""
    return [str(parameter.name) for parameter in context.command.params if parameter.param_type_name == "argument"]


def _path(context: typer.Context, argument: str) -> Path | None:
    """An argument that names a path, as the shell would hand it over: it gives the line as it was typed."""
    text = context.params.get(argument)
    if text is None:
        # After an option that still lacks its value, Click leaves the arguments unnamed, in order.
        text = dict(zip(_arguments(context), context.args, strict=False)).get(argument)
    return None if text is None else Path(os.path.expandvars(text)).expanduser()
