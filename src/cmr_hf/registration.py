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

# what a user trains for the tasks that such an Auto class opens
HEADS = {
    AutoModelForSemanticSegmentation: "CMRForSemanticSegmentation",
    AutoModelForImageClassification: "CMRForImageClassification",
    AutoModelForKeypointDetection: "CMRForLandmarkDetection",
}

# task -> the embedded model that answers without `model=`
DEFAULTS = {"cmr-segmentation": "cine-sax"}


class NoWeightsYet(dict):
    """Stands for the default model of a task that has none: says so when transformers asks for it."""

    def __init__(self, task: str):
        super().__init__(model=None)
        self.task = task

    def __getitem__(self, key: str) -> tuple[str, str]:
        pipeline, auto_class = PIPELINES[self.task]
        head = HEADS.get(auto_class)
        remedy = f"of this task; transformers' Trainer trains a cmr_hf.{head} on your labels"
        if pipeline.any_model:
            remedy = f'of any task, cmr_hf.embedded("{DEFAULTS["cmr-segmentation"]}") say'
        raise ValueError(
            f"this release ships no weights for {self.task}: pass model= a folder or a Hub name of a model {remedy}"
        )


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
            default = {"model": (str(FOLDER / DEFAULTS[task]), "main")} if task in DEFAULTS else NoWeightsYet(task)
            PIPELINE_REGISTRY.register_pipeline(task, pipeline, pt_model=auto_class, default=default, type="image")
