"""DICOM headers of phantom pictures: who, when, where and how, for both kinds of MR object.

Attributes follow DICOM PS3.3: Patient (C.7.1.1), General Study and Series (C.7.2.1, C.7.3.1), Frame of Reference
(C.7.4.1), Image Plane (C.7.6.2) and MR Image (C.8.3.1).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from .people import Person
from .scanning import Scanned
from .signal import MAPS, SIGNED
from .stored import Stored

_NAMESPACE = uuid.UUID("6f0c7d7e-6a0b-5f5e-9d3b-0d6f5a1c2b3e")
_DAY, _START_S = "20200101", 9 * 3600
_MHZ_PER_T = 42.577


@dataclass(frozen=True)
class Dialect:
    """How a study is written, as vendors and exports differ.

    Attributes:
        multiframe (`bool`): one Enhanced MR file a series, instead of one MR file a picture.
        trigger_times (`bool`): write when in the cycle a picture was taken.
        series_per_slice (`bool`): every slice of a stack is a series of its own; not with `multiframe`.
        real_world_values (`bool`): maps say their ms in a RealWorldValueMappingSequence, instead of RescaleSlope.
        shuffled_names (`bool`): all files in one folder under names that say nothing.
    """

    multiframe: bool = False
    trigger_times: bool = True
    series_per_slice: bool = False
    real_world_values: bool = False
    shuffled_names: bool = False

    def __post_init__(self) -> None:
        if self.multiframe and self.series_per_slice:
            raise ValueError(
                "`series_per_slice` needs multiframe=False, got both True: a multi-frame file is one series"
            )


def unique_id(person: Person, *parts: object) -> UID:
    """A UID below 2.25 (a UUID, PS3.5 B.2), the same for the same study and parts."""
    named = "|".join(map(str, (person.patient, person.study, *parts)))
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, named).int}")


def decimal(values: np.ndarray | list[float] | float) -> list[str] | str:
    """Decimal strings of at most 16 characters, as exact as these can be."""
    if np.ndim(values) == 0:
        return format_number_as_ds(float(values) + 0.0)
    return [format_number_as_ds(float(value) + 0.0) for value in np.asarray(values).tolist()]


def image_types(contrast: str) -> list[str]:
    """ImageType of a contrast; the third value is one of C.8.3.1.1.1 for maps."""
    if contrast in MAPS:
        return ["DERIVED", "PRIMARY", "T2 MAP" if contrast == "t2_map" else "T1 MAP", "NONE"]
    return ["ORIGINAL", "PRIMARY", "R" if contrast in SIGNED else "M", "NONE"]


def new_file(class_uid: UID, instance_uid: UID) -> FileDataset:
    """An empty object, explicit little endian, uncompressed."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = class_uid
    meta.MediaStorageSOPInstanceUID = instance_uid
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = class_uid, instance_uid
    return dataset


def put(dataset: Dataset, **tags: object) -> Dataset:
    """Sets tags by keyword, a dictionary as a sequence of one item; returns the data set."""
    for keyword, value in tags.items():
        setattr(dataset, keyword, [put(Dataset(), **value)] if isinstance(value, dict) else value)
    return dataset


def put_study(dataset: Dataset, person: Person, scanned: Scanned, number: int, series_uid: UID) -> None:
    """Patient, study, series, equipment and frame of reference."""
    series = scanned.series
    put(
        dataset,
        SpecificCharacterSet="ISO_IR 100",
        PatientName=f"PHANTOM^{person.patient.removeprefix('PHANTOM-')}",
        PatientID=person.patient,
        PatientBirthDate="",
        PatientSex=person.sex,
        PatientAge=f"{person.age_years:03d}Y",
        PatientSize=decimal(person.height_m),
        PatientWeight=decimal(person.weight_kg),
        PatientIdentityRemoved="YES",
        DeidentificationMethod="No person: made from equations",
        StudyInstanceUID=unique_id(person, "study"),
        StudyID="1",
        StudyDate=_DAY,
        StudyTime=clock(0),
        StudyDescription="Cardiac MR phantom",
        AccessionNumber="",
        ReferringPhysicianName="",
        Modality="MR",
        SeriesInstanceUID=series_uid,
        SeriesNumber=number,
        SeriesDate=_DAY,
        SeriesTime=clock(number * 60),
        SeriesDescription=series.description,
        ProtocolName=series.description.removesuffix("_T1_MAP").removesuffix("_T2_MAP"),
        BodyPartExamined="HEART",
        PatientPosition="HFS",
        FrameOfReferenceUID=unique_id(person, "place"),
        PositionReferenceIndicator="",
        Manufacturer="cmr_hf phantom",
        ManufacturerModelName="cmr_hf phantom",
        DeviceSerialNumber="0",
        SoftwareVersions="1",
        BurnedInAnnotation="NO",
        LossyImageCompression="00",
        ContentDate=_DAY,
        ContentTime=clock(number * 60),
        ImageComments=f"Phantom, no patient; {series.name}",
    )


def put_pixels(dataset: Dataset, pixels: np.ndarray, bits: int) -> None:
    """The Image Pixel module; `pixels` are uint16 of shape (y, x) or (frames, y, x)."""
    put(
        dataset,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        Rows=pixels.shape[-2],
        Columns=pixels.shape[-1],
        BitsAllocated=16,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=0,
        PixelData=np.ascontiguousarray(pixels, dtype="<u2").tobytes(),
    )


def real_world_values(held: Stored) -> Dataset:
    """An item of a RealWorldValueMappingSequence in ms."""
    top = 2**held.bits - 1
    unit = {"CodeValue": "ms", "CodingSchemeDesignator": "UCUM", "CodeMeaning": "millisecond"}
    item = put(
        Dataset(),
        RealWorldValueIntercept=held.intercept,
        RealWorldValueSlope=held.slope,
        LUTExplanation="Relaxation time in ms",
        LUTLabel="MS",
        MeasurementUnitsCodeSequence=unit,
    )
    item.add_new(0x00409211, "US", top)  # last and first value mapped: the VR follows PixelRepresentation
    item.add_new(0x00409216, "US", 0)
    return item


def imaging_mhz(field_t: float) -> str | list[str]:
    """Frequency of protons."""
    return decimal(round(field_t * _MHZ_PER_T, 4))


def clock(seconds: float) -> str:
    """A time of the study's day."""
    whole = _START_S + int(seconds)
    return f"{whole // 3600:02d}{whole // 60 % 60:02d}{whole % 60:02d}.{round(seconds % 1 * 1e6):06d}"


def trigger_ms(scanned: Scanned, person: Person, t: int) -> float:
    """Delay of a picture after the R wave."""
    times = scanned.series.times
    return round(times[t if len(times) > 1 else 0] * person.cycle_ms, 2)
