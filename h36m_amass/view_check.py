"""Are the views of a store's sequences the rows that its index says? In a process of its own.

What the views are made of, HDF5 keeps in heaps, and some damage there makes it hang or crash.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from h36m_amass.store import Store
from h36m_amass.store_header import DAMAGE, bounded, opened, text

SECONDS, SECONDS_A_SEQUENCE = 60.0, 0.01


def view_findings(store: Store) -> list[str]:
    """Lines about views that are missing, or are not the rows of the index that bear their names."""
    line = [sys.executable, "-m", __name__, str(store.path.absolute()), str(store.path)]
    try:
        limit = SECONDS + SECONDS_A_SEQUENCE * len(store.sequences)
        done = subprocess.run(line, capture_output=True, timeout=limit, check=False)
        findings: list[str] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return [f"{store.path}: HDF5 hangs or crashes on the views of its sequences; build it again"]
    return findings


def _findings(path: Path, name: str) -> Iterator[str]:
    store = Store(path)
    with opened(path) as (file, _):
        said = json.loads(text(bounded(file["header"]).item()))
        for key, value in said.items():
            attribute = file.attrs.get(key)
            if isinstance(value, dict):
                attribute = json.loads(attribute or "null")
            is_nan = isinstance(attribute, float) and math.isnan(attribute)
            if attribute != value and not (is_nan and value is None):
                yield f"{name}: its attribute {key} is not what its header says"
        if said["frame_rate"] is not None and (store.index["frame_rate"] != said["frame_rate"]).any():
            yield f"{name}: its sequences are not all at {said['frame_rate']:g} Hz, as its header says"
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


def _main() -> None:
    path, name = sys.argv[1:]
    print(json.dumps(list(_findings(Path(path), name))))


if __name__ == "__main__":
    _main()
