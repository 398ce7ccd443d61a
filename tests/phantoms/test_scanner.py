"""Bands, folds and pedestals do what a scanner does, to the share of pictures that was asked for."""

import sys
from dataclasses import replace

import torch

from cmr_hf.phantoms import DISEASES, Heart, Scanner, long_axis, other_plane, render, sax_stack
from cmr_hf.phantoms.scanner import banding, coil_gain, fold, rough_field, with_fat


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_bands_are_dark_and_only_in_the_share_of_pictures():
    cpu = torch.device("cpu")
    none, every = (banding(replace(Scanner(), banding_share=share), 20, 64, generator(), cpu) for share in (0.0, 1.0))
    assert (none == 1).all()
    assert ((every >= 0) & (every <= 1)).all()
    assert (every.amin((1, 2)) < 0.5).float().mean() > 0.8
    assert (every.mean((1, 2)) > 0.4).all()


def test_a_fold_keeps_the_signal_and_empties_the_outer_rows():
    images = torch.rand(6, 40, 30, generator=generator())
    folded, rows = fold(images, replace(Scanner(), fold_share=1.0), generator())
    assert (rows > 0).all()
    torch.testing.assert_close(folded.sum((1, 2)), images.sum((1, 2)))
    for picture, original, empty in zip(folded, images, rows.tolist(), strict=True):
        assert (picture[:empty] == 0).all()
        assert (picture[-empty:] == 0).all()
        torch.testing.assert_close(
            picture[40 - 2 * empty : 40 - empty], (original[-2 * empty : -empty] + original[:empty])
        )
    same, rows = fold(images, replace(Scanner(), fold_share=0.0), generator())
    assert torch.equal(same, images)
    assert not rows.any()


def test_no_truth_is_left_where_a_picture_is_empty():
    heart = Heart.draw(DISEASES, seed=2)
    planes = sax_stack(heart, 9, size=48, spacing_mm=2.0, seed=2)
    found = render(heart, planes, scanner=replace(Scanner(), fold_share=1.0))
    for image, mask, points in zip(found.images, found.masks, found.landmarks, strict=True):
        empty = (image == 0).all(dim=1)
        assert empty.any()
        assert (mask[empty] == 0).all()
        rows = points[points.isfinite().all(1), 0]
        assert not empty[rows.round().long().clamp(0, 47)].any() or not len(rows)


def test_a_pedestal_lifts_phase_sensitive_pictures_over_zero():
    heart = Heart.draw(["MINF"], seed=2)
    planes = sax_stack(heart, 3, size=64, spacing_mm=2.4)
    plain, raised = (
        render(
            heart,
            planes,
            "lge_psir",
            seed=1,
            scanner=replace(Scanner(), pedestal=(share, share), rim=(0.04, 0.04), fold_share=0.0),
        ).images
        for share in (0.0, 0.6)
    )
    inner = slice(6, -6)
    assert (raised[:, inner, inner] > plain[:, inner, inner]).all()
    assert (raised[:, :1] == 0).all()
    least = [one[:, inner, inner].flatten(1).quantile(0.05, dim=1) for one in (plain, raised)]
    top = raised.flatten(1).quantile(0.98, dim=1)
    assert (least[1] / top > 0.5).all()
    assert (least[1] / top < 0.85).all()


def test_the_heart_is_nowhere_cut_by_the_box_that_it_is_looked_up_in(monkeypatch):
    heart = Heart.draw(DISEASES * 2, seed=6)
    sets = [sax_stack(heart, 9, lead_mm=25, size=80, spacing_mm=3.6, seed=6)]
    sets += [long_axis(heart, view, size=80, spacing_mm=3.6, seed=6) for view in ("2CH", "3CH", "4CH")]
    sets += [other_plane(heart, kind, size=80, spacing_mm=3.6, seed=6) for kind in ("axial", "coronal", "off-axis")]
    boxed = [render(heart, planes, scanner=Scanner.ideal()) for planes in sets]
    whole = torch.tensor([[0, 80], [0, 80]])
    module = sys.modules[render.__module__]
    monkeypatch.setattr(module, "heart_boxes", lambda each, planes, size: whole.expand(len(planes), 2, 2))
    for planes, found in zip(sets, boxed, strict=True):
        assert torch.equal(found.masks, render(heart, planes, scanner=Scanner.ideal()).masks)


def test_a_plane_far_from_the_heart_shows_none_of_it():
    heart = Heart.draw(["NORM"], seed=1)
    planes = other_plane(heart, "axial", size=32, spacing_mm=2.0)
    planes.affine[:, :3, 3] += 900
    assert not render(heart, planes).masks.any()


def test_fat_in_opposite_phase_draws_a_dark_line_where_it_meets_water():
    water = torch.zeros(1, 32, 32)
    water[..., :16] = 1
    water[..., 16] = 0.5
    scanner = replace(Scanner.ideal(), fat_phase=(0.5, 0.5))
    for apart, expected in ((True, 0.0), (False, 1.0)):
        found = with_fat(water, 1 - water, scanner, torch.zeros(1, 1, 1), torch.tensor([[[apart]]]), False, generator())
        torch.testing.assert_close(found.abs()[0, :, 16], torch.full((32,), expected), rtol=0, atol=1e-5)
        torch.testing.assert_close(found.abs()[0, :, 2], torch.ones(32))


def test_displaced_fat_leaves_a_gap_on_one_side_and_a_bright_rim_on_the_other():
    water, fat = torch.ones(4, 40, 40), torch.zeros(4, 40, 40)
    fat[:, 10:30, 10:30], water[:, 10:30, 10:30] = 1, 0
    shift, apart = torch.full((4, 1, 1), 2.5), torch.zeros(4, 1, 1, dtype=torch.bool)
    found = with_fat(water, fat, Scanner.ideal(), shift, apart, False, generator()).abs()
    assert (found.amax((1, 2)) > 1.9).all()
    assert (found.amin((1, 2)) < 0.1).all()
    torch.testing.assert_close(found.sum((1, 2)), torch.full((4,), 1600.0), rtol=1e-4, atol=0)


def test_coils_are_1_in_the_middle_and_strongest_near_the_skin():
    side = torch.linspace(-100, 100, 64)
    place = torch.stack(
        [side[None].expand(64, 64), side[:, None].expand(64, 64), torch.zeros(64, 64)], dim=2
    )  # axial: rows from front to back
    chest, strength = torch.tensor([[160.0, 110.0]]).expand(6, 2), torch.ones(6, 1, 1)
    gain = coil_gain(place.expand(6, 64, 64, 3), chest, strength, generator())
    torch.testing.assert_close(gain[:, 32, 32], torch.ones(6), rtol=0.1, atol=0)
    assert (gain[:, 2].mean(1) > 1.5 * gain[:, 32].mean(1)).all()
    none = coil_gain(place.expand(6, 64, 64, 3), chest, 0 * strength, generator())
    torch.testing.assert_close(none, torch.ones_like(none))


def test_a_rough_field_has_more_of_coarse_than_of_fine_structure():
    field = rough_field(3, 96, generator(), torch.device("cpu"))
    torch.testing.assert_close(field.std((1, 2)), torch.ones(3), rtol=1e-3, atol=0)
    near, far = ((field[:, :-step] * field[:, step:]).mean((1, 2)) for step in (1, 8))
    assert (near > 0.5).all()
    assert (far < near).all()
    assert (far > 0.05).all()
