"""An export to the Hub and back, through the real client and a small Hub on this machine: whole, or not at all."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from cmr_hf.publishing import download, prepare
from cmr_hf.publishing.hub_errors import HubError
from cmr_hf.publishing.pushing import OtherContentsError, client, push
from tests.hub_server import READER, STRANGER, WRITER, HubServer

REPO = "ORG/cmr-tiny"
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def exported(trained_for, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export; tests that change it take a copy."""
    return prepare(trained_for("cmr-segmentation"), REPO, tmp_path_factory.mktemp("export") / "cmr-tiny").folder


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "cmr-tiny")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def sent(folder: Path, hub: HubServer, token: str = WRITER, **options):
    return push(folder, REPO, api=client(hub.endpoint, token), **options)


WAYS = {
    "below the threshold": {"lfs_from": 10_000_000},
    "above, in one piece": {"lfs_from": 100_000},
    "above, in parts": {"lfs_from": 100_000, "part_size": 60_000},
    "a tree of many pages": {"lfs_from": 100_000, "page": 4},
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_pushed_comes_back_byte_for_byte(way, exported, online, tmp_path):
    with HubServer(**WAYS[way]) as hub:
        done = sent(exported, hub)
        assert hub.files(REPO) == contents(exported)
        assert bool(hub.lfs) == ("below" not in way)
        assert bool(hub.parts) == ("parts" in way)
        assert len(hub.repos["models", REPO].titles) == 2, "one commit besides the first"
        back = download(REPO, endpoint=hub.endpoint, cache_dir=tmp_path / "cache", out=tmp_path / "back")
        assert back.commit == done.commit == hub.repos["models", REPO].branches["main"]
        assert contents(tmp_path / "back").items() >= contents(exported).items()
        assert not any(path.is_symlink() for path in back.folder.iterdir())


def test_a_token_is_not_shown_to_where_large_files_lie(exported, hub, tmp_path):
    sent(exported, hub, private=True)
    download(REPO, endpoint=hub.endpoint, cache_dir=tmp_path, token=WRITER)
    elsewhere = [headers for _, path, headers in hub.requests if path.startswith(("/cdn/", "/upload/"))]
    assert len(elsewhere) == 2
    assert not any("hf_" in headers.get("Authorization", "") for headers in elsewhere)


def test_when_all_of_it_is_there_then_nothing_is_sent(exported, hub):
    first = sent(exported, hub)
    again = sent(exported, hub)
    assert again.commit == first.commit
    assert not again.changes
    assert hub.count("POST", "/commit/") == 1


# ---- other contents


def test_when_the_repository_holds_something_else_then_it_is_shown_and_left(copy, hub):
    hub.make(REPO, {"README.md": b"# theirs", "former_cmr.py": b"old", "notes.txt": b"kept", WEIGHTS: b"x" * 200_000})
    before = hub.files(REPO)
    with pytest.raises(OtherContentsError) as caught:
        sent(copy, hub)
    text = str(caught.value)
    assert "replaces README.md, model.safetensors" in text
    assert "removes former_cmr.py" in text
    assert "leaves notes.txt" in text
    assert "adds LICENSE" in text
    assert "--overwrite" in text
    assert hub.files(REPO) == before


def test_when_overwriting_is_meant_then_what_is_stale_goes_and_what_is_not_ours_stays(copy, hub):
    hub.make(REPO, {"README.md": b"# theirs", "former_cmr.py": b"old", "notes.txt": b"kept"})
    done = sent(copy, hub, overwrite=True)
    assert hub.files(REPO) == contents(copy) | {"notes.txt": b"kept"}
    assert done.changes.replaced == ["README.md"]
    assert done.changes.removed == ["former_cmr.py"]
    assert done.changes.kept == ["notes.txt"]


def test_when_somebody_pushes_in_between_then_nothing_is_lost(copy, hub, monkeypatch):
    hub.make(REPO)
    api = client(hub.endpoint, WRITER)
    made = api.create_commit

    def meanwhile(*args, **options):
        repo = hub.repos["models", REPO]
        repo.commit("main", repo.commits[repo.branches["main"]], "theirs")
        return made(*args, **options)

    monkeypatch.setattr(api, "create_commit", meanwhile)
    with pytest.raises(HubError, match=r"has changed meanwhile.*run the same command again"):
        push(copy, REPO, api=api)
    assert hub.files(REPO) == {}
    assert sent(copy, hub).changes.added


def test_a_new_branch_starts_as_main_is_and_main_stays(copy, hub):
    sent(copy, hub)
    (copy / "README.md").write_text("---\nlicense: mit\n---\n# second", encoding="utf-8")
    done = sent(copy, hub, revision="v2")
    assert done.revision == "v2"
    assert done.changes.replaced == ["README.md"]
    assert hub.files(REPO, "v2") == contents(copy)
    assert hub.files(REPO, "main")["README.md"] != contents(copy)["README.md"]
    with pytest.raises(OtherContentsError):
        sent(copy, hub)


def test_when_private_is_asked_for_then_others_do_not_see_it_and_a_public_one_is_refused(exported, hub, tmp_path):
    sent(exported, hub, private=True)
    assert hub.repos["models", REPO].private
    with pytest.raises(HubError, match="or it is private"):
        download(REPO, endpoint=hub.endpoint, cache_dir=tmp_path)
    hub.make("ORG/open")
    with pytest.raises(HubError, match="ORG/open is public, got --private"):
        push(exported, "ORG/open", api=client(hub.endpoint, WRITER), private=True)


# ---- who may


@pytest.mark.parametrize(
    ("token", "says"),
    [
        (None, "there is no token for .*hf auth login.*write to ORG"),
        ("hf_unknown", "does not know this token"),
        (READER, "this token of rolf only reads"),
        (STRANGER, "sanna may not write to ORG, only to sanna"),
    ],
)
def test_when_one_may_not_write_then_the_error_says_why_before_anything_is_sent(token, says, exported, hub):
    with pytest.raises(HubError, match=says):
        sent(exported, hub, token)
    assert not hub.repos
    assert hub.count("POST", "") == 0


def test_when_the_name_has_no_organisation_then_it_is_asked_for(exported, hub):
    with pytest.raises(ValueError, match="needs ORG/NAME, got 'tiny'"):
        push(exported, "tiny", api=client(hub.endpoint, WRITER))


def test_when_offline_then_the_error_says_so(exported, hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="offline mode is on.*unset HF_HUB_OFFLINE"):
        sent(exported, hub)
    assert not hub.requests


def test_when_nobody_answers_then_the_error_names_the_address(exported, online):
    with HubServer() as gone:
        address = gone.endpoint
    with pytest.raises(HubError, match=f"the connection to {address} could not be made"):
        push(exported, REPO, api=client(address, WRITER))


def test_when_the_folder_holds_anything_else_then_nothing_is_asked(copy, hub):
    (copy / "optimizer.pt").write_bytes(b"pickle")
    with pytest.raises(ValueError, match=r"optimizer\.pt may run code"):
        sent(copy, hub)
    assert not hub.requests


# ---- the connection breaks


@pytest.mark.parametrize("part_size", [None, 60_000], ids=["one piece", "parts"])
def test_when_an_upload_breaks_off_once_then_it_is_sent_again_and_arrives(part_size, exported, online):
    with HubServer(lfs_from=100_000, part_size=part_size) as hub:
        hub.cut("PUT", "/upload/|/part/", after=30_000)
        sent(exported, hub)
        assert hub.files(REPO) == contents(exported)
        assert hub.count("PUT", "/upload/|/part/") == (2 if part_size is None else 6)


@pytest.mark.parametrize("part_size", [None, 60_000], ids=["one piece", "parts"])
def test_when_an_upload_breaks_off_for_good_then_no_half_is_left_and_a_second_run_completes(
    part_size, exported, online
):
    with HubServer(lfs_from=100_000, part_size=part_size) as hub:
        hub.cut("PUT", "/upload/|/part/", after=30_000, times=6)
        with pytest.raises(HubError, match="broke off.*run the same command again"):
            sent(exported, hub)
        assert hub.files(REPO) == {}, "the repository is new and empty"
        sent(exported, hub)
        assert hub.files(REPO) == contents(exported)


def test_when_the_commit_breaks_off_then_nothing_large_is_sent_twice(exported, hub):
    hub.cut("POST", "/commit/", after=1000)
    with pytest.raises(HubError, match="what has arrived is not sent twice"):
        sent(exported, hub)
    assert hub.files(REPO) == {}
    sent(exported, hub)
    assert hub.files(REPO) == contents(exported)
    assert hub.count("PUT", "/upload/") == 1


def test_when_the_answer_to_a_commit_is_lost_then_the_second_run_finds_it_done(exported, hub, monkeypatch):
    monkeypatch.setattr("tests.hub_server.Handler._json", lost_after("/commit/"))
    with pytest.raises(HubError, match="broke off"):
        sent(exported, hub)
    monkeypatch.undo()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    again = sent(exported, hub)
    assert not again.changes
    assert hub.count("POST", "/commit/") == 1
    assert hub.files(REPO) == contents(exported)


def lost_after(path: str):
    """An answer that is never sent, for what has been done already."""
    from tests.hub_server import Handler

    answer = Handler._json

    def silent(self, *args, **options):
        return self._hang_up() if path in self.path else answer(self, *args, **options)

    return silent


@pytest.mark.parametrize(
    ("status", "says"), [(403, "may not do that in ORG"), (413, "smaller --max-shard-size"), (400, "HTTP 400")]
)
def test_when_the_hub_refuses_then_its_reason_is_told(status, says, exported, hub):
    hub.fail("POST", "/preupload/", status)
    with pytest.raises(HubError, match=f"publishing to {REPO} failed: .*{says}"):
        sent(exported, hub)


def test_when_the_hub_is_in_trouble_then_it_is_asked_again_and_then_told(exported, hub):
    hub.fail("POST", "/preupload/", 503, times=2)
    sent(exported, hub)
    hub.repos.clear()
    hub.fail("POST", "/preupload/", 503, times=9)
    with pytest.raises(HubError, match=r"trouble of its own \(HTTP 503\)"):
        sent(exported, hub)
