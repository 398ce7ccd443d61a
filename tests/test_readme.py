"""What the README tells a user to type runs as it stands."""

import json
import re
import shlex
from pathlib import Path

import pytest

from cmr_hf.publishing.tables import family_table, results_table
from cmr_hf.weights import embedded, embedded_names

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CARDS = sorted((ROOT / "src/cmr_hf/weights").glob("*/README.md"))


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


SNIPPETS = blocks("python") + [block for card in CARDS for block in blocks("python", card.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("index", range(len(SNIPPETS)))
def test_when_a_snippet_of_the_readme_or_a_card_is_run_then_it_works(
    index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(SNIPPETS[index], f"snippet {index}", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.parent.name)
def test_when_a_card_states_numbers_then_they_are_those_measured(card: Path) -> None:
    table = results_table(json.loads((card.parent / "results.json").read_text(encoding="utf-8")))
    assert table in card.read_text(encoding="utf-8")
    assert table in README


def test_when_readme_states_numbers_of_the_family_then_they_are_those_measured() -> None:
    found = {
        name: json.loads((embedded(name) / "results.json").read_text(encoding="utf-8"))
        for name in embedded_names()
        if name != "cine-sax"
    }
    assert family_table(found) in README


def test_when_readme_names_a_command_then_the_command_line_knows_it() -> None:
    from cmr_hf.cli import _parser

    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("cmr-hf ")]
    assert lines
    for line in lines:
        assert callable(_parser().parse_args(shlex.split(line, comments=True)[1:]).run)


def test_when_readme_names_a_file_of_the_tree_then_it_is_there() -> None:
    links = [target for target in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in target]
    configs = re.findall(r"--config (\S+)", README)
    assert links
    assert configs
    for name in links + configs:
        assert (ROOT / name).is_file(), name


def test_when_readme_and_card_tell_of_earlier_weights_then_the_numbers_are_those_measured() -> None:
    for card in CARDS:
        earlier = json.loads((card.parent / "results.json").read_text(encoding="utf-8"))["earlier"]["test"]
        told = [
            " / ".join(f"{entry['mean']:.3f}" for entry in entries.values())
            for entries in (earlier["dice"]["per_volume"], earlier["sunnybrook"]["dice"]["per_patient"])
        ]
        assert all(numbers in text for numbers in told for text in (README, card.read_text(encoding="utf-8")))
