"""Downloads as their publishers offer them, around made-up body models."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse

from h36m_amass.files import unpickling
from h36m_amass.synthetic import body, relatives

GENDERS = ("female", "male", "neutral")
SMPL_NAMES = {"male": "basicmodel_m_lbs_10_207_0_v1.1.0.pkl"}


def light(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """A model whose pose correctives are zero, and whose displacements are coarse: it is packed in no time."""
    coarse = {name: arrays[name].astype(np.float16) for name in ("shapedirs", "eigvec") if name in arrays}
    zeros = {"posedirs": np.zeros(arrays["posedirs"].shape, np.int8)} if "posedirs" in arrays else {}
    return {**arrays, **coarse, **zeros}


body_model, dmpl_model, smplx_model, smpl_model = map(
    cache,
    (body.body_model, body.dmpl_model, partial(relatives.smplx_model, small_shape_space=True), relatives.smpl_model),
)


def npz(arrays: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def tar(path: Path, members: Mapping[str, bytes]) -> Path:
    """A tar, compressed as the path's ending says."""
    preset = {"preset": 0} if path.suffix == ".xz" else {}
    with tarfile.open(path, f"w:{path.suffix[1:]}", **preset) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@contextmanager
def chumpy() -> Iterator[ModuleType]:
    """As much of chumpy as pickles name: without it, which no current NumPy runs."""
    names = "chumpy", "chumpy.ch", "chumpy.reordering"
    modules = {name: ModuleType(name) for name in names}

    class Ch:
        def __init__(self, **state: Any) -> None:
            self.__dict__.update(state)

    class Select(Ch):
        pass

    for of, module in ((Ch, "chumpy.ch"), (Select, "chumpy.reordering")):
        of.__module__, of.__qualname__ = module, of.__name__
        setattr(modules[module], of.__name__, of)
    sys.modules.update(modules)
    try:
        yield modules["chumpy.ch"]
    finally:
        for name in names:
            del sys.modules[name]


def smpl_pickle(gender: str, protocol: int = 2) -> bytes:
    """An SMPL model as its authors pickle it: objects of chumpy, a sparse regressor, and what nobody needs."""
    arrays = {name: array for name, array in light(smpl_model(gender)).items() if name != "synthetic"}
    with chumpy() as module:
        model: dict[str, Any] = {**arrays, "bs_style": "lbs", "bs_type": "lrotmin", "J": arrays["v_template"][:24]}
        model["J_regressor"] = scipy.sparse.csc_matrix(arrays["J_regressor"])
        model["shapedirs"] = module.Ch(x=arrays["shapedirs"], _dirty_vars=set(), _itr=None)
        whole = np.concatenate([np.zeros(1), arrays["v_template"].ravel()])
        select = sys.modules["chumpy.reordering"].Select  # type: ignore[attr-defined]
        model["v_template"] = select(
            a=module.Ch(x=whole), idxs=np.arange(1, len(whole)), preferred_shape=arrays["v_template"].shape
        )
        return pickle.dumps(model, protocol)


def python2_array(array: np.ndarray) -> bytes:
    """Opcodes of an array as Python 2 and NumPy 1 pickle it, its bytes a text."""
    raw = np.ascontiguousarray(array, "<f8").tobytes()
    shape = b"(" + b"".join(b"J" + struct.pack("<i", n) for n in array.shape) + b"t"
    dtype = b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    begin = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    return begin + b"(K\x01" + shape + dtype + b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"


def smplh() -> dict[str, bytes]:
    """Members of ``smplh.tar.xz``: a folder for each gender, none around them."""
    models = {f"{gender}/model.npz": npz(light(body_model(gender))) for gender in GENDERS}
    return {**models, "info.txt": b"SMPL+H for AMASS", "LICENSE.txt": b"research only"}


def dmpls() -> dict[str, bytes]:
    models = {f"{gender}/model.npz": npz(light(dmpl_model(gender))) for gender in GENDERS}
    return {**models, "LICENSE.txt": b"research only"}


def vertex_map(form: str) -> bytes:
    """The map from SMPL-X's mesh to SMPL's as ``smplx_to_smpl.pkl`` or ``smplx2smpl_deftrafo_setup.pkl``."""
    matrix = scipy.sparse.csr_matrix(relatives.smplx_to_smpl())
    if form == "matrix":
        return pickle.dumps({"matrix": matrix}, 4)
    wide = scipy.sparse.hstack([matrix, scipy.sparse.csr_matrix(matrix.shape)]).tocsc()
    return pickle.dumps({"mtx": wide, "valid_pixel_data": None}, 2)


def write_all(folder: Path) -> dict[str, Path]:
    """All downloads, each in its official form."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "smplh": tar(folder / "smplh.tar.xz", smplh()),
        "dmpls": tar(folder / "dmpls.tar.xz", dmpls()),
        "spin": tar(
            folder / "data.tar.gz",
            {"data/J_regressor_h36m.npy": npy(body.joint_regressor()), "data/smpl_mean_params.npz": npz({"a": [1.0]})},
        ),
        "smplx": zipped(
            folder / "models_smplx_v1_1.zip",
            {
                **{f"models/smplx/SMPLX_{g.upper()}.npz": npz(light(smplx_model(g))) for g in ("neutral",)},
                "models/smplx/version.txt": b"1.1",
            },
        ),
        "smpl": zipped(
            folder / "SMPL_python_v.1.1.0.zip",
            {f"SMPL_python_v.1.1.0/smpl/models/{name}": smpl_pickle(g) for g, name in SMPL_NAMES.items()},
        ),
    }


def pickles() -> list[bytes]:
    """Small pickles of all that is read."""
    array = np.arange(12.0).reshape(3, 4)
    with chumpy() as module:
        parts = {"a": array, "b": scipy.sparse.csc_matrix(array), "c": module.Ch(x=array), "d": [1, "x", None]}
        made = [pickle.dumps(parts, protocol) for protocol in range(5)]
    return [*made, b"\x80\x02}U\x01a" + python2_array(array) + b"s."]


def read_pickle(content: bytes) -> None:
    """Read a pickle as setup does: anything but arrays or a refusal of one line is a fault."""
    try:
        read = unpickling.load(content)
        for name, part in read.items() if isinstance(read, dict) else ():
            unpickling.value(part, str(name))
    except unpickling.UnpicklingError as error:
        assert "\n" not in str(error)
