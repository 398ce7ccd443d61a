"""Crops of one or three images as the processor makes them; points and artefacts go where they should."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cmr_hf import CMRImageProcessor
from cmr_hf.finetuning.artefacts import gibbs_ringing, motion
from cmr_hf.finetuning.augmentation import Augmentation, vary_intensities
from cmr_hf.finetuning.crops import ImageCollator, ImageSamples, augment_images
from cmr_hf.finetuning.segmentation import AugmentingCollator
from tests.finetuning.test_augmentation import GEOMETRY, OFF, disc, generator

EVERYTHING = replace(Augmentation(), gibbs=0.5, motion=0.5)


def sample(shape=(150, 130), spacing_mm=(1.2, 1.0), **more) -> dict:
    image = np.random.default_rng(1).gamma(2.0, 0.1, shape)
    return {"image": image, "spacing_mm": spacing_mm, "source": "s", "patient": "p"} | more


def dot(at: tuple[float, float], shape=(96, 96), spacing_mm=(1.0, 1.0), sigma: float = 2.5) -> dict:
    """A bright dot and the point at its middle."""
    rows, columns = np.indices(shape)
    apart = np.hypot((rows - at[0]) * spacing_mm[0], (columns - at[1]) * spacing_mm[1])
    image = np.exp(-(apart**2) / (2 * sigma**2))
    return {"image": image, "spacing_mm": spacing_mm, "source": "s", "patient": "p", "points": np.array([at])}


@pytest.mark.parametrize("three", [False, True])
def test_without_augmentation_the_crop_is_what_the_processor_makes(three):
    one = sample((3, 150, 130) if three else (150, 130), label=1)
    found, points = augment_images(ImageSamples([one]).items, 224, OFF, generator())
    processor = CMRImageProcessor()
    expected = processor(one["image"], spacing_mm=one["spacing_mm"], stack_channels=three)["pixel_values"]
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)  # stored in half precision
    assert points is None


def test_three_images_of_one_sample_move_together_and_share_their_contrast():
    image = np.random.default_rng(0).random((80, 90))
    one = sample(label=0) | {"image": np.stack([image] * 3)}
    quiet = replace(EVERYTHING, noise=0.0)
    found, _ = augment_images(ImageSamples([one] * 4).items, 96, quiet, generator())
    for picture in found:
        torch.testing.assert_close(picture[0], picture[2], atol=1e-5, rtol=0)
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (1.6, 0.9)])
def test_points_follow_the_picture_through_every_geometry(spacing_mm):
    size = (round(110 / spacing_mm[0]), round(100 / spacing_mm[1]))
    items = ImageSamples([dot((size[0] * 0.45, size[1] * 0.55), size, spacing_mm)] * 40).items
    pixels, points = augment_images(items, 96, replace(GEOMETRY, mirror=0.0), generator())
    errors = []
    for picture, (point,) in zip(pixels[:, 0] + 1, points, strict=True):
        if not point.isnan().any():
            weight = picture * (picture > 0.5)
            rows = torch.arange(96.0)
            middle = torch.stack(((weight.sum(1) * rows).sum(), (weight.sum(0) * rows).sum())) / weight.sum()
            errors.append((middle - point).norm().item())
    assert len(errors) > 30
    assert max(errors) < 0.7


def test_points_outside_the_crop_or_in_padding_are_absent_and_unmarked_ones_count_in_no_loss():
    two = dot((10.0, 10.0), (200, 200)) | {"points": np.array([[100.0, 101.0], [2.0, 2.0], [np.nan, np.nan]])}
    batch = ImageCollator(96, OFF, seed=0)(ImageSamples([two]).items)
    assert batch["labels"][0, 0].tolist() == pytest.approx([48.0, 49.0], abs=1e-3)
    assert batch["labels"][0, 1:].isnan().all()
    assert batch["counts"].tolist() == [[True, True, False]]
    padded = ImageCollator(96, replace(OFF, small_field_of_view=1.0), seed=0)(ImageSamples([dot((1.0, 1.0))] * 6).items)
    assert padded["labels"].isnan().any()


def test_a_batch_of_classes_has_their_ids_and_minus_100_without_one():
    collate = ImageCollator(96, EVERYTHING, seed=2)
    batch = collate(ImageSamples([sample(label=2), sample(label=None)]).items)
    assert batch["labels"].tolist() == [2, -100]
    assert batch["pixel_values"].shape == (2, 3, 96, 96)
    assert torch.isfinite(batch["pixel_values"]).all()
    again = ImageCollator(96, EVERYTHING, seed=2)(ImageSamples([sample(label=2), sample(label=None)]).items)
    assert torch.equal(batch["pixel_values"], again["pixel_values"])


def square(count: int = 6) -> torch.Tensor:
    images = torch.zeros(count, 1, 64, 48)
    images[:, :, 20:44, 14:34] = 1.0
    return images


def test_gibbs_ringing_overshoots_at_edges_and_keeps_the_mean():
    rung = gibbs_ringing(square(), generator())
    assert rung.shape == square().shape
    assert (rung.amax((1, 2, 3)) > 1.04).all()
    assert (rung.mean((1, 2, 3)) - square().mean((1, 2, 3))).abs().max() < 0.02
    assert (rung - square()).abs().mean() < 0.15
    assert not torch.equal(rung[0], rung[1])


def test_motion_makes_ghosts_and_leaves_the_contrast():
    moved = motion(square(), generator())
    apart = (moved - square()).abs()
    assert (apart.mean((1, 2, 3)) > 1e-3).all()
    assert apart.mean() < 0.15
    inside = moved[:, :, 24:40, 18:30].mean((1, 2, 3))
    assert (inside - moved[:, :, :10].mean((1, 2, 3)) > 0.6).all()
    torch.testing.assert_close(motion(square(), generator(), most_pixels=0.0), square(), atol=1e-5, rtol=0)


def test_artefacts_that_are_off_change_no_other_draw():
    images = torch.rand(4, 1, 48, 48)
    plain = vary_intensities(images.clone(), Augmentation(), generator())
    state = generator()
    again = vary_intensities(images.clone(), replace(Augmentation(), gibbs=0.0, motion=0.0), state)
    assert torch.equal(plain, again)
    rung = vary_intensities(images.clone(), replace(Augmentation(), gibbs=1.0, motion=1.0), generator())
    assert not torch.allclose(plain, rung)


@pytest.mark.parametrize("kind", ["images", "slices"])
def test_each_worker_of_a_loader_draws_its_own_numbers_in_every_epoch(monkeypatch, kind):
    def first_batch(worker_seed: int | None, seed: int = 2) -> torch.Tensor:
        info = None if worker_seed is None else SimpleNamespace(seed=worker_seed)
        monkeypatch.setattr("cmr_hf.finetuning.augmentation.get_worker_info", lambda: info)
        if kind == "images":
            collate, items = ImageCollator(64, EVERYTHING, seed), ImageSamples([sample((60, 60), label=0)]).items
        else:
            item = disc() | {
                "heart_mm": (0.0, 0.0),
                "drawn": torch.tensor([True, True]),
                "absent": torch.zeros(2, dtype=torch.bool),
            }
            collate, items = AugmentingCollator([64], 2, EVERYTHING, seed), [item]
        batch = collate(items)["pixel_values"]
        assert not torch.equal(batch, collate(items)["pixel_values"])  # the next one goes on from there
        return batch

    batches = [first_batch(None), first_batch(7), first_batch(8), first_batch(7, seed=3)]
    assert torch.equal(first_batch(7), batches[1])
    assert not any(torch.equal(one, two) for k, one in enumerate(batches) for two in batches[:k])
