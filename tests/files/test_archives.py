"""An archive gives its members in one pass; a damaged or hostile one affects no other."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from h36m_amass.files import archives, tar_reading
from h36m_amass.files.archives import ArchiveError, open_archive
from tests.archive_files import COMPRESSED, SUFFIXES, members_of, special, zip_of

CONTENTS = {f"S/{number}.npz": os.urandom(300_000 + number) for number in range(5)}
BZ2_BLOCK = 900_000
OPENERS: dict[str, Any] = {".tar.bz2": bz2.open, ".tar.xz": lzma.open, ".tar.gz": gzip.open}


def packed(path: Path, *members: tuple[str, bytes]) -> Path:
    """An archive of any kind with these members."""
    return zip_of(path, members) if path.suffix == ".zip" else members_of(path, *members)


def is_npz(name: str) -> bool:
    return name.endswith(".npz")


def gone_through(path: Path, threads: int = 1) -> tuple[dict[str, bytes | str], str | None]:
    """Content, or else the problem, of the members of an archive; and its damage."""
    members: dict[str, bytes | str] = {}
    with open_archive(path, is_npz, threads) as stream:
        for member in stream:
            content = io.BytesIO()
            try:
                member.copy_to(content)
            except ArchiveError as error:
                members[member.name] = error.reason
            else:
                assert len(content.getvalue()) == member.size
                members[member.name] = content.getvalue()
        return members, stream.damage


@pytest.fixture(params=["with rapidgzip", "standard library"])
def either_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run once with the extra and once without."""
    if request.param == "standard library":
        monkeypatch.setattr(tar_reading, "_rapidgzip", lambda: None)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("threads", [1, 3])
def test_members_come_by_in_archive_order_with_their_bytes(
    tmp_path: Path, suffix: str, threads: int, either_library: None
) -> None:
    archive = packed(tmp_path / f"D{suffix}", ("readme.txt", b"x" * 5000), *CONTENTS.items(), ("S/end.txt", b""))
    assert gone_through(archive, threads) == (CONTENTS, None)
    with open_archive(archive, is_npz, threads) as stream:
        positions = [stream.position for _ in stream]  # nothing is copied: all is skipped
        assert positions == sorted(positions)
        assert archive.stat().st_size - tarfile.RECORDSIZE <= stream.position <= archive.stat().st_size


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_what_lies_before_the_missing_end_is_given(tmp_path: Path, suffix: str, either_library: None) -> None:
    whole = members_of(tmp_path / "whole" / f"D{suffix}", *CONTENTS.items()).read_bytes()
    archive = tmp_path / f"D{suffix}"
    archive.write_bytes(whole[: len(whole) * 2 // 3])
    content = io.BytesIO()
    with OPENERS[suffix](archive) as file, pytest.raises(EOFError):
        while block := file.read1(4096):
            content.write(block)
    with tarfile.open(tmp_path / "whole" / f"D{suffix}") as tar:
        before = [info.name for info in tar if info.offset_data + info.size <= content.tell() - 2**17]
    members, damage = gone_through(archive, 2)
    complete = {name: value for name, value in members.items() if isinstance(value, bytes)}
    assert 1 <= len(before) <= len(complete) < 5
    assert complete == {name: CONTENTS[name] for name in complete}
    assert damage is not None
    assert re.match(r"is damaged or cut short \(.*\); what lies before that is used; download it again", damage)
    assert "\n" not in damage


@pytest.mark.parametrize("suffix", COMPRESSED)
@pytest.mark.parametrize("where", [0.1, 0.5, 0.9, 0.999999])
def test_a_flipped_byte_is_noticed_and_spoils_one_member_at_most(
    tmp_path: Path, suffix: str, where: float, either_library: None
) -> None:
    archive = members_of(tmp_path / f"D{suffix}", *CONTENTS.items())
    content = bytearray(archive.read_bytes())
    content[int(where * len(content))] ^= 0x55
    archive.write_bytes(content)
    members, damage = gone_through(archive, 2)
    assert damage is not None
    # Decompressors give out bytes before they have seen the checksum behind them; an npz file has its own.
    spoilt = [name for name, value in members.items() if isinstance(value, bytes) and value != CONTENTS[name]]
    assert len(spoilt) <= 1
    whole = sum(isinstance(value, bytes) for value in members.values())
    assert whole >= (where * len(content) - BZ2_BLOCK) // 300_000 - 1


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"no archive at all " * 99])
def test_what_is_no_archive_is_damaged(tmp_path: Path, suffix: str, content: bytes, either_library: None) -> None:
    (tmp_path / f"Bad{suffix}").write_bytes(content)
    try:
        members, damage = gone_through(tmp_path / f"Bad{suffix}")
    except ArchiveError as error:
        members, damage = {}, error.reason
    assert members == {}
    assert damage is not None
    assert ("damaged" if content else "empty") in damage
    assert "\n" not in damage


def test_damage_in_a_member_that_is_copied_ends_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = members_of(tmp_path / "D.tar.gz", *CONTENTS.items())
    archive.write_bytes(archive.read_bytes()[:400_000])
    with open_archive(archive, is_npz) as stream:
        members = iter(stream)
        next(members).copy_to(io.BytesIO())
        second = next(members)
        with pytest.raises(ArchiveError, match="is damaged or cut short") as failed:
            second.copy_to(io.BytesIO())
        monkeypatch.setattr(tar_reading.TarFile, "_read", lambda *_: pytest.fail("read beyond the damage"))
        assert next(members, None) is None
        assert stream.damage == failed.value.reason


def test_a_file_that_cannot_be_written_is_no_damage(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def write(self, block: object) -> int:
            raise OSError(28, "No space left on device")

    archive = members_of(tmp_path / "D.tar.gz", *CONTENTS.items())
    with open_archive(archive, is_npz) as stream:
        with pytest.raises(OSError, match="No space"):
            next(iter(stream)).copy_to(Full())
        assert stream.damage is None


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_an_archive_that_grows_beyond_reason_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(tar_reading, "FREE_GROWTH", 0)
    monkeypatch.setattr(tar_reading, "MAX_GROWTH", 10)
    first = CONTENTS["S/0.npz"]
    members, damage = gone_through(members_of(tmp_path / f"D{suffix}", ("S/a.npz", first), ("zeros.bin", bytes(10**7))))
    assert members == {"S/a.npz": first}
    assert damage is not None
    assert "it grows to more than" in damage
    padded = members_of(tmp_path / f"E{suffix}", ("S/a.npz", first))
    with OPENERS[suffix](padded, "ab") as file:
        file.write(bytes(10**7))
    assert "it grows to more than" in str(gone_through(padded)[1])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_member_that_would_fill_the_disk_has_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER", 300_001)
    members, damage = gone_through(packed(tmp_path / f"D{suffix}", *CONTENTS.items()))
    assert [isinstance(value, bytes) for value in members.values()] == [True, True, False, False, False]
    assert re.match(r"has 300002 bytes, more than the 300001 .*; unpack the archive", str(members["S/2.npz"]))
    assert damage is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_more_members_than_reason_end_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    members, damage = gone_through(packed(tmp_path / f"D{suffix}", *CONTENTS.items()))
    assert len(members) == 3
    assert damage == "holds more than 3 files; unpack it"


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_headers_that_would_take_much_memory_end_an_archive(tmp_path: Path, suffix: str) -> None:
    info = tarfile.TarInfo("S/b.npz")
    info.pax_headers = {"comment": "x" * (tar_reading.MAX_TAR_HEADER + 1)}
    archive = members_of(tmp_path / f"D{suffix}", ("S/a.npz", b"first"), (info, b"x"))
    members, damage = gone_through(archive)
    assert members == {"S/a.npz": b"first"}
    assert damage is not None
    assert "a header of" in damage


def test_links_and_names_that_lead_out_are_problems_or_unsafe(tmp_path: Path) -> None:
    archive = members_of(
        tmp_path / "D.tar.gz",
        *((name, b"content") for name in ("../out.npz", "/absolute.npz", "S/b\\ack.npz", "S/../../up.npz", "../x.txt")),
        ("./S//a.npz", b"first"),
        (special("S/hard.npz", tarfile.LNKTYPE, "S/a.npz"), b""),
        (special("S/link.npz", tarfile.SYMTYPE, "/etc/passwd"), b""),
        (special("S/pipe.npz", tarfile.FIFOTYPE), b""),
        (special("Folder", tarfile.SYMTYPE, "S"), b""),
        (special("S/link.txt", tarfile.SYMTYPE, "notes.txt"), b""),
        ("S/a.npz", b"second"),
    )
    with open_archive(archive, is_npz) as stream:
        members = [(member.name, member.problem) for member in stream]
        assert stream.unsafe == ("../out.npz", "/absolute.npz", "S/../../up.npz", "S/b\\ack.npz")
    problem = "is a link or no plain file in its archive; unpack the archive"
    linked = ("S/hard.npz", "S/link.npz", "S/pipe.npz", "Folder")
    assert members == [("S/a.npz", None), *((name, problem) for name in linked), ("S/a.npz", None)]
    assert list(tmp_path.iterdir()) == [archive]


def test_a_zip_with_a_damaged_member_gives_the_others(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "D.zip", CONTENTS.items())
    content = bytearray(archive.read_bytes())
    content[700_000] ^= 1
    archive.write_bytes(content)
    members, damage = gone_through(archive)
    assert members == {**CONTENTS, "S/2.npz": "is damaged in its archive; download the archive again"}
    assert damage is None


def test_a_zip_without_its_directory_is_lost(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "D.zip", CONTENTS.items())
    archive.write_bytes(archive.read_bytes()[:1_000_000])
    with pytest.raises(ArchiveError, match="is damaged or cut short"):
        open_archive(archive, is_npz)


@pytest.mark.parametrize("field", ["size", "compressed size", "shorter"])
def test_a_zip_that_lies_about_a_members_size_is_no_danger(tmp_path: Path, field: str) -> None:
    archive = zip_of(tmp_path / "D.zip", [("S/a.npz", bytes(5000)), ("S/b.npz", b"good")])
    content = bytearray(archive.read_bytes())
    entry = content.index(b"PK\1\2")
    if field == "compressed size":
        content[entry + 20 : entry + 24] = (10**9).to_bytes(4, "little")
    else:
        content[entry + 24 : entry + 28] = (10**9 if field == "size" else 5001).to_bytes(4, "little")
    archive.write_bytes(content)
    members, damage = gone_through(archive)
    assert members["S/b.npz"] == b"good"
    reason = "is damaged in" if field == "shorter" else "claims more than its archive can hold"
    assert str(members["S/a.npz"]).startswith(reason)
    assert damage is None


PEAK = """
import sys
from pathlib import Path
from h36m_amass.files.archives import open_archive
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
Path("/proc/self/clear_refs").write_text("5")  # forget the peak until here
base = peak()
with open_archive(Path(sys.argv[1]), lambda name: True, 2) as stream, open("/dev/null", "wb") as file:
    for member in stream:
        member.copy_to(file)
    assert stream.damage is None, stream.damage
print(peak() - base)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is not told elsewhere")
@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.xz", ".zip"])  # rapidgzip holds blocks ahead, a few per thread
def test_a_large_member_is_never_held(tmp_path: Path, suffix: str) -> None:
    content = b"".join(os.urandom(128) + bytes(896) for _ in range(1024)) * 72
    archive = packed(tmp_path / f"D{suffix}", ("S/a.npz", content))
    done = subprocess.run([sys.executable, "-c", PEAK, str(archive)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 36  # of 72 MB


def test_a_reader_of_one_thread_leaves_the_interpreters_lock_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rapidgzip = pytest.importorskip("rapidgzip")
    path = packed(tmp_path / "D.tar.bz2", *CONTENTS.items())
    asked, opened = list[int](), rapidgzip.IndexedBzip2File

    def spy(name: str, parallelization: int) -> Any:
        asked.append(parallelization)
        return opened(name, parallelization=parallelization)

    monkeypatch.setattr(rapidgzip, "IndexedBzip2File", spy)
    assert gone_through(path, threads=1) == (CONTENTS, None)
    assert asked == [2]  # with 1 it decodes under the lock, and archives side by side would take turns
