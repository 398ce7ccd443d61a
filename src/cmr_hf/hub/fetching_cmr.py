"""Fetches a picture from an http(s) address into a private temporary file.

Only http and https, redirects included; bytes and seconds are limited. Addresses inside a private network
(loopback, 10.0.0.0/8, 192.168.0.0/16, link-local, ...) are refused, so that a server that hands its users'
strings to a pipeline does not open its own network to them; the address checked is the one connected to. Set
the environment variable CMR_HF_PRIVATE_URLS=1 to read from a server in the house. Behind a proxy the proxy
decides what may be reached. Errors name an address without its user, query and fragment, which may hold secrets.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import os
import re
import socket
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .checking_cmr import MAX_FILE_BYTES, ReadingError

MAX_SECONDS = 600.0
SILENCE_SECONDS = 30.0
_CHUNK = 256 * 1024
_TRUE = ("1", "ON", "YES", "TRUE")


class _RefusalError(Exception):
    """Why a connection is not made; not an OSError, which urllib would wrap."""


def is_url(source: Any) -> bool:
    """Whether a source is a string with a scheme, such as https://…"""
    return isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


def shown_url(url: str) -> str:
    """The address as errors and results show it: no user, password, query or fragment."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the URL"
    return f"{parts.scheme}://{host}{port}{parts.path}"


@contextlib.contextmanager
def fetched(url: str) -> Iterator[tuple[Path, str]]:
    """Downloads `url` to a temporary file that only this user can open, and removes it afterwards.

    Args:
        url: an http or https address.

    Yields:
        The file, and what errors call it.

    Raises:
        ReadingError: offline mode, another scheme, a private address, an HTTP error, a timeout, too many bytes.
    """
    name = shown_url(url)
    if urllib.parse.urlsplit(name).scheme not in ("http", "https"):
        raise ReadingError(f"{name} needs to begin with http:// or https://: download it and pass its path")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE:
        raise ReadingError(f"{name} needs the internet, but HF_HUB_OFFLINE is set: unset it, or pass a local path")
    with tempfile.TemporaryDirectory(prefix="cmr_hf_url_") as folder:
        path = Path(folder, "download")
        try:
            _download(url, path, name)
        except urllib.error.HTTPError as error:
            error.close()
            raise ReadingError(f"{name} answered HTTP {error.code}: check the address and who may read it") from None
        except _RefusalError as error:
            raise ReadingError(f"{name} {error}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, ReadingError):
                raise
            kind = type(getattr(error, "reason", None) or error).__name__
            raise ReadingError(f"{name} cannot be fetched ({kind}): check the address, or download it") from None
        yield path.rename(path.with_suffix(_suffix(path))), name


def _download(url: str, path: Path, name: str) -> None:
    """Streams the answer to `path`; the clock counts from the first byte asked for to the last received."""
    limit, end = MAX_FILE_BYTES, time.monotonic() + MAX_SECONDS
    too_large = f"{name} needs at most {limit} bytes: download one stack and pass its path"
    with _opener().open(urllib.request.Request(url), timeout=SILENCE_SECONDS) as answer, open(path, "xb") as file:
        if int(answer.headers.get("Content-Length") or 0) > limit:
            raise ReadingError(too_large)
        received = 0
        while chunk := answer.read1(_CHUNK):
            received += len(chunk)
            if received > limit:
                raise ReadingError(too_large)
            if time.monotonic() > end:
                raise ReadingError(f"{name} needs at most {MAX_SECONDS:g} seconds: download it and pass its path")
            file.write(chunk)
        if answer.length:  # bytes announced, but not sent
            raise http.client.IncompleteRead(b"")


def _suffix(path: Path) -> str:
    """The ending that a NIfTI file needs, found in its bytes: an address often has none."""
    with open(path, "rb") as file:
        head = file.read(348)
    if head.startswith(b"\x1f\x8b"):
        return ".nii.gz"
    return ".nii" if head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0" else ""


def _opener() -> urllib.request.OpenerDirector:
    """Neither file:, ftp: nor data:, which urllib's own opener reads too."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
        _PublicHTTP(),
        _PublicHTTPS(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", "cmr_hf")]
    return opener


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """Follows a redirect to http or https only."""
        target = headers.get("Location") or headers.get("URI") or ""
        scheme = urllib.parse.urlsplit(urllib.parse.urljoin(req.full_url, target)).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            fp.close()
            raise _RefusalError(f"redirects from {req.type} to {scheme or 'nothing'}: refused, check the address")
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _check_peer(sock: socket.socket) -> None:
    """Refuses a connection into a private network before anything is asked."""
    if os.environ.get("CMR_HF_PRIVATE_URLS", "").upper() in _TRUE:
        return
    address = ipaddress.ip_address(sock.getpeername()[0].split("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if not address.is_global or address.is_multicast:
        sock.close()
        raise _RefusalError("is in a private network: refused, set CMR_HF_PRIVATE_URLS=1 if you trust it")


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _check_peer(self.sock)


class _SecureConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _check_peer(self.sock)


class _PublicHTTP(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        """A plain connection; a proxy checks addresses itself."""
        return self.do_open(http.client.HTTPConnection if req.has_proxy() else _Connection, req)


class _PublicHTTPS(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        """An encrypted connection; a proxy checks addresses itself."""
        proxied = req.has_proxy() or getattr(req, "_tunnel_host", None)
        return self.do_open(http.client.HTTPSConnection if proxied else _SecureConnection, req)
