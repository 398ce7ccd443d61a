"""The mean of the last checkpoints is kept where it is better, and only there."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from cmr_hf.finetuning.trainer import keep_mean


def trainer_with(folder, scores, greater=True):
    """A trained layer of weight 7 and checkpoints at 2, 10 and 20 steps of weights 1, 2 and 4; `scores` by weight."""
    model = torch.nn.Linear(1, 1, bias=False)
    for step, weight in ((2, 1.0), (10, 2.0), (20, 4.0)):
        place = folder / f"checkpoint-{step}"
        place.mkdir()
        save_file({"weight": torch.tensor([[weight]])}, place / "model.safetensors")
    model.weight.data[:] = 7.0
    return SimpleNamespace(
        model=model,
        args=SimpleNamespace(output_dir=str(folder), metric_for_best_model="eval_score", greater_is_better=greater),
        accelerator=SimpleNamespace(unwrap_model=lambda wrapped: wrapped),
        evaluate=lambda: {"eval_score": scores[model.weight.item()]},
    )


@pytest.mark.parametrize(("mean", "greater", "kept"), [(0.9, True, True), (0.7, True, False), (0.7, False, True)])
def test_the_mean_is_kept_where_it_is_better(tmp_path, mean, greater, kept):
    trainer = trainer_with(tmp_path, {7.0: 0.8, 3.0: mean}, greater)
    assert keep_mean(trainer, 2) == ([10, 20] if kept else [])
    assert trainer.model.weight.item() == (3.0 if kept else 7.0)


def test_of_too_few_checkpoints_there_is_no_mean(tmp_path):
    trainer = trainer_with(tmp_path, {})
    assert keep_mean(trainer, 4) == []
    assert trainer.model.weight.item() == 7.0
