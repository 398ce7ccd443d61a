"""What the CMR pipelines share: any source in, its slices through processor and model in batches."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from transformers.pipelines.base import ChunkPipeline

from .reading_cmr import CMRImage, read_image
from .turning_cmr import Turn

SLICES_AT_ONCE = 16  # processed together; bounds the memory of a long cine


class SlicewisePipeline(ChunkPipeline):
    """Reads a source, runs the model on slices of it, and hands all answers to `postprocess`.

    A pipeline names its task, its call arguments by the step that takes them (before, within or after the model), and,
    in `samples`, what the model is to see of an image.
    """

    _load_processor = False
    _load_image_processor = True
    _load_video_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    for_task: ClassVar[str] = ""
    any_model: ClassVar[bool] = False  # takes models that were trained for another task too
    before: ClassVar[tuple[str, ...]] = ("spacing_mm",)
    within: ClassVar[tuple[str, ...]] = ()
    after: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("batch_size", 8)
        super().__init__(*args, **kwargs)
        trained_for = getattr(self.model.config, "task", None)
        if trained_for not in (None, self.for_task) and not self.any_model:
            raise ValueError(f"this model is for {trained_for}, not for {self.for_task}: name a model of this task")
        head, saved_as = type(self.model).__name__, self.model.config.architectures or []
        if saved_as and head not in saved_as and head.startswith("CMR") and not self.any_model:
            raise ValueError(
                f"these weights are of {', '.join(saved_as)}, without the head that {self.for_task} needs: "
                "name a model of this task"
            )

    def __call__(self, inputs: Any, **kwargs) -> Any:
        if isinstance(inputs, tuple):
            inputs = list(inputs)
        if isinstance(inputs, list) and not inputs:
            raise ValueError("the list of images is empty: pass at least one path or array")
        return super().__call__(inputs, **kwargs)

    def _sanitize_parameters(self, **given) -> tuple[dict, dict, dict]:
        steps = (self.before, self.within, self.after)
        known = [name for names in steps for name in names]
        unknown = sorted(set(given) - set(known))
        if unknown:
            known = ", ".join(known)
            raise TypeError(f"{self.for_task} does not take {unknown}: it takes {known} and batch_size")
        before, within, after = (
            {name: given[name] for name in names if given.get(name) is not None} for names in steps
        )
        return before, within, after

    def preprocess(self, inputs: Any, spacing_mm: Any = None, **options) -> Iterator[dict]:
        image = read_image(inputs, spacing_mm=spacing_mm)
        turn = self.turn(image)
        spacing = turn.pair(self.image_processor.spacing_or_default(image.spacing_mm))
        samples = turn.of(self.samples(image, **options))
        for start in range(0, len(samples), SLICES_AT_ONCE):
            part = samples[start : start + SLICES_AT_ONCE]
            part = self.image_processor(part, spacing_mm=spacing, stack_channels=part.ndim == 4)["pixel_values"]
            for offset in range(len(part)):
                last = start + offset == len(samples) - 1
                yield {"pixel_values": part[offset : offset + 1], "image": image, "is_last": last}

    def samples(self, image: CMRImage) -> np.ndarray:
        """Slices of shape `(n, y, x)`, each repeated in the channels, or `(n, 3, y, x)`; by default all of them."""
        return image.pixels.reshape(-1, *image.pixels.shape[-2:])

    def turn(self, image: CMRImage) -> Turn:
        """How the pictures are laid for the model; by default as they are stored."""
        return Turn()

    def _forward(self, model_inputs: dict, **options) -> dict:
        answers = self.answers(model_inputs["pixel_values"].to(self.model.dtype), **options)
        return {"answers": answers, "image": model_inputs["image"], "is_last": model_inputs["is_last"]}

    def answers(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """What the model says of a batch, the batch axis first; by default its logits."""
        return self.model(pixel_values=pixel_values).logits
