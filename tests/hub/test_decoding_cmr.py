"""The loss against a short independent formula, and the decoder's blocks against MONAI's."""

import numpy as np
import pytest
import torch
from torch import nn

from cmr_hf.hub.decoding_cmr import ResidualBlock, TokensToMap, UpBlock, segmentation_loss, soft_jaccard_loss
from tests.model_factory import tiny_config

AFFINE = ("instance", {"affine": True})


def jaccard_by_hand(probabilities: np.ndarray, labels: np.ndarray, ignored: int, smoothing: float) -> float:
    losses = []
    for chances, truth in zip(probabilities, labels, strict=True):
        for label in range(1, chances.shape[0]):
            intersection = union = 0.0
            for pixel in np.ndindex(truth.shape):
                if truth[pixel] != ignored:
                    p, t = chances[(label, *pixel)], float(truth[pixel] == label)
                    intersection += p * t
                    union += p + t - p * t
            losses.append(1 - (intersection + smoothing) / (union + smoothing))
    return float(np.mean(losses))


def perfect_logits(labels: torch.Tensor, certainty: float = 30.0) -> torch.Tensor:
    return certainty * nn.functional.one_hot(labels, 4).movedim(-1, 1).float()


@pytest.mark.parametrize("smoothing", [1.0, 0.01])
def test_soft_jaccard_equals_the_formula_pixel_by_pixel(smoothing):
    logits = torch.randn(3, 4, 7, 9)
    labels = torch.randint(0, 4, (3, 7, 9))
    labels[0, :3] = 255
    labels[1] = 0  # a slice without heart
    expected = jaccard_by_hand(logits.softmax(1).double().numpy(), labels.numpy(), 255, smoothing)
    loss = segmentation_loss(logits, labels, tiny_config(jaccard_smoothing=smoothing))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_cross_entropy_is_added_with_its_weight():
    logits, labels = torch.randn(2, 4, 5, 5), torch.randint(0, 4, (2, 5, 5))
    labels[0, 0] = 255
    plain, mixed = (segmentation_loss(logits, labels, tiny_config(cross_entropy_weight=w)) for w in (0.0, 0.5))
    chosen = logits.log_softmax(1).gather(1, labels.where(labels != 255, 0)[:, None])[:, 0]
    expected = -chosen[labels != 255].mean()
    assert (mixed - plain).item() == pytest.approx(0.5 * expected.item(), abs=1e-6)


def test_when_the_prediction_is_perfect_then_the_loss_is_about_zero():
    labels = torch.randint(0, 4, (2, 16, 16))
    loss = segmentation_loss(perfect_logits(labels), labels, tiny_config(cross_entropy_weight=1.0))
    assert loss.item() == pytest.approx(0.0, abs=1e-5)


def test_false_positives_on_an_empty_slice_are_punished_whatever_else_is_in_the_batch():
    labels = torch.zeros(2, 32, 32, dtype=torch.long)
    labels[0, :16] = 1
    painted = labels.clone()
    painted[1, :4] = 1  # right on the first slice, invented on the second
    right = segmentation_loss(perfect_logits(labels), labels, tiny_config())
    wrong = segmentation_loss(perfect_logits(painted), labels, tiny_config())
    # One of 2 x 3 terms goes from 0 to 1 - 1 / (128 + 1).
    assert (wrong - right).item() == pytest.approx((1 - 1 / 129) / 6, abs=1e-3)


def test_ignored_pixels_have_no_gradient_and_others_have():
    labels = torch.randint(0, 4, (2, 8, 8))
    labels[:, 2:5] = 255
    logits = torch.randn(2, 4, 8, 8, requires_grad=True)
    segmentation_loss(logits, labels, tiny_config(cross_entropy_weight=0.5)).backward()
    ignored = (labels == 255)[:, None].expand_as(logits)
    assert (logits.grad[ignored] == 0).all()
    assert (logits.grad[~ignored] != 0).all()


def test_when_all_pixels_are_ignored_then_loss_and_gradient_are_zero():
    logits = torch.randn(1, 4, 4, 4, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 4, 4), 255), tiny_config(cross_entropy_weight=0.5))
    loss.backward()
    assert loss.item() == 0.0
    assert (logits.grad == 0).all()


def test_half_precision_logits_are_summed_in_float32():
    labels = torch.ones(1, 300, 300, dtype=torch.long)  # 90 000 pixels: beyond the largest float16
    loss = segmentation_loss(perfect_logits(labels).half(), labels, tiny_config())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0.0, abs=1e-4)


def test_soft_jaccard_counts_valid_pixels_only():
    chances = torch.rand(1, 3, 4, 4).softmax(1)
    target = nn.functional.one_hot(torch.randint(0, 3, (1, 4, 4)), 3).movedim(-1, 1).float()
    valid = torch.zeros(1, 1, 4, 4)
    valid[..., :2] = 1
    expected = soft_jaccard_loss(chances[..., :2], target[..., :2], torch.ones(1, 1, 4, 2), 1.0)
    torch.testing.assert_close(soft_jaccard_loss(chances, target, valid, 1.0), expected)


# Blocks against MONAI's. The one difference in ResidualBlock: its instance norms are affine, 2 numbers per channel.


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def copy_residual(ours: ResidualBlock, theirs: nn.Module) -> None:
    pairs = [
        (theirs.conv1.conv, ours.conv1),
        (theirs.conv2.conv, ours.conv2),
        (theirs.norm1, ours.norm1),
        (theirs.norm2, ours.norm2),
    ]
    if ours.shortcut is not None:
        pairs += [(theirs.conv3.conv, ours.shortcut[0]), (theirs.norm3, ours.shortcut[1])]
    for to, source in pairs:
        to.load_state_dict(source.state_dict())


def randomise(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))


@pytest.mark.parametrize(("channels", "stride", "norms"), [((6, 6), 1, 2), ((4, 6), 1, 3), ((6, 6), 2, 3)])
def test_residual_block_is_monais_with_affine_norms(channels, stride, norms):
    blocks = pytest.importorskip("monai.networks.blocks.dynunet_block")
    ours = ResidualBlock(*channels, stride=stride)
    plain = blocks.UnetResBlock(2, *channels, kernel_size=3, stride=stride, norm_name="instance")
    affine = blocks.UnetResBlock(2, *channels, kernel_size=3, stride=stride, norm_name=AFFINE)
    randomise(ours)
    copy_residual(ours, affine)

    assert count(ours) == count(affine) == count(plain) + norms * 2 * channels[1]
    x = torch.randn(2, channels[0], 16, 12)
    torch.testing.assert_close(ours(x), affine(x))
    assert ours(x).shape == (2, channels[1], 16 // stride, 12 // stride)


def test_up_block_is_monais_unetr_up_block_with_affine_norms():
    blocks = pytest.importorskip("monai.networks.blocks.unetr_block")
    ours = UpBlock(8, 6, 6)
    sizes = {"kernel_size": 3, "upsample_kernel_size": 2, "res_block": True}
    plain = blocks.UnetrUpBlock(2, 8, 6, norm_name="instance", **sizes)
    affine = blocks.UnetrUpBlock(2, 8, 6, norm_name=AFFINE, **sizes)
    randomise(ours)
    affine.transp_conv.conv.load_state_dict(ours.up.state_dict())
    copy_residual(ours.mix, affine.conv_block)

    assert count(ours) == count(affine) == count(plain) + 3 * 2 * 6
    x, skip = torch.randn(2, 8, 5, 7), torch.randn(2, 6, 10, 14)
    torch.testing.assert_close(ours(x, skip), affine(x, skip))
    assert ours(x, skip).shape == (2, 6, 10, 14)


@pytest.mark.parametrize("doublings", [1, 2, 3])
def test_token_map_is_monais_projection_with_a_norm_and_one_residual_block_more(doublings):
    blocks = pytest.importorskip("monai.networks.blocks.unetr_block")
    ours = TokensToMap(32, 6, doublings)
    options = {"kernel_size": 3, "stride": 1, "upsample_kernel_size": 2, "conv_block": True, "res_block": True}
    theirs = blocks.UnetrPrUpBlock(2, 32, 6, num_layer=doublings - 1, norm_name=AFFINE, **options)

    # Ours norms the tokens (2 x 32) and refines after the first doubling too.
    assert count(ours) == count(theirs) + 2 * 32 + count(ResidualBlock(6, 6))
    grid = (3, 5)
    assert ours(torch.randn(2, 1 + 15, 32), grid).shape == theirs(torch.randn(2, 32, *grid)).shape


def test_tokens_become_a_map_row_by_row_without_cls():
    block = TokensToMap(2, 2, doublings=0)
    nn.init.dirac_(block.steps[0].weight)
    tokens = torch.randn(1, 1 + 6, 2)
    with torch.no_grad():
        mapped = block(tokens, (2, 3))
        normed = block.norm(tokens)
    assert mapped.shape == (1, 2, 2, 3)
    torch.testing.assert_close(mapped[0, :, 1, 0], normed[0, 1 + 3])  # row 1, column 0 is the fourth patch
