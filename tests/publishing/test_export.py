"""What an export writes, refuses and leaves alone; a tiny random model, no subprocess."""

import json
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoModelForSemanticSegmentation, pipeline

import cmr_hf
from cmr_hf.publishing import export, save_embedded
from tests.publishing.closure import closure

LABELS = {0: "background", 1: "Ventrikelhöhle", 2: "scar"}
WRITTEN = {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"} | closure(
    "configuration_cmr",
    "modeling_cmr",
    "image_processing_cmr",
    "pipeline_cmr_segmentation",
    "pipeline_cmr_feature_extraction",
)


@pytest.fixture
def model() -> cmr_hf.CMRForSemanticSegmentation:
    """A user's own model: other sizes, other labels."""
    backbone = {
        "model_type": "cmr_vit",
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "patch_size": 16,
        "image_size": 32,
    }
    config = cmr_hf.CMRConfig(
        backbone_config=backbone,
        decoder_channels=[4, 4, 8, 8],
        id2label=LABELS,
        label2id={name: index for index, name in LABELS.items()},
    )
    return cmr_hf.CMRForSemanticSegmentation(config).eval()


@pytest.fixture
def processor() -> cmr_hf.CMRImageProcessor:
    return cmr_hf.CMRImageProcessor(size=32, spacing_mm=2.0, percentile=99.0)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).random((2, 40, 36), dtype=np.float32)


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_when_a_users_model_is_exported_then_its_folder_opens_as_the_same_model(model, processor, image, tmp_path):
    folder = export(model, tmp_path / "scar-model", image_processor=processor)
    assert folder == tmp_path / "scar-model"
    mine = cmr_hf.CMRSegmentationPipeline(model=model, image_processor=processor)(image, spacing_mm=(2.0, 2.0))
    theirs = pipeline("cmr-segmentation", model=folder)(image, spacing_mm=(2.0, 2.0))
    assert theirs["labels"] == LABELS
    assert np.array_equal(theirs["segmentation"], mine["segmentation"])
    assert theirs["scores"] == mine["scores"]


def test_then_the_folder_holds_these_files_and_no_others(model, processor, tmp_path):
    folder = export(model, tmp_path / "out", image_processor=processor)
    assert names_in(folder) == WRITTEN
    assert names_in(tmp_path) == {"out"}, "the staging folder stays behind"
    (tmp_path / "plain").write_text("a file with the usual permissions")
    assert {path.stat().st_mode for path in folder.iterdir()} == {(tmp_path / "plain").stat().st_mode}


def test_then_all_that_the_code_imports_from_beside_it_is_there(model, processor, tmp_path):
    folder = export(model, tmp_path / "out", image_processor=processor)
    for file in folder.glob("*.py"):
        for sibling in re.findall(r"^\s*from\s+\.(\S+)\s+import", file.read_text(encoding="utf-8"), re.MULTILINE):
            assert (folder / f"{sibling}.py").is_file(), f"{file.name} imports {sibling}"


def test_then_config_tells_transformers_where_everything_is(model, processor, tmp_path):
    folder = export(model, tmp_path / "out", image_processor=processor)
    config = config_of(folder)
    assert config["model_type"] == "cmr"
    assert config["architectures"] == ["CMRForSemanticSegmentation"]
    assert config["cmr_hf_version"] == cmr_hf.__version__
    assert config["id2label"] == {str(index): name for index, name in LABELS.items()}
    assert set(config["auto_map"]) == {"AutoConfig", "AutoModel", "AutoModelForSemanticSegmentation"}
    assert {task: entry["pt"] for task, entry in config["custom_pipelines"].items()} == {
        "cmr-segmentation": ["AutoModelForSemanticSegmentation"],
        "cmr-feature-extraction": ["AutoModel"],
    }
    saved = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    assert saved["auto_map"] == {"AutoImageProcessor": "image_processing_cmr.CMRImageProcessor"}
    assert saved["percentile"] == 99.0
    for reference in [*config["auto_map"].values(), *saved["auto_map"].values()]:
        module, name = reference.split(".")
        assert f"class {name}(" in (folder / f"{module}.py").read_text(encoding="utf-8")


def test_then_config_carries_no_noise_of_the_backbone(model, processor, tmp_path):
    backbone = config_of(export(model, tmp_path / "out", image_processor=processor))["backbone_config"]
    assert backbone["hidden_size"] == 16
    assert not {"_name_or_path", "architectures", "dtype", "id2label", "return_dict"} & set(backbone)


def test_then_no_path_of_this_machine_is_written(model, processor, tmp_path):
    model.config._name_or_path = str(tmp_path / "secret")
    model.config.backbone_config._name_or_path = str(tmp_path / "secret")
    first = export(model, tmp_path / "first", image_processor=processor)
    second = export(pipeline("cmr-segmentation", model=str(first)), tmp_path / "second")
    third = save_embedded(model, processor, tmp_path / "third")
    for file in [*first.iterdir(), *second.iterdir(), *third.iterdir()]:
        content = file.read_bytes()
        assert str(tmp_path).encode() not in content, file
        assert str(Path.home()).encode() + b"/" not in content, file


def test_then_the_model_in_memory_is_as_before(model, processor, tmp_path):
    before = model.config.to_dict()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export(model, tmp_path / "out", image_processor=processor, dtype=torch.float16)
    assert model.config.to_dict() == before
    assert model.dtype == torch.float32
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_when_halves_are_stored_then_they_are_computed_in_float32(model, processor, tmp_path, dtype):
    folder = export(model, tmp_path / "out", image_processor=processor, dtype=dtype)
    stored = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {dtype}
    assert config_of(folder)["dtype"] == "float32"
    loaded = AutoModelForSemanticSegmentation.from_pretrained(folder, dtype="auto")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert pipeline("cmr-segmentation", model=str(folder)).model.dtype == torch.float32
    assert all(torch.equal(tensor, stored[name].float()) for name, tensor in loaded.state_dict().items())
    asked = AutoModelForSemanticSegmentation.from_pretrained(folder, dtype=dtype)
    assert asked.dtype == dtype


def test_when_the_model_is_in_halves_then_it_is_exported_as_it_is(model, processor, tmp_path):
    folder = export(model.half(), tmp_path / "out", image_processor=processor)
    assert load_file(folder / "model.safetensors")["backbone.layernorm.weight"].dtype == torch.float16
    assert config_of(folder)["dtype"] == "float32"


def test_when_the_folder_is_a_file_then_it_is_refused(model, processor, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ValueError, match="must be a folder"):
        export(model, tmp_path / "out", image_processor=processor)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize(
    "content", [{"notes.txt": "mine"}, {"config.json": '{"model_type": "cmr"}'}, {"config.json": "["}]
)
def test_when_the_folder_holds_something_else_then_it_is_refused_and_untouched(model, processor, tmp_path, content):
    folder = tmp_path / "out"
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text)
    with pytest.raises(ValueError, match="must be empty or hold an earlier export"):
        export(model, folder, image_processor=processor)
    assert {path.name: path.read_text() for path in folder.iterdir()} == content


def test_when_the_folder_is_empty_then_it_is_filled(model, processor, tmp_path):
    (tmp_path / "out").mkdir()
    assert names_in(export(model, tmp_path / "out", image_processor=processor)) == WRITTEN


@pytest.mark.parametrize("earlier", [False, True], ids=["new folder", "earlier export"])
def test_when_an_export_fails_then_nothing_half_done_is_left(model, processor, tmp_path, monkeypatch, earlier):
    folder = tmp_path / "deep" / "out"
    if earlier:
        export(model, folder, image_processor=processor)
    before = {path.name: path.read_bytes() for path in folder.glob("*")}

    def full_disk(*args):
        raise OSError("no space left")

    # by import_module: as an attribute, `publishing.export` is the function
    monkeypatch.setattr(import_module("cmr_hf.publishing.export"), "_accompany", full_disk)
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    with pytest.raises(OSError, match="no space"):
        export(model, folder, image_processor=processor)
    assert {path.name: path.read_bytes() for path in folder.glob("*")} == before
    assert names_in(tmp_path / "deep") == ({"out"} if earlier else set())


def test_when_exported_again_then_weights_and_code_are_new_and_the_users_files_stay(model, processor, tmp_path):
    folder = export(model, tmp_path / "out", image_processor=processor)
    (folder / "README.md").write_text("# my words")
    (folder / "LICENSE").write_text("my licence")
    (folder / "figure.png").write_text("mine")
    (folder / "results.json").write_text("{}")
    (folder / "former_cmr.py").write_text("old code")
    (folder / "modeling_cmr.py").write_text("old code")
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    export(model, folder, image_processor=processor)
    assert names_in(folder) == WRITTEN | {"LICENSE", "figure.png"}
    assert (folder / "README.md").read_text() == "# my words"
    assert "old code" not in (folder / "modeling_cmr.py").read_text(encoding="utf-8")
    stored = load_file(folder / "model.safetensors")
    assert all(torch.equal(tensor, stored[name]) for name, tensor in model.state_dict().items())


def test_when_a_folder_is_opened_and_exported_onto_itself_then_it_is_the_same(model, processor, tmp_path):
    folder = export(model, tmp_path / "out", image_processor=processor)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    export(pipeline("cmr-segmentation", model=str(folder)), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.fixture
def trained(model, processor, tmp_path) -> Path:
    """A model folder as training leaves it, with all that may lie beside the weights."""
    folder = save_embedded(model, processor, tmp_path / "trained")
    for name in ("LICENSE", "ATTRIBUTION.md", "README.md", "results.json", "training.json"):
        (folder / name).write_text(f"CC BY-NC-SA 4.0: {name}")
    return folder


def test_when_loaded_from_a_folder_then_licence_results_and_readme_come_along(trained, tmp_path):
    folder = export(pipeline("cmr-segmentation", model=str(trained)), tmp_path / "out")
    assert names_in(folder) == WRITTEN | {"LICENSE", "ATTRIBUTION.md", "results.json"}
    for name in ("LICENSE", "ATTRIBUTION.md", "README.md", "results.json"):
        assert (folder / name).read_bytes() == (trained / name).read_bytes()


def test_when_only_the_model_is_given_then_its_processor_is_found_beside_the_weights(trained, tmp_path):
    model = cmr_hf.CMRForSemanticSegmentation.from_pretrained(trained)
    folder = export(model, tmp_path / "out")
    assert json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))["percentile"] == 99.0


def test_when_the_weights_changed_since_then_their_results_stay_behind_but_the_licence_binds(trained, tmp_path):
    model = cmr_hf.CMRForSemanticSegmentation.from_pretrained(trained)
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    folder = export(model, tmp_path / "out")
    assert names_in(folder) == WRITTEN | {"LICENSE", "ATTRIBUTION.md"}
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "cc-by-nc-sa-4.0"


def test_when_nothing_describes_the_model_then_a_minimal_card_does(model, processor, tmp_path):
    card = ModelCard.load(export(model, tmp_path / "scar-model", image_processor=processor) / "README.md")
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "image-segmentation"
    assert card.data.license == "unknown"
    assert "Research use only" in card.text
    assert "# scar-model" in card.text
    assert all(name in card.text for name in LABELS.values())


def test_when_the_config_names_the_licence_of_the_weights_then_the_card_does_too(model, processor, tmp_path):
    model.config.weights_license = "cc-by-nc-sa-4.0"
    folder = export(model, tmp_path / "out", image_processor=processor)
    assert config_of(folder)["weights_license"] == "cc-by-nc-sa-4.0"
    assert ModelCard.load(folder / "README.md").data.license == "cc-by-nc-sa-4.0"


def test_when_a_model_has_no_processor_then_the_error_says_what_to_pass(model, tmp_path):
    with pytest.raises(ValueError, match="pass image_processor="):
        export(model, tmp_path / "out")
    assert not names_in(tmp_path)


def test_when_weights_are_nan_or_too_large_for_halves_then_nothing_is_written(model, processor, tmp_path):
    with torch.no_grad():
        model.backbone.layernorm.bias[0] = 1e6
    with pytest.raises(ValueError, match=r"backbone\.layernorm\.bias .* infinite as torch\.float16"):
        export(model, tmp_path / "out", image_processor=processor, dtype=torch.float16)
    with torch.no_grad():
        model.backbone.layernorm.bias[0] = torch.nan
    with pytest.raises(ValueError, match=r"backbone\.layernorm\.bias"):
        export(model, tmp_path / "out", image_processor=processor)
    assert not names_in(tmp_path)


def test_when_the_thing_is_not_ours_then_the_error_names_it(processor, tmp_path):
    with pytest.raises(ValueError, match="got Linear"):
        export(torch.nn.Linear(2, 2), tmp_path / "out", image_processor=processor)


def test_when_the_dtype_is_no_number_format_then_it_is_refused(model, processor, tmp_path):
    with pytest.raises(ValueError, match="`dtype` must be one of"):
        export(model, tmp_path / "out", image_processor=processor, dtype=torch.int8)


def test_when_embedded_then_there_is_no_code_and_the_outputs_agree(model, processor, image, tmp_path):
    folder = save_embedded(model, processor, tmp_path / "cine", dtype=None)
    assert names_in(folder) == {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert not {"auto_map", "custom_pipelines", "cmr_hf_version"} & set(config_of(folder))
    mine = cmr_hf.CMRSegmentationPipeline(model=model, image_processor=processor)(image, spacing_mm=(2.0, 2.0))
    theirs = pipeline("cmr-segmentation", model=folder)(image, spacing_mm=(2.0, 2.0))
    assert np.array_equal(theirs["segmentation"], mine["segmentation"])


def test_when_embedded_again_then_its_other_files_stay(model, processor, trained):
    save_embedded(model, processor, trained)
    assert (trained / "results.json").is_file()
    assert load_file(trained / "model.safetensors")["backbone.layernorm.weight"].dtype == torch.float16
    assert config_of(trained)["dtype"] == "float32"


def test_when_an_export_would_be_embedded_over_then_it_is_refused(model, processor, tmp_path):
    folder = export(model, tmp_path / "out", image_processor=processor)
    with pytest.raises(ValueError, match="hold an embedded model"):
        save_embedded(model, processor, folder)
