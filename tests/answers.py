"""Every pipeline asked about every source: what a test and a process without `cmr_hf` both run.

As a script, `python answers.py job.json`, it forbids `cmr_hf` and needs transformers alone. Sources and answers are
plain JSON: a source is a recipe of `open_source`, an array in an answer its type, shape and hash.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


class Forbidden:
    """Put first in `sys.meta_path`, it makes a process one where the package is not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == "cmr_hf":
            raise ImportError("cmr_hf is forbidden here")


def open_source(recipe: dict) -> Any:
    """What a user would hand to the pipeline."""
    kind = recipe["as"]
    if kind == "path":
        return recipe["path"]
    if kind == "array":
        return np.load(recipe["path"], allow_pickle=False)
    if kind == "picture":
        return Image.open(recipe["path"])
    if kind == "list":
        return [open_source(item) for item in recipe["items"]]
    return {key: open_source(value) if isinstance(value, dict) else value for key, value in recipe["items"].items()}


def plain(answer: Any) -> Any:
    """An answer as JSON would give it back; equal only if it is equal to the bit."""
    if isinstance(answer, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(answer).tobytes()).hexdigest()
        return {"dtype": str(answer.dtype), "shape": list(answer.shape), "sha256": digest}
    if isinstance(answer, dict):
        return {str(key): plain(value) for key, value in answer.items()}
    if isinstance(answer, (list, tuple)):
        return [plain(item) for item in answer]
    if isinstance(answer, np.generic):
        return answer.item()
    return answer


def ask(pipe: Any, source: dict) -> Any:
    """The pipeline's answer about a recipe."""
    return plain(pipe(open_source(source["recipe"]), **source["options"]))


def main(job: dict) -> dict:
    """Answers of every task's exported model, and of the encoder in it, and where the classes came from."""
    from transformers import AutoConfig, pipeline

    answers: dict = {"answers": {}, "features": {}, "modules": []}
    for task, folder in job["models"].items():
        pipe = pipeline(task, model=folder, trust_remote_code=True)
        answers["answers"][task] = {name: ask(pipe, source) for name, source in job["sources"][task].items()}
        extract = pipeline("cmr-feature-extraction", model=folder, trust_remote_code=True)
        answers["features"][task] = ask(extract, job["sources"]["cmr-feature-extraction"]["array"])
        config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
        for part in (pipe, pipe.model, pipe.image_processor, extract, extract.model, config):
            answers["modules"].append(type(part).__module__)
    return answers


if __name__ == "__main__":
    sys.meta_path.insert(0, Forbidden())
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(given["out"]).write_text(json.dumps(main(given)), encoding="utf-8")
