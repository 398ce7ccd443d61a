"""A GPU where the host lends one for single calls (ZeroGPU), else nothing changes.

The host's package is called `spaces`, as the folder of this app is in its repository, where Python would find the
folder: only an installed package with the decorator in it counts. It has to be imported before torch uses CUDA.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

SECONDS = 120  # that one study may hold the GPU


def lent_gpu(seconds: int = SECONDS) -> Callable[[Callable], Callable]:
    """The decorator for functions that need the GPU; without ZeroGPU it hands the function back as it is."""
    package = _package()
    return (lambda function: function) if package is None else package.GPU(duration=seconds)


def _package() -> Any:
    spec = importlib.util.find_spec("spaces")
    if spec is None or spec.origin is None:  # a folder without __init__ has no origin: this app's own
        return None
    package = importlib.import_module("spaces")
    return package if hasattr(package, "GPU") else None
