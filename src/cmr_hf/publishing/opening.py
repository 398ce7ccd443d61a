"""One picture, and what a pipeline says about it; also what a process without this package runs to say the same.

As a script, `python opening.py job.json`, it needs transformers alone, forbids `cmr_hf`, and writes its answer as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

SPACING_MM = (1.6, 1.5)  # (row, column)
AS_NEAR = 1e-3  # how far a score, a place in mm or a feature may be from the other one, relative and absolute
AS_MANY = 0.999  # share of labels that must be the same; a pixel on an edge may fall either way
PACKAGE = "cmr_hf"


class Forbidden:
    """Put first in `sys.meta_path`, it makes a process one where the package is not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == PACKAGE:
            raise ImportError(f"{PACKAGE} is forbidden here")


def probe() -> np.ndarray:
    """A beating disc in a ring on noise, float32 `(t, z, y, x)` of 3 phases and 4 slices: every task takes it."""
    rows, columns = np.mgrid[:96, :88]
    noise = np.random.default_rng(0).normal(scale=6, size=(3, 4, 96, 88))
    distance = np.hypot(rows - 50.0, columns - 40.0)
    heart = np.empty((3, 4, 96, 88))
    for phase, squeeze in enumerate((1.0, 0.85, 0.7)):
        for place, width in enumerate((9.0, 13.0, 16.0, 18.0)):
            cavity = width * squeeze
            heart[phase, place] = 60 + 90 * (distance < width + 7) + 310 * (distance < cavity)
    return np.clip(heart + noise, 0, None).astype(np.float32)


def answer_of(pipe: Any) -> Any:
    """The pipeline's answer about `probe()` in JSON's own types; where it has millimetres they are of the array."""
    return _plain(pipe(probe(), spacing_mm=SPACING_MM))


def differences(mine: Any, theirs: Any, where: str = "answer") -> list[str]:
    """Where two answers are not the same, in words; an empty list if they agree."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        if set(mine) != set(theirs):
            return [f"{where} has {sorted(theirs)}, not {sorted(mine)}"]
        return [found for key in mine for found in differences(mine[key], theirs[key], f"{where}[{key}]")]
    numbers = [_numbers(side) for side in (mine, theirs)]
    if numbers[0] is not None and numbers[1] is not None:
        return _different_numbers(*numbers, where)
    if isinstance(mine, list) and isinstance(theirs, list):
        if len(mine) != len(theirs):
            return [f"{where} has {len(theirs)} entries, not {len(mine)}"]
        pairs = enumerate(zip(mine, theirs, strict=True))
        return [found for place, pair in pairs for found in differences(*pair, f"{where}[{place}]")]
    return [] if mine == theirs else [f"{where} is {theirs!r}, not {mine!r}"]


def _different_numbers(mine: np.ndarray, theirs: np.ndarray, where: str) -> list[str]:
    if mine.shape != theirs.shape:
        return [f"{where} has shape {theirs.shape}, not {mine.shape}"]
    if mine.dtype.kind in "iub" and theirs.dtype.kind in "iub":
        same = float((mine == theirs).mean()) if mine.size else 1.0
        return [] if same >= AS_MANY else [f"{where}: {100 * (1 - same):.1f} % of the labels differ"]
    if np.allclose(mine, theirs, rtol=AS_NEAR, atol=AS_NEAR, equal_nan=True):
        return []
    return [f"{where} differs by up to {np.nanmax(np.abs(mine - theirs)):.3g}"]


def _numbers(value: Any) -> np.ndarray | None:
    """A number or a full grid of numbers as an array; None for all else."""
    try:
        array = np.asarray(value)
    except ValueError:  # a list of lists of several lengths
        return None
    return array if array.dtype.kind in "iufb" else None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value.tolist() if hasattr(value, "tolist") else value


def main(job: dict) -> dict:
    """Opens a repository at a commit as a user without this package would, and asks about `probe()`.

    Args:
        job (`dict`): `task`, `repo` and `revision`; the cache of this process's HF_HOME must have it.
    """
    from transformers import pipeline

    pipe = pipeline(job["task"], model=job["repo"], revision=job["revision"], trust_remote_code=True, device="cpu")
    return {"answer": answer_of(pipe), "code": type(pipe).__module__}


if __name__ == "__main__":
    sys.meta_path.insert(0, Forbidden())
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(given["out"]).write_text(json.dumps(main(given)), encoding="utf-8")
