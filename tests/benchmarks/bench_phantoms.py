"""Phantoms rendered with all effects on, against MONAI's MR augmentation of pictures that are there already.

    python tests/benchmarks/bench_phantoms.py
    python tests/benchmarks/bench_phantoms.py --threads 2 --repetitions 5

One thread by default: images a second and core, at 224 x 224, three layers through the slice, beginning with planes
and ending with pictures and truth. Both sides take turns.
"""

import argparse
import statistics
import time

import torch

from cmr_hf.phantoms import CONTRASTS, DISEASES, Heart, long_axis, render, sax_stack

AIM = 25.0


def render_batch(contrast: str, seed: int) -> int:
    """A short-axis stack and a four-chamber view of five hearts."""
    heart = Heart.draw(DISEASES, seed=seed)
    stack = render(heart, sax_stack(heart, slices=8, seed=seed), contrast, time=0.2, seed=seed)
    long = render(heart, long_axis(heart, "4CH", seed=seed), contrast, time=0.2, seed=seed)
    return len(stack.images) + len(long.images)


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


def rate(action, *arguments) -> float:
    start = time.perf_counter()
    return action(*arguments) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    heart = Heart.draw(DISEASES, seed=0)
    pictures = render(heart, sax_stack(heart, slices=8), "cine").images  # warms up, too
    augment(pictures[:2])
    ours: dict[str, list[float]] = {contrast: [] for contrast in CONTRASTS}
    theirs = []
    for repetition in range(options.repetitions):
        for contrast, rates in ours.items():
            rates.append(rate(render_batch, contrast, repetition))
        theirs.append(rate(augment, pictures))
    reference = statistics.median(theirs)
    print(f"{options.threads} thread(s), median of {options.repetitions}; MONAI's chain: {reference:.1f} images/s")
    for contrast, rates in ours.items():
        found = statistics.median(rates)
        print(f"{contrast:14s} {found:6.1f} images/s, {found / reference:5.2f} of MONAI's (aim {AIM:g} images/s)")


if __name__ == "__main__":
    main()
