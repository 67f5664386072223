"""Archives made for tests: of a folder, or of members that nobody should pack."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from h36m_amass import synthetic

# How hard each kind is packed is nothing to those that unpack it; xz as it packs by itself takes most of a test.
_EFFORT: dict[str, dict[str, int]] = {
    ".tar.bz2": {"compresslevel": 9},
    ".tar.xz": {"preset": 0},
    ".tar.gz": {"compresslevel": 1},
    ".tar": {},
}
SUFFIXES = (*_EFFORT, ".zip")
COMPRESSED = (".tar.bz2", ".tar.xz", ".tar.gz")


def pack(folder: Path, target: Path, arcname: str) -> None:
    """Pack a folder under the name `arcname` inside, in an order that is not the sorted one."""
    paths = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.name[::-1])
    named = [(path, os.path.normpath(f"{arcname}/{path.relative_to(folder).as_posix()}")) for path in paths]
    if target.name.endswith(".zip"):
        with zipfile.ZipFile(target, "w") as packed:
            for number, (path, name) in enumerate(named):
                packed.write(path, name, zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED)
        return
    with _new_tar(target) as tar:
        tar.add(folder, arcname, recursive=False)
        for path, name in named:
            tar.add(path, name)


def _new_tar(target: Path) -> tarfile.TarFile:
    suffix = next(suffix for suffix in _EFFORT if target.name.endswith(suffix))
    mode: Any = f"w:{suffix[5:]}"
    return tarfile.open(target, mode, **_EFFORT[suffix])


def packed_tree(amass_dir: Path, target: Path, *suffixes: str) -> Path:
    """Every dataset as an archive of what lies in its folder, of the kinds `suffixes` in turn."""
    target.mkdir()
    folders = sorted(path for path in amass_dir.iterdir() if path.is_dir())
    for folder, suffix in zip(folders, cycle(suffixes), strict=False):
        pack(folder, target / f"{folder.name}{suffix}", ".")
    return target


def members_of(target: Path, *members: tuple[tarfile.TarInfo | str, bytes]) -> Path:
    """A ``.tar*`` with these members."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with _new_tar(target) as tar:
        for info, content in members:
            made = tarfile.TarInfo(info) if isinstance(info, str) else info
            made.size = len(content)
            tar.addfile(made, io.BytesIO(content))
    return target


def zip_of(target: Path, members: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A ``.zip`` with these members."""
    with zipfile.ZipFile(target, "w", method) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return target


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A member that is not a plain file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def recording(frames: int = 60, seed: int = 0) -> bytes:
    """An npz file of AMASS."""
    target = io.BytesIO()
    np.savez(target, **synthetic.motion("wave", frames / 120, 120, gender="male", seed=seed))
    return target.getvalue()
