"""Pickles of arrays that every NumPy reads.

NumPy's own pickles name private modules, and ``numpy._core`` of 2.x is not there in most 1.x. These name functions that
all versions have, and are as old as Python 3.4.
"""

import pickle
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np
from jaxtyping import Float32

PROTOCOL = 4  # the newest that Python 3.4 to 3.7 read


class LazyArray:
    """An array of float32 that is made when it is pickled, and pickled as a call of ``numpy.ndarray``."""

    def __init__(self, make: Callable[[], Float32[np.ndarray, "..."]]) -> None:
        self._make = make

    def __reduce__(self) -> tuple[Any, ...]:
        array = self._make()
        # An array over bytes could not be written to.
        return np.ndarray, (array.shape, "<f4", bytearray(array.astype("<f4", copy=False).tobytes()))


class ObjectArray:
    """An array without axes that holds one object, pickled as a call of ``numpy.array``."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    def __reduce__(self) -> tuple[Any, ...]:
        return np.array, (self._content, "O")


def dump(content: object, file: IO[bytes]) -> None:
    """Pickle an object into a file; one of its arrays is in memory at a time."""
    pickler = pickle.Pickler(file, PROTOCOL)
    pickler.fast = True  # or it would keep what it has written, to refer to it
    pickler.dump(content)
