"""cmr_hf: cardiac MR in Hugging Face's own shapes. Importing it registers everything with transformers.

    import cmr_hf
    from transformers import pipeline

    result = pipeline("cmr-segmentation")("sax_stack/")   # LV cavity, myocardium, RV on the source grid

Research use only; not a medical device.
"""

__version__ = "0.1.0"

from .hub.configuration_cmr import CMRConfig, CMRViTConfig
from .hub.encoding_cmr import CMRResNetModel, CMRViTModel
from .hub.image_processing_cmr import CMRImageProcessor
from .hub.modeling_cmr import (
    CMRForImageClassification,
    CMRForLandmarkDetection,
    CMRForSemanticSegmentation,
    CMRModel,
)
from .hub.pipeline_cmr_segmentation import CMRSegmentationPipeline
from .hub.reading_cmr import CMRImage, ReadingError, read_image
from .registration import register
from .samples import sample
from .weights import embedded, embedded_names

register()


def __getattr__(name: str) -> object:
    """`cmr_hf.assess`, imported when it is first asked for: it brings more than a pipeline needs."""
    if name == "assess":
        from .assessment import assess

        return assess
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "CMRConfig",
    "CMRForImageClassification",
    "CMRForLandmarkDetection",
    "CMRForSemanticSegmentation",
    "CMRImage",
    "CMRImageProcessor",
    "CMRModel",
    "CMRResNetModel",
    "CMRSegmentationPipeline",
    "CMRViTConfig",
    "CMRViTModel",
    "ReadingError",
    "assess",
    "embedded",
    "embedded_names",
    "read_image",
    "sample",
]
