"""Real cardiac MR that ships with the package, to try things on (licence and origin: `ATTRIBUTION.md`)."""

from pathlib import Path

SAMPLES = {
    "sax_cine": "short-axis cine stack, 6 slices 17.7 mm apart x 13 phases, 1.41 mm pixels, 3 T (DICOM)",
}


def sample(name: str) -> Path:
    """Folder of a sample that ships with the package.

    Args:
        name: one of `SAMPLES`.

    Returns:
        The folder; `cmr_hf`'s readers and pipelines take it as it is.
    """
    if name not in SAMPLES:
        raise ValueError(f"`name` needs to be one of {sorted(SAMPLES)}, got {name!r}")
    return Path(__file__).parent / name
