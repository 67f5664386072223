"""Pickles of arrays, read so that nothing in them is ever called.

Body models and vertex maps are published as pickles of dictionaries: NumPy arrays, SciPy's sparse matrices, and objects
of chumpy (https://github.com/mattloper/chumpy), which no current NumPy runs. A pickle names functions for its reader to
call. Here every name stands for a stand-in of this module, made anew for each file, which only keeps what it is given;
arrays are made of that afterwards, and any other name is refused.
"""

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.sparse

from h36m_amass.errors import H36mAmassError

MAX_BYTES = 2**30
MAX_DIMENSIONS = 32
_NUMPY = tuple(f"numpy.{core}.{module}" for core in ("core", "_core") for module in ("multiarray", "numeric"))
_SPARSE = ("csc_matrix", "csr_matrix", "coo_matrix", "csc_array", "csr_array", "coo_array")
_PLAIN: Mapping[str, Callable[..., Any]] = {
    **{"set": set, "frozenset": frozenset, "object": object},
    "bytes": lambda: b"",  # how Python 3 writes those without a byte, before protocol 3
}
_NUMBERS = re.compile(r"[<>|=]?[fiub][1248]")
_BUILTINS = ("__builtin__", "builtins")


class UnpicklingError(H36mAmassError):
    """A pickle is damaged, names something that is not data, or holds other data than it should."""


class StandIn:
    """What a pickle says of one object: the name of its type, what it is made of, and its state."""

    name = ""
    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: object) -> None:
        self.state = state


def load(content: bytes) -> Any:
    """The object of a pickle, with a `StandIn` for each array, matrix and object of chumpy; `value` makes arrays.

    Text of Python 2 becomes `str`, byte by byte. Raises `UnpicklingError`, which does not name the file, if the pickle
    is damaged, or names a function or class that is not one of arrays.
    """
    try:
        # The reader would make room for as many objects as a pickle claims to remember.
        for operation, argument, _ in pickletools.genops(content):
            if "PUT" in operation.name and isinstance(argument, int) and argument > len(content):
                raise pickle.UnpicklingError(f"it remembers {argument} objects")
        return _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except UnpicklingError:
        raise
    # Whatever a reader of hostile bytes can raise.
    except Exception as error:
        reason = f"is damaged, or not a pickle of arrays ({type(error).__name__}: {_line(error)})"
        raise UnpicklingError(f"{reason}; download it again") from error


def value(pickled: Any, name: str) -> np.ndarray:
    """The array that a part of a pickle is; a sparse matrix becomes a dense array.

    Raises `UnpicklingError`, which says `name`, if it is not one, or claims another size than it holds.
    """
    with _explained(name, "an array"):
        return _array(pickled)


def contained(pickled: Any, name: str) -> Any:
    """The object in an array without axes, which NumPy makes of a dictionary that it saves; raises as `value` does."""
    with _explained(name, "one object"):
        _, shape, _, _, content = pickled.state
        if pickled.name != "_reconstruct" or shape != ():
            raise TypeError(f"its shape is {shape!r:.50}")
        (only,) = content
    return only


def sparse(pickled: Any, name: str) -> scipy.sparse.csr_array:
    """The matrix that a part of a pickle is, sparse or dense; raises as `value` does."""
    with _explained(name, "a matrix"):
        if isinstance(pickled, StandIn) and pickled.name in _SPARSE:
            return _matrix(pickled)
        return scipy.sparse.csr_array(_array(pickled))


@contextmanager
def _explained(name: str, what: str) -> Iterator[None]:
    """Say what a part of a pickle should be, and why it is not."""
    try:
        yield
    except Exception as error:
        raise UnpicklingError(f"its {_line(name)} is not {what} ({_line(error)}); download it again") from error


class _Unpickler(pickle.Unpickler):
    """Gives a stand-in for every name that is known, so that nothing but stand-ins is ever called."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _BUILTINS and name in _PLAIN:
            return _PLAIN[name]
        if module in ("copy_reg", "copyreg") and name == "_reconstructor":
            return lambda kind, *_: kind()
        if (module, name) == ("_codecs", "encode"):  # and all others
            return lambda text, _: text.encode("latin1")
        known = (
            (module in _NUMPY and name in ("_reconstruct", "scalar", "_frombuffer"))
            or (module == "numpy" and name in ("ndarray", "dtype"))
            or (module.startswith("scipy.sparse") and name in _SPARSE)
            or module.split(".")[0] == "chumpy"
        )
        if not known:
            reason = f"names {_line(f'{module}.{name}')}, which is not data: reading it could run any code"
            raise UnpicklingError(f"{reason}; nothing in it was run. Download the file from its publisher's page")
        return type("StandIn", (StandIn,), {"name": name})


def _array(pickled: Any) -> np.ndarray:
    if isinstance(pickled, StandIn):
        if pickled.name == "_reconstruct":
            _, shape, dtype, is_fortran, content = pickled.state
            return _from_bytes(content, dtype, shape, "F" if is_fortran else "C")
        if pickled.name == "_frombuffer":
            content, dtype, shape, order = pickled.arguments
            return _from_bytes(content, dtype, shape, order)
        if pickled.name == "scalar":
            return _from_bytes(pickled.arguments[1], pickled.arguments[0], (), "C")
        if pickled.name in _SPARSE:
            matrix = _matrix(pickled)
            if 8 * math.prod(matrix.shape) > MAX_BYTES:
                raise ValueError(f"a matrix of shape {matrix.shape}")
            dense: np.ndarray = matrix.toarray()
            return dense
        return _of_chumpy(pickled)
    array = np.asarray(pickled)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"it is {type(pickled).__name__}")
    return array


def _from_bytes(content: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    raw = content.encode("latin1") if isinstance(content, str) else bytes(content)
    kind = _dtype(dtype)
    if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"its shape is {shape!r:.50}")
    if math.prod(shape) * kind.itemsize != len(raw):
        raise ValueError(f"it claims the shape {shape!r:.50} of {kind}, and has {len(raw)} bytes")
    return np.frombuffer(raw, kind).reshape(shape, order="F" if order == "F" else "C").copy()


def _dtype(pickled: StandIn) -> np.dtype[Any]:
    if pickled.name != "dtype" or not _NUMBERS.fullmatch(str(pickled.arguments[0])):
        raise TypeError("it does not hold numbers")
    dtype = np.dtype(str(pickled.arguments[0]))
    order = pickled.state[1] if pickled.state is not None else "="
    return dtype.newbyteorder("<" if order == "<" else ">" if order == ">" else "=")


def _matrix(pickled: StandIn) -> scipy.sparse.csr_array:
    state = pickled.state
    shape = tuple(state.get("_shape", state.get("shape", ())))
    data = _array(state["data"])
    if len(shape) != 2 or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
        raise ValueError(f"its shape is {shape!r:.50}")
    kind = pickled.name.split("_")[0]
    # Each row has a weight at least in what is read here; a count beyond that is a lie that would cost memory.
    if max(shape) > len(data) + 2**20:
        raise ValueError(f"it claims the shape {shape} with {len(data)} values")
    if kind == "coo":
        row, col = map(_array, state["coords"] if "coords" in state else (state["row"], state["col"]))
        return scipy.sparse.csr_array((data, (row, col)), shape=shape)
    of_kind = scipy.sparse.csc_array if kind == "csc" else scipy.sparse.csr_array
    matrix = of_kind((data, _array(state["indices"]), _array(state["indptr"])), shape=shape)
    matrix.check_format(full_check=True)
    return scipy.sparse.csr_array(matrix)


def _of_chumpy(pickled: StandIn) -> np.ndarray:
    """The value of an object of chumpy, which is in its state: `Ch` has it as ``x``, `Select` as rows of another's."""
    state = pickled.state
    if not isinstance(state, dict):
        raise TypeError(f"it is {pickled.name}")
    if "x" in state:
        return _array(state["x"])
    if pickled.name == "Select" and "a" in state:
        chosen = _array(state["a"]).ravel()[_array(state["idxs"])]
        return chosen.reshape(tuple(state["preferred_shape"])) if "preferred_shape" in state else chosen
    raise TypeError(f"it is chumpy's {pickled.name}, whose value is not in the file")


def _line(text: object) -> str:
    """A text of anybody's on one line, and not longer than one."""
    return " ".join(str(text).split())[:100]
