"""`pipeline("cmr-segmentation")`: every source, one result; equal to the model by hand. No accuracy is tested here."""

import logging

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline
from transformers.utils import logging as transformers_logging

from cmr_hf import CMRImageProcessor, CMRSegmentationPipeline, ReadingError
from cmr_hf.hub.components_cmr import clean_labels
from cmr_hf.hub.pipeline_cmr_segmentation import sums_per_class
from tests.dicom_factory import write_slice, write_stack
from tests.source_factory import scan

SPACING = (1.4, 1.7)


@pytest.fixture(scope="module")
def pipe() -> CMRSegmentationPipeline:
    """The embedded model, its islands left where they are."""
    segment = pipeline("cmr-segmentation")
    segment.model.config.single_component_labels = None
    return segment


def check(result: dict, shape: tuple[int, ...], spacing_mm=SPACING) -> None:
    assert result["segmentation"].shape == shape
    assert result["segmentation"].dtype == np.uint8
    assert set(np.unique(result["segmentation"])) <= set(result["labels"])
    assert result["spacing_mm"] == pytest.approx(spacing_mm)
    assert set(result["scores"]) == set(result["labels"].values())
    assert "probabilities" not in result


# Sources


def test_without_a_model_the_embedded_one_is_used_offline(pipe):
    assert type(pipe) is CMRSegmentationPipeline
    assert pipe.model.config.id2label == {0: "background", 1: "LV cavity", 2: "myocardium", 3: "RV"}
    assert not pipe.model.training


@pytest.mark.parametrize("shape", [(60, 75), (3, 60, 75), (2, 3, 60, 75), (1, 1, 61, 74)])
def test_arrays_and_tensors_keep_their_shape(pipe, shape):
    array = scan(*shape)
    result = pipe(array, spacing_mm=SPACING)
    check(result, shape)
    assert result["spacing_known"]
    assert result["affine"] is None
    same = pipe({"image": torch.from_numpy(array).double(), "spacing_mm": SPACING})
    np.testing.assert_array_equal(same["segmentation"], result["segmentation"])


def test_spacing_of_the_call_wins_over_that_of_the_dict(pipe):
    array = scan(60, 75)
    result = pipe({"image": array, "spacing_mm": (9.0, 9.0)}, spacing_mm=SPACING)
    check(result, (60, 75))
    np.testing.assert_array_equal(result["segmentation"], pipe(array, spacing_mm=SPACING)["segmentation"])


def test_pictures_in_memory_and_on_disk_give_the_same(pipe, tmp_path):
    picture = Image.fromarray((scan(60, 75) // 4).astype(np.uint8))
    picture.save(tmp_path / "heart.png")
    result = pipe(picture, spacing_mm=SPACING)
    check(result, (60, 75))
    for path in (tmp_path / "heart.png", str(tmp_path / "heart.png")):
        again = pipe(path, spacing_mm=SPACING)
        np.testing.assert_array_equal(again["segmentation"], result["segmentation"])


def test_a_dicom_file_and_a_folder_give_t_z_y_x_with_geometry(pipe, tmp_path):
    path = write_slice(tmp_path / "one.dcm", scan(60, 75).astype(np.uint16), PixelSpacing=list(SPACING))
    result = pipe(path)
    check(result, (1, 1, 60, 75))
    assert result["affine"].shape == (4, 4)

    write_stack(tmp_path / "sax", slices=3, phases=2, shape=(40, 50), PixelSpacing=list(SPACING), distance_mm=8.0)
    (tmp_path / "sax" / "notes.txt").write_text("not an image")
    result = pipe(str(tmp_path / "sax"))
    check(result, (2, 3, 40, 50))
    assert result["slice_distance_mm"] == pytest.approx(8.0)
    assert np.linalg.norm(result["affine"][:3, :3], axis=0) == pytest.approx([SPACING[1], SPACING[0], 8.0])
    assert [entry["file"] for entry in result["left_out"]] == ["notes.txt"]


def test_nifti_gives_the_same_labels_as_its_array(pipe, tmp_path):
    array = scan(2, 3, 60, 75)
    image = nibabel.Nifti1Image(array.transpose(3, 2, 1, 0), np.diag([SPACING[1], SPACING[0], 9.0, 1.0]))
    nibabel.save(image, tmp_path / "cine.nii.gz")
    result = pipe(tmp_path / "cine.nii.gz")
    check(result, (2, 3, 60, 75))
    assert result["slice_distance_mm"] == pytest.approx(9.0)
    np.testing.assert_array_equal(result["segmentation"], pipe(array, spacing_mm=SPACING)["segmentation"])


def test_a_list_may_mix_sources_sizes_and_ranks_and_keeps_their_order(pipe, tmp_path):
    path = write_slice(tmp_path / "one.dcm", scan(33, 47).astype(np.uint16), PixelSpacing=[1.1, 1.2])
    sources = [
        {"image": scan(60, 75), "spacing_mm": SPACING},
        path,
        {"image": scan(4, 50, 40), "spacing_mm": (2.0, 1.0)},
    ]
    together = pipe(sources)
    assert [one["segmentation"].shape for one in together] == [(60, 75), (1, 1, 33, 47), (4, 50, 40)]
    assert [one["spacing_mm"] for one in together] == [SPACING, (1.1, 1.2), (2.0, 1.0)]
    for source, result in zip(sources, together, strict=True):
        assert (pipe(source)["segmentation"] == result["segmentation"]).mean() > 0.999
    assert isinstance(pipe(tuple(sources[:1])), list)


# The same as by hand


def test_labels_are_those_of_the_model_called_by_hand(pipe):
    stack = scan(5, 60, 75)
    pixel_values = pipe.image_processor(stack, spacing_mm=SPACING)["pixel_values"]
    with torch.inference_mode():
        outputs = pipe.model(pixel_values.to(pipe.model.dtype))
    expected = pipe.image_processor.post_process_semantic_segmentation(outputs, [(60, 75)] * 5, SPACING)
    found = pipe(stack, spacing_mm=SPACING)["segmentation"]
    np.testing.assert_array_equal(found, torch.stack(expected).numpy())


@pytest.mark.parametrize("source", [scan(6, 60, 75), [scan(60, 75), scan(2, 50, 64)]])
def test_batch_size_does_not_change_labels(pipe, source):
    def segment(batch_size: int) -> list[dict]:
        results = pipe(source, spacing_mm=SPACING, batch_size=batch_size)
        return results if isinstance(results, list) else [results]

    for one, five in zip(segment(1), segment(5), strict=True):
        assert one["segmentation"].shape == five["segmentation"].shape
        # Another batch adds in another order: pixels on a tie between two classes may turn.
        assert (one["segmentation"] == five["segmentation"]).mean() > 0.999


def test_when_the_model_says_so_then_islands_and_holes_are_gone_from_labels_and_scores(pipe, monkeypatch):
    stack = scan(2, 3, 90, 100)
    raw = pipe(stack, spacing_mm=SPACING, return_probabilities=True)
    monkeypatch.setattr(pipe.model.config, "single_component_labels", [1, 2, 3])
    result = pipe(stack, spacing_mm=SPACING, return_probabilities=True)
    expected = clean_labels(torch.from_numpy(raw["segmentation"]), [1, 2, 3]).numpy()
    assert (expected != raw["segmentation"]).any()  # there were islands
    np.testing.assert_array_equal(result["segmentation"], expected)
    np.testing.assert_array_equal(result["probabilities"], raw["probabilities"])
    for label, name in result["labels"].items():
        kept = (raw["segmentation"] == label) & ((expected == label) | (label == 0))  # filled holes were background
        assert result["scores"][name] == pytest.approx(raw["probabilities"].max(0)[kept].mean(), rel=1e-4)


def test_more_slices_than_are_processed_at_once_keep_their_order(pipe):
    stack = scan(3, 30, 34)[[0, 1, 2] * 6]  # 18 slices: two rounds of sixteen
    result = pipe(stack, spacing_mm=SPACING, batch_size=3)
    check(result, (18, 30, 34))
    for start in range(3, 18, 3):
        assert (result["segmentation"][start : start + 3] == result["segmentation"][:3]).mean() > 0.999


def test_probabilities_sum_to_one_and_agree_with_labels_and_scores(pipe):
    result = pipe(scan(2, 60, 75), spacing_mm=SPACING, return_probabilities=True)
    chances, labels = result["probabilities"], result["segmentation"]
    assert chances.shape == (4, 2, 60, 75)
    assert chances.dtype == np.float32
    np.testing.assert_allclose(chances.sum(0), 1.0, atol=1e-5)
    np.testing.assert_array_equal(chances.argmax(0), labels)
    for index, name in result["labels"].items():
        chosen = chances[index][labels == index]
        if chosen.size:
            assert result["scores"][name] == pytest.approx(chosen.mean(), abs=1e-4)
        else:
            assert result["scores"][name] is None


def test_a_class_that_is_nowhere_has_no_score(pipe):
    bias = pipe.model.decoder.classifier.bias
    kept = bias.detach().clone()
    with torch.no_grad():
        bias[2] = -1e4
        scores = pipe(scan(60, 75), spacing_mm=SPACING)["scores"]
        bias.copy_(kept)
    assert scores["myocardium"] is None
    assert any(score is not None and 0 < score <= 1 for score in scores.values())


def test_half_and_single_precision_agree_on_labels():
    stack = scan(60, 75)
    found = {}
    for dtype in (torch.float16, torch.float32):
        pipe = pipeline("cmr-segmentation", dtype=dtype)
        assert pipe.model.dtype == dtype
        found[dtype] = pipe(stack, spacing_mm=SPACING)["segmentation"]
    assert (found[torch.float16] == found[torch.float32]).mean() > 0.99


# What is wrong is said once, with the file and the remedy


def truncated(folder):
    path = write_slice(folder / "bad.dcm", scan(60, 75).astype(np.uint16))
    path.write_bytes(path.read_bytes()[:-2000])
    return path


def text_file(folder):
    (folder / "bad.dcm").write_text("This is a radiology report, not an image.\n" * 20)
    return folder / "bad.dcm"


def empty_folder(folder):
    (folder / "bad").mkdir()
    return folder / "bad"


def nan_nifti(folder):
    nibabel.save(nibabel.Nifti1Image(np.full((9, 8, 2), np.nan, np.float32), np.eye(4)), folder / "bad.nii")
    return folder / "bad.nii"


def five_axes(folder):
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 4, 2, 2, 3), np.int16), np.eye(4)), folder / "bad.nii")
    return folder / "bad.nii"


BAD_FILES = {
    "truncated": (truncated, "truncated", "export or copy it again"),
    "text": (text_file, "not a DICOM file", "pass one of these or a numpy array"),
    "ct": (lambda folder: write_slice(folder / "bad.dcm", Modality="CT"), "got 'CT'", "pass an MR series"),
    "rgb": (
        lambda folder: write_slice(folder / "bad.dcm", np.zeros((9, 8, 3), np.uint8), Modality="MR"),
        "RGB",
        "pass the original gray series",
    ),
    "empty folder": (empty_folder, "it is empty", "pass a DICOM stack's folder"),
    "zero spacing": (
        lambda folder: write_slice(folder / "bad.dcm", PixelSpacing=[0, 1.4]),
        "two positive numbers",
        "correct the header or pass spacing_mm=",
    ),
    "nan": (nan_nifti, "144 of 144 that are NaN", "np.nan_to_num"),
    "5-D": (five_axes, "(5, 4, 2, 2, 3)", "save one volume or cine"),
}


@pytest.mark.parametrize("case", BAD_FILES)
@pytest.mark.parametrize("in_a_list", [False, True])
def test_when_a_file_is_bad_then_one_error_names_it_and_the_remedy(pipe, tmp_path, case, in_a_list, caplog, recwarn):
    make, problem, remedy = BAD_FILES[case]
    path = make(tmp_path)
    recwarn.clear()
    caplog.clear()
    with pytest.raises(ReadingError) as caught:
        pipe([{"image": scan(20, 20), "spacing_mm": 1.4 * np.ones(2)}, path] if in_a_list else path)
    message = str(caught.value)
    assert "bad" in message
    assert str(path) in message
    assert problem in message
    assert remedy in message
    assert "\n" not in message
    assert "SECRET" not in message.upper()
    assert not [str(warned.message) for warned in recwarn]
    assert not [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        (np.zeros((1, 1, 1, 9, 9)), {"spacing_mm": SPACING}, r"got \(1, 1, 1, 9, 9\): reshape it"),
        (np.full((9, 9), np.nan), {"spacing_mm": SPACING}, "81 of 81 that are NaN.*np.nan_to_num"),
        (np.zeros((9, 9)), {"spacing_mm": (0, 1.4)}, r"`spacing_mm` needs two positive.*pass spacing_mm="),
        ({"image": np.zeros((9, 9)), "spacing_mm": (1.4, float("nan"))}, {}, "`spacing_mm` needs two positive"),
        ({"pixels": np.zeros((9, 9))}, {}, "needs the keys 'image'"),
        ("no/such/file.dcm", {}, "no/such/file.dcm.*check the path"),
        (42, {}, "got int: convert it"),
    ],
)
def test_when_an_argument_is_bad_then_the_pipeline_raises(pipe, source, options, says):
    with pytest.raises(ReadingError, match=says):
        pipe(source, **options)


@pytest.mark.parametrize("empty", [[], ()])
def test_when_the_list_is_empty_then_the_pipeline_raises(pipe, empty):
    with pytest.raises(ValueError, match="the list of images is empty: pass at least one"):
        pipe(empty)


def test_when_an_argument_is_unknown_then_the_pipeline_raises(pipe):
    with pytest.raises(TypeError, match=r"does not take \['spacing'\]: it takes spacing_mm"):
        pipe(scan(20, 20), spacing=(1.4, 1.4))


def test_missing_spacing_gives_one_warning_and_the_default(pipe, caplog, recwarn):
    transformers_logging.warning_once.cache_clear()
    array = scan(3, 40, 50)
    recwarn.clear()
    with caplog.at_level(logging.WARNING):
        result = pipe(array)
        pipe([array, array])
    messages = [record.getMessage() for record in caplog.records] + [str(warned.message) for warned in recwarn]
    assert len([message for message in messages if "spacing" in message]) == 1
    assert len(messages) == 1
    assert not result["spacing_known"]
    check(result, (3, 40, 50), (1.4, 1.4))
    np.testing.assert_array_equal(result["segmentation"], pipe(array, spacing_mm=(1.4, 1.4))["segmentation"])


def test_scores_are_means_over_the_pixels_that_stay():
    draws = np.random.default_rng(0)
    found = draws.integers(0, 4, 500).astype(np.uint8)
    cleaned = np.where(draws.random(500) < 0.2, 0, found).astype(np.uint8)
    confidence = draws.random(500).astype(np.float32)
    totals, counts = sums_per_class(found, cleaned, confidence[found > 0], float(confidence.sum(dtype=np.float64)), 4)
    for label in range(4):
        stays = (cleaned == label) & (found == label)
        assert counts[label] == stays.sum()
        assert totals[label] == pytest.approx(confidence[stays].sum(dtype=np.float64))


def test_confidence_is_the_greatest_probability_bit_for_bit():
    processor = CMRImageProcessor(size=64)
    logits = torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    labels, chances = processor.segment(logits, (71, 53), (1.3, 1.1))
    again, confidence = processor.segment_with_confidence(logits, (71, 53), (1.3, 1.1))
    assert torch.equal(labels, again)
    assert torch.equal(confidence, chances.amax(dim=1))
