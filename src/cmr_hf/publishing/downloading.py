"""A model from the Hub, or a mirror of it, into the cache or a folder: whole, and at one commit."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from huggingface_hub import constants, get_cached_repo_tree, snapshot_download
from huggingface_hub.errors import CachedRepoTreeNotFoundError
from huggingface_hub.utils import validate_repo_id

from .. import __version__
from .guard import PICKLES
from .hub_errors import clear_errors

LEFT_OUT = tuple(f"*{suffix}" for suffix in PICKLES)
STAGING = ".cmr_hf_download_"


@dataclass(frozen=True)
class Downloaded:
    """What came.

    Attributes:
        folder (`Path`): holds the files; `pipeline(task, model=folder)` opens it.
        commit (`str`): 40 hex digits.
        files (`dict`): name -> size in bytes.
        left_out (`list` of `str`): files that may run code when they are loaded; they are never fetched.
    """

    folder: Path
    commit: str
    files: dict[str, int]
    left_out: list[str]


def download(
    repo: str,
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    out: str | Path | None = None,
    cache_dir: str | Path | None = None,
    token: str | None = None,
) -> Downloaded:
    """Fetches a model at one commit; what is in the cache is not fetched again.

    Afterwards `pipeline(task, model=repo)` opens it without a network (`HF_HUB_OFFLINE=1`). In offline mode this says
    what the cache has. A download that broke off leaves whole files in the cache and goes on from these.

    Args:
        repo (`str`): ORG/NAME.
        revision (`str`, *optional*): branch, tag or commit, by default main.
        endpoint (`str`, *optional*): a mirror's address, by default that of HF_ENDPOINT.
        out (`str` or path, *optional*): also copy the files into this folder, which must be absent or empty; it
            appears when all of it is there.
        cache_dir (`str` or path, *optional*): by default the usual cache (HF_HOME).
        token (`str`, *optional*): by default the one that is logged in.

    Raises:
        ValueError: `repo` is no ORG/NAME; `out` holds something.
        HubError: no such model or revision, offline, or the connection broke.
    """
    validate_repo_id(repo)
    out = None if out is None else Path(out)
    if out is not None and (out.is_file() or (out.is_dir() and any(out.iterdir()))):
        raise ValueError(f"`out` must be absent or an empty folder, got {out}: choose another name")
    address = (endpoint or constants.ENDPOINT).rstrip("/")
    if not re.fullmatch(r"https?://\S+", address):
        raise ValueError(f"`endpoint` needs an address such as https://huggingface.co, got {address!r}")
    with clear_errors(f"downloading {repo}", repo, address, "run the same command again: whole files are kept"):
        snapshot = snapshot_download(
            repo,
            revision=revision,
            endpoint=address,
            cache_dir=cache_dir,
            token=token,
            ignore_patterns=list(LEFT_OUT),
            library_name="cmr_hf",
            library_version=__version__,
        )
    found = Path(snapshot)
    files = {path.relative_to(found).as_posix(): path.stat().st_size for path in found.rglob("*") if path.is_file()}
    folder = found if out is None else _copied(found, out)
    return Downloaded(folder, found.name, dict(sorted(files.items())), _left_out(repo, found.name, cache_dir))


def _copied(snapshot: Path, out: Path) -> Path:
    """The files themselves, not links into the cache, all at once."""
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.parent / f"{STAGING}{uuid4().hex[:8]}"
    try:
        shutil.copytree(snapshot, staging, symlinks=False)
        if out.is_dir():
            out.rmdir()
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return out


def _left_out(repo: str, commit: str, cache_dir: str | Path | None) -> list[str]:
    try:
        tree = get_cached_repo_tree(repo, revision=commit, cache_dir=cache_dir)
    except CachedRepoTreeNotFoundError:  # downloaded by an older client, and offline now
        return []
    return sorted(entry.path for entry in tree if entry.path.lower().endswith(PICKLES))
