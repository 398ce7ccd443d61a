"""Writes images into shards: Parquet files of PNG pictures, which `datasets` and the Hub stream as they are.

    with ShardWriter("shards", unit="phantoms-0000") as writer:
        writer.add(image, Record(source="phantoms", image_type="cine", view="SAX"))

Nothing shows before the `with` block has ended without an error; then all of it does, whatever is killed meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .journal import Journal, publish, synced
from .png import encode
from .records import SIDE, Record, shard_features

SHARD_IMAGES = 2048  # about 57 MB
GROUP_IMAGES = 256  # what a reader loads at once, about 7 MB


class ShardWriter:
    """Images of one unit of work, into as many shards as they need.

    Args:
        out (`str` or `Path`): the folder of the shards.
        unit (`str`): name of this unit of work; a unit that `out` already has is not written again but raises.
        shard_images (`int`): most images of one shard.
        local (`str` or `Path`, *optional*): where the journal lies, by default beside `out`.
    """

    def __init__(
        self, out: str | Path, unit: str, *, shard_images: int = SHARD_IMAGES, local: str | Path | None = None
    ):
        self.out, self.unit, self.shard_images = Path(out), unit, shard_images
        self.journal = Journal(self.out, local)
        self.shards: list[dict[str, Any]] = []
        self._schema = shard_features().arrow_schema
        self._rows: list[dict[str, Any]] = []
        self._open: _OpenShard | None = None
        (self.out / "shards").mkdir(parents=True, exist_ok=True)

    def add(self, image: np.ndarray, record: Record) -> None:
        """Adds one image.

        Args:
            image (`np.ndarray` of shape `(y, x)`, uint8): at 1 x 1 mm, at most 224 pixels a side; a smaller one is
                stored as it is and padded with zeros around its centre when it is read.
            record: what is known of it.

        Raises:
            ValueError: another type, shape or size.
        """
        if image.dtype != np.uint8 or image.ndim != 2 or not 1 <= min(image.shape) <= max(image.shape) <= SIDE:
            raise ValueError(
                f"`image` needs uint8 pixels (y, x), 1 to {SIDE} a side, got {image.dtype} {image.shape}: window, "
                "resample and crop it first"
            )
        self._rows.append({"image": {"bytes": encode(image), "path": None}, **record.columns()})
        if self._open is None:
            self._open = _OpenShard(self.out / "shards", self._schema)
        full = self._open.images + len(self._rows) >= self.shard_images
        if full or len(self._rows) >= GROUP_IMAGES:
            self._flush()
        if full:
            self._finish()

    def pending(self) -> list[dict[str, Any]]:
        """Ends writing: the shards lie on the disk, unseen, until `Journal.commit` names them."""
        self._finish()
        return self.shards

    def _flush(self) -> None:
        if self._open is not None and self._rows:
            self._open.write(self._rows)
        self._rows = []

    def _finish(self) -> None:
        self._flush()
        if self._open is not None:
            self.shards.append(self._open.close())
            self._open = None

    def abandon(self) -> None:
        """Removes what was written."""
        self._rows = []
        if self._open is not None:
            self._open.remove()
        for shard in self.shards:
            (self.out / "shards" / f".pending-{shard['file']}").unlink(missing_ok=True)

    def __enter__(self) -> ShardWriter:
        if self.journal.has(self.unit):
            raise ValueError(f"`unit` {self.unit!r} is already in {self.out}: skip it, or name this one otherwise")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if kind is not None:
            self.abandon()
            return
        self.journal.commit({"unit": self.unit, "items": [], "shards": self.pending(), "left_out": []})
        publish(self.out, self.journal)


class _OpenShard:
    """One Parquet file while it is written; its name is the hash of what it holds."""

    def __init__(self, folder: Path, schema: pa.Schema):
        self.folder, self.schema, self.images = folder, schema, 0
        self.path = folder / f".writing-{os.getpid()}-{os.urandom(6).hex()}"
        text = [field.name for field in schema if pa.types.is_string(field.type)]
        self.writer = pq.ParquetWriter(
            self.path,
            schema,
            compression={name: "NONE" if name.startswith("image.") else "ZSTD" for name in _leaves(schema)},
            use_dictionary=text,
            write_statistics=text,
            write_page_checksum=True,
        )
        self.digest = hashlib.sha256()
        self.counts: dict[str, Counter[str]] = {"sources": Counter(), "series_kinds": Counter()}
        self.spacings: list[float] = []
        self.hashes: list[str] = []

    def write(self, rows: list[dict[str, Any]]) -> None:
        self.writer.write_table(pa.Table.from_pylist(rows, schema=self.schema), row_group_size=GROUP_IMAGES)
        self.images += len(rows)
        for row in rows:
            self.digest.update(repr([row[name] for name in self.schema.names if name != "image"]).encode())
            self.digest.update(row["image"]["bytes"])
            self.counts["sources"][row["source"]] += 1
            self.counts["series_kinds"][row["series_kind"] or "unknown"] += 1
            self.spacings += row["spacing_mm"] or []
            self.hashes.append(row["source_hash"])

    def close(self) -> dict[str, Any]:
        """Entry of the manifest; the file waits under the name `.pending-…`."""
        self.writer.close()
        name = f"{self.digest.hexdigest()[:24]}.parquet"
        size = synced(self.path)
        os.replace(self.path, self.folder / f".pending-{name}")
        return {
            "file": name,
            "images": self.images,
            "bytes": size,
            "source_hash": hashlib.sha256(" ".join(self.hashes).encode()).hexdigest(),
            "spacing_mm": [round(min(self.spacings), 4), round(max(self.spacings), 4)] if self.spacings else None,
            **{name: dict(sorted(count.items())) for name, count in self.counts.items()},
        }

    def remove(self) -> None:
        with contextlib.suppress(OSError, pa.ArrowException):
            self.writer.close()
        self.path.unlink(missing_ok=True)


def _leaves(schema: pa.Schema) -> list[str]:
    """Column paths as Parquet names them."""
    names = []
    for field in schema:
        if pa.types.is_struct(field.type):
            names += [f"{field.name}.{child.name}" for child in field.type]
        else:
            names.append(f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name)
    return names
