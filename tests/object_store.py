"""An object store on this machine: moto's server of S3 on loopback, which records its requests."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

BUCKET = "motion"
CREDENTIALS = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"


@dataclass
class ObjectStore:
    """A server, and what it did.

    Attributes
    ----------
    url
        Where it listens.
    requests
        Method, path and bytes of the answer of each request since the last `forget`.
    """

    url: str
    requests: list[tuple[str, str, int]] = field(default_factory=list)

    def forget(self) -> None:
        self.requests.clear()

    def of(self, method: str) -> list[int]:
        """Bytes of the answer to each request with this method."""
        return [size for verb, _, size in self.requests if verb == method]


@contextmanager
def served() -> Iterator[ObjectStore]:
    """An empty object store, until the end."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = DomainDispatcherApplication(create_backend_app)

    def noting(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # A whole answer, of known length, which a threaded server of this age would else send in pieces.
        body = b"".join(application(environ, start_response))
        sent = 0 if environ["REQUEST_METHOD"] == "HEAD" else len(body)
        store.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], sent))
        return [body]

    server = make_server("127.0.0.1", 0, noting, threaded=True)
    store = ObjectStore(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
