"""What the README tells a user to type runs as it stands."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("index", range(len(blocks("python"))))
def test_when_a_readme_snippet_is_run_then_it_works(index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("python")[index], f"README block {index}", "exec"), {"__name__": "readme"})


def test_when_readme_names_a_command_then_the_command_line_knows_it() -> None:
    from cmr_hf.cli import _parser

    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("cmr-hf ")]
    assert lines
    for line in lines:
        assert callable(_parser().parse_args(shlex.split(line)[1:]).run)


def test_when_readme_names_a_file_of_the_tree_then_it_is_there() -> None:
    links = [target for target in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in target]
    configs = re.findall(r"--config (\S+)", README)
    assert links and configs
    for name in links + configs:
        assert (ROOT / name).is_file(), name
