"""Phantom series as MR Image Storage, one file a picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import FileDataset
from pydicom.uid import MRImageStorage

from .dicom_header import (
    Dialect,
    clock,
    decimal,
    image_types,
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
from .signal import MAPS
from .stored import Stored


def single_frames(
    scanned: Scanned, held: Stored, person: Person, number: int, dialect: Dialect
) -> Iterator[FileDataset]:
    """The files of one series, slice after slice, each over time."""
    phases, slices = held.pixels.shape[:2]
    for z in range(slices):
        own = number * 100 + z + 1 if dialect.series_per_slice and slices > 1 else number
        series_uid = unique_id(person, "series", own)
        for t in range(phases):
            instance = t + 1 if own != number else z * phases + t + 1
            dataset = new_file(MRImageStorage, unique_id(person, "image", number, z, t))
            put_study(dataset, person, scanned, number, series_uid)
            put(
                dataset,
                SeriesNumber=own,
                ImageType=image_types(scanned.series.contrast),
                InstanceNumber=instance,
                AcquisitionNumber=1,
                AcquisitionDate=dataset.ContentDate,
                AcquisitionTime=clock(number * 60 + z * 4),
            )
            _place(dataset, scanned, z)
            _sequence(dataset, scanned, person, t, dialect)
            put_pixels(dataset, held.pixels[t, z], held.bits)
            _values(dataset, scanned, held, dialect)
            yield dataset


def _place(dataset: FileDataset, scanned: Scanned, z: int) -> None:
    affine = scanned.affines[z]
    spacing = np.linalg.norm(affine[:3, :2], axis=0)
    cosines = affine[:3, :2] / spacing
    normal = np.cross(cosines[:, 0], cosines[:, 1])
    put(
        dataset,
        ImagePositionPatient=decimal(affine[:3, 3]),
        ImageOrientationPatient=decimal(cosines.T.ravel()),
        PixelSpacing=decimal(np.round(spacing[::-1], 6)),
        SliceThickness=decimal(float(scanned.series.planes.thickness_mm[z])),
        SpacingBetweenSlices=decimal(round(scanned.distance_mm, 4)),
        SliceLocation=decimal(round(float(affine[:3, 3] @ normal), 6)),
    )


def _sequence(dataset: FileDataset, scanned: Scanned, person: Person, t: int, dialect: Dialect) -> None:
    series = scanned.series
    rows, columns = scanned.images.shape[2:]
    put(
        dataset,
        ScanningSequence=series.sequence.split("\\"),
        SequenceVariant=series.variant.split("\\"),
        ScanOptions="CG" if dialect.trigger_times else "",
        MRAcquisitionType="2D",
        SequenceName="*phantom2d",
        AngioFlag="N",
        RepetitionTime=decimal(series.repetition_ms),
        EchoTime=decimal(series.echo_ms),
        EchoTrainLength=1,
        EchoNumbers=1,
        FlipAngle=decimal(series.flip_deg),
        NumberOfAverages="1",
        ImagedNucleus="1H",
        ImagingFrequency=imaging_mhz(person.field_t),
        MagneticFieldStrength=decimal(person.field_t),
        PixelBandwidth="930",
        PercentSampling="100",
        PercentPhaseFieldOfView=decimal(round(100 * rows / columns, 2)),
        InPlanePhaseEncodingDirection="COL",
        VariableFlipAngleFlag="N",
    )
    if series.inversion_ms:
        dataset.InversionTime = decimal(series.inversion_ms[t if len(series.inversion_ms) > 1 else 0])
    if series.preparation_ms:
        dataset.ImageComments += f"; T2 prep. duration = {series.preparation_ms[t]:g} ms"
    if dialect.trigger_times:
        put(
            dataset,
            TriggerTime=decimal(trigger_ms(scanned, person, t)),
            NominalInterval=round(person.cycle_ms),
            HeartRate=round(60000 / person.cycle_ms),
            BeatRejectionFlag="N",
            CardiacNumberOfImages=len(series.times),
        )


def _values(dataset: FileDataset, scanned: Scanned, held: Stored, dialect: Dialect) -> None:
    centre, width = held.window
    if scanned.series.contrast in MAPS and dialect.real_world_values:
        dataset.RealWorldValueMappingSequence = [real_world_values(held)]
        centre, width = centre / held.slope, width / held.slope  # of stored values: the mapping is not for display
    elif (held.slope, held.intercept) != (1.0, 0.0):
        put(
            dataset,
            RescaleIntercept=decimal(held.intercept),
            RescaleSlope=decimal(held.slope),
            RescaleType="ms" if scanned.series.contrast in MAPS else "US",
        )
    put(dataset, WindowCenter=decimal(centre), WindowWidth=decimal(width))
