"""Answers of models kept in files, so that a run that was stopped goes on where it was.

A file is named by hashes of the stack's content, the model and this format, holds arrays only and is read without
pickle. Nothing of a header is in it.
"""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..clinical.writers import whole_file
from .inference import Classes, Masks, Points

FORMAT = 1


class Cache:
    """A folder of answers; without a folder it forgets everything.

    Args:
        folder (`Path`, *optional*): made when the first answer is kept.
    """

    def __init__(self, folder: Path | None = None):
        self.folder = folder

    def path(self, role: str, content: str, model: str) -> Path | None:
        """The file of an answer.

        Args:
            role (`str`): of the model.
            content (`str`): hash of what was asked.
            model (`str`): hash of the model.
        """
        if self.folder is None:
            return None
        key = hashlib.sha256(f"{FORMAT} {role} {content} {model}".encode()).hexdigest()[:32]
        return self.folder / f"{role}_{key}.npz"

    def get(self, role: str, content: str, model: str) -> Any:
        """`Classes`, `Masks` or `Points`; `None` where there is none, or the file is damaged."""
        path = self.path(role, content, model)
        if path is None or not path.is_file():
            return None
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                return _unpacked(stored)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, json.JSONDecodeError):
            return None  # cut off while it was written, or of another release: asked again

    def put(self, role: str, content: str, model: str, answer: Any) -> None:
        """Keeps an answer; the file is there as a whole or not at all."""
        path = self.path(role, content, model)
        if path is None:
            return
        with whole_file(path) as part, part.open("wb") as stream:
            np.savez_compressed(stream, **_packed(answer))


def _packed(answer: Any) -> dict[str, np.ndarray]:
    if isinstance(answer, Masks):
        box = _box(answer.labels, answer.chances)
        about = {"kind": "masks", "single": list(answer.single), "box": box, "ids": list(answer.chances)}
        top, bottom, left, right = box
        cut = {f"chance_{label}": maps[:, top:bottom, left:right] for label, maps in answer.chances.items()}
        return {"about": np.array(json.dumps(about)), "labels": answer.labels, **cut}
    if isinstance(answer, Points):
        about = {"kind": "points", "names": list(answer.names)}
        return {"about": np.array(json.dumps(about)), "points": answer.points, "scores": answer.scores}
    about = {"kind": "classes", "scores": answer.scores, "agreement": answer.agreement}
    return {"about": np.array(json.dumps(about))}


def _unpacked(stored: Any) -> Any:
    about = json.loads(str(stored["about"]))
    if about["kind"] == "masks":
        labels = stored["labels"]
        top, bottom, left, right = about["box"]
        chances = {}
        for label in about["ids"]:
            chances[label] = np.zeros(labels.shape, dtype=np.uint8)
            chances[label][:, top:bottom, left:right] = stored[f"chance_{label}"]
        return Masks(labels, chances, tuple(about["single"]))
    if about["kind"] == "points":
        return Points(stored["points"], stored["scores"], tuple(about["names"]))
    return Classes(about["scores"], about["agreement"])


def _box(labels: np.ndarray, chances: dict[int, np.ndarray]) -> list[int]:
    """First and last row and column (last excluded) outside which all probabilities are 0 when rounded to 1 / 255."""
    seen = (labels > 0).any(axis=0)
    for maps in chances.values():
        seen |= (maps > 0).any(axis=0)
    if not seen.any():
        return [0, 0, 0, 0]
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return [int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1]
