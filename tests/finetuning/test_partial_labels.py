"""Partial labels: what nobody drew is not learnt as background, nor judged; and each data set has its share."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cmr_hf import CMRConfig, CMRImageProcessor
from cmr_hf.data.schema import UNKNOWN, LabelledStack
from cmr_hf.finetuning.augmentation import Augmentation, augment_batch
from cmr_hf.finetuning.segmentation import (
    SegmentationSlices,
    evaluate_stacks,
    known_of,
    merge_undrawn,
    segment_stack,
    told_slices,
    weights_of,
)
from cmr_hf.finetuning.trainer import SegmentationTrainer
from cmr_hf.hub.decoding_cmr import segmentation_loss
from tests.model_factory import LABELS, tiny_segmenter

NAMES = {1: "LV cavity", 2: "myocardium", 3: "RV"}
OFF = Augmentation(**dict.fromkeys(Augmentation.__dataclass_fields__, 0.0))


def drawn(*ids: int, classes: int = 4, batch: int = 1) -> torch.Tensor:
    row = torch.zeros(classes, dtype=torch.bool)
    row[[0, *ids]] = True
    return row.expand(batch, classes)


def stack_of(masks: np.ndarray, ids: tuple[int, ...] = (1, 2, 3), **fields) -> LabelledStack:
    images = np.random.default_rng(0).random(masks.shape).astype(np.float32)
    return LabelledStack(images, "p1", **({"source": "acdc", "masks": masks, "drawn": ids} | fields))


# known_of


def test_a_mask_without_unknown_pixels_tells_all_that_was_drawn():
    mask = np.array([[0, 1], [2, 0]], np.uint8)
    known, ids = known_of(mask, (1, 2, 3))
    assert known is mask
    assert ids == (1, 2, 3)  # the RV was looked for, and is not here


def test_unknown_beside_background_stays_unknown():
    mask = np.array([[0, 1], [UNKNOWN, 0]], np.uint8)
    known, ids = known_of(mask, (1, 2))
    np.testing.assert_array_equal(known, mask)
    assert ids == (1, 2)


def test_filled_outlines_alone_tell_only_what_they_hold():
    mask = np.array([[UNKNOWN, 1], [1, UNKNOWN]], np.uint8)
    known, ids = known_of(mask, (1, 2))
    np.testing.assert_array_equal(known, [[0, 1], [1, 0]])
    assert known.dtype == np.uint8
    assert ids == (1,)


def test_a_slice_on_which_nobody_drew_tells_nothing():
    assert known_of(np.full((2, 2), UNKNOWN, np.uint8), (1, 2))[1] == ()
    assert known_of(np.zeros((2, 2), np.uint8), ())[1] == ()


def test_an_id_that_was_not_looked_for_is_not_taken_from_the_mask():
    known, ids = known_of(np.array([[0, 1], [2, 3]], np.uint8), (1, 2))
    np.testing.assert_array_equal(known, [[0, 1], [2, 0]])
    assert ids == (1, 2)


# merge_undrawn


def test_merged_probabilities_are_the_sums_over_undrawn_classes():
    logits = 3 * torch.randn(2, 4, 5, 6)
    chances = logits.softmax(1)
    some = torch.stack((drawn(1, 3)[0], drawn(2)[0]))
    merged = merge_undrawn(logits, some).softmax(1)
    torch.testing.assert_close(merged[0, 0], chances[0, 0] + chances[0, 2])
    torch.testing.assert_close(merged[0, [1, 3]], chances[0, [1, 3]])
    torch.testing.assert_close(merged[1, 0], chances[1, [0, 1, 3]].sum(0))
    assert merged[0, 2].max() == merged[1, [1, 3]].max() == 0


def test_with_every_class_drawn_the_softmax_is_as_it_was():
    logits = torch.randn(2, 4, 5, 6)
    torch.testing.assert_close(merge_undrawn(logits, drawn(1, 2, 3, batch=2)).softmax(1), logits.softmax(1))


def test_the_gradient_is_that_of_the_marginal_cross_entropy():
    logits = torch.randn(1, 4, 3, 3, requires_grad=True)
    labels = torch.tensor([[[0, 1, 0], [2, 2, 0], [0, 1, 1]]])
    loss = F.cross_entropy(merge_undrawn(logits, drawn(1, 2)), labels)
    (found,) = torch.autograd.grad(loss, logits)

    chances = logits.detach().softmax(1)  # d/dz of −log Σ p over the classes that the label allows
    allowed = torch.stack((labels == 0, labels == 1, labels == 2, labels == 0), 1).double()
    of_allowed = chances * allowed / (chances * allowed).sum(1, keepdim=True)
    torch.testing.assert_close(found, ((chances - of_allowed) / labels.numel()).float())


def test_an_undrawn_class_is_not_pushed_towards_background():
    logits = torch.zeros(1, 4, 8, 8)
    logits[:, 3, :4] = 6.0  # an RV where nobody drew one
    logits.requires_grad_()
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    config = CMRConfig(num_labels=4, cross_entropy_weight=1.0)
    (merged,) = torch.autograd.grad(segmentation_loss(merge_undrawn(logits, drawn(1, 2)), labels, config), logits)
    (plain,) = torch.autograd.grad(segmentation_loss(logits, labels, config), logits)
    assert plain[0, 3, :4].min() > 0  # gradient descent would lower it
    assert merged[0, 3, :4].max() <= 0
    torch.testing.assert_close(merged[0, 0] / merged[0, 3], (logits[0, 0] - logits[0, 3]).exp().detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_stay_finite(dtype):
    logits = torch.zeros(1, 4, 4, 4, dtype=dtype)
    logits[:, 0], logits[:, 1], logits[:, 3] = -1e30, 1e4, -torch.inf
    logits.requires_grad_()
    merged = merge_undrawn(logits, drawn(1, 2))
    assert merged.dtype == torch.float32
    loss = segmentation_loss(merged, torch.ones(1, 4, 4, dtype=torch.long), CMRConfig(num_labels=4))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


# Slices and shares


def test_slices_know_which_classes_were_drawn_and_leave_out_those_that_tell_nothing():
    masks = np.zeros((3, 8, 8), np.uint8)
    masks[0, 2:4] = 1
    masks[1] = UNKNOWN
    masks[2] = UNKNOWN
    masks[2, 3:5] = 2
    data = SegmentationSlices([stack_of(masks, (1, 2))], LABELS)
    assert [item["drawn"].tolist() for item in data] == [[True, True, True, False], [True, False, True, False]]
    assert set(data[1]["mask"].unique().tolist()) == {0, 2}


def test_absent_classes_take_no_part_in_the_loss_and_are_never_answered():
    torch.manual_seed(0)
    model = tiny_segmenter()
    with torch.no_grad():
        model.decoder.classifier.bias[3] = 50.0  # it would be the answer everywhere
    absent = drawn(3) & ~drawn()
    logits = torch.randn(1, 4, 8, 8, requires_grad=True)
    told = merge_undrawn(logits, drawn(1, 2), absent)
    assert torch.allclose(told.softmax(1)[:, :3], logits[:, :3].softmax(1), atol=1e-6)
    told[:, :3].sum().backward()
    assert not logits.grad[:, 3].any()
    stack = stack_of(np.zeros((1, 40, 40), np.uint8), (1, 2), spacing_mm=(1.0, 1.0))
    processor = CMRImageProcessor(size=64)
    asked = [segment_stack(model, processor, stack.images, stack.spacing_mm, absent=ids) for ids in ((), (3,))]
    assert [(3 in one, bool((one == 3).all())) for one in asked] == [(True, True), (False, False)]
    item = SegmentationSlices([replace(stack, absent=(3,))], LABELS)[0]
    assert item["absent"].tolist() == [False, False, False, True]


def test_shares_are_what_is_seen_whatever_the_size_of_a_set():
    weights = weights_of([10, 1000, 4], [1.0, 2.0, 1.0])
    parts = [part.sum().item() for part in weights.split([10, 1000, 4])]
    assert parts == pytest.approx([1.0, 2.0, 1.0])
    seen = torch.multinomial(weights, 4000, replacement=True)
    assert (seen < 10).float().mean() == pytest.approx(0.25, abs=0.03)
    assert all(part.unique().numel() == 1 for part in weights.split([10, 1000, 4]))


@pytest.mark.parametrize(("lengths", "shares"), [([3, 4], [1.0]), ([3, 4], [1.0, 0.0]), ([3, 0], [1.0, 1.0])])
def test_when_a_share_is_missing_or_nothing_or_a_set_empty_then_it_raises(lengths, shares):
    with pytest.raises(ValueError, match="`share` needs a positive number for each data set"):
        weights_of(lengths, shares)


def test_unknown_pixels_go_through_the_warp_and_outside_is_background():
    mask = torch.zeros(64, 64, dtype=torch.uint8)
    mask[:32], mask[40:50, 40:50] = UNKNOWN, 2
    item = {"image": torch.rand(64, 64), "mask": mask, "spacing_mm": (1.0, 1.0), "centre_mm": (0.0, 0.0)}
    _, labels = augment_batch([item], 96, 3, OFF, torch.Generator().manual_seed(0))
    assert set(labels.unique().tolist()) == {0, 2, UNKNOWN}
    torch.testing.assert_close(labels[0, 16:80, 16:80], mask.long())
    assert not labels[0, :16].any()
    turned, moved = augment_batch([item] * 4, 96, 3, Augmentation(), torch.Generator().manual_seed(1))
    assert set(moved.unique().tolist()) <= {0, 2, UNKNOWN}
    assert torch.isfinite(turned).all()


# Judging


def test_told_slices_keeps_slices_that_were_drawn_on_and_what_all_of_them_tell():
    masks = np.zeros((3, 8, 8), np.uint8)
    masks[0, 2:4], masks[0, 5] = 1, 2
    masks[1] = UNKNOWN
    masks[2] = np.where(np.eye(8) > 0, 1, UNKNOWN)
    stack = stack_of(masks, (1, 2), slice_indices=(4, 5, 6), landmarks=[{"a": (1.0, 2.0)}, {}, {"b": (3.0, 4.0)}])
    told = told_slices(stack)
    np.testing.assert_array_equal(told.images, stack.images[[0, 2]])
    assert told.slice_indices == (4, 6)
    assert told.landmarks == [{"a": (1.0, 2.0)}, {"b": (3.0, 4.0)}]
    assert told.drawn == (1,)
    np.testing.assert_array_equal(told.masks[1], np.eye(8))
    assert told_slices(stack_of(np.full((2, 8, 8), UNKNOWN, np.uint8))) is None


def test_what_nobody_drew_is_not_judged():
    model, processor = tiny_segmenter(), CMRImageProcessor(size=96)
    blank = stack_of(np.zeros((2, 60, 68), np.uint8), spacing_mm=(1.5, 1.25))
    predicted = segment_stack(model, processor, blank.images, blank.spacing_mm)
    assert set(np.unique(predicted)) >= {2, 3}
    truth = np.where(predicted == 3, 0, predicted).astype(np.uint8)  # right, but that nobody drew the RV

    def table(masks: np.ndarray, ids: tuple[int, ...]) -> dict:
        return evaluate_stacks(model, processor, [replace(blank, masks=masks, drawn=ids)], NAMES)["per_volume"]

    without = table(truth, (1, 2))
    assert without["myocardium"]["mean"] == 1.0
    assert without["RV"] == {"mean": None, "sd": None, "n": 0}
    assert table(truth, (1, 2, 3))["RV"]["mean"] == 0.0
    unknown = predicted.copy()
    unknown[:, :30] = UNKNOWN  # half of each slice is anybody's guess
    assert {entry["mean"] for entry in table(unknown, (1, 2, 3)).values()} <= {1.0, None}


def test_several_data_sets_to_choose_on_count_alike(tmp_path):
    from transformers import TrainingArguments

    model, processor = tiny_segmenter(), CMRImageProcessor(size=96)
    blank = stack_of(np.zeros((2, 60, 68), np.uint8), spacing_mm=(1.5, 1.25))
    right = replace(blank, masks=segment_stack(model, processor, blank.images, blank.spacing_mm))
    wrong = replace(blank, masks=((right.masks + 1) % 4).astype(np.uint8), source="emidec")
    trainer = SegmentationTrainer(
        model=model,
        args=TrainingArguments(str(tmp_path), use_cpu=True, report_to="none"),
        processor=processor,
        eval_stacks=[right, right, right, wrong],
    )
    metrics = trainer.evaluate()
    assert metrics["eval_acdc_dice_per_volume_myocardium"] == 1.0
    assert metrics["eval_emidec_dice_per_volume_myocardium"] < 0.5
    emidec = [value for name, value in metrics.items() if name.startswith("eval_emidec_dice_per_volume")]
    assert metrics["eval_dice"] == pytest.approx((1.0 + np.mean(emidec)) / 2)
    alone = trainer.evaluate([right])
    assert alone["eval_dice"] == 1.0
    assert "eval_dice_per_slice_RV" in alone
