"""Weights in one file or in several are the same weights."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModel, pipeline

from cmr_hf.publishing import export
from cmr_hf.publishing.weight_files import count_parameters, same_weights, stored, stored_dtype
from tests.model_factory import tiny_processor, tiny_segmenter

LIMIT = 60_000


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return tiny_segmenter()


def names(folder):
    return sorted(path.name for path in folder.iterdir() if "safetensors" in path.name)


def test_parts_are_no_larger_than_asked_and_the_index_names_them(model, tmp_path):
    folder = export(model, tmp_path / "out", image_processor=tiny_processor(), max_shard_size=LIMIT)
    found = names(folder)
    parts = [name for name in found if name.endswith(".safetensors")]
    assert found == [*parts, "model.safetensors.index.json"]
    assert len(parts) > 3
    assert parts[0] == f"model-00001-of-{len(parts):05d}.safetensors"
    tensors = {name: tensor.nbytes for name, tensor in model.state_dict().items()}
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(tensors)
    assert set(index["weight_map"].values()) == set(parts)
    for part in parts:
        inside = [tensors[name] for name, where in index["weight_map"].items() if where == part]
        assert sum(inside) <= LIMIT or len(inside) == 1


def test_a_model_in_parts_answers_as_in_one_piece(model, tmp_path):
    whole = export(model, tmp_path / "whole", image_processor=tiny_processor())
    parts = export(model, tmp_path / "parts", image_processor=tiny_processor(), max_shard_size="60KB")
    assert names(whole) == ["model.safetensors"]
    picture = np.random.default_rng(0).random((2, 50, 44), dtype=np.float32)
    first, second = (
        pipeline("cmr-segmentation", model=str(one))(picture, spacing_mm=(2.0, 2.0)) for one in (whole, parts)
    )
    assert np.array_equal(first["segmentation"], second["segmentation"])
    encoder = AutoModel.from_pretrained(parts)
    assert torch.equal(encoder.backbone.layernorm.weight, model.backbone.layernorm.weight)


def test_when_exported_over_the_other_form_then_the_former_files_go(model, tmp_path):
    folder = export(model, tmp_path / "out", image_processor=tiny_processor(), max_shard_size=LIMIT)
    export(model, folder, image_processor=tiny_processor())
    assert names(folder) == ["model.safetensors"]
    export(model, folder, image_processor=tiny_processor(), max_shard_size=LIMIT)
    assert "model.safetensors" not in names(folder)


def test_what_lies_beside_weights_in_parts_comes_along(model, tmp_path):
    first = export(model, tmp_path / "first", image_processor=tiny_processor(), max_shard_size=LIMIT)
    (first / "results.json").write_text("{}")
    (first / "LICENSE").write_text("MIT License")
    second = export(pipeline("cmr-segmentation", model=str(first)), tmp_path / "second")
    assert (second / "results.json").is_file()
    assert names(second) == ["model.safetensors"]


@pytest.mark.parametrize("size", [0, -5, "much", ""])
def test_when_the_size_is_none_then_nothing_is_written(model, size, tmp_path):
    with pytest.raises(ValueError, match="`max_shard_size` needs a size above zero"):
        export(model, tmp_path / "out", image_processor=tiny_processor(), max_shard_size=size)
    assert not list(tmp_path.iterdir())


def test_what_the_files_say_about_the_weights(model, tmp_path):
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    options = {"image_processor": tiny_processor(), "dtype": torch.float16, "max_shard_size": LIMIT}
    folder = export(model, tmp_path / "out", **options)
    assert stored_dtype(folder) is torch.float16
    assert count_parameters(folder) == sum(tensor.numel() for tensor in state.values())
    assert same_weights(state, folder)
    first = next(name for name, tensor in stored(folder) if tensor.is_floating_point())
    assert not same_weights(state | {first: state[first] + 1}, folder)
    assert not same_weights({name: tensor for name, tensor in state.items() if name != first}, folder)
    assert not same_weights(state | {"more": torch.zeros(1)}, folder)
    assert not same_weights(state, tmp_path)
