"""What the header of one DICOM file tells of each of its frames, beyond the place in space that the hub reads.

Only the tags of `TAGS` are parsed, and no pixels. Free text becomes terms of a closed list at once (`words`), dates
become seconds, identifiers of the patient become digests: nothing of it is kept as it was written.
"""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ..hub.checking_cmr import ReadingError, quiet
from ..hub.dicom_slice_cmr import DicomSlice, headers_of
from ..hub.dicom_tags_cmr import Frame, frames_of, number, numbers, parse, text
from .kinds import reason_not_used
from .patient import PatientFacts, patient_facts
from .words import t2_preparation_ms, terms_of, vendor_of

try:
    import pydicom
except ImportError:
    pydicom = None

_GE_CREATOR, _GE_COMPONENT = 0x00430010, 0x0043102F
TAGS = (
    "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID Modality ImageType "
    "PatientID PatientName PatientBirthDate PatientSex PatientAge PatientSize PatientWeight "
    "SeriesNumber AcquisitionNumber InstanceNumber TemporalPositionIndex SeriesDescription ProtocolName SequenceName "
    "PulseSequenceName ImageComments AcquisitionDate AcquisitionTime AcquisitionDateTime ContentDate ContentTime "
    "SeriesDate SeriesTime "
    "Rows Columns NumberOfFrames SamplesPerPixel PhotometricInterpretation BitsAllocated PixelSpacing "
    "ImageOrientationPatient ImagePositionPatient SliceLocation SliceThickness SpacingBetweenSlices "
    "FrameIncrementPointer FrameTime FrameTimeVector TriggerTime NominalPercentageOfCardiacPhase NominalInterval "
    "HeartRate CardiacRRIntervalSpecified CardiacNumberOfImages EchoTime RepetitionTime FlipAngle InversionTime "
    "EffectiveEchoTime InversionTimes ScanningSequence SequenceVariant ContrastBolusAgent Manufacturer "
    "MagneticFieldStrength RescaleType RescaleSlope RealWorldValueMappingSequence PerFrameFunctionalGroupsSequence "
    "SharedFunctionalGroupsSequence DimensionIndexSequence DirectoryRecordSequence VelocityEncodingDirection"
).split()
_PARTS = {0: "M", 1: "P", 2: "R", 3: "I"}  # GE's private image type
_TIMING, _ECHO, _MODIFIER = "MRTimingAndRelatedParametersSequence", "MREchoSequence", "MRModifierSequence"
_MEASURES, _CARDIAC, _CONTENT = "PixelMeasuresSequence", "CardiacSynchronizationSequence", "FrameContentSequence"
_ANY_DAY = "20000101"
_NO_KIND = ("", "ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "MIXED", "NONE", "OTHER", "MFSPLIT")


@dataclass(eq=False, repr=False)
class FrameHeader:
    """One frame: its place (`slice`), its contrast, its moment, and the identifiers that point back to it.

    Attributes:
        slice (`DicomSlice`): place in space and time, as the hub reads it; its `path` and `index` find the pixels.
        file (`int`): number of the file in the study's list, from 1.
        sop_class_uid, sop_instance_uid (`str`): what a DICOM SEG refers to; "" when absent.
        study_uid, series_uid, place_uid (`str`): study, series and frame of reference; "" when absent.
        series_number, acquisition (`float`, *optional*).
        taken_s (`float`, *optional*): when it was acquired, in seconds from an arbitrary day; only differences count.
        filed_s (`float`, *optional*): the same, of the series or the content where nobody wrote the acquisition.
        cardiac_images (`int`): how many images of a cycle the header announces; 0 when it does not.
        types (`tuple` of `str`): values of ImageType or FrameType.
        component (`str`): what the pixels are, "M", "P", "R" … as the vendor writes it.
        terms (`tuple` of `str`): known words of the descriptions.
        echo_ms, repetition_ms, flip_deg, inversion_ms, preparation_ms, thickness_mm, rr_ms (`float`, *optional*).
        sequence, variant (`str`): ScanningSequence and SequenceVariant.
        unit_source (`str`): how the header tells that values are ms: "RealWorldValueMapping", "RescaleType" or "".
        field_t (`float`, *optional*); vendor (`str`); contrast_agent (`bool`): whether the header names one.
    """

    slice: DicomSlice
    file: int
    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    place_uid: str
    series_number: float | None
    acquisition: float | None
    taken_s: float | None
    filed_s: float | None
    cardiac_images: int
    types: tuple[str, ...]
    component: str
    terms: tuple[str, ...]
    echo_ms: float | None
    repetition_ms: float | None
    flip_deg: float | None
    inversion_ms: float | None
    preparation_ms: float | None
    thickness_mm: float | None
    rr_ms: float | None
    sequence: str
    variant: str
    unit_source: str
    field_t: float | None
    vendor: str
    contrast_agent: bool

    @property
    def kinds(self) -> tuple[str, ...]:
        """Values of ImageType that tell one sort of image from another, without those that say nothing."""
        numbered = [kind for kind in self.types if sum(sign.isdigit() for sign in kind) < 2]
        return tuple(sorted({kind for kind in numbered if kind not in _NO_KIND}))

    @property
    def is_derived(self) -> bool:
        """Whether the scanner or a workstation made it from other images."""
        return "DERIVED" in self.types


@dataclass(eq=False, repr=False)
class FileHeader:
    """One file: its frames, or why it has none.

    Attributes:
        frames (`list` of `FrameHeader`): empty for what is no readable gray MR image.
        status, reason (`str`): "listed" or "unreadable" and why; both "" with frames.
        person (`tuple` of two `str`): digests of the patient's number (or name) and birth date; "" when absent.
        study_uid, series_uid (`str`).
        facts (`PatientFacts`): height, weight, sex and age.
    """

    frames: list[FrameHeader] = field(default_factory=list)
    status: str = ""
    reason: str = ""
    person: tuple[str, str] = ("", "")
    study_uid: str = ""
    series_uid: str = ""
    facts: PatientFacts = field(default_factory=PatientFacts)


def read_header(path: Path, file: int) -> FileHeader:
    """Reads one file without its pixels; whatever is wrong with it becomes its status and reason.

    Args:
        path: the file.
        file: its number in the study's list, from 1.
    """
    try:
        return _read(path, file)
    except Exception as error:  # damaged values raise many types, and one file never stops the rest
        return FileHeader(
            status="unreadable", reason=f"its header is damaged ({type(error).__name__}): export it again"
        )


def _read(path: Path, file: int) -> FileHeader:
    try:
        dataset = parse(path, "it", header_only=True, tags=[*TAGS, _GE_CREATOR, _GE_COMPONENT])
    except ReadingError as error:
        damaged = "damaged" in str(error) or "readable" in str(error)
        return FileHeader(status="unreadable" if damaged else "listed", reason=str(error))
    with quiet():
        header = FileHeader(
            person=_person(dataset),
            study_uid=_uid(dataset, "StudyInstanceUID"),
            series_uid=_uid(dataset, "SeriesInstanceUID"),
            facts=patient_facts(dataset),
        )
        header.reason = reason_not_used(dataset)
        if header.reason:
            header.status = "listed"
            return header
        if not text(dataset, "Modality"):
            dataset.Modality = "MR"  # the class says so, see `reason_not_used`
        try:
            slices = headers_of(dataset, path, "it", None)
            frames = frames_of(dataset, "it")
        except ReadingError as error:
            header.status, header.reason = "unreadable", str(error)
            return header
        if not _is_whole(path, dataset, slices):
            header.status, header.reason = "unreadable", "it is truncated: its pixels are missing: copy it again"
            return header
        header.frames = [_frame(one, frame, file) for one, frame in zip(slices, frames, strict=True)]
    return header


def _person(dataset: Any) -> tuple[str, str]:
    """Digests that tell two patients apart and cannot be read back."""
    number_or_name = text(dataset, "PatientID").strip() or text(dataset, "PatientName").strip(" ^").upper()
    return _digest(number_or_name), _digest(text(dataset, "PatientBirthDate").strip())


_SALT = os.urandom(16)  # digests of short numbers could be tried out; these hold within one run only


def _digest(value: str) -> str:
    return hashlib.blake2b(value.encode(errors="replace"), digest_size=12, key=_SALT).hexdigest() if value else ""


def _uid(dataset: Any, keyword: str) -> str:
    """A UID as it is written; real files hold invalid ones, which tell things apart just as well."""
    return text(dataset, keyword).strip(" \0")


def _frame(one: DicomSlice, frame: Frame, file: int) -> FrameHeader:
    dataset = frame.dataset
    component = one.component
    if component in ("", "OTHER"):
        component = _PARTS.get(_ge_part(dataset), component)
    inversions = frame.numbers("InversionTimes", _MODIFIER) or numbers(dataset, "InversionTime") or ()
    preparation = t2_preparation_ms((text(dataset, "ImageComments"), frame.text("FrameComments", _CONTENT)))
    field_t = number(dataset, "MagneticFieldStrength")
    return FrameHeader(
        slice=one,
        file=file,
        sop_class_uid=_uid(dataset, "SOPClassUID"),
        sop_instance_uid=_uid(dataset, "SOPInstanceUID"),
        study_uid=_uid(dataset, "StudyInstanceUID"),
        series_uid=_uid(dataset, "SeriesInstanceUID"),
        place_uid=_uid(dataset, "FrameOfReferenceUID"),
        series_number=number(dataset, "SeriesNumber"),
        acquisition=number(dataset, "AcquisitionNumber"),
        taken_s=_taken_s(frame),
        filed_s=_filed_s(dataset),
        cardiac_images=int(number(dataset, "CardiacNumberOfImages") or 0),
        types=tuple(frame.types),
        component=component,
        terms=terms_of(*(text(dataset, key) for key in ("SeriesDescription", "ProtocolName"))),
        echo_ms=_positive(frame.number("EffectiveEchoTime", _ECHO) or number(dataset, "EchoTime")),
        repetition_ms=_positive(frame.number("RepetitionTime", _TIMING)),
        flip_deg=_positive(frame.number("FlipAngle", _TIMING)),
        inversion_ms=_positive(inversions[0] if inversions else None),
        preparation_ms=preparation,
        thickness_mm=_positive(frame.number("SliceThickness", _MEASURES)),
        rr_ms=_rr_ms(frame),
        sequence=text(dataset, "ScanningSequence").upper(),
        variant=_variant(dataset),
        unit_source=_unit_source(frame),
        field_t=field_t / 10_000 if field_t and field_t > 100 else _positive(field_t),  # some write gauss
        vendor=vendor_of(text(dataset, "Manufacturer")),
        contrast_agent=bool(text(dataset, "ContrastBolusAgent").strip()),
    )


def _positive(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None


def _variant(dataset: Any) -> str:
    """SequenceVariant, with "SS" for what only the name of the sequence or a description calls balanced SSFP."""
    variant = text(dataset, "SequenceVariant").upper()
    names = (text(dataset, key) for key in ("SequenceName", "PulseSequenceName", "SeriesDescription", "ProtocolName"))
    balanced = "bSSFP" in terms_of(*names)
    return "\\".join(filter(None, (variant, "SS"))) if balanced and "SS" not in variant.split("\\") else variant


def _ge_part(dataset: Any) -> int | None:
    if not text(dataset, "Manufacturer").upper().startswith("GE"):
        return None
    try:
        value = dataset[_GE_COMPONENT].value
        return int(value[0] if not isinstance(value, (int, float, str, bytes)) else value)
    except Exception:  # absent, or private bytes of any kind
        return None


def _rr_ms(frame: Frame) -> float | None:
    """From one heart beat to the next, as the header says, if it can be one: 250 to 2500 ms."""
    gated = frame.number("TriggerTime") is not None
    rate = number(frame.dataset, "HeartRate") if gated else None  # without a trigger it is left over from before
    for value in (
        frame.number("RRIntervalTimeNominal", _CARDIAC),
        number(frame.dataset, "NominalInterval"),
        number(frame.dataset, "CardiacRRIntervalSpecified"),
        60_000 / rate if rate and rate > 0 else None,
    ):
        if value is not None and 250 <= value <= 2500:
            return float(value)
    return None


def _taken_s(frame: Frame) -> float | None:
    dataset = frame.dataset
    day = text(dataset, "AcquisitionDate") or text(dataset, "SeriesDate") or _ANY_DAY
    moments = (
        frame.text("FrameAcquisitionDateTime", _CONTENT),
        text(dataset, "AcquisitionDateTime"),
        day + text(dataset, "AcquisitionTime"),
    )
    return next((found for moment in moments if (found := _seconds(moment)) is not None), None)


def _filed_s(dataset: Any) -> float | None:
    for kind in ("Series", "Content"):
        found = _seconds((text(dataset, f"{kind}Date") or _ANY_DAY) + text(dataset, f"{kind}Time"))
        if found is not None:
            return found
    return None


def _seconds(moment: str) -> float | None:
    """Seconds of "YYYYMMDDHHMMSS.FFFFFF"; an odd date, as of anonymised files, counts as any day; else None."""
    digits, _, rest = moment.strip().partition(".")
    digits = digits.replace(":", "")[:14]
    whole = None
    for written in (digits, _ANY_DAY + digits[8:]):
        try:
            whole = whole or datetime.strptime(written, "%Y%m%d%H%M%S")
        except ValueError:
            continue
    if whole is None or len(digits) < 14:
        return None
    fraction = "".join(sign for sign in rest[:6] if sign.isdigit())
    return (whole - datetime(2000, 1, 1)).total_seconds() + (float(f"0.{fraction}") if fraction else 0.0)


def _unit_source(frame: Frame) -> str:
    for item in frame.items("RealWorldValueMappingSequence"):
        for code in item.get("MeasurementUnitsCodeSequence") or []:
            if text(code, "CodeValue") == "ms":
                return "RealWorldValueMapping"
    unit = frame.text("RescaleType", "PixelValueTransformationSequence").strip().lower()
    return "RescaleType" if unit in ("ms", "msec", "milliseconds") else ""


def _is_whole(path: Path, dataset: Any, slices: list[DicomSlice]) -> bool:
    """Whether an uncompressed file is long enough for its pixels; true for any other, which only decoding tells."""
    syntax = pydicom.uid.UID(str(getattr(dataset.file_meta, "TransferSyntaxUID", "") or "1.2.840.10008.1.2"))
    plain = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
    if syntax not in plain:
        return True
    size = os.stat(path).st_size
    needed = math.prod(slices[0].matrix) * len(slices) * int(number(dataset, "BitsAllocated") or 16) // 8
    needed += needed % 2
    if size < needed:
        return False
    with open(path, "rb") as file:  # mostly the pixels come last: then their tag stands just before them
        file.seek(max(0, size - needed - 12))
        before = file.read(12)
    if before[:4] in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10") or before[4:8] == b"\xe0\x7f\x10\x00":
        return True
    try:
        rest = pydicom.dcmread(path, force=True, specific_tags=["PixelData"], defer_size=1024)
        element = rest.get_item("PixelData")
        return element is None or element.value_tell + element.length <= size
    except Exception:  # pydicom raises many types on damaged bytes
        return False
