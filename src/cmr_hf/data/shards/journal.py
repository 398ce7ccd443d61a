"""What is done, written so that a process may be killed between any two instructions.

A unit of work is done when its record stands in the journal, a file that appears whole or not at all. Its shards lie
under hidden names before, get their own after, and whoever comes next finishes a renaming that was cut off. So a unit
is in the shards once or not at all, and a kill costs at most the units that were under way.

Two folders: `OUT` may be given away, and knows no file by name. `OUT_local` stays: journal, and the report that names
files so that their owner can look after them.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .records import SIDE, SPACING_MM

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

FORMAT = 1
_STALE_S = 24 * 3600.0  # a hidden file that nobody has written to for so long belongs to a dead process


def synced(path: Path) -> int:
    """Waits until a file is on the disk; its size in bytes."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def write_whole(path: Path, text: str) -> None:
    """Writes a file that is there as a whole or not at all, whatever is killed meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".writing-{os.getpid()}-{os.urandom(6).hex()}")
    with open(part, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Journal:
    """Records of finished units, one JSON file each.

    Args:
        out (`Path`): the folder of the shards.
        local (`str` or `Path`, *optional*): by default `OUT_local`.
    """

    def __init__(self, out: Path, local: str | Path | None = None):
        self.out = out
        self.local = Path(local) if local else out.with_name(f"{out.name}_local")
        self.folder = self.local / "journal"
        if not self.folder.is_dir() and any((out / "shards").glob("*.parquet")):
            raise ValueError(
                f"`out` {out} holds shards whose journal {self.folder} is missing, so nobody knows what is in them: "
                "bring it back, or choose an empty folder"
            )
        self.folder.mkdir(parents=True, exist_ok=True)

    def has(self, unit: str) -> bool:
        return self._path(unit).is_file()

    def names(self) -> list[str]:
        """File names of all records, sorted."""
        return sorted(entry.name for entry in os.scandir(self.folder) if entry.name.endswith(".json"))

    def records(self) -> Iterator[dict[str, Any]]:
        for name in self.names():
            yield json.loads((self.folder / name).read_text(encoding="utf-8"))

    def done(self) -> set[int]:
        """Keys of everything that was read, packed or left out with a reason."""
        return {key for record in self.records() for key in record["items"]}

    def commit(self, record: dict[str, Any]) -> None:
        """Makes a unit done, then shows its shards.

        Args:
            record: `unit`, `items` (keys of what was read), `shards` (see `ShardWriter.pending`) and `left_out`
                ("file" and "reason" each).

        Raises:
            ValueError: a shard is not where its writer left it.
        """
        for shard in record["shards"]:
            places = [self.out / "shards" / f"{hidden}{shard['file']}" for hidden in (".pending-", "")]
            if not any(place.is_file() for place in places):
                raise ValueError(f"{places[0]} was removed before it was needed: leave hidden files alone, start again")
        write_whole(self._path(record["unit"]), json.dumps(record))
        self.show(record)

    def show(self, record: dict[str, Any]) -> None:
        """Gives the shards of a record their names, where that has not happened."""
        folder = self.out / "shards"
        for shard in record["shards"]:
            hidden = folder / f".pending-{shard['file']}"
            if not (folder / shard["file"]).is_file() and hidden.is_file():
                os.replace(hidden, folder / shard["file"])
        if record["shards"]:
            _sync_folder(folder)

    @contextlib.contextmanager
    def locked(self, share: str) -> Iterator[None]:
        """Keeps two processes from the same share of the work; a killed one lets go.

        Args:
            share (`str`): name of the source, and which part of it.

        Raises:
            ValueError: another process has it.
        """
        with open(self.local / f"{share}.lock", "w") as file:
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    raise ValueError(f"another process is packing {share} into {self.out}: wait for its end") from None
            yield

    def _path(self, unit: str) -> Path:
        return self.folder / f"{hashlib.sha256(unit.encode()).hexdigest()[:24]}.json"


def publish(out: Path, journal: Journal) -> dict[str, Any]:
    """Writes `manifest.json` from the journal, and the report of what was left out.

    Any number of processes may do so at the end of their work: the last one sees all records.

    Returns:
        The manifest.

    Raises:
        ValueError: a shard of the journal is gone.
    """
    while True:
        seen = journal.names()
        records = list(journal.records())
        for record in records:
            journal.show(record)
        manifest = _manifest(out, records)
        write_whole(out / "manifest.json", json.dumps(manifest, indent=1) + "\n")
        _write_report(journal.local / "report.csv", records)
        if journal.names() == seen:
            break
    for place in (out / "shards", journal.folder):
        for path in place.glob(".*"):
            _remove_stale(path)
    return manifest


def _remove_stale(path: Path) -> None:
    try:
        if time.time() - path.stat().st_mtime > _STALE_S:
            path.unlink()
    except FileNotFoundError:  # another process was faster
        pass


def _manifest(out: Path, records: list[dict[str, Any]]) -> dict[str, Any]:
    shards = {shard["file"]: shard for record in records for shard in record["shards"]}
    gone = sorted(name for name in shards if not (out / "shards" / name).is_file())
    if gone:
        raise ValueError(f"{out / 'shards'} has lost {len(gone)} shards, {gone[0]} say: bring them back or start anew")
    counts = {
        name: sum((Counter(shard[name]) for shard in shards.values()), Counter())
        for name in ("sources", "series_kinds")
    }
    return {
        "format": FORMAT,
        "side": SIDE,
        "spacing_mm": SPACING_MM,
        "images": sum(shard["images"] for shard in shards.values()),
        "bytes": sum(shard["bytes"] for shard in shards.values()),
        "left_out": sum(len(record["left_out"]) for record in records),
        **{name: dict(sorted(count.items())) for name, count in counts.items()},
        "shards": [shards[name] for name in sorted(shards)],
    }


def _write_report(path: Path, records: list[dict[str, Any]]) -> None:
    rows = sorted({(entry["file"], entry["reason"]) for record in records for entry in record["left_out"]})
    part = path.with_name(f".writing-{os.getpid()}-{os.urandom(6).hex()}")
    with open(part, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "reason"])
        table.writerows(rows)
    os.replace(part, path)
