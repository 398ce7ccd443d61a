"""What a process of its own starts from: an empty HF_HOME and no network."""

import os
from pathlib import Path

import cmr_hf

SECONDS = 600  # before a process counts as hung; a busy machine takes minutes to import torch twice


def environment(home: Path, needs_package: bool) -> dict[str, str]:
    ours = ("HF_", "TRANSFORMERS_", "PYTHONPATH", "CMR_HF_")
    values = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    values |= {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    values |= {"OMP_NUM_THREADS": "1", "HOME": str(home)}
    return values | ({"PYTHONPATH": str(Path(cmr_hf.__file__).parents[1])} if needs_package else {})
