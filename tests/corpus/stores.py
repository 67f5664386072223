"""Stores that must be refused when they are opened, or found by `verify`, each with its reason."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from isal import isal_zlib
from isal.isal_zlib import crc32

from h36m_amass.skeleton import H36M
from h36m_amass.store import footer
from h36m_amass.store.format import JointSet, SequenceRecord, StoreHeader
from h36m_amass.store.store import Store
from h36m_amass.store.writer import StoreWriter
from h36m_amass.verification.store import verify


def write_store(path: Path) -> None:
    """A whole store of three sequences."""
    joint_sets = (JointSet("h36m", "r", H36M),)
    writer = StoreWriter(path, joint_sets)
    rng = np.random.default_rng(0)
    body = rng.normal(size=(1, 17, 3))
    for number, length in enumerate((40, 300, 7)):
        positions = np.repeat(body, length, axis=0).astype("<f4")
        name, digest = f"s{number}", "d" * 64
        source = length, 50.0, 50.0, "smplh", "male", True, f"D/S/{name}.npz", 1, digest, crc32(positions)
        writer.append(SequenceRecord("D", "S", name, length, 50.0, *source), [(positions,)])
    writer.finish(StoreHeader("0", 50.0, {}, {"batch_size": 1}, True, joint_sets))
    writer.close()


def changed(change: Callable[[h5py.File], Any]) -> Callable[[Path], None]:
    """A store that HDF5 holds for whole, and that has a footer that fits."""

    def make(path: Path) -> None:
        write_store(path)
        with h5py.File(path, "r+") as file:
            change(file)
        footer.write(path)

    return make


def bytes_changed(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        write_store(path)
        path.write_bytes(change(path.read_bytes()))

    return make


def instead(name: str, **how: Any) -> Callable[[h5py.File], None]:
    """Another dataset in the place of one."""

    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, **how)

    return change


def elsewhere(name: str) -> Callable[[h5py.File], None]:
    """A dataset whose values lie in any file of the system."""

    def change(file: h5py.File) -> None:
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        file.create_dataset(name, shape, dtype, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])

    return change


def linked(name: str, target: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = target

    return change


def set_to(name: str, values: Any) -> Callable[[h5py.File], None]:
    return lambda file: file[name].__setitem__(..., values)


def moved_extents(move: Callable[[np.ndarray], np.ndarray]) -> Callable[[h5py.File], None]:
    return lambda file: file["extents"].__setitem__(1, move(file["extents"][1]))


def header_of(text: str) -> Callable[[h5py.File], None]:
    return instead("header", data=np.bytes_(text))


def options_of(**options: Any) -> Callable[[h5py.File], None]:
    """Other options, where people read them and where programs do."""

    def change(file: h5py.File) -> None:
        header = json.loads(file["header"][()])
        header["options"] = options
        header_of(json.dumps(header))(file)
        file.attrs["options"] = json.dumps(options)

    return change


def header_without_rate(file: h5py.File) -> None:
    header = json.loads(file["header"][()])
    del header["frame_rate"]
    header_of(json.dumps(header))(file)


def petabyte_of_positions(file: h5py.File) -> None:
    """With an index that fits."""
    instead("positions_3d", shape=(2**46, 17, 3), dtype="<f4", chunks=(256, 17, 3))(file)
    file["index/length"][2] = 2**46 - 340


def huge_chunk(file: h5py.File) -> None:
    shape, chunks = (347, 17, 3), (8_000_000, 17, 3)
    how = {"shape": shape, "maxshape": (None, 17, 3), "dtype": "<f4", "chunks": chunks, "compression": "gzip"}
    instead("positions_3d", **how)(file)


def inflating_chunk(file: h5py.File) -> None:
    """HDF5 decodes to the end of the deflated data, whatever the chunk should hold."""
    instead("positions_3d", shape=(347, 17, 3), dtype="<f4", chunks=(256, 17, 3), compression="gzip")(file)
    deflate = isal_zlib.compressobj(1)  # zlib takes seconds for these
    content = b"".join([*(deflate.compress(bytes(2**20)) for _ in range(1500)), deflate.flush()])
    for row in (0, 256):
        file["positions_3d"].id.write_direct_chunk((row, 0, 0), content)


def wide_strings(file: h5py.File) -> None:
    instead("index/gender", shape=(3,), dtype="S16777216", chunks=(1,), compression="gzip")(file)
    content = zlib.compress(bytes(2**24))
    for row in range(3):
        file["index/gender"].id.write_direct_chunk((row,), content)


STORES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no file": (lambda path: None, "there is no such store"),
    "a folder": (lambda path: path.mkdir(), "there is no such store"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be opened as a store"),
    "npz": (lambda path: shutil.move(np_saved(path), path), "cannot be opened as a store"),
    "another HDF5": (lambda path: h5py.File(path, "w").close(), "is an HDF5 file, but not an h36m-amass store"),
    "a newer version": (changed(lambda file: file.attrs.__setitem__("format_version", 99)), "format version 99"),
    "a version in words": (changed(lambda file: file.attrs.__setitem__("format_version", "one")), "is damaged"),
    "cut short": (bytes_changed(lambda content: content[:-3000]), "has no footer|cannot be opened"),
    "lengthened": (bytes_changed(lambda content: content + b"more"), "has no footer"),
    "a hole": (bytes_changed(lambda content: content[:9000] + bytes(4096) + content[13096:]), "cannot be opened"),
    "no index": (changed(lambda file: file.pop("index")), "its index is damaged"),
    "a column less": (changed(lambda file: file["index"].pop("gender")), "its index is damaged"),
    "a short column": (changed(instead("index/length", data=[40, 307])), "columns differ in length"),
    "names of numbers": (changed(instead("index/dataset", data=[1, 2, 3])), "holds int64"),
    "names that are not UTF-8": (changed(set_to("index/sequence", b"\xff")), "its index is damaged"),
    "a name that leads away": (changed(set_to("index/dataset", b"..")), r"'\.+' is not a name"),
    "a name of two": (changed(set_to("index/sequence", b"/s")), "'/s' is not a name"),
    "no name": (changed(set_to("index/subject", b"")), "'' is not a name"),
    "a name twice": (changed(set_to("index/sequence", b"s1")), "a key comes twice"),
    "negative length": (changed(set_to("index/length", [-40, 380, 7])), "do not make up the frames"),
    "overlapping": (changed(set_to("index/start", [0, 0, 340])), "do not make up the frames"),
    "out of bounds": (changed(set_to("index/length", [40, 300, 2**60])), "do not make up the frames"),
    "rate zero": (changed(set_to("index/frame_rate", 0)), "a frame rate is not positive"),
    "a petabyte of index": (
        changed(instead("index/length", shape=(2**47,), dtype="<i8", chunks=(1024,))),
        "claims more than the file holds",
    ),
    "a petabyte of positions": (changed(petabyte_of_positions), "claims more than the file holds"),
    "wide strings": (changed(wide_strings), "is larger than that of any store"),
    "a huge chunk": (changed(huge_chunk), "is packed as that of no store"),
    "another filter": (
        changed(instead("positions_3d", shape=(347, 17, 3), dtype="<f4", chunks=(256, 17, 3), fletcher32=True)),
        "is packed as that of no store",
    ),
    "a chunk that inflates": (changed(inflating_chunk), "is larger than what it holds"),
    "extents of other frames": (changed(moved_extents(lambda offsets: offsets - 204)), "are not those of its chunks"),
    "extents beyond its end": (changed(moved_extents(lambda offsets: offsets + 2**40)), "not where it says"),
    "extents before its beginning": (changed(moved_extents(lambda offsets: -offsets)), "not where it says"),
    "extents that begin late": (changed(lambda file: file["extents"].__setitem__((0, 0), 1)), "not where it says"),
    "extents of words": (changed(instead("extents", data=np.full((2, 1), b"x"))), "its extents are"),
    "a recording anywhere": (
        changed(set_to("index/source_path", b"/dev/tty")),
        "its index is damaged .'' is not a name",
    ),
    "a recording outside": (changed(set_to("index/source_path", b"D/../../a.npz")), "'..' is not a name"),
    "index from elsewhere": (changed(elsewhere("index/length")), "takes its values from another file"),
    "positions from elsewhere": (changed(elsewhere("positions_3d")), "takes its values from another file"),
    "index behind a link": (
        changed(linked("index/length", h5py.ExternalLink("other.h5", "/x"))),
        "its index is damaged",
    ),
    "a link to itself": (changed(linked("index/length", h5py.SoftLink("/index/length"))), "its index is damaged"),
    "no positions": (changed(lambda file: file.pop("positions_3d")), "is damaged"),
    "positions of another shape": (changed(instead("positions_3d", shape=(347, 16, 3))), "positions_3d has shape"),
    "positions of words": (changed(instead("positions_3d", shape=(347, 17, 3), dtype="S4")), "S4, not floating-point"),
    "positions of integers": (
        changed(instead("positions_3d", data=np.zeros((347, 17, 3), "<i4"))),
        "positions_3d holds int32, not floating-point numbers",
    ),
    "positions that are not there": (
        changed(instead("positions_3d", shape=(347, 17, 3), dtype="<f4", chunks=(256, 17, 3))),
        "some of its frames are missing",
    ),
    "no skeleton": (changed(lambda file: file.pop("skeleton")), "is damaged"),
    "a bone to nowhere": (changed(set_to("skeleton/parents", 40)), "joints that it does not have"),
    "a header that is not JSON": (changed(header_of("{")), "is damaged"),
    "a header that is null": (changed(header_of("null")), "not an h36m-amass store"),
    "a header without options": (changed(header_of('{"format": "h36m-amass", "options": null}')), "is damaged"),
    "a deep header": (changed(header_of("[" * 60000)), "is damaged"),
    "a header in a heap": (changed(instead("header", data="{}", dtype=h5py.string_dtype())), "is kept elsewhere"),
    "a rate in words": (changed(options_of(frame_rate="fast")), "its option frame_rate is 'fast'"),
    "a rate over zero": (changed(options_of(frame_rate="1/0")), "its option frame_rate is '1/0'"),
    "an endless rate": (changed(options_of(frame_rate="1e3000000")), "its option frame_rate is '1e3000000'"),
    "betas in words": (changed(options_of(num_betas="x")), "its option num_betas is 'x'"),
    "a list of DMPLs": (changed(options_of(num_dmpls=[1])), r"its option num_dmpls is \[1\]"),
    "soft tissue in words": (changed(options_of(use_dmpls="no")), "its option use_dmpls is 'no'"),
    "a header without a rate": (changed(header_without_rate), "is damaged .'frame_rate'"),
    "options of numbers": (changed(lambda file: file.attrs.__setitem__("options", 3)), "its attribute options"),
    "a version of numbers": (
        changed(lambda file: file.attrs.__setitem__("software_version", np.arange(3))),
        "its attribute software_version",
    ),
    "other options": (changed(lambda file: file.attrs.__setitem__("options", "{}")), "its attribute options"),
    "a byte of positions": (
        bytes_changed(lambda content: content[:30000] + bytes([content[30000] ^ 1]) + content[30001:]),
        "cannot be opened as a store|a byte was changed",
    ),
    "NaN": (changed(set_to("positions_3d", np.nan)), "not numbers"),
}


def np_saved(path: Path) -> str:
    np.savez(path.with_suffix(".npz"), a=np.ones(3))
    return str(path.with_suffix(".npz"))


def load_store(path: Path) -> None:
    """Open a store and verify it; raises what is found first."""
    Store(path)
    findings = verify(path).findings
    if findings:
        raise FoundError(findings[0])


class FoundError(ValueError):
    """What `verify` says."""
