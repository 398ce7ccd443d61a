"""Few-shot: fair draws, a linear layer at its optimum, decoders on stored encodings, results that can go on."""

import json
from statistics import mean, stdev

import numpy as np
import pytest
import torch

from cmr_hf.finetuning.crops import ImageSamples
from cmr_hf.finetuning.fewshot import (
    DecoderSettings,
    Encodings,
    draw,
    draw_per_class,
    features_of,
    fit_linear,
    judge_decoder,
    judge_linear,
    train_decoder,
)
from cmr_hf.finetuning.fewshot_results import ResultLines, summed_up, write_results
from cmr_hf.finetuning.segmentation import SegmentationSlices
from tests.finetuning.test_partial_labels import stack_of
from tests.model_factory import LABELS, tiny_classifier, tiny_locator, tiny_processor, tiny_segmenter


def test_draws_are_of_every_class_nested_and_repeatable():
    labels = [0] * 30 + [1] * 3 + [2] * 12
    four, eight = draw_per_class(labels, 4, seed=1), draw_per_class(labels, 8, seed=1)
    assert [sum(labels[index] == label for index in four) for label in range(3)] == [4, 3, 4]
    assert set(four) < set(eight)
    assert four == draw_per_class(labels, 4, seed=1) != draw_per_class(labels, 4, seed=2)
    assert set(draw(20, 4, seed=0)) < set(draw(20, 8, seed=0))
    assert draw(3, 8, seed=0) == [0, 1, 2]


def test_the_linear_layer_is_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (60,), generator=generator)
    features = torch.randn(60, 5, generator=generator) * torch.tensor([1.0, 20.0, 0.1, 3.0, 1.0]) + 4
    features[:, 0] += labels
    layer = fit_linear(features, labels, 3)
    scaled = ((features - features.mean(0)) / features.std(0, correction=0)).numpy()
    expected = linear_model.LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(scaled, labels.numpy())
    np.testing.assert_allclose(layer(features).softmax(-1).numpy(), expected.predict_proba(scaled), atol=2e-3)


def test_features_are_what_the_classifier_stands_on():
    model, processor = tiny_classifier(), tiny_processor()
    images = np.random.default_rng(0).random((3, 40, 44)).astype(np.float32)
    samples = [{"image": image[None], "spacing_mm": (2.0, 2.0)} for image in images]
    features = features_of(model, processor, samples)
    pixel_values = processor(images, spacing_mm=(2.0, 2.0))["pixel_values"]
    with torch.inference_mode():
        torch.testing.assert_close(model.classifier(features), model(pixel_values).logits, atol=1e-5, rtol=1e-5)
    found = judge_linear(
        (features, torch.tensor([0, 1, 2])), (features, torch.tensor([0, 1, 2])), {0: "a", 1: "b", 2: "c"}
    )
    assert found["balanced_accuracy"] == found["accuracy_b"] == 1.0


def masks_and_stack():
    masks = np.zeros((4, 60, 60), np.uint8)
    masks[:, 20:40, 20:40], masks[:, 25:35, 25:35] = 2, 1
    stack = stack_of(masks, spacing_mm=(1.0, 1.0))
    stack.images = np.array([0.1, 1.0, 0.5])[masks].astype(np.float32)
    return stack


@pytest.mark.parametrize("decoder_type", ["hybrid", "unetr", "unet"])
def test_stored_encodings_give_what_the_whole_model_gives(decoder_type):
    model, stack = tiny_segmenter(decoder_type), masks_and_stack()
    data = Encodings(model, SegmentationSlices([stack], LABELS).slices, 64)
    batch, outputs = data.batch([2, 0], torch.device("cpu"))
    with torch.inference_mode():
        expected = model(batch["pixel_values"]).logits
        found = model.decoder(batch["pixel_values"], outputs.hidden_states, outputs.last_hidden_state)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)  # they are stored in half precision


def test_a_decoder_learns_from_few_slices_and_the_encoder_stays():
    model, stack = tiny_segmenter(), masks_and_stack()
    before = {name: value.clone() for name, value in model.state_dict().items() if name.startswith("backbone.")}
    data = Encodings(model, SegmentationSlices([stack], LABELS).slices, 64)
    scores = []
    for steps in (1, 40):
        train_decoder(model, data, [0, 1], DecoderSettings(steps=steps, batch_size=2, learning_rate=1e-2), seed=0)
        found = judge_decoder(model, tiny_processor_of_1_mm(), [stack])
        scores.append(min(found["dice_LV cavity"], found["dice_myocardium"]))
    assert scores[1] > 0.6 > 0.3 > scores[0]
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_landmarks_are_learnt_by_a_decoder_too():
    model = tiny_locator()
    rng = np.random.default_rng(0)
    samples = [
        {"image": rng.random((60, 60)), "spacing_mm": (1.0, 1.0), "source": "s", "patient": str(i),
         "points": np.array([[20.0, 25.0], [40.0, np.nan]])} for i in range(3)
    ]  # fmt: skip
    data = Encodings(model, ImageSamples(samples).items, 64)
    train_decoder(model, data, [0, 1, 2], DecoderSettings(steps=30, batch_size=2, learning_rate=1e-2), seed=0)
    found = judge_decoder(model, tiny_processor_of_1_mm(), [samples[0] | {"points": np.full((2, 2), 20.0)}])
    assert found["distance_mm_anterior"] < 20
    assert np.isfinite(found["distance_mm"])


def tiny_processor_of_1_mm():
    processor = tiny_processor()
    processor.spacing_mm = 1.0
    return processor


def test_results_are_summed_up_written_and_gone_on_with(tmp_path):
    out = ResultLines(tmp_path, {"recipe": "a"})
    rows = [
        {"arm": arm, "shots": shots, "seed": seed, "samples": 2 * shots, "accuracy": value}
        for arm, shots, values in (("ViT", 1, (0.2, 0.4)), ("ViT", 4, (0.6, 0.8)), ("ResNet", 1, (0.3, 0.3)))
        for seed, value in enumerate(values)
    ]
    for row in rows[:5]:
        out.add(row)
    with (tmp_path / "runs.jsonl").open("a") as file:
        file.write('{"arm": "ResNet", "sho')  # killed while it wrote
    again = ResultLines(tmp_path, {"recipe": "a"})
    assert again.rows == rows[:5]
    assert again.has(arm="ViT", shots=4, seed=1)
    assert not again.has(arm="ResNet", shots=1, seed=1)
    again.add(rows[5])
    assert ResultLines(tmp_path, {"recipe": "a"}).rows == rows

    summary = write_results(tmp_path, again.rows, "accuracy", "task", {"ImageNet": "not measured"})
    four = next(row for row in summary if row["shots"] == 4)
    assert (four["mean"], four["sd"]) == pytest.approx((mean((0.6, 0.8)), stdev((0.6, 0.8))))
    assert (four["samples"], four["seeds"]) == (8, 2)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["not_measured"] == {"ImageNet": "not measured"}
    assert (tmp_path / "results.csv").read_text().count("\n") == 4
    assert (tmp_path / "fewshot.png").read_bytes()[:4] == b"\x89PNG"
    assert summed_up(rows[:1], "accuracy")[0]["sd"] == 0.0
    with pytest.raises(ValueError, match="holds results of another recipe"):
        ResultLines(tmp_path, {"recipe": "b"})
