"""What is left out when points are looked up: nothing of the masks, and of the surroundings next to nothing."""

import torch

from cmr_hf.phantoms import Heart, Scanner, join, long_axis, render, sax_stack
from cmr_hf.phantoms.sampling import _body
from cmr_hf.phantoms.tissues import label_of_tissue


def test_masks_are_those_of_all_three_layers_looked_up_everywhere():
    heart = Heart.draw(["MINF", "RV"], seed=3)
    stack = sax_stack(heart, 4, 8.0, 14.0, 2.4, 96)
    planes = join([stack, long_axis(heart, "4CH", 8.0, 2.4, 96)])
    each = heart.select(planes.heart)
    phase = each.phase(torch.full((len(planes),), 0.2))
    tissue = each.tissue(planes.points(3).flatten(1, 3), phase).view(len(planes), 3, 96, 96)
    first, middle, last = label_of_tissue(True)[tissue.int()].unbind(1)
    masks = render(heart, planes, "lge", 0.2, scanner=Scanner.ideal()).masks
    assert torch.equal(masks, torch.where(first == last, first, middle))


def test_surroundings_that_are_kept_give_the_same_pictures_at_other_moments():
    heart = Heart.draw(["HCM"], seed=4)
    planes, kept = sax_stack(heart, 2, 8.0, 20.0, 4.0, 64), {}
    render(heart, planes, time=0.0, seed=5, surroundings=kept)
    before = {key: body.clone() for key, body in kept.items()}
    found = render(heart, planes, time=0.3, seed=5, surroundings=kept)
    alone = render(heart, planes, time=0.3, seed=5)
    assert torch.equal(found.images, alone.images)
    assert torch.equal(found.masks, alone.masks)
    assert before.keys() == kept.keys()
    assert before
    assert all(torch.equal(body, before[key]) for key, body in kept.items())


def test_surroundings_looked_up_where_they_change_are_nearly_those_looked_up_everywhere():
    heart = Heart.draw(["NORM"], seed=6)
    place = sax_stack(heart, 1, size=160, lead_mm=-20).points(1)[:, 0]
    dense, sparse = _body(heart, place, sparse=False), _body(heart, place, sparse=True)
    assert 0 < (dense != sparse).float().mean() < 0.02
