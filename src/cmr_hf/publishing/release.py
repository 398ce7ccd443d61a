"""From a trained model to the Hub: written as an export with its card, looked at, pushed, opened again.

prepared = prepare("runs/segment/best", "ORG/my-model", "my-model")           # no network
published = publish("runs/segment/best", "ORG/my-model")                      # a repository
publish_family({"cmr-cine-sax": cmr_hf.embedded("cine-sax")}, "ORG", words)    # several, as a collection
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.utils import validate_repo_id

from ..hub import modeling_cmr
from . import shape
from .card import is_generated
from .checking import check_pushed
from .export import HEADS, LEGAL, export
from .full_card import full_card
from .guard import check_folder
from .hub_errors import clear_errors
from .pushing import Changes, client, push
from .weight_files import stored_dtype
from .words import Words

COLLECTION = "cmr_hf: cardiac MR"
ABOUT_COLLECTION = "Models of cmr_hf for cardiac MR: segmentation, views, landmarks, disease. Research use only."
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """An export that may be published.

    Attributes:
        repo (`str`): ORG/NAME that its card speaks of.
        folder (`Path`): where it lies.
        task (`str`): its pipeline.
        files (`dict`): name -> size in bytes.
    """

    repo: str
    folder: Path
    task: str
    files: dict[str, int]


@dataclass(frozen=True)
class Published:
    """A model on the Hub: repository, page, branch, commit, files with their sizes in bytes, what the push changed."""

    repo: str
    url: str
    revision: str
    commit: str
    files: dict[str, int]
    changes: Changes


def prepare(
    model: str | Path,
    repo: str,
    folder: str | Path,
    *,
    words: Words | None = None,
    dtype: torch.dtype | None = None,
    max_shard_size: int | str = "5GB",
) -> Prepared:
    """Writes all that would be published into a folder; no network.

    The card is rendered from `words`, from `results.json` or `training.json` beside the model, and from the export
    itself. Without `words`, a README.md that lies beside the model is kept as it is.

    Args:
        model (`str` or path): folder of a trained model: configuration, safetensors, processor, licence; or of a
            classifier of shapes: `classifier.json`, licence.
        repo (`str`): ORG/NAME, for the examples of the card.
        folder (`str` or path): absent, empty or an earlier export.
        words (`Words`, *optional*): from `read_words`.
        dtype (`torch.dtype`, *optional*): how weights are stored, by default as they are.
        max_shard_size (`int` or `str`, defaults to "5GB"): of one file of weights, in bytes.

    Raises:
        ValueError: `model` is no model of this package, has no licence, or something in it must not be published;
            `folder` holds something else.
    """
    validate_repo_id(repo)
    source = Path(model)
    if shape.is_shape(source):
        if dtype is not None:
            raise ValueError(f"`dtype` is for weights, {source.name} has none: leave it out")
        folder, task = shape.export_shape(source, Path(folder)), shape.TASK
    else:
        dtype = dtype or stored_dtype(source)
        folder = export(_opened(source), folder, dtype=dtype, max_shard_size=max_shard_size)
        task = _json(folder / "config.json")["task"]
    if not any(file for pattern in LEGAL for file in folder.glob(pattern)):
        raise ValueError(f"{source.name} needs a licence to be published: put a LICENSE file beside its weights")
    readme = folder / "README.md"
    if words is not None or not readme.is_file() or is_generated(readme):
        results, training = _json(folder / "results.json"), _json(source / "training.json")
        readme.write_text(full_card(folder, repo, task, words, results, training), encoding="utf-8")
    check_card(readme)
    check_folder(folder)
    return Prepared(repo, folder, task, {file.name: file.stat().st_size for file in sorted(folder.iterdir())})


def publish(
    model: str | Path,
    repo: str,
    *,
    folder: str | Path | None = None,
    words: Words | None = None,
    dtype: torch.dtype | None = None,
    max_shard_size: int | str = "5GB",
    private: bool = False,
    revision: str | None = None,
    overwrite: bool = False,
    check: bool = True,
    endpoint: str | None = None,
    token: str | None = None,
    tell: Tell = lambda line: None,
) -> Published:
    """Puts a model on the Hub: exports, pushes one commit, downloads it again and compares files and a prediction.

    Args:
        model, words, dtype, max_shard_size: of `prepare`.
        repo (`str`): ORG/NAME, made if absent.
        folder (`str` or path, *optional*): keep the export there; by default a temporary one.
        private, revision, overwrite: of `push`.
        check (`bool`, defaults to `True`): open what was pushed, in a process without this package.
        endpoint (`str`, *optional*): another Hub, by default that of HF_ENDPOINT.
        token (`str`, *optional*): by default the one that is logged in.
        tell: is given a line for each step.

    Raises:
        ValueError: as `prepare`; `OtherContentsError`, as `push`.
        HubError: as `push`.
        NotAsPushedError: the Hub gives something else than was sent.
    """
    with _place(folder, repo) as place:
        prepared = prepare(model, repo, place, words=words, dtype=dtype, max_shard_size=max_shard_size)
        return _sent(prepared, client(endpoint, token), private, revision, overwrite, check, tell)


def publish_family(
    models: Mapping[str, str | Path],
    org: str,
    words: Mapping[str, Words] | None = None,
    *,
    folder: str | Path | None = None,
    private: bool = False,
    revision: str | None = None,
    overwrite: bool = False,
    check: bool = True,
    endpoint: str | None = None,
    token: str | None = None,
    tell: Tell = lambda line: None,
) -> tuple[list[Published], str]:
    """Publishes several models and puts them into one collection; all are prepared before the first is pushed.

    A second run sends only what is missing.

    Args:
        models (mapping): name of the repository -> folder of the model.
        org (`str`): whose repositories and collection they are.
        words (mapping, *optional*): name of the repository -> words of its card.
        folder (`str` or path, *optional*): keep the exports in there, each in a folder of its name.
        private, revision, overwrite, check, endpoint, token, tell: of `publish`.

    Returns:
        The models, and the collection's address.
    """
    if not models:
        raise ValueError("`models` needs at least one model, got none")
    api = client(endpoint, token)
    with tempfile.TemporaryDirectory(prefix="cmr_hf_publish_") as temporary:
        place = Path(folder or temporary)
        ready = [
            prepare(model, f"{org}/{name}", place / name, words=(words or {}).get(name))
            for name, model in models.items()
        ]
        done = [_sent(one, api, private, revision, overwrite, check, tell) for one in ready]
    tell(f"collecting {len(done)} models of {org}")
    return done, _collect(api, org, [one.repo for one in done], private)


def check_card(readme: Path) -> None:
    """Finds what the Hub would not take in a card's header, without asking it.

    Raises:
        ValueError: no header, no YAML, a broken `model-index`, or no licence.
    """
    text = readme.read_text(encoding="utf-8")
    if not text.startswith("---\n"):
        raise ValueError(f"{readme.name} needs a header between two lines of ---: see the Hub's model cards")
    try:
        data = ModelCard(text).data
    except Exception as error:  # YAML raises many types
        raise ValueError(f"{readme.name} needs a header that is YAML: {' '.join(str(error).split())}") from error
    if not data.get("license"):
        raise ValueError(f"{readme.name} needs `license:` in its header: add the one of the weights")


@contextmanager
def _place(folder: str | Path | None, repo: str) -> Iterator[Path]:
    if folder is not None:
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="cmr_hf_publish_") as temporary:
        yield Path(temporary) / repo.split("/")[-1]


def _sent(
    prepared: Prepared, api: HfApi, private: bool, revision: str | None, overwrite: bool, check: bool, tell: Tell
) -> Published:
    size = sum(prepared.files.values()) / 1e6
    tell(f"pushing {len(prepared.files)} files, {size:.1f} MB, to {prepared.repo}")
    pushed = push(prepared.folder, prepared.repo, private=private, revision=revision, overwrite=overwrite, api=api)
    tell("\n".join(pushed.changes.lines()) if pushed.changes else "all of it is there already")
    if check:
        tell(f"opening {prepared.repo} at {pushed.commit[:8]} from an empty cache")
        check_pushed(prepared.folder, prepared.repo, pushed.commit, prepared.task, api.endpoint, api.token)
    return Published(prepared.repo, pushed.url, pushed.revision, pushed.commit, dict(prepared.files), pushed.changes)


def _collect(api: HfApi, org: str, repos: list[str], private: bool) -> str:
    with clear_errors(f"collecting the models of {org}", f"{org}/…", api.endpoint):
        found = api.create_collection(
            COLLECTION, namespace=org, description=ABOUT_COLLECTION, private=private, exists_ok=True
        )
        for repo in repos:
            api.add_collection_item(found.slug, item_id=repo, item_type="model", exists_ok=True)
    return found.url


def _opened(source: Path) -> torch.nn.Module:
    """The model in a folder, in float32; `export` finds the processor beside it."""
    config = _json(source / "config.json")
    kinds = [name for name in (config or {}).get("architectures") or [] if name in HEADS]
    if not kinds or config.get("model_type") != "cmr":
        raise ValueError(
            f"`model` needs the folder of a trained model of this package, got {source}: one with the config.json of "
            f"a {', '.join(HEADS)}"
        )
    return getattr(modeling_cmr, kinds[0]).from_pretrained(source, dtype=torch.float32, use_safetensors=True).eval()


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} needs JSON, got {error}: write it again") from error
    return found if isinstance(found, dict) else None
