"""`pipeline("cmr-view-classification")`: short axis, two, three or four chambers, aorta or another view."""

from .classifying_cmr import ClassificationPipeline


class CMRViewClassificationPipeline(ClassificationPipeline):
    """The view of a cine: a list of `{"label", "score"}`, best first.

    Takes what `cmr-segmentation` takes. A stack or cine gets one answer: the mean probability over its slices and
    phases, of which at most 16, evenly spaced, are looked at.

    Call arguments:
        top_k (`int`, *optional*): how many labels, by default all.
        spacing_mm (two `float`, *optional*): (row, column), instead of what the source says.
        batch_size (`int`, defaults to 8): images per forward pass.

    Research use only; not a medical device. Source: Jacob et al. 2024, task 2.
    """

    for_task = "cmr-view-classification"
