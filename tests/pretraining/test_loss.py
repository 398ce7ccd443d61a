"""DINO's loss against a short formula of its own, its centre against numbers by hand."""

import math

import pytest
import torch

from cmr_hf.pretraining.loss import DINOLoss


def short_formula(student, teacher, centre, crops, batch, teacher_temperature, student_temperature=0.1):
    """Mean over all pairs of different views of the cross-entropy, written as the paper's pseudo-code."""
    terms = []
    for i, t in enumerate(teacher.double().split(batch)):
        target = torch.softmax((t - centre.double()) / teacher_temperature, dim=1)
        for v, s in enumerate(student.double().split(batch)):
            if v != i:
                terms.append(-(target * torch.log_softmax(s / student_temperature, dim=1)).sum(dim=1).mean())
    assert len(terms) == 2 * (crops - 1)
    return sum(terms) / len(terms)


@pytest.mark.parametrize("crops", [2, 7])
def test_the_loss_is_the_short_formula_s(crops):
    batch, out_dim = 5, 17
    student = torch.randn(crops * batch, out_dim, requires_grad=True)
    teacher, centre = torch.randn(2 * batch, out_dim), torch.randn(out_dim)
    loss = DINOLoss(out_dim)
    loss.centre.copy_(centre)
    ours, _ = loss(student, teacher, batch, 0.05)
    theirs = short_formula(student, teacher, centre, crops, batch, 0.05)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    ours_slope = torch.autograd.grad(ours, student)[0]
    torch.testing.assert_close(ours_slope, torch.autograd.grad(theirs, student)[0].float(), atol=1e-6, rtol=1e-5)


def test_when_inputs_are_bfloat16_then_the_loss_is_computed_in_float32():
    student, teacher = torch.randn(8, 9).bfloat16(), torch.randn(4, 9).bfloat16()
    loss = DINOLoss(9)
    with torch.autocast("cpu", torch.bfloat16):
        value, watched = loss(student, teacher, 2, 0.04)
    assert value.dtype == torch.float32
    expected = short_formula(student.float(), teacher.float(), torch.zeros(9), 4, 2, 0.04)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    assert all(one.dtype == torch.float32 and not one.requires_grad for one in watched.values())


def test_the_centre_moves_by_a_tenth_of_the_mean_output():
    loss = DINOLoss(2, centre_momentum=0.9)
    loss(torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [3.0, 2.0]]), 1, 0.04)
    loss.update_centre()
    torch.testing.assert_close(loss.centre, torch.tensor([0.2, 0.1]))
    loss(torch.zeros(2, 2), torch.tensor([[0.0, 0.0], [0.0, 0.0]]), 1, 0.04)
    loss.update_centre()
    torch.testing.assert_close(loss.centre, torch.tensor([0.18, 0.09]))


def test_when_a_batch_comes_in_pieces_then_the_centre_moves_once_by_their_mean():
    loss, whole = DINOLoss(3), DINOLoss(3)
    teacher = torch.randn(8, 3)
    whole(torch.zeros(8, 3), teacher, 4, 0.04)
    for part in (slice(0, 4), slice(4, 8)):
        loss(torch.zeros(4, 3), teacher[part], 2, 0.04)
        torch.testing.assert_close(loss.centre, torch.zeros(3))
    for one in (loss, whole):
        one.update_centre()
    torch.testing.assert_close(loss.centre, whole.centre)
    with pytest.raises(RuntimeError, match="once a step"):
        loss.update_centre()


def test_the_centre_is_saved_and_nothing_else():
    assert list(DINOLoss(4).state_dict()) == ["centre"]


def test_what_is_watched_tells_a_uniform_output_from_a_single_one():
    loss = DINOLoss(8)
    _, uniform = loss(torch.zeros(4, 8), torch.zeros(4, 8), 2, 0.04)
    assert uniform["teacher_entropy"].item() == pytest.approx(math.log(8), rel=1e-5)
    assert uniform["kl"].item() == pytest.approx(0.0, abs=1e-5)
    single = torch.zeros(4, 8)
    single[:, 3] = 9.0
    _, one = loss(single, single, 2, 0.04)
    assert one["teacher_entropy"].item() == pytest.approx(0.0, abs=1e-5)
    assert one["mean_entropy"].item() == pytest.approx(0.0, abs=1e-5)
    assert loss.highest_entropy == pytest.approx(math.log(8))
