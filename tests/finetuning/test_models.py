"""The arms: whose weights a model starts from, and what of it is trained how fast."""

import pytest
import torch
from transformers import TrainingArguments, ViTConfig, ViTModel

from cmr_hf import CMRForImageClassification, CMRForSemanticSegmentation, CMRViTModel
from cmr_hf.data.experiments import EXPERIMENTS
from cmr_hf.finetuning.arguments import RecipeArguments, merged, overridden, parsed, recipe_values
from cmr_hf.finetuning.controls import PlainUNet
from cmr_hf.finetuning.crops import ImageCollator, ImageSamples
from cmr_hf.finetuning.models import HEADS, NotMeasuredError, build_model, fingerprint, merge_lora, untrained
from cmr_hf.finetuning.tasks import balanced
from cmr_hf.finetuning.trainer import ClassificationTrainer, FreshDraws, SegmentationTrainer, layer_scales
from tests.finetuning.mini_set import VIT, mini_recipe
from tests.finetuning.test_augmentation import OFF
from tests.finetuning.test_crops import sample
from tests.model_factory import names, randomised, tiny_classifier, tiny_encoder, tiny_processor, tiny_segmenter

FIELDS = {name: value for name, value in VIT.items() if name != "model_type"}
PIXELS = torch.linspace(-1, 1, 2 * 3 * 64 * 64).reshape(2, 3, 64, 64)


def recipe(key: str = "2", **more) -> RecipeArguments:
    values = {name: value for name, value in mini_recipe("").items() if name in RecipeArguments.__dataclass_fields__}
    return RecipeArguments(**(values | {"experiment": key} | more))


def test_a_published_vit_gives_the_same_features_in_a_head(tmp_path):
    vit = randomised(ViTModel(ViTConfig(**FIELDS), add_pooling_layer=False))
    vit.save_pretrained(tmp_path)
    model = build_model(recipe(init_from=str(tmp_path))).eval()
    with torch.inference_mode():
        torch.testing.assert_close(model.backbone(PIXELS).last_hidden_state, vit(PIXELS).last_hidden_state)


def test_a_backbone_brings_its_own_shape_and_the_recipe_its_stochastic_depth(tmp_path):
    CMRViTModel(tiny_encoder(**FIELDS | {"hidden_size": 48, "num_hidden_layers": 3})).save_pretrained(
        tmp_path / "backbone"
    )
    deep = recipe("3", init_from=str(tmp_path), model={"backbone_config": VIT | {"drop_path_rate": 0.3}})
    model = build_model(deep)  # of a release, which holds a folder `backbone`
    assert (model.config.backbone_config.hidden_size, len(model.backbone.layers)) == (48, 3)
    assert model.backbone.layers[-1].dropout.rate == pytest.approx(0.3)
    assert model(PIXELS).logits.shape == (2, 4, 64, 64)


def test_a_model_of_the_same_head_is_taken_whole_and_of_another_its_encoder(tmp_path):
    first = randomised(build_model(recipe("5A")))
    first.save_pretrained(tmp_path)
    whole = build_model(recipe("6", init_from=str(tmp_path)))  # the same labels, another task
    assert whole.config.task == EXPERIMENTS["6"].task
    assert all(torch.equal(value, first.state_dict()[name]) for name, value in whole.state_dict().items())
    for key in ("3", "1"):
        other = build_model(recipe(key, init_from=str(tmp_path)))
        assert type(other) is HEADS[EXPERIMENTS[key].kind]
        assert fingerprint(other) == fingerprint(first)


def test_landmarks_stand_on_the_decoder_of_a_segmentation(tmp_path):
    first = randomised(build_model(recipe("3")))
    first.save_pretrained(tmp_path)
    model = build_model(recipe("7", init_from=str(tmp_path), freeze="encoder", trained_doublings=1))
    last = f"decoder.ups.{len(model.decoder.ups) - 1}."
    for name, value in model.named_parameters():
        same = torch.equal(value, first.state_dict().get(name, value[:0]))
        assert same == (not name.startswith("decoder.classifier."))
        assert value.requires_grad == name.startswith((last, "decoder.classifier."))
    with pytest.raises(ValueError, match="at most the"):
        build_model(recipe("7", trained_doublings=9))
    with pytest.raises(ValueError, match="task with a decoder"):
        recipe("2", trained_doublings=1)


def test_layers_of_another_shape_and_the_last_one_for_other_labels_are_new(tmp_path):
    first = randomised(build_model(recipe("3")))
    first.save_pretrained(tmp_path)
    old = first.state_dict()
    model = recipe("3").model | {"decoder_channels": [16, 32, 64, 128]}
    wider = build_model(recipe("3", init_from=str(tmp_path), model=model))
    more = build_model(recipe("4", init_from=str(tmp_path)))
    for model in (wider, more):
        assert fingerprint(model) == fingerprint(first)
        equal = [name for name, value in model.state_dict().items() if torch.equal(value, old.get(name, value[:0]))]
        assert any(name.startswith("decoder.") for name in equal)
        assert "decoder.classifier.weight" not in equal
        assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_the_first_blocks_stay_as_they_are_if_asked():
    model = build_model(recipe("2", freeze=1))
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert {name.split(".")[1] for name in trained if name.startswith("backbone.")} == {"layers", "layernorm"}
    assert not any(name.startswith("backbone.layers.0.") for name in trained)
    assert any(name.startswith("backbone.layers.1.") for name in trained)
    with pytest.raises(ValueError, match="at most the 2 blocks"):
        build_model(recipe("2", freeze=3))
    with pytest.raises(ValueError, match="a number of blocks"):
        recipe("2", freeze="most")


def test_arms_differ_in_the_encoder_alone():
    vit, resnet, unet = (build_model(recipe("6", arm=arm)) for arm in ("vit", "resnet", "unet"))
    assert isinstance(unet, PlainUNet)
    assert isinstance(resnet, CMRForSemanticSegmentation)
    for model in (vit, resnet, unet):
        assert model.config.id2label == EXPERIMENTS["6"].id2label
        assert model.config.jaccard_smoothing == vit.config.jaccard_smoothing
    assert (vit.config.decoder_type, resnet.config.decoder_type) == ("hybrid", "unet")
    paper = build_model(RecipeArguments(experiment="2", arm="resnet"))
    assert sum(p.numel() for p in paper.backbone.parameters()) == pytest.approx(23.5e6, rel=0.01)
    assert paper.backbone.feature_size == 2048


def test_weights_on_the_hub_that_cannot_be_reached_are_not_a_failure():
    with pytest.raises(NotMeasuredError, match="not measured: .*init_from=FOLDER"):
        build_model(recipe(init_from="nobody/nothing-of-tests"))


def test_merged_low_rank_matrices_give_the_same_answers():
    model = build_model(recipe(lora={"r": 4})).eval()
    for name, parameter in model.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    with torch.inference_mode():
        before = model(PIXELS).logits
        merge_lora(model)
        torch.testing.assert_close(model(PIXELS).logits, before, atol=1e-5, rtol=1e-4)
    assert not any("lora" in name for name in model.state_dict())
    CMRForImageClassification(model.config).load_state_dict(model.state_dict())


def test_only_an_encoder_of_which_nothing_is_trained_rests():
    assert list(untrained(build_model(recipe()))) == []
    assert list(untrained(build_model(recipe(lora={"r": 2})))) == []
    frozen = build_model(recipe(freeze="encoder"))
    assert list(untrained(frozen)) == [frozen.backbone]
    assert frozen.classifier.weight.requires_grad


# The Trainer


def trainer_of(model, folder, items=(), **fields):
    settings = {"report_to": "none", "use_cpu": True, "remove_unused_columns": False, "disable_tqdm": True}
    more = {name: fields.pop(name) for name in ("weights", "layer_decay") if name in fields}
    return ClassificationTrainer(
        model=model,
        args=TrainingArguments(str(folder), save_strategy="no", **(settings | fields)),
        train_dataset=items,
        data_collator=ImageCollator(64, OFF, seed=0),
        processor=tiny_processor(),
        eval_samples=[],
        **more,
    )


def test_learning_rates_fall_from_block_to_block(tmp_path):
    model = tiny_classifier(encoder={"num_hidden_layers": 3})
    scales = layer_scales(model, 0.5)
    assert scales["classifier.weight"] == scales["backbone.layernorm.weight"] == 1.0
    blocks = [next(v for n, v in scales.items() if n.startswith(f"backbone.layers.{i}.")) for i in range(3)]
    assert blocks == [0.125, 0.25, 0.5]
    assert scales["backbone.embeddings.cls_token"] == 0.0625
    resnet = layer_scales(tiny_classifier("unet"), 0.5)
    assert sorted(set(resnet.values())) == [0.5**power for power in (5, 4, 3, 2, 1, 0)]

    trainer = trainer_of(model, tmp_path, layer_decay=0.5, learning_rate=0.1, weight_decay=0.2)
    rates = {}
    names_of = {id(p): name for name, p in model.named_parameters()}
    for group in trainer.create_optimizer().param_groups:
        rates |= {names_of[id(p)]: (group["lr"], group["weight_decay"]) for p in group["params"]}
    assert rates.keys() == scales.keys()
    assert all(rate == pytest.approx(0.1 * scales[name]) for name, (rate, _) in rates.items())
    assert rates["classifier.weight"][1] == 0.2
    assert rates["classifier.bias"][1] == rates["backbone.layernorm.weight"][1] == 0.0


def test_the_last_layer_of_a_decoder_may_learn_faster(tmp_path):
    model = tiny_segmenter()
    trainer = SegmentationTrainer(
        model=model,
        args=TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, learning_rate=0.01),
        processor=tiny_processor(),
        eval_stacks=[],
        last_layer_rate=10,
    )
    rates = {id(p): group["lr"] for group in trainer.create_optimizer().param_groups for p in group["params"]}
    found = {name: rates[id(p)] for name, p in model.named_parameters()}
    last = ("decoder.classifier.weight", "decoder.classifier.bias")
    assert all(found[name] == pytest.approx(0.1) for name in last)
    assert {rate for name, rate in found.items() if name not in last} == {0.01}


def test_two_small_batches_are_one_large_one(tmp_path):
    items = ImageSamples([sample((60, 60), label=label) for label in (0, 1, 2, 1)])
    results = []
    for size, accumulated in ((4, 1), (2, 2)):
        torch.manual_seed(0)
        model = tiny_classifier()
        fields = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulated, "optim": "sgd"}
        trainer_of(model, tmp_path, items, max_steps=1, learning_rate=1.0, seed=3, **fields).train()
        results.append(model.classifier.weight.detach().clone())
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-3)


def test_balance_shows_every_class_and_every_share_as_often():
    few = ImageSamples([sample((8, 8), label=0)] + [sample((8, 8), label=1)] * 3)
    many = ImageSamples([sample((8, 8), label=1)] * 2 + [sample((8, 8), label=2)] * 6)
    weights = balanced([few, many])
    labels = torch.tensor(few.labels + many.labels)
    assert [weights[labels == label].sum().item() for label in range(3)] == pytest.approx([1 / 3] * 3)
    shared = balanced([few, many], [0.9, 0.3])
    assert [part.sum().item() for part in shared.split([4, 8])] == pytest.approx([0.9, 0.3])
    assert shared[0].item() == pytest.approx(0.45)


def test_a_run_that_goes_on_draws_anew_and_a_new_one_as_its_seed_says():
    class State:
        global_step = 0

    class Arguments:
        process_index = 0

    collate = ImageCollator(64, OFF, seed=5)
    before = collate.generator.get_state()
    FreshDraws(collate, 5).on_train_begin(Arguments, State, None)
    assert torch.equal(collate.generator.get_state(), before)
    State.global_step = 100
    FreshDraws(collate, 5).on_train_begin(Arguments, State, None)
    assert not torch.equal(collate.generator.get_state(), before)


# Recipes


def test_a_recipe_stands_on_its_base_and_the_command_line_on_both(tmp_path):
    (tmp_path / "base.yaml").write_text("model: {a: 1, b: {c: 2}}\nmax_steps: 5\nlist: [1, 2]\n")
    (tmp_path / "own.yaml").write_text("base: base.yaml\nmodel: {b: {d: 3}}\nlist: [4]\n")
    values = overridden(recipe_values(tmp_path / "own.yaml"), ["model.b.c=7", "max_steps=6", "new={x: null}"])
    expected = {"model": {"a": 1, "b": {"c": 7, "d": 3}}, "max_steps": 6, "list": [4], "new": {"x": None}}
    assert values == expected
    assert merged({"a": {"b": 1}}, {"a": 2}) == {"a": 2}


def test_every_recipe_of_the_project_parses_and_experiments_differ_from_their_base_in_few_lines(repo_root):
    folder = repo_root / "training" / "configs"
    seen = set()
    for path in sorted(folder.glob("experiment_*_*.yaml")):
        found, training = parsed(recipe_values(path) | {"use_cpu": True, "bf16": False})
        seen.add(found.experiment)
        metric = {"segmentation": "eval_dice", "landmarks": "eval_distance_mm"}.get(
            found.kind, "eval_balanced_accuracy"
        )
        assert training.metric_for_best_model == metric
        assert training.greater_is_better is (found.kind != "landmarks")
        assert len(path.read_text().splitlines()) < 20
    assert seen == set(EXPERIMENTS)
    for path in folder.glob("segment_*.yaml"):
        found, _ = parsed(recipe_values(path) | {"use_cpu": True, "bf16": False})
        assert (found.kind, found.experiment) == ("segmentation", None)


def test_names_of_a_config_are_those_of_the_experiment():
    assert build_model(recipe("7")).config.id2label == names(EXPERIMENTS["7"].classes)["id2label"]
