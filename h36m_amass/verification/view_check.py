"""Are the views of a store's sequences the rows that its index says? In a process of its own.

What the views are made of, HDF5 keeps in heaps, and some damage there makes it hang or crash.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py

from h36m_amass.files.remote import Address, RemoteError, place
from h36m_amass.store.data_files import source_name
from h36m_amass.store.format import header_text
from h36m_amass.store.header import DAMAGE, bounded, opened, text
from h36m_amass.store.rows import StoreError
from h36m_amass.store.store import Store

SECONDS, SECONDS_A_SEQUENCE = 60.0, 0.01


def view_findings(store: Store) -> list[str]:
    """Lines about views that are missing, or are not the rows of the index that bear their names."""
    # An address may have a password, which other users would see on the command line.
    path = store.path.url if isinstance(store.path, Address) else str(store.path.absolute())
    line = [sys.executable, "-m", __name__, str(store.path)]
    try:
        limit = SECONDS + SECONDS_A_SEQUENCE * len(store.sequences)
        done = subprocess.run(line, input=os.fsencode(path), capture_output=True, timeout=limit, check=False)
        findings: list[str] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return [f"{store.path}: HDF5 hangs or crashes on the views of its sequences; build it again"]
    return findings


def _findings(path: Path | Address, name: str) -> Iterator[str]:
    store = Store(path)
    with opened(path) as (file, _):
        said = json.loads(text(bounded(file["header"]).item()))
        # As it was read: the numbers from the attributes, the strings from the header.
        for key, value in json.loads(header_text(store.header)).items():
            if said.get(key, ...) != value or not _is_said(file, key, value):
                yield f"{name}: its attribute {key} is not what its header says"
        frame_rate = store.header.frame_rate
        if not math.isnan(frame_rate) and (store.index["frame_rate"] != frame_rate).any():
            yield f"{name}: its sequences are not all at {frame_rate:g} Hz, as its header says"
        for joint_set in store.joint_sets if store.data_files else ():
            if not _shows_data_files(file, store, joint_set):
                yield f"{name}: the positions of its joint set {joint_set} are not those of its data files"
        for sequence in store.sequences:
            where = f"{name}: the view of {sequence.key}"
            try:
                view = file[f"sequences/{sequence.key}/positions_3d"]
                (source,) = view.virtual_sources()
                if (source.file_name, source.dset_name.strip("/")) != (".", "positions_3d"):
                    yield f"{where} takes its values from {source.file_name}:{source.dset_name}"
                    continue
                begin, end = source.src_space.get_select_bounds()
                shape, rate, gender = view.shape, view.attrs["frame_rate"], view.attrs["gender"]
            except DAMAGE as error:
                yield f"{where} is missing or damaged ({error})"
                continue
            if (begin[0], end[0] + 1, shape[0]) != (sequence.start, sequence.start + len(sequence), len(sequence)):
                yield f"{where} shows rows {begin[0]} to {end[0] + 1}, and the index says {sequence.start} on"
            elif (rate, gender) != (sequence.frame_rate, sequence.gender):
                index_says = f"{sequence.frame_rate:g} Hz and {sequence.gender}"
                yield f"{where} says {rate:g} Hz and {gender}, and the index {index_says}"


def _shows_data_files(file: h5py.File, store: Store, joint_set: str) -> bool:
    """Whether the virtual positions of a joint set, by both of its names, are those of all data files in turn."""
    expected, first = [], 0
    for own in (placed.record for placed in store.data_files):
        expected.append((source_name(own), f"joint_sets/{joint_set}/positions_3d", first, first + own.frames))
        first += own.frames
    try:
        positions = file["joint_sets"][joint_set]["positions_3d"]
        found = []
        for source in positions.virtual_sources():
            (begin, *_), (end, *_) = source.vspace.get_select_bounds()
            found.append((source.file_name, source.dset_name, begin, end + 1))
        named = joint_set != store.joint_sets[0] or file["positions_3d"] == positions
        return bool(named and found == expected and len(positions) == store.num_frames)
    except DAMAGE:
        return False


def _is_said(file: h5py.File, key: str, value: object) -> bool:
    """Whether the attribute `key`, if it is a string, is `value`."""
    if not isinstance(value, str | dict):
        return True
    try:
        attribute = text(file.attrs[key])
        return bool(value == (json.loads(attribute) if isinstance(value, dict) else attribute))
    except DAMAGE:
        return False


def _main() -> None:
    path, name = place(os.fsdecode(sys.stdin.buffer.read())), sys.argv[1]
    findings = []
    try:
        for finding in _findings(path, name):
            findings.append(finding)
    except (StoreError, RemoteError) as error:
        findings.append(str(error).replace(str(path), name))
    print(json.dumps(findings))


if __name__ == "__main__":
    _main()
