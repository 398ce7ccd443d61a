"""Probes on features whose answer is known, alarms on signs that are known."""

import math

import numpy as np
import pytest
import torch

from cmr_hf import CMRViTConfig, CMRViTModel
from cmr_hf.data.shards import Record, ShardWriter
from cmr_hf.pretraining.alarms import CollapseAlarm, feature_rank
from cmr_hf.pretraining.attention import attention_maps, attention_picture
from cmr_hf.pretraining.backbones import load_backbone
from cmr_hf.pretraining.probes import (
    accuracy,
    equalise,
    extract_features,
    histogram_features,
    knn_predict,
    linear_predict,
    raw_pixel_features,
)
from cmr_hf.pretraining.probing import ProbeSet, ProbeSettings, probe_backbone
from cmr_hf.pretraining.speed import Meter, flops_per_image, forward_flops
from cmr_hf.pretraining.views import ViewSettings
from tests.pretraining.pretrain_factory import BACKBONE, blobs, tiny_student


def clusters(seed: int, apart: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(90) % 3
    return torch.randn(90, 8, generator=generator) + apart * torch.eye(8)[labels], labels


def test_both_probes_find_clusters_and_neither_finds_what_is_not_there():
    train, labels = clusters(0)
    test, truth = clusters(1)
    shuffled = labels[torch.randperm(90)]
    for predict in (knn_predict, linear_predict):
        assert accuracy(predict(train, labels, test), truth)["accuracy"] > 0.9
        assert accuracy(predict(train, shuffled, test), truth)["accuracy"] < 0.6


def test_neighbours_vote_by_their_closeness():
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    labels = torch.tensor([0, 1, 1])
    assert knn_predict(train, labels, torch.tensor([[1.0, 0.05]]), k=3).tolist() == [0]


def test_the_linear_probe_repeats_and_weighs_classes_alike():
    train, labels = clusters(0, apart=2.0)
    test, truth = clusters(1, apart=2.0)
    assert torch.equal(linear_predict(train, labels, test), linear_predict(train, labels, test))
    few = torch.cat([torch.nonzero(labels == 0)[:, 0], torch.nonzero(labels != 0)[:12, 0]])
    found = accuracy(linear_predict(train[few], labels[few], test), truth)
    assert found["balanced"] > 0.55


def test_balanced_accuracy_is_the_mean_over_classes():
    found = accuracy(torch.tensor([0, 0, 0, 0]), torch.tensor([0, 0, 0, 1]))
    assert found == {"accuracy": 0.75, "balanced": 0.5}


def test_equalised_pictures_have_no_padding_few_grey_values_and_small_ones_are_left_out():
    images, extents = blobs(3), torch.tensor([[64, 64], [32, 64], [48, 40]])
    middle, sizes, large = equalise(images, extents, side=40, levels=16)
    assert large.tolist() == [True, False, True]
    assert sizes.tolist() == [[40, 40]] * 2
    assert all(len(one.unique()) <= 16 and one.min() == 0 and one.max() == 255 for one in middle)
    same = torch.corrcoef(torch.stack((middle[1].float().flatten(), images[2, 12:52, 12:52].float().flatten())))
    assert same[0, 1] > 0.98


def test_equalised_pictures_do_not_tell_how_many_bits_they_had():
    fine = torch.randint(0, 256, (1, 64, 64)).byte()
    coarse = fine // 4 * 4
    first, second = (equalise(one, torch.full((1, 2), 64), side=40, levels=8)[0].int() for one in (fine, coarse))
    assert len(first.unique()) == len(second.unique()) == 8
    assert ((first - second).abs() <= 255 // 7 + 1).all()


def test_features_without_a_network_say_what_they_are():
    images, extents = blobs(4), torch.full((4, 2), 64)
    assert raw_pixel_features(images, extents, 8).shape == (4, 64)
    shares = histogram_features(images, extents, 16)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(4))
    turned = histogram_features(images.transpose(1, 2).contiguous(), extents, 16)
    torch.testing.assert_close(shares, turned)


def test_features_are_the_backbone_s_and_its_mode_is_left_alone():
    backbone = tiny_student(drop_path_rate=0.5).backbone.train()
    images, extents = blobs(5), torch.full((5, 2), 64)
    first = extract_features(backbone, images, extents, batch_size=2)
    torch.testing.assert_close(first, extract_features(backbone, images, extents, batch_size=5), atol=0.02, rtol=0)
    assert first.shape == (5, 32)
    assert extract_features(backbone, images, extents, every_block=True).shape == (5, backbone.feature_size)
    assert backbone.training


@pytest.fixture(scope="module")
def labelled_shards(tmp_path_factory):
    """Pictures that are bright or dark at the top, as two views, from two sources; sides by turns."""
    folder = tmp_path_factory.mktemp("probe") / "shards"
    rng = np.random.default_rng(0)
    with ShardWriter(folder, unit="test") as writer:
        for number in range(48):
            picture = rng.integers(0, 120, (64, 64)).astype(np.uint8)
            if number % 2:
                picture[:32] += 100
            view, source = ("SAX", "4CH")[number % 2], ("one", "two")[number // 4 % 2]
            writer.add(picture, Record(source=source, view=view, side=("train", "validation")[number // 2 % 2]))
    return folder


def test_a_run_is_probed_on_validation_patients(labelled_shards):
    probe_set = ProbeSet(ProbeSettings(shards=str(labelled_shards), side=32, k=5))
    assert probe_set.labels_to_probe() == ["view"]  # image type and disease are unknown here
    backbone = tiny_student().backbone
    found = probe_backbone(backbone, probe_set)
    assert set(found) == {"knn_view", "linear_view"}
    assert found["linear_view"] > 0.7


def test_attention_is_a_share_of_one_over_the_patches_and_becomes_a_picture():
    backbone = CMRViTModel(CMRViTConfig(**BACKBONE))
    maps = attention_maps(backbone, torch.randn(2, 1, 64, 64))
    assert maps.shape == (2, 2, 64, 64)
    assert (maps.sum(dim=(2, 3)) / 64 <= 1).all()  # each patch is 64 pixels
    assert backbone.config._attn_implementation == "sdpa"
    picture = attention_picture(backbone, blobs(2), torch.full((2, 2), 64))
    assert picture.shape == (128, 192)
    assert picture.dtype == np.uint8


def test_rank_counts_the_directions_that_features_use():
    assert feature_rank(torch.eye(16)[torch.arange(64) % 4] * 5).item() == pytest.approx(3, abs=0.1)
    assert feature_rank(torch.randn(64, 1) @ torch.randn(1, 16)).item() == pytest.approx(1, abs=0.01)


HEALTHY = {"teacher_entropy": 4.0, "mean_entropy": 6.0, "kl": 0.4, "feature_rank": 20.0}


@pytest.mark.parametrize(
    ("sign", "remedy"),
    [
        ({"teacher_entropy": math.log(1024), "kl": 1e-5}, "Lower teacher_temperature"),
        ({"mean_entropy": 0.01}, "Raise teacher_temperature"),
        ({"feature_rank": 1.1}, "raise teacher_momentum"),
    ],
)
def test_collapse_raises_an_alarm_with_its_remedy_once_it_lasts(sign, remedy, caplog):
    alarm = CollapseAlarm(math.log(1024), patience=2)
    assert alarm.look(HEALTHY | sign, 1) is None
    assert alarm.look(HEALTHY, 2) is None
    assert alarm.look(HEALTHY | sign, 3) is None
    assert remedy in alarm.look(HEALTHY | sign, 4)
    assert "step 4: the training has collapsed" in caplog.text


def test_operations_are_counted_as_by_hand():
    config = CMRViTConfig()
    tokens = 28 * 28 + 1
    by_hand = 12 * (12 * 384**2 * tokens + 2 * tokens**2 * 384) + 784 * 192 * 384
    assert forward_flops(config, 224) == pytest.approx(2 * by_hand)
    total = flops_per_image(config, ViewSettings(), 65536, 2048, 256)
    assert 0.4e12 < total < 0.7e12  # the issue speaks of about 0.52 TFLOP an image


def test_the_meter_tells_rate_share_and_time_left(monkeypatch):
    now = iter([0.0, 10.0, 10.0])
    monkeypatch.setattr("cmr_hf.pretraining.speed.time.perf_counter", lambda: next(now))
    meter = Meter(flops_per_image=2.0, peak_flops=100.0, total_images=1100, _start=next(now))
    meter.add(200)
    read = meter.read(done=200)
    assert read["images_per_second"] == pytest.approx(20.0)
    assert read["mfu"] == pytest.approx(0.4)
    assert read["hours_left"] == pytest.approx(45 / 3600)


def test_when_a_folder_is_no_vit_then_it_says_what_to_give(tmp_path):
    broken = CMRViTModel(CMRViTConfig(**BACKBONE))
    state = {name: tensor for name, tensor in broken.state_dict().items() if "layers.1" not in name}
    broken.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ValueError, match="transformers ViTModel"):
        load_backbone(tmp_path)
