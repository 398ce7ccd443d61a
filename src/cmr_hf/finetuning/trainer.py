"""The Trainer for segmentation: evaluation on whole stacks, on their own grids; and what training cost."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler, WeightedRandomSampler
from transformers import Trainer, TrainerCallback

from ..data.schema import LabelledStack
from ..hub.decoding_cmr import segmentation_loss
from ..hub.image_processing_cmr import CMRImageProcessor
from .segmentation import evaluate_stacks, merge_undrawn


class SegmentationTrainer(Trainer):
    """transformers' Trainer whose metrics are Dice per slice and per volume on held-out stacks.

    Args:
        processor (`CMRImageProcessor`): saved beside each checkpoint.
        eval_stacks (`list` of `LabelledStack`): what `evaluate` measures on; `eval_dice` is the mean of the classes,
            per volume, and then of the data sets, and chooses the best checkpoint.
        weights (`torch.Tensor` of shape `(slices,)`, *optional*): how often each slice is drawn; by default each once
            a pass.
    """

    def __init__(
        self,
        *args,
        processor: CMRImageProcessor,
        eval_stacks: Sequence[LabelledStack],
        weights: torch.Tensor | None = None,
        **kwargs,
    ):
        super().__init__(*args, processing_class=processor, eval_dataset=list(eval_stacks), **kwargs)
        self.processor = processor
        self.eval_stacks = list(eval_stacks)
        self.weights = weights

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """The model's own loss, where classes that nobody drew on a slice are part of its background."""
        outputs = model(pixel_values=inputs["pixel_values"])
        config = self.accelerator.unwrap_model(model).config
        loss = segmentation_loss(merge_undrawn(outputs.logits, inputs["drawn"]), inputs["labels"], config)
        return (loss, outputs) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        if self.weights is None:
            return super()._get_train_sampler(train_dataset)
        generator = torch.Generator().manual_seed(self.args.seed)
        return WeightedRandomSampler(self.weights, len(self.weights), generator=generator)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        stacks = self.eval_stacks if eval_dataset is None else eval_dataset
        labels = {index: name for index, name in self.model.config.id2label.items() if index != 0}
        sources = sorted({stack.source for stack in stacks})
        metrics, means = {}, []
        for source in sources:
            with torch.autocast(self.args.device.type, dtype=torch.bfloat16, enabled=self.args.bf16):
                own = [stack for stack in stacks if stack.source == source]
                table = evaluate_stacks(self.model, self.processor, own, labels)
            prefix = metric_key_prefix if len(sources) == 1 else f"{metric_key_prefix}_{source}"
            metrics |= {
                f"{prefix}_dice_{level}_{name.replace(' ', '_')}": entry["mean"]
                for level, entries in table.items()
                for name, entry in entries.items()
                if entry["mean"] is not None
            }
            volumes = [entry["mean"] for entry in table["per_volume"].values() if entry["mean"] is not None]
            means.append(sum(volumes) / len(volumes) if volumes else 0.0)
        metrics[f"{metric_key_prefix}_dice"] = sum(means) / len(means)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class ElapsedTime(TrainerCallback):
    """Minutes of training, counted on over stops: each checkpoint's are kept in `output_dir/elapsed_minutes.json`."""

    def __init__(self) -> None:
        self._before = 0.0
        self._started = time.perf_counter()

    @property
    def minutes(self) -> float:
        return self._before + (time.perf_counter() - self._started) / 60

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._started = time.perf_counter()
        self._before = self._kept(args).get(str(state.global_step), 0.0) if state.global_step else 0.0

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            kept = self._kept(args) | {str(state.global_step): round(self.minutes, 2)}
            self._file(args).write_text(json.dumps(kept), encoding="utf-8")

    def _kept(self, args: Any) -> dict[str, float]:
        file = self._file(args)
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    @staticmethod
    def _file(args: Any) -> Path:
        return Path(args.output_dir) / "elapsed_minutes.json"
