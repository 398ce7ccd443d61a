"""Hearts are bent without changing a volume, and found again."""

import pytest
import torch

from cmr_hf.phantoms.deformation import PARAMETERS, Deformation


@pytest.fixture(scope="module")
def deformation() -> Deformation:
    return Deformation((2 * torch.rand(3, PARAMETERS, generator=torch.Generator().manual_seed(0)) - 1).double())


def points(count: int = 200) -> torch.Tensor:
    return 120 * torch.rand(3, count, 3, generator=torch.Generator().manual_seed(1)).double() - 60


def test_bending_is_the_inverse_of_straightening(deformation: Deformation):
    regular = torch.stack(deformation.straighten(*points().unbind(2)), dim=2)
    assert (regular - points()).norm(dim=2).max() > 3, "something is bent"
    torch.testing.assert_close(torch.stack(deformation.bend(*regular.unbind(2)), dim=2), points())


def test_no_volume_changes(deformation: Deformation):
    for one in range(3):
        alone = Deformation(deformation.shape[one : one + 1])

        def straight(place: torch.Tensor, alone: Deformation = alone) -> torch.Tensor:
            return torch.stack(alone.straighten(*place[None, None].unbind(2)), dim=2)[0, 0]

        for place in points()[one, :10]:
            jacobian = torch.autograd.functional.jacobian(straight, place)
            torch.testing.assert_close(torch.linalg.det(jacobian), torch.tensor(1.0).double())
            assert (jacobian - torch.eye(3)).abs().max() > 0.02


def test_depth_is_that_of_straightening(deformation: Deformation):
    x, y, z = points().unbind(2)
    regular = deformation.straighten(x, y, z)
    torch.testing.assert_close(deformation.depth(regular[0], regular[1], z), regular[2])


def test_when_numbers_are_missing_then_it_raises():
    with pytest.raises(ValueError, match="`shape` needs 24 numbers a heart, got 5"):
        Deformation(torch.zeros(2, 5))
