"""Moments between end diastole and end systole, and atria that differ from heart to heart."""

import numpy as np
import torch

from cmr_hf.data.phantom_set import list_phantom_patients, read_phantoms
from cmr_hf.phantoms import Heart, examples_of
from cmr_hf.phantoms.figures import atrial_volumes_ml
from cmr_hf.phantoms.protocol import Protocol


def test_more_moments_come_after_ed_and_es_and_leave_them_as_they_were():
    protocol = Protocol.drawn(3, series=("cine_4ch",))
    few, more = (list(examples_of("NORM", 3, protocol, between=count)) for count in (0, 2))
    assert [one["phase"] for one in more] == ["ED", "ES", "", ""]
    assert [one["phase_index"] for one in more] == [0, 1, 2, 3]
    for one, other in zip(few, more, strict=False):
        np.testing.assert_array_equal(one["masks"], other["masks"])
    cavities = [int((one["masks"] == 1).sum()) for one in more]
    assert all(cavities[1] <= count <= cavities[0] * 1.02 for count in cavities[2:])


def test_reader_hands_on_how_many_moments():
    patients = list_phantom_patients(hearts=1, first_seed=7)
    stacks = list(read_phantoms(patients=patients, series=("cine_4ch",), between=1))
    assert [stack.phase for stack in stacks] == ["ED", "ES", ""]


def test_atria_differ_between_hearts_of_one_size():
    hearts = Heart.draw(["NORM"] * 12, 5)
    hearts.traits.edv_ml.fill_(140.0)
    sizes = [atrial_volumes_ml(hearts.select(torch.tensor([k])), 0.35, step_mm=4.0) for k in range(12)]
    for side in ("la", "ra"):
        volumes = np.array([one[side] for one in sizes])
        assert volumes.min() > 10
        assert volumes.std() > 0.15 * volumes.mean()
