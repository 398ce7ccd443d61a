"""The cards in model_cards/: up to date, valid, no number typed, and every block of them runs as it stands."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard, constants

from cmr_hf.cli import _parser
from cmr_hf.publishing import prepare
from cmr_hf.publishing.measured import numbers
from cmr_hf.publishing.pushing import client, push
from cmr_hf.publishing.release import check_card
from cmr_hf.publishing.shape import is_shape
from cmr_hf.weights import released
from tests.hub_server import WRITER, HubServer
from tests.publishing import card_process
from tests.publishing.processes import SECONDS, environment

CARDS = Path(__file__).resolve().parents[2] / "model_cards"
MODELS = sorted(path.parent.name for path in CARDS.glob("*/card.toml"))
NAMES = [*MODELS, "phantoms"]
PIPELINES = [name for name, folder in released().items() if not is_shape(folder)]  # the other: test_shape.py


def text_of(name: str) -> str:
    return (CARDS / name / "README.md").read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(name), flags=re.MULTILINE | re.DOTALL)


def results_of(name: str) -> dict:
    return json.loads((released()[name] / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rendered() -> dict[Path, str]:
    """Every card as it would be written now."""
    found = importlib.util.spec_from_file_location("render", CARDS / "render.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return dict([*module.model_cards(), module.phantom_card()])


def test_every_model_inside_the_package_has_a_card():
    assert MODELS == list(released()), "write model_cards/NAME/card.toml, then run python model_cards/render.py"


@pytest.mark.parametrize("name", NAMES)
def test_a_card_is_what_would_be_written_now(name, rendered):
    assert rendered[CARDS / name / "README.md"] == text_of(name), "run python model_cards/render.py"


@pytest.mark.parametrize("name", MODELS)
def test_words_hold_no_measured_number(name):
    words = (CARDS / name / "card.toml").read_text(encoding="utf-8")
    assert not re.findall(r"(?<![\w.])[01][.,]\d+", words), "a number belongs to results.json"
    for number in numbers(results_of(name)):
        assert number.value is None or f"{number.value:.3f}" not in words


@pytest.mark.parametrize("name", MODELS)
def test_every_measured_number_stands_in_the_header_and_in_the_text(name):
    card = ModelCard(text_of(name))
    known = [number for number in numbers(results_of(name)) if number.value is not None]
    assert known
    listed = {
        (one.dataset_type, one.dataset_split, one.metric_name): one.metric_value for one in card.data.eval_results
    }
    assert len(listed) == len(known)
    for number in known:
        assert listed[number.dataset, number.side, number.name] == pytest.approx(number.value, abs=5e-5)
        assert f"| {number.data} | {number.side} | {number.name} | {number.shown} |" in card.text


@pytest.mark.parametrize("name", NAMES)
def test_the_header_is_what_the_hub_takes(name):
    text = text_of(name)
    check_card(CARDS / name / "README.md")
    header = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)[1])
    assert header["license"] == ("apache-2.0" if name == "phantoms" else header["license"])
    assert all(isinstance(tag, str) for tag in header["tags"])
    kind = DatasetCard if name == "phantoms" else ModelCard
    again = kind(text)
    assert again.data.to_dict() == kind(str(again)).data.to_dict()
    if name != "phantoms":
        assert header["library_name"] == ("cmr_hf" if is_shape(released()[name]) else "transformers")
        assert header["model-index"][0]["name"] == f"cmr-{name}"


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_an_honest_card_must(name):
    text = text_of(name)
    assert "Research use only" in text
    for title in ("Use it", "Intended use", "Out of scope", "Limits", "Bias"):
        part = text.split(f"\n## {title}\n")[1].split("\n## ")[0].strip()
        assert part
        assert part != "Not stated."
    assert "**Not measured:**" in text
    assert "@software{cmr_hf" in text
    if name != "phantoms":
        assert "Not a medical device" in text
        assert "@article{jacob2024towards" in text
        assert "it is not by the paper's authors" in text


@pytest.mark.parametrize("name", NAMES)
def test_when_a_card_names_a_command_then_the_command_line_knows_it(name):
    lines = [line for block in blocks(name, "bash") for line in block.splitlines()]
    assert lines
    for line in lines:
        assert line.startswith("cmr-hf ")
        assert callable(_parser().parse_args(shlex.split(line)[1:]).run)


def test_the_blocks_of_the_phantoms_card_run(tmp_path, monkeypatch):
    pytest.importorskip("datasets", reason="data sets come with the train extra")
    monkeypatch.chdir(tmp_path)
    for block in blocks("phantoms", "python"):
        names: dict = {"__name__": "card"}
        exec(compile(block, "card", "exec"), names)
        assert names["row"]["image"].size == (96, 96)


# ---- the blocks of a model's card, with ORG/NAME on a Hub of this machine


@pytest.fixture(scope="module", params=PIPELINES)
def used(request, trained_for, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    """What a process did that had nothing but the card, the address of a Hub and an empty cache.

    The repository holds a tiny model of the card's task, as all that is asked here is whether the card is right.
    """
    name, place = request.param, tmp_path_factory.mktemp("card")
    repo, task = f"ORG/cmr-{name}", re.search(r'pipeline\("([\w-]+)"', text_of(name))[1]
    folder = prepare(trained_for(task), repo, place / f"cmr-{name}").folder
    with pytest.MonkeyPatch.context() as patch, HubServer(lfs_from=100_000) as hub:
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        done = push(folder, repo, api=client(hub.endpoint, WRITER))
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        first = config["jaccard_smoothing"]
        (folder / "config.json").write_text(json.dumps(config | {"jaccard_smoothing": first + 1}), encoding="utf-8")
        push(folder, repo, api=client(hub.endpoint, WRITER), revision="v2")
        answers = _used(name, task, repo, done.commit, place, hub.endpoint)
        yield answers | {"first": first, "second": first + 1, "requests": list(hub.requests)}


def _used(name: str, task: str, repo: str, commit: str, place: Path, endpoint: str) -> dict:
    with_package, alone = blocks(name, "python")
    job = {"alone": alone, "with_package": with_package, "task": task, "repo": repo, "commit": commit}
    job["commands"] = [line for block in blocks(name, "bash") for line in block.splitlines()]
    job["out"] = str(place / "answers.json")
    (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
    settings = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, card_process.__file__, str(place / "job.json")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=place,
        env=environment(place / "home", needs_package=True) | settings,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert (place / "results").is_dir() == ("cmr-hf demo" in " ".join(job["commands"]))
    return json.loads((place / "answers.json").read_text(encoding="utf-8"))


def test_the_block_for_transformers_alone_runs_the_code_of_the_repository(used):
    assert used["alone"]["code"].startswith("transformers_modules.")
    assert used["alone"]["version"] == used["first"]


def test_the_block_for_the_package_runs_none_of_it(used):
    assert used["with_package"]["code"].startswith("cmr_hf.")
    assert used["with_package"]["version"] == used["first"]


def test_the_commands_of_the_card_succeed(used):
    assert used["commands"]
    assert set(used["commands"]) == {0}


def test_a_revision_gives_that_commit_and_the_same_answer(used):
    assert used["commit"]["version"] == used["first"]
    assert used["branch"]["version"] == used["second"]
    assert used["commit"]["sha256"] == used["branch"]["sha256"] == used["alone"]["sha256"]


def test_without_a_network_the_cache_answers_the_same(used):
    for key in ("offline", "offline_commit"):
        assert used[key]["version"] == used["first"]
        assert used[key]["sha256"] == used["alone"]["sha256"]
    assert used["from_pretrained"] == used["second"]


def test_what_the_cache_has_not_is_told_without_a_network(used):
    assert re.search("couldn't find them in the cached files|offline", used["never_seen"])
    assert not any("never-seen" in path for _, path, _ in used["requests"])


def test_the_mirror_was_asked_and_nobody_else(used):
    assert any(path.startswith("/api/models/ORG/") for _, path, _ in used["requests"])
    assert any(path.startswith("/cdn/") for _, path, _ in used["requests"])
