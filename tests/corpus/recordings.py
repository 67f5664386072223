"""Recordings that must be skipped, each with its reason, and odd ones that must be converted."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.corpus.archives import Member, claimed, header, member, members, npy, write
from tests.scenes import recording

Fault = tuple[Callable[[Path], object], str]
FRAMES = 40
NAN, INF = float("nan"), float("inf")


def saved(**changes: Any) -> Callable[[Path], object]:
    """A recording with other arrays; None omits one."""
    return lambda path: np.savez(path, **recording(FRAMES, **changes))


def archive(change: Callable[[dict[str, Member]], object], **layout: int) -> Callable[[Path], object]:
    """A recording whose archive is changed."""

    def make(path: Path) -> None:
        of = members(recording(FRAMES))
        changed = change(of)
        write(path, changed if isinstance(changed, list) else of, **layout)

    return make


def replaced(name: str, change: Callable[[Member], Member], **layout: int) -> Callable[[Path], object]:
    """One member changed."""
    return archive(lambda of: of.update({name: change(of[name])}), **layout)


def edited(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """The bytes of a good file, changed."""

    def make(path: Path) -> None:
        np.savez(path, **recording(FRAMES))
        path.write_bytes(change(path.read_bytes()))

    return make


def flipped(fraction: float) -> Callable[[bytes], bytes]:
    def flip(content: bytes) -> bytes:
        at = int(fraction * len(content))
        return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]

    return flip


def compressed_with(method: int) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", method) as file:
            for name, array in recording(FRAMES).items():
                file.writestr(f"{name}.npy", npy(array))

    return make


def values(name: str, value: float, row: int = 7) -> Callable[[Path], object]:
    array = recording(FRAMES)[name]
    array[row, 1] = value
    return saved(**{name: array})


def claimed_frames(frames: int, padding: int = 2**24) -> Callable[[Path], object]:
    """Deflated arrays that claim this many frames, in a file that could hold them."""

    def change(of: dict[str, Member]) -> None:
        for name, columns in (("poses", 156), ("trans", 3), ("dmpls", 8)):
            content = npy(np.zeros(0), header(f"({frames}, {columns})"))
            of[name] = member(name, content).claiming(len(content) + frames * columns * 8)

    return archive(change, padding=padding)


def fortran_of(frames: int) -> Callable[[Path], object]:
    """Arrays in Fortran order, too large to be read whole, in a file of holes."""

    def make(path: Path) -> None:
        of = members(recording(FRAMES))
        of["trans"] = member("trans", npy(np.zeros((frames, 3))))
        del of["dmpls"]
        text = npy(np.zeros(0), header(f"({frames}, 156)", fortran=True))
        num_bytes = frames * 156 * 8
        write(path, [*(m for name, m in of.items() if name != "poses"), replace(member("poses", text), size=0)])
        # The values are a hole in front of the directory.
        content = path.read_bytes()
        directory = content.index(b"PK\1\2")
        central = bytearray(content[directory:])
        entry = central.index(b"poses.npy") - 46
        central[entry + 20 : entry + 28] = np.array([len(text) + num_bytes] * 2, "<u4").tobytes()
        end = central.index(b"PK\5\6")
        central[end + 16 : end + 20] = np.array([directory + num_bytes], "<u4").tobytes()
        with path.open("r+b") as file:
            file.seek(directory)
            file.truncate()
            file.seek(directory + num_bytes)
            file.write(central)

    return make


FAULTS: dict[str, Fault] = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("<html>please sign in</html>"), "you were not logged in"),
    "zeros": (lambda path: path.write_bytes(bytes(5000)), "not a plain npz file"),
    "half": (edited(lambda content: content[: len(content) // 2]), "not a plain npz file"),
    "last byte cut": (edited(lambda content: content[:-1]), "not a plain npz file"),
    "directory alone": (edited(lambda content: content[content.index(b"PK\1\2") :]), "more than the file can hold"),
    "flip in poses": (edited(flipped(0.3)), "CRC of 'poses.npy' does not fit"),
    "flip in the directory": (
        edited(lambda content: content.replace(b"poses.npyPK\1\2", b"posez.npyPK\1\2")),
        "has no poses",
    ),
    "local header lies": (edited(lambda content: content.replace(b"poses.npy", b"qoses.npy", 1)), "name is not what"),
    "pickled poses": (saved(poses=np.array([{"a": 1}], dtype=object)), "holds Python objects"),
    "pickled gender": (saved(gender=np.array("male", dtype=object)), "holds Python objects"),
    "petabytes": (
        replaced("poses", lambda _: member("poses", npy(np.zeros(1), header("(10**12, 156)")))),
        "is not a NumPy array",
    ),
    "petabytes in figures": (
        replaced("poses", lambda _: member("poses", npy(np.zeros(1), header("(1000000000000, 156)")))),
        "claims 1248000000000000 bytes|impossible shape",
    ),
    "more than the file": (
        replaced("poses", lambda m: m.claiming(2**40)),
        "claims more than the file can hold",
    ),
    "ten million frames and one": (claimed_frames(10_000_001), "10000001 frames, more than 10000000"),
    "frames that are not there": (claimed_frames(9_999_999), "data end too early"),
    "bomb in betas": (replaced("betas", lambda _: bomb("betas")), "more than the 65536"),
    "bomb in gender": (replaced("gender", lambda _: bomb("gender", "'|S100000000'", "()")), "more than the 65536"),
    "Fortran order and huge": (fortran_of(300_000), "in Fortran order, more than"),
    "names with paths": (
        archive(lambda of: [replace(m, name=f"../{m.name}") for m in of.values()]),
        "has no poses, trans, betas, gender",
    ),
    "two of a name": (archive(lambda of: [*of.values(), of["poses"]]), "two arrays of one name"),
    "encrypted": (replaced("poses", lambda m: replace(m, flags=1)), "compressed in a way that npz files are not"),
    "bzip2": (compressed_with(zipfile.ZIP_BZIP2), "compressed in a way that npz files are not"),
    "huge directory": (archive(lambda of: None, directory_padding=30_000), "a directory of"),
    "npy 3.0": (replaced("poses", lambda _: member("poses", npy(np.zeros((4, 156)), version=(3, 0)))), "format 3.0"),
    "code in a header": (
        replaced("poses", lambda _: member("poses", npy(np.zeros(1), b"__import__('os').abort()\n"))),
        "is not a NumPy array",
    ),
    "deep header": (
        replaced("poses", lambda _: member("poses", npy(np.zeros(1), b"(" * 9000))),
        "is not a NumPy array",
    ),
    "structured": (saved(poses=np.zeros(FRAMES, [("x", "f8")])), "poses are|not rows of numbers"),
    "one dimension": (saved(poses=np.zeros(156 * FRAMES)), "not rows of numbers"),
    "strings": (saved(poses=np.full((FRAMES, 156), "a")), "not rows of numbers"),
    "complex": (saved(poses=np.zeros((FRAMES, 156), complex)), "not rows of numbers"),
    "SMPL-X by its word alone": (saved(surface_model_type=np.array("smplx")), "says that it is of 'smplx'"),
    "SMPL+H by its word alone": (
        saved(poses=np.zeros((FRAMES, 165)), surface_model_type=np.array("smplh")),
        "says that it is of 'smplh'.*165 columns of SMPL-X",
    ),
    "a pickled model": (saved(surface_model_type=np.array(["smplh"], dtype=object)), "holds Python objects"),
    "other columns": (saved(poses=np.zeros((FRAMES, 155))), "of no body model that is known.*155.*SMPL.H G"),
    "no poses": (saved(poses=None), "has no poses"),
    "no betas": (saved(betas=None), "has no betas"),
    "no frame rate": (saved(mocap_framerate=None), "has no mocap_framerate"),
    "NaN in poses": (values("poses", NAN), "poses of frame 7 is not a number"),
    "infinite trans": (values("trans", INF), "trans of frame 7 is not a number"),
    "huge dmpls": (values("dmpls", 1e300), "dmpls of frame 7 is not a number"),
    "four trans": (saved(trans=np.zeros((FRAMES, 4))), "trans have 4 columns"),
    "frames differ": (saved(trans=np.zeros((FRAMES + 1, 3))), "differ in frames"),
    "dmpls differ": (saved(dmpls=np.zeros((FRAMES - 1, 8))), "differ in frames"),
    "few dmpls": (saved(dmpls=np.zeros((FRAMES, 4))), "dmpls have 4 columns"),
    "many dmpls": (
        replaced("dmpls", lambda _: claimed("dmpls", (FRAMES, 15_000_000), "<f2"), padding=2**21),
        "dmpls have 15000000 columns",
    ),
    "no frames": (
        saved(poses=np.zeros((0, 156)), trans=np.zeros((0, 3)), dmpls=np.zeros((0, 8))),
        "has no frames",
    ),
    "NaN in betas": (saved(betas=np.full(16, NAN)), "betas are not numbers"),
    "betas of two": (saved(betas=np.zeros((2, 8))), "not a row of numbers"),
    "no such gender": (saved(gender=np.array("robot")), "gender is 'robot'"),
    "gender is a number": (saved(gender=np.array(1)), "not a word"),
    "two genders": (saved(gender=np.array(["male", "female"])), "not a word"),
    "rate zero": (saved(mocap_framerate=np.array(0.0)), "not a positive number of hertz"),
    "rate negative": (saved(mocap_framerate=np.array(-120)), "not a positive number of hertz"),
    "rate NaN": (saved(mocap_framerate=np.array(NAN)), "not a positive number of hertz"),
    "rate in words": (saved(mocap_framerate=np.array("fast")), "not one number"),
    "slow": (saved(mocap_framerate=np.array(30.0)), "30 Hz, slower than 50 Hz"),
    "too short": (
        saved(poses=np.zeros((2, 156)), trans=np.zeros((2, 3)), dmpls=np.zeros((2, 8))),
        "is too short",
    ),
    "dead link": (lambda path: path.symlink_to("nowhere.npz"), "leads nowhere"),
    "link to itself": (lambda path: path.symlink_to(path.name), "leads nowhere"),
    "pipe": (lambda path: os.mkfifo(path), "no file"),
}


def bomb(name: str, descr: str = "'<f8'", shape: str = "(12500000,)") -> Member:
    """A hundred megabytes of zeros, deflated."""
    content = npy(np.zeros(0), header(shape, descr)) + bytes(100_000_000)
    return replace(member(name, content).claiming(len(content)), crc=0)


ODD: dict[str, Callable[[Path], object]] = {
    "compressed": lambda path: np.savez_compressed(path, **recording(FRAMES)),
    "Fortran order": saved(poses=np.asfortranarray(recording(FRAMES)["poses"])),
    "big-endian": saved(poses=recording(FRAMES)["poses"].astype(">f8")),
    "half precision": saved(trans=recording(FRAMES)["trans"].astype(np.float16)),
    "ten betas": saved(betas=np.zeros(10)),
    "three hundred betas": saved(betas=np.zeros(300)),
    "gender in bytes": saved(gender=np.array(b"female")),
    "gender in a row": saved(gender=np.array(["male"])),
    "integer rate": saved(mocap_framerate=np.array(120)),
    "other key": saved(mocap_framerate=None, mocap_frame_rate=np.array([100.0])),
    "no dmpls": saved(dmpls=None),
    "a pickle beside": saved(labels=np.array([{"walk": 1}], dtype=object)),
    "a comment": edited(lambda content: content[:-2] + b"\5\0hello"),
    "new\nline": saved(),
    "colon: and \\ and \x1b[31m": saved(),
    "emoji \N{CLOWN FACE}": saved(),
    "..dots..": saved(),
    "percent%00": saved(),
}
