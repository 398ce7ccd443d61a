"""One pass of the ViT-S/8 under three heads against three separate passes: must take less than 0.6 of the time.

    python tests/benchmarks/bench_shared_encoder.py
    python tests/benchmarks/bench_shared_encoder.py --batch-size 4 --repetitions 9
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_shared_encoder.py    # then processor time means something too

The heads are classification, UNETR segmentation and landmarks over one encoder of random weights; both sides must
give the same answers. They take turns, so that a busy machine slows both; the ratio is that of the medians, by the
clock. The ratio of processor times is printed beside it for machines that are never idle.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch

import cmr_hf
from cmr_hf import CMRConfig, CMRForImageClassification, CMRForLandmarkDetection, CMRForSemanticSegmentation

CEILING = 0.6
HEADS = {CMRForImageClassification: 5, CMRForSemanticSegmentation: 4, CMRForLandmarkDetection: 2}  # -> labels


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - clock, time.process_time() - processor


def models_over_one_encoder() -> list[torch.nn.Module]:
    models = []
    for head, labels in HEADS.items():
        model = head(CMRConfig(decoder_type="unetr", id2label={index: str(index) for index in range(labels)})).eval()
        if models:
            model.backbone = models[0].backbone
        models.append(model)
    return models


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()

    torch.manual_seed(0)
    models = [model.to(options.device) for model in models_over_one_encoder()]
    encoder = models[0].backbone
    pixel_values = torch.rand(options.batch_size, 3, 224, 224, device=options.device) * 2 - 1

    def finished(answers: list[torch.Tensor]) -> list[torch.Tensor]:
        if pixel_values.is_cuda:
            torch.cuda.synchronize()
        return answers

    @torch.inference_mode()
    def encode() -> object:
        outputs = encoder(pixel_values, output_hidden_states=True)
        finished([])
        return outputs

    @torch.inference_mode()
    def shared() -> list[torch.Tensor]:
        outputs = encode()
        return finished([model(pixel_values=pixel_values, encoder_outputs=outputs).logits for model in models])

    @torch.inference_mode()
    def separate() -> list[torch.Tensor]:
        return finished([model(pixel_values=pixel_values).logits for model in models])

    pairs = list(zip(shared(), separate(), strict=True))  # and a warm-up
    difference = max(float((one - other).abs().max()) for one, other in pairs)
    times = {run: [] for run in (shared, separate, encode)}
    for _ in range(options.repetitions):
        for run, taken in times.items():
            taken.append(seconds(run))

    shared_s, separate_s, encode_s = (statistics.median(one[0] for one in taken) for taken in times.values())
    shared_cpu, separate_cpu, _ = (statistics.median(one[1] for one in taken) for taken in times.values())
    ratio = shared_s / separate_s
    print(
        f"cmr_hf {cmr_hf.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads, {options.device}"
    )
    print(f"one pass and three heads   {shared_s:7.3f} s for {options.batch_size}, of which encoder {encode_s:.3f} s")
    print(f"three separate passes      {separate_s:7.3f} s")
    print(f"processor time             {shared_cpu:7.3f} s, {separate_cpu:.3f} s: {shared_cpu / separate_cpu:.3f}")
    print(f"largest difference of the answers {difference:.1e}")
    print(f"shared / separate = {ratio:.3f}  (ceiling {CEILING})")
    return int(ratio >= CEILING or difference > 1e-5)


if __name__ == "__main__":
    sys.exit(main())
