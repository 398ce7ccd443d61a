"""How fast views are made: ours in torch by the batch against the published multi-crop recipe on PIL, on one core.

    OMP_NUM_THREADS=1 .venv/bin/python -m tests.benchmarks.bench_views

All cut 2 crops of 224 and 8 of 96 pixels out of a picture of 224, and take turns. Three recipes on PIL:

as published (Caron et al. 2021): random resized crop (antialiased bicubic), flip, colour jitter in random order with a
    probability of 0.8, grey scale 0.2, Gaussian blur 1.0, 0.1 and 0.5, solarisation 0.2 on the second crop, then a
    normalised float tensor of three channels
without colour: the same but for saturation, hue, grey scale and solarisation, which mean nothing in MR
one channel: the same once more, on pictures of one channel instead of three equal ones, which nobody publishes

Time is that of the processor, so that a busy machine counts less; the ratio is the median of those of the rounds.
"""

import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from cmr_hf.pretraining.views import MultiCrop, ViewSettings

PICTURES, PIL_PICTURES, ROUNDS = 64, 8, 15
AIM = 5  # times as fast as the recipe as published
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def resized_crop(picture: Image.Image, size: int, scale: tuple[float, float]) -> Image.Image:
    width, height = picture.size
    for _ in range(10):
        area = width * height * random.uniform(*scale)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            return picture.resize((size, size), Image.BICUBIC, box=(left, top, left + w, top + h))
    return picture.resize((size, size), Image.BICUBIC)


def shift_hue(picture: Image.Image, by: float) -> Image.Image:
    hue, saturation, value = picture.convert("HSV").split()
    moved = (np.asarray(hue, np.int16) + round(by * 255)) % 256
    return Image.merge("HSV", (Image.fromarray(moved.astype(np.uint8)), saturation, value)).convert("RGB")


def jitter(picture: Image.Image, colour: bool) -> Image.Image:
    steps = [
        lambda one: ImageEnhance.Brightness(one).enhance(random.uniform(0.6, 1.4)),
        lambda one: ImageEnhance.Contrast(one).enhance(random.uniform(0.6, 1.4)),
    ]
    if colour:
        steps.append(lambda one: ImageEnhance.Color(one).enhance(random.uniform(0.8, 1.2)))
        steps.append(lambda one: shift_hue(one, random.uniform(-0.1, 0.1)))
    random.shuffle(steps)
    for step in steps:
        picture = step(picture)
    return picture


def to_tensor(picture: Image.Image) -> torch.Tensor:
    pixels = torch.from_numpy(np.array(picture))
    pixels = (pixels.permute(2, 0, 1) if pixels.ndim == 3 else pixels[None]).float().div_(255)
    return pixels.sub_(MEAN[: len(pixels)]).div_(DEVIATION[: len(pixels)])


def pil_view(
    picture: Image.Image, size: int, scale: tuple[float, float], blur: float, solarise: float, colour: bool
) -> torch.Tensor:
    picture = resized_crop(picture, size, scale)
    if random.random() < 0.5:
        picture = ImageOps.mirror(picture)
    if random.random() < 0.8:
        picture = jitter(picture, colour)
    if colour and random.random() < 0.2:
        picture = ImageOps.grayscale(picture).convert("RGB")
    if random.random() < blur:
        picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))
    if colour and random.random() < solarise:
        picture = ImageOps.solarize(picture)
    return to_tensor(picture)


def pil_views(picture: Image.Image, colour: bool) -> list[torch.Tensor]:
    wide = [pil_view(picture, 224, (0.4, 1.0), *odds, colour) for odds in ((1.0, 0.0), (0.1, 0.2))]
    return wide + [pil_view(picture, 96, (0.05, 0.4), 0.5, 0.0, colour) for _ in range(8)]


def main() -> int:
    torch.set_num_threads(1)
    random.seed(0)
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(PICTURES, 1, 28, 28, generator=generator)
    images = torch.nn.functional.interpolate(smooth, 224, mode="bicubic")[:, 0].clamp(0, 1).mul(255).byte()
    extents, keys = torch.full((PICTURES, 2), 224), torch.arange(PICTURES)
    grey = [Image.fromarray(image.numpy()) for image in images[:PIL_PICTURES]]
    colour = [picture.convert("RGB") for picture in grey]
    views = MultiCrop(ViewSettings(), seed=0)
    made = views(images, extents, keys, step=0)  # written over and over, as in training
    makers: dict[str, tuple[Callable[[], object], int]] = {
        "torch, by the batch": (lambda: views(images, extents, keys, step=0, out=made), PICTURES),
        "PIL, as published": (lambda: [pil_views(one, True) for one in colour], PIL_PICTURES),
        "PIL, without colour": (lambda: [pil_views(one, False) for one in colour], PIL_PICTURES),
        "PIL, one channel": (lambda: [pil_views(one, False) for one in grey], PIL_PICTURES),
    }
    times: dict[str, list[float]] = {name: [] for name in makers}
    for _ in range(ROUNDS + 1):
        for name, (make, count) in makers.items():
            start = time.process_time()
            make()
            times[name].append((time.process_time() - start) / count * 1e3)
    ours = times["torch, by the batch"][1:]
    ratios = {}
    print(f"one thread, load of the machine {os.getloadavg()[0]:.1f}, {ROUNDS} rounds after one to warm up")
    for name, (_, *rounds) in times.items():
        of_rounds = sorted(one / own for one, own in zip(rounds, ours, strict=True))
        ratios[name] = statistics.median(of_rounds)
        print(
            f"{name:20} {statistics.median(rounds):5.2f} ms an image (quickest {min(rounds):5.2f}), "
            f"{ratios[name]:4.2f} times ours ({of_rounds[0]:.2f} to {of_rounds[-1]:.2f})"
        )
    return int(ratios["PIL, as published"] < AIM)


if __name__ == "__main__":
    sys.exit(main())
