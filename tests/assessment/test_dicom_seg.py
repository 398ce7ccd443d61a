"""DICOM SEG: references to frames, series and images of the source, and refusals."""

from dataclasses import replace

import numpy as np
import pytest

from cmr_hf.assessment.recognition import recognise
from cmr_hf.assessment.results import StackAssessment
from cmr_hf.assessment.sources import FrameReference, Opinion, Source
from cmr_hf.assessment.writing.dicom_seg import write_dicom_seg
from tests.assessment.study_factory import cine_labels

MR, ENHANCED = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
highdicom = pytest.importorskip("highdicom", reason="comes with the clinical extra")


def assessed(reference):
    """A stack of 3 phases with masks, whose picture at (t, z) is `reference(t, z)`."""
    labels, stack = cine_labels(3)
    frames = np.empty(labels.shape[:2], dtype=object)
    for t, z in np.ndindex(frames.shape):
        frames[t, z] = reference(t, z)
    opinion = Opinion("cine", "SAX")
    source = Source(4, labels.shape, stack, lambda: labels.astype(np.float32), "ab" * 32, opinion, frames=frames)
    return StackAssessment(source, recognise(opinion, None, None), labels, "model", "cine-sax")


def test_when_the_source_is_one_multiframe_file_then_frames_are_referred_to_by_number(tmp_path):
    stack = assessed(lambda t, z: FrameReference(ENHANCED, "1.2.3.4", 8 * t + z + 1, "1.2.3", "1.2", "1.2.9"))
    seg = highdicom.seg.segread(write_dicom_seg(stack, 2, tmp_path / "seg.dcm"))
    positions = [one[:3, 3] for one in stack.source.stack.affines]
    assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 1
    for frame in seg.PerFrameFunctionalGroupsSequence:
        item = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == (ENHANCED, "1.2.3.4")
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        np.testing.assert_allclose(place, positions[item.ReferencedFrameNumber - 17], atol=1e-4)


def test_when_each_slice_is_a_series_then_all_series_are_referred_to(tmp_path):
    stack = assessed(lambda t, z: FrameReference(MR, f"1.2.3.{z + 1}.{t + 1}", None, f"1.2.3.{z + 1}", "1.2", "1.2.9"))
    seg = highdicom.seg.segread(write_dicom_seg(stack, 1, tmp_path / "seg.dcm"))
    named = {item.SeriesInstanceUID: len(item.ReferencedInstanceSequence) for item in seg.ReferencedSeriesSequence}
    assert named == {f"1.2.3.{z + 1}": 1 for z in range(8)}
    assert seg.FrameOfReferenceUID == "1.2.9"


def test_when_masks_are_by_hand_then_it_is_said(tmp_path):
    stack = assessed(lambda t, z: FrameReference(MR, f"1.2.{z + 1}.{t + 1}", None, "1.2.3", "1.2"))
    stack.masks_from = "hand"
    seg = highdicom.seg.segread(write_dicom_seg(stack, 0, tmp_path / "seg.dcm"))
    assert {item.SegmentAlgorithmType for item in seg.SegmentSequence} == {"SEMIAUTOMATIC"}


def test_when_nothing_can_be_referred_to_then_the_reason_is_given(tmp_path):
    stack = assessed(lambda t, z: FrameReference(MR, "", None, "1.2.3", "1.2"))
    with pytest.raises(ValueError, match="no SOP instance"):
        write_dicom_seg(stack, 0, tmp_path / "seg.dcm")
    stack.source = replace(stack.source, frames=None)
    with pytest.raises(ValueError, match="no DICOM"):
        write_dicom_seg(stack, 0, tmp_path / "seg.dcm")
    empty = assessed(lambda t, z: FrameReference(MR, f"1.2.{z + 1}.{t + 1}", None, "1.2.3", "1.2"))
    empty.labels = np.zeros_like(empty.labels)
    with pytest.raises(ValueError, match="no label"):
        write_dicom_seg(empty, 0, tmp_path / "seg.dcm")
    assert not list(tmp_path.iterdir())
