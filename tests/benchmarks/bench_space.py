"""The Space under load: users at once, then many requests, with the memory of its process.

    python tests/benchmarks/bench_space.py                       # 10 users at once, then 100 requests
    python tests/benchmarks/bench_space.py --users 3 --requests 10 --phases 11

Each user hands in slices of a set of its own and has to get a result of as many; users with the same set have to get
the same figures. The requests that follow are of one slice. Prints seconds, how many of those who waited were told
their place in the queue, the resident memory, and what is left in the Space's folders; exit code 1 if a result is
mixed, a place was not told, something was left, or the memory of the last fifth of the requests is more than 5 % above
that of the second fifth.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
from gradio_client import Client, handle_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.spaces.served import free_port, sample_files, wait_for  # noqa: E402

SETS = ("1", "23", "346", "1256", "23456", "123456")
FLAT = 1.05  # how much of the memory of the second fifth of the requests the last fifth may have
POLL_S = 0.2


@dataclass
class Answer:
    """Of one request: the slices handed in, the slices and figures that came back, seconds, places it was told."""

    asked: str
    slices: int
    figures: dict[str, float | None]
    seconds: float
    places: list[int]


def ask(address: str, folder: str, slices: str, phases: tuple[str, ...]) -> Answer:
    """One request, from connecting to the result."""
    started = time.perf_counter()
    client = Client(address, verbose=False, download_files=folder)
    job = client.submit([handle_file(file) for file in sample_files(slices, phases)], api_name="/assess")
    places = []
    while not job.done():
        rank = job.status().rank
        if rank is not None and places[-1:] != [rank]:
            places.append(rank)
        time.sleep(POLL_S)
    made, _ = job.result()
    client.close()
    figures = {name: one["value"] for name, one in made["measures"].items()}
    return Answer(slices, made["stacks"][0]["shape"][1], figures, time.perf_counter() - started, places)


def megabytes(process: psutil.Process) -> float:
    """Resident memory of a process."""
    return process.memory_info().rss / 1024**2


def main() -> int:
    """Starts a Space, loads it, and prints what became of it; 1 if something is wrong."""
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
            watched, phases = psutil.Process(process.pid), tuple(about.phases)
            ask(address, folder, "3", phases)
            tell(f"after the first request: {megabytes(watched):.0f} MiB, {watched.num_threads()} threads")
            faults = together(address, folder, watched, about.users, phases)
            faults += one_by_one(address, folder, watched, about.requests, phases[:1])
            faults += [f"{len(left)} private folders left" for left in [private(folder)] if left]
        finally:
            process.terminate()
            process.wait(60)
    for fault in faults:
        tell(f"WRONG: {fault}")
    return 1 if faults else 0


def together(address: str, folder: str, watched: psutil.Process, users: int, phases: tuple[str, ...]) -> list[str]:
    """Users at once; what went wrong."""
    started = time.perf_counter()
    with ThreadPoolExecutor(max(1, users)) as pool:
        asked = [SETS[number % len(SETS)] for number in range(users)]
        answers = list(pool.map(lambda slices: ask(address, folder, slices, phases), asked))
    spent, seconds = time.perf_counter() - started, sorted(one.seconds for one in answers)
    own = {one.asked: one.figures for one in answers}
    mixed = sum(one.slices != len(one.asked) or one.figures != own[one.asked] for one in answers)
    told = sum(bool(one.places) for one in answers)
    furthest = max((max(one.places, default=0) for one in answers), default=0)
    if answers:
        tell(f"{users} users at once: {spent:.0f} s, first after {seconds[0]:.0f} s, last after {seconds[-1]:.0f} s")
        tell(f"mixed results: {mixed}; told a place in the queue: {told} of {users}, the furthest {furthest}")
        tell(f"after them: {megabytes(watched):.0f} MiB, {watched.num_threads()} threads")
    faults = [f"{mixed} mixed results"] if mixed else []
    return faults + ([f"{told} of {users} were told their place"] if told < users - 1 else [])


def one_by_one(address: str, folder: str, watched: psutil.Process, requests: int, phases: tuple[str, ...]) -> list[str]:
    """Requests one after the other; what went wrong."""
    memory: list[float] = []
    for number in range(1, requests + 1):
        ask(address, folder, "3", phases)
        memory.append(megabytes(watched))
        if number % max(1, requests // 10) == 0:
            tell(f"after {number} more requests: {memory[-1]:.0f} MiB, {watched.num_threads()} threads")
    fifth = len(memory) // 5
    if not fifth:
        return []
    early, late = (statistics.median(part) for part in (memory[fifth : 2 * fifth], memory[-fifth:]))
    tell(f"second fifth of the requests {early:.0f} MiB, last fifth {late:.0f} MiB, most {max(memory):.0f} MiB")
    return [f"memory grew from {early:.0f} to {late:.0f} MiB"] if late > FLAT * early else []


def private(folder: str) -> list[Path]:
    """What sessions that have ended left in the private part of the Space's folder."""
    return list(Path(folder).glob("cmr_hf_space_*/private/*"))


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
