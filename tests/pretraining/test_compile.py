"""torch.compile: one graph for the student and one for the teacher, however many crop sizes and steps there are."""

import torch
from torch._dynamo.testing import CompileCounter

from cmr_hf.pretraining.arguments import PretrainArguments
from cmr_hf.pretraining.teacher import make_teacher
from tests.pretraining.pretrain_factory import tiny_student


def test_when_steps_repeat_then_nothing_is_compiled_again():
    torch._dynamo.reset()
    student = tiny_student(drop_path_rate=0.2)
    teacher, plain = make_teacher(student), make_teacher(student)
    counters = CompileCounter(), CompileCounter()
    student.compile(backend=counters[0])
    teacher.compile(backend=counters[1])
    counts = []
    for step in range(4):
        torch.manual_seed(step)
        views = [torch.randn(8, 1, 32, 32), torch.randn(12, 1, 16, 16)]
        with torch.no_grad():
            targets, _ = teacher(views[:1])
            torch.testing.assert_close(targets, plain(views[:1])[0], atol=1e-5, rtol=1e-4)
        student(views)[0].sum().backward()
        counts.append([counter.frame_count for counter in counters])
    torch._dynamo.reset()
    assert counts[0] == counts[-1]
    assert max(counts[-1]) <= 2
    assert all(parameter.grad is not None for parameter in student.head.mlp.parameters())


def test_it_is_off_unless_asked_for():
    assert not PretrainArguments(output_dir="run", data=[{"noise": 8}]).compile
