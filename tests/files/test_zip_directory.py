"""A zip archive's directory is what zipfile finds, or is refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_amass.files import zip_directory
from h36m_amass.files.zip_directory import read_members

NAMES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=12), unique=True)


def archive(names: list[str], comment: bytes = b"", force_zip64: bool = False) -> bytes:
    """An archive in which a member's content says where it comes in the list."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for number, name in enumerate(names):
            with made.open(name, "w", force_zip64=force_zip64) as member:
                member.write(b"%d" % number)
        made.comment = comment
    return buffer.getvalue()


def reader(content: bytes) -> Callable[[int, int], bytes]:
    return lambda start, num_bytes: content[start : start + num_bytes]


def found(content: bytes) -> list[tuple[str, int, int, int, int]]:
    members = read_members(reader(content), len(content), 2**20)
    return [(own.name, own.method, own.crc, own.size, own.start) for own in members]


@given(names=NAMES, comment=st.binary(max_size=40), before=st.binary(max_size=40), force_zip64=st.booleans())
def test_members_are_those_that_zipfile_finds(
    names: list[str], comment: bytes, before: bytes, force_zip64: bool
) -> None:
    content = before + archive(names, comment.replace(b"PK", b""), force_zip64)
    expected = zipfile.ZipFile(io.BytesIO(content)).infolist()
    assert found(content) == [
        (info.filename, info.compress_type, info.CRC, info.file_size, info.header_offset) for info in expected
    ]


def test_a_directory_longer_than_the_first_read_is_found_whole() -> None:
    names = [f"array_{number}.npy" for number in range(zip_directory.TAIL // 20)]
    assert [name for name, *_ in found(archive(names))] == names


def test_sizes_and_places_of_64_bits_are_those_that_zipfile_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 20)  # so that it writes them, and the directory's end, in 64 bits
    content = archive([f"array_{number}.npy" for number in range(5)], force_zip64=True)
    assert b"PK\6\6" in content
    expected = zipfile.ZipFile(io.BytesIO(content)).infolist()
    assert [(size, start) for *_, size, start in found(content)] == [(i.file_size, i.header_offset) for i in expected]


@given(names=NAMES.filter(bool), data=st.data())
def test_no_damage_gives_anything_but_members_or_the_error_for_it(names: list[str], data: st.DataObject) -> None:
    content = bytearray(archive(names))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(content)))
    for damaged in (bytes(content), bytes(content[:cut])):
        try:
            members = read_members(reader(damaged), len(damaged), 2**20)
        except (zipfile.BadZipFile, UnicodeDecodeError):
            continue
        assert len(members) <= len(damaged) / 46


def test_a_directory_that_takes_more_than_it_may_is_refused() -> None:
    content = archive(["a.npy", "b.npy"])
    with pytest.raises(zipfile.BadZipFile, match="a directory of"):
        read_members(reader(content), len(content), 50)
