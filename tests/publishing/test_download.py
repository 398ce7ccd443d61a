"""`download` and what opens afterwards: revisions, mirrors, offline, broken connections, folders."""

from pathlib import Path

import pytest
from huggingface_hub import constants
from PIL import Image

from cmr_hf.cli import main
from cmr_hf.publishing import download
from cmr_hf.publishing.hub_errors import HubError
from tests.hub_server import HubServer

REPO = "ORG/cmr-made"
BIG = bytes(range(256)) * 1000  # 256 kB: a large file for the Hub of these tests
FILES = {
    "README.md": b"# one",
    "config.json": b'{"model_type": "cmr", "weights_license": "mit"}',
    "model.safetensors": BIG,
}


@pytest.fixture
def made(hub: HubServer) -> HubServer:
    """A Hub that has REPO."""
    hub.make(REPO, FILES)
    return hub


def fetch(hub: HubServer, cache: Path, **options):
    return download(REPO, endpoint=hub.endpoint, cache_dir=cache, **options)


def test_the_cache_holds_the_files_of_one_commit(made, tmp_path):
    done = fetch(made, tmp_path)
    assert done.commit == made.repos["models", REPO].branches["main"]
    assert done.folder == tmp_path / "models--ORG--cmr-made" / "snapshots" / done.commit
    assert done.files.items() >= {name: len(data) for name, data in FILES.items()}.items()
    assert set(done.files) - set(FILES) == {".gitattributes"}
    assert (done.folder / "model.safetensors").read_bytes() == BIG


def test_what_is_in_the_cache_is_not_fetched_again(made, tmp_path):
    fetch(made, tmp_path)
    before = made.count("GET", "/cdn/|/resolve/")
    fetch(made, tmp_path)
    assert made.count("GET", "/cdn/|/resolve/") == before


def test_a_branch_and_a_commit_give_what_they_say(made, tmp_path):
    first = made.repos["models", REPO].branches["main"]
    repo = made.repos["models", REPO]
    repo.branches["v2"] = repo.branches["main"]
    made.make("ORG/other", {"README.md": b"# two"})
    repo.commit(
        "v2", made.repos["models", "ORG/other"].commits[made.repos["models", "ORG/other"].branches["main"]], "two"
    )
    assert (fetch(made, tmp_path, revision="v2").folder / "README.md").read_bytes() == b"# two"
    assert (fetch(made, tmp_path, revision=first).folder / "README.md").read_bytes() == b"# one"
    assert (fetch(made, tmp_path).folder / "README.md").read_bytes() == b"# one"


@pytest.mark.parametrize(
    ("repo", "revision", "says"),
    [
        ("ORG/nothing", None, "has no ORG/nothing, or it is private: check the name"),
        (REPO, "v9", "no such revision: name a branch, a tag or a commit"),
    ],
)
def test_when_there_is_no_such_model_or_revision_then_the_error_says_which(repo, revision, says, made, tmp_path):
    with pytest.raises(HubError, match=says):
        download(repo, revision=revision, endpoint=made.endpoint, cache_dir=tmp_path)


@pytest.mark.parametrize("repo", ["org/a/b", "../x", "a--b", ""])
def test_when_the_name_is_none_then_nothing_is_asked(repo, made, tmp_path):
    with pytest.raises(ValueError, match="epo"):
        download(repo, endpoint=made.endpoint, cache_dir=tmp_path)
    assert not made.requests


def test_when_the_endpoint_is_no_address_then_it_is_refused(online, tmp_path):
    with pytest.raises(ValueError, match="`endpoint` needs an address.*got 'mirror'"):
        download(REPO, endpoint="mirror", cache_dir=tmp_path)


def test_when_the_endpoint_is_no_hub_then_the_error_says_so(made, tmp_path):
    made.fail("GET", "/api/models/", 404, times=9)
    with pytest.raises(HubError, match=f"{made.endpoint} answered HTTP 404"):
        fetch(made, tmp_path)


def test_when_offline_then_the_cache_answers_and_nothing_is_asked(made, tmp_path, monkeypatch):
    online = fetch(made, tmp_path)
    asked = len(made.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = fetch(made, tmp_path, out=tmp_path / "folder")
    assert offline.commit == online.commit
    assert (tmp_path / "folder" / "model.safetensors").read_bytes() == BIG
    assert len(made.requests) == asked


def test_when_offline_and_not_in_the_cache_then_the_error_says_how_to_go_online(made, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="offline mode is on and ORG/cmr-made is not whole in the cache: unset"):
        fetch(made, tmp_path)


def test_when_offline_and_only_half_is_there_then_it_is_not_taken_for_a_model(made, tmp_path, monkeypatch):
    made.cut("GET", "/cdn/", after=1000, times=50)
    with pytest.raises(HubError):
        fetch(made, tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="not whole in the cache"):
        fetch(made, tmp_path)


# ---- the connection breaks


def test_when_a_download_breaks_off_then_it_goes_on_where_it_was(made, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 16_000)  # what is on the disk by then
    made.cut("GET", "/cdn/", after=100_000)
    done = fetch(made, tmp_path)
    assert (done.folder / "model.safetensors").read_bytes() == BIG
    ranges = [headers.get("Range") for way, path, headers in made.requests if way == "GET" and "/cdn/" in path]
    assert ranges[0] is None
    assert ranges[1:] == ["bytes=96000-"]


def test_when_it_breaks_off_for_good_then_no_half_is_left_and_a_second_run_completes(made, tmp_path):
    made.cut("GET", "/cdn/", after=0, times=7)
    out = tmp_path / "deep" / "folder"
    with pytest.raises(HubError, match="broke off.*whole files are kept"):
        fetch(made, tmp_path / "cache", out=out)
    assert not out.parent.exists() or not list(out.parent.iterdir())
    assert not list((tmp_path / "cache").rglob("*.incomplete"))
    made.faults.clear()
    small = made.count("GET", r"/resolve/.*README\.md")
    fetch(made, tmp_path / "cache", out=out)
    assert (out / "model.safetensors").read_bytes() == BIG
    assert made.count("GET", r"/resolve/.*README\.md") == small, "what was whole is fetched again"


# ---- a folder of one's own


def test_when_the_folder_holds_something_then_it_is_refused_before_anything_is_asked(made, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="`out` must be absent or an empty folder"):
        fetch(made, tmp_path / "cache", out=tmp_path / "mine")
    assert not made.requests
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_when_the_folder_is_empty_then_it_is_filled_with_files(made, tmp_path):
    (tmp_path / "mine").mkdir()
    done = fetch(made, tmp_path / "cache", out=tmp_path / "mine")
    assert done.folder == tmp_path / "mine"
    assert not any(path.is_symlink() for path in done.folder.iterdir())


def test_pickles_are_never_fetched_and_are_told(hub, tmp_path):
    hub.make(REPO, FILES | {"pytorch_model.bin": b"pickle", "training/optimizer.pt": b"pickle"})
    done = fetch(hub, tmp_path)
    assert done.left_out == ["pytorch_model.bin", "training/optimizer.pt"]
    assert not set(done.left_out) & set(done.files)
    assert hub.count("GET", r"\.bin|\.pt") == 0


# ---- from the shell


def test_the_command_prints_the_folder_and_the_licence(made, tmp_path, monkeypatch, capsys):
    out = tmp_path / "folder"
    assert main(["download", REPO, "--endpoint", made.endpoint, "--out", str(out), "--revision", "main"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == str(out)
    assert made.repos["models", REPO].branches["main"] in printed
    assert "licence of the weights: mit" in printed


def test_the_command_tells_what_is_not_ours_and_what_was_left_out(hub, capsys):
    hub.make("ORG/other", {"config.json": b'{"model_type": "bert"}', "pytorch_model.bin": b"pickle"})
    assert main(["download", "ORG/other", "--endpoint", hub.endpoint]) == 0
    notes = capsys.readouterr().err
    assert "pytorch_model.bin was left out" in notes
    assert "ORG/other is no model of this package" in notes


def test_when_the_command_fails_then_one_line_says_why(hub, capsys):
    assert main(["download", "ORG/nothing", "--endpoint", hub.endpoint]) == 1
    assert capsys.readouterr().err.startswith("error: downloading ORG/nothing failed: ")


def test_when_a_command_is_given_a_model_that_is_not_there_then_it_names_it_and_says_how_to_learn_why(tmp_path, capsys):
    picture = tmp_path / "slice.png"
    Image.new("L", (40, 40)).save(picture)
    assert main(["segment", str(picture), "--model", "ORG/nothing", "--out", str(tmp_path / "out")]) == 1
    assert "ORG/nothing is not here and could not be fetched: `cmr-hf download ORG/nothing`" in capsys.readouterr().err
