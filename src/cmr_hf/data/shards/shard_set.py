"""A folder of shards: what is in it, and any image by its number.

shards = ShardSet("shards")
shards[17]["image"], shards[17]["view"]
shards.column("disease")
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .journal import FORMAT
from .png import decode_into
from .records import NAMES, SIDE

KEPT_GROUPS = 4  # decoded lazily, about 7 MB each


class ShardError(ValueError):
    """A shard that cannot be read: the text names the file, what is wrong and the remedy."""


def load_manifest(folder: str | Path) -> dict[str, Any]:
    """`manifest.json` of a folder of shards, each shard's size compared with what was written.

    Raises:
        ShardError: there is none, none that this version reads, no image in it, or a shard is missing or cut.
    """
    path = Path(folder) / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ShardError(
            f"{path} is missing or damaged ({type(error).__name__}): run training/prepare.py to its end"
        ) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ShardError(f"{path} needs format {FORMAT}: prepare the shards with this version of cmr_hf")
    if not manifest["images"]:
        raise ShardError(f"{path} has no image: look into report.csv of the folder {Path(folder).name}_local")
    for shard in manifest["shards"]:
        file = Path(folder) / "shards" / shard["file"]
        size = os.path.getsize(file) if file.is_file() else 0
        if size != shard["bytes"]:
            raise ShardError(f"{file} needs {shard['bytes']} bytes, got {size}: copy it again, or prepare it anew")
    return manifest


def open_shard(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def read_group(file: pq.ParquetFile, path: Path, group: int, columns: list[str]) -> pa.Table:
    """One row group; a ShardError that names the file where it is damaged."""
    try:
        return file.read_row_group(group, columns=columns, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def pictures(table: pa.Table) -> pa.Array:
    """The PNG files of a row group's `image` column."""
    column = table.column("image").combine_chunks()
    return column.field("bytes") if isinstance(column, pa.StructArray) else column.chunk(0).field("bytes")


def decoded(data: Any, canvas: np.ndarray, path: Path) -> tuple[int, int]:
    """Decodes one picture of a shard, see `decode_into`; a ShardError names the shard."""
    try:
        return decode_into(data, canvas)
    except ValueError as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> ShardError:
    return ShardError(f"{path} is damaged or truncated ({error}): copy it again, or prepare it anew")


class ShardSet:
    """Images by number, in the order of the shards' names, with what is known of them.

    Args:
        folder (`str` or `Path`): the `--out` of `training/prepare.py`.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.manifest = load_manifest(folder)
        self.paths = [self.folder / "shards" / shard["file"] for shard in self.manifest["shards"]]
        counts = [shard["images"] for shard in self.manifest["shards"]]
        self._first = np.concatenate([[0], np.cumsum(counts)])
        self._groups: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One image.

        Returns:
            `image` (`np.ndarray` of shape `(224, 224)`, uint8), padded with zeros; `extent`, its height and width
            without the padding; and the fields of `Record`.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"`index` needs to be below {len(self)}, got {index}")
        index %= len(self)
        shard = int(np.searchsorted(self._first, index, side="right")) - 1
        table, row = self._row(shard, index - int(self._first[shard]))
        image = np.zeros((SIDE, SIDE), np.uint8)
        extent = decoded(pictures(table)[row].as_buffer(), image, self.paths[shard])
        known = {name: table.column(name)[row].as_py() for name in NAMES}
        return {"image": image, "extent": extent, **known}

    def column(self, name: str) -> list[Any]:
        """One field of `Record` for all images, read without the pictures."""
        if name not in NAMES:
            raise ValueError(f"`name` needs one of {NAMES}, got {name!r}")
        values: list[Any] = []
        for path in self.paths:
            with open_shard(path) as file:
                for group in range(file.num_row_groups):
                    values += read_group(file, path, group, [name]).column(name).to_pylist()
        return values

    def _row(self, shard: int, row: int) -> tuple[pa.Table, int]:
        with open_shard(self.paths[shard]) as file:
            group = 0
            while row >= (rows := file.metadata.row_group(group).num_rows):
                row, group = row - rows, group + 1
            key = shard, group
            if key not in self._groups:
                self._groups[key] = read_group(file, self.paths[shard], group, ["image", *NAMES])
                if len(self._groups) > KEPT_GROUPS:
                    self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key], row
