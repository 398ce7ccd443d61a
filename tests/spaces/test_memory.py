import subprocess
import sys

import pytest
from cmr_space import memory

from tests.spaces.conftest import SPACE

# each thread keeps a little of what it took; told is how many places of memory the process then has
THREADS = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from cmr_space import memory
if sys.argv[2] == "small":
    assert memory.keep_small()
kept, together = [], threading.Barrier(12)
def work():
    together.wait()
    taken = [bytearray(60_000) for _ in range(200)]
    kept.append(taken[-1])
threads = [threading.Thread(target=work) for _ in range(12)]
[one.start() for one in threads]
[one.join() for one in threads]
memory.give_back()
print(len({line.split("-")[0] for line in open("/proc/self/maps") if "rw-p 00000000 00:00 0" in line}))
"""


def heaps(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", THREADS, str(SPACE), how], capture_output=True, text=True, check=True, timeout=120
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux") or not memory.keep_small(), reason="no glibc")
def test_when_many_threads_work_then_they_share_the_heaps():
    assert heaps("small") < heaps("as it is")


def test_when_the_c_library_is_another_then_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert memory.keep_small() is False
    assert memory.give_back() is False
