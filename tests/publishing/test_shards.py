"""Weights in one file or in several are the same weights."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModel, pipeline

from cmr_hf import CMRForSemanticSegmentation, CMRImageProcessor
from cmr_hf.publishing import export, save_embedded, write_part
from cmr_hf.publishing.weight_files import OWN, count_parameters, same_weights, stored, stored_dtype, weight_files
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


@pytest.fixture
def encoder_file(model, tmp_path):
    file = tmp_path / "shared" / "backbone.safetensors"
    file.parent.mkdir()
    halves = {name: tensor.half() for name, tensor in model.state_dict().items() if name.startswith("backbone.")}
    write_part(file, halves)
    return file


def test_models_that_share_an_encoder_open_and_answer_as_with_a_copy_of_their_own(model, encoder_file, tmp_path):
    alone = save_embedded(model, tiny_processor(), tmp_path / "alone")
    sharing = save_embedded(model, tiny_processor(), tmp_path / "sharing", shared=[encoder_file])
    assert names(sharing) == [OWN, "model.safetensors.index.json"]
    assert weight_files(sharing) == sorted([sharing / OWN, encoder_file.resolve()])
    assert (sharing / OWN).stat().st_size < (alone / "model.safetensors").stat().st_size
    opened = CMRForSemanticSegmentation.from_pretrained(sharing)
    assert same_weights(dict(opened.state_dict()), alone)
    assert count_parameters(sharing) == count_parameters(alone)
    assert stored_dtype(sharing) is torch.float16
    image = np.random.default_rng(0).random((50, 44), dtype=np.float32)
    answers = [pipeline("cmr-segmentation", model=str(one))(image, spacing_mm=(2, 2)) for one in (alone, sharing)]
    np.testing.assert_array_equal(*(answer["segmentation"] for answer in answers))


def test_an_export_of_a_model_that_shares_is_whole(model, encoder_file, tmp_path):
    sharing = save_embedded(model, tiny_processor(), tmp_path / "sharing", shared=[encoder_file])
    opened = CMRForSemanticSegmentation.from_pretrained(sharing)
    out = export(opened, tmp_path / "out", image_processor=CMRImageProcessor.from_pretrained(sharing))
    assert names(out) == ["model.safetensors"]
    assert count_parameters(out) == count_parameters(sharing)


def test_a_file_that_differs_in_one_number_is_not_shared(model, encoder_file, tmp_path):
    other = tiny_segmenter()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        other.backbone.layernorm.weight[0] += 1
    folder = save_embedded(other, tiny_processor(), tmp_path / "other", shared=[encoder_file])
    assert names(folder) == ["model.safetensors"]
    save_embedded(model, tiny_processor(), folder, shared=[encoder_file])  # and over it the form that shares
    assert names(folder) == [OWN, "model.safetensors.index.json"]
