"""Tells transformers about the configurations, models, processor and pipelines of this package."""

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForSemanticSegmentation,
)
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.pipelines import PIPELINE_REGISTRY

from .hub.configuration_cmr import CMRConfig, CMRViTConfig
from .hub.image_processing_cmr import CMRImageProcessor
from .hub.modeling_cmr import CMRForSemanticSegmentation, CMRModel, CMRViTModel
from .hub.pipeline_cmr_segmentation import CMRSegmentationPipeline
from .weights import FOLDER

# Weights that were published under transformers' older names of the ViT's layers (DINO's, say) load too.
OLD_VIT_NAMES = "ViTModel"


def register() -> None:
    """Makes `Auto…` classes and `pipeline(…)` know this package; a second call changes nothing."""
    for config in (CMRViTConfig, CMRConfig):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoImageProcessor.register(config, image_processor_classes={"pil": CMRImageProcessor}, exist_ok=True)
    AutoModel.register(CMRViTConfig, CMRViTModel, exist_ok=True)
    AutoModel.register(CMRConfig, CMRModel, exist_ok=True)
    AutoModelForSemanticSegmentation.register(CMRConfig, CMRForSemanticSegmentation, exist_ok=True)
    register_checkpoint_conversion_mapping(
        "CMRViTModel", get_checkpoint_conversion_mapping(OLD_VIT_NAMES), overwrite=True
    )
    if "cmr-segmentation" not in PIPELINE_REGISTRY.supported_tasks:
        PIPELINE_REGISTRY.register_pipeline(
            "cmr-segmentation",
            pipeline_class=CMRSegmentationPipeline,
            pt_model=AutoModelForSemanticSegmentation,
            default={"model": (str(FOLDER / "cine-sax"), "main")},
            type="image",
        )
