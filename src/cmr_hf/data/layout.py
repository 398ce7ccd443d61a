"""Where a data set's patients and tables lie below the folder that a user points at."""

import csv
from collections.abc import Iterable
from pathlib import Path

from ..hub.reading_cmr import ReadingError


def folders(root: str | Path, pattern: str, below: Iterable[str], what: str) -> dict[str, Path]:
    """Folders by name.

    Args:
        root (`str` or `Path`): where the user points.
        pattern (`str`): of the folders' names, as `Path.glob` takes it.
        below (iterable of `str`): the sub-folders of `root` to look into, "" for `root` itself.
        what (`str`): what errors call them, "ACDC's patientNNN folders".

    Raises:
        ReadingError: there is none.
    """
    root = Path(root)
    found = {path.name: path for place in below for path in sorted((root / place).glob(pattern)) if path.is_dir()}
    if not found:
        raise ReadingError(f"{root} has no {what}: point `root` at the folder that holds them")
    return found


def place_of(root: str | Path, name: str, below: Iterable[str]) -> Path:
    """The first `root/below/name` that exists; `root/name` where none does, for errors to name."""
    root = Path(root)
    return next((root / place / name for place in below if (root / place / name).exists()), root / name)


def read_table(path: Path, key: str) -> dict[str, dict[str, str]]:
    """A CSV with a header, its rows by the column `key`; rows without one are left out.

    Raises:
        ReadingError: the file is missing or has no such column.
    """
    if not path.is_file():
        raise ReadingError(f"{path} is missing: fetch the data set again, its table lies beside the images")
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
        table = csv.DictReader(lines)
        if key not in (table.fieldnames or ()):
            raise ReadingError(f"{path} needs a column {key!r}, got {table.fieldnames}: fetch it again")
        return {row[key].strip(): row for row in table if (row[key] or "").strip()}


def whole_number(text: str | None, what: str) -> int:
    """A whole number from a table; else a ReadingError that begins with `what`."""
    try:
        value = float(text or "")
    except ValueError:
        value = 0.5
    if not value.is_integer():
        raise ReadingError(f"{what} needs a whole number, got {text!r}: fetch the file again")
    return int(value)
