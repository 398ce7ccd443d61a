"""DICOM SEG of label maps, one file a phase, that points to the source's images and names no person.

highdicom copies the patient's and the study's fields of its source images. It gets stand-ins here that hold geometry
and references only: patient, dates, institution and physician are empty. The UIDs of study, series and images stay, as
nothing else says which images a segmentation belongs to.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import __version__
from ...clinical.colours import rgb_of
from ...clinical.volumes import LABEL_NAMES
from ...clinical.writers import whole_file
from ..sources import FrameReference

if TYPE_CHECKING:
    from ..results import StackAssessment

MAKER = "cmr_hf"
# label -> name of the property in pydicom's dictionary of SNOMED CT
CODES = {
    1: "LeftVentricle",
    2: "LeftVentricleMyocardium",
    3: "RightVentricle",
    4: "LeftAtrium",
    5: "RightAtrium",
    6: "ScarTissue",
}


def write_dicom_seg(stack: "StackAssessment", phase: int, path: Path, number: int = 1) -> Path:
    """Writes the label map of one phase.

    Args:
        stack (`StackAssessment`): with labels, patient space and references to DICOM.
        phase (`int`): from 0.
        path (`Path`): file to write.
        number (`int`): of the instance in its series.

    Raises:
        ValueError: the source is no DICOM, has no place in space, or nothing is labelled.
        ImportError: highdicom is not installed.
    """
    try:
        from highdicom.seg import Segmentation
    except ImportError as error:
        raise ImportError("DICOM SEG needs highdicom: pip install 'cmr_hf[clinical]'") from error
    from pydicom.uid import generate_uid

    references = _references(stack, phase)
    labels = stack.labels[phase]
    present = [label for label in sorted(CODES) if (labels == label).any()]
    if not present:
        raise ValueError(f"phase {phase + 1} has no label: there is nothing to write")
    numbered = np.zeros_like(labels)
    for position, label in enumerate(present, 1):
        numbered[labels == label] = position
    place = references[0].place_uid or generate_uid(entropy_srcs=[references[0].series_uid or references[0].study_uid])
    stand_ins = [_stand_in(stack, z, place, references[0].study_uid) for z in range(len(labels))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of UIDs that real files hold and the standard forbids
        made = Segmentation(
            source_images=stand_ins,
            pixel_array=numbered,
            segmentation_type="BINARY",
            segment_descriptions=_descriptions(present, stack),
            series_instance_uid=generate_uid(entropy_srcs=[stack.source.digest, stack.masks_from, stack.model]),
            series_number=900 + stack.number,
            sop_instance_uid=generate_uid(),
            instance_number=number,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=__version__,
            device_serial_number="0",
            content_label="CMR_SEG",
            content_description=f"{stack.kind}, phase {phase + 1} of {len(stack.labels)}"[:64],
            series_description=f"{MAKER} {stack.kind}"[:64],
        )
        _point_back(made, stand_ins, references)
        with whole_file(path) as part:
            made.save_as(part, enforce_file_format=True)
    return path


def _references(stack: "StackAssessment", phase: int) -> Sequence[FrameReference]:
    if stack.source.frames is None:
        raise ValueError("the source is no DICOM, so there are no images to refer to")
    if stack.source.stack.affines is None:
        raise ValueError("the source has no position in patient space")
    references = list(stack.source.frames[phase])
    if any(one is None or not one.sop_instance_uid or not one.study_uid for one in references):
        raise ValueError("images of the source have no SOP instance or study UID, so nothing can refer to them")
    return references


def _stand_in(stack: "StackAssessment", z: int, place_uid: str, study_uid: str) -> Any:
    """A source image without pixels and without a person: what highdicom reads of one."""
    from pydicom.dataset import Dataset
    from pydicom.uid import MRImageStorage, generate_uid

    affine = stack.source.stack.affines[z]
    row_mm, column_mm = stack.source.stack.spacing_mm
    made = Dataset()
    for keyword in (
        "PatientID PatientName PatientBirthDate PatientSex AccessionNumber StudyID StudyDate StudyTime "
        "ReferringPhysicianName"
    ).split():
        setattr(made, keyword, "")
    made.SOPClassUID, made.SOPInstanceUID = MRImageStorage, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = study_uid, "2.25.1"
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = place_uid, ""
    made.Modality = "MR"
    _, _, made.Rows, made.Columns = stack.source.shape
    made.PixelSpacing = [_short(row_mm), _short(column_mm)]
    made.SliceThickness = _short(stack.source.stack.thickness_mm or stack.source.stack.distance_mm or 1.0)
    made.ImageOrientationPatient = [
        _short(value) for value in (*(affine[:3, 0] / column_mm), *(affine[:3, 1] / row_mm))
    ]
    made.ImagePositionPatient = [_short(value) for value in affine[:3, 3]]
    return made


def _short(value: float) -> float:
    """A decimal string holds 16 characters."""
    return float(f"{value:.9g}")


def _descriptions(labels: Sequence[int], stack: "StackAssessment") -> list[Any]:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    by_hand = stack.masks_from == "hand"
    algorithm = AlgorithmIdentificationSequence(
        name=f"{MAKER} {stack.model}", family=codes.DCM.ArtificialIntelligence, version=__version__
    )
    return [
        SegmentDescription(
            segment_number=position,
            segment_label=LABEL_NAMES[label],
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure
            if label == 6
            else codes.SCT.AnatomicalStructure,
            segmented_property_type=getattr(codes.SCT, CODES[label]),
            algorithm_type="SEMIAUTOMATIC" if by_hand else "AUTOMATIC",
            algorithm_identification=algorithm,
            display_color=CIELabColor.from_rgb(*(round(255 * part) for part in rgb_of(label))),
        )
        for position, label in enumerate(labels, 1)
    ]


def _point_back(made: Any, stand_ins: Sequence[Any], references: Sequence[FrameReference]) -> None:
    """References to stand-ins become references to the source's own images, frames and series."""
    from pydicom.dataset import Dataset

    real = {str(one.SOPInstanceUID): reference for one, reference in zip(stand_ins, references, strict=True)}
    for frame in made.PerFrameFunctionalGroupsSequence:
        for derivation in frame.get("DerivationImageSequence", []):
            for item in derivation.SourceImageSequence:
                reference = real.get(str(item.ReferencedSOPInstanceUID))
                if reference is not None:  # frames of one slice share this item
                    _name(item, reference)
    series: dict[str, Any] = {}
    seen: set[str] = set()
    for reference in references:
        if reference.series_uid not in series:
            series[reference.series_uid] = Dataset()
            series[reference.series_uid].SeriesInstanceUID = reference.series_uid
            series[reference.series_uid].ReferencedInstanceSequence = []
        if reference.sop_instance_uid not in seen:
            seen.add(reference.sop_instance_uid)
            item = Dataset()
            _name(item, reference, with_frame=False)
            series[reference.series_uid].ReferencedInstanceSequence.append(item)
    made.ReferencedSeriesSequence = list(series.values())


def _name(item: Any, reference: FrameReference, with_frame: bool = True) -> None:
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    if with_frame and reference.frame is not None:
        item.ReferencedFrameNumber = reference.frame
