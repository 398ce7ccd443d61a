"""The heads over both encoders: features, losses, gradients, saving, Auto classes, shared encoder passes."""

import pytest
import torch
from torch.nn import functional as F
from transformers import (
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForKeypointDetection,
    AutoModelForSemanticSegmentation,
    PreTrainedModel,
)

from cmr_hf import (
    CMRForImageClassification,
    CMRForLandmarkDetection,
    CMRForSemanticSegmentation,
    CMRModel,
    CMRViTConfig,
)
from tests.model_factory import (
    tiny_classifier,
    tiny_config,
    tiny_locator,
    tiny_segmenter,
)

ENCODERS = ("hybrid", "unet")  # decoder types that stand for a ViT and a ResNet
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
AUTO = {
    CMRForImageClassification: AutoModelForImageClassification,
    CMRForLandmarkDetection: AutoModelForKeypointDetection,
    CMRForSemanticSegmentation: AutoModelForSemanticSegmentation,
}
HEADS = {"classifier": tiny_classifier, "locator": tiny_locator, "segmenter": tiny_segmenter}


def pixels(count: int = 2, side: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, side, side) * 2 - 1


def labels_for(model: PreTrainedModel, count: int = 2) -> torch.Tensor:
    if isinstance(model, CMRForImageClassification):
        return torch.randint(0, 3, (count,))
    if isinstance(model, CMRForLandmarkDetection):
        return torch.rand(count, 2, 2) * 40 + 10
    return torch.randint(0, 4, (count, 64, 64))


every_head = pytest.mark.parametrize("make", HEADS.values(), ids=HEADS)
both_encoders = pytest.mark.parametrize("encoder", ENCODERS)


# What describes an image


@pytest.mark.parametrize("blocks", [1, 2, 4, 6])
def test_a_vit_describes_an_image_by_normed_class_tokens_and_the_mean_patch(blocks):
    model = tiny_classifier(encoder={"num_hidden_layers": blocks})
    pixel_values = pixels()
    after: list[torch.Tensor] = []  # of each block, tapped by hooks, without the model's own hidden_states
    for layer in model.backbone.layers:
        layer.register_forward_hook(lambda module, args, out: after.append(out[0] if isinstance(out, tuple) else out))
    with torch.no_grad():
        logits = model(pixel_values).logits
        assert len(after) == blocks
        norm = model.backbone.layernorm
        normed = [
            F.layer_norm(block, (32,), norm.weight, norm.bias, model.backbone.config.layer_norm_eps)
            for block in after[-4:]
        ]
        vector = torch.cat([block[:, 0] for block in normed] + [normed[-1][:, 1:].mean(1)], dim=1)
        assert vector.shape == (2, (min(4, blocks) + 1) * 32) == (2, model.backbone.feature_size)
        features = model.backbone.image_features(model.backbone(pixel_values, output_hidden_states=True))
        torch.testing.assert_close(features, vector, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(logits, vector @ model.classifier.weight.T + model.classifier.bias)


def test_a_resnet_describes_an_image_by_the_mean_of_its_last_map():
    model = tiny_classifier("unet")
    pixel_values = pixels()
    with torch.no_grad():
        outputs = model.backbone(pixel_values)
        vector = outputs.pooler_output.flatten(1)
        torch.testing.assert_close(model.backbone.image_features(outputs), vector)
        torch.testing.assert_close(model(pixel_values).logits, model.classifier(vector))


def test_the_papers_encoders_describe_an_image_by_1920_and_2048_numbers():
    with torch.device("meta"):
        vit = CMRForImageClassification(tiny_config(backbone_config=CMRViTConfig()))
        resnet = CMRForImageClassification(
            tiny_config("unet", backbone_config={"model_type": "resnet"}, decoder_channels=None)
        )
    assert vit.classifier.in_features == vit.backbone.feature_size == 1920
    assert resnet.classifier.in_features == resnet.backbone.feature_size == 2048


# Losses and outputs


@both_encoders
def test_the_loss_of_a_classification_is_its_cross_entropy(encoder):
    model = tiny_classifier(encoder)
    labels = torch.tensor([2, 0, -100])
    with torch.no_grad():
        output = model(pixels(3), labels=labels)
    by_hand = -output.logits[:2].log_softmax(1)[[0, 1], [2, 0]].mean()
    assert output.loss == F.cross_entropy(output.logits, labels)
    torch.testing.assert_close(output.loss, by_hand)


@every_head
def test_a_head_gives_what_was_asked_for(make):
    model = make()
    pixel_values, labels = pixels(), labels_for(model)
    with torch.no_grad():
        bare = model(pixel_values)
        full = model(pixel_values, labels=labels, output_hidden_states=True)
        loss, logits = model(pixel_values, labels=labels, return_dict=False)
    assert bare.loss is None
    assert bare.hidden_states is None
    assert len(full.hidden_states) == 1 + 4
    assert torch.equal(logits, full.logits)
    assert loss == full.loss
    assert loss.shape == ()


@both_encoders
@every_head
def test_samples_of_a_batch_do_not_see_each_other(make, encoder):
    model, pixel_values = make(encoder), pixels(3)
    with torch.no_grad():
        together = model(pixel_values).logits
        alone = torch.cat([model(one[None]).logits for one in pixel_values])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


# Learning


@both_encoders
@every_head
def test_every_trainable_parameter_gets_a_gradient_and_moves(make, encoder):
    model = make(encoder).train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, eps=1e-12)
    model(pixels(4), labels=labels_for(model, 4)).loss.backward()
    optimizer.step()

    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]
    still = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    # A key's bias shifts all scores of a query alike, so the softmax ignores it: its gradient is zero but for rounding.
    assert not [name for name in still if not name.endswith("k_proj.bias")]


@every_head
def test_gradient_checkpointing_gives_the_same_gradients(make):
    model = make().train()
    pixel_values, labels = pixels(), labels_for(model)

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        model(pixel_values, labels=labels).loss.backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    plain = gradients()
    model.activation_checkpointing_enable()
    assert all(layer.gradient_checkpointing for layer in model.backbone.layers)
    for one, other in zip(plain, gradients(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


# Saving, loading, number formats


@pytest.mark.parametrize("dtype", DTYPES)
@both_encoders
@every_head
def test_save_and_load_is_bit_identical(tmp_path, make, encoder, dtype):
    model = make(encoder).to(dtype)
    model.save_pretrained(tmp_path)
    again = AUTO[type(model)].from_pretrained(tmp_path).eval()

    assert type(again) is type(model)
    assert again.dtype == dtype
    assert again.config.id2label == model.config.id2label
    mine, theirs = model.state_dict(), again.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(theirs[name], value) for name, value in mine.items())
    assert any("running_var" in name for name in mine) == (encoder == "unet")
    buffers = dict(again.named_buffers())
    assert buffers.keys() == dict(model.named_buffers()).keys()
    assert all(torch.equal(buffers[name], value) for name, value in model.named_buffers())
    for parameter in again.parameters():  # numbers in a mapped file lie unaligned, and may be added in another order
        parameter.data = parameter.data.clone()
    pixel_values = pixels()
    with torch.no_grad():
        logits = model(pixel_values).logits
        assert logits.dtype == dtype
        assert torch.isfinite(logits).all()
        assert torch.equal(again(pixel_values).logits, logits)


@both_encoders
@every_head
def test_auto_model_opens_the_encoder_alone_out_of_any_head(tmp_path, make, encoder):
    model = make(encoder)
    model.save_pretrained(tmp_path)
    alone, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)

    assert type(alone) is CMRModel
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert {name.split(".")[0] for name in alone.state_dict()} == {"backbone"}
    pixel_values = pixels()
    with torch.no_grad():
        found = alone.eval()(pixel_values, output_hidden_states=True)
        expected = model.backbone(pixel_values, output_hidden_states=True)
        assert torch.equal(found.last_hidden_state, expected.last_hidden_state)
        assert torch.equal(alone.image_features(found), model.backbone.image_features(expected))


# One pass of the encoder for several heads


@both_encoders
def test_three_heads_on_one_shared_pass_answer_as_with_a_pass_each(encoder):
    heads = [make(encoder) for make in HEADS.values()]
    for head in heads[1:]:
        head.backbone.load_state_dict(heads[0].backbone.state_dict())
    pixel_values = pixels()
    passes = []
    for head in heads:
        head.backbone.register_forward_hook(lambda *args: passes.append(1))
    with torch.no_grad():
        each = [head(pixel_values).logits for head in heads]
        assert len(passes) == 3
        shared = heads[0].backbone(pixel_values, output_hidden_states=True)
        passes.clear()
        for head, expected in zip(heads, each, strict=True):
            assert torch.equal(head(pixel_values, encoder_outputs=shared).logits, expected)
        assert torch.equal(heads[0](encoder_outputs=shared).logits, each[0])  # which needs no pixels then
        assert not passes
        other = heads[0].backbone(pixels(), output_hidden_states=True)
        for head, expected in zip(heads, each, strict=True):
            assert not torch.equal(head(pixel_values, encoder_outputs=other).logits, expected)


@both_encoders
@every_head
def test_when_encoder_outputs_lack_hidden_states_then_the_head_raises(make, encoder):
    model, pixel_values = make(encoder), pixels(1)
    with pytest.raises(ValueError, match="lack hidden_states: run the encoder with output_hidden_states=True"):
        model(pixel_values, encoder_outputs=model.backbone(pixel_values))


def test_when_a_classifier_gets_neither_pixels_nor_encoder_outputs_then_it_raises():
    with pytest.raises(ValueError, match="give `pixel_values`, or `encoder_outputs`"):
        tiny_classifier()()


@pytest.mark.parametrize(("encoder", "side"), [("hybrid", 60), ("unet", 72)])
@every_head
def test_when_the_side_does_not_fit_the_encoder_then_the_head_raises(make, encoder, side):
    step = {"hybrid": 8, "unet": 32}[encoder]
    with pytest.raises(ValueError, match=rf"sides that {step} divides.*use CMRImageProcessor"):
        make(encoder)(pixels(1, side))
