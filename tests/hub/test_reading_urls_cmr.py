"""Addresses: a server on this machine's loopback, and every refusal."""

import gzip
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import nibabel
import numpy as np
import pytest

from cmr_hf.hub import fetching_cmr
from cmr_hf.hub.reading_cmr import ReadingError, read_image, restore_axes
from tests.dicom_factory import pixels_of, write_slice

SECRET = "user:word"
QUERY = "?token=SECRET&id=5"


class Answers(BaseHTTPRequestHandler):
    """Answers with `server.files`: bytes, or a number of an HTTP error, or the address of a redirect."""

    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path.partition("?")[0], 404)
        if callable(content):
            content(self)
        elif isinstance(content, str):
            self.send_response(302)
            self.send_header("Location", content)
            self.end_headers()
        elif isinstance(content, int):
            self.send_error(content)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path_factory):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("CMR_HF_PRIVATE_URLS", "1")
    private = tmp_path_factory.mktemp("private")
    monkeypatch.setattr(tempfile, "tempdir", str(private))
    answering = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    answering.files, answering.asked = {}, []
    answering.address = f"http://127.0.0.1:{answering.server_port}"
    threading.Thread(target=answering.serve_forever, args=(0.01,), daemon=True).start()
    yield answering
    answering.shutdown()
    answering.server_close()
    assert list(private.iterdir()) == []


def refusal(url):
    with pytest.raises(ReadingError) as caught:
        read_image(url)
    message = str(caught.value)
    assert "SECRET" not in message
    assert "word" not in message
    assert caught.value.__cause__ is None
    return message


def test_dicom_nifti_and_redirects_are_read_and_the_query_is_not_told(server, tmp_path):
    server.files["/a.dcm"] = write_slice(tmp_path / "a.dcm").read_bytes()
    server.files["/moved"] = f"/a.dcm{QUERY}"
    for place in ("/a.dcm", "/moved"):
        image = read_image(server.address + place + QUERY)
        assert np.array_equal(image.pixels[0, 0], pixels_of(0, 0))
        assert (image.source, image.kind) == (server.address + place, "dicom")
    array = np.arange(60, dtype=np.int16).reshape(4, 5, 3)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii")
    server.files["/plain"] = (tmp_path / "a.nii").read_bytes()
    server.files["/packed"] = gzip.compress(server.files["/plain"])
    for place in ("/plain", "/packed"):
        image = read_image({"image": server.address + place, "spacing_mm": (2, 3)})
        assert np.array_equal(restore_axes(image.pixels, image), array)
        assert (image.kind, image.spacing_mm) == ("array", (2.0, 3.0))


@pytest.mark.parametrize("code", [404, 403, 500])
def test_when_the_server_refuses_then_reader_raises_with_its_code(server, code):
    server.files["/a.dcm"] = code
    assert f"{server.address}/a.dcm answered HTTP {code}" in refusal(f"{server.address}/a.dcm{QUERY}")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a?SECRET", "data:,SECRET", "gopher://x"])
def test_when_a_redirect_leaves_http_then_reader_raises(server, target):
    server.files["/a"] = target
    assert f"/a redirects from http to {target.partition(':')[0]}: refused" in refusal(f"{server.address}/a")


def test_when_redirects_go_round_then_reader_raises(server):
    server.files["/a"] = "/a"
    assert "answered HTTP 302" in refusal(f"{server.address}/a")
    assert len(server.asked) < 20


def test_when_an_answer_is_too_large_announced_or_not_then_reader_raises(server, monkeypatch):
    monkeypatch.setattr(fetching_cmr, "MAX_FILE_BYTES", 1000)

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(1000):
                handler.wfile.write(b"x" * 100_000)
        except OSError:
            return

    server.files |= {"/announced": b"x" * 1001, "/endless": endless}
    for place in server.files:
        assert f"{place} needs at most 1000 bytes" in refusal(server.address + place)


def test_when_an_answer_is_silent_slow_or_cut_then_reader_raises(server, monkeypatch):
    monkeypatch.setattr(fetching_cmr, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(fetching_cmr, "MAX_SECONDS", 0.5)

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(40):
                handler.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            return

    def cut(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(b"x" * 100)

    server.files |= {"/silent": lambda handler: time.sleep(0.6), "/slow": drip, "/cut": cut}
    assert "/silent cannot be fetched (TimeoutError)" in refusal(f"{server.address}/silent")
    assert "/slow needs at most 0.5 seconds" in refusal(f"{server.address}/slow")
    assert "/cut cannot be fetched (IncompleteRead)" in refusal(f"{server.address}/cut")


def test_a_private_address_is_refused_before_anything_is_asked_unless_allowed(server, monkeypatch):
    monkeypatch.delenv("CMR_HF_PRIVATE_URLS")
    for host in ("127.0.0.1", "localhost", "127.1", "2130706433"):
        message = refusal(f"http://{host}:{server.server_port}/a.dcm{QUERY}")
        assert "is in a private network: refused, set CMR_HF_PRIVATE_URLS=1" in message
    assert server.asked == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://example.org/a.dcm?SECRET", "ftp://example.org/a.dcm needs to begin with http:// or https://"),
        ("file:///etc/passwd", "needs to begin with http"),
        (f"http://{SECRET}@127.0.0.1:9/a?SECRET", "http://127.0.0.1:9/a cannot be fetched"),
        ("http://127.0.0.1:99999/a?SECRET", "the URL"),
        ("http://[::1/a?SECRET", "the URL"),
        ("http://127.0.0.1/a b\n?SECRET", "cannot be fetched"),
        ("https://", "cannot be fetched"),
    ],
)
def test_when_an_address_is_no_good_then_reader_raises(server, url, says):
    assert says in refusal(url)


@pytest.mark.parametrize("offline", ["1", "true", "ON"])
def test_when_offline_then_nothing_is_asked(server, monkeypatch, offline):
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    assert "HF_HUB_OFFLINE is set: unset it, or pass a local path" in refusal(f"{server.address}/a.dcm{QUERY}")
    assert server.asked == []
