"""Which three images stand for a heart, and what is said of sources that have none; the classes of a stack."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Pipeline, pipeline

from cmr_hf import ReadingError, read_image
from cmr_hf.hub.classifying_cmr import TO_APEX, base_to_apex
from cmr_hf.hub.pipeline_cmr_disease_detection import end_systole
from cmr_hf.hub.pipeline_cmr_lge_detection import levels
from tests.dicom_factory import OBLIQUE, write_slice, write_stack
from tests.model_factory import tiny_model, tiny_processor
from tests.source_factory import SPACING, beating, scan, write_cine_folder

SPACED = {"spacing_mm": SPACING}


def make(task: str) -> Pipeline:
    torch.manual_seed(0)
    return pipeline(task, model=tiny_model(task), image_processor=tiny_processor())


@pytest.fixture(scope="module")
def lge() -> Pipeline:
    return make("cmr-lge-detection")


@pytest.fixture(scope="module")
def disease() -> Pipeline:
    return make("cmr-disease-detection")


@pytest.fixture(scope="module")
def view() -> Pipeline:
    return make("cmr-view-classification")


def numbered(*lead: int) -> np.ndarray:
    """Images whose pixels all say where they are: 100 · phase + slice."""
    numbers = np.arange(int(np.prod(lead))).reshape(lead)
    if len(lead) == 2:
        numbers = 100 * np.arange(lead[0])[:, None] + np.arange(lead[1])
    return np.broadcast_to(numbers[..., None, None], (*lead, 8, 8)).astype(np.int16)


def picked(pipe: Pipeline, source: np.ndarray, **options) -> list[int]:
    """The numbers of the three images that the model would see."""
    return pipe.samples(read_image(source), **options)[0, :, 0, 0].tolist()


# Base and apex


@pytest.mark.parametrize("reverse", [False, True])
def test_an_oblique_stack_is_taken_from_base_to_apex_in_whatever_order_it_was_exported(tmp_path, reverse):
    # Turning the row turns the normal too, along which the reader sorts the slices.
    row, column = OBLIQUE[:3], OBLIQUE[3:]
    orientation = np.concatenate([-row if reverse else row, column])
    write_stack(tmp_path, slices=5, orientation=orientation)
    image = read_image(tmp_path)
    order = base_to_apex(image)
    centres = [(image.affine @ [0, 0, k, 1])[:3] for k in order]
    along = np.array(centres) @ TO_APEX
    assert (np.diff(along) > 0).all()
    assert order == ([0, 1, 2, 3, 4] if reverse else [4, 3, 2, 1, 0])


@pytest.mark.parametrize("orientation", [[1, 0, 0, 0, 1, 0], [1, 0, 0, 0, -1, 0], [0, 1, 0, 0, 0, -1]])
def test_a_header_with_a_dummy_orientation_leaves_the_order_as_stored(tmp_path, orientation):
    write_stack(tmp_path, slices=4, orientation=orientation)
    assert base_to_apex(read_image(tmp_path)) == [0, 1, 2, 3]


def test_without_patient_space_the_order_is_as_stored():
    assert base_to_apex(read_image(numbered(5))) == [0, 1, 2, 3, 4]
    assert base_to_apex(read_image(numbered(2, 3))) == [0, 1, 2]
    assert base_to_apex(read_image(scan(8, 8))) == [0]


# Late enhancement


@pytest.mark.parametrize(
    ("slices", "chosen"),
    [(3, [0, 1, 2]), (4, [0, 1, 3]), (5, [1, 2, 3]), (6, [1, 2, 4]), (10, [2, 4, 7]), (13, [3, 6, 9])],
)
def test_lge_is_looked_for_at_a_quarter_half_and_three_quarters_of_the_stack(lge, slices, chosen):
    assert picked(lge, numbered(slices)) == chosen
    assert picked(lge, numbered(2, slices)) == chosen  # of several phases the first


@pytest.mark.parametrize("slices", range(3, 40))
def test_the_three_levels_differ_and_lie_alike_from_both_ends(slices):
    basal, mid, apical = levels(slices)
    assert 0 <= basal < mid < apical < slices
    assert basal == slices - 1 - apical
    assert abs(basal - (slices - 1) / 4) < 1
    assert abs(mid - (slices - 1) / 2) < 1


def test_of_a_dicom_stack_from_apex_to_base_the_basal_slice_comes_first(lge, tmp_path):
    cine = scan(1, 10, 40, 36)
    stack = write_cine_folder(tmp_path / "lge", cine)
    assert lge(stack) == lge(cine[0][[7, 5, 2]], **SPACED)
    assert lge(stack) != lge(cine[0][[2, 5, 7]], **SPACED)  # the channels are told apart
    assert lge(stack, slices=[2, 5, 7]) == lge(cine[0][[2, 5, 7]], **SPACED)


def test_slices_of_the_call_are_taken_in_its_order(lge):
    assert picked(lge, numbered(6), slices=(5, 0, 3)) == [5, 0, 3]
    assert picked(lge, numbered(6), slices=np.array([1, 1, 1])) == [1, 1, 1]


@pytest.mark.parametrize(
    "slices", [(0, 1), (0, 1, 2, 3), (0, 1, 6), (-1, 0, 1), (0.0, 1.0, 2.0), 3, "012", (), (0, 1, None)]
)
def test_when_slices_are_not_three_of_the_stack_then_lge_detection_raises(lge, slices):
    with pytest.raises(ValueError, match=r"`slices` needs 3 of the numbers 0 to 5, got .*: count from 0"):
        lge(scan(6, 20, 20), slices=slices, **SPACED)


@pytest.mark.parametrize("shape", [(20, 20), (1, 20, 20), (2, 20, 20), (5, 2, 20, 20)])
def test_when_there_are_too_few_slices_then_lge_detection_names_the_remedy(lge, shape):
    with pytest.raises(
        ReadingError, match=r"needs three slices or more .*got shape \(.*pass the whole stack, or \{'images"
    ):
        lge(scan(*shape), **SPACED)


# Disease


def test_end_systole_is_the_phase_that_differs_most_in_the_middle_of_the_picture():
    cine = beating(25, 1, 60, 60, systole=9)[:, 0]
    assert end_systole(cine) == 9
    flickering = cine.copy()
    flickering[20, :10] = 3000  # outside the middle half
    assert end_systole(flickering) == 9
    flickering[20, 20:40] = 3000
    assert end_systole(flickering) == 20
    assert end_systole(cine.astype(np.uint8)) == end_systole(cine.astype(np.uint8).astype(float))  # no wrapping around


def test_disease_is_looked_for_at_end_diastole_half_way_and_end_systole(disease):
    cine = beating(25, 1, 40, 40, systole=10)
    image = disease.samples(read_image(cine))
    np.testing.assert_array_equal(image[0], cine[[0, 5, 10], 0])
    odd = beating(25, 1, 40, 40, systole=7)
    np.testing.assert_array_equal(disease.samples(read_image(odd))[0], odd[[0, 4, 7], 0])


def test_of_two_phases_the_second_counts_for_the_half_way_image_too(disease):
    assert picked(disease, numbered(2, 1)) == [0, 100, 100]


@pytest.mark.parametrize(("slices", "chosen"), [(1, 0), (4, 1), (5, 1), (10, 2), (13, 3)])
def test_disease_is_looked_for_a_quarter_down_from_the_base(disease, tmp_path, slices, chosen):
    assert picked(disease, numbered(2, slices)) == [chosen, 100 + chosen, 100 + chosen]
    cine = beating(2, slices, 12, 12, systole=1)
    from_apex = read_image(write_cine_folder(tmp_path / "cine", cine))
    expected = cine[[0, 1, 1], slices - 1 - chosen if slices > 1 else 0]
    np.testing.assert_array_equal(disease.samples(from_apex)[0], expected)


def test_phases_and_slice_of_the_call_win_over_the_rules(disease):
    cine = numbered(9, 5)
    assert picked(disease, cine, phases=(1, 6)) == [101, 401, 601]  # half-way rounded up
    assert picked(disease, cine, phases=[8, 0, 3], slice_index=4) == [804, 4, 304]
    assert picked(disease, cine, phases=(0, 2), slice_index=0) == [0, 100, 200]
    found = disease(beating(9, 5, 30, 30, systole=4), phases=(0, 2, 4), slice_index=1, **SPACED)
    assert found == disease(beating(9, 5, 30, 30, systole=4), **SPACED)


def test_three_images_of_one_phase_are_the_three_themselves(disease):
    assert picked(disease, numbered(3)) == [0, 1, 2]
    assert picked(disease, numbered(1, 3)) == [0, 1, 2]
    assert picked(disease, numbered(3), phases=(2, 1, 0)) == [2, 1, 0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"phases": (0, 9)}, r"`phases` needs 2 or 3 of the numbers 0 to 3, got \(0, 9\): count from 0"),
        ({"phases": (0, -1)}, "`phases` needs 2 or 3"),
        ({"phases": (1,)}, "`phases` needs 2 or 3"),
        ({"phases": (0, 1, 2, 3)}, "`phases` needs 2 or 3"),
        ({"phases": 2}, "`phases` needs 2 or 3"),
        ({"slice_index": 2}, "`slice_index` needs 1 of the numbers 0 to 1, got 2: count from 0"),
        ({"slice_index": -1}, "`slice_index` needs 1"),
        ({"slice_index": 0.5}, "`slice_index` needs 1"),
    ],
)
def test_when_phases_or_slice_are_out_of_range_then_disease_detection_raises(disease, options, says):
    with pytest.raises(ValueError, match=says):
        disease(scan(4, 2, 20, 20), **options, **SPACED)


@pytest.mark.parametrize("shape", [(20, 20), (2, 20, 20), (8, 20, 20), (1, 10, 20, 20)])
def test_when_there_is_one_phase_then_disease_detection_names_the_remedy(disease, shape):
    with pytest.raises(ReadingError, match=r"needs phases, \(t, z, y, x\).*pass the whole cine, or \{'images': \[ED"):
        disease(scan(*shape), **SPACED)


# Three images by themselves


def test_three_files_and_pictures_are_taken_in_their_order(lge, tmp_path):
    stack = (scan(3, 40, 36) // 4).astype(np.uint8)
    files = []
    for index, image in enumerate(stack):
        files.append(write_slice(tmp_path / f"{index}.dcm", image.astype(np.uint16), PixelSpacing=list(SPACING)))
    expected = lge(stack, **SPACED)
    assert lge({"images": files}) == expected
    assert lge({"images": tuple(map(str, files))}) == expected
    assert lge({"images": [Image.fromarray(image) for image in stack], **SPACED}) == expected
    assert lge({"images": stack, **SPACED}) == expected
    assert lge({"images": list(stack)}, **SPACED) == expected
    assert lge({"images": torch.from_numpy(stack)}, **SPACED) == expected
    assert lge({"images": files[::-1]}) != expected
    for one in lge([{"images": files}, {"images": list(stack), **SPACED}]):  # a batch of two adds in another order
        assert [entry["score"] for entry in one] == pytest.approx([entry["score"] for entry in expected], abs=1e-6)


def test_spacing_of_the_call_wins_over_that_of_three_images(lge, tmp_path):
    stack = scan(3, 40, 36).astype(np.uint16)
    files = [
        write_slice(tmp_path / f"{index}.dcm", image, PixelSpacing=[1.0 + index, 1.0])
        for index, image in enumerate(stack)
    ]
    assert lge({"images": files}, **SPACED) == lge(stack, **SPACED)
    assert lge({"images": list(stack), "spacing_mm": (9.0, 9.0)}, **SPACED) == lge(stack, **SPACED)
    with pytest.raises(ReadingError, match=r"of one size and spacing, got .*\(1\.0, 1\.0\).*\(3\.0, 1\.0\)"):
        lge({"images": files})


@pytest.mark.parametrize("pipe", ["lge", "disease"])
@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"images": [scan(20, 20), scan(20, 20), scan(20, 21)]}, r"of one size.*\(20, 21\).*crop or resample"),
        ({"images": [scan(20, 20), scan(20, 20), scan(2, 20, 20)]}, "need one slice each"),
        ({"images": [scan(20, 20), scan(20, 20)]}, "needs three of them .*spacing_mm"),
        ({"images": 3}, "needs three of them"),
        ({"images": [scan(20, 20)] * 3, "spacing": (1.0, 1.0)}, "needs three of them"),
        ({"images": [scan(20, 20), scan(20, 20), "no/such/file.dcm"]}, "no/such/file.dcm.*check the path"),
    ],
)
def test_when_three_images_do_not_belong_together_then_detection_raises(pipe, source, says, request):
    with pytest.raises(ReadingError, match=says):
        request.getfixturevalue(pipe)(source, **SPACED)


# Classes


def test_a_stack_gets_the_mean_probability_of_its_slices(view):
    stack = scan(5, 40, 36)
    together = {one["label"]: one["score"] for one in view(stack, **SPACED)}
    alone = [{one["label"]: one["score"] for one in view(image, **SPACED)} for image in stack]
    assert sum(together.values()) == pytest.approx(1.0, abs=1e-5)
    for label, score in together.items():
        assert score == pytest.approx(np.mean([one[label] for one in alone]), abs=1e-5)


def test_of_a_long_cine_sixteen_evenly_spaced_images_are_looked_at(view):
    cine = numbered(25, 4)
    numbers = view.samples(read_image(cine))[:, 0, 0]
    assert len(numbers) == 16
    places = [100 * (index // 4) + index % 4 for index in range(100)]
    assert [places.index(number) for number in numbers] == [round(99 * k / 15) for k in range(16)]


def test_labels_come_best_first_and_top_k_keeps_some(view):
    stack = scan(2, 40, 36)
    whole = view(stack, **SPACED)
    assert [one["score"] for one in whole] == sorted((one["score"] for one in whole), reverse=True)
    assert {one["label"] for one in whole} == set(view.model.config.id2label.values())
    assert view(stack, top_k=2, **SPACED) == whole[:2]
    assert view(stack, top_k=50, **SPACED) == whole


@pytest.mark.parametrize("top_k", [0, -1, 1.5, "two"])
def test_when_top_k_is_no_count_then_classification_raises(view, top_k):
    with pytest.raises(ValueError, match="`top_k` must be a whole number of 1 or more"):
        view(scan(20, 20), top_k=top_k, **SPACED)


def test_when_an_argument_belongs_to_another_task_then_the_error_lists_its_own(view, lge):
    with pytest.raises(
        TypeError, match=r"cmr-view-classification does not take \['slices'\]: it takes spacing_mm, top_k"
    ):
        view(scan(20, 20), slices=(0, 1, 2))
    with pytest.raises(TypeError, match=r"cmr-lge-detection .* it takes spacing_mm, slices, top_k and batch_size"):
        lge(scan(3, 20, 20), phases=(0, 1))
