"""Opening a store's file, and its header: refused by name if it is not a store, damaged or too new."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, NamedTuple, cast

import h5py
import numpy as np

from h36m_amass.files.paths import FileVersion, Location, UrlError, is_url, shown, version_of
from h36m_amass.files.zip_reading import MAX_DEFLATION
from h36m_amass.skeleton import Skeleton
from h36m_amass.store.errors import StoreError
from h36m_amass.store.footer import Footer, FooterError, check_ends
from h36m_amass.store.format import FORMAT, FORMAT_VERSION, JointSet, StoreHeader
from h36m_amass.store.open_file import open_file

DAMAGE = (LookupError, OSError, RuntimeError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError)
"""What h5py raises where HDF5 finds damage, and what falls out of values that are not what they should be."""
MAX_SMALL_BYTES = 2**26  # of a dataset that is read whole; all of AMASS has some 20 000 sequences
MAX_STRING_BYTES = 2**20
MAX_CHUNK_BYTES = 2**27  # HDF5 decodes a chunk whole, to read one row of it
MAX_DIRECTIONS = 1000  # shape or soft-tissue directions of a body model; there are 400 at most
_DECODERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_LZF)
_PACKINGS = {(), *((decoder,) for decoder in _DECODERS), *((h5py.h5z.FILTER_SHUFFLE, decoder) for decoder in _DECODERS)}
"""The filters that a store's chunks may have gone through. Others, and more of them, grow without bounds."""
_RATE = re.compile(r"[1-9]\d{0,399}(/[1-9]\d{0,399})?")
"""A frame rate as an exact fraction, with as many digits as any float needs; an exponent could make it endless."""
_OTHER = "is an HDF5 file, but not an h36m-amass store"


class OpenStore(NamedTuple):
    """A store's file, open for reading; `footer` is None if another program wrote to it."""

    file: h5py.File
    version: FileVersion
    footer: Footer | None


@contextmanager
def opened(path: Location) -> Iterator[OpenStore]:
    """Open a store's file for reading, once its two ends agree with its footer.

    Raises `StoreError` if there is no such file, it is not a whole HDF5 file, or reading it within raises what damage
    makes h5py raise, and `h36m_amass.files.paths.UrlError` if its URL cannot be reached.
    """
    name = shown(path)
    try:
        if not is_url(path) and not path.is_file():
            raise FileNotFoundError
        version = version_of(path)
        content = open_file(path, version)
        footer = check_ends(cast("IO[bytes]", content))
        # HDF5 would lock a file that it opens by its name, or refuse one that is open with another kind of locking.
        file = h5py.File(content, "r")
    except FileNotFoundError as error:
        raise StoreError("there is no such store; make one with h36m-amass build", name) from error
    except (OSError, FooterError) as error:
        reason = f"cannot be opened as a store ({error}); build it again if it was cut short or damaged"
        raise StoreError(reason, name) from error
    try:
        with file:
            yield OpenStore(file, version, footer)
    except (StoreError, UrlError):
        raise
    except DAMAGE as error:
        raise StoreError(f"is damaged ({error}); build it again", name) from error


def read_header(file: h5py.File, path: Location) -> StoreHeader:
    """What a store says of itself; `StoreError` if it is not a store of this version, and one of `DAMAGE`."""
    name = shown(path)
    if "format" not in file.attrs or "format_version" not in file.attrs:
        raise StoreError(_OTHER, name)
    _check_version(file, name)
    if "header" not in file:
        raise StoreError("is not an h36m-amass store, or one that was not finished; build it again", name)
    values = json.loads(text(bounded(file["header"]).item()))
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise StoreError(_OTHER, name)
    sets, digests = values["joint_sets"], _object(values["regressors_sha256"])
    titles = _object(values.get("regressors", {}))  # which the first stores of this format lack
    if not isinstance(sets, list) or not sets or len(set(sets)) < len(sets):
        raise ValueError(f"its joint sets are {sets!r:.50}")
    rate, synthetic = values["frame_rate"], values["synthetic"]
    if not isinstance(rate, int | float | None) or not isinstance(synthetic, bool):
        raise TypeError(f"its frame rate is {rate!r:.50}, and synthetic {synthetic!r:.50}")
    return StoreHeader(
        software_version=text(values["software_version"]),
        frame_rate=math.nan if rate is None else float(rate),
        body_model_sha256=_object(values["body_model_sha256"]),
        options=_options(values["options"]),
        synthetic=synthetic,
        joint_sets=tuple(
            JointSet(
                name,
                text(digests[name]),
                _skeleton(joint_set_group(file, name, sets)["skeleton"]),
                text(titles.get(name, "")),
            )
            for name in map(text, sets)
        ),
    )


def _check_version(file: h5py.File, name: str) -> None:
    """Refuse by name what is of another format version."""
    attribute = file.attrs.get_id("format_version")
    if attribute.dtype.kind not in "iufb" or attribute.shape != ():  # else it is not read
        raise TypeError(f"its attribute format_version is {attribute.dtype}")
    version = file.attrs["format_version"]
    if not isinstance(version, np.integer) or version < 1:
        raise StoreError(f"is damaged (its format version is {version}); build it again", name)
    if version > FORMAT_VERSION:
        raise StoreError(
            f"is of format version {version}, and this h36m-amass reads version {FORMAT_VERSION}; upgrade it", name
        )
    if version < FORMAT_VERSION:
        raise StoreError(f"is of format version {version}, which this version does not read: build it again", name)


def joint_set_group(file: h5py.File, name: str, names: Sequence[str]) -> h5py.Group:
    """Where the skeleton and the positions of one of the joint sets `names` lie: the root for the first."""
    if name == names[0]:
        return file
    group = file["joint_sets"][name]
    if group.file != file:
        raise ValueError(f"its joint set {name!r:.50} is in another file")
    return group


def _skeleton(group: h5py.Group) -> Skeleton:
    skeleton = Skeleton(
        tuple(text(name) for name in bounded(group["joint_names"]).tolist()),
        *(tuple(bounded(group[name]).tolist()) for name in ("parents", "left", "right")),
    )
    joints = range(len(skeleton))
    if len(skeleton.parents) != len(joints) or len(skeleton.left) != len(skeleton.right):
        raise ValueError("its joints, bones and sides differ in number")
    if not {*skeleton.left, *skeleton.right} <= {*joints} or not {*skeleton.parents} <= {-1, *joints}:
        raise ValueError("its skeleton names joints that it does not have")
    return skeleton


def text(value: object) -> str:
    """A string, as h5py gives one of a fixed length, or JSON one; `TypeError` or `ValueError` if it is not one."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.50} is not a string")
    return value


def bounded(dataset: object) -> np.ndarray:
    """A small dataset, whole, once it is clear that it is one; raises as `in_this_file` does."""
    small = readable(dataset)
    if small.nbytes > MAX_SMALL_BYTES or small.dtype.itemsize > MAX_STRING_BYTES:
        raise ValueError(f"{small.name} is larger than that of any store")
    values: np.ndarray = small[()]
    return values


def in_this_file(dataset: object) -> h5py.Dataset:
    """A dataset whose values are in this file, and packed as a store's, or `TypeError` or `ValueError`."""
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise TypeError("a dataset is missing")
    if dataset.dtype.hasobject:
        raise TypeError(f"{dataset.name} holds what is kept elsewhere in the file")
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{dataset.name} takes its values from another file")
    if _filters(dataset) not in _PACKINGS or _chunk_bytes(dataset) > MAX_CHUNK_BYTES:
        raise ValueError(f"{dataset.name} is packed as that of no store")
    return dataset


def readable(value: object) -> h5py.Dataset:
    """A dataset, once it is clear that it takes little memory to read in pieces, too; raises as `in_this_file` does."""
    dataset = in_this_file(value)
    filters = _filters(dataset)
    if dataset.nbytes > dataset.id.get_storage_size() * (MAX_DEFLATION if filters else 1):
        raise ValueError(f"{dataset.name} claims more than the file holds")
    if filters and hasattr(dataset.id, "chunk_iter"):
        sizes = [0]
        dataset.id.chunk_iter(lambda chunk: sizes.append(chunk.size))
        # What does not shrink is stored as it is. HDF5 decodes to the end of what is stored, not of the chunk.
        if max(sizes) > _chunk_bytes(dataset):
            raise ValueError(f"a chunk of {dataset.name} is larger than what it holds")
    return dataset


def _filters(dataset: h5py.Dataset) -> tuple[int, ...]:
    properties = dataset.id.get_create_plist()
    return tuple(properties.get_filter(number)[0] for number in range(properties.get_nfilters()))


def _chunk_bytes(dataset: h5py.Dataset) -> int:
    return math.prod(dataset.chunks or ()) * dataset.dtype.itemsize


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r:.50} is not a JSON object")
    return value


def _options(value: object) -> dict[str, Any]:
    """The options of a build; those that the library uses must be valid."""
    options = _object(value)
    rate, soft_tissue = options.get("frame_rate"), options.get("use_dmpls", True)
    if rate is not None and not (isinstance(rate, str) and _RATE.fullmatch(rate)):
        raise ValueError(f"its option frame_rate is {rate!r:.50}")
    if not isinstance(soft_tissue, bool):
        raise TypeError(f"its option use_dmpls is {soft_tissue!r:.50}")
    for name in ("num_betas", "num_dmpls"):
        directions = options.get(name, 0)
        if type(directions) is not int or not 0 <= directions <= MAX_DIRECTIONS:
            raise ValueError(f"its option {name} is {directions!r:.50}")
    return options
