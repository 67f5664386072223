"""What tests of several ways to convert a module's own tree compare with."""

from __future__ import annotations

from pathlib import Path

import pytest

from h36m_amass.conversion.builder import build


@pytest.fixture
def undisturbed(tree: Path, support_dir: Path, tmp_path: Path) -> bytes:
    """The store of the module's tree, built in this process."""
    build(tree, tmp_path / "undisturbed.h5", support_dir=support_dir)
    return (tmp_path / "undisturbed.h5").read_bytes()
