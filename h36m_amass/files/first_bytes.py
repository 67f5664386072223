"""What a file is that is not what its name says, by its first bytes: downloads gone wrong in the usual ways."""

import io
from typing import IO

NUM_BYTES = 512
UNFINISHED = (".part", ".crdownload", ".download", ".tmp", ".aria2")
"""Endings of files that a browser or downloader has not finished."""
_ARCHIVES = {b"BZh": "bz2", b"\xfd7zXZ\0": "xz", b"\x1f\x8b": "gz", b"PK\3\4": "zip", b"PK\5\6": "zip"}


def archive_kind(begin: bytes) -> str | None:
    """``"bz2"``, ``"xz"``, ``"gz"``, ``"tar"`` or ``"zip"``, for the first `NUM_BYTES` of such an archive."""
    if begin[257:262] == b"ustar":
        return "tar"
    return next((kind for magic, kind in _ARCHIVES.items() if begin.startswith(magic)), None)


def is_pickle(begin: bytes) -> bool:
    """Whether a file begins like a pickle: with a protocol from 2 on, or a dictionary of protocol 0 or 1."""
    return (begin[:1] == b"\x80" and begin[1:2] in (b"\2", b"\3", b"\4", b"\5")) or begin[:3] == b"(dp"


def mishap(begin: bytes) -> str | None:
    """What has gone wrong with a download that begins like this, and what to do; None if that cannot be told."""
    text = begin.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "is a web page, not the download: you were not logged in, or the link had expired; log in and try again"
    if begin.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file; run `git lfs pull` where you cloned it"
    if begin[4:8] == b"ftyp":
        return "is a video: this is AMASS's Render download; take SMPL+H G of the dataset"
    if begin.startswith((b"Rar!", b"7z\xbc\xaf")):
        return "is a RAR or 7z archive, which is not read; unpack it"
    if is_pickle(begin):
        advice = "h36m-amass setup takes body models and vertex maps out of theirs, and recordings come as .npz"
        return f"is a pickle, which can run any code and is not read: {advice}"
    if not begin:
        return "is empty; download it again"
    return None


def mishap_of(file: IO[bytes]) -> str | None:
    """What `mishap` says of an open file, whose position is lost; None if it cannot be read."""
    try:
        file.seek(0, io.SEEK_SET)
        return mishap(file.read(NUM_BYTES))
    except (OSError, ValueError):
        return None
