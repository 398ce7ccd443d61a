"""Tells transformers about the configurations, models, processor and pipelines of this package."""

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForKeypointDetection,
    AutoModelForSemanticSegmentation,
)
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.pipelines import PIPELINE_REGISTRY

from .hub.configuration_cmr import CMRConfig, CMRViTConfig
from .hub.encoding_cmr import CMRViTModel
from .hub.image_processing_cmr import CMRImageProcessor
from .hub.modeling_cmr import (
    CMRForImageClassification,
    CMRForLandmarkDetection,
    CMRForSemanticSegmentation,
    CMRModel,
)
from .hub.pipeline_cmr_disease_detection import CMRDiseaseDetectionPipeline
from .hub.pipeline_cmr_feature_extraction import CMRFeatureExtractionPipeline
from .hub.pipeline_cmr_image_type_classification import CMRImageTypeClassificationPipeline
from .hub.pipeline_cmr_landmark_detection import CMRLandmarkDetectionPipeline
from .hub.pipeline_cmr_lge_detection import CMRLGEDetectionPipeline
from .hub.pipeline_cmr_segmentation import CMRSegmentationPipeline
from .hub.pipeline_cmr_view_classification import CMRViewClassificationPipeline
from .weights import FOLDER

# Weights that were published under transformers' older names of the ViT's layers (DINO's, say) load too.
OLD_VIT_NAMES = "ViTModel"


# task -> its pipeline, and the Auto class that opens its models
PIPELINES = {
    pipeline.for_task: (pipeline, auto_class)
    for pipeline, auto_class in (
        (CMRSegmentationPipeline, AutoModelForSemanticSegmentation),
        (CMRViewClassificationPipeline, AutoModelForImageClassification),
        (CMRImageTypeClassificationPipeline, AutoModelForImageClassification),
        (CMRLGEDetectionPipeline, AutoModelForImageClassification),
        (CMRDiseaseDetectionPipeline, AutoModelForImageClassification),
        (CMRLandmarkDetectionPipeline, AutoModelForKeypointDetection),
        (CMRFeatureExtractionPipeline, AutoModel),
    )
}


# task -> the embedded model that answers without `model=`
DEFAULTS = {
    "cmr-segmentation": "cine-sax",
    "cmr-view-classification": "cine-view",
    "cmr-image-type-classification": "image-type",
    "cmr-lge-detection": "lge-detection",
    "cmr-disease-detection": "disease",
    "cmr-landmark-detection": "rv-insertion",
    "cmr-feature-extraction": "cine-4ch",  # its encoder, which DINO made and the others share
}


def register() -> None:
    """Makes `Auto…` classes and `pipeline(…)` know this package; a second call changes nothing."""
    for config in (CMRViTConfig, CMRConfig):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoImageProcessor.register(config, image_processor_classes={"pil": CMRImageProcessor}, exist_ok=True)
    AutoModel.register(CMRViTConfig, CMRViTModel, exist_ok=True)
    AutoModel.register(CMRConfig, CMRModel, exist_ok=True)
    AutoModelForSemanticSegmentation.register(CMRConfig, CMRForSemanticSegmentation, exist_ok=True)
    AutoModelForImageClassification.register(CMRConfig, CMRForImageClassification, exist_ok=True)
    AutoModelForKeypointDetection.register(CMRConfig, CMRForLandmarkDetection, exist_ok=True)
    register_checkpoint_conversion_mapping(
        "CMRViTModel", get_checkpoint_conversion_mapping(OLD_VIT_NAMES), overwrite=True
    )
    for task, (pipeline, auto_class) in PIPELINES.items():
        if task not in PIPELINE_REGISTRY.supported_tasks:
            default = {"model": (str(FOLDER / DEFAULTS[task]), "main")}
            PIPELINE_REGISTRY.register_pipeline(task, pipeline, pt_model=auto_class, default=default, type="image")
