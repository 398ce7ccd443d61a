"""The Trainer for segmentation: evaluation on whole stacks, on their own grids; and what training cost."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from ..data.schema import LabelledStack
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
