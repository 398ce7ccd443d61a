"""The Space under load: users at once, then many requests, with the memory of its process.

    python tests/benchmarks/bench_space.py                       # 10 users at once, then 100 requests
    python tests/benchmarks/bench_space.py --users 3 --requests 10 --phases 11

Every user hands in another number of slices and has to get a result of that many; the requests that follow are of one
slice. Prints seconds, the resident memory before and after, and what is left in the Space's folders.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from gradio_client import Client, handle_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.spaces.served import free_port, sample_files, wait_for  # noqa: E402


def ask(address: str, folder: str, slices: str, phases: tuple[str, ...]) -> tuple[int, int, float]:
    """Slices handed in, slices in the answer, seconds."""
    started = time.perf_counter()
    client = Client(address, verbose=False, download_files=folder)
    files = [handle_file(file) for file in sample_files(slices, phases)]
    made, _ = client.predict(files, api_name="/assess")
    client.close()
    return len(slices), made["stacks"][0]["shape"][1], time.perf_counter() - started


def megabytes(process: psutil.Process) -> float:
    """Resident memory of a process."""
    return process.memory_info().rss / 1024**2


def main() -> None:
    """Starts a Space, loads it, and prints what became of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--phases", nargs="+", default=["11", "25"])
    about = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port, log = free_port(), Path(folder) / "log.txt"
        environment = os.environ | {"TMPDIR": folder, "GRADIO_SERVER_PORT": str(port), "PYTHONPATH": str(ROOT / "src")}
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=ROOT / "spaces", env=environment, stdout=stream, stderr=stream
            )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(address, process, log)
            load(address, folder, psutil.Process(process.pid), about)
        finally:
            process.terminate()
            process.wait(60)


def load(address: str, folder: str, watched: psutil.Process, about: argparse.Namespace) -> None:
    """Users at once, then requests one after the other."""
    ask(address, folder, "3", tuple(about.phases))
    print(f"after the first request: {megabytes(watched):.0f} MiB")
    asked = ["123456"[: 1 + number % 6] for number in range(about.users)]
    started = time.perf_counter()
    with ThreadPoolExecutor(about.users) as pool:
        answers = list(pool.map(lambda slices: ask(address, folder, slices, tuple(about.phases)), asked))
    mixed = sum(given != got for given, got, _ in answers)
    longest = max(seconds for _, _, seconds in answers)
    spent = time.perf_counter() - started
    print(f"{about.users} users at once: {spent:.0f} s, the longest waited {longest:.0f} s, {mixed} mixed results")
    print(f"after them: {megabytes(watched):.0f} MiB")
    for number in range(1, about.requests + 1):
        ask(address, folder, "3", (about.phases[0],))
        if number % max(1, about.requests // 5) == 0:
            print(f"after {number} more requests: {megabytes(watched):.0f} MiB")
    sessions = list(Path(folder).glob("cmr_hf_space_*/private/*"))
    print(f"sessions that wait for their end: {len(sessions)}")


if __name__ == "__main__":
    main()
