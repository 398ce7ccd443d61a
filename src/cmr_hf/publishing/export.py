"""Writes a model, its processor and the code they need into one folder, ready for the Hub.

    from cmr_hf.publishing import export

    export(pipeline("cmr-segmentation"), "cmr-cine-sax", dtype=torch.float16)

The folder opens by `pipeline("cmr-segmentation", model="cmr-cine-sax")` after `import cmr_hf`, and from a bare
transformers with `trust_remote_code=True`. `save_pretrained` cannot do this (it forgets the pipeline's code).
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from transformers import Pipeline, PreTrainedConfig, PreTrainedModel
from transformers.dynamic_module_utils import get_relative_import_files
from transformers.utils import logging

from .. import __version__
from ..hub import modeling_cmr
from ..hub.image_processing_cmr import CMRImageProcessor
from .card import is_generated, licence_of, minimal_card
from .weight_files import PATTERNS, same_weights, write_sharing, write_weights

logger = logging.get_logger(__name__)

HUB = Path(modeling_cmr.__file__).parent
STAMP = "cmr_hf_version"  # in config.json; tells an export from any other folder
STAGING = ".cmr_hf_export_"
STORED = (None, torch.float32, torch.float16, torch.bfloat16)

# Facts of one machine or one loading, not of the model
LEFT_OUT = ("_name_or_path", "_commit_hash", "auto_map", "custom_pipelines", STAMP)
LEFT_OUT_OF_BACKBONE = (*LEFT_OUT, "architectures", "dtype", "transformers_version")

LEGAL = ("LICENSE*", "LICENCE*", "ATTRIBUTION*", "NOTICE*")
# of an earlier export, untrue once the weights change
STALE = ("results.json", "*_cmr.py", "pipeline_cmr_*.py", *PATTERNS)


@dataclass(frozen=True)
class Task:
    """A pipeline of the package: where the hub room has it, and the Hub's own name of such a task."""

    pipeline: str  # module.Class in the hub room
    tag: str


TASKS = {
    "cmr-segmentation": Task("pipeline_cmr_segmentation.CMRSegmentationPipeline", "image-segmentation"),
    "cmr-view-classification": Task(
        "pipeline_cmr_view_classification.CMRViewClassificationPipeline", "image-classification"
    ),
    "cmr-image-type-classification": Task(
        "pipeline_cmr_image_type_classification.CMRImageTypeClassificationPipeline", "image-classification"
    ),
    "cmr-lge-detection": Task("pipeline_cmr_lge_detection.CMRLGEDetectionPipeline", "image-classification"),
    "cmr-disease-detection": Task("pipeline_cmr_disease_detection.CMRDiseaseDetectionPipeline", "image-classification"),
    "cmr-landmark-detection": Task(
        "pipeline_cmr_landmark_detection.CMRLandmarkDetectionPipeline", "keypoint-detection"
    ),
    "cmr-feature-extraction": Task(
        "pipeline_cmr_feature_extraction.CMRFeatureExtractionPipeline", "image-feature-extraction"
    ),
}
ENCODER_TASK = "cmr-feature-extraction"  # which every model can do, by its encoder

# model -> the Auto class that opens it, and the tasks it may be for
HEADS = {
    "CMRForSemanticSegmentation": ("AutoModelForSemanticSegmentation", ("cmr-segmentation",)),
    "CMRForImageClassification": (
        "AutoModelForImageClassification",
        ("cmr-view-classification", "cmr-image-type-classification", "cmr-lge-detection", "cmr-disease-detection"),
    ),
    "CMRForLandmarkDetection": ("AutoModelForKeypointDetection", ("cmr-landmark-detection",)),
    "CMRModel": ("AutoModel", (ENCODER_TASK,)),
}


def export(
    pipeline_or_model: Pipeline | PreTrainedModel,
    folder: str | os.PathLike,
    *,
    image_processor: CMRImageProcessor | None = None,
    dtype: torch.dtype | None = None,
    max_shard_size: int | str = "5GB",
) -> Path:
    """Publishes a model into a folder that `pipeline(task, model=folder)` opens.

    Licence files beside the weights that the model was loaded from come along; their README.md and results.json do
    only if the weights are still the same, else a minimal card is written. In a folder that holds an earlier export,
    that export is replaced; the user's own files there, a README.md and a licence included, stay.

    `AutoModel` opens the encoder alone (`CMRModel`).

    Args:
        pipeline_or_model: a pipeline of this package, or a model; also one that was loaded as remote code.
        folder (`str` or path): is made if absent.
        image_processor (`CMRImageProcessor`, *optional*): by default the pipeline's, or the one beside the weights.
        dtype (`torch.dtype`, *optional*): how weights are stored (float16 halves the file), by default as they are.
            The folder always asks to be computed in float32; pass `dtype=` when loading for anything else.
        max_shard_size (`int` or `str`, defaults to "5GB"): in bytes; larger weights are written in several files.

    Returns:
        The folder.

    Raises:
        ValueError: `folder` is a file or holds something else than an earlier export; a model that this package
            cannot publish; weights that are NaN or infinite in `dtype`; no processor. Nothing is written then.
    """
    folder = _checked_target(folder, for_export=True)
    model, processor = _model_and_processor(pipeline_or_model, image_processor)
    task = _task_of(pipeline_or_model, model)
    weights = _stored_weights(model, dtype)
    pipelines = [TASKS[name].pipeline.split(".")[0] for name in (task, ENCODER_TASK)]
    modules = {"configuration_cmr", "modeling_cmr", "image_processing_cmr", *pipelines}
    with _staged(folder, STALE) as staging:
        _write_json(staging / "config.json", _config_for_hub(model, task))
        write_weights(staging, weights, max_shard_size)
        auto_map = {"AutoImageProcessor": "image_processing_cmr.CMRImageProcessor"}
        _write_json(staging / "preprocessor_config.json", _processor_fields(processor) | {"auto_map": auto_map})
        for file in _code(modules):
            shutil.copyfile(file, staging / file.name)
        _accompany(staging, folder, _source_of(model), weights)
        if not (staging / "README.md").exists() and not _has_own_readme(folder):
            labels = [] if task == ENCODER_TASK else [name for _, name in sorted(model.config.id2label.items())]
            licence = getattr(model.config, "weights_license", None)  # remote code of an older release has none
            licence = licence or licence_of(_legal_files(staging) or _legal_files(folder))
            card = minimal_card(folder.resolve().name, task, TASKS[task].tag, labels, licence)
            (staging / "README.md").write_text(card, encoding="utf-8")
    if not _legal_files(folder):
        logger.warning(f"no licence file came with these weights: put a LICENSE into {folder} before you publish it")
    return folder


def save_embedded(
    model: PreTrainedModel,
    image_processor: CMRImageProcessor,
    folder: str | os.PathLike,
    dtype: torch.dtype | None = torch.float16,
    shared: Sequence[Path] = (),
) -> Path:
    """Writes a model as those in `cmr_hf/weights` are: config, weights and processor, no code.

    Other files in the folder (licence, results) stay as they are.

    Args:
        model, image_processor: what to embed.
        folder (`str` or path): is made if absent.
        dtype (`torch.dtype`, defaults to `torch.float16`): how weights are stored; they load as float32.
        shared (sequence of `Path`): safetensors files of other models' weights; those that are equal are not written
            again, the folder then opens only where they lie beside it.

    Raises:
        ValueError: as `export`; also where `folder` holds an export, whose code would stay behind.
    """
    folder = _checked_target(folder, for_export=False)
    model, processor = _model_and_processor(model, image_processor)
    with _staged(folder, PATTERNS) as staging:
        _write_json(staging / "config.json", _config_fields(model))
        write_sharing(staging, _stored_weights(model, dtype), shared, home=folder.resolve())
        _write_json(staging / "preprocessor_config.json", _processor_fields(processor))
    return folder


def _checked_target(folder: str | os.PathLike, for_export: bool) -> Path:
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`folder` must be a folder, got the file {folder}: choose another name")
    names = sorted(path.name for path in folder.glob("*") if not path.name.startswith(STAGING))
    if not names:
        return folder
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}
    if not isinstance(config, dict) or config.get("model_type") != "cmr" or (STAMP in config) != for_export:
        wanted = "an earlier export" if for_export else "an embedded model (config, weights and processor, no code)"
        raise ValueError(
            f"`folder` must be empty or hold {wanted}, got {folder} with {', '.join(names[:5])}"
            f"{' …' if len(names) > 5 else ''}: choose another folder, or empty it yourself"
        )
    return folder


def _model_and_processor(
    source: Pipeline | PreTrainedModel, image_processor: CMRImageProcessor | None
) -> tuple[PreTrainedModel, CMRImageProcessor]:
    # by name: classes that came as remote code are not ours, only called so
    model = source.model if isinstance(source, Pipeline) else source
    if type(model).__name__ not in HEADS or getattr(model, "_hf_peft_config_loaded", False):
        raise ValueError(
            f"only {sorted(HEADS)} or their pipelines can be published, got {type(model).__name__}: "
            "unwrap the model, and merge adapters into it first"
        )
    processor = image_processor or getattr(source, "image_processor", None)
    if processor is None:
        beside = _source_of(model)
        if beside is None or not (beside / "preprocessor_config.json").is_file():
            raise ValueError("a model by itself has no processor: pass image_processor=CMRImageProcessor()")
        processor = CMRImageProcessor.from_pretrained(beside)
    if type(processor).__name__ != CMRImageProcessor.__name__:
        raise ValueError(f"`image_processor` must be a CMRImageProcessor, got {type(processor).__name__}")
    return model, processor


def _source_of(model: PreTrainedModel) -> Path | None:
    """The local folder that the model was loaded from."""
    name = getattr(model, "name_or_path", "") or getattr(model.config, "_name_or_path", "")
    return Path(name) if name and Path(name).is_dir() else None


def _stored_weights(model: PreTrainedModel, dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
    if dtype not in STORED:
        raise ValueError(f"`dtype` must be one of {STORED}, got {dtype!r}")
    weights = {}
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.to(dtype or tensor.dtype)
            if not torch.isfinite(tensor).all():
                raise ValueError(f"{name} has values that are NaN or infinite as {tensor.dtype}: nothing is written")
        weights[name] = tensor.contiguous()
    return weights


def _config_fields(model: PreTrainedModel) -> dict[str, Any]:
    """What config.json says: nothing that is a default of every config, nothing of this machine."""
    fields = model.config.to_diff_dict()
    for key in LEFT_OUT:
        fields.pop(key, None)
    backbone: PreTrainedConfig = model.config.backbone_config
    encoder = {key: value for key, value in backbone.to_diff_dict().items() if key not in LEFT_OUT_OF_BACKBONE}
    return fields | {
        "architectures": [type(model).__name__],
        "backbone_config": encoder | {"model_type": backbone.model_type},
        "dtype": "float32",  # to compute in, whatever the weights are stored in: halves are slow on a CPU
    }


def _task_of(source: Pipeline | PreTrainedModel, model: PreTrainedModel) -> str:
    possible = HEADS[type(model).__name__][1]
    if possible == (ENCODER_TASK,):
        return ENCODER_TASK  # the config may still name the task of the head that was left behind
    asked = getattr(source, "for_task", None)
    if asked not in possible:  # no pipeline, or the one that takes any model
        asked = getattr(model.config, "task", None)
    if asked is None and len(possible) == 1:
        return possible[0]
    if asked not in possible:
        raise ValueError(
            f"{type(model).__name__} can be published for {', '.join(possible)}, got {asked}: "
            "set model.config.task to one of these"
        )
    return asked


def _config_for_hub(model: PreTrainedModel, task: str) -> dict[str, Any]:
    auto_class = HEADS[type(model).__name__][0]
    classes = {task: auto_class, ENCODER_TASK: "AutoModel"}
    return _config_fields(model) | {
        STAMP: __version__,
        "task": task,
        "auto_map": {
            "AutoConfig": "configuration_cmr.CMRConfig",
            "AutoModel": "modeling_cmr.CMRModel",
            auto_class: f"modeling_cmr.{type(model).__name__}",
        },
        # `pt` must name classes of transformers
        "custom_pipelines": {
            name: {"impl": TASKS[name].pipeline, "pt": [opened_by], "type": "image"}
            for name, opened_by in classes.items()
        },
    }


def _processor_fields(processor: CMRImageProcessor) -> dict[str, Any]:
    fields = {key: value for key, value in processor.to_dict().items() if value is not None and key[0] != "_"}
    fields.pop("auto_map", None)
    return fields


def _code(modules: set[str]) -> list[Path]:
    """These modules of the hub room and all that they import from it."""
    files = {HUB / f"{module}.py" for module in modules}
    return sorted(files.union(*({Path(found) for found in get_relative_import_files(file)} for file in files)))


def _write_json(path: Path, fields: dict) -> None:
    text = json.dumps(fields, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _accompany(staging: Path, folder: Path, source: Path | None, weights: dict) -> None:
    """Copies what lies beside the weights that were loaded, as far as it is still true of these."""
    if source is None:
        return
    files = _legal_files(source)
    if same_weights(weights, source):
        readme = source / "README.md"
        files += [readme] if readme.is_file() and not is_generated(readme) else []
        files += [file for file in [source / "results.json"] if file.is_file()]
    for file in files:
        shutil.copyfile(file, staging / file.name)


def _legal_files(folder: Path) -> list[Path]:
    return sorted({file for pattern in LEGAL for file in folder.glob(pattern) if file.is_file()})


def _has_own_readme(folder: Path) -> bool:
    return (folder / "README.md").is_file() and not is_generated(folder / "README.md")


@contextmanager
def _staged(folder: Path, stale: tuple[str, ...] = ()) -> Iterator[Path]:
    """A folder to write into: at the end its files replace those in `folder` and what is stale there; or all vanish."""
    beside = folder if folder.is_dir() else folder.parent
    beside.mkdir(parents=True, exist_ok=True)
    staging = beside / f"{STAGING}{uuid4().hex[:8]}"
    staging.mkdir()
    try:
        yield staging
        if not folder.is_dir():
            staging.rename(folder)
            return
        new = {file.name for file in staging.iterdir()}
        for file in {file for pattern in stale for file in folder.glob(pattern)}:
            if file.name not in new:
                file.unlink()
        for name in sorted(new):
            os.replace(staging / name, folder / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
