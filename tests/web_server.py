"""A web server on this machine, of a folder: with pages as Apache's, ranges, and a token if asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, unquote_plus, urlsplit

# Of sorting, which is the same page again; of the folder above, and of what is not there any more.
_ODD_LINKS = """<a href="?C=N;O=D">Name</a> <a href="?C=M;O=A">Last modified</a> <a href="/">Parent Directory</a>
<a href="../">..</a> <a href="./">.</a> <a href="#top">top</a> <a href="gone.npz">gone.npz</a> <a>none</a>
"""


class _Handler(BaseHTTPRequestHandler):
    """Serves files below a folder; what is named in `refused` is there, and not given."""

    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, token: str, refused: set[str], slash: bool, *arguments: object) -> None:
        self._folder, self._token, self._refused, self._slash = folder, token, refused, slash
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        asked = urlsplit(self.path)
        path = self._folder / unquote(asked.path).strip("/")
        if unquote_plus(asked.query) != unquote_plus(self._token) or path.name in self._refused:
            self._send(403, b"")
        elif path.is_dir():
            names = sorted(own.name + "/" * own.is_dir() for own in path.iterdir())
            before = asked.path if self._slash else ""
            links = "".join(f'<a href="{before}{quote(name)}">{name}</a>\n' for name in names)
            self._send(200, f"<html>{_ODD_LINKS}{links}</html>".encode(), "text/html")
        elif path.is_file():
            self._send_file(path.read_bytes())
        else:
            self._send(404, b"")

    def _send_file(self, content: bytes) -> None:
        wanted = self.headers.get("Range")
        if wanted is None:
            self._send(200, content)
            return
        first, last = wanted.removeprefix("bytes=").split("-")
        self._send(206, content[int(first) : int(last) + 1])

    def _send(self, status: int, content: bytes, kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def served_folder(
    folder: Path, token: str = "", refused: frozenset[str] = frozenset(), slash: bool = False
) -> Iterator[str]:
    """Serve a folder until the end; gives the address of its page.

    Parameters
    ----------
    token
        The query that each request must have.
    refused
        Names of files that are not given.
    slash
        Whether links begin with one, and so with the names of all folders on the way.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, folder, token, set(refused), slash))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{'?' if token else ''}{token}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
