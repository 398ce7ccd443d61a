"""What a user does with a card, in a process of its own that has an empty cache and a mirror's address.

As a script, `python card_process.py job.json`: runs the card's blocks as they stand, first as one who has transformers
alone, then with the package; then opens what is in the cache without a network. Answers as JSON.
"""

import hashlib
import json
import shlex
import sys
from pathlib import Path
from typing import Any


class Forbidden:
    """Put first in `sys.meta_path`, it makes a process one where the package is not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == "cmr_hf":
            raise ImportError("cmr_hf is forbidden here")


def version_of(config: Any) -> int:
    """A field that the test changes from one version to the next; it plays no part in an answer."""
    return config.jaccard_smoothing


def told(names: dict) -> dict:
    """What a block left behind: where its pipeline's code came from, of which version, and its answer's hash."""
    pipe, found = names["pipe"], names["result"]
    text = json.dumps(found, sort_keys=True, default=lambda value: value.tolist())
    return {
        "code": type(pipe).__module__,
        "version": version_of(pipe.model.config),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def ran(block: str) -> dict:
    names: dict = {"__name__": "card"}
    exec(compile(block, "card", "exec"), names)
    return names


def main(job: dict) -> dict:
    answers: dict = {}
    forbidden = Forbidden()
    sys.meta_path.insert(0, forbidden)
    alone = ran(job["alone"])
    answers["alone"] = told(alone)
    sys.meta_path.remove(forbidden)

    with_package = ran(job["with_package"])
    answers["with_package"] = told(with_package)
    from cmr_hf.cli import main as command

    answers["commands"] = [command(shlex.split(line)[1:]) for line in job["commands"]]
    return answers | opened_later(job, alone["cine"])


def opened_later(job: dict, cine: Any) -> dict:
    """The same by revisions, and without a network; what the cache has not is an error that says so."""
    from huggingface_hub import constants
    from transformers import AutoConfig, AutoModel, pipeline

    def asked(**options: Any) -> dict:
        pipe = pipeline(job["task"], model=job["repo"], **options)
        return told({"pipe": pipe, "result": pipe(cine, spacing_mm=(1.4, 1.4))})

    found = {"branch": asked(revision="v2"), "commit": asked(revision=job["commit"])}
    constants.HF_HUB_OFFLINE = True
    found["offline"] = asked()
    found["offline_commit"] = asked(revision=job["commit"])
    found["from_pretrained"] = version_of(AutoModel.from_pretrained(job["repo"], revision="v2").config)
    try:
        AutoConfig.from_pretrained("ORG/never-seen")
    except OSError as error:
        found["never_seen"] = " ".join(str(error).split())
    return found


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(given["out"]).write_text(json.dumps(main(given)), encoding="utf-8")
