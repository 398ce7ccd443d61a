"""Which files a DICOMDIR names (DICOM PS3.3 F.3, PS3.10 8): only these belong to the medium."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .checking_cmr import ReadingError, quiet
from .dicom_tags_cmr import items, parse

_MAX_BYTES = 64 * 1024**2
_SHOWN = re.compile(r"[\w.\- ]{1,64}")


def find_dicomdir(folder: Path) -> Path | None:
    """The DICOMDIR that lies directly in `folder`, in any spelling; None without one."""
    _, _, names = next(os.walk(folder), ("", [], []))
    return min((folder / name for name in names if name.upper() == "DICOMDIR"), default=None)


def referenced_files(dicomdir: Path, name: str) -> tuple[list[tuple[Path, str]], list[dict]]:
    """Files of the records of a DICOMDIR.

    Args:
        dicomdir: the file.
        name: what errors call it.

    Returns:
        Each file that exists with its name relative to the DICOMDIR's folder, in the order of the records; and
        {"file", "reason"} of every reference that is missing or leaves the folder, links included.

    Raises:
        ReadingError: the file is damaged, or names no file.
    """
    if dicomdir.stat().st_size > _MAX_BYTES:
        raise ReadingError(f"{name} needs at most 64 MiB: pass the folder of one stack")
    dataset = parse(dicomdir, name, header_only=True)
    root = dicomdir.parent.resolve()
    found: dict[Path, str] = {}
    left_out = []
    listings: dict[Path, dict[str, str]] = {}
    with quiet():
        references = [parts for record in items(dataset, "DirectoryRecordSequence") if (parts := _file_id(record))]
    for parts in dict.fromkeys(references):
        label = "/".join(parts) if all(_SHOWN.fullmatch(part) for part in parts) else "a damaged name"
        plain = not any(part in ("", ".", "..") or set(part) & set("/\\:\0") for part in parts)
        path = _below(root, parts, listings) if plain else None
        if not plain:
            left_out.append({"file": label, "reason": "named by the DICOMDIR, but leaves its folder: refused"})
        elif path is None:
            left_out.append({"file": label, "reason": "named by the DICOMDIR, but missing: copy the whole medium"})
        elif not path.resolve().is_relative_to(root):
            left_out.append({"file": label, "reason": "named by the DICOMDIR, but a link out of its folder: refused"})
        else:
            found.setdefault(path, path.relative_to(root).as_posix())
    if not found:
        reasons = "; ".join(f"{item['file']} {item['reason']}" for item in left_out[:5]) or "it has no file records"
        raise ReadingError(f"{name} needs to name at least one file, got none ({reasons}): pass the images' folder")
    return list(found.items()), left_out


def _file_id(record: object) -> tuple[str, ...]:
    """Parts of ReferencedFileID; empty for records without a file, such as patients."""
    try:
        value = record.get("ReferencedFileID")
        return () if not value else (value,) if isinstance(value, str) else tuple(str(part) for part in value)
    except Exception:  # pydicom converts lazily, so any damaged value may raise here
        return ()


def _below(root: Path, parts: tuple[str, ...], listings: dict[Path, dict[str, str]]) -> Path | None:
    """The file `parts` below `root`; media are often copied with names in other capitals."""
    path = root
    for part in parts:
        if path not in listings:
            _, folders, names = next(os.walk(path), ("", [], []))
            listings[path] = {name.upper(): name for name in sorted(folders + names, reverse=True)}
            listings[path] |= {name: name for name in folders + names}
        if (entry := listings[path].get(part, listings[path].get(part.upper()))) is None:
            return None
        path = path / entry
    return path if path.is_file() else None
