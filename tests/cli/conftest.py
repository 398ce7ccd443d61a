"""What the tests of the commands share: a cine as a user might name it, and folders of tiny models."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.model_factory import tiny_model, tiny_processor

PHASES, SLICES = 3, 4


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A NIfTI cine of 4 slices and 3 phases; one of its header's free texts names a person."""
    pixels = np.random.default_rng(0).integers(0, 500, (40, 36, SLICES, PHASES)).astype(np.int16)
    image = nib.Nifti1Image(pixels, np.diag([1.4, 1.5, 8.0, 1.0]))
    image.header["descrip"] = b"DOE^JANE 19700101"
    file = tmp_path / "my heart (1).nii.gz"
    nib.save(image, file)
    return file


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = tmp_path / "notes.dcm"
    file.write_text("not an image")
    return file


@pytest.fixture(scope="session")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Task -> the folder of a tiny model for it, made once."""
    made: dict[str, str] = {}

    def folder(task: str) -> str:
        if task not in made:
            torch.manual_seed(0)
            place = tmp_path_factory.mktemp("models") / task
            tiny_model(task).save_pretrained(place)
            tiny_processor().save_pretrained(place)
            made[task] = str(place)
        return made[task]

    return folder
