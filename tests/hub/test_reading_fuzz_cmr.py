"""Damaged files of every kind give a CMRImage or a ReadingError: no other error, crash, hang or flood of memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MOST_MEMORY_BYTES = 1024**3


def fuzz(repo_root: Path, folder: Path, seed: int, count: int) -> dict:
    path = os.pathsep.join([str(repo_root / "src"), str(repo_root)])
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.fuzz_reading", str(folder), str(seed), str(count)]
    done = subprocess.run(command, cwd=repo_root, env=env, capture_output=True, text=True, timeout=300 + count)
    assert done.returncode == 0, f"crash or hang: {done.stderr[-3000:]}"
    report = json.loads(done.stdout)
    assert report["failures"] == []
    assert report["grown_bytes"] < MOST_MEMORY_BYTES
    assert set(report["counts"]) == {"read", "refused"}
    assert sum(report["counts"].values()) == count
    return report


def test_three_hundred_damaged_files_are_read_or_refused(repo_root, tmp_path):
    report = fuzz(repo_root, tmp_path, seed=0, count=300)
    assert report["counts"]["read"] > 30
    assert report["counts"]["refused"] > 100


@pytest.mark.slow_fuzz
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_thousands_of_damaged_files_are_read_or_refused(repo_root, tmp_path, seed):
    fuzz(repo_root, tmp_path, seed, count=2500)
