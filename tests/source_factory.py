"""One beating heart in every form that a pipeline takes; recipes are those of `tests.answers`."""

from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

from tests.dicom_factory import OBLIQUE, write_slice
from tests.multiframe_factory import write_multiframe

SPACING = (1.75, 2.25)
PHASES, SLICES = 3, 4
NORMAL = np.cross(OBLIQUE[:3], OBLIQUE[3:])  # towards the base
SOURCES = (
    "array",
    "PIL",
    "PNG",
    "DICOM file",
    "DICOM folder",
    "multi-frame DICOM",
    "NIfTI",
    "list",
    "dict",
)
DETECTION = ("cmr-lge-detection", "cmr-disease-detection")


def scan(*shape: int) -> np.ndarray:
    """Smooth blobs in 0…1000, int16, so that a model has something to see."""
    rng = np.random.default_rng(3)
    y, x = np.indices(shape[-2:])
    flat = np.empty((int(np.prod(shape[:-2])), *shape[-2:]))
    for image in flat:
        centres, widths = rng.uniform(0.2, 0.8, (6, 2)) * shape[-2:], rng.uniform(4, 14, 6)
        image[...] = sum(
            np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * w**2)) for (cy, cx), w in zip(centres, widths, strict=True)
        )
    return (1000 * flat / flat.max()).astype(np.int16).reshape(shape)


def beating(phases: int, slices: int, rows: int, columns: int, *, systole: int) -> np.ndarray:
    """Int16 `(t, z, y, x)`: from one picture at phase 0 to another at `systole`, and back."""
    relaxed, contracted = scan(2, slices, rows, columns).astype(float)
    phase = np.arange(phases)
    weight = np.where(phase <= systole, phase / systole, (phases - phase) / (phases - systole))
    return np.round(relaxed + weight[:, None, None, None] * (contracted - relaxed)).astype(np.int16)


def heart() -> np.ndarray:
    """Int16 `(t, z, y, x)`, 3 phases of 4 slices, end-systole last."""
    return beating(PHASES, SLICES, 60, 51, systole=2)


def write_cine_folder(folder: Path, cine: np.ndarray, spacing_mm: tuple[float, float] = SPACING) -> Path:
    """One file per slice and phase of `cine`, from apex to base along `NORMAL`."""
    for phase, stack in enumerate(cine):
        for k, pixels in enumerate(stack):
            write_slice(
                folder / f"{k:02}_{phase:02}.dcm",
                pixels.astype(np.uint16),
                PixelSpacing=list(spacing_mm),
                ImageOrientationPatient=[float(value) for value in OBLIQUE],
                ImagePositionPatient=[round(float(value), 6) for value in 10.0 * k * NORMAL],
                TriggerTime=40 * phase,
                InstanceNumber=len(cine) * k + phase + 1,
            )
    return folder


def write_enhanced_cine(path: Path, cine: np.ndarray) -> Path:
    """The same in one enhanced file."""
    frames = [
        {
            "PlanePositionSequence": {"ImagePositionPatient": [round(float(value), 6) for value in 10.0 * k * NORMAL]},
            "PlaneOrientationSequence": {"ImageOrientationPatient": [float(value) for value in OBLIQUE]},
            "CardiacSynchronizationSequence": {"NominalCardiacTriggerDelayTime": 40.0 * phase},
        }
        for phase in range(len(cine))
        for k in range(cine.shape[1])
    ]
    shared = {"PixelMeasuresSequence": {"PixelSpacing": list(SPACING)}}
    return write_multiframe(path, cine.reshape(-1, *cine.shape[-2:]).astype(np.uint16), frames, shared)


def every_source(folder: Path, tasks: tuple[str, ...]) -> dict[str, dict[str, dict]]:
    """task → source → recipe and call options; detection gets three pictures where others get one."""
    cine = heart()
    np.save(folder / "cine.npy", cine, allow_pickle=False)
    nifti = nibabel.Nifti1Image(cine.transpose(3, 2, 1, 0), np.diag([SPACING[1], SPACING[0], 9.0, 1.0]))
    nibabel.save(nifti, folder / "cine.nii.gz")
    write_cine_folder(folder / "dicom", cine)
    write_enhanced_cine(folder / "enhanced.dcm", cine)
    for phase in range(PHASES):
        Image.fromarray((cine[phase, 1] // 4).astype(np.uint8)).save(folder / f"{phase}.png")

    def path(name: str, how: str = "path") -> dict:
        return {"as": how, "path": str(folder / name)}

    def three(recipes: list[dict]) -> dict:
        return {"as": "dict", "items": {"images": {"as": "list", "items": recipes}}}

    array, known = path("cine.npy", "array"), {"spacing_mm": list(SPACING)}
    files = [path(f"dicom/01_{phase:02}.dcm") for phase in range(PHASES)]
    pngs = [path(f"{phase}.png") for phase in range(PHASES)]
    pictures = [path(f"{phase}.png", "picture") for phase in range(PHASES)]
    with_spacing = {"as": "dict", "items": {"image": array, **known}}
    several = {"as": "list", "items": [with_spacing, path("dicom"), path("enhanced.dcm")]}
    found = {}
    for task in tasks:
        one = three if task in DETECTION else (lambda recipes: recipes[0])
        recipes = (array, one(pictures), one(pngs), one(files), path("dicom"), path("enhanced.dcm"))
        recipes += (path("cine.nii.gz"), several, with_spacing)
        options = (known, known, known, {}, {}, {}, {}, {}, {})
        found[task] = {
            name: {"recipe": recipe, "options": given}
            for name, recipe, given in zip(SOURCES, recipes, options, strict=True)
        }
    return found
