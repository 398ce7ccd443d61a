"""Average, groups, freezing and clipping by numbers; and that the head is what the paper says."""

import pytest
import torch

from cmr_hf.hub.encoding_cmr import StochasticDepth
from cmr_hf.pretraining.building import build_optimizer, set_rates
from cmr_hf.pretraining.teacher import clip_each, freeze, last_layer_of, make_teacher, parameter_groups, update_teacher
from tests.pretraining.pretrain_factory import tiny_student


def test_the_teacher_moves_by_its_share_of_the_student():
    student = tiny_student()
    teacher = make_teacher(student)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.fill_(2.0)
        for parameter in teacher.parameters():
            parameter.fill_(1.0)
    update_teacher(teacher, student, 0.75)
    assert all(torch.allclose(p, torch.tensor(1.25)) for p in teacher.parameters())
    update_teacher(teacher, student, 1.0)
    assert all(torch.allclose(p, torch.tensor(1.25)) for p in teacher.parameters())


def test_the_teacher_has_no_gradient_and_no_stochastic_depth():
    student = tiny_student(drop_path_rate=0.5)
    teacher = make_teacher(student)
    views = [torch.randn(64, 1, 32, 32)]
    assert not any(p.requires_grad for p in teacher.parameters())
    assert any(isinstance(m, StochasticDepth) and m.rate > 0 for m in student.modules())
    with torch.no_grad():
        assert torch.equal(teacher(views)[0], teacher(views)[0])
        assert not torch.equal(student(views)[0], student(views)[0])


def test_when_networks_differ_then_the_average_is_refused():
    with pytest.raises(ValueError, match="make_teacher"):
        update_teacher(tiny_student().head, tiny_student(), 0.9)


def test_biases_norms_and_other_vectors_do_not_decay():
    student = tiny_student()
    decays, rests = parameter_groups(student)
    assert decays["decays"]
    assert not rests["decays"]
    assert all(p.ndim >= 2 for p in decays["params"])
    names = {id(p): name for name, p in student.named_parameters()}
    assert all(names[id(p)].endswith(".bias") or "layernorm" in names[id(p)] for p in rests["params"])
    trainable = [p for p in student.parameters() if p.requires_grad]
    assert len(decays["params"]) + len(rests["params"]) == len(trainable)


def test_a_frozen_last_layer_neither_moves_nor_decays():
    student = tiny_student()
    optimizer = build_optimizer(student)
    set_rates(optimizer, 0.1, 0.5)
    student([torch.randn(4, 1, 32, 32)])[0].square().sum().backward()
    layer = last_layer_of(student)
    assert len(layer) == 1
    before, other = layer[0].clone(), student.head.mlp[0].weight.clone()
    freeze(layer)
    optimizer.step()
    assert torch.equal(layer[0], before)
    assert not torch.equal(student.head.mlp[0].weight, other)


def test_each_gradient_is_clipped_by_itself_and_the_norm_of_all_is_told():
    long, short = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    long.grad, short.grad = torch.tensor([30.0, 40.0]), torch.tensor([0.0, 2.0])
    norm = clip_each([long, short, torch.nn.Parameter(torch.zeros(1))], limit=3.0)
    torch.testing.assert_close(long.grad, torch.tensor([1.8, 2.4]))
    torch.testing.assert_close(short.grad, torch.tensor([0.0, 2.0]))
    assert norm.item() == pytest.approx((50**2 + 2**2) ** 0.5)
    with pytest.raises(ValueError, match="backward"):
        clip_each([torch.nn.Parameter(torch.zeros(1))], 3.0)


def test_outputs_are_cosines_in_float32_even_under_bfloat16():
    student = tiny_student(out_dim=50)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, features = student([torch.randn(3, 1, 32, 32), torch.randn(6, 1, 16, 16)])
    assert outputs.shape == (9, 50)
    assert features.shape == (9, 32)
    assert outputs.dtype == torch.float32
    assert outputs.abs().max() <= 1 + 1e-5
    lengths = student.head.last_layer.weight.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(50))


def test_the_last_layer_s_lengths_train_only_if_asked():
    assert not tiny_student().head.last_layer.parametrizations.weight.original0.requires_grad
