"""Schedules against numbers by hand, and how defaults grow with data and batch."""

import json

import pytest

from cmr_hf.pretraining.schedules import (
    Cosine,
    Ramp,
    Schedules,
    scaled_momentum,
    scaled_out_dim,
    scaled_schedules,
)


def test_a_cosine_warms_up_in_a_line_and_falls_in_half_a_wave():
    curve = Cosine(1.0, 0.2, total_steps=13, warmup_steps=5)
    assert [curve(step) for step in range(6)] == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.0])
    assert curve(9) == pytest.approx(0.6)  # half-way
    assert curve(11) == pytest.approx(0.2 + 0.4 * (1 - 0.5**0.5))  # three quarters
    assert curve(13) == curve(99) == pytest.approx(0.2)


def test_without_warm_up_it_starts_at_the_top():
    assert Cosine(0.996, 1.0, total_steps=10)(0) == pytest.approx(0.996)
    assert Cosine(0.996, 1.0, total_steps=10)(5) == pytest.approx(0.998)


def test_a_ramp_is_a_line_and_then_constant():
    ramp = Ramp(0.04, 0.07, steps=4)
    assert [ramp(step) for step in range(6)] == pytest.approx([0.04, 0.05, 0.06, 0.07, 0.07, 0.07])
    assert Ramp(0.04, 0.07, steps=0)(0) == 0.07


def test_the_paper_s_setting_gives_the_paper_s_numbers():
    images, batch = 1_281_167, 1024
    steps = 300 * 1252
    schedules = scaled_schedules(images, batch, steps)
    assert schedules.learning_rate == Cosine(0.002, 1e-6, steps, 12520)
    assert schedules.weight_decay == Cosine(0.04, 0.4, steps)
    assert schedules.teacher_momentum.start == pytest.approx(0.996)
    assert schedules.teacher_momentum.end == 1.0
    assert schedules.teacher_temperature == Ramp(0.04, 0.07, 37560)
    assert schedules.frozen_steps == 1252
    assert scaled_out_dim(images) == 65536


def test_when_the_run_is_short_then_warm_ups_are_parts_of_it():
    schedules = scaled_schedules(images=1_000_000, batch=100, total_steps=1000)
    assert schedules.learning_rate.warmup_steps == 100
    assert schedules.teacher_temperature.steps == 300
    assert schedules.frozen_steps == 10


def test_what_is_given_stays_as_given():
    schedules = scaled_schedules(1000, 10, 500, warmup_steps=3, frozen_steps=0, teacher_momentum=0.9)
    assert (schedules.learning_rate.warmup_steps, schedules.frozen_steps) == (3, 0)
    assert schedules.teacher_momentum.start == 0.9


@pytest.mark.parametrize(("images", "outputs"), [(1, 1024), (20_000, 1024), (100_000, 8192), (500_000, 65536)])
def test_outputs_grow_with_the_data(images, outputs):
    assert scaled_out_dim(images) == outputs


@pytest.mark.parametrize(
    ("batch", "steps", "momentum"),
    [(1024, 10**6, 0.996), (128, 10**6, 0.9995), (8192, 10**6, 0.99), (128, 4000, 0.995)],
)
def test_small_batches_and_long_runs_have_slow_teachers(batch, steps, momentum):
    assert scaled_momentum(batch, steps) == pytest.approx(momentum, abs=2e-6)


def test_schedules_come_back_from_json():
    schedules = scaled_schedules(1000, 10, 500)
    assert Schedules.from_dict(json.loads(json.dumps(schedules.to_dict()))) == schedules
    assert set(schedules.at(3)) == {"learning_rate", "weight_decay", "teacher_momentum", "teacher_temperature"}


def test_when_the_data_size_is_unknown_then_it_says_what_to_set():
    with pytest.raises(ValueError, match="dataset_images"):
        scaled_out_dim(0)
    with pytest.raises(ValueError, match="max_steps"):
        scaled_schedules(1, 1, 0)
