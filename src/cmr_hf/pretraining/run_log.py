"""What was measured, a JSON line each, beside whatever trackers there are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


class RunLog:
    """`log.jsonl` of a run; what a killed run had written past its last checkpoint is dropped when it goes on.

    Args:
        folder (`Path`): of the run.
        start (`int`): steps that are done.
        active (`bool`): false on all processes but the first.
    """

    def __init__(self, folder: Path, start: int, active: bool = True):
        self.file, self.active = folder / "log.jsonl", active
        if not active:
            return
        folder.mkdir(parents=True, exist_ok=True)
        kept = [line for line in self.read() if line["step"] <= start]
        self.file.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def read(self) -> list[dict[str, float]]:
        """All lines so far; a last line that was cut off is left out."""
        if not self.file.is_file():
            return []
        lines = self.file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def write(self, step: int, values: Mapping[str, object]) -> None:
        if self.active:
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step} | dict(values)) + "\n")
