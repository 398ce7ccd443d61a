"""Structs out of MATLAB 5 files (`save -v6`, `-v7`): the fields that are asked for, nothing else.

An own reader of the published format ("MAT-File Format", MathWorks, level 5), because SciPy's crashes the process on
damaged files and builds every object that a file holds. Here every length is checked against what is there, only
numbers, text and structs are understood, and fields that nobody asks for, patients' names among them, stay bytes.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...hub.checking_cmr import MAX_PIXEL_BYTES, ReadingError, file_head

_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _CHAR, _NUMERIC = 2, 4, range(6, 16)
_MAX_FIELDS = 5000


class Struct:
    """One entry of a struct array; fields are decoded when they are asked for.

    Args:
        fields: name -> bytes of its matrix.
        order: "<" or ">".
        name: what errors call the file.
    """

    def __init__(self, fields: dict[str, memoryview], order: str, name: str):
        self._fields, self._order, self._name = fields, order, name

    def numbers(self, key: str) -> np.ndarray | None:
        """A numeric or logical array; `None` when absent, empty or anything else."""
        value = self._value(key)
        return value if isinstance(value, np.ndarray) and value.size else None

    def text(self, key: str) -> str:
        """A text; "" when absent or anything else."""
        value = self._value(key)
        return value if isinstance(value, str) else ""

    def struct(self, key: str) -> Struct | None:
        """A struct of one entry; `None` when absent or anything else."""
        value = self._value(key)
        return value[0] if isinstance(value, list) and len(value) == 1 else None

    def _value(self, key: str) -> np.ndarray | str | list[Struct] | None:
        if key not in self._fields:
            return None
        with _Checked(self._name):
            return _matrix(self._fields[key], self._order, self._name)


def read_structs(path: str | Path, variable: str) -> list[Struct]:
    """The entries of one struct array of a file.

    Raises:
        ReadingError: the file is no MATLAB 5 file, is damaged or too large, or has no such struct.
    """
    path = Path(path)
    name = path.name
    head = file_head(path, name)
    if head.startswith(b"MATLAB 7.3") or b"\x89HDF" in head:
        raise ReadingError(f"{name} is a MATLAB 7.3 file: load it in MATLAB and save it with save(..., '-v7')")
    order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
    if not head.startswith(b"MATLAB 5.0") or order is None:
        raise ReadingError(f"{name} is no MATLAB 5 file: pass the .mat file itself, saved with -v7 or -v6")
    with open(path, "rb") as file:
        data = memoryview(file.read())[128:]
    with _Checked(name):
        for kind, raw in _elements(data, order):
            found = _variable(kind, raw, order, variable, name)
            if found is not None:
                if not isinstance(found, list) or not found:
                    raise ReadingError(
                        f"{name} has a `{variable}` that is no struct: pass the file that the tool saved"
                    )
                return found
    raise ReadingError(f"{name} has no `{variable}`: pass the file that the tool saved")


class _Checked:
    """What goes wrong on damaged bytes becomes a ReadingError."""

    def __init__(self, name: str):
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        damaged = (ValueError, struct.error, zlib.error, StopIteration, OverflowError, MemoryError, TypeError)
        if isinstance(error, damaged) and not isinstance(error, ReadingError):
            raise ReadingError(f"{self._name} is damaged or truncated: save or copy it again") from None


def _variable(
    kind: int, raw: memoryview, order: str, variable: str, name: str
) -> np.ndarray | str | list[Struct] | None:
    """The value of a top-level element if it has that name."""
    if kind == _COMPRESSED:
        start = zlib.decompressobj().decompress(raw, 512)
        if variable.encode() not in start:
            return None
        whole = zlib.decompressobj().decompress(raw, MAX_PIXEL_BYTES + 1)
        if len(whole) > MAX_PIXEL_BYTES:
            raise ReadingError(f"{name} needs at most 4 GiB unpacked: save fewer image stacks")
        kind, raw = next(_elements(memoryview(whole), order))
    if kind != _MATRIX or not len(raw):
        return None
    parts = _elements(raw, order)
    _, _, (_, own) = (next(parts) for _ in range(3))
    return _matrix(raw, order, name) if bytes(own) == variable.encode() else None


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and bytes of each element, one after the other."""
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        if kind >> 16:  # a small one: both numbers share four bytes, four of data follow
            kind, size, start, after = kind & 0xFFFF, kind >> 16, place + 4, place + 8
            if size > 4:
                raise ValueError("a small element holds more than four bytes")
        else:
            start = place + 8
            after = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > len(data):
            raise ValueError("an element is longer than what holds it")
        yield kind, data[start : start + size]
        place = after


def _matrix(raw: memoryview, order: str, name: str) -> np.ndarray | str | list[Struct] | None:
    if not len(raw):
        return np.empty((0, 0))
    parts = _elements(raw, order)
    flags, shape, _ = (next(parts)[1] for _ in range(3))
    kind = struct.unpack_from(f"{order}I", flags)[0] & 0xFF
    lengths = [int(length) for length in np.frombuffer(shape, f"{order}i4")]
    count = math.prod(lengths)
    if min(lengths, default=0) < 0 or not 2 <= len(lengths) <= 8 or count > MAX_PIXEL_BYTES:
        raise ValueError("a matrix has impossible sides")
    if kind in _NUMERIC:
        stored, values = next(parts, (9, memoryview(b"")))
        array = np.frombuffer(values, f"{order}{_STORED[stored]}" if stored in _STORED else "V0")
        return array[:count].reshape(lengths, order="F")
    if kind == _CHAR:
        stored, values = next(parts, (16, memoryview(b"")))
        encoding = _TEXTS.get(stored, "latin-1")
        wide = "-le" if order == "<" else "-be"
        return bytes(values[:4096]).decode(encoding + (wide if encoding in ("utf-16", "utf-32") else ""), "replace")
    return _structs(parts, count, order, name) if kind == _STRUCT else None


def _structs(parts: Iterator[tuple[int, memoryview]], count: int, order: str, name: str) -> list[Struct]:
    length = struct.unpack_from(f"{order}i", next(parts)[1])[0]
    names = bytes(next(parts)[1])
    if not 1 <= length <= 4096 or len(names) // length > _MAX_FIELDS:
        raise ValueError("a struct has impossible fields")
    keys = [names[place : place + length].split(b"\0")[0].decode("latin-1") for place in range(0, len(names), length)]
    made = []
    for _ in range(min(count, _MAX_FIELDS) if keys else 0):
        made.append(Struct({key: _matrix_bytes(next(parts)) for key in keys}, order, name))
    return made


def _matrix_bytes(element: tuple[int, memoryview]) -> memoryview:
    if element[0] != _MATRIX:
        raise ValueError("a field is no matrix")
    return element[1]
