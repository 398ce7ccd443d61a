"""Cut the short-axis cine sample that ships with `cmr_hf` from the biv-me example study.

    python training/make_sample.py --study path/to/biv_me_study
    python training/make_sample.py --study path/to/biv_me_study --out /tmp/sample --every 5

What it does, in order:

1. takes the series that `views.csv` calls SAX (each series is one slice over the cardiac cycle) and sorts
   them along the slice normal, and each of them by TriggerTime;
2. keeps every second phase, which includes end-diastole (last frames) and end-systole (frame 10);
3. copies *only* the attributes named in `KEPT`: everything else (private groups, dates, times, comments,
   serial numbers) is not copied at all, so nothing has to be found and removed;
4. makes new UIDs, because the originals contain the scanner's serial number and acquisition times;
5. writes Deflated Explicit VR Little Endian (lossless, read by pydicom without plug-ins) and reads each
   file back: pixel values must be equal to the source, bit for bit.
"""

import argparse
import csv
import shutil
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, generate_uid

KEPT = """
    SpecificCharacterSet ImageType SOPClassUID Modality Manufacturer ManufacturerModelName SeriesDescription
    VolumetricProperties BodyPartExamined ScanningSequence SequenceVariant ScanOptions MRAcquisitionType
    SequenceName AngioFlag SliceThickness RepetitionTime EchoTime NumberOfAverages ImagingFrequency
    ImagedNucleus MagneticFieldStrength NumberOfPhaseEncodingSteps EchoTrainLength PercentSampling
    PercentPhaseFieldOfView PixelBandwidth SoftwareVersions ProtocolName TriggerTime NominalInterval
    BeatRejectionFlag ReceiveCoilName TransmitCoilName AcquisitionMatrix InPlanePhaseEncodingDirection
    FlipAngle SAR PatientPosition SeriesNumber AcquisitionNumber InstanceNumber ImagePositionPatient
    ImageOrientationPatient SliceLocation SamplesPerPixel PhotometricInterpretation Rows Columns PixelSpacing
    BitsAllocated BitsStored HighBit PixelRepresentation SmallestImagePixelValue LargestImagePixelValue
    BurnedInAnnotation WindowCenter WindowWidth RescaleIntercept RescaleSlope LossyImageCompression
    PresentationLUTShape PixelData
"""
# type 2 attributes of the MR image object: they have to be there, and they have to be empty
EMPTY = """
    StudyDate StudyTime AccessionNumber ReferringPhysicianName PatientName PatientID PatientBirthDate
    PatientSex StudyID PositionReferenceIndicator
"""
DEFAULT_OUT = Path(__file__).resolve().parents[1] / "src/cmr_hf/samples/sax_cine"


def sax_series(study: Path) -> list[list[Path]]:
    """The SAX series of the study, ordered along the slice normal; each ordered by TriggerTime (ms)."""
    with open(study / "views.csv", newline="") as handle:
        names = [row["series"] for row in csv.DictReader(handle) if row["view"] == "SAX"]
    ordered = []
    for name in names:
        files = (study / "dicom" / name).glob("*.dcm")
        frames = [(pydicom.dcmread(file, stop_before_pixels=True), file) for file in files]
        frames.sort(key=lambda frame: float(frame[0].TriggerTime))
        header = frames[0][0]
        across, down = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        position_mm = float(np.cross(across, down) @ np.array(header.ImagePositionPatient, float))
        ordered.append((position_mm, [file for _, file in frames]))
    # along the normal, as a reader orders them: in this study from apex to base
    return [files for _, files in sorted(ordered)]


def cleaned(source: Dataset, slice_number: int, phase_number: int, phases: int) -> FileDataset:
    """A new data set with the kept attributes of `source` and UIDs made from the sample's own name."""

    def uid(*parts: object) -> str:
        return generate_uid(entropy_srcs=["cmr_hf sample sax_cine", *map(str, parts)])

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = source.SOPClassUID
    meta.MediaStorageSOPInstanceUID = uid("image", slice_number, phase_number)
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    made = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword in KEPT.split():
        if keyword in source:
            made[keyword] = source[keyword]
    for keyword in EMPTY.split():
        setattr(made, keyword, "")
    made.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID = uid("study")
    made.SeriesInstanceUID = uid("series", slice_number)
    made.FrameOfReferenceUID = uid("frame of reference")
    made.CardiacNumberOfImages = made.NumberOfTemporalPositions = phases
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = "cmr_hf make_sample.py: listed attributes only, new UIDs"
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, required=True, help="folder with views.csv, LICENSE and dicom/SeN/*.dcm")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="where the .dcm files go")
    parser.add_argument("--every", type=int, default=2, help="keep every n-th phase, starting with the first")
    args = parser.parse_args()

    args.out.mkdir(parents=True, exist_ok=True)
    for old in args.out.glob("slice*_phase*.dcm"):
        old.unlink()
    total_bytes = 0
    for slice_number, files in enumerate(sax_series(args.study), start=1):
        kept = list(range(0, len(files), args.every))
        for phase in kept:
            source = pydicom.dcmread(files[phase])
            file = args.out / f"slice{slice_number:02d}_phase{phase + 1:02d}.dcm"
            cleaned(source, slice_number, phase + 1, len(kept)).save_as(file, enforce_file_format=True)
            if not np.array_equal(pydicom.dcmread(file).pixel_array, source.pixel_array):
                raise SystemExit(f"{file}: pixel values changed on the way")
            total_bytes += file.stat().st_size
        print(f"slice {slice_number}: {len(kept)} of {len(files)} phases")
    # beside the folder, not in it: the folder is one stack and nothing else
    shutil.copyfile(args.study / "LICENSE", args.out.parent / "LICENSE")
    print(f"{total_bytes / 1e6:.2f} MB in {args.out}")


if __name__ == "__main__":
    main()
