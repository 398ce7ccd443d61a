"""A beating heart from equations: which tissue is at a point, and what its chambers hold, exactly.

The left ventricle lies along z of the heart's own frame (x towards the septum, y inferior, z to the apex), between the
valve plane and the apex, at relative height 0 … 1. At each height and angle its inner and outer radius are functions
in closed form: a truncated ellipsoid at end diastole; later the squared inner radius shrinks by one factor for the
whole ventricle (less where the wall is akinetic), which is solved for so that the cavity holds exactly the volume
asked for, and the area of wall over each angle follows from keeping every sector's volume. The right ventricle is a
crescent of a thickness that is solved for likewise, so its insertion points are known in closed form too.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor

from .chest import body_tissue, skin_depth, upright, wall_mm
from .deformation import Deformation
from .places import Phase, Site, Wall
from .population import DENSITY_G_PER_ML, DISEASES, Traits, draw_traits
from .ventricles import paint_ventricles
from .wall_fields import WallFields, look_up, make_table, own_numbers

_WIDEST = 0.15  # height at which the ventricle is widest
_CAP_MM = 6.0  # wall beyond the tip of the cavity
_STREAMS = (11, 12, 20, 30, 31, 32, 33, 34, 35)  # of `own_numbers`, by who asks for them: see `Heart.numbers`


class Heart:
    """A batch of hearts in their chests.

    Args:
        traits (`Traits`): who they are; volumes, ejection fractions and masses are met exactly.

    Attributes:
        traits (`Traits`): as given.
    """

    def __init__(self, traits: Traits) -> None:
        self.traits = traits
        one = traits
        self._length = one.sphericity * (one.edv_ml * 1000) ** (1 / 3) + _CAP_MM
        self._tip = 1 - _CAP_MM / self._length
        self.rest_base_mm = -self._length / 2  # z of the valve plane at end diastole
        self._regional = bool((one.has_scar | (one.akinesia > 0)).any())
        self.own = own_numbers(one.texture, 8, 0)
        self._numbers = torch.stack([own_numbers(one.texture, 16, stream) for stream in _STREAMS], dim=1)
        hypertrophic = one.disease == DISEASES.index("HCM")
        self._table = make_table(one.texture, torch.where(hypertrophic, 0.16, 0.07 + 0.09 * self.own[:, 0]))
        self._sums()
        self._make_room()

    def numbers(self, stream: int, count: int) -> Tensor:
        """The first `count` of up to 16 of `own_numbers`, shape `(batch, count)`, computed once."""
        return self._numbers[:, _STREAMS.index(stream), :count]

    @classmethod
    def draw(cls, diseases: Sequence[str], seed: int, device: torch.device | str = "cpu") -> Heart:
        """One heart for each name of `DISEASES` in `diseases`, the same for the same seed."""
        return cls(draw_traits(diseases, seed).to(device))

    def __len__(self) -> int:
        return len(self.traits.disease)

    @property
    def deformation(self) -> Deformation:
        """How each heart differs from the regular one."""
        return Deformation(self.traits.shape)

    @property
    def tip_height(self) -> Tensor:
        """Relative height of the cavity's tip, 0 valve plane and 1 epicardial apex, shape `(batch,)`."""
        return self._tip

    @property
    def device(self) -> torch.device:
        """Where the hearts' tensors are."""
        return self.traits.edv_ml.device

    @property
    def diseases(self) -> list[str]:
        """The disease of each heart."""
        return [DISEASES[index] for index in self.traits.disease.tolist()]

    def select(self, index: Tensor) -> Heart:
        """The hearts at the positions of `index`, repeats allowed."""
        index = index.to(self.device)
        chosen = copy.copy(self)  # what was solved for stays solved
        chosen.traits = self.traits.select(index)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(chosen, name, value[index])
        return chosen

    @property
    def _grid(self) -> Site:
        """The places that are summed over; large, so `select` leaves them where they are."""
        grid, rows = self._all_sites, self._rows
        several = [one[rows] for one in (grid.height, grid.cosine, grid.sine, grid.angle)]
        return Site(*several, WallFields(*(getattr(grid.fields, one.name)[rows] for one in fields(WallFields))))

    # ---- shape, with (b, 1) or (b, n) heights and the cosine and sine of the angle

    def _region(self, height: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Weight 0 … 1 of the infarct's region; above one half is scar."""
        one = self.traits
        across = cosine * one.regional_angle.cos()[:, None] + sine * one.regional_angle.sin()[:, None]
        along = (height - one.regional_height[:, None]) / one.regional_extent[:, None]
        ragged = 0.12 * torch.sin(9 * height + 4 * sine + one.texture[:, :1])
        ragged = ragged + 0.10 * torch.sin(21 * height - 9 * cosine + one.texture[:, 1:2])
        narrow = 0.35 + 0.4 * (one.depth_low > 0)[:, None]  # a stripe is narrower than an infarct
        return torch.sigmoid(9 * (1.1 * across - along.square() * 0.55 - narrow + ragged))

    def site(self, height: Tensor, cosine: Tensor, sine: Tensor) -> Site:
        """What is special at heights and angles, each of shape `(b, n)`."""
        angle = torch.atan2(sine, cosine)
        return Site(height, cosine, sine, angle, look_up(self._table, height, angle.expand_as(height)))

    def _relaxed(self, site: Site) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Squared inner and outer radius over the widest place's, factor of the thickness, weight of the region."""
        one, height, cosine = self.traits, site.height, site.cosine
        tip = self._tip[:, None]
        inner = (1 - ((height - _WIDEST) / (tip - _WIDEST)).square()).clamp(min=0) * (height < tip)
        outer = (1 - ((height - _WIDEST) / (1 - _WIDEST)).square()).clamp(min=0)
        round_ = 1 + one.ellipticity[:, None] * (2 * cosine.square() - 1) + site.fields.bend
        round_ = round_ - one.septal_flattening[:, None] * (6 * (cosine - 1)).exp()
        if self._regional:
            region = self._region(height, cosine, site.sine)
        else:
            region = torch.zeros_like(inner)
        beside = cosine * one.asymmetry_angle.cos()[:, None] + site.sine * one.asymmetry_angle.sin()[:, None]
        bulge = one.asymmetry[:, None] * (2.2 * (beside - 1) - 1.5 * (height - 0.3).square()).exp()
        thickness = (site.fields.thickness + bulge) * (1 - one.thinning[:, None] * region)
        return inner * round_, outer * round_, thickness, region

    def _sums(self) -> None:
        """Solves radius and wall thickness at end diastole, and keeps the integrals that each phase needs."""
        heights, angles = 96, 48
        height = (torch.arange(heights, device=self.device) + 0.5) / heights
        angle = (torch.arange(angles, device=self.device) + 0.5) * (2 * torch.pi / angles)
        grid_h, grid_a = (one.flatten()[None] for one in torch.meshgrid(height, angle, indexing="ij"))
        shape = len(self), heights * angles
        self._all_sites = self.site(grid_h.expand(shape), grid_a.cos().expand(shape), grid_a.sin().expand(shape))
        self._rows = torch.arange(len(self), device=self.device)
        self._cell = 2 * torch.pi / (heights * angles)

        one = self.traits
        inner, outer, thickness, region = self._relaxed(self._grid)
        half = self._cell / 2
        self.radius_mm = (one.edv_ml * 1000 / (self._length * inner.sum(1) * half)).sqrt()
        wall = one.mass_g / DENSITY_G_PER_ML * 1000 / (self._length * half)
        # (r + w q)² P - r² p summed is the wall: a quadratic in the mean thickness w
        a = (thickness.square() * outer).sum(1)
        b = 2 * self.radius_mm * (thickness * outer).sum(1)
        c = self.radius_mm.square() * (outer.sum(1) - inner.sum(1)) - wall
        self._thickness = ((b.square() - 4 * a * c).clamp(min=0).sqrt() - b) / (2 * a)
        self._thickness = self._thickness.clamp(min=2.0)
        relaxed = self.radius_mm.square()[:, None] * inner
        self._still_sum = relaxed.sum(1) * half
        self._moving_sum = (relaxed * (1 - one.akinesia[:, None] * region)).sum(1) * half
        self._half = half

    def wall(self, phase: Phase, height: Tensor, cosine: Tensor, sine: Tensor) -> Wall:
        """Squared radii of the left ventricle, each of shape `(batch, n)`."""
        return self.wall_at(phase, self.site(height, cosine, sine))

    def wall_at(self, phase: Phase, site: Site) -> Wall:
        """As `wall`, where the places have been looked up."""
        inner, outer, thickness, region = self._relaxed(site)
        radius = self.radius_mm[:, None]
        inner = radius.square() * inner
        outer = (radius + self._thickness[:, None] * thickness).square() * outer
        muscle = (outer - inner).clamp(min=0) * (self._length / phase.length_mm)[:, None]
        moving = 1 - self.traits.akinesia[:, None] * region
        inner = inner * (1 - phase.squeeze[:, None] * moving)
        return Wall(inner, inner + muscle, region)

    def rv_profile(self, site: Site) -> Tensor:
        """Thickness of the right ventricle over its greatest one, about; 0 beyond the insertions.

        Fuller towards the diaphragm, as in the outlines of ACDC's training patients.
        """
        away = torch.remainder(site.angle - self.traits.rv_angle[:, None] + torch.pi, 2 * torch.pi) - torch.pi
        across = away / self.rv_half_angle(site.height)  # -1 anterior, 1 inferior insertion
        full = 2.2 + 2.2 * self.own[:, 1:2]  # the larger, the flatter the free wall and the sharper its corners
        full = torch.where(across > 0, full + 1.0 + 2.5 * self.own[:, 3:4], full)  # sharpest is the inferior one
        end = 0.5 + 0.3 * self.own[:, 2:3]
        rest = (1 - across.abs().clamp(max=1).pow(full)).clamp(min=1e-9).pow(end)
        skew = 1 + (0.1 + 0.7 * self.own[:, 3:4]) * across * (1 - 0.7 * across.square()).clamp(min=0)
        there = (across.abs() < 1) & (site.height < self.rv_end[:, None]) & (site.height >= self.rv_start[:, None])
        return rest * self.rv_taper(site.height) * skew * site.fields.right * there

    def rv_taper(self, height: Tensor) -> Tensor:
        """What the right ventricle keeps of its thickness towards its tip, 1 at the base; of the shape of `height`."""
        one = self.numbers(34, 4)
        lower = (height / self.rv_end[:, None]).clamp(0, 1).pow(1.2 + 1.4 * one[:, 2:3])
        return (1 - lower).clamp(min=1e-9).pow(0.35 + 0.25 * one[:, 3:4])

    @property
    def rv_end(self) -> Tensor:
        """Height of the tip of the right ventricle, 0 valve plane and 1 epicardial apex, shape `(batch,)`."""
        return 0.84 + 0.14 * self.numbers(34, 1)[:, 0]

    @property
    def rv_start(self) -> Tensor:
        """Height at which the right ventricle begins, shape `(batch,)`: its valve lies deeper than the left one's, in
        some hearts so deep that the first slice of the left ventricle shows none of it."""
        return (0.17 * self.numbers(34, 5)[:, 4] - 0.02).clamp(min=0)

    def rv_half_angle(self, height: Tensor) -> Tensor:
        """Angle in radians between the middle of the right ventricle and either insertion, at each height; it narrows
        towards the apex, in some hearts to less than half."""
        narrow = 0.05 + 0.35 * self.numbers(34, 2)[:, 1:]
        return self.traits.rv_width[:, None] * (1 - narrow * height.clamp(0, 1).pow(1.2))

    # ---- time

    def volume_curve(self, time: Tensor) -> Tensor:
        """Fraction of the stroke volume still in the ventricle at a time 0 … 1 of the cycle; 0 at end systole."""
        end = self.traits.es_time
        time = time % 1.0
        ejecting = 0.5 * (1 + torch.cos(torch.pi * (time / end).clamp(max=1)))
        after = ((time - end) / (1 - end)).clamp(0, 1)

        def step(low: float, high: float) -> Tensor:
            at = ((after - low) / (high - low)).clamp(0, 1)
            return at.square() * (3 - 2 * at)

        filling = 0.75 * step(0.0, 0.45) + 0.25 * step(0.72, 1.0)  # early wave, rest, atrial kick
        return torch.where(time < end, ejecting, filling)

    def phase(self, time: Tensor) -> Phase:
        """The hearts at `time` (`torch.Tensor` of shape `(batch,)`), 0 end diastole, `traits.es_time` end systole."""
        one = self.traits
        left = self.volume_curve(time.to(self.device))
        descent = 14.0 * (one.ef / 0.6) * (1 - left)  # of the valve plane, mm
        length = self._length - descent
        volume = one.edv_ml * (1 - one.ef * (1 - left)) * 1000
        squeeze = ((self._still_sum - volume / length) / self._moving_sum).clamp(0, 0.93)
        shut = time.to(self.device) % 1.0 <= one.es_time
        phase = Phase(self._length * 0.5 - length, length, squeeze, torch.ones_like(length), shut)

        outer = self.wall_at(phase, self._grid).outer.sqrt()
        profile = self.rv_profile(self._grid)
        rv_volume = one.rv_edv_ml * (1 - one.rv_ef * (1 - left)) * 1000
        a, b = profile.square().sum(1), 2 * (profile * outer).sum(1)
        c = -rv_volume / (length * self._half)
        phase.rv_reach_mm = ((b.square() - 4 * a * c).sqrt() - b) / (2 * a)
        return phase

    def volumes(self, phase: Phase) -> dict[str, Tensor]:
        """Volumes in ml at a phase: `lv`, `rv`, `myocardium`, `scar`, each of shape `(batch,)`.

        Integrals of the same equations that draw the pictures, over 96 heights and 48 angles.
        """
        wall = self.wall_at(phase, self._grid)
        outer = wall.outer.sqrt()
        reach = phase.rv_reach_mm[:, None] * self.rv_profile(self._grid)
        muscle = wall.outer - wall.inner
        low, high = self.scar_depths(wall.region)
        scar = muscle * (high - low).clamp(min=0) * (wall.region > 0.5)
        scale = phase.length_mm * self._half / 1000
        return {
            "lv": wall.inner.sum(1) * scale,
            "rv": ((outer + reach).square() - wall.outer).sum(1) * scale,
            "myocardium": muscle.sum(1) * scale,
            "scar": scar.sum(1) * scale * self.traits.has_scar,
        }

    def scar_depths(self, region: Tensor) -> tuple[Tensor, Tensor]:
        """Where scar begins and ends through the wall (0 endocardium, 1 epicardium), narrowing at its border."""
        one = self.traits
        core = ((region - 0.5) / 0.25).clamp(0, 1).sqrt()
        middle = torch.where(one.depth_low > 0, (one.depth_low + one.depth_high) / 2, one.depth_low)[:, None]
        low = middle + (one.depth_low[:, None] - middle) * core
        return low, middle + (one.depth_high[:, None] - middle) * core

    # ---- space

    def _make_room(self) -> None:
        """How large the heart's sac is, and how far the chest lies behind so that its wall just clears the heart."""
        phase = self.phase(torch.zeros_like(self.traits.ef))
        grid, outer = self._grid, self.wall_at(phase, self._grid).outer.sqrt()
        reach = phase.rv_reach_mm[:, None] * self.rv_profile(grid)
        wide, right = outer.amax(1), (outer + reach).amax(1)
        self._widest_mm, self._fullest = 1.15 * wide, 1.05 * self.rv_profile(grid).amax(1)
        half = torch.maximum((wide + right) / 2, torch.full_like(wide, 42.0))
        self.sac_mm = torch.stack(
            [half, torch.maximum(0.97 * wide, 0.72 * half), self._length * 0.57, (right - wide) / 2], 1
        )
        far = outer + reach
        z = phase.base_mm[:, None] + grid.height * phase.length_mm[:, None]
        bent = self.deformation.bend(far * grid.cosine, far * grid.sine, z)
        place = self.to_patient(torch.stack(bent, dim=2))
        gap = 5 * self.own[:, 7]
        self.front_mm = torch.zeros_like(gap)
        for _ in range(4):
            depth = skin_depth(place[..., 0], upright(place, self), self.traits.chest_mm)
            self.front_mm = self.front_mm - gap + (depth - wall_mm(self)).amin(1)
        self.front_mm = self.front_mm.clamp(-40, 40)

    def to_heart(self, points: Tensor) -> Tensor:
        """LPS in mm → the heart's own frame, both of shape `(batch, n, 3)`."""
        return (points - self.traits.position_mm[:, None]) @ self.traits.rotation

    def to_patient(self, points: Tensor) -> Tensor:
        """The heart's own frame → LPS in mm, both of shape `(batch, n, 3)`."""
        return points @ self.traits.rotation.transpose(1, 2) + self.traits.position_mm[:, None]

    def insertions(self, phase: Phase, depth_mm: Tensor) -> tuple[Tensor, Tensor]:
        """Anterior and inferior RV insertion on the epicardium in `n` short-axis planes.

        Args:
            depth_mm (`torch.Tensor` of shape `(batch, n)`): z of each plane in the heart's own frame.

        Returns:
            LPS in mm, shape `(batch, n, 2, 3)`, and relative heights, shape `(batch, n, 2)`, 0 base and 1 apex.
        """
        points, heights = [], []
        deformation = self.deformation
        for side in (-1, 1):  # y is inferior: the anterior one has the smaller angle
            z = depth_mm
            for _ in range(8):  # the plane is flat, the heart is bent: where it is cut depends on where one stands
                height = ((z - phase.base_mm[:, None]) / phase.length_mm[:, None]).clamp(0, 1)
                angle = self.traits.rv_angle[:, None] + side * self.rv_half_angle(height)
                radius = self.wall(phase, height, angle.cos(), angle.sin()).outer.sqrt()
                x, y = radius * angle.cos(), radius * angle.sin()
                z = deformation.depth(x, y, depth_mm)
            heights.append((z - phase.base_mm[:, None]) / phase.length_mm[:, None])
            points.append(self.to_patient(torch.stack(deformation.bend(x, y, z), dim=2)))
        return torch.stack(points, dim=2), torch.stack(heights, dim=2)

    def near(self, x: Tensor, y: Tensor, phase: Phase, spare_mm: float = 0.0) -> Tensor:
        """Where ventricles and the fat on them can be, and `spare_mm` more, bool of the shape of x and y (regular
        heart, mm, `(batch, n)`): farther from the long axis on the side of the right ventricle."""
        left = self._widest_mm + 16 + spare_mm
        right = left + phase.rv_reach_mm * self._fullest
        angle = self.traits.rv_angle
        beside = x * angle.cos()[:, None] + y * angle.sin()[:, None]
        return (x.square() + y.square()) < torch.where(beside > -spare_mm, right[:, None], left[:, None]).square()

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Middle in LPS, shape `(batch, 3)`, and half axes in the heart's frame, shape `(batch, 3)`, in mm, of an
        ellipsoid that holds ventricles, atria and the fat round them at every moment."""
        phase = self.phase(torch.zeros_like(self.traits.ef))
        wide = self.wall_at(phase, self._grid).outer.amax(1).sqrt()
        reach = phase.rv_reach_mm * self.rv_profile(self._grid).amax(1)
        half_x, half_y = wide + reach + 24, torch.maximum(wide, 0.8 * reach).clamp(min=45) + 30
        middle = torch.zeros(len(self), 1, 3, device=self.device)
        middle[:, 0, 0], middle[:, 0, 2] = 12.0, -18.0
        return self.to_patient(middle)[:, 0], torch.stack([half_x, half_y, self._length / 2 + 70], dim=1)

    def body(self, points: Tensor, margin_mm: float = 0.0) -> Tensor:
        """Which `Tissue` would be at LPS points in mm of shape `(batch, n, 3)` without ventricles and atria; vessels of
        lung and liver wider by `margin_mm`."""
        return body_tissue(points, self, margin_mm)

    def tissue(self, points: Tensor, phase: Phase, body: Tensor | None = None) -> Tensor:
        """Which `Tissue` is at LPS points in mm of shape `(batch, n, 3)`: uint8 of shape `(batch, n)`.

        Args:
            body (`torch.Tensor` of shape `(batch, n)`, *optional*): from `body`, where it is known; it is painted over.
        """
        tissue = self.body(points) if body is None else body
        paint_ventricles(tissue, points, self, phase)
        return tissue
