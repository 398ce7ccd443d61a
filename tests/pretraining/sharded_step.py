"""One step with everything in shards over two processes, against the same step whole; run by test_sharding.py."""

import os

import torch
from torch.distributed.fsdp import fully_shard

from cmr_hf.pretraining.building import set_rates
from cmr_hf.pretraining.loss import DINOLoss
from cmr_hf.pretraining.states import load_whole_state, whole_state
from cmr_hf.pretraining.teacher import clip_each, make_teacher, parameter_groups, update_teacher
from tests.pretraining.pretrain_factory import tiny_student


def step(student, teacher, views) -> tuple[float, float]:
    optimizer = torch.optim.AdamW(parameter_groups(student), fused=True)
    set_rates(optimizer, 0.01, 0.1)
    loss = DINOLoss(24)
    with torch.no_grad():
        targets, _ = teacher(views[:1])
    value, _ = loss(student(views)[0], targets, 4, 0.04)
    value.backward()
    norm = clip_each(student.parameters(), 0.01)
    optimizer.step()
    update_teacher(teacher, student, 0.5)
    return value.item(), norm.item()


def main() -> None:
    torch.distributed.init_process_group("gloo")
    torch.set_num_threads(1)
    pairs = []
    for sharded in (False, True):
        torch.manual_seed(0)
        student = tiny_student()
        teacher = make_teacher(student)
        for network in (student, teacher) if sharded else ():
            for layer in network.backbone.layers:
                fully_shard(layer)
            fully_shard(network)
        pairs.append((student, teacher))
    torch.manual_seed(1)
    views = [torch.randn(8, 1, 32, 32), torch.randn(8, 1, 16, 16)]  # the same on both: gradients average to the same
    whole, sharded = (step(*pair, views) for pair in pairs)
    torch.testing.assert_close(torch.tensor(sharded), torch.tensor(whole), rtol=1e-4, atol=1e-5)
    for one, other in zip(*pairs, strict=True):
        theirs, ours = whole_state(one), whole_state(other)
        for name in theirs:
            if not name.endswith("k_proj.bias"):
                torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=1e-4, msg=name)
        load_whole_state(other, {name: tensor * 2 for name, tensor in ours.items()})
        again = whole_state(other)
        assert all(torch.equal(again[name], ours[name] * 2) for name in ours)
    if os.environ["RANK"] == "0":
        print("sharded step is the whole step")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
