"""`cmr-hf features`: what the encoder sees, one row per slice and phase, for a user's own downstream work."""

import argparse
import json
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import (
    Failures,
    attempts,
    check_writable,
    exit_code,
    file_names,
    load_pipeline,
    model_name,
    print_left_out,
    print_notice,
    read,
)

if TYPE_CHECKING:
    import numpy as np

TASK = "cmr-feature-extraction"
KINDS = ("image", "cls", "patches")
ROW_GROUP_BYTES = 64 * 2**20  # of features that wait for their place in a Parquet file


def features(args: argparse.Namespace) -> int:
    """`cmr-hf features`: the features of every path in one Parquet or safetensors file."""
    from .. import __version__
    from ..clinical.writers import RESEARCH_USE_ONLY, left_out_counts, whole_file

    check_writable(args.out)
    to_parquet = args.out.suffix.lower() == ".parquet"
    if to_parquet:
        _pyarrow()
    pipe = load_pipeline(TASK, args)
    about = {
        "format": "cmr_hf features 1",
        "notice": RESEARCH_USE_ONLY,
        "kind": args.kind,
        "model": model_name(args, TASK),
        "cmr_hf_version": __version__,
        "phase_index_starts_at": 0,
        "slice_index_starts_at": 0,
    }
    left_out: dict[str, list[dict]] = {}

    def features_of(path: str, name: str) -> tuple[str, "np.ndarray"]:
        image = read(path, args)
        found = pipe(image, kind=args.kind, batch_size=args.batch_size)
        left_out[name] = left_out_counts(image.left_out)
        leading = image.pixels.ndim - 2
        return name, found.reshape((1,) * (2 - leading) + found.shape)  # (t, z, …)

    failed: Failures = []
    kind_of_rows = ParquetRows if to_parquet else SafetensorsRows
    with whole_file(args.out) as part, closing(kind_of_rows(part, about)) as rows:
        for name, found in attempts(args, file_names(args.paths), features_of, failed):
            rows.add(name, found)
        rows.finish()
    if rows.sources:
        for name, counts in left_out.items():
            print_left_out(name, counts)
        size = " × ".join(map(str, rows.shape))
        print(f"{rows.count} rows of {size} numbers ({args.kind}) of {len(rows.sources)} images in {args.out}")
        print_notice()
    return exit_code(failed)


class Rows(ABC):
    """Features of one image after the other, `(t, z, …)` each, on their way into a file.

    Args:
        path: file to write; it is complete after `finish` and `close`, and not there if nothing was added.
        about: facts for the reader, written as JSON under "cmr_hf" in the file's metadata.
    """

    def __init__(self, path: Path, about: dict[str, Any]):
        self.path, self.about = path, about
        self.sources: list[str] = []
        self.shape: tuple[int, ...] = ()  # of one row
        self.count = 0
        self.waiting: list[tuple[int, np.ndarray]] = []  # index of the source, (t, z, …)

    def add(self, source: str, features: "np.ndarray") -> None:
        self.waiting.append((len(self.sources), features))
        self.sources.append(source)
        self.shape = features.shape[2:]
        self.count += features.shape[0] * features.shape[1]

    @abstractmethod
    def finish(self) -> None:
        """Write what waits."""

    def close(self) -> None:
        """Let go of what waits and of the file, also after an error."""
        self.waiting.clear()

    def columns(self) -> dict[str, "np.ndarray"]:
        """What waits as columns: `features` (n, …) float32, `phase`, `slice` and `source` (n,) int32."""
        import numpy as np

        counted = {"phase": [], "slice": [], "source": []}
        for source, features in self.waiting:
            phase, place = np.indices(features.shape[:2], dtype=np.int32)
            for name, values in zip(counted, (phase, place, np.full_like(phase, source)), strict=True):
                counted[name].append(values.ravel())
        flat = [features.reshape(-1, *features.shape[2:]) for _, features in self.waiting]
        self.waiting = []
        return {"features": np.concatenate(flat), **{name: np.concatenate(parts) for name, parts in counted.items()}}


class SafetensorsRows(Rows):
    """Tensors `features`, `phase`, `slice`, and `source`, an index of the names in the metadata."""

    def finish(self) -> None:
        from safetensors.numpy import save_file

        if self.waiting:
            about = json.dumps(self.about | {"sources": self.sources}, ensure_ascii=False)
            save_file(self.columns(), self.path, metadata={"cmr_hf": about})


class ParquetRows(Rows):
    """Columns `source` (name), `phase`, `slice` and `features` (a list of fixed size, nested for the patch map)."""

    writer: Any = None

    def add(self, source: str, features: "np.ndarray") -> None:
        super().add(source, features)
        if sum(array.nbytes for _, array in self.waiting) >= ROW_GROUP_BYTES:
            self.finish()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def finish(self) -> None:
        if not self.waiting:
            return
        pyarrow, parquet = _pyarrow()
        columns = self.columns()
        vectors = pyarrow.array(columns["features"].ravel())
        for length in reversed(self.shape):
            vectors = pyarrow.FixedSizeListArray.from_arrays(vectors, length)
        table = pyarrow.table(
            {
                "source": pyarrow.array([self.sources[index] for index in columns["source"]]),
                "phase": columns["phase"],
                "slice": columns["slice"],
                "features": vectors,
            }
        ).replace_schema_metadata({"cmr_hf": json.dumps(self.about, ensure_ascii=False)})
        self.writer = self.writer or parquet.ParquetWriter(self.path, table.schema)
        self.writer.write_table(table)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "Parquet needs pyarrow: pip install 'cmr_hf[train]', or give --out a name that ends in .safetensors"
        ) from error
    return pyarrow, pyarrow.parquet
