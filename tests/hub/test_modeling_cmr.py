"""The encoder: transformers' ViT under our config, its published weights, sizes, stochastic depth, attention."""

import pytest
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModel, ViTConfig, ViTModel

from cmr_hf import CMRConfig, CMRForSemanticSegmentation, CMRViTConfig, CMRViTModel
from cmr_hf.hub.encoding_cmr import StochasticDepth
from tests.model_factory import tiny_config, tiny_encoder

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def keys_of(folder) -> list[str]:
    with safe_open(folder / "model.safetensors", "pt") as file:
        return list(file.keys())


def test_the_default_encoder_is_vit_s8_with_21_7_million_parameters():
    with torch.device("meta"):
        model = CMRViTModel(CMRViTConfig())

    assert sum(parameter.numel() for parameter in model.parameters()) == 21_670_272
    assert model.embeddings.position_embeddings.shape == (1, 28 * 28 + 1, 384)
    assert model.pooler is None


@pytest.mark.parametrize("old_names", [False, True])
def test_weights_of_a_published_vit_s8_give_equal_outputs(tmp_path, old_names):
    config = ViTConfig(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536, patch_size=8
    )
    published = ViTModel(config).eval()
    with torch.no_grad():
        for parameter in published.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))  # zero biases would hide a swapped key
    published.save_pretrained(tmp_path, save_original_format=old_names)
    assert any("encoder.layer.0.attention.attention.query.weight" in key for key in keys_of(tmp_path)) == old_names

    model, info = CMRViTModel.from_pretrained(tmp_path, output_loading_info=True)

    assert not info["missing_keys"]
    assert all(key.startswith("pooler.") for key in info["unexpected_keys"])
    pixel_values = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = published(pixel_values).last_hidden_state
        assert torch.equal(model(pixel_values).last_hidden_state, expected)


def test_when_the_size_is_not_the_configs_then_position_embeddings_are_interpolated():
    ours = CMRViTModel(tiny_encoder()).eval()
    theirs = ViTModel(ViTConfig(**tiny_encoder().to_dict()), add_pooling_layer=False).eval()
    theirs.load_state_dict(ours.state_dict())
    pixel_values = torch.randn(2, 3, 96, 160)

    with torch.no_grad():
        tokens = ours(pixel_values).last_hidden_state
        expected = theirs(pixel_values, interpolate_pos_encoding=True).last_hidden_state

    assert tokens.shape == (2, 1 + 12 * 20, 32)
    assert torch.equal(tokens, expected)


@pytest.mark.parametrize("shape", [(1, 3, 64, 60), (1, 3, 60, 64), (3, 64, 64)])
def test_when_the_patch_does_not_divide_the_size_then_the_encoder_raises(shape):
    with pytest.raises(ValueError, match=r"sides that 8 divides.*use CMRImageProcessor"):
        CMRViTModel(tiny_encoder())(torch.zeros(shape))


def test_when_the_channels_do_not_fit_then_the_encoder_raises():
    with pytest.raises(ValueError, match="Expected 3 but got 1"):
        CMRViTModel(tiny_encoder())(torch.zeros(1, 1, 64, 64))


def test_masked_patches_are_replaced_by_the_mask_token():
    model = CMRViTModel(tiny_encoder(), use_mask_token=True).eval()
    mask = torch.ones(1, 64, dtype=torch.bool)
    with torch.no_grad():
        one, other = (model(torch.randn(1, 3, 64, 64), bool_masked_pos=mask).last_hidden_state for _ in range(2))
    assert torch.equal(one, other)  # all patches are masked: nothing of the image is left


# Stochastic depth


def test_stochastic_depth_drops_whole_samples_and_preserves_the_mean():
    drop = StochasticDepth(0.25).train()
    out = drop(torch.ones(4000, 3, 5))

    per_sample = out.flatten(1)
    assert torch.equal(per_sample.amin(1), per_sample.amax(1))
    assert per_sample[:, 0].unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert out.mean() == pytest.approx(1.0, abs=0.05)
    assert (per_sample[:, 0] == 0).float().mean() == pytest.approx(0.25, abs=0.03)


def test_stochastic_depth_grows_linearly_and_is_off_in_eval():
    plain = CMRViTModel(tiny_encoder(num_hidden_layers=4)).eval()
    dropping = CMRViTModel(tiny_encoder(num_hidden_layers=4, drop_path_rate=0.6))
    dropping.load_state_dict(plain.state_dict())
    pixel_values = torch.randn(4, 3, 64, 64)

    assert [layer.dropout.rate for layer in dropping.layers] == pytest.approx([0.0, 0.2, 0.4, 0.6])
    with torch.no_grad():
        expected = plain(pixel_values).last_hidden_state
        assert torch.equal(dropping.eval()(pixel_values).last_hidden_state, expected)
        dropping.train()
        assert not torch.equal(dropping(pixel_values).last_hidden_state, expected)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_when_drop_path_rate_is_no_probability_then_the_config_raises(rate):
    with pytest.raises(ValueError, match="`drop_path_rate` must lie in"):
        tiny_encoder(drop_path_rate=rate)


def test_when_drop_path_and_dropout_are_both_set_then_the_encoder_raises():
    with pytest.raises(ValueError, match="exclude each other"):
        CMRViTModel(tiny_encoder(drop_path_rate=0.1, hidden_dropout_prob=0.1))


# Attention, saving, Auto classes


def test_sdpa_and_eager_attention_agree():
    model = CMRViTModel(tiny_encoder()).eval()
    pixel_values = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert model.config._attn_implementation == "sdpa"
        fast = model(pixel_values).last_hidden_state
        model.set_attn_implementation("eager")
        slow = model(pixel_values, output_attentions=True)
    assert slow.attentions[0].shape == (2, 2, 65, 65)
    torch.testing.assert_close(fast, slow.last_hidden_state, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_auto_model_opens_a_saved_encoder_bit_for_bit(tmp_path, dtype):
    model = CMRViTModel(tiny_encoder()).to(dtype).eval()
    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path)

    assert type(again) is CMRViTModel
    assert again.dtype == dtype
    assert all(torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items())
    pixel_values = torch.randn(1, 3, 64, 64, dtype=dtype)
    with torch.no_grad():
        assert torch.equal(again(pixel_values).last_hidden_state, model(pixel_values).last_hidden_state)


def test_a_saved_encoder_carries_its_own_names_even_when_it_came_from_older_ones(tmp_path):
    ViTModel(ViTConfig(**tiny_encoder().to_dict())).save_pretrained(tmp_path / "published")
    assert any(key.startswith("encoder.layer.") for key in keys_of(tmp_path / "published"))
    model = CMRViTModel.from_pretrained(tmp_path / "published")
    model.save_pretrained(tmp_path / "own")
    assert set(keys_of(tmp_path / "own")) == set(model.state_dict())


# Configurations


def test_configs_survive_a_round_trip(tmp_path):
    config = tiny_config("unetr", encoder={"drop_path_rate": 0.05}, cross_entropy_weight=0.5, ignore_index=9)
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)

    assert type(again) is CMRConfig
    assert type(again.backbone_config) is CMRViTConfig
    first, second = config.to_dict(), again.to_dict()
    assert first | {"_name_or_path": ""} == second | {"_name_or_path": ""}
    assert again.backbone_config.drop_path_rate == 0.05
    assert again.id2label == {0: "background", 1: "LV cavity", 2: "myocardium", 3: "RV"}


@pytest.mark.parametrize("as_dict", [False, True])
def test_the_config_of_a_published_vit_is_taken_as_an_encoder(as_dict):
    published = ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, patch_size=8, image_size=64)
    config = CMRConfig(backbone_config=published.to_dict() if as_dict else published)
    assert type(config.backbone_config) is CMRViTConfig
    assert config.backbone_config.hidden_size == 32
    assert CMRForSemanticSegmentation(config).backbone.config.drop_path_rate == 0.0


@pytest.mark.parametrize("as_dict", [False, True])
def test_when_the_encoder_is_of_another_kind_then_the_config_raises(as_dict):
    other = AutoConfig.for_model("bert")
    with pytest.raises(ValueError, match=r"model_type 'bert'; the encoders are \['cmr_vit', 'resnet', 'vit'\]"):
        CMRConfig(backbone_config=other.to_dict() if as_dict else other)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"decoder_type": "unet"}, "`decoder_type` must be .* got 'unet' over cmr_vit"),
        ({"decoder_type": "hybrid", "backbone_config": {"model_type": "resnet"}}, "unet over a ResNet"),
        ({"decoder_channels": (4, 8, 16)}, "`decoder_channels` of hybrid needs 4 positive numbers"),
        ({"decoder_channels": (4, 8, 0, 16)}, "needs 4 positive numbers"),
        ({"landmark_sigma": 0.0}, "`landmark_sigma` must be a positive number"),
    ],
)
def test_when_a_decoder_field_is_wrong_then_the_config_raises(fields, says):
    with pytest.raises(ValueError, match=says):
        CMRConfig(**fields)


def test_a_square_pair_counts_as_one_patch_size_and_another_pair_raises():
    assert tiny_encoder(patch_size=[8, 8]).patch_size == 8
    with pytest.raises(ValueError, match="`patch_size` must be square"):
        tiny_encoder(patch_size=(8, 16))


def test_the_installed_config_drops_custom_pipelines():
    # With the entry transformers would ask for remote code although the pipeline is installed.
    config = CMRConfig(**tiny_config().to_dict(), custom_pipelines={"cmr-segmentation": {"impl": "x.Y"}})
    assert "custom_pipelines" not in config.to_dict()
    assert not hasattr(config, "custom_pipelines")
