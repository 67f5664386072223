"""Joint regressors: K joints as linear combinations of V mesh vertices. Loaded and validated here, trusted after.

A regressor for one mesh serves another through a vertex map, which gives the one's vertices as linear combinations of
the other's: the product of the two is a regressor like any other.
"""

import hashlib
import io
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from h36m_amass import skeleton
from h36m_amass.body import published
from h36m_amass.errors import H36mAmassError
from h36m_amass.files.npy import NpzError, read_content, read_npy
from h36m_amass.files.npz import NpzReader
from h36m_amass.files.sources import Held

_log = logging.getLogger(__name__)

SPIN_PAGE = "https://github.com/nkolot/SPIN (fetch_data.sh, data/J_regressor_h36m.npy)"
H36M_FILE_NAME = "J_regressor_h36m"
MAX_BYTES = 2**27
"""Bytes of a sparse matrix's arrays in float64; the dense Human3.6M one has less than a megabyte."""
MAP_PAGE = "https://smpl-x.is.tue.mpg.de (model transfer data)"


class RegressorError(H36mAmassError):
    """A joint regressor or vertex map file is missing or is not what it should be."""


class MeshMismatchError(RegressorError):
    """A joint regressor is for another mesh than the body model's, and no vertex map leads from one to the other."""


@dataclass(frozen=True)
class JointRegressor:
    """A joint regressor: a sparse float64 `matrix` (joints, vertices), and what is known of its rows."""

    matrix: scipy.sparse.csr_array
    skeleton: skeleton.Skeleton
    title: str  # whose it is, if it is a published one; otherwise the name of its file
    sha256: str  # of the file
    synthetic: bool  # whether the file says that it was made up (see `h36m_amass.synthetic`)
    sides_unknown: bool = False  # whether its joints are Human3.6M's, and a body has to tell which leg comes first

    @property
    def num_joints(self) -> int:
        return int(self.matrix.shape[0])

    @property
    def num_vertices(self) -> int:
        return int(self.matrix.shape[1])


@dataclass(frozen=True)
class VertexMap:
    """Vertices of one mesh as linear combinations of those of another: a sparse float64 `matrix` (V, V').

    As many columns again may follow, for the other mesh's normals, which are not used.
    """

    matrix: scipy.sparse.csr_array
    path: Path
    sha256: str
    synthetic: bool


def load(path: Path, joint_names: Path | None = None) -> JointRegressor:
    """Load and validate a joint regressor.

    Parameters
    ----------
    path
        ``.npy`` with a dense (K, V) array, float64 or float32, C or Fortran order; or ``.npz`` as written by
        `scipy.sparse.save_npz`, any sparse format.
    joint_names
        Text file with K names, one per line. Without it the joints are those of the published regressor that it is, see
        `h36m_amass.body.published`; an unknown one called ``J_regressor_h36m`` with 17 rows has the Human3.6M joints,
        and the joints of any other are ``joint_0``, ``joint_1``, ...

    Raises
    ------
    RegressorError
        The file is missing, a pickle, damaged, not two-dimensional, not finite, or has a joint without vertices.
    h36m_amass.skeleton.SkeletonError
        `joint_names` does not fit.
    """
    path = Path(path)
    _check_file(path, f"the joint regressor, and SPIN's comes from {SPIN_PAGE}", "with numpy.save")
    matrix, digest, synthetic = _read(path, "joints")
    empty = np.flatnonzero(np.diff(matrix.indptr) == 0)
    if len(empty):
        hint = f", or transpose the matrix: {matrix.shape} should be (joints, vertices)"
        hint = hint if matrix.shape[0] > 1000 else ""
        raise RegressorError(f"{path}: row {empty[0]} is all zeros, so that joint has no vertices; remove it{hint}")
    num_joints = int(matrix.shape[0])
    known, sides_unknown = published.find(matrix, digest), False
    if joint_names is not None:
        joints = skeleton.named(skeleton.read_joint_names(joint_names, num_joints))
    elif known is not None:
        joints = known.skeleton
    elif path.stem == H36M_FILE_NAME and num_joints == len(skeleton.H36M):
        joints, sides_unknown = skeleton.H36M, True
    else:
        joints = skeleton.named(tuple(f"joint_{k}" for k in range(num_joints)))
    title = path.name if known is None else known.name
    _log.info("loaded %s: %d joints, %d vertices, sha256 %s", path, *matrix.shape, digest)
    return JointRegressor(matrix, joints, title, digest, synthetic, sides_unknown)


def load_map(path: Path, num_vertices: int) -> VertexMap:
    """Load and validate a vertex map to a mesh of `num_vertices`, like the one that SMPL-X's authors publish.

    It is an ``.npz`` or ``.npy`` like a regressor's. Raises `RegressorError` as `load` does, and if it leads to another
    mesh.
    """
    path = Path(path)
    how = "with scipy.sparse.save_npz, as support_data/README.md says"
    _check_file(path, f"the vertex map, which is made of what {MAP_PAGE} offers", how)
    matrix, digest, synthetic = _read(path, "vertices")
    if matrix.shape[0] != num_vertices:
        raise RegressorError(
            f"{path}: has shape {matrix.shape}, and the regressor is for a mesh of {num_vertices} vertices; give a map "
            f"with as many rows, like the ({num_vertices}, V) one to it from a mesh of V"
        )
    _log.info("loaded %s: %d vertices from %d, sha256 %s", path, *matrix.shape, digest)
    return VertexMap(matrix, path, digest, synthetic)


def for_mesh(
    regressor: JointRegressor, num_vertices: int, path: Path, vertex_map: VertexMap | None = None
) -> JointRegressor:
    """The regressor at `path` for a mesh of `num_vertices`: itself, or through `vertex_map`, which its digest covers.

    Raises `MeshMismatchError` if it is for another mesh and the map does not lead there from this one, and
    `RegressorError` if a joint has no vertex of this mesh.
    """
    if regressor.num_vertices == num_vertices:
        return regressor
    other = f"is for a mesh of {regressor.num_vertices} vertices, and the body model has {num_vertices}"
    if vertex_map is None:
        raise MeshMismatchError(
            f"{path}: {other}; give a (K, {num_vertices}) regressor, or with --vertex-map a "
            f"({regressor.num_vertices}, {num_vertices}) map"
        )
    if vertex_map.matrix.shape[1] not in (num_vertices, 2 * num_vertices):
        shape = "({}, {})".format(*vertex_map.matrix.shape)
        raise MeshMismatchError(f"{path}: {other}; the map {vertex_map.path} of shape {shape} is for another")
    mapped = scipy.sparse.csr_array(regressor.matrix @ vertex_map.matrix[:, :num_vertices])
    mapped.eliminate_zeros()
    empty = np.flatnonzero(np.diff(mapped.indptr) == 0)
    if len(empty):
        joint = f"the joint {regressor.skeleton.joint_names[int(empty[0])]}; give a map that covers the body"
        raise RegressorError(f"{vertex_map.path}: maps no vertex to those of {joint}")
    digest = hashlib.sha256(f"{regressor.sha256} {vertex_map.sha256}".encode()).hexdigest()
    return replace(regressor, matrix=mapped, sha256=digest, synthetic=regressor.synthetic or vertex_map.synthetic)


def _check_file(path: Path, what_it_is: str, save_it: str) -> None:
    if not path.is_file():
        raise RegressorError(f"{path}: is not a file; it should be {what_it_is}")
    if path.suffix not in (".npy", ".npz"):
        raise RegressorError(
            f"{path}: is neither an .npy nor a SciPy sparse .npz file; pickles are not read, because unpickling can "
            f"run any code: h36m-amass setup takes out those of published ones; for others, save the matrix {save_it}"
        )


def _read(path: Path, rows: str) -> tuple[scipy.sparse.csr_array, str, bool]:
    """A matrix of weights of vertices, the SHA-256 of its file, and whether that says that it was made up."""
    try:
        content = read_content(path)
        read = _read_dense if path.suffix == ".npy" else _read_sparse
        matrix, synthetic = read(path, content, rows)
    except NpzError as error:
        raise RegressorError(str(error)) from error
    if matrix.shape[0] == 0 or matrix.shape[1] == 0:
        raise RegressorError(f"{path}: has shape {matrix.shape}, not ({rows}, vertices)")
    if not np.isfinite(matrix.data).all():
        raise RegressorError(f"{path}: holds values that are not finite; download or make it again")
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix, hashlib.sha256(content).hexdigest(), synthetic


def _read_dense(path: Path, content: bytes, rows: str) -> tuple[scipy.sparse.csr_array, bool]:
    array, trailer = read_npy(path, content)
    _check_numbers(path, array, rows)
    # Before anything is made of it, and of the weights alone: the map from a whole mesh to another is mostly zeros.
    if 8 * (2 * np.count_nonzero(array) + len(array)) > MAX_BYTES:
        raise RegressorError(f"{path}: has more weights than {MAX_BYTES} bytes hold, no such matrix; make it again")
    places = np.nonzero(array)
    matrix = scipy.sparse.csr_array((array[places].astype(np.float64), places), shape=array.shape)
    return matrix, b"h36m-amass synthetic" in trailer


def _read_sparse(path: Path, content: bytes, rows: str) -> tuple[scipy.sparse.csr_array, bool]:
    with NpzReader(Held(str(path), content)) as npz:
        if sum(npz.header(name).num_bytes_as_floats for name in npz.names()) > MAX_BYTES:
            raise RegressorError(f"{path}: claims more than {MAX_BYTES} bytes, no such matrix; make it again")
        arrays: dict[str, Any] = {name: npz.read(name) for name in npz.names()}
        synthetic = "synthetic" in npz
    try:
        # SciPy gets an archive of what our reader has read: nothing pickled or damaged reaches it.
        archive = io.BytesIO()
        np.savez(archive, **arrays)
        archive.seek(0)
        with np.errstate(invalid="ignore"):
            matrix = scipy.sparse.load_npz(archive)
        _check_numbers(path, matrix, rows)
        # Each row has a vertex at least: a row count beyond that is a lie that would cost memory.
        if matrix.shape[0] > matrix.nnz:
            raise RegressorError(f"{path}: has {matrix.shape[0]} {rows} and only {matrix.nnz} weights; make it again")
        if matrix.format in ("csr", "csc", "bsr"):
            matrix.check_format(full_check=True)
    except RegressorError:
        raise
    except (ValueError, KeyError, TypeError, NotImplementedError, IndexError, OverflowError) as error:
        raise RegressorError(
            f"{path}: is not a SciPy sparse matrix ({type(error).__name__}); write it with scipy.sparse.save_npz"
        ) from error
    return scipy.sparse.csr_array(matrix, dtype=np.float64), synthetic


def _check_numbers(path: Path, matrix: Any, rows: str) -> None:
    if matrix.dtype.kind not in "fiu":
        raise RegressorError(f"{path}: holds {matrix.dtype}, not numbers; save it as float64 or float32")
    if matrix.ndim != 2:
        raise RegressorError(f"{path}: has shape {matrix.shape}, not ({rows}, vertices)")
