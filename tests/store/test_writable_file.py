"""A file that HDF5 writes to never fails within HDF5: its bytes are kept, and the error is raised afterwards."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from h36m_amass.store import writable_file


def test_what_could_not_be_written_is_read_back_and_the_error_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = writable_file.WritableFile(tmp_path / "f")
    file.write(memoryview(b"abcdef"))
    file.check()
    os_pwrite = os.pwrite

    def half(descriptor: int, content: memoryview, offset: int) -> int:
        if len(content) < 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os_pwrite(descriptor, content[: len(content) // 2], offset)

    monkeypatch.setattr(writable_file.os, "pwrite", half)
    file.seek(4)
    file.write(memoryview(b"EFGH"))
    file.seek(1)
    file.write(memoryview(b"B"))
    file.seek(0)
    content = bytearray(100)
    assert content[: file.readinto(memoryview(content))] == b"aBcdEFGH"
    assert (file.seek(0, os.SEEK_END), file.tell()) == (8, 8)
    with pytest.raises(OSError, match="No space"):
        file.check()
    file.close()
    assert (tmp_path / "f").read_bytes() == b"abcdEF"
