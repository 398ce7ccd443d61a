"""The processor: what goes in, what comes out, in grey values and in millimetres; wrong inputs."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.utils import logging as transformers_logging

from cmr_hf import CMRImageProcessor
from cmr_hf.hub.image_processing_cmr import checked_spacing, resampling_matrix

PROCESSOR = CMRImageProcessor()
RNG = np.random.default_rng(5)
BAD_SPACINGS = [0, (0.0, 1.4), (1.4, -1.0), (float("nan"), 1.0), (float("inf"), 1.0), (1, 1, 1), "1.4 mm", ("a", "b")]


def values(images, spacing_mm=(1.0, 1.0), **options) -> torch.Tensor:
    return PROCESSOR(images, spacing_mm=spacing_mm, **options)["pixel_values"]


def scaled(real: np.ndarray) -> np.ndarray:
    """Grey values as the paper scales them, by numpy: least value -> −1, 98th percentile and above -> 1."""
    low, high = real.min(), np.percentile(real, 98)
    return np.clip((real - low) / (high - low), 0, 1) * 2 - 1


# Grey values


def test_output_is_three_equal_channels_of_224_between_minus_one_and_one():
    out = values(RNG.normal(300, 90, (2, 5, 190, 260)), spacing_mm=(1.3, 0.9))
    assert out.shape == (10, 3, 224, 224)
    assert out.dtype == torch.float32
    assert out.min() == -1.0
    assert out.max() == 1.0
    assert torch.equal(out[:, 0], out[:, 1])
    assert torch.equal(out[:, 0], out[:, 2])


def test_an_image_at_1_mm_is_centred_capped_at_its_own_98th_percentile_and_padded_with_minus_one():
    image = RNG.gamma(2.0, 100.0, (100, 60)) + 50
    out = values(image)[0, 0].numpy()
    np.testing.assert_allclose(out[62:162, 82:142], scaled(image), atol=1e-5)
    out[62:162, 82:142] = -1
    assert (out == -1).all()


def test_an_image_larger_than_the_crop_is_cut_around_its_centre():
    image = RNG.normal(0, 1, (300, 250))
    np.testing.assert_allclose(values(image)[0, 0].numpy(), scaled(image[38:262, 13:237]), atol=1e-5)


@pytest.mark.parametrize(("shape", "spacing_mm"), [((101, 83), (1.4, 2.1)), ((200, 201), (0.7, 1.9))])
def test_the_percentile_is_over_real_pixels_of_each_slice_after_resampling(shape, spacing_mm):
    stack = RNG.gamma(2.0, 100.0, (3, *shape)) * np.array([1, 10, 0.01])[:, None, None]
    rows, (top, bottom) = resampling_matrix(shape[0], spacing_mm[0], 224, 1.0)
    columns, (left, right) = resampling_matrix(shape[1], spacing_mm[1], 224, 1.0)
    # A pixel is real when its centre lies in the image.
    assert bottom - top == min(224, 2 * int(shape[0] * spacing_mm[0] / 2 + 0.5))
    for image, out in zip(stack, values(stack, spacing_mm)[:, 0].numpy(), strict=True):
        real = rows.double().numpy()[top:bottom] @ image @ columns.double().numpy()[left:right].T
        np.testing.assert_allclose(out[top:bottom, left:right], scaled(real), atol=2e-5)


def test_another_percentile_is_honoured():
    image = RNG.normal(0, 1, (224, 224))
    out = CMRImageProcessor(percentile=50)(image, spacing_mm=1.0)["pixel_values"][0, 0]
    assert (out == 1).float().mean() == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize(("slope", "offset"), [(1000.0, 0.0), (0.001, 0.0), (1.0, -500.0), (7.5, 321.0)])
def test_scale_and_offset_of_the_scanner_do_not_matter(slope, offset):
    image = RNG.gamma(2.0, 100.0, (120, 140))
    changed = values(slope * image + offset, spacing_mm=(1.4, 1.7))
    torch.testing.assert_close(changed, values(image, spacing_mm=(1.4, 1.7)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("level", [0.0, 7.0, -3.0, 1e30])
def test_a_constant_image_becomes_minus_one_everywhere(level):
    assert (values(np.full((90, 110), level), spacing_mm=(1.3, 1.3)) == -1).all()


@pytest.mark.parametrize("level", [1000.0, 1e-3])
def test_when_less_than_two_percent_of_a_slice_is_not_empty_then_the_cap_leaves_nothing(level):
    image = np.zeros((100, 100))
    image[40:45, 40:45] = level
    assert (values(image) == -1).all()


def test_slices_of_a_stack_are_processed_one_by_one():
    stack = RNG.gamma(2.0, 100.0, (2, 3, 91, 120))
    singly = torch.cat([values(image, (1.2, 1.6)) for image in stack.reshape(6, 91, 120)])
    torch.testing.assert_close(values(stack, (1.2, 1.6)), singly, atol=1e-6, rtol=0)


# Kinds of input


def test_all_kinds_of_one_image_give_the_same_values():
    image = RNG.integers(0, 256, (60, 80), dtype=np.uint8)
    expected = values(image)
    for kind in (np.int16, np.uint16, np.int64, np.float16, np.float64, ">i2"):
        torch.testing.assert_close(values(image.astype(kind)), expected)
    kinds = [torch.from_numpy(image), torch.from_numpy(image).double(), Image.fromarray(image), image[None], [image]]
    kinds += [np.asfortranarray(image), image[::-1][::-1], torch.from_numpy(image).float().requires_grad_()]
    for kind in kinds:
        torch.testing.assert_close(values(kind), expected)


def test_bool_and_large_uint16_are_not_wrapped():
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    for image in (mask, torch.from_numpy(mask), mask.astype(np.uint16) * 65535):
        out = values(image)[0, 0, 92:132, 92:132]
        assert torch.equal(out, torch.from_numpy(mask) * 2.0 - 1.0)


def test_lists_may_mix_sizes_and_spacings_and_count_slices_in_order():
    images = [RNG.normal(0, 1, (60, 80)), torch.randn(2, 33, 41), Image.fromarray(np.eye(50, dtype=np.uint8))]
    spacings = [(1.0, 2.0), (0.5, 0.5), (3.0, 1.0)]
    out = values(images, spacings)
    assert out.shape == (4, 3, 224, 224)
    assert torch.equal(out, torch.cat([values(one, two) for one, two in zip(images, spacings, strict=True)]))
    assert torch.equal(values(images, np.array(spacings)), out)


def test_return_tensors_np_gives_numpy_with_the_same_values():
    image = RNG.normal(0, 1, (60, 80))
    out = values(image, return_tensors="np")
    assert isinstance(out, np.ndarray)
    np.testing.assert_array_equal(out, values(image).numpy())
    with pytest.raises(ValueError, match='`return_tensors` must be "pt" or "np", got \'tf\''):
        values(image, return_tensors="tf")


def test_stack_channels_puts_three_slices_in_three_channels():
    stack = RNG.normal(0, 1, (5, 3, 60, 80))
    out = values(stack, stack_channels=True)
    assert out.shape == (5, 3, 224, 224)
    torch.testing.assert_close(out[2, 1], values(stack[2, 1])[0, 0])
    assert values(stack[0], stack_channels=True).shape == (1, 3, 224, 224)
    for wrong in (stack[0, 0], stack[0, :2], stack[:, :1]):
        with pytest.raises(ValueError, match="`stack_channels` needs three images"):
            values(wrong, stack_channels=True)


@pytest.mark.parametrize(("shape", "spacing_mm"), [((1, 1), 1.4), ((1, 1), 0.5), ((2, 3), 1.4), ((2, 3), 0.3)])
def test_tiny_images_give_a_crop_that_is_mostly_padding(shape, spacing_mm):
    out = values(np.arange(np.prod(shape), dtype=float).reshape(shape), spacing_mm)
    assert out.shape == (1, 3, 224, 224)
    assert torch.isfinite(out).all()
    assert (out > -1).sum() <= 3 * 4 * 6


def test_huge_images_pass_up_to_8192_a_side():
    out = values(np.pad(np.ones((500, 500), np.uint8), ((1250, 1250), (1000, 1000))), spacing_mm=(0.2, 0.2))
    assert (out[0, 0] > 0).sum() == pytest.approx(100 * 100, rel=0.02)
    with pytest.raises(ValueError, match=r"1 to 8192 pixels.*\(3, 8193\): crop it"):
        values(np.zeros((3, 8193), np.uint8))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros(5), r"\(y, x\), \(z, y, x\) or \(t, z, y, x\), got shape \(5,\)"),
        (np.float32(3), r"got shape \(\)"),
        (np.zeros((1, 1, 1, 4, 4)), r"got shape \(1, 1, 1, 4, 4\): select one volume"),
        (torch.zeros(1, 1, 1, 4, 4), "select one volume"),
        (np.zeros((0, 4)), "no axis empty"),
        (np.zeros((0, 4, 4)), "no axis empty"),
        (np.zeros((4, 4), complex), "real numbers, got complex128: pass the magnitude"),
        (torch.zeros(4, 4, dtype=torch.complex64), "pass the magnitude"),
        (np.array([["a", "b"]]), "real numbers"),
        (np.array([[1.0, np.nan], [np.inf, 2.0]]), "2 of 4 pixels are NaN, infinite .*numpy.nan_to_num"),
        (torch.tensor([[1.0, -torch.inf]]), "1 of 2 pixels"),
        (np.array([[3e38, -3e38]]), "2 of 2 pixels"),
        (np.array([[1e300, 0.0]]), "1 of 2 pixels"),
        (Image.new("RGB", (9, 7)), "must be gray, got mode RGB"),
        ([], "`images` is empty"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_when_an_image_is_no_gray_picture_then_the_processor_raises(image, says):
    with pytest.raises(ValueError, match=says):
        values(image)


# Spacing


@pytest.mark.parametrize("spacing_mm", BAD_SPACINGS)
def test_when_spacing_is_not_two_positive_numbers_then_the_processor_raises(spacing_mm):
    with pytest.raises(ValueError, match=r"`spacing_mm` needs two positive numbers.*read it from PixelSpacing"):
        values(np.zeros((9, 9)), spacing_mm)
    with pytest.raises(ValueError, match="`spacing_mm` needs two positive numbers"):
        PROCESSOR.to_source_grid(torch.zeros(1, 2, 224, 224), (9, 9), spacing_mm)


def test_one_number_counts_for_rows_and_columns():
    assert checked_spacing(1.4) == checked_spacing([1.4]) == checked_spacing((1.4, 1.4)) == (1.4, 1.4)


def test_missing_spacing_warns_once_and_counts_as_the_default(caplog):
    transformers_logging.warning_once.cache_clear()
    image = RNG.normal(0, 1, (60, 80))
    with caplog.at_level(logging.WARNING):
        outs = [PROCESSOR(image)["pixel_values"], PROCESSOR([image] * 2)["pixel_values"][:1]]
        mixed = values([image, image], [(2.0, 2.0), None])
    assert all(torch.equal(out, values(image, (1.4, 1.4))) for out in [*outs, mixed[1:]])
    assert torch.equal(mixed[:1], values(image, (2.0, 2.0)))
    warned = [record.getMessage() for record in caplog.records if "spacing" in record.getMessage()]
    assert len(warned) == 1
    assert "1.4 mm is assumed" in warned[0]
    assert "pass spacing_mm=(row, column)" in warned[0]


def test_when_spacings_and_images_differ_in_number_then_the_processor_raises():
    with pytest.raises(ValueError, match="`spacing_mm` has 3 entries for 2 images"):
        values([np.zeros((9, 9))] * 2, [(1, 1)] * 3)


@pytest.mark.parametrize("options", [{"size": 0}, {"percentile": 0}, {"percentile": 101}, {"spacing_mm": 0}])
def test_when_a_setting_is_impossible_then_the_processor_raises(options):
    with pytest.raises(ValueError, match="must be positive|needs two positive"):
        CMRImageProcessor(**options)


def test_the_processor_survives_saving(tmp_path):
    processor = CMRImageProcessor(size=96, spacing_mm=1.25, percentile=99.0, default_spacing_mm=1.8)
    processor.save_pretrained(tmp_path)
    again = CMRImageProcessor.from_pretrained(tmp_path)
    names = ("size", "spacing_mm", "percentile", "default_spacing_mm")
    assert [getattr(again, name) for name in names] == [96, 1.25, 99.0, 1.8]
    image = RNG.normal(0, 1, (60, 80))
    assert torch.equal(again(image, spacing_mm=1.1)["pixel_values"], processor(image, spacing_mm=1.1)["pixel_values"])
