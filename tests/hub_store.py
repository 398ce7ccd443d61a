"""What a Hub of the tests holds: repositories of commits of files, large ones apart."""

import hashlib
import json
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Blob:
    """A file's content; a large one lies in the LFS store and git has a pointer to it."""

    data: bytes
    lfs: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()

    @property
    def oid(self) -> str:
        stored = self.pointer if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored, usedforsecurity=False).hexdigest()


@dataclass
class Repo:
    """Branches -> commits -> files."""

    private: bool
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, Blob], title: str) -> str:
        tree = sorted((name, blob.oid) for name, blob in files.items())
        text = json.dumps([self.branches.get(branch), tree, title, len(self.commits)])
        oid = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.commits[oid], self.branches[branch] = dict(files), oid
        self.titles.append(title)
        return oid

    def at(self, revision: str) -> str | None:
        return self.branches.get(revision, revision if revision in self.commits else None)
