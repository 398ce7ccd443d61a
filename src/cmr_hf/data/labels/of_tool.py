"""One door to the labels of other tools: the file itself says which one wrote it."""

from __future__ import annotations

from pathlib import Path

from ...hub.checking_cmr import file_head
from ...hub.dicom_tags_cmr import looks_like_dicom, parse, text
from ...hub.reading_cmr import read_image
from .cvi42 import read_cvi42
from .dicom_seg import read_dicom_seg
from .imported import ImportedLabels
from .names import LabelMap
from .nrrd import read_nrrd_masks
from .rtstruct import read_rtstruct
from .segment_mat import read_segment


def labels_of_tool(
    path: str | Path,
    image: str | Path,
    *,
    patient: str,
    licence: str = "unknown",
    label_map: LabelMap | None = None,
) -> ImportedLabels | None:
    """Labels that another tool drew, on their pictures.

    Args:
        path: a cvi42 workspace (`.cvi42wsx`), a file of Segment (`.mat` or `.seg`, which holds its own images), NRRD
            (`.nrrd`, `.nhdr`), DICOM SEG or RTSTRUCT.
        image: what it was drawn on: the folder of DICOM, for NRRD any image.
        patient: a pseudonym, see `LabelledStack`.
        licence: the Hub's name of it.
        label_map: see `structure_of`; cvi42 and Segment have fixed names.

    Returns:
        The stacks, or `None` where the file is a plain picture or volume of label ids.

    Raises:
        ReadingError: as the reader of that tool.
    """
    path = Path(path)
    ending, who = path.suffix.lower(), {"patient": patient, "licence": licence}
    if ending == ".cvi42wsx":
        return read_cvi42(path, image, **who)
    if ending in (".mat", ".seg"):
        return read_segment(path, **who)
    if ending in (".nrrd", ".nhdr"):
        return read_nrrd_masks(path, label_map=label_map).apply_to(read_image(image), **who)
    if path.is_file() and looks_like_dicom(file_head(path, path.name)):
        modality = text(parse(path, path.name, header_only=True), "Modality")
        if modality in ("SEG", "RTSTRUCT"):
            read = read_dicom_seg if modality == "SEG" else read_rtstruct
            return read(path, image, **who, label_map=label_map)
    return None
