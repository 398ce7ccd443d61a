"""Many studies over processes and machines, restartable, one row a study.

Every process takes its share of the studies (by `RANK` and `WORLD_SIZE`, which `accelerate launch` and `torchrun` set)
and needs nothing of the others. A study that is done is not done again; one that was begun but not ended, because the
process was stopped or fell over it, is done after all others, so that it cannot keep them from being done. Whoever ends
writes the table anew from all rows that are there, so the last one to end writes it whole.
"""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..clinical.writers import whole_file, write_json
from .assessing import assess
from .models import Models
from .privacy import Private
from .results import SCHEMA_VERSION

ROW, TABLE = "row.json", "studies.csv"
BEGUN = "begun and not ended: the process was stopped, or fell over it"


def study_name(folder: str | Path) -> str:
    """The name of a study in the output: a hash of its folder's name, as hospitals name folders after patients."""
    return f"study_{hashlib.sha256(Path(folder).name.encode(errors='replace')).hexdigest()[:12]}"


def studies_below(root: str | Path) -> list[Path]:
    """One study each: the folders and zips directly below a folder, sorted by name.

    Raises:
        FileNotFoundError: no such folder, or nothing in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError("`root` needs an existing folder with one folder or zip for each study")
    found = sorted(
        one for one in root.iterdir() if not one.name.startswith(".") and (one.is_dir() or one.suffix.lower() == ".zip")
    )
    if not found:
        raise FileNotFoundError(
            "`root` needs a folder or zip for each study, got none: to assess one study leave --many"
        )
    return found


def assess_many(
    root: str | Path,
    out: str | Path,
    *,
    keep_identity: bool = False,
    rank: int | None = None,
    world_size: int | None = None,
    told: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> Path:
    """Assesses every study below a folder.

    Args:
        root (`str` or `Path`): folder with one folder or zip for each study.
        out (`str` or `Path`): gets a folder for each study, and the table `studies.csv` (and `.parquet` with pyarrow).
        keep_identity (`bool`): also write the names of the studies' folders.
        rank, world_size (`int`, *optional*): by default `RANK` and `WORLD_SIZE` of the environment, else 0 and 1.
        told: called with a line for each study.
        options: of `assess`.

    Returns:
        The table.

    Raises:
        FileNotFoundError: no studies.
        ValueError: a rank that is not below the number of processes.
    """
    rank = int(os.environ.get("RANK", 0)) if rank is None else rank
    world_size = int(os.environ.get("WORLD_SIZE", 1)) if world_size is None else world_size
    if not 0 <= rank < world_size:
        raise ValueError(f"`rank` needs 0 to {world_size - 1}, got {rank}: see RANK and WORLD_SIZE")
    out = Path(out)
    # the output may lie beside the studies, where another process has made it by now
    studies = [one for one in studies_below(root) if one.resolve() != out.resolve()]
    models = Models(options.pop("models", None), options.get("device"))
    wanted = _fingerprint(models, options)
    number, own = {folder: place for place, folder in enumerate(studies, 1)}, studies[rank::world_size]
    before = {folder: _row(out / study_name(folder) / ROW) or {} for folder in own}
    for folder in sorted(own, key=lambda one: before[one].get("failed") == BEGUN):  # stable: else by name
        name, content = study_name(folder), _content(folder)
        place = f"{number[folder]} of {len(studies)}, {name}"
        row = {"study": name, "fingerprint": wanted, "content": content, "failed": None}
        known = before[folder]
        if not known.get("failed") and all(known.get(key) == row[key] for key in ("fingerprint", "content")):
            told(f"{place}: done before")
            continue
        if keep_identity:
            row["folder"] = folder.name
        write_json(row | {"failed": BEGUN}, out / name / ROW)
        try:
            row |= assess(folder, out=out / name, models=models, keep_identity=keep_identity, **options).row()
        except Exception as error:  # one study must not stop the rest
            row["failed"] = Private(folder, keep=keep_identity).error(error)
        write_json(row, out / name / ROW)
        told(f"{place}: {row['failed'] or 'done'}")
    return _table(out, {study_name(folder) for folder in studies})


def _content(folder: Path) -> str:
    """Hash of the names and sizes of a study's files: a study to which files were added is assessed anew."""
    files = sorted(one for one in folder.rglob("*") if one.is_file()) if folder.is_dir() else [folder]
    listed = []
    for one in files:
        try:
            listed.append((one.relative_to(folder).as_posix(), one.stat().st_size))
        except OSError:  # gone since it was listed: the reader will say so
            continue
    return hashlib.sha256(repr(listed).encode(errors="replace")).hexdigest()[:16]


def _fingerprint(models: Models, options: Mapping[str, Any]) -> str:
    """Of all that a row depends on beside the study."""
    kept = {name: str(value) for name, value in options.items() if name not in ("progress", "batch_size")}
    made = {"schema": SCHEMA_VERSION, "models": {name: models.digest(name) for name in models.names()}, **kept}
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]


def _row(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _table(out: Path, names: set[str]) -> Path:
    """Writes the table of all rows that are there, again if one came while it was written: whoever is last has all."""
    path, written = out / TABLE, None
    while written != (rows := _rows(out, names)):
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(rows)
        _parquet(rows, columns, path.with_suffix(".parquet"))
        written = rows
    return path


def _rows(out: Path, names: set[str]) -> list[dict[str, Any]]:
    return [row for name in sorted(names) if (row := _row(out / name / ROW))]


def _parquet(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], path: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return  # the CSV says the same
    values = {}
    for name in columns:
        column = [row.get(name) for row in rows]
        numbers = all(one is None or isinstance(one, (int, float)) for one in column)
        values[name] = pyarrow.array(column, pyarrow.float64() if numbers else pyarrow.string())
    with whole_file(path) as part:
        parquet.write_table(pyarrow.table(values), part)
