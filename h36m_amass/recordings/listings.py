"""The contents of archives, kept in the user's cache folder once they were read.

So `check`, a limit or an update without a change need not decompress them again. Losing it costs only time: a listing
that cannot be read or written is ignored.
"""

import hashlib
import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import platformdirs

from h36m_amass.files.paths import Location
from h36m_amass.files.sources import Source, size_of
from h36m_amass.recordings.plausibility import TWO_RATES
from h36m_amass.recordings.rates import RateRules
from h36m_amass.recordings.recording import AmassError, Recording, digest_at_rate
from h36m_amass.recordings.tree import Archive, RecordingFile

FORMAT = 3
MAX_BYTES = 2**28  # of a listing, which is read whole
CACHE_VARIABLE = "H36M_AMASS_CACHE_DIR"


@dataclass(frozen=True)
class ListedMember:
    """A recording in an archive: why it cannot be converted, or else what its `Header` says."""

    name: str
    size: int
    content_digest: str = ""
    problem: str | None = None
    num_frames: int = 0
    frame_rate: Fraction = Fraction(0)
    model: str = ""
    gender: str = ""
    has_dmpls: bool = False
    warnings: tuple[str, ...] = ()  # about the header and the first frame


@dataclass(frozen=True)
class ArchiveListing:
    """An archive: its wanted members, in archive order, unsafe names, and damage."""

    members: tuple[ListedMember, ...]
    unsafe: tuple[str, ...]
    damage: str | None


def list_member(name: str, source: Source, use_dmpls: bool) -> ListedMember:
    """What is to be known of a recording, or why it cannot be converted."""
    size = size_of(source)
    try:
        with Recording(source, use_dmpls) as recording:
            header = recording.header
            recording.look_at_first_frame()
    except AmassError as error:
        return ListedMember(name, size, problem=error.reason)
    described = header.num_frames, header.frame_rate, header.model, header.gender, header.has_dmpls
    return ListedMember(name, size, header.content_digest, None, *described, tuple(recording.warnings))


def at_rate(member: ListedMember, file: RecordingFile, rates: RateRules) -> ListedMember:
    """What is known of a recording, with the frame rate that the rules give it, if they do."""
    rate = rates.frame_rate(file.dataset, file.subject, file.sequence)
    if rate is None:
        return member
    warnings = tuple(warning for warning in member.warnings if not warning.startswith(TWO_RATES))
    return replace(
        member, frame_rate=rate, content_digest=digest_at_rate(member.content_digest, rate), warnings=warnings
    )


def load(amass_dir: Location, archive: Archive, use_dmpls: bool) -> ArchiveListing | None:
    """What is known of an archive, if it has not changed since."""
    try:
        path = _path(amass_dir, archive, use_dmpls)
        if path.stat().st_size > MAX_BYTES:
            return None
        content = json.loads(path.read_bytes())
        if content["key"] != _key(amass_dir, archive, use_dmpls):
            return None
        return ArchiveListing(
            tuple(_member(row) for row in content["members"]),
            tuple(_text(name) for name in content["unsafe"]),
            None if content["damage"] is None else _text(content["damage"]),
        )
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError):
        return None


def save(amass_dir: Location, archive: Archive, use_dmpls: bool, listing: ArchiveListing) -> None:
    """Keep what an archive holds, beside other processes that do the same; a failure is ignored."""
    with suppress(OSError, ValueError, RuntimeError):
        path = _path(amass_dir, archive, use_dmpls)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"key": _key(amass_dir, archive, use_dmpls), **asdict(listing)}, default=str)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            with temporary.open("x", encoding="utf-8") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _key(amass_dir: Location, archive: Archive, use_dmpls: bool) -> list[Any]:
    # Of a URL with a password or a token only the digest gets to the disk.
    location = hashlib.sha256(str(amass_dir.absolute() / archive.name).encode("utf-8", "surrogateescape")).hexdigest()
    return [FORMAT, location, archive.size, archive.modified, use_dmpls]


def _path(amass_dir: Location, archive: Archive, use_dmpls: bool) -> Path:
    folder = os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("h36m-amass", appauthor=False)
    kind = "" if use_dmpls else "-no-dmpls"
    return Path(folder) / "archives" / f"{_key(amass_dir, archive, use_dmpls)[1][:32]}{kind}.json"


def _member(row: dict[str, Any]) -> ListedMember:
    """A member as it was saved; its values are of the types that they should be, or it is refused."""
    changed = {"frame_rate": Fraction(_text(row["frame_rate"])), "warnings": tuple(map(_text, row["warnings"]))}
    member = ListedMember(**{**row, **changed})
    for name, default in _DEFAULTS.items():
        value = getattr(member, name)
        if type(value) is not type(default) and not (name == "problem" and isinstance(value, str)):
            raise TypeError(name)
    return member


_DEFAULTS = asdict(ListedMember("", 0))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
