"""A small Hub, a client that may reach it, and a trained model as training leaves it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import constants, file_download
from huggingface_hub.utils import _http, close_session

from cmr_hf.publishing import save_embedded
from tests.hub_server import WRITER, HubServer
from tests.model_factory import tiny_model, tiny_processor

RESULTS = {
    "training": {
        "recipe": {"dataset": "phantoms", "max_steps": 20, "learning_rate": 0.001, "seed": 7},
        "minutes": 0.5,
        "steps": 20,
        "threads": 1,
        "validation": {"eval_dice_per_volume_RV": 0.71, "eval_loss": 0.3},
        "train_patients": ["PHANTOM-NORM-000000", "PHANTOM-DCM-000001"],
    },
    "test": {
        "dataset": "phantoms",
        "side": "test",
        "patients": 3,
        "dice": {
            "per_volume": {
                "LV cavity": {"mean": 0.81234, "sd": 0.05, "n": 6},
                "RV": {"mean": None, "sd": None, "n": 0},
            }
        },
    },
}


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The client of this process may use the network, without xet, without a token of its own, and without waiting."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    at_once = SimpleNamespace(sleep=lambda seconds: None)
    monkeypatch.setattr(_http, "time", at_once)
    monkeypatch.setattr(file_download, "time", at_once)
    close_session()
    yield
    close_session()


@pytest.fixture
def hub(online: None) -> Iterator[HubServer]:
    """A Hub that takes files from 100 kB on as large ones."""
    with HubServer(lfs_from=100_000) as server:
        yield server


@pytest.fixture
def signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual token is one that may write to ORG."""
    monkeypatch.setenv("HF_TOKEN", WRITER)


@pytest.fixture(scope="session")
def trained_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Task -> the folder of a tiny model, as training leaves it; made once, to be read only."""
    made: dict[str, Path] = {}

    def folder(task: str) -> Path:
        if task not in made:
            torch.manual_seed(0)
            place = tmp_path_factory.mktemp("trained") / task
            made[task] = save_embedded(tiny_model(task), tiny_processor(), place, dtype=torch.float32)
            (place / "LICENSE").write_text("Apache License\nVersion 2.0", encoding="utf-8")
            (place / "results.json").write_text(json.dumps(RESULTS), encoding="utf-8")
        return made[task]

    return folder


@pytest.fixture(scope="session")
def trained(trained_for: Callable[[str], Path]) -> Path:
    """A segmentation model, 256 kB of weights."""
    return trained_for("cmr-segmentation")
