"""The arms: which encoder under which head, with which weights, and what of it is trained."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from ..hub.configuration_cmr import CMRConfig
from ..hub.encoding_cmr import CMRResNetModel, CMRViTModel
from ..hub.modeling_cmr import (
    CMRForImageClassification,
    CMRForLandmarkDetection,
    CMRForSemanticSegmentation,
    CMRModel,
)
from .arguments import RecipeArguments
from .controls import PlainUNet

logger = logging.get_logger(__name__)

HEADS: dict[str, type[PreTrainedModel]] = {
    "classification": CMRForImageClassification,
    "detection": CMRForImageClassification,
    "segmentation": CMRForSemanticSegmentation,
    "landmarks": CMRForLandmarkDetection,
}
WITH_DECODER = (CMRForSemanticSegmentation, CMRForLandmarkDetection)
BACKBONE = "backbone"  # its folder within a release or a checkpoint of pretraining
OF_VIT = ("backbone_config", "decoder_type", "decoder_channels")  # what another encoder needs otherwise


class NotMeasuredError(Exception):
    """Weights on the Hub that cannot be reached: there is nothing to measure, which is not a failure of ours."""


def build_model(recipe: RecipeArguments) -> nn.Module:
    """Encoder and head of a recipe, in float32, with `init_from`'s weights as far as they fit.

    A model of the same encoder and head is taken whole, but for layers of another shape, and for the last one where
    the labels are others; so are, for one another, segmentation and landmarks, which share a decoder. Of any other,
    and of a bare ViT or ResNet, the encoder is taken, whose shape is then that of the weights.

    Raises:
        NotMeasuredError: `init_from` is a name on the Hub, which cannot be reached or does not have it.
        ValueError: `init_from` is a folder that does not exist, or of another kind of encoder than `arm`.
    """
    config = config_of(recipe)
    if recipe.arm == "unet":
        return PlainUNet(config)
    head = HEADS[recipe.kind]
    if not recipe.init_from:
        return settled(head(config), recipe)
    source, theirs = start_of(recipe.init_from)
    if (theirs_head := _fitting_head(theirs, head, config)) is not None:
        earlier = theirs_head.from_pretrained(source, dtype=torch.float32)
        model = head(CMRConfig.from_dict(config.to_dict()))
        if take_over(model, earlier):
            return settled(model, recipe)
    backbone = load_backbone(source, theirs, recipe)
    config.backbone_config = backbone.config
    model = head(CMRConfig.from_dict(config.to_dict()))
    model.backbone.load_state_dict(backbone.state_dict())
    return settled(model, recipe)


def start_of(init_from: str) -> tuple[str, PreTrainedConfig]:
    """Where `init_from` is and its configuration; cheap, so that what is missing is told before data are read.

    Raises:
        NotMeasuredError, ValueError: as `build_model`.
    """
    source = located(init_from)
    return source, _config_at(source)


def config_of(recipe: RecipeArguments) -> CMRConfig:
    """The model's configuration, as the recipe and its arm have it."""
    fields = dict(recipe.model)
    if recipe.arm == "resnet":
        fields = {name: value for name, value in fields.items() if name not in OF_VIT} | recipe.resnet_model
    labels = recipe.id2label
    if recipe.chosen is not None:
        fields["task"] = recipe.chosen.task
    return CMRConfig(**fields, id2label=labels, label2id={name: index for index, name in labels.items()})


def located(source: str) -> str:
    """A folder that exists (of a release, its backbone), or a name on the Hub.

    Raises:
        ValueError: a path that does not exist.
    """
    folder = Path(source).expanduser()
    if (folder / BACKBONE / "config.json").is_file():
        return str(folder / BACKBONE)
    if folder.is_dir():
        return str(folder)
    if source.startswith((".", "/", "~")) or source.count("/") != 1 or folder.parent.is_dir():
        raise ValueError(f"`init_from` needs a folder that exists or a name on the Hub, got {source!r}: check the path")
    return source


def _config_at(source: str) -> PreTrainedConfig:
    try:
        return AutoConfig.from_pretrained(source)
    except OSError as error:
        if Path(source).is_dir():
            raise ValueError(f"`init_from` needs a folder with config.json, {source} has none: {error}") from None
        raise NotMeasuredError(
            f"not measured: the weights {source} cannot be reached on the Hub from here; fetch them where it can be "
            "and give their folder as init_from=FOLDER, or start from random weights with init_from=null"
        ) from None


def _fitting_head(
    theirs: PreTrainedConfig, head: type[PreTrainedModel], config: CMRConfig
) -> type[PreTrainedModel] | None:
    """The class of a model whose weights, above the encoder too, are of use to `head`."""
    if theirs.model_type != "cmr" or theirs.backbone_config.model_type != config.backbone_config.model_type:
        return None
    architecture = (theirs.architectures or [None])[0]
    like = WITH_DECODER if head in WITH_DECODER else (head,)
    found = next((one for one in like if one.__name__ == architecture), None)
    return found if found is None or theirs.decoder_type == config.decoder_type else None


def take_over(model: nn.Module, earlier: nn.Module) -> bool:
    """Gives a model another one's weights as far as shapes agree, in place; the last layer's only for the same labels.

    Returns:
        `False`, and nothing is done, where the encoders differ in shape.
    """
    mine, theirs = model.state_dict(), earlier.state_dict()
    fitting = {name: value for name, value in theirs.items() if name in mine and mine[name].shape == value.shape}
    if any(name.startswith("backbone.") and name not in fitting for name in mine):
        return False
    own_layer = last_layer(model)
    fresh = {name: value.clone() for name, value in own_layer.state_dict().items()}
    model.load_state_dict(fitting, strict=False)
    if type(model) is not type(earlier) or model.config.id2label != earlier.config.id2label:
        own_layer.load_state_dict(fresh)
    return True


def last_layer(model: nn.Module) -> nn.Module:
    """The layer that gives a number for each label."""
    return model.classifier if hasattr(model, "classifier") else model.decoder.classifier


def load_backbone(source: str, theirs: PreTrainedConfig, recipe: RecipeArguments) -> PreTrainedModel:
    """The encoder alone, out of any folder that has one.

    Raises:
        ValueError: it is of another kind than the arm, or weights are missing.
    """
    of_model = theirs.model_type == "cmr"
    found = theirs.backbone_config.model_type if of_model else theirs.model_type
    wanted = ("resnet",) if recipe.arm == "resnet" else ("cmr_vit", "vit")
    if found not in wanted:
        raise ValueError(f"`init_from` of arm {recipe.arm} needs an encoder of {wanted}, {source} has {found}")
    fields: dict[str, Any] = {"dtype": torch.float32, "output_loading_info": True}
    if of_model:
        model, report = CMRModel.from_pretrained(source, **fields)
        backbone = model.backbone
    elif recipe.arm == "resnet":
        backbone, report = CMRResNetModel.from_pretrained(source, **fields)
    else:
        backbone, report = CMRViTModel.from_pretrained(source, add_pooling_layer=False, **fields)
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"`init_from` needs all weights of the encoder, {source} lacks {missing[:4]}")
    if recipe.arm == "vit":
        rate = float(dict(recipe.model.get("backbone_config") or {}).get("drop_path_rate", 0.0))
        if rate:
            config = copy.deepcopy(backbone.config)
            config.drop_path_rate = rate
            with_depth = CMRViTModel(config)
            with_depth.load_state_dict(backbone.state_dict())
            backbone = with_depth
    return backbone


def settled(model: PreTrainedModel, recipe: RecipeArguments) -> PreTrainedModel:
    """Freezes what the recipe does not train, and adds LoRA's matrices."""
    if recipe.attention and recipe.arm == "vit":
        model.set_attn_implementation(recipe.attention)
    if recipe.freeze == "encoder":
        model.backbone.requires_grad_(False)
    elif recipe.freeze:
        freeze_blocks(model.backbone, int(recipe.freeze))
    if recipe.trained_doublings is not None:
        freeze_decoder(model.decoder, recipe.trained_doublings)
    if recipe.lora:
        add_lora(model.backbone, recipe.lora)
    return model


def freeze_blocks(backbone: nn.Module, count: int) -> None:
    """Leaves the patch embedding and the first blocks of a ViT as they are, in place.

    Raises:
        ValueError: not so many blocks.
    """
    if count > len(backbone.layers):
        raise ValueError(f"`freeze` needs at most the {len(backbone.layers)} blocks of the encoder, got {count}")
    for part in (backbone.embeddings, *backbone.layers[:count]):
        part.requires_grad_(False)


def freeze_decoder(decoder: nn.Module, trained: int) -> None:
    """Leaves a ViT's decoder as it is but for its last doublings of size and its last layer, in place.

    Raises:
        ValueError: not so many doublings.
    """
    if trained > len(decoder.ups):
        raise ValueError(f"`trained_doublings` needs at most the {len(decoder.ups)} of the decoder, got {trained}")
    decoder.requires_grad_(False)
    for part in (*decoder.ups[len(decoder.ups) - trained :], decoder.classifier):
        part.requires_grad_(True)


def add_lora(backbone: nn.Module, settings: dict[str, Any]) -> None:
    """Freezes an encoder and adds trainable low-rank matrices to its attention, in place (Hu et al. 2021)."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError("`lora` needs peft: pip install 'cmr_hf[train]'") from error
    backbone.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(**({"target_modules": ["q_proj", "v_proj"], "r": 8} | settings)), backbone)


def merge_lora(model: nn.Module) -> None:
    """Adds LoRA's matrices into the weights they belong to, in place; afterwards the model is a plain one."""
    for name, module in list(model.named_modules()):
        if hasattr(module, "get_delta_weight") and hasattr(module, "merge"):
            module.merge()
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, module.get_base_layer())


def untrained(model: nn.Module) -> Iterator[nn.Module]:
    """The encoder, where none of it is trained: its batch norms and stochastic depth must rest too."""
    backbone = getattr(model, "backbone", None)
    if backbone is not None and not any(p.requires_grad for p in backbone.parameters()):
        yield backbone


def fingerprint(model: nn.Module) -> str | None:
    """SHA-256 of an encoder's weights, by which several heads are seen to stand on the same one."""
    backbone = getattr(model, "backbone", None)
    if backbone is None:
        return None
    digest = hashlib.sha256()
    for name, tensor in sorted(backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_not_measured(folder: str | Path, error: NotMeasuredError, values: dict[str, Any]) -> None:
    """Leaves the reason where the result would be."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    text = json.dumps({"not_measured": str(error), "recipe": values}, indent=1, default=str)
    (Path(folder) / "not_measured.json").write_text(text, encoding="utf-8")
