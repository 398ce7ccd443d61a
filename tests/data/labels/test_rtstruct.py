"""RT structure sets written after the standard."""

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from cmr_hf.data.labels.rtstruct import read_rtstruct
from cmr_hf.hub.reading_cmr import ReadingError
from tests.data.labels.labels_factory import CENTRE, ENDO, EPI, RV, circle, disc, heart, study
from tests.multiframe_factory import group

HEART = {"LV Endo": (CENTRE, ENDO), "LV Epi": (CENTRE, EPI), "RV": ((18.0, 36.0), RV)}


def in_patient(points: np.ndarray, picture) -> list[float]:
    """(row, column) -> x, y, z, x, y, z … in mm (PS3.3 equation C.7.6.2.1-1)."""
    row, column = np.split(np.array(picture.ImageOrientationPatient, float), 2)
    down, across = (float(side) for side in picture.PixelSpacing)
    origin = np.array(picture.ImagePositionPatient, float)
    places = origin + points[:, 1:] * across * row + points[:, :1] * down * column
    return [f"{value:.6f}" for value in places.ravel()]


def contour(points, picture, kind="CLOSED_PLANAR", named=True, data=None):
    made = {"ContourGeometricType": kind, "ContourData": in_patient(points, picture) if data is None else data}
    made["NumberOfContourPoints"] = len(made["ContourData"]) // 3
    if named:
        made["ContourImageSequence"] = {"ReferencedSOPInstanceUID": picture.SOPInstanceUID}
    return made


def written(path, rois: dict[str, list[dict]]):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID, made.Modality = (
        RTStructureSetStorage,
        meta.MediaStorageSOPInstanceUID,
        "RTSTRUCT",
    )
    made.PatientName = "Secret^Person"
    numbers = list(enumerate(rois.items(), start=1))
    made.StructureSetROISequence = [group({"ROINumber": number, "ROIName": name}) for number, (name, _) in numbers]
    made.ROIContourSequence = [
        group({"ReferencedROINumber": number, "ContourSequence": contours}) for number, (_, contours) in numbers
    ]
    made.save_as(path, enforce_file_format=True)
    return path


def test_contours_in_mm_become_masks_on_oblique_slices(tmp_path):
    pictures = study(tmp_path / "dicom", slices=3, phases=2)
    drawn = [pictures[0, 1], pictures[2, 1]]
    rois = {name: [contour(circle(*where), one) for one in drawn] for name, where in HEART.items()}
    (stack,) = read_rtstruct(written(tmp_path / "rt.dcm", rois), tmp_path / "dicom", patient="p").stacks
    assert (stack.phase_index, stack.drawn, len(stack.masks)) == (1, (1, 2, 3), 2)
    for mask in stack.masks:
        assert (mask != heart()).mean() < 0.015


def test_an_inner_contour_is_a_hole(tmp_path):
    picture = study(tmp_path / "dicom", 1, 1)[0, 0]
    rois = {"Myocardium": [contour(circle(CENTRE, radius), picture) for radius in (EPI, ENDO)]}
    (stack,) = read_rtstruct(written(tmp_path / "rt.dcm", rois), tmp_path / "dicom", patient="p").stacks
    ring = disc(CENTRE, EPI) & ~disc(CENTRE, ENDO)
    assert ((stack.masks[0] == 2) != ring).mean() < 0.01
    assert stack.drawn == (2,)


def test_contours_without_reference_find_their_plane_unless_a_cine_has_many(tmp_path):
    still = study(tmp_path / "still", slices=3, phases=1)
    rois = {"LV": [contour(circle(CENTRE, ENDO), still[1, 0], named=False)]}
    found = read_rtstruct(written(tmp_path / "rt.dcm", rois), tmp_path / "still", patient="p")
    assert found.stacks[0].images[0, 0, 0] == 100
    study(tmp_path / "cine", slices=3, phases=2)
    with pytest.raises(ReadingError, match="none of the pictures"):
        read_rtstruct(tmp_path / "rt.dcm", tmp_path / "cine", patient="p")


def test_points_become_landmarks_and_unknown_rois_are_reported_by_number(tmp_path):
    picture = study(tmp_path / "dicom", 1, 1)[0, 0]
    rois = {
        "Anterior RV insertion": [contour(np.array([[10.5, 30.25]]), picture, "POINT")],
        "LV": [contour(circle(CENTRE, ENDO), picture)],
        "Mr Secret's aorta": [contour(circle(CENTRE, 3), picture)],
    }
    path = written(tmp_path / "rt.dcm", rois)
    found = read_rtstruct(path, tmp_path / "dicom", patient="p")
    assert found.stacks[0].landmarks[0]["anterior RV insertion"] == pytest.approx((10.5, 30.25), abs=1e-4)
    assert len(found.report) == 1
    assert "ROI 3" in found.report[0]
    assert "Secret" not in found.report[0]
    mapped = read_rtstruct(path, tmp_path / "dicom", patient="p", label_map={3: "LA", "LV": None})
    assert mapped.stacks[0].drawn == (4,)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (["1", "2"], "finite points"),
        (["1", "2", "1e999"] * 3, "finite points"),
        (["9000", "9000", "9000"] * 3, "none of the pictures"),
    ],
)
def test_when_contours_are_bad_then_it_says_so(tmp_path, data, says):
    picture = study(tmp_path / "dicom", 1, 1)[0, 0]
    path = written(tmp_path / "rt.dcm", {"LV": [contour(circle(CENTRE, ENDO), picture, data=data)]})
    with pytest.raises(ReadingError, match=says):
        read_rtstruct(path, tmp_path / "dicom", patient="p")


def test_when_the_file_is_another_or_cut_then_it_says_so(tmp_path):
    study(tmp_path / "dicom", 1, 1)
    with pytest.raises(ReadingError, match="no RT Structure Set"):
        read_rtstruct(next((tmp_path / "dicom").iterdir()), tmp_path / "dicom", patient="p")
    (tmp_path / "text.dcm").write_text("no DICOM")
    with pytest.raises(ReadingError, match=r"text\.dcm"):
        read_rtstruct(tmp_path / "text.dcm", tmp_path / "dicom", patient="p")
