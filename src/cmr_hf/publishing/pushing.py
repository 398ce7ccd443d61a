"""A folder becomes one commit on the Hub: all of it or nothing, and nothing is replaced unasked."""

import fnmatch
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from .. import __version__
from .export import STALE
from .guard import check_folder
from .hub_errors import HubError, clear_errors

MAIN = "main"
NOT_OURS = (".gitattributes", ".gitignore")  # the Hub's own, or the owner's
READERS = ("read", "no_access", None)


class OtherContentsError(ValueError):
    """The repository holds something else; the message lists what would change."""


@dataclass(frozen=True)
class Changes:
    """What a push would do to a repository, as names of files, sorted."""

    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)  # of an earlier export, untrue now
    same: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # no export writes them

    def __bool__(self) -> bool:
        return bool(self.added or self.replaced or self.removed)

    def lines(self) -> list[str]:
        """One line for each kind of change: "replaces README.md, config.json"."""
        kinds = (("adds", self.added), ("replaces", self.replaced), ("removes", self.removed), ("leaves", self.kept))
        return [f"{verb} {', '.join(names)}" for verb, names in kinds if names]


@dataclass(frozen=True)
class Pushed:
    """Where a folder went.

    Attributes:
        repo (`str`), revision (`str`): ORG/NAME and the branch.
        commit (`str`): 40 hex digits.
        url (`str`): page of the repository.
        changes (`Changes`): what the commit did; all `same` where there was nothing to do.
    """

    repo: str
    revision: str
    commit: str
    url: str
    changes: Changes


def client(endpoint: str | None = None, token: str | None = None) -> HfApi:
    """The Hub's client, for the Hub of HF_ENDPOINT or another."""
    return HfApi(endpoint=endpoint, token=token, library_name="cmr_hf", library_version=__version__)


def push(
    folder: Path,
    repo: str,
    *,
    private: bool = False,
    revision: str | None = None,
    overwrite: bool = False,
    api: HfApi | None = None,
) -> Pushed:
    """Uploads a folder's files and commits them together; the repository and the branch are made if absent.

    A push that broke off leaves the repository as it was, or new and empty; large files that had arrived are not sent
    again the next time.

    Args:
        folder (`Path`): an export; `guard.check_folder` must let it pass.
        repo (`str`): ORG/NAME.
        private (`bool`, defaults to `False`): a new repository is only its owner's to see.
        revision (`str`, *optional*): branch, by default main.
        overwrite (`bool`, defaults to `False`): replace other files of the same name, remove those of an older export.
        api (`HfApi`, *optional*): another Hub or token than the usual one.

    Raises:
        ValueError: the folder may not be published, or `repo` is no ORG/NAME.
        OtherContentsError: the repository holds other files of these names, and not `overwrite`.
        HubError: no token, no right, offline, or the connection broke; the message says what to do.
    """
    check_folder(folder)
    api, branch = api or client(), revision or MAIN
    what = f"publishing to {repo}"
    with clear_errors(what, repo, api.endpoint):
        _check_rights(api, repo)
        head, files = _remote_files(api, repo, branch, private)
        changes = compare(folder, files)
        # a branch that is not there yet has nothing to lose
        if head and (changes.replaced or changes.removed) and not overwrite:
            raise OtherContentsError(
                f"{repo} holds something else. Publishing {'; '.join(changes.lines())}. Pass --overwrite "
                "(overwrite=True) if that is meant; the former files stay in the history"
            )
        if head is None:
            head = _make_place(api, repo, branch, private)
        url = f"{api.endpoint}/{repo}"
        if not changes:
            return Pushed(repo, branch, head, url, changes)
        adding = (CommitOperationAdd(name, folder / name) for name in [*changes.added, *changes.replaced])
        removing = (CommitOperationDelete(name) for name in changes.removed)
        info = api.create_commit(
            repo,
            [*removing, *adding],
            commit_message=f"Published by cmr_hf {__version__}",
            revision=branch,
            parent_commit=head,  # somebody else's push in between is an error, not lost
        )
    return Pushed(repo, branch, info.oid, url, changes)


def compare(folder: Path, remote: dict[str, tuple[int, str]]) -> Changes:
    """What pushing a folder would change.

    Args:
        folder (`Path`): flat.
        remote (`dict`): path in the repository -> size in bytes and hash, as `_remote_files` gives them.
    """
    found: dict[str, list[str]] = {kind: [] for kind in ("added", "replaced", "removed", "same", "kept")}
    mine = {file.name: file for file in folder.iterdir()}
    for name, file in sorted(mine.items()):
        if name not in remote:
            found["added"].append(name)
            continue
        size, digest = remote[name]
        own = _sha256(file) if len(digest) == 64 else _git_sha1(file)
        found["same" if (size, digest) == (file.stat().st_size, own) else "replaced"].append(name)
    for name in sorted(set(remote) - set(mine) - set(NOT_OURS)):
        stale = any(fnmatch.fnmatch(name, pattern) for pattern in STALE)
        found["removed" if stale else "kept"].append(name)
    return Changes(**found)


def _check_rights(api: HfApi, repo: str) -> None:
    """Find out before the work that this token may not write there.

    Raises:
        ValueError: `repo` is no ORG/NAME.
        HubError: a token that only reads, or another's namespace.
    """
    namespace, slash, name = repo.partition("/")
    if not (slash and namespace and name):
        raise ValueError(f"`repo` needs ORG/NAME, got {repo!r}: put your user or organisation in front")
    me = api.whoami()
    role = me.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise HubError(f"this token of {me['name']} only reads: make one with the right to write to {namespace}")
    roles = {org["name"]: org.get("roleInOrg", "write") for org in me.get("orgs", [])} | {me["name"]: "admin"}
    by_name = {known.lower(): role for known, role in roles.items()}
    if by_name.get(namespace.lower()) in READERS:
        mine = sorted(known for known, role in roles.items() if role not in READERS)
        raise HubError(f"{me['name']} may not write to {namespace}, only to {', '.join(mine)}: name one of these")


def _remote_files(api: HfApi, repo: str, branch: str, private: bool) -> tuple[str | None, dict[str, tuple[int, str]]]:
    """Head of a branch and the files in it: size, and sha256 of a large file or git's sha1 of another.

    A repository or branch that is not there has no head; a new branch starts as main is.
    """
    try:
        info = api.repo_info(repo)
    except RepositoryNotFoundError:
        return None, {}
    if private and info.private is False:
        raise HubError(f"{repo} is public, got --private: make it private in its settings, or leave the option out")
    head = info.sha
    if branch != MAIN:
        try:
            head = api.repo_info(repo, revision=branch).sha
        except RevisionNotFoundError:
            head = None
    tree = api.list_repo_tree(repo, recursive=True, revision=head or MAIN)
    files = [entry for entry in tree if hasattr(entry, "blob_id")]
    return head, {
        file.path: (file.lfs.size, file.lfs.sha256) if file.lfs else (file.size, file.blob_id) for file in files
    }


def _make_place(api: HfApi, repo: str, branch: str, private: bool) -> str:
    """Makes the repository and the branch, and gives the head of it."""
    api.create_repo(repo, private=private or None, exist_ok=True)
    if branch != MAIN:
        api.create_branch(repo, branch=branch, exist_ok=True)
    return api.repo_info(repo, revision=branch).sha


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _git_sha1(file: Path) -> str:
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
