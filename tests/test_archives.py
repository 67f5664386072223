"""An archive gives what its unpacked tree gives, to the byte; a damaged or hostile one costs itself and nothing else."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from h36m_amass import archives, synthetic
from h36m_amass.builder import build

SUFFIXES = tuple(archives.SUFFIXES)
MODES = {".tar.bz2": "w:bz2", ".tar.xz": "w:xz", ".tar.gz": "w:gz", ".tar": "w"}


def pack(folder: Path, target: Path, arcname: str) -> None:
    """Pack a folder under the name `arcname` inside, in an order that is not the sorted one."""
    paths = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.name[::-1])
    named = [(path, os.path.normpath(f"{arcname}/{path.relative_to(folder).as_posix()}")) for path in paths]
    if target.name.endswith(".zip"):
        with zipfile.ZipFile(target, "w") as packed:
            for number, (path, name) in enumerate(named):
                packed.write(path, name, zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED)
        return
    suffix = next(suffix for suffix in SUFFIXES if target.name.endswith(suffix))
    with tarfile.open(target, MODES[suffix]) as tar:
        tar.add(folder, arcname, recursive=False)
        for path, name in named:
            tar.add(path, name)


def members_of(target: Path, *members: tuple[tarfile.TarInfo | str, bytes]) -> Path:
    """A ``.tar*`` with these members."""
    target.parent.mkdir(parents=True, exist_ok=True)
    suffix = next(suffix for suffix in SUFFIXES if target.name.endswith(suffix))
    with tarfile.open(target, MODES[suffix]) as tar:
        for info, content in members:
            made = tarfile.TarInfo(info) if isinstance(info, str) else info
            made.size = len(content)
            tar.addfile(made, io.BytesIO(content))
    return target


def recording(frames: int = 60, seed: int = 0) -> bytes:
    target = io.BytesIO()
    np.savez(target, **synthetic.motion("wave", frames / 120, 120, gender="male", seed=seed))
    return target.getvalue()


@pytest.fixture(params=["with rapidgzip", "standard library"])
def either_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run once with the extra and once without."""
    if request.param == "standard library":
        monkeypatch.setattr(archives, "_rapidgzip", lambda: None)


@pytest.fixture(scope="module")
def unpacked(amass_dir: Path, support_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the tree of folders. Not to be written to."""
    path = tmp_path_factory.mktemp("unpacked") / "store.h5"
    build(amass_dir, path, support_dir=support_dir)
    return path


def packed_tree(amass_dir: Path, target: Path, suffix: str) -> Path:
    """Every dataset as an archive, named inside as AMASS does, and one without its own name."""
    target.mkdir()
    for folder in sorted(path for path in amass_dir.iterdir() if path.is_dir()):
        # What a user would unpack into DATASET/.
        pack(folder, target / f"{folder.name}{suffix}", ".")
    return target


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_archives_of_any_kind_give_the_bytes_of_the_tree(
    unpacked: Path, amass_dir: Path, support_dir: Path, tmp_path: Path, suffix: str, either_library: None
) -> None:
    tree = packed_tree(amass_dir, tmp_path / "packed", suffix)
    before = sorted(os.listdir(tree))
    report = build(tree, tmp_path / "store.h5", support_dir=support_dir)
    assert report.left_out == ()
    assert (tmp_path / "store.h5").read_bytes() == unpacked.read_bytes()
    assert sorted(os.listdir(tree)) == before
