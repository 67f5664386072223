"""What earlier builds have left that need not be converted again, and what of it is to be cleared away."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from h36m_amass.conversion.part import SUFFIX, UNFINISHED_SUFFIX, ConvertedUnit, Part, PartError
from h36m_amass.conversion.planning import PlannedSequence, Progress, Unit
from h36m_amass.files.remote import Address
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.sources import Sources
from h36m_amass.store.rows import StoreError
from h36m_amass.store.units import StoredUnit

FLAG_PREFIX = "building-"
_SHARD = r"[0-9]+-of-[0-9]+"
# Whatever else lies there is somebody else's, and stays.
_PART = re.compile(rf"[0-9a-f]{{64}}{re.escape(SUFFIX)}")
_PASSING = re.compile(
    rf"[0-9a-f]{{16}}-[0-9]+-[0-9a-f]{{8}}{re.escape(UNFINISHED_SUFFIX)}|folded-[0-9a-f]{{32}}\.npz|{FLAG_PREFIX}[0-9]+"
    rf"|folded-[0-9a-f]{{32}}-{_SHARD}\.npz|{FLAG_PREFIX}{_SHARD}|lock-{_SHARD}"
)


def converted_units(
    amass_dir: Path | Address,
    units: Sequence[Unit],
    parts_dir: Path,
    part_names: Sequence[str],
    stored: Mapping[str, StoredUnit],
    fingerprints: Sequence[str],
    rehash: bool,
    progress: Progress,
) -> dict[int, ConvertedUnit]:
    """Those of some `units` of a plan that are there already, as parts or in an existing store, by number.

    What is there is read, and compared with its checksums and with the plan; damaged parts are removed.

    Parameters
    ----------
    part_names, fingerprints
        Fingerprint of the part of each unit of the plan, and of the unit.
    stored
        Units of an existing store by fingerprint.
    rehash
        Whether the recordings are read too, to see that none has been damaged in place.
    """
    there = {path.stem for path in parts_dir.glob(f"*{SUFFIX}")}
    candidates = [unit for unit in units if part_names[unit.number] in there or fingerprints[unit.number] in stored]
    total, done = sum(unit.frames for unit in candidates), 0
    found: dict[int, ConvertedUnit] = {}
    for unit in candidates:
        progress("reuse", done, total)
        name, fingerprint = part_names[unit.number], fingerprints[unit.number]
        path = parts_dir / f"{name}{SUFFIX}"
        converted: ConvertedUnit | None = _whole_part(path, name, unit) if name in there else None
        if converted is None and fingerprint in stored and _is_whole(stored[fingerprint], unit):
            converted = stored[fingerprint]
        if converted is not None and not (rehash and _damaged(amass_dir, unit)):
            found[unit.number] = converted
        done += unit.frames
    if candidates:
        progress("reuse", total, total)
    return found


def clear_away(parts_dir: Path, with_parts: bool) -> None:
    """Remove what this build, or one that was killed, has put into `parts_dir`; finished parts only if asked."""
    for path in parts_dir.glob("*"):
        if _PASSING.fullmatch(path.name) or (with_parts and _PART.fullmatch(path.name)):
            path.unlink(missing_ok=True)


def clear_shard(parts_dir: Path, label: str) -> None:
    """Remove what a shard of this `label`, or an earlier one that was killed, has put there for its own workers.

    What is left of units that were being written when it was killed stays until the store is put together: nothing
    says whose it is.
    """
    for path in (parts_dir / f"{FLAG_PREFIX}{label}", *parts_dir.glob(f"folded-*-{label}.npz")):
        if _PASSING.fullmatch(path.name):
            path.unlink(missing_ok=True)


def kept_parts(parts_dir: Path) -> int:
    """How many finished parts there are."""
    return sum(1 for path in parts_dir.glob(f"*{SUFFIX}") if _PART.fullmatch(path.name))


def _whole_part(path: Path, fingerprint: str, unit: Unit) -> Part | None:
    try:
        part = Part(path, fingerprint)
        if _is_whole(part, unit):
            return part
    except (PartError, OSError):
        pass
    path.unlink(missing_ok=True)
    return None


def _is_whole(converted: ConvertedUnit, unit: Unit) -> bool:
    """Whether it says of its sequences what follows from the plan, and has their positions."""
    left_out = {left.path for left in converted.left_out}
    planned = [sequence for sequence in unit.sequences if sequence.file.path not in left_out]
    records = [placed.record for placed in converted.sequences]
    checksums = [record.checksum for record in records]
    if len(records) != len(planned) or records != list(map(PlannedSequence.record, planned, checksums)):
        return False
    try:
        for _ in converted.blocks():
            pass
    except (PartError, StoreError, OSError):
        return False
    return True


def _damaged(amass_dir: Path | Address, unit: Unit) -> bool:
    try:
        with Sources(amass_dir, [planned.file for planned in unit.sequences]) as sources:
            for planned in unit.sequences:
                amass.check_content(sources[planned.file], planned.header)
    except amass.AmassError:
        return True
    return False
