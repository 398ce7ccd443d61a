"""The README's commands are run as they stand, on small files of the names they use; Hub ids on a Hub of this machine.

Where a command takes minutes, options that make it small are added behind it, and nothing else is changed.
"""

import json
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import nibabel
import numpy as np
import pytest
from huggingface_hub import constants

from cmr_hf.cli import main
from cmr_hf.publishing import publish
from cmr_hf.samples import sample
from tests.acdc_factory import write_acdc
from tests.cli.test_validate import write_cohort
from tests.finetuning.mini_set import VIT, mini_recipe, write_encoders, write_mini_set
from tests.hub_server import WRITER, HubServer

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
LINES = [
    line.strip()
    for block in re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
MODULE = " -m cmr_hf.cli "  # of a launcher: here in one process, test_cohort.py has two
COMMANDS = [line for line in LINES if line.startswith("cmr-hf ") or MODULE in line]
TRAININGS = [line for line in LINES if "training/" in line]
OF_THE_MACHINE = ("make ", "pip install ")  # .ci/run does these

SMALL = {  # beginning of a command -> what makes it small
    "cmr-hf phantom": ["--series", "cine_sax", "--slices", "2", "--phases", "2", "--matrix", "96", "112"],
    "cmr-hf validate": ["--failures", "1"],
}


def cine(place: Path, slices: str = "23", phases: tuple[str, ...] = ("11", "25")) -> None:
    place.mkdir(parents=True)
    for file in (sample("sax_cine") / f"slice0{z}_phase{t}.dcm" for z in slices for t in phases):
        shutil.copy(file, place)


def volume(place: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 500, (64, 72, 2)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(pixels, np.diag([1.4, 1.4, 8.0, 1.0])), place)


def acdc(place: Path) -> None:
    splits = write_acdc(place.parent / "made")
    if not (place.parent / "splits.json").exists():
        shutil.copy(splits, Path("splits.json"))
    shutil.move(splits.parent / "acdc", place)
    for number, file in enumerate(sorted(place.rglob("*.nii.gz"))):
        if "_gt" not in file.name:  # two patients are never alike
            picture = nibabel.load(file)
            pixels = np.asarray(picture.dataobj) + np.random.default_rng(number).integers(0, 9, picture.shape)
            nibabel.save(nibabel.Nifti1Image(pixels.astype(np.int16), picture.affine, picture.header), file)


def table(place: Path) -> None:
    block = next(one for one in re.findall(r"^```python\n(.*?)^```", README, re.M | re.S) if place.name in one)
    exec(compile(block, "README", "exec"), {"__name__": "readme"})


def cohort(place: Path) -> None:
    made = write_cohort(Path(), patients=2)
    *good, _ = made.read_text(encoding="utf-8").splitlines()  # the last file is none
    place.write_text("\n".join(good) + "\n", encoding="utf-8")


@pytest.fixture
def at_hand(tmp_path, monkeypatch, trained) -> Callable[[str], None]:
    """Makes the files that a command names, in the folder it is run in."""
    monkeypatch.chdir(tmp_path)
    makers = {
        "path/to/stack": cine,
        "path/to/cine": lambda place: cine(place, "3", ("11", "19", "25")),
        "path/to/ACDC": acdc,
        "data_root=ACDC": lambda place: acdc(Path("ACDC")),
        "other.nii.gz": volume,
        "table.csv": table,
        "study/": cine,
        "ROOT": lambda place: cine(place / "one"),
        "my_hearts.csv": cohort,
        "runs/segment/best": lambda place: shutil.copytree(trained, place),
    }

    def make(line: str) -> None:
        for word in shlex.split(line, comments=True):
            if word in makers:
                Path(word).parent.mkdir(parents=True, exist_ok=True)
                makers[word](Path(word))

    return make


@pytest.fixture
def usual_hub(hub: HubServer, signed_in: None, monkeypatch, tmp_path) -> HubServer:
    """The Hub that is asked where no other is named, with a family of two and an empty cache."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return hub


def test_every_line_of_the_readme_is_run_here_or_by_the_machine():
    assert COMMANDS
    assert TRAININGS
    assert not [one for one in LINES if one not in COMMANDS + TRAININGS and not one.startswith(OF_THE_MACHINE)]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_readme_succeeds(line, at_hand, usual_hub, trained_for, trained, monkeypatch, tmp_path):
    at_hand(line)
    weights, more = import_module("cmr_hf.weights"), []
    if line.startswith("cmr-hf publish"):
        family = {"seg": trained, "view": trained_for("cmr-view-classification")}
        monkeypatch.setattr(weights, "released", lambda: family)
        monkeypatch.setattr(import_module("cmr_hf.cli.publishing"), "CARDS", tmp_path / "cards")
        more = [] if "--dry-run" in line else ["--no-check"]  # test_release.py checks what was pushed
    if line.startswith("cmr-hf download"):
        publish(trained, "ORG/my-model", token=WRITER, check=False)
    more += next((extra for start, extra in SMALL.items() if line.startswith(start)), [])
    before = {file for file in tmp_path.rglob("*") if file.is_file()}
    words = line.partition(MODULE)[2] or line.partition(" ")[2]
    assert main([*shlex.split(words, comments=True), *more]) == 0
    writes = re.search(r"--out (\S+)", line)
    if writes:
        made = tmp_path / writes[1]
        assert made.is_file() or [file for file in made.rglob("*") if file.is_file() and file not in before]
    if line.startswith("cmr-hf publish"):
        assert bool(usual_hub.repos) == ("--dry-run" not in line)


@pytest.mark.parametrize("line", TRAININGS)
def test_a_training_of_the_readme_succeeds_with_a_tiny_model(line, at_hand, monkeypatch, tmp_path):
    at_hand(line)
    encoders, mini = write_encoders(tmp_path / "encoders"), mini_recipe(Path("table.csv"))
    if "table.csv" in line:
        shutil.rmtree(tmp_path / "table.csv", ignore_errors=True)
        write_mini_set(tmp_path)
    tiny = {name: value for name, value in mini.items() if name not in ("train_on", "choose_on", "resnet_model")}
    tiny |= {"init_from": str(encoders["dino"]), "bf16": False, "output_dir": "runs/mine", "warmup_steps": 1}
    words = shlex.split(line)
    script = next(word for word in words if word.endswith(".py"))
    given = words[words.index(script) + 1 :]
    given = [str(ROOT / word) if word.startswith("training/") else word for word in given]
    if "cine_sax" in line:
        tiny |= {"init_from": None, "save_steps": 2}
        tiny["model"] = tiny["model"] | {"backbone_config": VIT}
        tiny.pop("processor")
    overrides = [f"{name}={json.dumps(value)}" for name, value in tiny.items()]
    monkeypatch.setattr(sys, "argv", [str(ROOT / script), *given, *overrides])
    runpy.run_path(str(ROOT / script), run_name="__main__")
    record = json.loads((tmp_path / "runs" / "mine" / "best" / "training.json").read_text(encoding="utf-8"))
    assert record["steps"] == 2


def test_the_block_that_reads_acdc_runs(at_hand):
    (block,) = [one for one in re.findall(r"^```py\n(.*?)^```", README, re.M | re.S) if 'load("acdc"' in one]
    at_hand("path/to/ACDC")
    names: dict = {}
    exec(compile(block, "README", "exec"), names)
    assert set(names["sides"]) == {"train", "validation", "test"}
    assert len(names["sides"]["train"])
