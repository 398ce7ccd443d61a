"""Phantom series as Enhanced MR Image Storage: one file a series, frames placed by functional groups.

Modules and macros follow DICOM PS3.3 A.36.2; frames run over time, and at each moment over
slices, as volume after volume is what other readers expect.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import EnhancedMRImageStorage

from .dicom_header import (
    Dialect,
    clock,
    decimal,
    imaging_mhz,
    new_file,
    put,
    put_pixels,
    put_study,
    real_world_values,
    trigger_ms,
    unique_id,
)
from .people import Person
from .scanning import Scanned
from .signal import MAPS, SIGNED
from .stored import Stored

_STACK, _POSITION, _TEMPORAL = 0x00209056, 0x00209057, 0x00209128
_DELAY, _FRAME_CONTENT, _CARDIAC = 0x00209153, 0x00209111, 0x00189118
_HEART = {"CodeValue": "80891009", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Heart"}


def multi_frame(scanned: Scanned, held: Stored, person: Person, number: int, dialect: Dialect) -> FileDataset:
    """The one file of a series."""
    phases, slices = held.pixels.shape[:2]
    dataset = new_file(EnhancedMRImageStorage, unique_id(person, "file", number))
    put_study(dataset, person, scanned, number, unique_id(person, "series", number))
    _image(dataset, scanned, person, number)
    if "ORIGINAL" in dataset.ImageType:
        _pulse_sequence(dataset, scanned)
    _synchronisation(dataset, scanned, person, dialect)
    by_delay = dialect.trigger_times and scanned.series.is_cine
    _dimensions(dataset, person, number, by_delay)
    dataset.SharedFunctionalGroupsSequence = [_shared(scanned, person, held, dialect)]
    dataset.PerFrameFunctionalGroupsSequence = [
        _frame(scanned, person, z, t, dialect, number) for t in range(phases) for z in range(slices)
    ]
    put_pixels(dataset, held.pixels.reshape(-1, *held.pixels.shape[2:]), held.bits)
    dataset.NumberOfFrames = phases * slices
    return dataset


def _types(contrast: str) -> list[str]:
    if contrast in MAPS:
        return ["DERIVED", "PRIMARY", "T2" if contrast == "t2_map" else "T1", "NONE"]
    return ["ORIGINAL", "PRIMARY", "CINE" if contrast == "cine" else "T1", "NONE"]


def _kind(contrast: str) -> dict[str, str]:
    """Attributes of the common image description and the MR image description macros (C.8.16.2, C.8.13.3)."""
    weighting = {"cine": "UNKNOWN", "t2_prepared": "T2", "t2_map": "T2"}.get(contrast, "T1")
    return {
        "PixelPresentation": "MONOCHROME",
        "VolumetricProperties": "VOLUME",
        "VolumeBasedCalculationTechnique": "NONE",
        "ComplexImageComponent": "REAL" if contrast in SIGNED else "MAGNITUDE",
        "AcquisitionContrast": weighting,
    }


def _image(dataset: FileDataset, scanned: Scanned, person: Person, number: int) -> None:
    put(
        dataset,
        ImageType=_types(scanned.series.contrast),
        InstanceNumber=1,
        AcquisitionNumber=1,
        AcquisitionDateTime=dataset.ContentDate + clock(number * 60),
        AcquisitionDuration=1000.0 * len(scanned.affines),
        ContentQualification="RESEARCH",
        ResonantNucleus="1H",
        KSpaceFiltering="NONE",
        MagneticFieldStrength=person.field_t,
        ApplicableSafetyStandardAgency="IEC",
        PresentationLUTShape="IDENTITY",
        AcquisitionContextSequence=[],
        **_kind(scanned.series.contrast),
    )


def _synchronisation(dataset: FileDataset, scanned: Scanned, person: Person, dialect: Dialect) -> None:
    """The Cardiac Synchronization module (C.7.6.18.1)."""
    if not dialect.trigger_times:
        dataset.CardiacSynchronizationTechnique = "NONE"
        return
    put(
        dataset,
        CardiacSynchronizationTechnique="RETROSPECTIVE" if scanned.series.is_cine else "PROSPECTIVE",
        CardiacSignalSource="ECG",
    )
    if "ORIGINAL" in dataset.ImageType:
        put(dataset, CardiacRRIntervalSpecified=person.cycle_ms, IntervalsAcquired=12, IntervalsRejected=0)
    put(
        dataset,
        CardiacBeatRejectionTechnique="NONE",
        LowRRValue=round(0.9 * person.cycle_ms),
        HighRRValue=round(1.1 * person.cycle_ms),
    )


def _pulse_sequence(dataset: FileDataset, scanned: Scanned) -> None:
    spoiled = "SP" in scanned.series.variant.split("\\")
    put(
        dataset,
        PulseSequenceName="*phantom2d",
        MRAcquisitionType="2D",
        EchoPulseSequence="GRADIENT",
        MultiPlanarExcitation="NO",
        PhaseContrast="NO",
        TimeOfFlightContrast="NO",
        SteadyStatePulseSequence="NONE" if spoiled else "FREE_PRECESSION",
        EchoPlanarPulseSequence="NO",
        SaturationRecovery="NO",
        SpectrallySelectedSuppression="NONE",
        OversamplingPhase="NONE",
        GeometryOfKSpaceTraversal="RECTILINEAR",
        RectilinearPhaseEncodeReordering="LINEAR",
        SegmentedKSpaceTraversal="PARTIAL",
        NumberOfKSpaceTrajectories=1,
    )


def _dimensions(dataset: FileDataset, person: Person, number: int, by_delay: bool) -> None:
    own = unique_id(person, "dimensions", number)
    time = (_DELAY, _CARDIAC) if by_delay else (_TEMPORAL, _FRAME_CONTENT)
    pointers = [time, (_STACK, _FRAME_CONTENT), (_POSITION, _FRAME_CONTENT)]
    dataset.DimensionOrganizationSequence = [put(Dataset(), DimensionOrganizationUID=own)]
    dataset.DimensionIndexSequence = [
        put(Dataset(), DimensionOrganizationUID=own, DimensionIndexPointer=tag, FunctionalGroupPointer=group)
        for tag, group in pointers
    ]


def _shared(scanned: Scanned, person: Person, held: Stored, dialect: Dialect) -> Dataset:
    series = scanned.series
    spacing = scanned.spacing_mm
    group: dict[str, Any] = {
        "PixelMeasuresSequence": {
            "PixelSpacing": decimal(np.round(spacing, 6)),
            "SliceThickness": decimal(float(series.planes.thickness_mm[0])),
            "SpacingBetweenSlices": decimal(round(scanned.distance_mm, 4)),
        },
        "FrameAnatomySequence": {"FrameLaterality": "U", "AnatomicRegionSequence": _HEART},
        "MRImageFrameTypeSequence": {"FrameType": _types(series.contrast), **_kind(series.contrast)},
    }
    centre, width = held.window
    is_map = series.contrast in MAPS
    mapped = is_map and dialect.real_world_values
    slope, intercept = (1.0, 0.0) if mapped else (held.slope, held.intercept)
    if mapped:
        centre, width = centre / held.slope, width / held.slope  # of stored values: the mapping is not for display
    group["PixelValueTransformationSequence"] = {
        "RescaleIntercept": decimal(intercept),
        "RescaleSlope": decimal(slope),
        "RescaleType": "ms" if is_map and not mapped else "US",
    }
    group["FrameVOILUTSequence"] = {"WindowCenter": decimal(centre), "WindowWidth": decimal(width)}
    if series.contrast not in MAPS:
        group |= _how(scanned, person)
    dataset = put(Dataset(), **group)
    if mapped:
        dataset.RealWorldValueMappingSequence = [real_world_values(held)]
    return dataset


def _how(scanned: Scanned, person: Person) -> dict[str, Any]:
    """Macros of an original picture that hold for the whole series."""
    series = scanned.series
    rows, columns = scanned.images.shape[2:]
    row_mm, column_mm = scanned.spacing_mm
    return {
        "MRTimingAndRelatedParametersSequence": {
            "RepetitionTime": decimal(series.repetition_ms),
            "FlipAngle": decimal(series.flip_deg),
            "EchoTrainLength": 1,
            "RFEchoTrainLength": 0,
            "GradientEchoTrainLength": 1,
            "GradientOutputType": "DB_DT",
            "GradientOutput": 0.0,
            "SpecificAbsorptionRateSequence": {
                "SpecificAbsorptionRateDefinition": "IEC_WHOLE_BODY",
                "SpecificAbsorptionRateValue": 0.0,
            },
            "OperatingModeSequence": {"OperatingModeType": "RF", "OperatingMode": "IEC_NORMAL"},
        },
        "MRFOVGeometrySequence": {
            "InPlanePhaseEncodingDirection": "COLUMN",
            "MRAcquisitionFrequencyEncodingSteps": columns,
            "MRAcquisitionPhaseEncodingStepsInPlane": rows,
            "PercentSampling": decimal(100.0),
            "PercentPhaseFieldOfView": decimal(round(100 * rows * row_mm / (columns * column_mm), 2)),
        },
        "MREchoSequence": {"EffectiveEchoTime": series.echo_ms},
        "MRImagingModifierSequence": {
            "MagnetizationTransfer": "NONE",
            "BloodSignalNulling": "NO",
            "Tagging": "NONE",
            "TransmitterFrequency": float(imaging_mhz(person.field_t)),
            "PixelBandwidth": "930",
        },
        "MRReceiveCoilSequence": {
            "ReceiveCoilName": "phantom",
            "ReceiveCoilManufacturerName": "",
            "ReceiveCoilType": "SURFACE",
            "QuadratureReceiveCoil": "NO",
        },
        "MRTransmitCoilSequence": {
            "TransmitCoilName": "phantom",
            "TransmitCoilManufacturerName": "",
            "TransmitCoilType": "BODY",
        },
        "MRAveragesSequence": {"NumberOfAverages": "1"},
    }


def _modifier(scanned: Scanned, t: int) -> dict[str, Any]:
    """What was done to the magnetisation before a picture."""
    series = scanned.series
    group: dict[str, Any] = {
        "InversionRecovery": "YES" if series.inversion_ms else "NO",
        "FlowCompensation": "NONE",
        "Spoiling": "RF" if "SP" in series.variant.split("\\") else "NONE",
        "T2Preparation": "YES" if series.preparation_ms else "NO",
        "SpectrallySelectedExcitation": "NONE",
        "SpatialPresaturation": "NONE",
        "PartialFourier": "NO",
        "ParallelAcquisition": "NO",
    }
    if series.inversion_ms:
        group["InversionTimes"] = series.inversion_ms[t if len(series.inversion_ms) > 1 else 0]
    return group


def _frame(scanned: Scanned, person: Person, z: int, t: int, dialect: Dialect, number: int) -> Dataset:
    affine = scanned.affines[z]
    cosines = affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)
    stack, position = (1, z + 1) if scanned.is_stack else (z + 1, 1)
    when = "20200101" + clock(number * 60 + z)
    group: dict[str, Any] = {
        "FrameContentSequence": {
            "FrameAcquisitionNumber": 1,
            "FrameReferenceDateTime": when,
            "FrameAcquisitionDateTime": when,
            "FrameAcquisitionDuration": round(person.cycle_ms / max(1, len(scanned.series.times)), 3),
            "StackID": str(stack),
            "InStackPositionNumber": position,
            "TemporalPositionIndex": t + 1,
            "DimensionIndexValues": [t + 1, stack, position],
        },
        "PlanePositionSequence": {"ImagePositionPatient": decimal(affine[:3, 3])},
        "PlaneOrientationSequence": {"ImageOrientationPatient": decimal(cosines.T.ravel())},
    }
    if dialect.trigger_times:
        delay = trigger_ms(scanned, person, t)
        group["CardiacSynchronizationSequence"] = {
            "NominalPercentageOfCardiacPhase": round(100 * delay / person.cycle_ms, 3),
            "NominalCardiacTriggerDelayTime": delay,
            "ActualCardiacTriggerDelayTime": delay,
            "RRIntervalTimeNominal": person.cycle_ms,
        }
    if scanned.series.contrast not in MAPS:
        group["MRModifierSequence"] = _modifier(scanned, t)
    return put(Dataset(), **group)
