"""DICOM without its patient: a listed set of attributes is copied, anything else never is.

Names, numbers, birth dates, places and private groups stay behind; free text becomes terms of a closed list; dates are
shifted to the year 2000, so that only differences are left. UIDs stay: a DICOM SEG needs them to say which images it
belongs to. What is burnt into the pixels is not looked for.
"""

import hashlib
import os
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cmr_hf.hub.checking_cmr import ReadingError, quiet
from cmr_hf.hub.dicom_tags_cmr import parse
from cmr_hf.studies.headers import TAGS
from cmr_hf.studies.words import t2_preparation_ms, terms_of

PERSON = ("PatientID", "PatientName", "PatientBirthDate")
TEXTS = "SeriesDescription ProtocolName ImageComments FrameComments SequenceName PulseSequenceName".split()
ALLOWED = frozenset(TAGS) - set(PERSON) | set(
    """
    BitsStored HighBit PixelRepresentation PlanarConfiguration PixelData FloatPixelData DoubleFloatPixelData
    RescaleIntercept ModalityLUTSequence LUTDescriptor LUTData PixelPaddingValue LossyImageCompression
    VolumetricProperties InStackPositionNumber StackID FrameComments FrameType ComplexImageComponent
    MRImageFrameTypeSequence MREchoSequence MRTimingAndRelatedParametersSequence MRModifierSequence
    PixelMeasuresSequence PixelValueTransformationSequence PlaneOrientationSequence PlanePositionSequence
    CardiacSynchronizationSequence FrameContentSequence FrameAcquisitionDateTime NominalCardiacTriggerDelayTime
    RRIntervalTimeNominal UnassignedPerFrameConvertedAttributesSequence UnassignedSharedConvertedAttributesSequence
    DimensionIndexPointer DimensionIndexValues DimensionOrganizationUID MeasurementUnitsCodeSequence CodeValue
    CodingSchemeDesignator RealWorldValueIntercept RealWorldValueSlope RealWorldValueLUTData
    RealWorldValueFirstValueMapped RealWorldValueLastValueMapped DoubleFloatRealWorldValueFirstValueMapped
    DoubleFloatRealWorldValueLastValueMapped RealWorldValueMapping AcquisitionMatrix InPlanePhaseEncodingDirection
    """.split()
)
# private creators whose numbers scale or sort pixels, and the elements that are read
PRIVATE = {"Philips MR Imaging DD 001": (0x2005, (0x0E,)), "Philips MR Imaging DD 005": (0x2005, (0x0F,)),
           "GEMS_PARM_01": (0x0043, (0x2F,))}  # fmt: skip
# terms that the closed list does not find in their own name
SPELT = {"gradient echo": "gre", "T1 weighted": "t1w", "T2 weighted": "t2w"}
_YEAR = date(2000, 1, 1)


class Deidentifier:
    """Copies the files of one upload; its digests of patients hold within it only."""

    def __init__(self) -> None:
        self._salt = os.urandom(16)
        self._first: date | None = None

    def copy(self, source: Path, target: Path) -> None:
        """Writes the listed attributes of one file under a new name.

        Raises:
            ReadingError: it cannot be read as DICOM; the text names nobody and no file.
        """
        dataset = parse(source, "a file", header_only=False)
        with quiet():
            try:
                self._made(dataset).save_as(target, enforce_file_format=False)
            except ReadingError:
                raise
            except Exception as error:  # damaged values raise many types, and one file never stops the rest
                target.unlink(missing_ok=True)
                kind = type(error).__name__
                raise ReadingError(f"its header is damaged ({kind}): export it again") from None

    def _made(self, dataset: Any) -> FileDataset:
        meta, old = FileMetaDataset(), getattr(dataset, "file_meta", None) or Dataset()
        for keyword in ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID"):
            if keyword in old:
                meta[keyword] = old[keyword]
        if "TransferSyntaxUID" not in meta:
            implicit, little = dataset.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        made = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        made.update(self._kept(dataset))
        if not len(made):
            raise ReadingError("its header is damaged (nothing in it is known): export it again")
        who = str(dataset.get("PatientID") or "").strip() or str(dataset.get("PatientName") or "").strip(" ^").upper()
        if who:
            digest = hashlib.blake2b(who.encode(errors="replace"), digest_size=12, key=self._salt)
            made.PatientID = digest.hexdigest()
        return made

    def _kept(self, dataset: Any) -> Dataset:
        made = Dataset()
        for element in dataset:
            if element.keyword not in ALLOWED:
                continue
            if element.VR == "SQ":
                made.add_new(element.tag, "SQ", [self._kept(item) for item in element.value or []])
            elif element.keyword in TEXTS or element.keyword == "ContrastBolusAgent":
                _set_text(made, element)
            elif element.VR in ("DA", "DT"):
                moved = self._moved(str(element.value or ""))
                if moved:
                    made.add_new(element.tag, element.VR, moved)
            else:
                made.add(element)
        for creator, (group, offsets) in PRIVATE.items():
            _copy_private(dataset, made, creator, group, offsets, self._kept)
        return made

    def _moved(self, text: str) -> str:
        """A date, or date and time, as many days after 1 January 2000 as after the first one that was seen."""
        try:
            day = date(int(text[:4]), int(text[4:6]), int(text[6:8]))
        except ValueError:
            return ""
        self._first = self._first or day
        return (_YEAR + timedelta(days=(day - self._first).days)).strftime("%Y%m%d") + text[8:]


def terms_text(*texts: str) -> str:
    """Free text as terms of the closed list, in words that the list finds again."""
    found = [SPELT.get(term, term) for term in terms_of(*texts)]
    duration = t2_preparation_ms(texts)
    if duration is not None:
        found.append(f"T2 prep. duration = {duration:g} ms")
    return " x ".join(found)


def _set_text(made: Dataset, element: Any) -> None:
    text = str(element.value or "")
    if element.keyword == "ContrastBolusAgent":
        text = "agent" if text.strip() else ""  # that there was one is all that is asked
    else:
        text = terms_text(text)
    if text:
        made.add_new(element.tag, element.VR, text[:1024])


def _copy_private(
    dataset: Any,
    made: Dataset,
    creator: str,
    group: int,
    offsets: tuple[int, ...],
    inner: Callable[[Any], Dataset],
) -> None:
    try:
        block = dataset.private_block(group, creator)
    except KeyError:
        return
    target = made.private_block(group, creator, create=True)
    for offset in offsets:
        if offset not in block:
            continue
        element = block[offset]
        if element.VR == "SQ":
            target.add_new(offset, "SQ", [inner(item) for item in element.value or []])
        elif _is_number(element.value):
            target.add_new(offset, element.VR, element.value)


def _is_number(value: Any) -> bool:
    if isinstance(value, (int, float)):
        return True
    return isinstance(value, MultiValue) and all(isinstance(one, (int, float)) for one in value)
