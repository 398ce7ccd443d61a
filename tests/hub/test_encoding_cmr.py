"""The ResNet encoder and the U-Net over it: transformers' own, its published weights, sizes; the paper's models."""

import pytest
import torch
from torch import nn
from transformers import ResNetForImageClassification, ResNetModel

from cmr_hf import CMRConfig, CMRForImageClassification, CMRForLandmarkDetection, CMRForSemanticSegmentation
from cmr_hf.hub.decoding_cmr import UNetDecoder
from cmr_hf.hub.encoding_cmr import CMRResNetModel
from tests.model_factory import LABELS, names, randomised, tiny_config, tiny_resnet


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def full_size(model: type, decoder_type: str, labels: tuple[str, ...] = tuple(LABELS.values())) -> nn.Module:
    """The paper's size, without memory for its weights."""
    backbone = {"model_type": "resnet" if decoder_type == "unet" else "cmr_vit"}
    with torch.device("meta"):
        return model(CMRConfig(backbone_config=backbone, decoder_type=decoder_type, **names(labels)))


# The encoder is transformers' ResNet


@pytest.mark.parametrize("layer_type", ["bottleneck", "basic"])
def test_its_outputs_are_those_of_transformers_resnet_with_the_same_weights(layer_type):
    config = tiny_resnet(layer_type=layer_type)
    theirs = randomised(ResNetModel(config))
    ours = CMRResNetModel(config).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    pixel_values = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        found, expected = (model(pixel_values, output_hidden_states=True) for model in (ours, theirs))
    assert torch.equal(found.last_hidden_state, expected.last_hidden_state)
    assert torch.equal(found.pooler_output, expected.pooler_output)
    assert all(torch.equal(*pair) for pair in zip(found.hidden_states[1:], expected.hidden_states[1:], strict=True))


def test_its_hidden_states_are_the_maps_from_a_half_to_a_thirty_second():
    model = randomised(CMRResNetModel(tiny_resnet()))
    pixel_values = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        outputs = model(pixel_values, output_hidden_states=True)
        first = model.embedder.embedder(pixel_values)
        assert model(pixel_values).hidden_states is None
    assert [tuple(state.shape) for state in outputs.hidden_states] == [
        (1, 8, 32, 48),
        (1, 8, 16, 24),
        (1, 16, 8, 12),
        (1, 16, 4, 6),
        (1, 32, 2, 3),
    ]
    assert torch.equal(outputs.hidden_states[0], first)
    assert torch.equal(outputs.hidden_states[-1], outputs.last_hidden_state)


def test_when_the_config_asks_for_hidden_states_then_it_gives_them():
    outputs = CMRResNetModel(tiny_resnet(output_hidden_states=True))(torch.randn(2, 3, 32, 32))
    assert len(outputs.hidden_states) == 5


def test_weights_of_a_published_image_classifier_load_into_it(tmp_path):
    published = randomised(ResNetForImageClassification(tiny_resnet(num_labels=5)))
    published.save_pretrained(tmp_path)
    model, info = CMRResNetModel.from_pretrained(tmp_path, output_loading_info=True)

    assert not info["missing_keys"]
    assert all(name.startswith("classifier.") for name in info["unexpected_keys"])
    theirs = published.resnet.state_dict()
    assert all(torch.equal(theirs[name], value) for name, value in model.state_dict().items())
    pixel_values = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = published.resnet(pixel_values).last_hidden_state
        assert torch.equal(model.eval()(pixel_values).last_hidden_state, expected)


@pytest.mark.parametrize("shape", [(1, 3, 64, 60), (1, 3, 48, 64), (3, 64, 64)])
def test_when_32_does_not_divide_the_size_then_it_raises(shape):
    with pytest.raises(ValueError, match=r"sides that 32 divides.*use CMRImageProcessor"):
        CMRResNetModel(tiny_resnet())(torch.zeros(shape))


# The U-Net


def test_each_level_of_the_unet_takes_the_map_of_its_size():
    model = randomised(CMRForSemanticSegmentation(tiny_config("unet")))
    assert [block[0][0].in_channels for block in model.decoder.blocks] == [32 + 16, 16 + 16, 16 + 8, 8 + 8, 6]
    assert [block[0][0].out_channels for block in model.decoder.blocks] == [16, 16, 8, 6, 4]
    pixel_values = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        outputs = model.backbone(pixel_values, output_hidden_states=True)
        logits = model(pixel_values, encoder_outputs=outputs).logits
        assert logits.shape == (1, 4, 64, 96)
        for level in range(4):
            states = list(outputs.hidden_states)
            states[level] = torch.zeros_like(states[level])
            changed = model.decoder(pixel_values, tuple(states), outputs.last_hidden_state)
            assert not torch.allclose(changed, logits, atol=1e-4), level


# The paper's sizes


def test_the_unet_over_a_resnet_50_has_32_5_million_parameters():
    model = full_size(CMRForSemanticSegmentation, "unet")
    assert type(model.decoder) is UNetDecoder
    assert count(model.backbone) == 23_508_032
    assert count(model.decoder) == 9_013_508
    assert count(model) == 32_521_540  # segmentation-models-pytorch: 32 521 105 with one class, 145 for each more


@pytest.mark.parametrize(("decoder", "parameters"), [("unetr", 516_644), ("hybrid", 1_028_340)])
def test_the_decoders_over_a_vit_s8_have_these_sizes(decoder, parameters):
    model = full_size(CMRForSemanticSegmentation, decoder)
    assert count(model.backbone) == 21_670_272
    assert count(model.decoder) == parameters


def test_a_head_of_two_landmarks_is_smaller_by_two_maps():
    for decoder, per_map in (("hybrid", 16 + 1), ("unetr", 16 + 1), ("unet", 16 * 9 + 1)):
        difference = count(full_size(CMRForSemanticSegmentation, decoder)) - count(
            full_size(CMRForLandmarkDetection, decoder, ("anterior", "inferior"))
        )
        assert difference == 2 * per_map


@pytest.mark.parametrize(("decoder", "features"), [("hybrid", 1920), ("unet", 2048)])
def test_a_classifier_is_the_encoder_and_one_linear_layer(decoder, features):
    model = full_size(CMRForImageClassification, decoder, ("no LGE", "LGE"))
    assert count(model) - count(model.backbone) == 2 * features + 2
