"""A heart of cylinders in patient space, with everything known: cavity, wall, RV, insertion points, segments."""

import numpy as np

from cmr_hf.clinical.stacks import Stack

APICAL = np.array([0.62, -0.55, -0.56]) / np.linalg.norm([0.62, -0.55, -0.56])  # to the left, the front and down
SEPTAL = np.array([-1.0, -0.6, 0.1]) - (np.array([-1.0, -0.6, 0.1]) @ APICAL) * APICAL
SEPTAL /= np.linalg.norm(SEPTAL)
ANTERIOR = np.cross(SEPTAL, APICAL)
CENTRE_MM = np.array([30.0, -20.0, 10.0])
HALF_SEPTUM_DEG = 60.0  # between its middle and either insertion point
CAVITY_MM, WALL_MM, RV_MM = 22.0, 9.0, 18.0


def affine_of(turn_deg=0.0, spacing_mm=(1.5, 1.5), size=(80, 80), distance_mm=10.0):
    """(column, row, slice) → LPS mm of the first slice, which lies at CENTRE_MM; the picture is turned in its plane."""
    angle = np.deg2rad(turn_deg)
    column = -SEPTAL * np.cos(angle) + ANTERIOR * np.sin(angle)
    row = np.cross(APICAL, column)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = column * spacing_mm[1], row * spacing_mm[0], APICAL * distance_mm
    middle = (np.array(size) - 1) / 2
    affine[:3, 3] = CENTRE_MM - affine[:3, 0] * middle[1] - affine[:3, 1] * middle[0]
    return affine


def ideal_heart(slices=9, affine=None, size=(80, 80), cavity_mm=CAVITY_MM, wall_mm=WALL_MM, rv=True, cap=True):
    """Labels (z, y, x), stack and insertion points (z, 2, 2); the last slice is wall alone if `cap`."""
    affine = affine_of(size=size) if affine is None else affine
    stack = Stack.regular((1.0, 1.0), slices, affine=affine, thickness_mm=8.0)
    labels = np.zeros((slices, *size), dtype=np.uint8)
    insertions = np.full((slices, 2, 2), np.nan)
    row, column = np.mgrid[: size[0], : size[1]]
    for z in range(slices):
        place = stack.to_patient(z, np.stack((row, column), axis=-1)) - CENTRE_MM
        septal, anterior = place @ SEPTAL, place @ ANTERIOR
        radius, angle = np.hypot(septal, anterior), np.arctan2(anterior, septal)
        shrink = 1 - 0.06 * z
        inner, outer = cavity_mm * shrink, cavity_mm * shrink + wall_mm
        tip = cap and z == slices - 1
        if rv and not tip:
            labels[z][(np.abs(angle) < np.deg2rad(HALF_SEPTUM_DEG)) & (radius < outer + RV_MM * shrink)] = 3
        labels[z][radius <= (wall_mm if tip else outer)] = 2
        if tip:
            continue
        labels[z][radius <= inner] = 1
        for k, sign in enumerate((1, -1)):
            turn = sign * np.deg2rad(HALF_SEPTUM_DEG)
            axis = CENTRE_MM + stack_offset(stack, z)
            point = axis + outer * (np.cos(turn) * SEPTAL + np.sin(turn) * ANTERIOR)
            insertions[z, k] = stack.to_pixels(z, point)
    return labels, stack, insertions


def stack_offset(stack, z):
    """From the first slice's place to that of slice z, along the long axis."""
    return APICAL * float((stack.affines[z, :3, 3] - stack.affines[0, :3, 3]) @ APICAL)


def true_segment(place_mm, level):
    """The segment of LPS points, written down from the definition, not from the code under test."""
    away = place_mm - CENTRE_MM
    angle = np.rad2deg(np.arctan2(away @ ANTERIOR, away @ SEPTAL)) % 360
    if level == "apical":
        return np.select([(angle < 45) | (angle >= 315), angle < 135, angle < 225], [14, 13, 16], 15)
    first = {"basal": 0, "mid": 6}[level]
    names = np.select([angle < 60, angle < 120, angle < 180, angle < 240, angle < 300], [2, 1, 6, 5, 4], 3)
    return names + first


def clear_of_borders(place_mm, level, margin_deg=1.0):
    """Which LPS points lie further than a margin from the border of a segment."""
    away = place_mm - CENTRE_MM
    angle = np.rad2deg(np.arctan2(away @ ANTERIOR, away @ SEPTAL))
    width, start = (90, 45) if level == "apical" else (60, 0)
    return np.abs((angle - start + width / 2) % width - width / 2) > margin_deg
