"""Masks in NRRD, with the segments that 3D Slicer writes into `.seg.nrrd`.

Header: lines `field: value` and `key:=value` up to an empty one (teem.sourceforge.net/nrrd/format.html). Slicer adds
`Segment{n}_Name`, `_LabelValue`, `_Layer` and `_Tags` with `TerminologyEntry:…~scheme^code^meaning~…`; overlapping
segments lie in layers along a first axis of kind `list`. An own reader of some hundred lines, because libraries
follow the paths of detached headers anywhere and unpack gzip without a limit.

Tested on files in this layout, and on NRRD files written by ITK.
"""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...hub.checking_cmr import MAX_PIXEL_BYTES, MAX_SIDE, ReadingError, file_head
from .label_volume import LabelVolume, volume_of
from .names import LabelMap, structure_of

_MAX_HEADER = 1024**2
_TYPES = {
    "i1": "signed char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "f4": "float",
    "f8": "double",
}
_TYPE_NAMES = {name: code for code, names in _TYPES.items() for name in names.split("|")}
# of each space, the signs that turn its axes into LPS
_SPACES = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
_VECTOR = re.compile(r"none|\(([^()]*)\)")


@dataclass
class _Header:
    fields: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    end: int = 0


def read_nrrd_masks(path: str | Path, *, label_map: LabelMap | None = None) -> LabelVolume:
    """Reads a label map or segmentation; `apply_to` puts it onto its image.

    Args:
        path: `.nrrd`, `.seg.nrrd`, or a detached `.nhdr` whose data lie in one file in the same folder.
        label_map: label value or name -> id, see `structure_of`; a plain NRRD has no names and needs it, segments in
            several layers may share a value and need names.

    Raises:
        ReadingError: the file is no such NRRD, is damaged or too large, names a data file elsewhere, or has labels
            without names.
    """
    path = Path(path)
    name = path.name
    header = _header(path, name)
    values, affine = _values(path, name, header)  # (layers, z, y, x)
    segments = _segments(header.keys, name)
    if not segments:
        if len(values) > 1:
            raise ReadingError(f"{name} has {len(values)} layers and no segments: save one label map")
        return volume_of(values, affine, {}, label_map, name, "nrrd")
    areas: dict[str, np.ndarray] = {}
    report = []
    for number, (label, layer, title, code) in segments.items():
        if layer >= len(values):
            raise ReadingError(f"{name} has no layer {layer}, which its segment {number} lies in: save it again")
        structure = structure_of(label, title, code, label_map)
        if structure is None:
            report.append(f"{name}: segment {number} (label {label}) has a name that is not known and is left out")
        if structure in (None, "background"):
            continue
        area = (values[layer] == label)[None]
        areas[structure] = areas[structure] | area if structure in areas else area
    if not areas:
        raise ReadingError(f"{name} has no segment that this package knows: pass label_map={{name or number: id}}")
    return LabelVolume(areas, affine, name, "nrrd", report)


def _header(path: Path, name: str) -> _Header:
    if not file_head(path, name).startswith(b"NRRD000"):
        raise ReadingError(f"{name} is no NRRD file: save the segmentation as .nrrd or .seg.nrrd")
    with open(path, "rb") as file:
        raw = file.read(_MAX_HEADER)
    stop = re.search(rb"\r?\n\r?\n", raw)
    text = raw[: stop.start()] if stop else raw
    if stop is None and len(raw) == _MAX_HEADER:
        raise ReadingError(f"{name} has a header of more than 1 MiB: save it again")
    header = _Header(end=stop.end() if stop else len(raw))
    for line in text.decode("utf-8", errors="replace").splitlines()[1:]:
        key, mark, value = line.partition(":=") if ":=" in line else line.partition(": ")
        if line.startswith("#") or not mark:
            continue
        if mark == ":=":
            header.keys[key] = value
        else:
            header.fields[key.strip().lower().replace(" ", "")] = value.strip()
    return header


def _values(path: Path, name: str, header: _Header) -> tuple[np.ndarray, np.ndarray | None]:
    """Numbers (layers, z, y, x), and (column, row, slice) -> LPS."""
    fields = header.fields
    try:
        sizes = [int(one) for one in fields["sizes"].split()]
        dtype = np.dtype(_TYPE_NAMES[fields["type"].lower()])
        encoding = fields["encoding"].lower()
    except (KeyError, ValueError):
        raise ReadingError(
            f"{name} needs NRRD's type, sizes and encoding, of numbers up to 32 bit: save it again"
        ) from None
    kinds = fields.get("kinds", "").lower().split()
    layered = len(sizes) > 3 or (len(sizes) == len(kinds) and kinds[0] in ("list", "vector"))
    bad = not 2 <= len(sizes) <= 4 or not all(1 <= size <= MAX_SIDE for size in sizes)
    if bad or (layered and len(sizes) == 4 and kinds and kinds[0] not in ("list", "vector")):
        raise ReadingError(
            f"{name} needs 2 or 3 axes, or layers and 3 axes, of 1 to {MAX_SIDE}, got {sizes}: save one volume"
        )
    count = math.prod(sizes)
    if count * dtype.itemsize > MAX_PIXEL_BYTES:
        raise ReadingError(f"{name} needs at most 4 GiB of labels, got sizes {sizes}: crop it")
    if dtype.itemsize > 1:
        order = fields.get("endian", "").lower()
        if order not in ("little", "big") and encoding not in ("ascii", "text", "txt"):
            raise ReadingError(f"{name} needs NRRD's field endian, little or big: save it again")
        dtype = dtype.newbyteorder("<" if order == "little" else ">")
    values = _decoded(_data(path, name, header), encoding, dtype, count, name)
    if not layered:
        sizes = [1, *sizes]
    sizes += [1] * (4 - len(sizes))
    shaped = values.reshape(sizes[::-1]).transpose(
        3, 0, 1, 2
    )  # first axis fastest: (z, y, x, layer) -> (layer, z, y, x)
    return shaped, _affine(fields, layered, name)


def _data(path: Path, name: str, header: _Header) -> bytes:
    detached = header.fields.get("datafile")
    if detached is None:
        with open(path, "rb") as file:
            file.seek(header.end)
            return file.read()
    plain = re.fullmatch(r"[^/\\%:\0]+", detached) and not detached.upper().startswith("LIST")
    target = path.parent / detached
    if not plain or detached in (".", "..") or target.is_symlink():
        raise ReadingError(f"{name} needs its data in one file of the same folder: save it as one .nrrd file")
    if any(header.fields.get(key, "0") != "0" for key in ("lineskip", "byteskip")):
        raise ReadingError(f"{name} skips lines or bytes of its data file: save it as one .nrrd file")
    file_head(target, f"data file of {name}")
    return target.read_bytes()


def _decoded(raw: bytes, encoding: str, dtype: np.dtype, count: int, name: str) -> np.ndarray:
    if encoding not in ("raw", "gzip", "gz", "ascii", "text", "txt"):
        raise ReadingError(f"{name} needs encoding raw, gzip or text: save it again with compression gzip")
    size = count * dtype.itemsize
    try:
        if encoding in ("gzip", "gz"):
            raw = zlib.decompressobj(wbits=31).decompress(raw, size)
        elif encoding != "raw":
            words = np.array(raw.split(maxsplit=count)[:count], dtype=np.float64)
            return words.astype(dtype).reshape(count)
    except (zlib.error, ValueError):
        raise ReadingError(f"{name} has damaged data: save or copy it again") from None
    if len(raw) < size:
        raise ReadingError(f"{name} is truncated: needs {size} bytes of labels, got {len(raw)}: save or copy it again")
    return np.frombuffer(raw, dtype, count)


def _affine(fields: dict[str, str], layered: bool, name: str) -> np.ndarray | None:
    """`None` when the header says neither space nor directions of three axes."""
    signs = _SPACES.get(fields.get("space", "").lower())
    vectors = [found[1] for found in _VECTOR.finditer(fields.get("spacedirections", ""))]
    vectors = vectors[1:] if layered else vectors
    if signs is None or len(vectors) != 3 or None in vectors:
        return None
    try:
        columns = [[float(part) for part in vector.split(",")] for vector in vectors]
        origin = [float(part) for part in fields.get("spaceorigin", "").strip("()").split(",")]
        affine = np.eye(4)
        affine[:3] = np.diag(signs) @ np.column_stack([*columns, origin])
    except ValueError:
        raise ReadingError(f"{name} has space directions or an origin that are no vectors: save it again") from None
    regular = np.isfinite(affine).all() and abs(np.linalg.det(affine)) > 1e-9
    return affine if regular else None


def _segments(keys: dict[str, str], name: str) -> dict[int, tuple[int, int, str, tuple[str, str]]]:
    """Number of the segment -> label value, layer, name, code of its type."""
    found = {}
    for key in keys:
        match = re.fullmatch(r"Segment(\d{1,4})_ID", key)
        if match is None:
            continue
        stem = f"Segment{match[1]}_"
        try:
            label, layer = int(keys.get(stem + "LabelValue", "1")), int(keys.get(stem + "Layer", "0"))
        except ValueError:
            raise ReadingError(f"{name} has a segment whose LabelValue or Layer is no number: save it again") from None
        entry = re.search(r"TerminologyEntry:([^|]*)", keys.get(stem + "Tags", ""))
        parts = entry[1].split("~") if entry else []
        kind = parts[2].split("^") if len(parts) > 2 else []
        code = (kind[0], kind[1]) if len(kind) > 1 else ("", "")
        if layer < 0 or label == 0:
            raise ReadingError(f"{name} has a segment with label {label} in layer {layer}: save it again")
        found[int(match[1])] = (label, layer, keys.get(stem + "Name", ""), code)
    return found
