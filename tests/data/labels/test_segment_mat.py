"""Segment's .mat in the layout of its real files (see the module), written by SciPy."""

import contextlib

import numpy as np
import pytest
from scipy.io import savemat

from cmr_hf.data.labels.segment_mat import read_segment
from cmr_hf.data.schema import UNKNOWN
from cmr_hf.hub.reading_cmr import ReadingError
from tests.data.labels.labels_factory import CENTRE, ENDO, EPI, RV, SHAPE, circle, heart


def segment_struct(phases: int = 2, slices: int = 3, drawn=((0, 0), (0, 1), (1, 1)), **fields):
    """One entry of `setstruct`; `drawn` are (phase, slice) with contours."""
    contours = {}
    for name, centre, radius in (("Endo", CENTRE, ENDO), ("Epi", CENTRE, EPI), ("RVEndo", (18.0, 36.0), RV)):
        points = np.full((80, phases, slices, 2), np.nan)
        for phase, place in drawn:
            points[:, phase, place] = circle(centre, radius) + 1  # MATLAB counts from 1
        contours |= {f"{name}X": points[..., 0], f"{name}Y": points[..., 1]}
    images = np.zeros((*SHAPE, phases, slices), np.float32)
    images[..., :] = np.arange(slices) / 100
    made = {
        "IM": images,
        "IntensityScaling": 1000,
        "IntensityOffset": 0,
        "ResolutionX": 1.25,
        "ResolutionY": 1.5,
        "SliceThickness": 8,
        "SliceGap": 2.0,
        "ImagePosition": np.array([[10.0, 20.0, 30.0]]),
        "ImageOrientation": np.array([[1.0, 0, 0, 0, 1, 0]]),
        "ImagingTechnique": "MRSSFP",
        "ImageViewPlane": "Short-axis",
        "EDT": 1,
        "EST": 2,
        "PatientInfo": {"Name": "Secret^Person"},
        "Scar": np.empty((0, 0)),
        **contours,
    }
    return made | fields


def written(path, *structs, compressed=True):
    dtype = [(name, object) for name in structs[0]]
    array = np.empty((1, len(structs)), dtype)
    for place, one in enumerate(structs):
        array[0, place] = tuple(one.values())
    savemat(path, {"setstruct": array, "info": {"Name": "Secret^Person"}}, do_compression=compressed)
    return path


def test_contours_become_masks_on_the_images_beside_them(tmp_path):
    found = read_segment(written(tmp_path / "a.mat", segment_struct()), patient="p1")
    diastole, systole = found.stacks
    assert (diastole.phase, systole.phase, diastole.phase_index, systole.phase_index) == ("ED", "ES", 0, 1)
    assert diastole.images.shape == (3, *SHAPE)
    np.testing.assert_allclose(diastole.images[:, 0, 0], [0, 10, 20])
    assert (diastole.view, diastole.image_type, diastole.drawn) == ("SAX", "cine", (1, 2, 3))
    for place in (0, 1):
        assert (diastole.masks[place] != heart()).mean() < 0.02
    assert (diastole.masks[2] == UNKNOWN).all()
    assert (systole.masks[0] == UNKNOWN).all()
    assert diastole.spacing_mm == (1.25, 1.5)
    assert diastole.slice_distance_mm == 10
    np.testing.assert_allclose(diastole.affine[:3], [[1.5, 0, 0, 10], [0, 1.25, 0, 20], [0, 0, -10, 30]])


def test_axes_that_matlab_drops_and_scar_come_back(tmp_path):
    scar = np.zeros(SHAPE, np.uint8)
    scar[25, 22] = 1  # in the myocardium
    one = segment_struct(phases=1, slices=1, drawn=((0, 0),), ImagingTechnique="MRDE", Scar={"Result": scar})
    one["IM"] = one["IM"][:, :, 0, 0]
    for name in ("Endo", "Epi", "RVEndo"):
        one[f"{name}X"], one[f"{name}Y"] = one[f"{name}X"][:, 0, 0, None], one[f"{name}Y"][:, 0, 0, None]
    (stack,) = read_segment(written(tmp_path / "a.mat", one), patient="p").stacks
    assert stack.image_type == "LGE"
    assert stack.drawn == (1, 2, 3, 6)
    assert stack.masks[0, 25, 22] == 6
    assert stack.phase == ""


def test_stacks_without_contours_are_left_out_and_absent_ones_may_be_empty(tmp_path):
    empty = {f"{name}{axis}": np.empty((0, 0), np.uint8) for name in ("Epi", "RVEndo") for axis in "XY"}
    none = segment_struct() | {f"{name}{axis}": np.empty((0, 0)) for name in ("Endo", "Epi", "RVEndo") for axis in "XY"}
    found = read_segment(written(tmp_path / "a.mat", segment_struct(**empty), none), patient="p")
    assert {stack.series for stack in found.stacks} == {"stack 1"}
    assert found.stacks[0].drawn == (1,)
    assert found.report == ["a.mat image stack 2 has no contours and is left out"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"EndoX": np.zeros((80, 9, 9)), "EndoY": np.zeros((80, 9, 9))}, "phases and 3 slices"),
        ({"EndoX": np.zeros((80, 2, 3))[:40]}, "one shape"),
        ({"EndoX": np.full((80, 2, 3), 1e300), "EndoY": np.full((80, 2, 3), 1.0)}, "finite points"),
        ({"IM": np.empty((0, 0))}, "images in IM"),
        ({"IM": np.full((*SHAPE, 2, 3), np.nan, np.float32)}, "finite pixels"),
    ],
)
def test_when_fields_do_not_fit_then_it_says_so(tmp_path, fields, says):
    with pytest.raises(ReadingError, match=says) as caught:
        read_segment(written(tmp_path / "bad.mat", segment_struct(**fields)), patient="p")
    assert "bad.mat" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n", "-v7"),
        (b"", "no MATLAB 5"),
        (b"\x80\x04\x95pickle", "no MATLAB 5"),
        (b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"\xff" * 64, "damaged"),
    ],
)
def test_when_the_file_is_another_then_it_says_so(tmp_path, content, says):
    path = tmp_path / "bad.mat"
    path.write_bytes(content)
    with pytest.raises(ReadingError, match=says):
        read_segment(path, patient="p")


def test_a_truncated_file_or_one_without_setstruct_raises(tmp_path):
    whole = written(tmp_path / "a.mat", segment_struct()).read_bytes()
    for size in (130, 200, len(whole) // 2):
        (tmp_path / "cut.mat").write_bytes(whole[:size])
        with pytest.raises(ReadingError, match="cut.mat"):
            read_segment(tmp_path / "cut.mat", patient="p")
    for other in ({"x": np.ones(3)}, {"setstruct": np.ones(3)}, {"setstruct": "text"}):
        savemat(tmp_path / "other.mat", other)
        with pytest.raises(ReadingError, match="setstruct"):
            read_segment(tmp_path / "other.mat", patient="p")


def test_damaged_bytes_never_end_the_process(tmp_path):
    whole = written(
        tmp_path / "a.mat", segment_struct(phases=1, slices=1, drawn=((0, 0),)), compressed=False
    ).read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in generator.integers(128, len(whole) - 8, 6):
            damaged[place : place + generator.integers(0, 4)] = generator.bytes(generator.integers(0, 4))
        (tmp_path / "b.mat").write_bytes(damaged)
        with contextlib.suppress(ReadingError):
            read_segment(tmp_path / "b.mat", patient="p")
