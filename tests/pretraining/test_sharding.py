"""Average, clipping, saving and loading where FSDP has the weights in shards."""

import subprocess
import sys

import pytest

from tests.pretraining.pretrain_factory import ROOT, environment


@pytest.mark.slow
def test_when_weights_are_in_shards_then_a_step_is_the_same():
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, "-m", "tests.pretraining.sharded_step"],
        env=environment() | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "sharded step is the whole step" in done.stdout
