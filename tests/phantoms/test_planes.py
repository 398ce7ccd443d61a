"""Long-axis views are turned as readers show them, and the outflow tract is in its view."""

import numpy as np
import torch

from cmr_hf.phantoms import DISEASES, Heart, Scanner, long_axis, other_plane, render


def test_in_the_two_and_three_chamber_views_the_apex_lies_left_of_and_below_the_base():
    heart = Heart.draw(DISEASES * 3, seed=4)
    axis = torch.tensor([[0.0, 0.0, -30.0], [0.0, 0.0, 40.0]]).expand(len(heart), 2, 3)
    for view in ("2CH", "3CH"):
        base, apex = long_axis(heart, view).to_pixels(heart.to_patient(axis)).unbind(1)
        assert (apex[:, 1] < base[:, 1] - 10).all(), "left"
        assert (apex[:, 0] > base[:, 0]).float().mean() > 0.9, "below"


def test_in_the_four_chamber_view_the_apex_lies_right_of_and_above_the_base():
    heart = Heart.draw(DISEASES, seed=4)
    axis = torch.tensor([[0.0, 0.0, -30.0], [0.0, 0.0, 40.0]]).expand(len(heart), 2, 3)
    base, apex = long_axis(heart, "4CH").to_pixels(heart.to_patient(axis)).unbind(1)
    assert (apex[:, 1] > base[:, 1]).all()
    assert (apex[:, 0] < base[:, 0]).all()


def test_the_outflow_view_shows_the_ventricle_and_the_aorta_above_it_in_one_piece():
    from scipy.ndimage import label

    heart = Heart.draw(DISEASES, seed=4)
    planes = other_plane(heart, "LVOT", spacing_mm=2.0, size=112)
    tissue = heart.tissue(planes.points(1).flatten(1, 3), heart.phase(torch.zeros(len(heart)))).view(-1, 112, 112)
    masks = render(heart, planes, scanner=Scanner.ideal(), through=1).masks
    for picture, mask in zip(tissue.numpy(), masks.numpy(), strict=True):
        blood, _ = label((picture == 10) | (picture == 11))  # vessel, left ventricle
        piece = blood == np.bincount(blood[mask == 1]).argmax()
        assert (piece & (picture == 10)).sum() * 4.0 > 300, "mm² of aorta joined to the ventricle"
