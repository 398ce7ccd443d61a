"""Damaged files for the reader, run in a process of its own with limits on memory and on each file's time.

python -m tests.fuzz_reading FOLDER SEED COUNT    prints one JSON line: what was read, refused and went wrong

A file may give a CMRImage or a ReadingError, nothing else; no text may hold patient data.
"""

import faulthandler
import io
import json
import resource
import sys
import traceback
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import gdcm
import nibabel
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from cmr_hf.hub.reading_cmr import CMRImage, ReadingError, read_image
from tests import dicom_factory
from tests.dicom_factory import slice_dataset, write_slice, write_stack
from tests.multiframe_factory import cine_frames, enhanced_dataset, group

SECONDS_PER_FILE = 20
MEMORY_BYTES = 3 * 1024**3
SECRETS = ("Secret", "SECRET", "4711", "19470101")
PIXELS = (np.arange(36 * 40).reshape(36, 40) % 251 * 16).astype(np.uint16)
ABSURD = {
    "Rows": [0, 1, 65535], "Columns": [0, 7, 65535], "NumberOfFrames": [0, -1, 2, 10**9], "BitsStored": [0, 7, 300],
    "BitsAllocated": [0, 1, 12, 32, 64, 65535], "HighBit": [0, 200], "PixelRepresentation": [1, 7],
    "SamplesPerPixel": [0, 2, 3], "PhotometricInterpretation": ["MONOCHROME1", "RGB", "", "x" * 70],
    "PixelSpacing": [[0, 0], [1e-300, 1e300], [-1, 1], [1], ["nan", "nan"], []],
    "ImageOrientationPatient": [[0] * 6, ["nan"] * 6, [1e300] * 6, [1, 0, 0, 1, 0, 0], [1]],
    "ImagePositionPatient": [["inf"] * 3, [1e300] * 3, [1, 2], []], "RescaleSlope": ["1e308", "-1e308", "0", "nan"],
    "RescaleIntercept": ["1e308", "inf"], "TriggerTime": ["nan", "-1e300"], "InstanceNumber": [-(2**31), None],
    "FrameIncrementPointer": [0x00181063, 0x7FE00010], "FrameTime": ["1e300", "-1"], "SpacingBetweenSlices": ["1e300"],
    "PerFrameFunctionalGroupsSequence": [[], [Dataset()]], "SharedFunctionalGroupsSequence": [[], [Dataset()]],
    "PixelData": [b"", b"\0", b"\xff" * 5000], "FloatPixelData": [b"\0" * 5760, b"\xff" * 5760],
    "RealWorldValueMappingSequence": [[group({"RealWorldValueSlope": 1e308, "RealWorldValueIntercept": 1e308})],
                                      [group({"RealWorldValueLUTData": [1.0]})], [Dataset()]],
    "ImageType": [["A"] * 100, "M"], "SeriesInstanceUID": ["", "x" * 900], "Modality": ["", "CT"],
}  # fmt: skip


def dicom_samples() -> dict[str, Dataset]:
    """One valid data set of each kind of file."""
    mapping = group({"RealWorldValueFirstValueMapped": 0, "RealWorldValueLastValueMapped": 4000,
                     "RealWorldValueLUTData": [float(value) for value in range(4001)]})  # fmt: skip
    cine = cine_frames(range(2), 3, shape=(36, 40))
    samples = {
        "plain": slice_dataset(PIXELS),
        "mapped": slice_dataset(PIXELS, RealWorldValueMappingSequence=[mapping]),
        "old frames": slice_dataset(np.stack([PIXELS] * 4), NumberOfFrames=4, SpacingBetweenSlices=8),
        "enhanced": enhanced_dataset(*cine),
        "enhanced rle": enhanced_dataset(*cine),
        "deflated": slice_dataset(PIXELS),
        "jpeg": slice_dataset((PIXELS >> 4).astype(np.uint8)),
    }
    for name, syntax in (("rle", RLELossless), ("jpeg-ls", JPEGLSLossless), ("jpeg 2000", JPEG2000Lossless)):
        samples[name] = slice_dataset(PIXELS)
        samples[name].compress(syntax, generate_instance_uid=False)
    samples["enhanced rle"].compress(RLELossless, generate_instance_uid=False)
    samples["deflated"].file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    packed = io.BytesIO()
    Image.fromarray((PIXELS >> 4).astype(np.uint8)).save(packed, "JPEG")
    samples["jpeg"].PixelData = encapsulate([packed.getvalue()])
    samples["jpeg"]["PixelData"].VR = "OB"
    samples["jpeg"].file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return samples


def samples(folder: Path) -> dict[str, bytes]:
    """File name -> bytes of one valid file of each kind."""
    made = {}
    for name, dataset in dicom_samples().items():
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        made[f"{name}.dcm"] = buffer.getvalue()
    bare, buffer = slice_dataset(PIXELS), io.BytesIO()
    bare.preamble, bare.file_meta = None, FileMetaDataset()
    pydicom.dcmwrite(buffer, bare, implicit_vr=True, little_endian=True)
    made["bare"] = buffer.getvalue()
    made["jpeg lossless.dcm"] = jpeg_lossless(folder)
    for name, kind in (("one.nii", nibabel.Nifti1Image), ("two.nii", nibabel.Nifti2Image)):
        for suffix in ("", ".gz"):
            nibabel.save(kind(np.stack([PIXELS] * 3, axis=-1), np.diag([1, 1, 8, 1])), folder / (name + suffix))
            made[name + suffix] = (folder / (name + suffix)).read_bytes()
    write_stack(folder / "stack", slices=2, phases=2)
    for name, method in (("a.zip", zipfile.ZIP_DEFLATED), ("stored.zip", zipfile.ZIP_STORED)):
        with zipfile.ZipFile(folder / name, "w", method) as archive:
            for path in sorted((folder / "stack").iterdir()):
                archive.write(path, path.name)
        made[name] = (folder / name).read_bytes()
    made["DICOMDIR"] = dicomdir(folder)
    return made


def jpeg_lossless(folder: Path) -> bytes:
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(write_slice(folder / "plain.dcm", PIXELS)))
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    writer.SetFileName(str(folder / "lossless.dcm"))
    if not reader.Read():
        raise RuntimeError("gdcm cannot read the sample")
    change.SetInput(reader.GetImage())
    change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.Write()
    return (folder / "lossless.dcm").read_bytes()


def dicomdir(folder: Path) -> bytes:
    """An index of the files im0, im1, which `write_case` puts beside it."""
    index = pydicom.Dataset()
    index.file_meta = FileMetaDataset()
    index.file_meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    index.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    index.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    names = ["IM0", "IM1", ["..", "OUT"], "ABSENT"]
    records = [{"DirectoryRecordType": "IMAGE", "ReferencedFileID": name, "PatientName": "Secret"} for name in names]
    index.DirectoryRecordSequence = [group(record) for record in records]
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, index, enforce_file_format=True)
    for k in range(2):
        write_slice(folder / "case" / f"im{k}", PIXELS, ImagePositionPatient=[0, 0, 8 * k])
    return buffer.getvalue()


def mutated(name: str, content: bytes, rng: np.random.Generator) -> bytes:
    """The file with flipped bytes, cut, with bytes put in, a part doubled, or with absurd tags."""
    data = bytearray(content)
    way = rng.integers(0, 9)
    if way >= 7 and name.endswith(".dcm"):
        return with_absurd_tags(content, rng)
    if way == 0:
        return bytes(data[: rng.integers(0, len(data))])
    if way == 1:
        place = int(rng.integers(0, len(data)))
        data[place:place] = rng.bytes(int(rng.integers(1, 40)))
    elif way == 2:
        start, length = (int(rng.integers(0, len(data))), int(rng.integers(1, 400)))
        data[start:start] = data[int(rng.integers(0, len(data))) :][:length]
    else:
        stream = content.find(b"\xe0\x7f\x10\x00") + 8  # PixelData: the header of a code stream follows
        reach = {4: (0, 1500), 5: (len(data) // 2, len(data)), 6: (stream, stream + 120)}
        start, end = reach.get(int(way), (0, len(data)))
        for place in rng.integers(start, min(end, len(data)), rng.integers(1, 30)):
            data[place] = rng.choice([0, 1, 127, 128, 255, int(rng.integers(0, 256))])
    return bytes(data)


def with_absurd_tags(content: bytes, rng: np.random.Generator) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(content))
    for keyword in rng.choice(list(ABSURD), rng.integers(1, 4), replace=False):
        values = ABSURD[keyword]
        setattr(dataset, keyword, values[rng.integers(0, len(values))])
    buffer = io.BytesIO()
    try:
        dataset.save_as(buffer)
    except Exception:  # what pydicom cannot even write cannot be a file
        return content[: len(content) // 2]
    return buffer.getvalue()


def attempt(source: Path) -> tuple[str, str]:
    """ "read", "refused" or "wrong", and what was said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warnings.simplefilter("error", RuntimeWarning)
        try:
            image = read_image(source)
            outcome, text = "read", repr(image)
            if not isinstance(image, CMRImage) or image.pixels.ndim != 4 or not np.isfinite(image.pixels).all():
                outcome = "wrong"
        except ReadingError as error:
            outcome, text = "refused", str(error)
        except BaseException:
            outcome, text = "wrong", traceback.format_exc()
    text += " ".join(str(item.message) for item in said)
    return ("leak" if any(secret in text for secret in SECRETS) else outcome), text


def main(folder: Path, seed: int, count: int) -> None:
    faulthandler.enable()
    dicom_factory.generate_uid = lambda: "1.2.3.4"  # the same files for the same seed
    made = samples(folder)
    rng = np.random.default_rng(seed)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    failures = []
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    for number in range(count):
        name = list(made)[number % len(made)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = mutated(name, made[name], rng)
        path = folder / "case" / name
        path.write_bytes(content)
        faulthandler.dump_traceback_later(SECONDS_PER_FILE, exit=True)
        outcome, text = attempt(path)
        faulthandler.cancel_dump_traceback_later()
        counts[outcome] += 1
        kinds[f"{outcome} {name}"] += 1
        if outcome in ("wrong", "leak"):
            kept = folder / f"{outcome}-{number}-{name}"
            kept.write_bytes(content)
            failures.append({"file": str(kept), "text": text[-1500:]})
        path.unlink()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(json.dumps({"counts": counts, "kinds": kinds, "grown_bytes": grown, "failures": failures}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
