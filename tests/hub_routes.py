"""The routes of the Hub's HTTP API that huggingface_hub uses with xet off; `tests.hub_server` is what they serve on."""

import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import parse_qs

from tests.hub_store import Blob, Repo


class RefusedError(Exception):
    """Ends a request with an error."""

    def __init__(self, status: int, code: str = "", message: str = ""):
        self.status, self.code, self.message = status, code, message


class Routes:
    """One method for each route; `_json`, `_send`, `headers`, `path`, `query` come from the handler of `hub_server`."""

    # ---- who asks, and for what

    def _user(self) -> dict | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.users:
            raise RefusedError(401, message="Invalid credentials in Authorization header")
        return self.hub.users.get(token)

    def _repo(self, kind: str, repo: str, write: bool = False) -> Repo:
        user, found = self._user(), self.hub.repos.get((kind, repo))
        mine = user is not None and self._role(user, repo.split("/")[0]) is not None
        if found is None or (found.private and not mine):
            raise RefusedError(404 if user else 401, "RepoNotFound", "Repository not found")
        if write:
            self._may_write(user, repo.split("/")[0])
        return found

    def _role(self, user: dict, namespace: str) -> str | None:
        roles = {org["name"]: org["roleInOrg"] for org in user["orgs"]} | {user["name"]: "admin"}
        return roles.get(namespace)

    def _may_write(self, user: dict | None, namespace: str) -> None:
        if user is None:
            raise RefusedError(401, message="Invalid username or password.")
        if user["role"] == "read" or self._role(user, namespace) in (None, "read"):
            raise RefusedError(403, message=f"You don't have the rights to write under the namespace {namespace}")

    def _commit(self, repo: Repo, revision: str) -> str:
        oid = repo.at(revision)
        if oid is None:
            raise RefusedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return oid

    # ---- accounts, repositories, branches

    def whoami(self, body: bytes) -> None:
        user = self._user()
        if user is None:
            raise RefusedError(401, message="Invalid username or password.")
        role = {"accessToken": {"displayName": "test", "role": user["role"]}}
        self._json({"type": "user", "name": user["name"], "orgs": user["orgs"], "auth": role})

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        user = self._user()
        namespace = asked.get("organization") or (user or {}).get("name", "")
        self._may_write(user, namespace)
        kind, repo = f"{asked.get('type') or 'model'}s", f"{namespace}/{asked['name']}"
        url = f"{self.hub.endpoint}/{'' if kind == 'models' else kind + '/'}{repo}"
        if (kind, repo) in self.hub.repos:
            return self._json({"error": "You already created this repo", "url": url}, 409)
        self.hub.make(repo, kind=kind, private=asked.get("visibility") == "private" or bool(asked.get("private")))
        self._json({"url": url})

    def info(self, body: bytes, kind: str, repo: str, revision: str = "main") -> None:
        found = self._repo(kind, repo)
        oid = self._commit(found, revision)
        names = [{"rfilename": name} for name in found.commits[oid]]
        self._json({"id": repo, "sha": oid, "private": found.private, "siblings": names, "tags": [], "downloads": 0})

    def refs(self, body: bytes, kind: str, repo: str) -> None:
        heads = self._repo(kind, repo).branches.items()
        named = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid} for name, oid in heads]
        self._json({"branches": named, "converts": [], "tags": []})

    def branch(self, body: bytes, kind: str, repo: str, revision: str) -> None:
        found = self._repo(kind, repo, write=True)
        if revision in found.branches:
            raise RefusedError(409, message="Reference already exists")
        start = json.loads(body or b"{}").get("startingPoint", "main")
        found.branches[revision] = self._commit(found, start)
        self._json({}, 201)

    # ---- files: listed, sent, committed, fetched

    def _entries(self, files: dict[str, Blob]) -> list[dict]:
        found = []
        for path, blob in sorted(files.items()):
            entry = {"type": "file", "path": path, "size": len(blob.data), "oid": blob.oid}
            if blob.lfs:
                entry["lfs"] = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": len(blob.pointer)}
            found.append(entry)
        return found

    def tree(self, body: bytes, kind: str, repo: str, revision: str, folder: str = "") -> None:
        found = self._repo(kind, repo)
        files = found.commits[self._commit(found, revision)]
        inside = {path: blob for path, blob in files.items() if path.startswith(f"{folder}/" if folder else "")}
        if folder and not inside:
            raise RefusedError(404, "EntryNotFound", f"{folder} does not exist")
        start = int(self.query.get("cursor", ["0"])[0])
        entries, end = self._entries(inside), start + self.hub.page
        address = self.hub.endpoint + self.path.split("?")[0]
        more = {"Link": f'<{address}?recursive=true&cursor={end}>; rel="next"'} if end < len(entries) else {}
        self._json(entries[start:end], 200, more)

    def paths(self, body: bytes, kind: str, repo: str, revision: str) -> None:
        found = self._repo(kind, repo)
        asked = set(parse_qs(body.decode()).get("paths", []))
        files = found.commits[self._commit(found, revision)]
        self._json(self._entries({path: blob for path, blob in files.items() if path in asked}))

    def preupload(self, body: bytes, kind: str, repo: str, revision: str) -> None:
        found = self._repo(kind, repo, write=True)
        files = found.commits[self._commit(found, revision)]
        told = []
        for entry in json.loads(body)["files"]:
            mode = "lfs" if entry["size"] >= self.hub.lfs_from else "regular"
            blob = files.get(entry["path"])
            known = None if blob is None else blob.sha256 if blob.lfs else blob.oid
            told.append({"path": entry["path"], "uploadMode": mode, "shouldIgnore": False, "oid": known})
        self._json({"files": told})

    def batch(self, body: bytes, repo: str, kind: str = "models") -> None:
        self._repo(kind.strip("/") or "models", repo, write=True)
        objects = []
        for entry in json.loads(body)["objects"]:
            oid, size = entry["oid"], entry["size"]
            objects.append({"oid": oid, "size": size})
            if oid in self.hub.lfs:
                continue
            upload: dict[str, Any] = {"href": f"{self.hub.cdn}/upload/{oid}"}
            if self.hub.part_size:
                parts = range(1, -(-size // self.hub.part_size) + 1)
                header = {str(part): f"{self.hub.cdn}/part/{oid}/{part}" for part in parts}
                upload = {
                    "href": f"{self.hub.endpoint}/complete/{oid}",
                    "header": header | {"chunk_size": str(self.hub.part_size)},
                }
            verify = {"href": f"{self.hub.endpoint}/verify/{oid}"}
            objects[-1]["actions"] = {"upload": upload, "verify": verify}
        self._json({"transfer": "multipart" if self.hub.part_size else "basic", "objects": objects})

    def upload(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            raise RefusedError(400, message="the content has another hash")
        self.hub.lfs[oid] = body
        self._send(b"", 200, {})

    def part(self, body: bytes, oid: str, part: str) -> None:
        self.hub.parts[oid, int(part)] = body
        self._send(b"", 200, {"ETag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'})

    def complete(self, body: bytes, oid: str) -> None:
        told = json.loads(body)["parts"]
        self.upload(b"".join(self.hub.parts[oid, entry["partNumber"]] for entry in told), oid)

    def verify(self, body: bytes, oid: str) -> None:
        if self._user() is None or len(self.hub.lfs.get(oid, b"")) != json.loads(body)["size"]:
            raise RefusedError(404, message="no such object")
        self._json({})

    def commit(self, body: bytes, kind: str, repo: str, revision: str) -> None:
        found = self._repo(kind, repo, write=True)
        head = self._commit(found, revision)
        files, title = dict(found.commits[head]), ""
        for line in body.splitlines():
            entry = json.loads(line)
            key, value = entry["key"], entry["value"]
            if key == "header":
                title = value["summary"]
                if value.get("parentCommit", head) != head:
                    raise RefusedError(412, message="The repository has been updated since")
            elif key == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                if value["oid"] not in self.hub.lfs:
                    raise RefusedError(400, message=f"LFS object {value['oid']} was never uploaded")
                files[value["path"]] = Blob(self.hub.lfs[value["oid"]], lfs=True)
            elif key == "deletedFile":
                if files.pop(value["path"], None) is None:
                    raise RefusedError(404, "EntryNotFound", "A file with this name doesn't exist")
        oid = found.commit(revision, files, title)
        self._json({"success": True, "commitOid": oid, "commitUrl": f"{self.hub.endpoint}/{repo}/commit/{oid}"})

    def resolve(self, body: bytes, repo: str, revision: str, path: str, kind: str = "") -> None:
        found = self._repo(kind.strip("/") or "models", repo)
        oid = self._commit(found, revision)
        blob = found.commits[oid].get(path)
        commit = {"X-Repo-Commit": oid}
        if blob is None:
            headers = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return self._json({"error": "Entry not found"}, 404, commit | headers)
        if not blob.lfs:
            return self._content(blob.data, commit | {"ETag": f'"{blob.oid}"'})
        linked = {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.data))}
        self._send(b"", 302, commit | linked | {"Location": f"{self.hub.cdn}/cdn/{blob.sha256}"})

    def content(self, body: bytes, oid: str) -> None:
        self._content(self.hub.lfs[oid], {"ETag": f'"{oid}"'})

    def _content(self, data: bytes, headers: dict[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return self._send(data, 200, headers | {"Accept-Ranges": "bytes"})
        start, end = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
        self._send(data[start : end + 1], 206, headers | {"Content-Range": f"bytes {start}-{end}/{len(data)}"})

    # ---- cards and collections

    def card(self, body: bytes) -> None:
        text = json.loads(body)["content"]
        header = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
        if header and "\t" in header[1]:
            return self._json({"errors": [{"message": "no tabs in YAML"}], "warnings": []}, 400)
        self._json({"errors": [], "warnings": [] if header else [{"message": "empty or missing yaml metadata"}]})

    def collect(self, body: bytes) -> None:
        asked = json.loads(body)
        self._may_write(self._user(), asked["namespace"])
        words = re.sub(r"[^a-z0-9]+", "-", asked["title"].lower()).strip("-")
        slug = f"{asked['namespace']}/{words}-{'0' * 24}"
        if slug in self.hub.collections:
            return self._json({"error": "exists", "slug": slug}, 409)
        about = {"title": asked["title"], "description": asked.get("description"), "private": asked["private"]}
        owner = {"name": asked["namespace"]}
        rest = {"slug": slug, "owner": owner, "items": [], "position": 0, "theme": "blue", "upvotes": 0}
        self.hub.collections[slug] = about | rest | {"lastUpdated": "2026-01-01T00:00:00.000Z"}
        self._json(self.hub.collections[slug])

    def collection(self, body: bytes, slug: str) -> None:
        if slug not in self.hub.collections:
            raise RefusedError(404, message="no such collection")
        self._json(self.hub.collections[slug])

    def collected(self, body: bytes, slug: str) -> None:
        asked = json.loads(body)
        found = self.hub.collections[slug]
        self._may_write(self._user(), slug.split("/")[0])
        if (f"{asked['item']['type']}s", asked["item"]["id"]) not in self.hub.repos:
            raise RefusedError(404, message="no such item")
        if any(item["id"] == asked["item"]["id"] for item in found["items"]):
            raise RefusedError(409, message="already there")
        note = {"text": asked["note"]} if asked.get("note") else None
        item = asked["item"] | {"_id": str(len(found["items"])), "position": len(found["items"]), "note": note}
        found["items"].append(item)
        self._json(found)


_REPO = r"/api/(?P<kind>models|datasets)/(?P<repo>[^/]+/[^/]+)"
_GIT = r"/(?P<kind>datasets/)?(?P<repo>[^/]+/[^/]+)"
_AT = r"(?P<revision>[^/]+)"
ROUTES: list[tuple[str, str, str]] = [
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/repos/create", "create"),
    ("POST", r"/api/validate-yaml", "card"),
    ("POST", r"/api/collections", "collect"),
    ("GET", r"/api/collections/(?P<slug>.+)", "collection"),
    ("POST", r"/api/collections/(?P<slug>.+)/items", "collected"),
    ("GET", _REPO, "info"),
    ("GET", f"{_REPO}/revision/{_AT}", "info"),
    ("GET", f"{_REPO}/refs", "refs"),
    ("POST", f"{_REPO}/branch/{_AT}", "branch"),
    ("GET", f"{_REPO}/tree/{_AT}(?:/(?P<folder>.+))?", "tree"),
    ("POST", f"{_REPO}/paths-info/{_AT}", "paths"),
    ("POST", f"{_REPO}/preupload/{_AT}", "preupload"),
    ("POST", f"{_REPO}/commit/{_AT}", "commit"),
    ("POST", rf"{_GIT}\.git/info/lfs/objects/batch", "batch"),
    ("PUT", r"/upload/(?P<oid>\w+)", "upload"),
    ("PUT", r"/part/(?P<oid>\w+)/(?P<part>\d+)", "part"),
    ("POST", r"/complete/(?P<oid>\w+)", "complete"),
    ("POST", r"/verify/(?P<oid>\w+)", "verify"),
    ("GET", r"/cdn/(?P<oid>\w+)", "content"),
    ("HEAD", f"{_GIT}/resolve/{_AT}/(?P<path>.+)", "resolve"),
    ("GET", f"{_GIT}/resolve/{_AT}/(?P<path>.+)", "resolve"),
]
