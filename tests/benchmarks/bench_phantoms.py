"""Phantoms rendered with all effects on, against MONAI's MR augmentation of pictures that are there already.

    python tests/benchmarks/bench_phantoms.py
    python tests/benchmarks/bench_phantoms.py --threads 2 --repetitions 5

One thread by default: images a second and core, at 224 x 224, three layers through the slice, beginning with planes
and ending with pictures and truth. Both sides take turns. Rates are by the clock and per second of processor time, for
machines that are never idle. "series" are eight moments of each slice, as a study's cines are made: what lies round the
heart is looked up once.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from cmr_hf.phantoms import CONTRASTS, DISEASES, Heart, long_axis, render, sax_stack

AIM = 25.0
REFERENCE = "MONAI's chain"


def render_batch(contrast: str, seed: int) -> int:
    """A short-axis stack and a four-chamber view of five hearts."""
    heart = Heart.draw(DISEASES, seed=seed)
    stack = render(heart, sax_stack(heart, slices=8, seed=seed), contrast, time=0.2, seed=seed)
    long = render(heart, long_axis(heart, "4CH", seed=seed), contrast, time=0.2, seed=seed)
    return len(stack.images) + len(long.images)


def render_series(contrast: str, seed: int) -> int:
    """Eight moments of four slices of one heart."""
    heart = Heart.draw([DISEASES[seed % len(DISEASES)]], seed=seed)
    planes, known = sax_stack(heart, slices=4, lead_mm=-20, seed=seed), {}
    made = [render(heart, planes, contrast, time=step / 8, seed=seed, surroundings=known) for step in range(8)]
    return sum(len(one.images) for one in made)


def augment(pictures: torch.Tensor) -> int:
    """Bias field, noise, Gibbs ringing, contrast and a smooth bend of each picture, every one of them always."""
    from monai import transforms as mt

    chain = mt.Compose(
        [
            mt.Rand2DElastic(spacing=(32, 32), magnitude_range=(1, 3), prob=1.0, rotate_range=0.4, scale_range=0.15),
            mt.RandBiasField(prob=1.0, coeff_range=(0.0, 0.3)),
            mt.RandAdjustContrast(prob=1.0, gamma=(0.7, 1.5)),
            mt.RandGibbsNoise(prob=1.0, alpha=(0.2, 0.6)),
            mt.RandRicianNoise(prob=1.0, std=0.05),
        ]
    )
    for picture in pictures:
        chain(picture[None])
    return len(pictures)


def rates(action: Callable[..., int], *arguments: object) -> tuple[float, float]:
    """Images a second by the clock, and per second of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    count = action(*arguments)
    return count / (time.perf_counter() - clock), count / (time.process_time() - processor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--contrasts", nargs="*", choices=list(CONTRASTS), default=list(CONTRASTS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    heart = Heart.draw(DISEASES, seed=0)
    pictures = render(heart, sax_stack(heart, slices=8), "cine").images  # warms up, too
    augment(pictures[:2])
    turns: dict[str, list[tuple[float, float]]] = {}
    for repetition in range(options.repetitions):
        for contrast in options.contrasts:
            turns.setdefault(contrast, []).append(rates(render_batch, contrast, repetition))
        turns.setdefault("cine series", []).append(rates(render_series, "cine", repetition))
        turns.setdefault(REFERENCE, []).append(rates(augment, pictures))
    medians = {name: [statistics.median(one) for one in zip(*found, strict=True)] for name, found in turns.items()}
    print(f"{options.threads} thread(s), median of {options.repetitions}; aim {AIM:g} images/s")
    for name, (clock, processor) in medians.items():
        share = processor / medians[REFERENCE][1]
        print(f"{name:14s} {clock:6.1f} images/s, {processor:6.1f} by processor time, {share:5.2f} of MONAI's")


if __name__ == "__main__":
    main()
