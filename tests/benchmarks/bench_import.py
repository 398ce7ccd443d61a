"""Time to import cmr_hf against that of transformers' own ViT classes: must be less than 1.3 times.

    python tests/benchmarks/bench_import.py
    python tests/benchmarks/bench_import.py --profile      # what cmr_hf imports beyond transformers' ViT

Each import runs in a fresh interpreter; both take turns, after one unmeasured round that fills the disk cache.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

CEILING = 1.3
SRC = Path(__file__).resolve().parents[2] / "src"
OURS = "import cmr_hf"
THEIRS = "from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor, ViTModel"
TIMED = "import time; a = time.perf_counter(), time.process_time(); {0}; print(time.perf_counter() - a[0], end=' '); print(time.process_time() - a[1])"  # noqa: E501


def run(statement: str, *options: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join(filter(None, (str(SRC), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    command = [sys.executable, *options, "-c", statement]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


def seconds(statement: str) -> tuple[float, float]:
    """Wall and processor time of one import."""
    wall, processor = run(TIMED.format(statement)).stdout.split()
    return float(wall), float(processor)


def import_times(statement: str) -> dict[str, tuple[float, float]]:
    """Module -> (own, cumulative) seconds, as `python -X importtime` prints them."""
    lines = run(statement, "-X", "importtime").stderr.splitlines()
    parts = [line.removeprefix("import time:").split("|") for line in lines if line.count("|") == 2]
    return {name.strip(): (int(own) / 1e6, int(total) / 1e6) for own, total, name in parts if own.strip().isdigit()}


def profile() -> None:
    ours, theirs = import_times(OURS), import_times(THEIRS)
    extra = {name: times for name, times in ours.items() if name not in theirs}
    print(f"{sum(own for own, _ in extra.values()):.2f} s in {len(extra)} modules that the ViT does not need")
    packages: dict[str, float] = {}
    for name, (own, _) in extra.items():
        key = ".".join(name.split(".")[:2])
        packages[key] = packages.get(key, 0.0) + own
    for name, own in sorted(packages.items(), key=lambda entry: -entry[1])[:25]:
        print(f"{own:8.3f} s  {name}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if options.profile:
        profile()
        return 0

    times = {statement: [] for statement in (THEIRS, OURS)}
    for repetition in range(options.repetitions + 1):
        for statement, taken in times.items():
            taken.append(seconds(statement))
            if repetition == 0:
                taken.clear()
    for statement, taken in times.items():
        wall, processor = (statistics.median(column) for column in zip(*taken, strict=True))
        print(f"{wall:6.2f} s wall, {processor:6.2f} s processor: {statement}")
    wall, processor = (
        statistics.median(one[column] for one in times[OURS]) / statistics.median(one[column] for one in times[THEIRS])
        for column in (0, 1)
    )
    print(f"ratio {wall:.2f} by the clock, {processor:.2f} by the processor  (ceiling {CEILING})")
    return int(wall >= CEILING)


if __name__ == "__main__":
    sys.exit(main())
