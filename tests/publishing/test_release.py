"""Prepared, published, checked: `prepare`, `publish`, `publish_family` and `cmr-hf publish`."""

import json
import shutil
from importlib import import_module
from pathlib import Path

import pytest
import torch

from cmr_hf.cli import main
from cmr_hf.publishing import opening, prepare, publish, publish_family
from cmr_hf.publishing.checking import NotAsPushedError, check_pushed
from cmr_hf.publishing.hub_errors import HubError
from cmr_hf.publishing.weight_files import stored_dtype
from tests.hub_server import WRITER, HubServer
from tests.model_factory import TASKS

REPO = "ORG/cmr-tiny"


@pytest.fixture
def family(trained_for, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Path]:
    """Two tiny models that the package seems to have embedded; the cards of the checkout are not theirs."""
    folders = {"seg": trained_for("cmr-segmentation"), "view": trained_for("cmr-view-classification")}
    weights = import_module("cmr_hf.weights")
    monkeypatch.setattr(weights, "embedded_names", lambda: sorted(folders))
    monkeypatch.setattr(weights, "embedded", folders.__getitem__)
    monkeypatch.setattr(weights, "SHAPE_CLASSIFIER", tmp_path / "none")
    monkeypatch.setattr(import_module("cmr_hf.cli.publishing"), "CARDS", tmp_path / "cards")
    return folders


def commands(hub: HubServer, *rest: str) -> int:
    return main(["publish", *rest, "--endpoint", hub.endpoint, "--no-check"])


# ---- prepared


def test_the_export_holds_its_licence_results_and_card(trained, tmp_path):
    done = prepare(trained, REPO, tmp_path / "out")
    assert done.task == "cmr-segmentation"
    assert done.files == {path.name: path.stat().st_size for path in sorted(done.folder.iterdir())}
    assert {"LICENSE", "README.md", "results.json", "config.json", "model.safetensors"} < set(done.files)
    assert (done.folder / "results.json").read_bytes() == (trained / "results.json").read_bytes()
    assert f'model="{REPO}"' in (done.folder / "README.md").read_text()


def test_weights_keep_their_number_format_unless_another_is_asked_for(trained, tmp_path):
    assert stored_dtype(prepare(trained, REPO, tmp_path / "same").folder) is torch.float32
    half = prepare(trained, REPO, tmp_path / "half", dtype=torch.float16).folder
    assert stored_dtype(half) is torch.float16
    assert stored_dtype(prepare(half, REPO, tmp_path / "still").folder) is torch.float16


def test_without_a_licence_nothing_is_published(trained, tmp_path):
    bare = shutil.copytree(trained, tmp_path / "bare")
    (bare / "LICENSE").unlink()
    with pytest.raises(ValueError, match="bare needs a licence to be published: put a LICENSE file"):
        prepare(bare, REPO, tmp_path / "out")


@pytest.mark.parametrize("content", [None, "{}", '{"model_type": "bert", "architectures": ["BertModel"]}'])
def test_what_is_no_model_of_this_package_is_refused(content, tmp_path):
    (tmp_path / "other").mkdir()
    if content:
        (tmp_path / "other" / "config.json").write_text(content)
    with pytest.raises(ValueError, match="`model` needs the folder of a trained model of this package"):
        prepare(tmp_path / "other", REPO, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_results_file_with_a_path_of_this_machine_stays_here(trained, tmp_path):
    leaky = shutil.copytree(trained, tmp_path / "leaky")
    (leaky / "results.json").write_text(json.dumps({"recipe": {"data_root": "/home/jane/acdc"}}))
    with pytest.raises(ValueError, match="results.json names a path of a machine, /home/jane"):
        prepare(leaky, REPO, tmp_path / "out")


# ---- published and opened again


def test_what_was_pushed_opens_elsewhere_and_answers_the_same(trained, hub, tmp_path):
    """The one test with a process of its own: transformers alone, an empty cache, no token, no network."""
    steps: list[str] = []
    options = {"endpoint": hub.endpoint, "token": WRITER, "tell": steps.append, "max_shard_size": "100KB"}
    done = publish(trained, REPO, folder=tmp_path / "out", **options)
    assert hub.files(REPO) == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert "model.safetensors.index.json" in done.files
    assert [step.split()[0] for step in steps] == ["pushing", "adds", "opening"]
    assert len(done.commit) == 40
    assert done.url == f"{hub.endpoint}/{REPO}"


def test_when_it_does_not_open_elsewhere_then_the_last_line_of_that_process_is_told(tmp_path, monkeypatch):
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit('no such pipeline')")
    monkeypatch.setattr(opening, "__file__", str(script))
    job = {"task": "cmr-segmentation", "repo": REPO, "revision": "0" * 40}
    with pytest.raises(NotAsPushedError, match=f"{REPO} at 00000000 does not open without .*: no such pipeline"):
        import_module("cmr_hf.publishing.checking")._asked_elsewhere(tmp_path, job)


@pytest.fixture
def pushed(trained, hub, tmp_path) -> tuple[Path, str]:
    """An export on the Hub, and its commit."""
    done = publish(trained, REPO, folder=tmp_path / "out", endpoint=hub.endpoint, token=WRITER, check=False)
    return tmp_path / "out", done.commit


def test_when_the_hub_gives_another_file_then_its_code_is_not_run(pushed, hub, monkeypatch):
    folder, commit = pushed
    monkeypatch.setattr(import_module("cmr_hf.publishing.checking"), "_asked_elsewhere", forbidden)
    blobs = hub.repos["models", REPO].commits[commit]
    blobs["modeling_cmr.py"] = type(blobs["modeling_cmr.py"])(b"import os")
    with pytest.raises(NotAsPushedError, match=r"gives another modeling_cmr\.py than was pushed"):
        check_pushed(folder, REPO, commit, "cmr-segmentation", hub.endpoint, WRITER)


def test_when_the_hub_lacks_a_file_then_that_is_told(pushed, hub, monkeypatch):
    folder, commit = pushed
    monkeypatch.setattr(import_module("cmr_hf.publishing.checking"), "_asked_elsewhere", forbidden)
    del hub.repos["models", REPO].commits[commit]["results.json"]
    with pytest.raises(NotAsPushedError, match=r"lacks results\.json"):
        check_pushed(folder, REPO, commit, "cmr-segmentation", hub.endpoint, WRITER)


def test_when_the_prediction_is_another_then_that_is_told(pushed, hub, monkeypatch):
    folder, commit = pushed

    def otherwise(home: Path, job: dict) -> dict:
        from transformers import pipeline

        answer = opening.answer_of(pipeline("cmr-segmentation", model=str(folder)))
        answer["segmentation"] = (3 - torch.tensor(answer["segmentation"])).tolist()
        return {"answer": answer}

    monkeypatch.setattr(import_module("cmr_hf.publishing.checking"), "_asked_elsewhere", otherwise)
    with pytest.raises(
        NotAsPushedError, match=r"answers otherwise .*answer\[segmentation\]: .* % of the labels differ"
    ):
        check_pushed(folder, REPO, commit, "cmr-segmentation", hub.endpoint, WRITER)


def forbidden(*args):
    raise AssertionError("what the Hub gave must not be run")


@pytest.mark.parametrize("task", TASKS)
def test_every_task_takes_the_picture_of_the_check_and_agrees_with_itself(task, trained_for, tmp_path):
    from transformers import pipeline

    folder = prepare(trained_for(task), REPO, tmp_path / "out").folder
    pipe = pipeline(task, model=str(folder))
    answer = opening.answer_of(pipe)
    assert opening.differences(answer, json.loads(json.dumps(opening.answer_of(pipe)))) == []


@pytest.mark.parametrize(
    ("mine", "theirs", "says"),
    [
        ({"a": 1}, {"b": 1}, "answer has ['b'], not ['a']"),
        ([1, 2, 3], [1, 2], "answer has shape (2,), not (3,)"),
        ([0.5, 0.5], [0.5, 0.6], "answer differs by up to 0.1"),
        ([0, 1, 2], [0, 1, 1], "33.3 % of the labels differ"),
        (["SAX"], ["2CH"], "answer[0] is '2CH', not 'SAX'"),
        ([{"x": "a"}], [{"x": "a"}, {"x": "b"}], "answer has 2 entries, not 1"),
        (None, [1], "answer is [1], not None"),
    ],
)
def test_answers_that_differ_are_told_apart(mine, theirs, says):
    assert says in opening.differences(mine, theirs)[0]


def test_answers_that_differ_in_the_last_digits_are_the_same():
    mine = {"labels": [[0, 1]], "score": 0.5, "names": ["SAX"], "none": None, "many": [[1, 2], [3]]}
    theirs = {"labels": [[0, 1]], "score": 0.5 + 1e-6, "names": ["SAX"], "none": None, "many": [[1, 2], [3]]}
    assert opening.differences(mine, theirs) == []


# ---- the family


def test_the_family_becomes_a_collection_and_a_second_run_sends_nothing(family, hub):
    models = {f"cmr-{name}": folder for name, folder in family.items()}
    options = {"endpoint": hub.endpoint, "token": WRITER, "check": False}
    done, address = publish_family(models, "ORG", **options)
    assert [one.repo for one in done] == ["ORG/cmr-seg", "ORG/cmr-view"]
    (slug,) = hub.collections
    assert address == f"{hub.endpoint}/collections/{slug}"
    assert [item["id"] for item in hub.collections[slug]["items"]] == ["ORG/cmr-seg", "ORG/cmr-view"]
    assert len(hub.collections[slug]["description"]) <= 150, "the Hub's limit"
    again, _ = publish_family(models, "ORG", **options)
    assert [one.commit for one in again] == [one.commit for one in done]
    assert len(hub.collections[slug]["items"]) == 2


def test_when_one_of_the_family_breaks_off_then_a_second_run_completes_it(family, hub):
    models = {f"cmr-{name}": folder for name, folder in family.items()}
    options = {"endpoint": hub.endpoint, "token": WRITER, "check": False}
    hub.cut("POST", "/cmr-view/commit/", after=100)
    with pytest.raises(HubError, match="publishing to ORG/cmr-view failed"):
        publish_family(models, "ORG", **options)
    assert not hub.collections
    assert hub.files("ORG/cmr-view") == {}
    publish_family(models, "ORG", **options)
    assert "model.safetensors" in hub.files("ORG/cmr-view")
    assert hub.count("POST", "/cmr-seg/commit/") == 1


def test_when_one_of_the_family_may_not_leave_then_none_does(family, hub, tmp_path):
    bare = shutil.copytree(family["view"], tmp_path / "bare")
    (bare / "LICENSE").unlink()
    with pytest.raises(ValueError, match="needs a licence"):
        publish_family({"cmr-seg": family["seg"], "cmr-view": bare}, "ORG", endpoint=hub.endpoint, token=WRITER)
    assert not hub.requests


# ---- from the shell


def test_a_dry_run_lists_what_would_go_and_asks_nobody(trained, hub, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert commands(hub, str(trained), "--repo", REPO, "--dry-run") == 0
    printed = capsys.readouterr().out
    assert not hub.requests
    for file in (tmp_path / "cmr-tiny").iterdir():
        assert f"  {file.name} " in printed
    assert "model.safetensors" in printed
    assert "255.7 kB" in printed
    assert printed.splitlines()[0].startswith(f"{REPO} (cmr-segmentation): ")
    assert printed.splitlines()[-1] == "nothing was sent; written to cmr-tiny"


def test_one_model_is_published_with_the_words_beside_it(trained, hub, signed_in, tmp_path, capsys):
    spoken = shutil.copytree(trained, tmp_path / "spoken")
    (spoken / "card.toml").write_text('title = "Spoken for"')
    assert commands(hub, str(spoken), "--repo", REPO, "--private", "--max-shard-size", "100KB") == 0
    assert f"{hub.endpoint}/{REPO}: " in capsys.readouterr().out
    assert hub.repos["models", REPO].private
    assert b"# Spoken for" in hub.files(REPO)["README.md"]
    assert "card.toml" not in hub.files(REPO)
    assert "model.safetensors.index.json" in hub.files(REPO)


def test_an_embedded_model_goes_by_its_short_name(family, hub, signed_in):
    assert commands(hub, "view", "--repo", "ORG/cmr-view", "--revision", "v1") == 0
    assert json.loads(hub.files("ORG/cmr-view", "v1")["config.json"])["task"] == "cmr-view-classification"


def test_all_are_published_as_a_collection(family, hub, signed_in, capsys):
    assert commands(hub, "--all", "--org", "ORG") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[-1].startswith(f"collection: {hub.endpoint}/collections/ORG/")
    assert {name for _, name in hub.repos} == {"ORG/cmr-seg", "ORG/cmr-view"}


def test_a_dry_run_of_all_writes_a_folder_for_each(family, hub, tmp_path):
    assert commands(hub, "--all", "--org", "ORG", "--dry-run", "--out", str(tmp_path / "all")) == 0
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["cmr-seg", "cmr-view"]
    assert not hub.requests


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["--repo", REPO], "name a MODEL, or --all"),
        (["seg", "--all", "--org", "ORG"], "name a MODEL, or --all"),
        (["seg"], "say where to: --repo"),
        (["--all"], "say where to: --org"),
        (["--all", "--org", "ORG", "--dtype", "float16"], "--card and --dtype are for one MODEL"),
        (["seg", "--repo", REPO, "--card", "none.toml"], "got none.toml, which is not there"),
    ],
)
def test_when_the_command_is_wrong_then_it_says_how_it_goes(asked, says, family, hub, capsys):
    assert commands(hub, *asked) == 2
    assert says in capsys.readouterr().err
    assert not hub.requests


def test_when_there_is_no_token_then_the_command_says_where_to_get_one(trained, hub, capsys):
    assert commands(hub, str(trained), "--repo", REPO) == 1
    assert "log in with `hf auth login`, or set HF_TOKEN" in capsys.readouterr().err
