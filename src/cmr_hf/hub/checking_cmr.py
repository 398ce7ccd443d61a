"""What every reader shares: its error, its limits, and checks of spacing, pixels and files.

Errors and results never hold patient data: readers that quote header values are silenced, their errors named
by type only.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

MAX_SIDE = 8192
MAX_FILE_BYTES = 2 * 1024**3
MAX_PIXEL_BYTES = 4 * 1024**3
_TALKATIVE = ("pydicom", "nibabel", "pylibjpeg", "openjpeg", "PIL")

Spacing = tuple[float, float] | None  # (row, column) in mm


class ReadingError(ValueError):
    """A source that cannot be read: the text names the file, what is required and the remedy."""


def checked_spacing(values: Any, what: str, remedy: str) -> tuple[float, float]:
    """Two positive numbers (row, column) in mm; else a ReadingError that begins with `what`."""
    try:
        pair = () if isinstance(values, (str, bytes)) else tuple(float(value) for value in values)
    except (TypeError, ValueError):
        pair = ()
    if len(pair) != 2 or not all(math.isfinite(value) and value > 0 for value in pair):
        raise ReadingError(f"{what} needs two positive numbers (row, column) in mm, got {pair or values!r}: {remedy}")
    return pair


def clean_pixels(array: np.ndarray, name: str) -> np.ndarray:
    """Integers keep their type, booleans become uint8, floats float32; other types and bad pixels raise."""
    if array.dtype.kind not in "biuf":
        raise ReadingError(f"{name} needs real numbers, got dtype {array.dtype}: convert it to float32 or int16")
    if array.size == 0:
        raise ReadingError(f"{name} needs at least one pixel, got shape {array.shape}: check how it was made")
    integer = array.dtype.newbyteorder("=")
    target = {"b": np.dtype(np.uint8), "f": np.dtype(np.float32)}.get(array.dtype.kind, integer)
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=target)
    bad = array.size - int(np.count_nonzero(np.isfinite(array))) if target.kind == "f" else 0
    if bad:
        raise ReadingError(
            f"{name} needs finite pixels, got {bad} of {array.size} that are NaN or infinite: "
            "replace them, for example with np.nan_to_num, and pass the array"
        )
    return array


def file_head(path: Path, name: str) -> bytes:
    """First 1024 bytes of a regular file that is small enough to be read."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ReadingError(f"{name} needs to be a regular file: copy it to one")
        if status.st_size > MAX_FILE_BYTES:
            size = status.st_size
            raise ReadingError(f"{name} needs at most 2 GiB, got {size} bytes: split it or pass an array")
        with open(path, "rb") as file:
            return file.read(1024)
    except OSError as error:
        kind = type(error).__name__
        raise ReadingError(f"{name} needs to be readable ({kind}): check its permissions") from None


def files_below(folder: Path) -> list[Path]:
    """Every file that is not hidden, in a fixed order; links to folders are not followed."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
    return found


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences readers that quote header values, possibly patient data, in warnings and logs."""

    def refuse(record: logging.LogRecord) -> bool:
        return False

    known = [name for name in list(logging.root.manager.loggerDict) if name.startswith(_TALKATIVE)]
    loggers = [logging.getLogger(name) for name in {*_TALKATIVE, *known}]
    for logger in loggers:
        logger.addFilter(refuse)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(refuse)
