"""What several test modules convert with, and compare with."""

from __future__ import annotations

import shutil
from importlib import util
from pathlib import Path

import numpy as np
import pytest

from h36m_amass.conversion.builder import build
from h36m_amass.files.npz import NpzReader
from h36m_amass.synthetic.relatives import write_smplx_support
from tests.scenes import REAL


@pytest.fixture
def undisturbed(tree: Path, support_dir: Path, tmp_path: Path) -> bytes:
    """The store of the module's tree, built in this process."""
    build(tree, tmp_path / "undisturbed.h5", support_dir=support_dir)
    return (tmp_path / "undisturbed.h5").read_bytes()


@pytest.fixture(scope="session")
def real_support(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real body in both meshes, made up in all else. Not to be written to."""
    folder = tmp_path_factory.mktemp("real_support")
    spec = util.spec_from_file_location("make_body", REAL / "make_body.py")
    assert spec is not None
    assert spec.loader is not None
    make_body = util.module_from_spec(spec)
    spec.loader.exec_module(make_body)
    make_body.main(folder)
    write_smplx_support(folder, ["male"])  # as its one recording of SMPL-X is
    with np.load(REAL / "maps" / "one_body_in_both_meshes.npz") as both:
        v_template = both["smhf_v"].astype(float)
    for path in (folder / "body_models" / "smplx").glob("*/model.npz"):
        with NpzReader(path) as model:
            arrays = {name: model.read(name) for name in model.names() if name != "part2num"}  # which is a pickle
        np.savez(path, **(arrays | {"v_template": v_template}))
    shutil.copy(REAL / "maps" / "smplx_to_smpl.npz", folder / "smplx_to_smpl.npz")
    return folder
