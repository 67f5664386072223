"""The file of a store at an address, in the form in which h5py takes Python files.

HDF5 looks for the places of a store's chunks in a tree, one small node after the other, and these lie all over the
file: read like that, a store of many gigabytes takes thousands of requests to open. When a node is read that has
others below it, those are fetched at the same time.

Format: HDF5 File Format Specification, version 3.0, III.A.1, version 1 B-trees.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from h36m_amass.files.remote import RangeReader, RemoteFile, joined, ranges

if TYPE_CHECKING:
    from typing_extensions import Buffer  # in collections.abc from Python 3.12 on

_NODE = struct.Struct("<4s2BH2Q")
"""Signature, type, level and number of entries of a node, and the nodes beside it."""
_CHUNKS = 1
_KEY_BYTES, _CHILD_BYTES = 40, 8
"""Size, filters and offset of a chunk of positions, which have three axes; then where the node below it begins."""


class StoreFile(RangeReader):
    """A store at an address; of its tree of chunks the nodes below one are fetched together."""

    def __init__(self, file: RemoteFile) -> None:
        super().__init__(file)
        self._nodes: dict[int, bytes] = {}

    def readinto(self, target: Buffer) -> int:
        view, start = memoryview(target).cast("B"), self.tell()
        node = self._nodes.pop(start, b"")
        if len(node) == len(view) > 0:
            view[:] = node
            self.seek(start + len(view))
        elif super().readinto(view) < len(view):
            return self.tell() - start
        if len(view) >= _NODE.size and bytes(view[:4]) == b"TREE":
            self._fetch_below(view)
        return len(view)

    def _fetch_below(self, node: memoryview) -> None:
        """Fetch the nodes below one, which are as long as it is."""
        _, kind, level, entries, *_ = _NODE.unpack_from(node)
        first = _NODE.size + _KEY_BYTES
        if kind != _CHUNKS or level == 0 or first + entries * (_KEY_BYTES + _CHILD_BYTES) > len(node):
            return
        places = sorted(
            int.from_bytes(node[begin : begin + _CHILD_BYTES], "little")
            for begin in range(first, first + entries * (_KEY_BYTES + _CHILD_BYTES), _KEY_BYTES + _CHILD_BYTES)
        )
        places = [place for place in places if place + len(node) <= self.file.size]
        ends = [place + len(node) for place in places]
        runs = [(places[begin], ends[stop - 1]) for begin, stop in joined(places, ends)]
        if not runs:
            return
        fetched = dict(zip(runs, ranges(self.file, *map(list, zip(*runs, strict=True))), strict=True))
        for (begin, end), content in fetched.items():
            for place in places:
                if begin <= place < end:
                    self._nodes[place] = content[place - begin : place - begin + len(node)]
