"""Memory that does not grow with the number of studies.

glibc gives a thread a heap of its own, up to eight a core, and what one study leaves in it no other thread can use: a
Space that answers each visitor from another thread would grow until it has all of them. Two heaps, and what is free
given back after each study, keep it as large as one study needs. Without glibc nothing is done.
"""

import ctypes

HEAPS = 2
_M_ARENA_MAX = -8  # of glibc's malloc.h


def keep_small() -> bool:
    """Limits the heaps of this process; to be called before it has threads. Whether that could be done."""
    return _call("mallopt", _M_ARENA_MAX, HEAPS) == 1


def give_back() -> bool:
    """Gives free memory back to the system; whether there was any."""
    return _call("malloc_trim", 0) == 1


def _call(name: str, *values: int) -> int | None:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return None
    return int(function(*values))
