"""Files at paths and at URLs: one way to open, look at and list them; errors are one line without secrets."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h36m_amass.files import paths
from h36m_amass.files.npz import NpzReader
from h36m_amass.files.paths import (
    BLOCK,
    FileVersion,
    UrlError,
    is_url,
    joined,
    listed,
    open_file,
    parse,
    read_ranges,
    shown,
    version_of,
)
from h36m_amass.files.sources import MAX_SMALL, FileSlice, Held

fsspec = pytest.importorskip("fsspec")


@contextmanager
def web_server(content: bytes, ranges: bool = True, status: int = 200) -> Iterator[str]:
    """A server of one file, with or without ranges."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(content)

        def do_GET(self) -> None:
            asked = self.headers.get("Range") if ranges else None
            first, _, last = (asked or "bytes=0-").removeprefix("bytes=").partition("-")
            self._answer(content[int(first) : int(last) + 1 if last else None], asked is not None)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, body: bytes, is_range: bool = False) -> None:
            self.send_response(206 if is_range else status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_url_is_told_from_a_path() -> None:
    for text in ("data/amass", Path("data/amass"), "c:/data", "a://"[:1]):
        assert parse(text) == Path(text)
        assert not is_url(parse(text))
    url = parse("s3://bucket/amass")
    assert is_url(url)
    assert parse(url) is url
    assert str(url / "CMU/01/a.npz") == "s3://bucket/amass/CMU/01/a.npz"
    assert (url.name, (url / "a.h5").stem) == ("amass", "a")
    for protocol in ("nothing", "webdav"):
        with pytest.raises(UrlError, match=rf"{protocol}://host/x: cannot be used") as failed:
            parse(f"{protocol}://me:secret@host/x?token=se cret")
        assert "cret" not in str(failed.value)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("https://me:secret@host/amass?token=secret", "https://host/amass"),
        ("gs://bucket/a b?token=se cret", "gs://bucket/a b"),
        ("s3://me:secret@bucket/a#c", "s3://bucket/a#c"),
        ("memory://x y/z", "memory://x y/z"),
    ],
)
def test_what_is_shown_of_a_url_has_no_secrets(text: str, safe: str) -> None:
    assert shown(parse(text)) == shown(text) == safe


def test_a_path_is_shown_as_it_is() -> None:
    assert shown(Path("/data/a?b=c")) == "/data/a?b=c"
    assert shown(Held("held", b"")) == "held"


def test_errors_of_backends_keep_secrets_however_they_write_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    url = parse("https://me:secret@host/a b?token=se cret%2F1")
    text = (
        "404, url='https://me:secret@host/a%20b?token=se+cret/1' of https://me:secret@host/a b?token=se cret%2F1, "
        "moved to https://other/x?signature=secret (token=se cret/1)\nsecond line"
    )

    class Failing:
        def info(self, *_: object) -> None:
            raise ConnectionResetError(text)

        def invalidate_cache(self, *_: object) -> None:
            pass

    monkeypatch.setattr(paths, "_filesystem", lambda _: Failing())
    assert is_url(url)
    with pytest.raises(UrlError, match="url='https://host/a%20b' of https://host/a b, moved") as failed:
        version_of(url)
    for secret in ("secret", "se cret", "se+cret", "\n"):
        assert secret not in str(failed.value)


def test_errors_of_backends_keep_secret_options(monkeypatch: pytest.MonkeyPatch) -> None:
    from upath import UPath

    url = UPath("s3://bucket/a", key="my-key", secret="my-secret", protocol="s3")

    def fail(*_: object, **__: object) -> None:
        raise PermissionError("key my-key with my-secret is refused")

    monkeypatch.setattr(paths, "_filesystem", lambda _: type("", (), {"info": fail, "invalidate_cache": id})())
    with pytest.raises(UrlError, match="cannot be read") as failed:
        version_of(url)
    assert "my-" not in str(failed.value)


def test_versions_tell_files_apart(memory: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    status = (tmp_path / "a").stat()
    assert version_of(tmp_path / "a") == FileVersion(5, status.st_mtime_ns)
    url = parse("memory://b/a")
    memory.pipe_file("/b/a", b"12345")
    before = version_of(url)
    assert before.size == 5
    assert version_of(url) == before
    memory.pipe_file("/b/a", b"54321")
    assert version_of(url) != before
    for missing in (tmp_path / "none", parse("memory://b/none"), parse("memory://b")):
        with pytest.raises(FileNotFoundError):
            version_of(missing)
        with pytest.raises(FileNotFoundError):
            open_file(missing)


def test_a_pipe_or_a_device_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(OSError, match="pipe or a device"):
            open_file(path)


@pytest.mark.parametrize("buffering", [-1, 2**22])
def test_a_file_at_a_url_is_the_file(memory: Any, buffering: int) -> None:
    content = np.random.default_rng(0).bytes(3 * BLOCK + 100)
    memory.pipe_file("/file", content)
    file = open_file(parse("memory://file"), buffering)
    for start, length in np.random.default_rng(1).integers(0, len(content) + 10, (50, 2)).tolist():
        assert file.seek(start) == file.tell() == start
        assert file.read(length) == content[start : start + length]
    assert file.seek(-10, os.SEEK_END) == len(content) - 10
    assert file.read() == content[-10:]
    assert (file.read(5), file.seek(0)) == (b"", 0)
    assert file.read() == content
    with pytest.raises(ValueError, match="position"):
        file.seek(-1)


def test_ranges_are_fetched_whole_or_refused(memory: Any) -> None:
    memory.pipe_file("/a", bytes(range(100)))
    url = parse("memory://a")
    assert is_url(url)
    assert read_ranges(url, [0, 50], [2, 53]) == [b"\0\1", b"\x32\x33\x34"]
    for starts, stops in (([90], [101]), ([0, 90], [1, 101])):
        with pytest.raises(UrlError, match="memory://a: has changed since it was looked at"):
            read_ranges(url, starts, stops)
    with pytest.raises(FileNotFoundError, match="memory://gone"):
        read_ranges(parse("memory://gone"), [0, 1], [1, 2])  # type: ignore[arg-type]


def test_a_file_of_a_web_server_is_read_in_ranges() -> None:
    pytest.importorskip("aiohttp")
    content = np.random.default_rng(0).bytes(2 * BLOCK)
    with web_server(content) as server:
        file = open_file(parse(f"{server}/a b.h5?token=x"))
        file.seek(1000)
        assert file.read(10) == content[1000:1010]


def test_a_server_that_ignores_ranges_is_named() -> None:
    pytest.importorskip("aiohttp")
    with web_server(bytes(10 * BLOCK), ranges=False) as server:
        file = open_file(parse(f"{server}/a.h5?token=x"))
        with pytest.raises(UrlError, match=rf"^{server}/a.h5: its server sends the whole file where a range is asked"):
            file.read(10)


@pytest.mark.parametrize(("status", "words"), [(403, "403"), (500, "500")])
def test_a_server_that_refuses_is_one_line_and_no_missing_file(status: int, words: str) -> None:
    pytest.importorskip("aiohttp")
    with (
        web_server(b"", status=status) as server,
        pytest.raises(UrlError, match=rf"a.h5: cannot be read \(.*{words}"),
    ):
        version_of(parse(f"{server}/a.h5"))
    with web_server(b"", status=404) as server, pytest.raises(FileNotFoundError):
        version_of(parse(f"{server}/a.h5"))
    with pytest.raises(UrlError, match="Cannot connect"):
        version_of(parse("http://127.0.0.1:9/a.h5"))


def test_folders_at_a_url_are_listed(memory: Any) -> None:
    for name in ("/t/b/2.npz", "/t/b/deep/1.npz", "/t/a.txt"):
        memory.pipe_file(name, name.encode())
    folder = parse("memory://t")
    assert is_url(folder)
    top = listed(folder)
    assert list(top) == ["a.txt", "b"]
    assert top["b"] is None
    assert top["a.txt"] == version_of(folder / "a.txt")
    assert {name: version.size for name, version in listed(folder, deep=True).items() if version} == {
        "a.txt": 8,
        "b/2.npz": 10,
        "b/deep/1.npz": 15,
    }
    assert listed(folder / "none") == listed(folder / "none", deep=True) == {}


def test_ranges_are_joined_where_few_bytes_lie_between() -> None:
    assert list(joined([0, 10, 30], [8, 20, 40], gap=5)) == [(0, 2), (2, 3)]
    assert list(joined([], [])) == []


def test_a_missing_extra_is_one_line() -> None:
    program = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from h36m_amass.files import paths\n"
        "try: paths.version_of(paths.parse('s3://bucket/s.h5'))\n"
        "except paths.UrlError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert done.stdout.count("\n") == 1
    assert "pip install 'h36m-amass[remote]'" in done.stdout


def test_without_a_url_neither_upath_nor_fsspec_is_imported(tmp_path: Path) -> None:
    (tmp_path / "D/S").mkdir(parents=True)
    (tmp_path / "D/S/a.npz").write_bytes(b"spam")
    program = (
        "import sys; from pathlib import Path; from h36m_amass.recordings.tree import find_recordings\n"
        "from h36m_amass.recordings.access import source_of\n"
        "from h36m_amass.files.paths import parse; folder = parse(sys.argv[1])\n"
        "source_of(folder, find_recordings(folder).files[0])\n"
        "sys.exit(bool({'fsspec', 'upath', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path], check=False).returncode == 0


def _first_byte(url: Any) -> bytes:
    return open_file(url).read(1)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_urls_travel_to_other_processes(method: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    url = parse(f"file://{tmp_path}/a")
    assert _first_byte(url) == b"c"
    assert pickle.loads(pickle.dumps(url)) == url  # noqa: S301  # its own
    with get_context(method).Pool(1) as pool:
        assert pool.apply(_first_byte, (url,)) == b"c"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_connections_are_not_taken_over_by_a_fork() -> None:
    pytest.importorskip("aiohttp")
    with web_server(b"content") as server:
        url = parse(f"{server}/a")
        assert _first_byte(url) == b"c"
        with get_context("fork").Pool(1) as pool:
            assert pool.apply_async(_first_byte, (url,)).get(timeout=30) == b"c"


@pytest.mark.parametrize("size", [100, MAX_SMALL])
@pytest.mark.parametrize("compressed", [False, True])
def test_an_npz_file_reads_the_same_from_every_source(memory: Any, tmp_path: Path, size: int, compressed: bool) -> None:
    arrays: dict[str, Any] = {"a": np.random.default_rng(0).normal(size=(size // 8, 3)), "b": np.array("word")}
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", **arrays)
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "in").write_bytes(b"before" + content + b"behind")
    memory.pipe_file("/a.npz", content)
    url = parse("memory://a.npz")
    assert is_url(url)
    with NpzReader(tmp_path / "a.npz") as npz:
        checksums = npz.checksums(["b", "a"])
    sources = [
        tmp_path / "a.npz",
        url,
        Held("held", content),
        FileSlice("slice", tmp_path / "in", 6, len(content)),
    ]
    for source in sources:
        with NpzReader(source) as npz:
            assert npz.name == str(source)
            assert npz.checksums(["b", "a", "c"]) == checksums
            runs = list(npz.rows("a", 5, 1))
            np.testing.assert_array_equal(np.concatenate([runs[0], *(run[1:] for run in runs[1:])]), arrays["a"])
            assert npz.read("b") == "word"
