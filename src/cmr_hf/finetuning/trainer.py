"""The Trainer for segmentation: evaluation on whole stacks, on their own grids."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Trainer

from ..data.acdc import LabelledStack
from ..hub.image_processing_cmr import CMRImageProcessor
from .segmentation import evaluate_stacks


class SegmentationTrainer(Trainer):
    """transformers' Trainer whose metrics are Dice per slice and per volume on held-out stacks.

    Args:
        processor (`CMRImageProcessor`): saved beside each checkpoint.
        eval_stacks (`list` of `LabelledStack`): what `evaluate` measures on; `eval_dice` is the mean of the classes,
            per volume, and chooses the best checkpoint.
    """

    def __init__(self, *args, processor: CMRImageProcessor, eval_stacks: Sequence[LabelledStack], **kwargs):
        super().__init__(*args, processing_class=processor, eval_dataset=list(eval_stacks), **kwargs)
        self.processor = processor
        self.eval_stacks = list(eval_stacks)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        stacks = self.eval_stacks if eval_dataset is None else eval_dataset
        labels = {index: name for index, name in self.model.config.id2label.items() if index != 0}
        with torch.autocast(self.args.device.type, dtype=torch.bfloat16, enabled=self.args.bf16):
            table = evaluate_stacks(self.model, self.processor, stacks, labels)
        metrics = {
            f"{metric_key_prefix}_dice_{level}_{name.replace(' ', '_')}": entry["mean"]
            for level, entries in table.items()
            for name, entry in entries.items()
            if entry["mean"] is not None
        }
        volumes = [entry["mean"] for entry in table["per_volume"].values() if entry["mean"] is not None]
        metrics[f"{metric_key_prefix}_dice"] = sum(volumes) / len(volumes) if volumes else 0.0
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
