"""How fast views are made: ours in torch by the batch against the published multi-crop recipe on PIL, on one core.

    OMP_NUM_THREADS=1 .venv/bin/python -m tests.benchmarks.bench_views

Both cut 2 crops of 224 and 8 of 96 pixels out of a picture of 224. The PIL recipe is that of Caron et al. 2021: random
resized crop (bicubic), flip, colour jitter in random order with a probability of 0.8, grey scale 0.2, Gaussian blur
1.0, 0.1 and 0.5, solarisation 0.2 on the second crop, then a normalised float tensor. Flips, hue, grey scale and
solarisation are done in it as published, though they mean nothing in MR: this measures time.
"""

import math
import random
import statistics
import time

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from cmr_hf.pretraining.views import MultiCrop, ViewSettings

PICTURES, ROUNDS = 64, 5
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


def jitter(picture: Image.Image) -> Image.Image:
    steps = [
        lambda one: ImageEnhance.Brightness(one).enhance(random.uniform(0.6, 1.4)),
        lambda one: ImageEnhance.Contrast(one).enhance(random.uniform(0.6, 1.4)),
        lambda one: ImageEnhance.Color(one).enhance(random.uniform(0.8, 1.2)),
        lambda one: shift_hue(one, random.uniform(-0.1, 0.1)),
    ]
    random.shuffle(steps)
    for step in steps:
        picture = step(picture)
    return picture


def pil_view(picture: Image.Image, size: int, scale: tuple[float, float], blur: float, solarise: float) -> torch.Tensor:
    picture = resized_crop(picture, size, scale)
    if random.random() < 0.5:
        picture = ImageOps.mirror(picture)
    if random.random() < 0.8:
        picture = jitter(picture)
    if random.random() < 0.2:
        picture = ImageOps.grayscale(picture).convert("RGB")
    if random.random() < blur:
        picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))
    if random.random() < solarise:
        picture = ImageOps.solarize(picture)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div_(255)
    return pixels.sub_(MEAN).div_(DEVIATION)


def pil_views(picture: Image.Image) -> list[torch.Tensor]:
    wide = [pil_view(picture, 224, (0.4, 1.0), 1.0, 0.0), pil_view(picture, 224, (0.4, 1.0), 0.1, 0.2)]
    return wide + [pil_view(picture, 96, (0.05, 0.4), 0.5, 0.0) for _ in range(8)]


def milliseconds(make, count: int) -> float:
    make()
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        make()
        times.append(time.process_time() - start)
    return statistics.median(times) / count * 1e3


def main() -> None:
    torch.set_num_threads(1)
    random.seed(0)
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(PICTURES, 1, 28, 28, generator=generator)
    images = torch.nn.functional.interpolate(smooth, 224, mode="bicubic")[:, 0].clamp(0, 1).mul(255).byte()
    extents, keys = torch.full((PICTURES, 2), 224), torch.arange(PICTURES)
    pictures = [Image.fromarray(image.numpy()).convert("RGB") for image in images]
    views = MultiCrop(ViewSettings(), seed=0)

    ours = milliseconds(lambda: views(images, extents, keys, step=0), PICTURES)
    theirs = milliseconds(lambda: [pil_views(picture) for picture in pictures[:16]], 16)
    print(
        f"torch, by the batch: {ours:.2f} ms an image; PIL: {theirs:.2f} ms; {theirs / ours:.1f} x (CPU time, 1 core)"
    )


if __name__ == "__main__":
    main()
