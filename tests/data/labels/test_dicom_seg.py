"""DICOM Segmentations written by highdicom."""

import highdicom
import numpy as np
import pytest
from pydicom.sr.codedict import codes

from cmr_hf.data.labels.dicom_seg import read_dicom_seg
from cmr_hf.hub.reading_cmr import ReadingError
from tests.data.labels.labels_factory import CENTRE, ENDO, EPI, SHAPE, disc, heart, study

CODES = {"LV": codes.SCT.LeftVentricle, "RV": codes.SCT.RightVentricle, "odd": codes.SCT.Aorta}


def written(path, pictures, labels: np.ndarray, kind="BINARY", names=None, **more):
    """`labels` (slices, y, x) of segment numbers, or (slices, y, x, segments) of 0 to 1."""
    names = names or {1: "LV cavity", 2: "Myocardium", 3: "RV"}
    algorithm = highdicom.AlgorithmIdentificationSequence("test", codes.DCM.ArtificialIntelligence, "1")
    segments = [
        highdicom.seg.SegmentDescription(
            number,
            name,
            codes.SCT.AnatomicalStructure,
            CODES.get(name, codes.SCT.Heart),
            highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm,
        )
        for number, name in names.items()
    ]
    for one in pictures:  # what highdicom copies and the small test files lack
        for keyword in ("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "PatientSex", "FrameOfReferenceUID"):
            if keyword not in one:
                setattr(one, keyword, "1.2.3.99" if keyword == "FrameOfReferenceUID" else "")
    made = highdicom.seg.Segmentation(
        pictures,
        labels,
        kind,
        segments,
        series_instance_uid=highdicom.UID(),
        series_number=9,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
        **more,
    )
    made.save_as(path)
    return path


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_segments_become_masks_on_their_pictures(tmp_path, kind):
    pictures = study(tmp_path / "dicom", slices=3, phases=2, series_per_slice=False)
    diastole = [pictures[k, 0] for k in range(3)]
    labels = np.stack([heart(), heart(), np.zeros(SHAPE, np.uint8)])
    if kind == "FRACTIONAL":
        labels = np.stack([np.where(labels == number, 0.7, 0.2) for number in (1, 2, 3)], axis=-1)
    path = written(tmp_path / "seg.dcm", diastole, labels, kind)
    (stack,) = read_dicom_seg(path, tmp_path / "dicom", patient="p").stacks
    assert (stack.phase_index, stack.drawn) == (0, (1, 2, 3))
    np.testing.assert_array_equal(stack.masks[0], heart())
    np.testing.assert_array_equal(stack.masks[1], heart())
    assert not stack.masks[2].any()  # its empty frames were left out by the writer


def test_overlapping_segments_and_the_epicardium_follow_the_rule_of_painting(tmp_path):
    pictures = study(tmp_path / "dicom", slices=2, phases=1, series_per_slice=False)
    both = np.stack([disc(CENTRE, ENDO), disc(CENTRE, EPI)], axis=-1)[None].repeat(2, axis=0)
    path = written(
        tmp_path / "seg.dcm", [pictures[k, 0] for k in (0, 1)], both.astype(np.uint8), names={1: "endo", 2: "LV_epi"}
    )
    (stack,) = read_dicom_seg(path, tmp_path / "dicom", patient="p").stacks
    assert stack.drawn == (1, 2)
    np.testing.assert_array_equal(stack.masks[0] == 2, disc(CENTRE, EPI) & ~disc(CENTRE, ENDO))


def test_codes_count_where_names_say_nothing_and_label_map_goes_first(tmp_path):
    pictures = study(tmp_path / "dicom", slices=1, phases=1)
    path = written(tmp_path / "seg.dcm", [pictures[0, 0]], heart()[None], names={1: "LV", 2: "odd", 3: "RV"})
    found = read_dicom_seg(path, tmp_path / "dicom", patient="p")
    assert found.stacks[0].drawn == (1, 3)
    assert "segment 2" in found.report[0]
    mapped = read_dicom_seg(path, tmp_path / "dicom", patient="p", label_map={2: 2, "RV": None})
    assert mapped.stacks[0].drawn == (1, 2)


def test_frames_without_source_find_the_only_picture_on_their_plane(tmp_path):
    from pydicom import dcmread

    pictures = study(tmp_path / "dicom", slices=2, phases=1, series_per_slice=False)
    path = written(tmp_path / "seg.dcm", [pictures[k, 0] for k in (0, 1)], np.stack([heart(), heart()]))
    dataset = dcmread(path)
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence
    dataset.save_as(path)
    (stack,) = read_dicom_seg(path, tmp_path / "dicom", patient="p").stacks
    np.testing.assert_array_equal(stack.masks[1], heart())
    study(tmp_path / "cine", slices=2, phases=2)
    with pytest.raises(ReadingError, match="none of the pictures"):
        read_dicom_seg(path, tmp_path / "cine", patient="p")


def test_when_the_file_is_another_or_cut_then_it_says_so(tmp_path):
    pictures = study(tmp_path / "dicom", slices=1, phases=1)
    path = written(tmp_path / "seg.dcm", [pictures[0, 0]], heart()[None])
    with pytest.raises(ReadingError, match="no DICOM Segmentation"):
        read_dicom_seg(next((tmp_path / "dicom").iterdir()), tmp_path / "dicom", patient="p")
    with pytest.raises(ReadingError, match="no segment that this package knows"):
        read_dicom_seg(path, tmp_path / "dicom", patient="p", label_map={1: None, 2: None, 3: None})
    with pytest.raises(ReadingError, match="label_map"):
        read_dicom_seg(path, tmp_path / "dicom", patient="p", label_map={1: 77})
    whole = path.read_bytes()
    for size in (200, len(whole) - 200):
        (tmp_path / "cut.dcm").write_bytes(whole[:size])
        with pytest.raises(ReadingError, match=r"cut\.dcm"):
            read_dicom_seg(tmp_path / "cut.dcm", tmp_path / "dicom", patient="p")
