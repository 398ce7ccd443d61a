"""Views by property: pure functions of (seed, step, key), inside the picture, padding and mirrors as asked for."""

import pytest
import torch

from cmr_hf import CMRImageProcessor
from cmr_hf.pretraining.canvas import GREY, to_pixel_values
from cmr_hf.pretraining.intensities import (
    NoisePool,
    contrast_rows,
    filter_in_k_space,
    filter_some,
    k_space_kernels,
    vary_contrast,
)
from cmr_hf.pretraining.randomness import Draws, step_seed
from cmr_hf.pretraining.views import MultiCrop, ViewSettings, cut, random_boxes, reaches_padding
from tests.pretraining.pretrain_factory import blobs

PLAIN = {"rotation_deg": 0, "gamma": 0, "coil": 0, "window": 0, "blur": (0, 0, 0), "gibbs": 0, "noise": 0}
SMALL = {"global_size": 48, "local_size": 24, "local_count": 3}


def views(settings: ViewSettings, images, step=0, keys=None, extents=None, seed=0):
    extents = torch.full((len(images), 2), images.shape[-1]) if extents is None else extents
    keys = torch.arange(len(images)) if keys is None else keys
    return MultiCrop(settings, seed)(images, extents, keys, step)


def test_shapes_and_range():
    wide, local = views(ViewSettings(**SMALL), blobs(5))
    assert wide.shape == (10, 1, 48, 48)
    assert local.shape == (15, 1, 24, 24)
    assert wide.dtype == torch.float32
    assert wide.min() >= -1
    assert wide.max() <= 1
    assert len(views(ViewSettings(**SMALL | {"local_count": 0}), blobs(5))) == 1


def test_a_sample_s_views_depend_on_seed_step_and_key_alone():
    settings, images = ViewSettings(**SMALL), blobs(6)
    whole = views(settings, images)
    order = torch.tensor([4, 1, 5])
    for all_of, some in zip(whole, views(settings, images[order], keys=order), strict=True):
        torch.testing.assert_close(
            all_of.unflatten(0, (-1, 6))[:, order], some.unflatten(0, (-1, 3)), atol=1e-5, rtol=0
        )
    for changed in ({"seed": 1}, {"step": 1}, {"keys": torch.arange(6) + 6}):
        assert (views(settings, images, **changed)[0] - whole[0]).abs().mean() > 0.05
    assert torch.equal(views(settings, images)[1], whole[1])


def test_when_views_are_given_then_they_are_overwritten_if_they_fit_and_can_be_trained_on():
    settings, images = ViewSettings(**SMALL), blobs(4)
    multi_crop, (extents, keys) = MultiCrop(settings, 0), (torch.full((4, 2), 64), torch.arange(4))
    first = multi_crop(images, extents, keys, 0)
    expected = [view.clone() for view in multi_crop(images, extents, keys, 1)]
    again = multi_crop(images, extents, keys, 1, out=first)
    assert all(new is old for new, old in zip(again, first, strict=True))
    assert all(torch.equal(new, one) for new, one in zip(again, expected, strict=True))
    other = multi_crop(images[:3], extents[:3], keys[:3], 1, out=first)
    assert [len(view) for view in other] == [6, 9]
    weight = torch.ones(1, 1, 3, 3, requires_grad=True)
    torch.nn.functional.conv2d(again[0], weight).sum().backward()
    assert weight.grad.abs().sum() > 0


def test_what_lies_within_the_real_pixels_is_not_masked_and_all_else_is():
    extents = torch.tensor([[64, 64], [40, 64]])
    draws = Draws(0, 0, torch.arange(2))
    boxes = random_boxes(extents / 64, draws, 200, (0.05, 0.6), ViewSettings(overhang=0.1))
    real = torch.zeros(2, 1, 64, 64)
    real[0], real[1, :, 12:52] = 1, 1
    whole = (cut(real, boxes, 24).view(2, 200, -1) > 1 - 1e-5).all(dim=-1)
    reaches = reaches_padding(boxes, extents, 64)
    assert not (~reaches & ~whole).any()
    assert 0.2 < reaches.float().mean() < 0.9


def test_every_crop_of_every_sample_draws_its_own_parameters():
    same = blobs(1).expand(4, -1, -1).contiguous()
    wide = views(ViewSettings(**SMALL), same)[0].flatten(1)
    assert torch.pdist(wide).min() > 1.0


def test_when_the_crop_is_the_picture_then_it_is_what_the_processor_gives():
    image = blobs(1, side=224)
    settings = ViewSettings(**PLAIN, global_scale=(1, 1), ratio=(1, 1), local_count=0)
    view = views(settings, image)[0][0, 0]
    expected = CMRImageProcessor()(image[0].numpy(), spacing_mm=(1.0, 1.0))["pixel_values"][0, 0]
    assert (view - expected).abs().max() < 0.03  # one grey value of 8 bits
    torch.testing.assert_close(view, to_pixel_values(image, torch.tensor([[224, 224]]))[0, 0], atol=5e-4, rtol=0)


def test_padding_is_never_cut_unless_asked_for_and_stays_padding():
    images = torch.full((3, 64, 64), 200, dtype=torch.uint8)
    images[:, 32, 32] = 0  # a least value
    extents = torch.tensor([[30, 64], [64, 40], [50, 50]])
    gentle = PLAIN | {"noise": 1.0, "noise_level": 0.02}
    inside = views(ViewSettings(**gentle, **SMALL), images, extents=extents)
    assert all((one == -1).float().mean() < 0.02 for one in inside)
    over = views(ViewSettings(**gentle, **SMALL, overhang=0.4), images, extents=extents)
    padded = [(one == -1).float().mean() for one in over]
    assert all(part > 0.03 for part in padded)


def test_crops_lie_within_the_picture_and_have_the_area_asked_for():
    draws = Draws(0, 0, torch.arange(500))
    extents = torch.tensor([[0.5, 1.0]]).expand(500, 2)
    settings = ViewSettings(**PLAIN)
    boxes = random_boxes(extents, draws, 4, (0.2, 0.4), settings)
    width, height = boxes[..., 0, 0], boxes[..., 1, 1]
    assert ((boxes[..., 0, 2].abs() + width) <= 1 + 1e-5).all()
    assert ((boxes[..., 1, 2].abs() + height) <= 0.5 + 1e-5).all()
    area = width * height / 0.5
    assert area.min() >= 0.2 - 1e-5
    assert area.max() <= 0.4 + 1e-5
    ratio = width / height
    assert ratio.min() >= 0.75 - 1e-5
    assert ratio.max() <= 4 / 3 + 1e-5


def test_there_is_no_mirror_image_unless_asked_for():
    draws = Draws(0, 0, torch.arange(100))
    extents = torch.ones(100, 2)
    plain, flipped = (
        random_boxes(extents, draws, 1, (0.5, 0.5), ViewSettings(**PLAIN, flip=flip)) for flip in (0.0, 1.0)
    )
    assert (torch.linalg.det(plain[..., :2]) > 0).all()
    assert (torch.linalg.det(flipped[..., :2]) < 0).all()


def test_a_cut_by_the_identity_is_the_picture_and_a_mirror_turns_it():
    picture = torch.rand(1, 1, 16, 16)
    same = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).view(1, 1, 2, 3)
    torch.testing.assert_close(cut(picture, same, 16), picture[0], atol=1e-5, rtol=0)
    mirror = torch.tensor([[-1.0, 0, 0], [0, 1, 0]]).view(1, 1, 2, 3)
    torch.testing.assert_close(cut(picture, mirror, 16), picture[0].flip(-1), atol=1e-5, rtol=0)


def test_contrast_without_change_is_none_and_gamma_is_a_power():
    grey, one, flat = torch.rand(2, 8, 8) * 254 + 1, torch.ones(2, 1), torch.zeros(2, 8)

    def varied(gamma, scale, coil):
        return vary_contrast(grey * GREY, gamma, contrast_rows(8, gamma, scale, coil))

    still = varied(one, one, flat)
    torch.testing.assert_close(still, grey / 255, atol=1e-5, rtol=0)
    power = varied(2 * one, 3 * one, flat)
    torch.testing.assert_close(power, 3 * (grey / 255) ** 2, atol=1e-5, rtol=0)
    slope = varied(one, one, torch.eye(8)[:1].expand(2, 8)) / still
    assert (slope[:, :, 0] > slope[:, :, -1]).all() or (slope[:, 0] > slope[:, -1]).all()  # half a cosine


def test_k_space_keeps_the_mean_and_a_blur_is_gaussian():
    point = torch.zeros(1, 32, 32)
    point[0, 16, 16] = 1.0
    blurred = filter_in_k_space(point, k_space_kernels(32, torch.tensor([[1.5]]), torch.ones(1, 2)))
    distance = torch.arange(32) - 16.0
    gauss = torch.exp(-(distance**2) / (2 * 1.5**2))
    gauss = gauss / gauss.sum()
    torch.testing.assert_close(blurred[0], gauss[:, None] * gauss, atol=1e-4, rtol=0)
    rung = filter_in_k_space(point, k_space_kernels(32, torch.zeros(1, 1), torch.tensor([[0.5, 1.0]])))
    assert rung.sum().item() == pytest.approx(1.0, abs=1e-4)
    assert rung[0, :, 16].min() < -0.05  # rings along rows
    assert rung[0, 16, :].min() > -1e-4  # and not along columns


@pytest.mark.parametrize("size", [24, 33])
def test_filtering_is_what_cutting_k_space_gives(size):
    images, sigma, kept = (
        torch.rand(2, size, size),
        torch.tensor([[1.2], [0.0]]),
        torch.tensor([[1.0, 0.8], [0.6, 1.0]]),
    )
    waves = [torch.fft.fftfreq(size).abs(), torch.fft.fftfreq(size).abs()]
    spectrum = torch.fft.fft2(images)
    for number in range(2):
        for axis, wave in enumerate(waves):
            left = torch.exp(-2 * (torch.pi * sigma[number] * wave) ** 2) * (2 * wave <= kept[number, axis])
            spectrum[number] *= left[:, None] if axis == 0 else left
    expected = torch.fft.ifft2(spectrum).real
    kernels = k_space_kernels(size, sigma, kept)
    torch.testing.assert_close(filter_in_k_space(images, kernels), expected, atol=1e-5, rtol=0)
    coarse = filter_in_k_space(images.bfloat16(), kernels.bfloat16()).float()
    torch.testing.assert_close(coarse, expected, atol=0.02, rtol=0)
    some = images.clone()
    filter_some(some, torch.tensor([1]), kernels[1:])
    assert torch.equal(some[0], images[0])
    torch.testing.assert_close(some[1], expected[1], atol=1e-5, rtol=0)


def test_noise_is_rician_of_the_level_asked_for():
    noisy = torch.full((2, 64, 64), 0.8)
    NoisePool(0).add(noisy, torch.tensor([[0.0], [0.05]]), torch.rand(2, 2))
    torch.testing.assert_close(noisy[0], torch.full((64, 64), 0.8))
    assert noisy[1].std().item() == pytest.approx(0.05, rel=0.1)
    air = torch.zeros(1, 64, 64)
    NoisePool(0).add(air, torch.tensor([[0.05]]), torch.rand(1, 2))
    assert air.mean().item() == pytest.approx(0.05 * (torch.pi / 2) ** 0.5, rel=0.1)


def test_draws_are_uniform_and_independent_of_each_other():
    draws = Draws(3, 7, torch.arange(20000))
    first, second = draws.uniform()[:, 0], draws.uniform()[:, 0]
    assert first.mean().item() == pytest.approx(0.5, abs=0.01)
    assert first.var().item() == pytest.approx(1 / 12, abs=0.003)
    assert torch.corrcoef(torch.stack((first, second)))[0, 1].abs() < 0.03
    assert torch.corrcoef(torch.stack((first[1:], first[:-1])))[0, 1].abs() < 0.03
    normal = draws.normal()
    assert normal.std().item() == pytest.approx(1.0, abs=0.02)
    assert draws.happens(0.25).float().mean().item() == pytest.approx(0.25, abs=0.015)


def test_step_seeds_differ():
    seeds = {step_seed(seed, step, rank) for seed in range(3) for step in range(50) for rank in range(4)}
    assert len(seeds) == 600


@pytest.mark.parametrize(
    ("field", "value"), [("global_scale", (0.0, 1.0)), ("local_scale", (0.5, 0.4)), ("global_count", 1)]
)
def test_when_a_setting_makes_no_sense_then_it_says_so(field, value):
    with pytest.raises(ValueError, match=field):
        ViewSettings(**{field: value})


def test_when_pictures_are_not_packed_then_it_names_the_remedy():
    with pytest.raises(ValueError, match=r"training/prepare\.py"):
        views(ViewSettings(**SMALL), torch.rand(2, 64, 64))
