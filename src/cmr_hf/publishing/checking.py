"""Whether what was pushed is what was meant: every byte, and one prediction, from a cache that was empty before."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from transformers import pipeline

from . import opening, shape
from .hub_errors import clear_errors

SECONDS = 900  # a busy machine takes minutes to import torch
OURS = ("HF_", "HUGGING", "TRANSFORMERS_", "PYTHONPATH")


class NotAsPushedError(RuntimeError):
    """The Hub gives something else than what was sent to it."""


def check_pushed(folder: Path, repo: str, commit: str, task: str, endpoint: str | None, token: str | None) -> None:
    """Downloads a commit into an empty cache, compares its files, and opens it as a user without this package would.

    The code that runs then is what the comparison found to be this package's own; the process that runs it has no
    token and no network.

    Args:
        folder (`Path`): the export that was pushed.
        repo, commit (`str`): where it is.
        task (`str`): the pipeline that is asked, or `shape.TASK`.
        endpoint, token: as `HfApi` takes them.

    Raises:
        NotAsPushedError: a file is absent or another, or the prediction is.
        OSError: the Hub cannot be reached, see `hub_errors`.
    """
    with tempfile.TemporaryDirectory(prefix="cmr_hf_check_") as place:
        home = Path(place)
        with clear_errors(f"opening {repo} again", repo, endpoint):
            found = snapshot_download(
                repo, revision=commit, cache_dir=home / "hub", endpoint=endpoint, token=token, max_workers=2
            )
        _compare_files(folder, Path(found), repo, commit)
        if task == shape.TASK:  # numbers alone, no code to keep apart
            mine, theirs = shape.answer_of(folder), shape.answer_of(Path(found))
        else:
            mine = opening.answer_of(pipeline(task, model=str(folder), device="cpu"))
            theirs = _asked_elsewhere(home, {"task": task, "repo": repo, "revision": commit})["answer"]
    if faults := opening.differences(mine, theirs):
        raise NotAsPushedError(
            f"{repo} at {commit[:8]} answers otherwise than the model here: {'; '.join(faults[:5])}. Do not announce "
            "it; publish again with the same transformers as its users have"
        )


def _compare_files(folder: Path, found: Path, repo: str, commit: str) -> None:
    for file in sorted(folder.iterdir()):
        there = found / file.name
        if not there.is_file():
            raise NotAsPushedError(
                f"{repo} at {commit[:8]} lacks {file.name}: a .gitignore in the repository may leave it out; remove "
                "that and publish again"
            )
        if there.read_bytes() != file.read_bytes():
            raise NotAsPushedError(f"{repo} at {commit[:8]} gives another {file.name} than was pushed: publish again")


def _asked_elsewhere(home: Path, job: dict) -> dict:
    """What a process of its own says, with this cache, no network, no token and a closed stdin."""
    out = home / "answer.json"
    (home / "job.json").write_text(json.dumps(job | {"out": str(out)}), encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    settings = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(
        # -P: the names of the files beside the script must not hide other modules
        [sys.executable, "-P", str(Path(opening.__file__)), str(home / "job.json")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=home,
        env=kept | settings | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    shutil.rmtree(home / "modules", ignore_errors=True)
    if done.returncode != 0 or not out.is_file():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise NotAsPushedError(
            f"{job['repo']} at {job['revision'][:8]} does not open without this package: {last}. Do not announce it"
        )
    return json.loads(out.read_text(encoding="utf-8"))
