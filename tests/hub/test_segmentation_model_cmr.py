"""CMRForSemanticSegmentation: shapes, gradients, saving, errors, shared encoder passes."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoImageProcessor, AutoModelForSemanticSegmentation

from cmr_hf import CMRConfig, CMRForSemanticSegmentation, CMRImageProcessor
from cmr_hf.hub.decoding_cmr import segmentation_loss
from tests.model_factory import tiny_config, tiny_segmenter

ARMS = [(decoder, patch) for decoder in ("unetr", "hybrid") for patch in (8, 16)]


def batch(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(2, 3, 64, 64, dtype=dtype), "labels": torch.randint(0, 4, (2, 64, 64))}


@pytest.mark.parametrize(("decoder", "patch"), ARMS)
def test_logits_have_the_size_of_the_input(decoder, patch):
    model = tiny_segmenter(decoder, encoder={"patch_size": patch})
    with torch.no_grad():
        assert model(torch.randn(2, 3, 64, 96)).logits.shape == (2, 4, 64, 96)


@pytest.mark.parametrize(("decoder", "patch"), ARMS)
def test_every_trainable_parameter_gets_a_gradient_and_moves(decoder, patch):
    model = tiny_segmenter(decoder, encoder={"patch_size": patch}, cross_entropy_weight=0.5).train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, eps=1e-12)
    model(**batch()).loss.backward()
    optimizer.step()

    still = {name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])}
    # A key's bias shifts all scores of a query alike, so the softmax ignores it: its gradient is zero but for rounding.
    assert not {name for name in still if not name.endswith("k_proj.bias")}
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


def test_a_new_decoder_starts_as_convolutions_do_and_the_encoder_as_transformers_do():
    torch.manual_seed(0)
    model = CMRForSemanticSegmentation(tiny_config())
    convolutions = [one for one in model.decoder.modules() if isinstance(one, torch.nn.Conv2d)]
    for one in convolutions:
        expected = (2 / one.weight[0].numel()) ** 0.5  # He et al. 2015, all but a ReLU
        assert one.weight.std().item() == pytest.approx(expected, rel=0.5)
    assert model.backbone.embeddings.patch_embeddings.projection.weight.std().item() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize("decoder", ["unetr", "hybrid"])
def test_the_image_reaches_every_pixel_and_the_transformer_reaches_the_logits(decoder):
    model = tiny_segmenter(decoder)
    pixel_values = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        logits = model(pixel_values).logits
        for parameter in model.backbone.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        assert not torch.allclose(model(pixel_values).logits, logits, atol=1e-4)


def test_samples_of_a_batch_do_not_see_each_other():
    model = tiny_segmenter()
    pixel_values = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        together = model(pixel_values).logits
        alone = torch.cat([model(one[None]).logits for one in pixel_values])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_gradient_checkpointing_gives_the_same_gradients(rate):
    model = tiny_segmenter("unetr", encoder={"drop_path_rate": rate}).train()
    data = batch()

    def gradients() -> list[torch.Tensor]:
        torch.manual_seed(7)
        model.zero_grad()
        model(**data).loss.backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    plain = gradients()
    model.activation_checkpointing_enable()
    assert all(layer.gradient_checkpointing for layer in model.backbone.layers)
    for one, other in zip(plain, gradients(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("decoder", ["unetr", "hybrid"])
def test_save_and_load_is_bit_identical(tmp_path, decoder, dtype):
    model = tiny_segmenter(decoder).to(dtype)
    model.save_pretrained(tmp_path)
    again = CMRForSemanticSegmentation.from_pretrained(tmp_path).eval()

    assert again.dtype == dtype
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items())
    buffers = dict(again.named_buffers())
    assert buffers.keys() == dict(model.named_buffers()).keys()
    assert all(torch.equal(buffers[name], value) for name, value in model.named_buffers())
    pixel_values = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        logits = model(pixel_values).logits
        assert torch.isfinite(logits).all()
        assert torch.equal(again(pixel_values).logits, logits)


@pytest.mark.parametrize("came_from_a_file", [False, True])
def test_saved_weights_load_into_the_bare_module_without_renaming(tmp_path, came_from_a_file):
    # transformers' Trainer (resuming, best model) and Hub code without our registration load by plain names.
    model = tiny_segmenter()
    if came_from_a_file:
        model.save_pretrained(tmp_path / "first", save_original_format=True)
        model = CMRForSemanticSegmentation.from_pretrained(tmp_path / "first")
    model.save_pretrained(tmp_path)
    fresh = CMRForSemanticSegmentation(tiny_config())
    fresh.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=True)


def test_auto_classes_open_a_saved_folder(tmp_path):
    tiny_segmenter("unetr").save_pretrained(tmp_path)
    CMRImageProcessor(size=64).save_pretrained(tmp_path)

    assert type(AutoConfig.from_pretrained(tmp_path)) is CMRConfig
    model = AutoModelForSemanticSegmentation.from_pretrained(tmp_path)
    assert type(model) is CMRForSemanticSegmentation
    assert model.config.id2label[3] == "RV"
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(processor) is CMRImageProcessor
    assert processor.size == 64


@pytest.mark.parametrize("decoder", ["unetr", "hybrid"])
def test_precomputed_encoder_outputs_give_equal_logits(decoder):
    model = tiny_segmenter(decoder)
    pixel_values = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = model.backbone(pixel_values, output_hidden_states=True)
        shared = model(pixel_values, encoder_outputs=features).logits
        assert torch.equal(shared, model(pixel_values).logits)
        other = model.backbone(torch.randn(2, 3, 64, 64), output_hidden_states=True)
        assert not torch.equal(model(pixel_values, encoder_outputs=other).logits, shared)


def test_when_encoder_outputs_lack_hidden_states_then_the_model_raises():
    model = tiny_segmenter()
    pixel_values = torch.randn(1, 3, 64, 64)
    with pytest.raises(ValueError, match="lack hidden_states: run the encoder with output_hidden_states=True"):
        model(pixel_values, encoder_outputs=model.backbone(pixel_values))


def test_outputs_hold_what_was_asked_for():
    model = tiny_segmenter()
    data = batch()
    with torch.no_grad():
        bare = model(data["pixel_values"])
        full = model(**data, output_hidden_states=True)
        loss, logits = model(**data, return_dict=False)
    assert bare.loss is None
    assert bare.hidden_states is None
    assert len(full.hidden_states) == 1 + 4
    assert torch.equal(logits, full.logits)
    assert loss == full.loss == segmentation_loss(full.logits, data["labels"], model.config)


def test_inputs_are_cast_to_the_dtype_of_the_weights():
    model = tiny_segmenter().to(torch.bfloat16)
    with torch.no_grad():
        assert model(torch.randn(1, 3, 64, 64, dtype=torch.float64)).logits.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (torch.zeros(2, 32, 32, dtype=torch.long), r"`labels` must be \(batch, height, width\)"),
        (torch.zeros(2, 1, 64, 64, dtype=torch.long), r"`labels` must be \(batch, height, width\)"),
        (torch.full((2, 64, 64), 4), "class 4 or below 0, the model knows 0…3"),
        (torch.full((2, 64, 64), -1), "the model knows 0…3"),
    ],
)
def test_when_labels_do_not_fit_then_the_model_raises(labels, says):
    with pytest.raises(ValueError, match=says):
        tiny_segmenter()(torch.zeros(2, 3, 64, 64), labels=labels)


@pytest.mark.parametrize("decoder", ["unetr", "hybrid"])
def test_when_the_patch_is_not_8_or_16_then_the_model_raises(decoder):
    with pytest.raises(ValueError, match="`patch_size` 8 or 16, got 32"):
        tiny_segmenter(decoder, encoder={"patch_size": 32})


def test_when_there_is_one_label_then_the_model_raises():
    with pytest.raises(ValueError, match="two labels or more"):
        CMRForSemanticSegmentation(CMRConfig(backbone_config=tiny_config().backbone_config, num_labels=1))
