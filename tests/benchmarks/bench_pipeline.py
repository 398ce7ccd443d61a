"""Pipeline throughput on 64 slices against the bare model's forward at the same batch size: must be at least 0.9.

    python tests/benchmarks/bench_pipeline.py
    python tests/benchmarks/bench_pipeline.py --batch-size 16 --repetitions 9
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_pipeline.py    # then processor time means something too

The slices are real ones, of the sample cine: noise has hundreds of islands to take away, hearts have few. Both sides
take turns, so that a busy machine slows both; the ratio is that of the medians, by the clock. The ratio of processor
times is printed beside it for machines that are never idle.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import pipeline

import cmr_hf
from cmr_hf.hub.reading_cmr import read_image

FLOOR = 0.9
SLICES, SPACING_MM = 64, (1.4, 1.4)


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - clock, time.process_time() - processor


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="a folder; by default the embedded model")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--dtype", default="float32", help="of the weights on both sides")
    options = parser.parse_args()

    pipe = pipeline("cmr-segmentation", model=options.model, dtype=getattr(torch, options.dtype))
    cine = read_image(cmr_hf.sample("sax_cine")).pixels  # (t, z, y, x)
    stack = np.ascontiguousarray(cine.reshape(-1, *cine.shape[-2:])[:SLICES])
    shape = stack.shape[-2:]
    pixel_values = pipe.image_processor(stack, spacing_mm=SPACING_MM)["pixel_values"].to(pipe.model.dtype)

    @torch.inference_mode()
    def bare() -> None:
        for part in pixel_values.to(pipe.device).split(options.batch_size):
            pipe.model(pixel_values=part)

    def whole() -> None:
        pipe(stack, spacing_mm=SPACING_MM, batch_size=options.batch_size)

    def forth_and_back() -> None:
        processor = pipe.image_processor
        for part in np.array_split(stack, SLICES // 16):
            processor(part, spacing_mm=SPACING_MM)
            processor.segment(torch.zeros(len(part), pipe.model.config.num_labels, 224, 224), shape, SPACING_MM)

    for run in (bare, whole):
        run()  # warm up
    times = {run: [] for run in (bare, whole, forth_and_back)}
    for _ in range(options.repetitions):
        for run, taken in times.items():
            taken.append(seconds(run))

    bare_s, whole_s, around_s = (statistics.median(one[0] for one in taken) for taken in times.values())
    bare_cpu, whole_cpu, around_cpu = (statistics.median(one[1] for one in taken) for taken in times.values())
    ratio = bare_s / whole_s
    print(f"cmr_hf {cmr_hf.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads, {pipe.device}")
    print(f"model forward   {SLICES / bare_s:7.1f} slices/s  ({bare_s:.3f} s for {SLICES})")
    print(f"pipeline        {SLICES / whole_s:7.1f} slices/s  ({whole_s:.3f} s), of which processor {around_s:.3f} s")
    print(f"processor time  {bare_cpu:.3f} s, {whole_cpu:.3f} s, {around_cpu:.3f} s: {bare_cpu / whole_cpu:.3f}")
    print(f"pipeline / model forward = {ratio:.3f}  (floor {FLOOR})")
    return int(ratio < FLOOR)


if __name__ == "__main__":
    sys.exit(main())
