"""Studies to hand in, the running Space, and a browser in front of it."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPACE = ROOT / "spaces"
sys.path.insert(0, str(SPACE))

from tests.spaces.served import free_port, sample_files, wait_for  # noqa: E402


@pytest.fixture(scope="session")
def small_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "Mustermann_Max.zip"
    with zipfile.ZipFile(path, "w") as made:
        for file in sample_files():
            made.write(file, f"Mustermann/{file.name}")
    return path


@pytest.fixture(scope="session")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of a Space in a process of its own, and the folder it keeps its files in."""
    pytest.importorskip("gradio", reason="the Space needs gradio: pip install 'cmr_hf[space]'")
    if running := os.environ.get("CMR_HF_SPACE"):  # "http://127.0.0.1:7860 /tmp/cmr_hf_space_…" of one that runs
        address, kept = running.split()
        yield address, Path(kept)
        return
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    environment = os.environ | {
        "TMPDIR": str(folder),
        "GRADIO_SERVER_PORT": str(port),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "PYTHONPATH": str(ROOT / "src"),
    }
    log = folder / "log.txt"
    with log.open("w") as stream:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=SPACE, env=environment, stdout=stream, stderr=stream)
    try:
        wait_for(f"http://127.0.0.1:{port}/", process, log)
        yield f"http://127.0.0.1:{port}", next(folder.glob("cmr_hf_space_*"))
    finally:
        process.terminate()
        process.wait(60)
    assert not list(folder.glob("cmr_hf_space_*")), "the Space left files behind"


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Headless Chromium of the system."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'cmr_hf[browser]'")
    program = os.environ.get("CMR_HF_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium: apt install chromium, or set CMR_HF_CHROMIUM to its path")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield opened
        opened.close()
