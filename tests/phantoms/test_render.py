"""Pictures: planes where they should be, masks that hang together, maps that tell the truth."""

from dataclasses import replace

import pytest
import torch

from cmr_hf.data.schema import IMAGE_TYPES, LABELS, VIEWS
from cmr_hf.phantoms import (
    AORTA,
    CONTRASTS,
    DISEASES,
    LONG_AXES,
    OTHERS,
    Heart,
    Planes,
    Scanner,
    join,
    long_axis,
    other_plane,
    render,
    sax_stack,
)
from cmr_hf.phantoms.tissues import Tissue, properties

SIZE, SPACING_MM = 96, 2.4


@pytest.fixture(scope="module")
def heart() -> Heart:
    return Heart.draw(DISEASES, seed=11)


def mid_slices(heart: Heart, **options) -> Planes:
    stack = sax_stack(heart, 9, 8.0, 2.0, size=SIZE, **{"spacing_mm": SPACING_MM} | options)
    return stack.select(torch.arange(len(heart)) * 9 + 3)


def test_affines_are_orthonormal_with_the_right_spacing_and_distance(heart: Heart):
    planes = join(
        [sax_stack(heart, 3, 8.0, 2.0, 1.4, SIZE, seed=1)]
        + [long_axis(heart, view, 8.0, 1.4, SIZE, seed=1) for view in LONG_AXES]
        + [other_plane(heart, kind, 8.0, 1.4, SIZE, seed=1) for kind in AORTA + OTHERS]
    )
    axes = planes.affine[:, :3, :3]
    length = axes.norm(dim=1)
    torch.testing.assert_close(length[:, :2], torch.full_like(length[:, :2], 1.4), rtol=1e-4, atol=0)
    assert length[:15, 2].tolist() == pytest.approx([10.0] * 15, rel=1e-4)
    unit = axes / length[:, None]
    gram = unit.transpose(1, 2) @ unit
    torch.testing.assert_close(gram, torch.eye(3).expand_as(gram), rtol=0, atol=1e-4)
    assert set(planes.view) == set(VIEWS)


def test_a_stack_runs_from_base_to_apex_in_equal_steps(heart: Heart):
    stack = sax_stack(heart, 5, 8.0, 2.0, size=SIZE, seed=2)
    origins = stack.affine[:, :3, 3].view(len(heart), 5, 3)
    apical = heart.traits.rotation[:, None, :, 2]
    steps = ((origins[:, 1:] - origins[:, :-1]) * apical).sum(2)
    torch.testing.assert_close(steps, torch.full_like(steps, 10.0), rtol=1e-4, atol=0)


def test_sample_points_are_centred_on_pixel_centres(heart: Heart):
    planes = long_axis(heart, "4CH", size=8, seed=3)
    single, many = planes.points(1, 1), planes.points(3, 2)
    torch.testing.assert_close(single[:, 0, 0, 0], planes.affine[:, :3, 3], rtol=0, atol=1e-3)
    mean = many.mean(1).view(len(heart), 8, 2, 8, 2, 3).mean((2, 4))
    torch.testing.assert_close(mean, single[:, 0], rtol=0, atol=1e-3)
    pixels = planes.to_pixels(single[:, 0].flatten(1, 2))
    assert pixels[:, 8 * 3 + 5].round().tolist() == [[3.0, 5.0, 0.0]] * len(heart)


def test_mid_slices_are_a_closed_ring_of_muscle_round_the_cavity_with_the_rv_beside(heart: Heart):
    planes = mid_slices(heart, spacing_mm=1.6)
    masks = render(heart, planes, scanner=Scanner.ideal()).masks
    grown = torch.nn.functional.max_pool2d((masks == 1).float()[:, None], 3, 1, 1)[:, 0] > 0
    assert set(masks[grown & (masks != 1)].tolist()) == {2}, "the cavity touches something besides myocardium"
    for mask in masks:
        assert set(mask.unique().tolist()) == {0, 1, 2, 3}
        ring = torch.nn.functional.max_pool2d((mask == 2).float()[None, None], 3, 1, 1)[0, 0] > 0
        assert (ring & (mask == 3)).sum() > 10, "the right ventricle does not touch the septum"


def test_four_chambers_are_in_the_four_chamber_view_and_two_in_the_two_chamber_view(heart: Heart):
    for seed in range(3):
        four = render(heart, long_axis(heart, "4CH", size=SIZE, spacing_mm=SPACING_MM, seed=seed)).masks
        two = render(heart, long_axis(heart, "2CH", size=SIZE, spacing_mm=SPACING_MM, seed=seed)).masks
        for mask in four:
            assert {1, 2, 3, 4, 5} <= set(mask.unique().tolist())
        for mask in two:
            assert {1, 2, 4} <= set(mask.unique().tolist())
            assert (mask == 5).sum() == 0


def test_the_aorta_is_in_its_views(heart: Heart):
    for kind in AORTA:
        planes = other_plane(heart, kind, size=SIZE, spacing_mm=SPACING_MM)
        tissue = heart.tissue(planes.points(1).flatten(1, 3), heart.phase(torch.zeros(len(heart))))
        assert ((tissue == Tissue.VESSEL).sum(1) > 100).all()


def test_insertion_points_lie_between_rv_muscle_and_outside(heart: Heart):
    planes = mid_slices(heart, spacing_mm=1.2)
    found = render(heart, planes, scanner=Scanner.ideal(), through=1)
    assert found.landmarks.isfinite().all()
    for mask, points in zip(found.masks, found.landmarks, strict=True):
        assert points[0, 0] < points[1, 0], "the anterior insertion is above the inferior one"
        for row, column in points.round().int().tolist():
            near = mask[row - 3 : row + 4, column - 3 : column + 4]
            assert {0, 2, 3} <= set(near.unique().tolist())
    assert render(heart, long_axis(heart, "4CH", size=32)).landmarks.isnan().all()


def test_nulled_muscle_is_dark_and_scar_is_bright_and_labelled():
    heart = Heart.draw(["MINF"] * 4, seed=12)
    found = render(heart, sax_stack(heart, 9, 8, 2, SPACING_MM, SIZE), "lge", 0.6, scanner=Scanner.ideal())
    scar, muscle = found.images[found.masks == 6], found.images[found.masks == 2]
    assert len(scar) > 50
    assert scar.median() > 4 * muscle.median()
    assert found.lge == ["present"] * 36
    assert 6 not in render(heart, mid_slices(heart), "cine").masks
    assert (found.volumes["scar"] > 0).all()


@pytest.mark.parametrize("contrast", ["t1_native", "t1_post", "t2_map"])
def test_maps_hold_what_the_equations_were_given(heart: Heart, contrast: str):
    found = render(heart, mid_slices(heart), contrast, scanner=Scanner.ideal())
    given = properties(heart.traits.field_t, torch.full((len(heart),), contrast == "t1_post"))
    given = given[1] if contrast == "t2_map" else given[0]
    cavity = -torch.nn.functional.max_pool2d(-(found.masks == 1).float()[:, None], 3, 1, 1)[:, 0] > 0
    for index in range(len(heart)):
        values = found.images[index][cavity[index]]
        blood = given[index, Tissue.LV_BLOOD]
        assert values.median().item() == pytest.approx(blood.item(), rel=1e-4)
        truth = found.t2_ms if contrast == "t2_map" else found.t1_ms
        assert torch.equal(found.images[index], truth[index])


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_every_contrast_renders_finite_pictures_with_labels_of_the_package(heart: Heart, contrast: str):
    found = render(heart, mid_slices(heart), contrast, 0.4, seed=5)
    assert found.images.shape == found.masks.shape == (5, SIZE, SIZE)
    assert found.images.dtype == torch.float32
    assert found.images.isfinite().all()
    assert set(found.masks.unique().tolist()) <= set(LABELS)
    assert found.image_type in IMAGE_TYPES
    assert (found.images.flatten(1).std(1) > 0).all()


def test_equal_arguments_give_equal_pictures_and_another_seed_another(heart: Heart):
    planes = mid_slices(heart)
    first, again, other = (render(heart, planes, seed=seed).images for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_supersampled_masks_and_pictures_keep_their_shape_and_nearly_their_areas(heart: Heart):
    planes = mid_slices(heart)
    plain, fine = (render(heart, planes, scanner=Scanner.ideal(), in_plane=samples) for samples in (1, 3))
    assert fine.images.shape == plain.images.shape
    areas = [(one.masks == 1).sum((1, 2)).float() for one in (plain, fine)]
    torch.testing.assert_close(areas[0], areas[1], rtol=0.08, atol=4)


def test_noise_and_a_small_matrix_change_a_picture_by_their_size(heart: Heart):
    planes = mid_slices(heart)
    quiet = replace(Scanner.ideal(), map_noise_ms=(1.0, 1.0))  # all but ideal: the same random numbers are drawn
    noisy = replace(quiet, noise=(0.05, 0.05))
    coarse = replace(quiet, matrix=(0.25, 0.25))
    clean = render(heart, planes, seed=4, scanner=quiet).images
    grain = (render(heart, planes, seed=4, scanner=noisy).images - clean).std((1, 2))
    top = clean.flatten(1).quantile(0.98, dim=1)
    assert ((grain / top > 0.02) & (grain / top < 0.09)).all()
    blurred = render(heart, planes, seed=4, scanner=coarse).images
    detail = [one.diff(n=2, dim=1).abs().mean((1, 2)) for one in (blurred, clean)]  # what only fine structures have
    assert (detail[0] < 0.7 * detail[1]).all()


def test_when_a_view_or_kind_is_unknown_then_it_raises(heart: Heart):
    with pytest.raises(ValueError, match="`view` needs one of"):
        long_axis(heart, "5CH")
    with pytest.raises(ValueError, match="`kind` needs one of"):
        other_plane(heart, "knee")
    with pytest.raises(ValueError, match="`slices`, `thickness_mm` and `gap_mm` need"):
        sax_stack(heart, 0)
    with pytest.raises(ValueError, match="`through` and `in_plane` need whole numbers from 1"):
        long_axis(heart, "4CH", size=8).points(0)
    with pytest.raises(ValueError, match="`planes` need one matrix size"):
        join([long_axis(heart, "4CH", size=8), long_axis(heart, "4CH", size=9)])
