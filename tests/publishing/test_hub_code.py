"""An export opens with this package, and from a bare transformers: each case in a process of its own.

Every process has an empty HF_HOME, no network and a closed stdin, so that a question would be an error. The processes
run two at a time; a test waits for its own.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import pipeline

import cmr_hf
from cmr_hf.publishing import export
from tests.publishing.processes import SECONDS, environment

COMMIT = "0123456789abcdef0123456789abcdef01234567"

CHILD = """
import json, sys
from pathlib import Path

job = json.loads(sys.argv[1])


class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "cmr_hf":
            raise ImportError("cmr_hf is forbidden here")


if job["with_package"]:
    import cmr_hf
else:
    sys.meta_path.insert(0, Forbidden())

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoModel, pipeline

out, image = Path(job["out"]), np.load(job["image"], allow_pickle=False)
spacing, trust = tuple(job["spacing_mm"]), {"trust_remote_code": True} if job["trust"] else {}


def record(name, pipe):
    result = pipe(image, spacing_mm=spacing)
    np.save(out / f"{name}.npy", result["segmentation"], allow_pickle=False)
    classes = [type(part).__module__ for part in (pipe, pipe.model, pipe.model.config, pipe.image_processor)]
    facts = {"scores": result["scores"], "labels": result["labels"], "dtype": str(pipe.model.dtype)}
    (out / f"{name}.json").write_text(json.dumps(facts | {"modules": classes}))


def record_features(name, encoder, processor):
    pixel_values = processor(image, spacing_mm=spacing)["pixel_values"]
    with torch.no_grad():
        features = encoder(pixel_values).last_hidden_state
    np.save(out / f"{name}_features.npy", features.numpy(), allow_pickle=False)
    (out / f"{name}_encoder.txt").write_text(type(encoder).__name__)


try:
    pipe = pipeline("cmr-segmentation", model=job["model"], **trust)
except ValueError as error:
    (out / "error.txt").write_text(str(error))
    raise SystemExit

record("opened", pipe)
if job["then"] == "reference":
    installed = pipeline("cmr-segmentation", model=cmr_hf.embedded("cine-sax"), dtype=torch.float32)
    record("reference", installed)
    record_features("reference", installed.model.backbone, installed.image_processor)
if job["then"] == "parts":
    model = AutoModel.from_pretrained(job["model"], **trust)
    record_features("opened", model.eval().backbone, AutoImageProcessor.from_pretrained(job["model"], **trust))
if job["then"] == "export":
    sys.meta_path.pop(0)
    from cmr_hf.publishing import export

    export(pipe, out / "model", dtype=torch.float16)
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model as it goes to the Hub."""
    pipe = pipeline("cmr-segmentation", model=cmr_hf.embedded("cine-sax"), dtype=torch.float32)
    return export(pipe, tmp_path_factory.mktemp("published") / "model", dtype=torch.float16)


def as_hub_cache(folder: Path, home: Path, repo: str) -> None:
    """Lays a folder where huggingface_hub would have put it after a download."""
    cached = home / "hub" / f"models--{repo.replace('/', '--')}"
    shutil.copytree(folder, cached / "snapshots" / COMMIT)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT)


def run(published: Path, image: Path, out: Path, case: dict) -> Path:
    job = {"with_package": False, "trust": False, "then": "", "model": str(published)} | case
    job |= {"out": str(out), "image": str(image), "spacing_mm": [1.5, 1.6]}
    home = out / "home"
    home.mkdir()
    if job["model"] != str(published):
        as_hub_cache(published, home, job["model"])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(job)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=home,
        env=environment(home, job["with_package"] or job["then"] == "export"),
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return out


CASES = {
    "package": {"with_package": True, "then": "reference"},
    "bare, trusted": {"trust": True, "then": "parts"},
    "package, trusted": {"with_package": True, "trust": True},
    "bare": {},
    "hub cache, trusted": {"trust": True, "model": "org/cmr-cine.sax-v1"},
    "bare, trusted, exported again": {"trust": True, "then": "export"},
}


@pytest.fixture(scope="module")
def finished(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Starts all cases, two at a time, and gives the folder with what one of them wrote."""
    image = tmp_path_factory.mktemp("image") / "image.npy"
    rows, columns = np.mgrid[:96, :80]
    heart = np.hypot(rows - 50, columns - 38)
    noise = np.random.default_rng(0).normal(scale=5, size=(2, 96, 80))
    np.save(image, (400 * (heart < 14) + 90 * (heart < 22) + 60 + noise).astype(np.float32), allow_pickle=False)
    with ThreadPoolExecutor(max_workers=2) as pool:
        running: dict[str, Future[Path]] = {
            name: pool.submit(run, published, image, tmp_path_factory.mktemp("case"), case)
            for name, case in CASES.items()
        }
        yield lambda name: running[name].result()
        for future in running.values():
            future.cancel()


def facts_of(folder: Path, name: str) -> dict:
    return json.loads((folder / f"{name}.json").read_text())


def assert_as_installed(folder: Path, reference: Path) -> None:
    labels = np.load(folder / "opened.npy", allow_pickle=False)
    expected = np.load(reference / "reference.npy", allow_pickle=False)
    assert labels.dtype == expected.dtype == np.uint8
    assert labels.shape == (2, 96, 80)
    assert np.array_equal(labels, expected)
    facts, wanted = facts_of(folder, "opened"), facts_of(reference, "reference")
    for key in ("scores", "labels", "dtype"):
        assert facts[key] == wanted[key]
    assert facts["dtype"] == "torch.float32", "stored halves must be computed in float32"


def come_from(folder: Path) -> set[str]:
    return {module.partition(".")[0] for module in facts_of(folder, "opened")["modules"]}


def test_after_import_it_opens_without_a_question(finished):
    folder = finished("package")
    assert_as_installed(folder, folder)
    assert come_from(folder) == {"cmr_hf"}


def test_a_bare_transformers_opens_it_once_trusted(finished):
    folder = finished("bare, trusted")
    assert_as_installed(folder, finished("package"))
    assert come_from(folder) == {"transformers_modules"}


def test_a_bare_transformers_finds_the_encoder_and_the_processor_in_it(finished):
    folder = finished("bare, trusted")
    assert (folder / "opened_encoder.txt").read_text() == "CMRViTModel"
    features = np.load(folder / "opened_features.npy", allow_pickle=False)
    assert np.array_equal(features, np.load(finished("package") / "reference_features.npy", allow_pickle=False))


def test_after_import_trust_changes_nothing(finished):
    folder = finished("package, trusted")
    assert_as_installed(folder, finished("package"))
    assert come_from(folder) == {"cmr_hf"}


def test_a_bare_transformers_without_trust_says_why_it_does_not_open(finished):
    error = (finished("bare") / "error.txt").read_text()
    assert "custom code" in error
    assert "trust_remote_code=True" in error


def test_it_opens_by_its_name_from_the_hub_cache(finished):
    folder = finished("hub cache, trusted")
    assert_as_installed(folder, finished("package"))
    assert come_from(folder) == {"transformers_modules"}


def test_when_opened_as_remote_code_and_exported_again_then_every_file_is_the_same(finished, published):
    folder = finished("bare, trusted, exported again") / "model"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in published.iterdir()
    }
