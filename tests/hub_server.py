"""A small Hub on this machine: the HTTP API that huggingface_hub speaks when xet is off, from the standard library.

    with HubServer() as hub:
        api = HfApi(endpoint=hub.endpoint, token=WRITER)

Repositories of models and data sets, branches, preupload, LFS (in one piece or in parts), commits, resolve with ETag,
commit and Range, trees, collections. Large files are served from another origin, as the Hub's CDN does. `cut` breaks
connections in the middle and `fail` answers with an error, so that a client can be watched when that happens. Written
after the source of huggingface_hub 2.4; nothing outside this machine is asked.
"""

import json
import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub_routes import ROUTES, RefusedError, Routes
from tests.hub_store import Blob, Repo

WRITER, READER, STRANGER = "hf_writer", "hf_reader", "hf_stranger"  # tokens
ORG = "ORG"
LFS_FROM = 10_000_000  # bytes, as on the Hub for files that .gitattributes does not name


@dataclass
class Fault:
    """What happens to the next `times` requests whose method and path fit."""

    method: str
    path: str
    times: int
    status: int = 0  # an answer with this status, or …
    after: int = 0  # … the connection ends after so many bytes of the body

    def fits(self, method: str, path: str) -> bool:
        return self.times > 0 and self.method == method and re.search(self.path, path) is not None


class HubServer:
    """The server; a context manager. What it holds may be looked at and changed.

    Args:
        lfs_from (`int`): size in bytes from which a file goes the LFS way.
        part_size (`int`, *optional*): large files come in parts of so many bytes.
        page (`int`): entries in one page of a tree.
    """

    def __init__(self, lfs_from: int = LFS_FROM, part_size: int | None = None, page: int = 1000):
        self.lfs_from, self.part_size, self.page = lfs_from, part_size, page
        self.repos: dict[tuple[str, str], Repo] = {}  # ("models", "org/name") -> repository
        self.lfs: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.collections: dict[str, dict] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self.users = {
            WRITER: {"name": "wiebke", "role": "write", "orgs": [{"name": ORG, "roleInOrg": "write"}]},
            READER: {"name": "rolf", "role": "read", "orgs": [{"name": ORG, "roleInOrg": "read"}]},
            STRANGER: {"name": "sanna", "role": "write", "orgs": []},
        }
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self._server.daemon_threads = True
        port = self._server.server_address[1]
        self.endpoint, self.cdn = f"http://127.0.0.1:{port}", f"http://localhost:{port}"

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *args) -> None:
        self._server.shutdown()
        self._server.server_close()

    def cut(self, method: str, path: str, after: int = 0, times: int = 1) -> None:
        """Ends the connection after `after` bytes of the body of the next `times` such requests."""
        self.faults.append(Fault(method, path, times, after=after))

    def fail(self, method: str, path: str, status: int, times: int = 1) -> None:
        """Answers the next `times` such requests with an error."""
        self.faults.append(Fault(method, path, times, status=status))

    def make(
        self, repo: str, files: dict[str, bytes] | None = None, kind: str = "models", private: bool = False
    ) -> str:
        """A repository with these files, as if pushed before; its commit."""
        made = self.repos[kind, repo] = Repo(private)
        start = {".gitattributes": Blob(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n")}
        blobs = {name: Blob(data, len(data) >= self.lfs_from) for name, data in (files or {}).items()}
        self.lfs |= {blob.sha256: blob.data for blob in blobs.values() if blob.lfs}
        return made.commit("main", start | blobs, "initial commit")

    def files(self, repo: str, revision: str = "main", kind: str = "models") -> dict[str, bytes]:
        """What the repository holds there, without the Hub's own .gitattributes."""
        found = self.repos[kind, repo]
        tree = found.commits[found.at(revision)]
        return {name: blob.data for name, blob in tree.items() if name != ".gitattributes"}

    def count(self, method: str, path: str) -> int:
        """How many such requests have come."""
        return sum(1 for way, where, _ in self.requests if way == method and re.search(path, where))


class Handler(Routes, BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *args) -> None:
        """Silent."""

    def handle(self) -> None:
        with suppress(ConnectionError, TimeoutError):
            super().handle()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        self.query, path = parse_qs(url.query), url.path
        with self.hub.lock:
            self.hub.requests.append((self.command, path, dict(self.headers)))
            self.fault = next((fault for fault in self.hub.faults if fault.fits(self.command, path)), None)
            if self.fault:
                self.fault.times -= 1
        if self.fault and not self.fault.status and self.command in ("PUT", "POST"):
            self.rfile.read(min(self.fault.after, int(self.headers.get("Content-Length", 0))))
            return self._hang_up()
        body = self._body()
        try:
            if self.fault and self.fault.status:
                raise RefusedError(self.fault.status, message="told to fail")
            for method, pattern, name in ROUTES:
                if method == self.command and (found := re.fullmatch(pattern, path)):
                    with self.hub.lock:
                        parts = {key: unquote(value) for key, value in found.groupdict().items() if value}
                        return getattr(self, name)(body, **parts)
            raise RefusedError(404, message=f"no route for {self.command} {path}")
        except RefusedError as refused:
            headers = {"X-Error-Code": refused.code, "X-Error-Message": refused.message}
            self._json({"error": refused.message}, refused.status, {k: v for k, v in headers.items() if v})

    do_GET = do_POST = do_PUT = do_HEAD = _answer  # noqa: N815  (as the base class wants them)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _json(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(content).encode(), status, {"Content-Type": "application/json"} | (headers or {}))

    def _send(self, data: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault and not self.fault.status:
            self.wfile.write(data[: self.fault.after])
            self._hang_up()
        else:
            self.wfile.write(data)
