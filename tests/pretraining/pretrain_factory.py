"""A miniature run of training/pretrain.py: tiny network, pictures of blobs, seconds on one core."""

import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import yaml

from cmr_hf import CMRViTConfig, CMRViTModel
from cmr_hf.pretraining.head import DINOHead, DINONetwork

ROOT = Path(__file__).parents[2]
BACKBONE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "patch_size": 8,
    "image_size": 32,
}
HEAD = {"hidden_dim": 32, "bottleneck_dim": 16}
VIEWS = {"global_size": 32, "local_size": 16, "local_count": 2}


def tiny_student(out_dim: int = 24, drop_path_rate: float = 0.0) -> DINONetwork:
    config = CMRViTConfig(**BACKBONE, drop_path_rate=drop_path_rate)
    return DINONetwork(CMRViTModel(config), DINOHead(32, out_dim, **HEAD)).train()


def blobs(count: int, side: int = 64, seed: int = 0) -> torch.Tensor:
    """Pictures of one bright disc each, uint8, shape `(count, side, side)`."""
    generator = torch.Generator().manual_seed(seed)
    middle = side * (0.3 + 0.4 * torch.rand(count, 2, 1, 1, generator=generator))
    radius = side * (0.1 + 0.2 * torch.rand(count, 1, 1, generator=generator))
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    distance = ((row - middle[:, 0]) ** 2 + (column - middle[:, 1]) ** 2).sqrt()
    noise = 20 * torch.rand(count, side, side, generator=generator)
    return (60 + 150 * (distance < radius) + noise).byte()


def recipe(folder: Path, **values: Any) -> Path:
    """A YAML file for training/pretrain.py."""
    usual = {
        "data": [{"noise": 40}],
        "output_dir": str(folder / "run"),
        "backbone": BACKBONE,
        "head": HEAD,
        "views": VIEWS,
        "out_dim": 24,
        "batch_size": 8,
        "max_steps": 6,
        "schedules": {"frozen_steps": 1, "base_learning_rate": 0.05},
        "mixed_precision": "no",
        "threads": 1,
        "deterministic": True,
        "log_every": 1,
        "save_every": 2,
        "keep_checkpoints": 10,
        "trackers": "none",
        "progress": False,
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(usual | values), encoding="utf-8")
    return file


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def command(file: Path, *overrides: str, processes: int = 1) -> list[str]:
    script = [str(ROOT / "training" / "pretrain.py"), "--config", str(file), *overrides]
    if processes == 1:
        return [sys.executable, *script]
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [sys.executable, *launch, *script]


def run(file: Path, *overrides: str, processes: int = 1) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(file, *overrides, processes=processes),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )


def run_here(monkeypatch, file: Path, *overrides: str) -> None:
    """The script within this process."""
    from accelerate.state import AcceleratorState

    before = signal.getsignal(signal.SIGTERM), torch.get_num_threads()
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setattr(sys, "argv", ["pretrain.py", "--config", str(file), *overrides])
    try:
        runpy.run_path(str(ROOT / "training" / "pretrain.py"), run_name="__main__")
    finally:
        signal.signal(signal.SIGTERM, before[0])
        torch.set_num_threads(before[1])
        torch.use_deterministic_algorithms(False)
        AcceleratorState._reset_state(reset_partial_state=True)


def log_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
