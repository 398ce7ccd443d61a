"""Augmentation: reproducible, different for each sample, and the labels go where the picture goes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cmr_hf import CMRImageProcessor
from cmr_hf.finetuning.augmentation import Augmentation, augment_batch, normalise, random_transforms
from cmr_hf.finetuning.segmentation import AugmentingCollator

OFF = Augmentation(**dict.fromkeys(Augmentation.__dataclass_fields__, 0.0))
GEOMETRY = replace(
    Augmentation(), gamma=0.0, bias=0.0, noise=0.0, resolution_loss=0.0, small_field_of_view=0.0, shift_mm=6.0
)


def disc(shape=(150, 130), spacing_mm=(1.0, 1.0), centre_mm=(6.0, -9.0), radius_mm=28.0, label=1) -> dict:
    rows, columns = np.indices(shape, dtype=float)
    y = (rows - (shape[0] - 1) / 2) * spacing_mm[0] - centre_mm[0]
    x = (columns - (shape[1] - 1) / 2) * spacing_mm[1] - centre_mm[1]
    mask = np.hypot(y, x) <= radius_mm
    return {
        "image": torch.from_numpy(0.2 + 0.8 * mask).half(),
        "mask": torch.from_numpy(mask.astype(np.uint8) * label),
        "spacing_mm": spacing_mm,
        "centre_mm": (0.0, 0.0),
    }


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dice(one: torch.Tensor, other: torch.Tensor) -> float:
    return (2 * (one & other).sum() / (one.sum() + other.sum())).item()


def test_the_same_seed_gives_the_same_batch_and_another_one_does_not():
    slices = [disc(), disc(shape=(90, 100))]
    first, again, other = (augment_batch(slices, 96, 2, Augmentation(), generator(seed)) for seed in (4, 4, 5))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not any(torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_every_sample_of_a_batch_is_augmented_in_its_own_way():
    images, labels = augment_batch([disc()] * 6, 96, 2, Augmentation(), generator())
    for i in range(6):
        for j in range(i):
            assert not torch.equal(images[i], images[j])
            assert not torch.equal(labels[i], labels[j])


def test_shapes_types_and_range_are_the_processors():
    images, labels = augment_batch([disc()] * 8, 96, 2, Augmentation(), generator())
    assert images.shape == (8, 3, 96, 96)
    assert labels.shape == (8, 96, 96)
    assert labels.dtype == torch.int64
    assert images.dtype == torch.float32
    assert images.is_contiguous()
    assert torch.equal(images[:, 0], images[:, 2])
    assert torch.isfinite(images).all()
    assert images.amin() == -1
    assert images.amax() == 1


def test_labels_follow_the_picture_through_every_geometry():
    spacings = [(1.0, 1.0), (1.6, 1.1), (0.8, 1.9), (2.0, 2.0)] * 6
    slices = [disc((round(160 / a), round(140 / b)), (a, b), label=2) for a, b in spacings]
    images, labels = augment_batch(slices, 128, 3, GEOMETRY, generator())
    assert set(labels.unique().tolist()) == {0, 2}
    scores = [dice(image[0] > 0.2, label == 2) for image, label in zip(images, labels, strict=True)]
    assert min(scores) > 0.96


def test_labels_follow_the_picture_through_all_augmentation():
    images, labels = augment_batch([disc()] * 24, 128, 2, Augmentation(shift_mm=6.0), generator())
    inside = torch.stack([image[0][label == 1].mean() for image, label in zip(images, labels, strict=True)])
    outside = torch.stack([image[0][label == 0].mean() for image, label in zip(images, labels, strict=True)])
    assert (inside - outside).min() > 0.3


def test_without_augmentation_the_area_in_millimetres_stays_on_an_anisotropic_grid():
    slices = [disc((80, 170), (2.0, 0.9)), disc((170, 80), (0.9, 2.0))]
    _, labels = augment_batch(slices, 128, 2, OFF, generator())
    assert labels.sum((1, 2)).float().tolist() == pytest.approx([np.pi * 28**2] * 2, rel=0.02)
    rows, columns = torch.nonzero(labels[0]).float().mean(0).tolist()
    assert (rows - 63.5, columns - 63.5) == pytest.approx((6.0, -9.0), abs=0.3)


@pytest.mark.parametrize("shape", [(224, 224), (150, 131), (301, 240)])
def test_without_augmentation_a_1_mm_image_is_what_the_processor_makes(shape):
    image = np.random.default_rng(2).gamma(2.0, 0.1, shape).astype(np.float32)
    item = {"image": torch.from_numpy(image), "mask": torch.zeros(shape, dtype=torch.uint8)}
    item |= {"spacing_mm": (1.0, 1.0), "centre_mm": (0.0, 0.0)}
    found, _ = augment_batch([item], 224, 2, OFF, generator())
    expected = CMRImageProcessor()(image, spacing_mm=(1.0, 1.0))["pixel_values"]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_without_augmentation_a_coarser_image_is_what_the_processor_makes():
    item = disc((90, 70), (1.7, 1.9))
    found, _ = augment_batch([item], 224, 2, OFF, generator())
    expected = CMRImageProcessor()(item["image"].float(), spacing_mm=(1.7, 1.9))["pixel_values"]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_the_crop_moves_to_the_given_centre():
    item = disc() | {"centre_mm": (6.0, -9.0)}
    _, labels = augment_batch([item], 96, 2, OFF, generator())
    assert torch.nonzero(labels[0]).float().mean(0).tolist() == pytest.approx([47.5, 47.5], abs=0.3)


def test_padding_is_minus_one_and_background():
    item = disc((64, 48), centre_mm=(0.0, 0.0), radius_mm=60.0)  # all of the image is heart
    images, labels = augment_batch([item], 96, 2, replace(OFF, noise=0.5), generator())
    real = torch.zeros(96, 96, dtype=torch.bool)
    real[16:80, 24:72] = True
    assert (images[0, :, ~real] == -1).all()
    assert torch.equal(labels[0] == 1, real)


def test_a_small_field_of_view_turns_borders_into_padding_without_labels():
    item = disc((300, 300), radius_mm=200.0)
    images, labels = augment_batch([item] * 8, 96, 2, replace(OFF, small_field_of_view=1.0, noise=0.3), generator())
    assert (labels == 0).flatten(1).any(1).all()
    assert all((image[0][label == 0] == -1).all() for image, label in zip(images, labels, strict=True))


def test_transforms_are_near_the_identity_unless_any_rotation_is_asked_for():
    torch.testing.assert_close(random_transforms(3, OFF, generator()), torch.eye(2).expand(3, 2, 2))
    mild = random_transforms(500, replace(OFF, rotation_deg=10.0, stretch=0.06), generator())
    torch.testing.assert_close(torch.linalg.det(mild), torch.ones(500))  # areas stay
    wild = torch.linalg.det(random_transforms(500, replace(OFF, any_rotation=1.0, mirror=0.5), generator()))
    assert (wild < 0).float().mean() == pytest.approx(0.5, abs=0.08)  # half of them are mirrored


def test_normalise_matches_numpy_and_leaves_a_constant_at_minus_one():
    images = torch.rand(2, 1, 20, 30)
    images[1] = 3.0
    inside = torch.ones(2, 20, 30, dtype=torch.bool)
    inside[0, :5] = False
    out = normalise(images, inside)
    real = images[0, 0, 5:].numpy()
    high = np.percentile(real, 98)
    expected = np.clip((real - real.min()) / (high - real.min()), 0, 1) * 2 - 1
    np.testing.assert_allclose(out[0, 0, 5:].numpy(), expected, atol=1e-5)
    assert (out[0, 0, :5] == -1).all()
    assert (out[1] == -1).all()


def test_an_empty_or_missed_image_stays_finite():
    blank = {"image": torch.zeros(80, 80), "mask": torch.zeros(80, 80, dtype=torch.uint8)}
    missed = disc() | {"centre_mm": (900.0, 900.0)}
    blank |= {"spacing_mm": (1.0, 1.0), "centre_mm": (0.0, 0.0)}
    images, labels = augment_batch([blank, missed], 96, 2, Augmentation(), generator())
    assert torch.isfinite(images).all()
    assert not labels.any()


def test_the_collator_centres_the_largest_crop_on_the_image_and_smaller_ones_on_the_heart():
    item = disc() | {
        "heart_mm": (6.0, -9.0),
        "drawn": torch.tensor([True, True]),
        "absent": torch.zeros(2, dtype=torch.bool),
    }
    del item["centre_mm"]
    collate = AugmentingCollator([64, 96], 2, OFF, seed=1)
    batches = [collate([item, item]) for _ in range(12)]
    assert {batch["pixel_values"].shape[-1] for batch in batches} == {64, 96}
    for batch in batches:
        size = batch["labels"].shape[-1]
        centre = [(size - 1) / 2] * 2 if size == 64 else [(size - 1) / 2 + 6, (size - 1) / 2 - 9]
        assert torch.nonzero(batch["labels"][0]).float().mean(0).tolist() == pytest.approx(centre, abs=0.3)
