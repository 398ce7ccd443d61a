"""Small studies to hand in, and waiting for a Space."""

import socket
import subprocess
import time
import urllib.request
from pathlib import Path

from cmr_hf.samples import sample

STARTS_WITHIN_S = 240


def sample_files(slices: str = "123456", phases: tuple[str, ...] = ("11", "19", "25")) -> list[Path]:
    """Some files of the real heart: six slices of three phases, of which one is end-systole and one end-diastole."""
    folder = sample("sax_cine")
    return [folder / f"slice0{z}_phase{t}.dcm" for z in slices for t in phases]


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(STARTS_WITHIN_S * 2):
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise RuntimeError(f"the Space did not start: {log.read_text()[-2000:]}")
