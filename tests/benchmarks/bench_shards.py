"""Decoded images a second from shards, against PNG files by Pillow and `datasets` streaming the same shards.

    python tests/benchmarks/bench_shards.py                       # shards of made-up pictures
    python tests/benchmarks/bench_shards.py --shards ../shards    # your own
    python tests/benchmarks/bench_shards.py --shards ../shards --formats   # size and speed of other formats

All read the same pictures of 224 x 224, 8 bits, out of the page cache, with the same number of threads, and take turns.
By the clock the aim is 5,000 images a second on two cores; the rate per second of processor time is printed beside it
for machines that are never idle. Memory is what a process of its own, that does nothing but read the shards, holds for
itself alone (no page cache), over 24 passes: what it held at most in passes 3 to 8 and in passes 17 to 24 is compared.
"""

import argparse
import io
import itertools
import os
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from PIL import Image

from cmr_hf.data.shards import Record, ShardSet, ShardStream, ShardWriter
from cmr_hf.data.shards.png import decode_into, encode

AIM = 5000  # images a second
MEMORY_MB = 64  # that the process may grow
PASSES = 24
BATCH = 128
Decoder = Callable[[bytes], np.ndarray]


def made_up(count: int) -> Iterator[np.ndarray]:
    """Blobs under noise, uint8 (224, 224), which compress about as MR does."""
    rng = np.random.default_rng(0)
    y, x = np.indices((224, 224))
    for _ in range(count):
        blobs = zip(rng.uniform(20, 200, (8, 2)), rng.uniform(6, 40, 8), strict=True)
        image = sum(np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * w**2)) for (cy, cx), w in blobs)
        yield np.clip(120 * image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def make_shards(folder: Path, count: int) -> Path:
    with ShardWriter(folder, "benchmark", shard_images=512) as writer:
        for image in made_up(count):
            writer.add(image, Record(source="made-up"))
    return folder


def from_shards(folder: Path, threads: int) -> Iterator[int]:
    for batch in ShardStream(folder, BATCH, threads=threads):
        yield len(batch["image"])


def from_png_files(files: list[Path], threads: int) -> Iterator[int]:
    def load(some: tuple[Path, ...]) -> int:
        images = np.empty((len(some), 224, 224), np.uint8)
        for place, file in zip(images, some, strict=True):
            with Image.open(file) as picture:
                place[...] = picture
        return len(images)

    endless = itertools.cycle(files)
    with ThreadPoolExecutor(threads) as pool:
        waiting = []
        while True:
            waiting.append(pool.submit(load, tuple(itertools.islice(endless, BATCH))))
            if len(waiting) > 2 * threads:
                yield waiting.pop(0).result()


def from_datasets(folder: Path) -> Iterator[int]:
    import datasets

    files = str(folder / "shards" / "*.parquet")
    stream = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True).select_columns("image")
    while True:
        for rows in stream.iter(BATCH):
            yield len(np.stack([np.asarray(picture) for picture in rows["image"] if picture.size == (224, 224)]))


def rates(batches: Iterator[int], seconds: float) -> tuple[float, float]:
    """Images a second by the clock, and per second of the processor."""
    for _ in range(3):
        next(batches)
    count, clock, processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - clock < seconds:
        count += next(batches)
    return count / (time.perf_counter() - clock), count / (time.process_time() - processor)


def memory_over_passes(folder: Path, threads: int) -> tuple[list[float], list[float]]:
    """MB that this process alone holds, and MB of them in Arrow's hands, the most of each pass; to be called in a fresh
    process."""
    process, stream = psutil.Process(), ShardStream(folder, BATCH, threads=threads)
    most, arrow = [0.0] * PASSES, [0.0] * PASSES
    for number, _ in enumerate(stream):
        done = (number + 1) * BATCH // len(stream)
        if done >= PASSES:
            break
        if number % 4 == 0:
            most[done] = max(most[done], process.memory_full_info().uss / 1e6)
        arrow[done] = max(arrow[done], pa.total_allocated_bytes() / 1e6)
    return most, arrow


def formats() -> dict[str, tuple[Callable[[np.ndarray], bytes], Decoder]]:
    def pillow(name: str, **options: object) -> Callable[[np.ndarray], bytes]:
        def write(image: np.ndarray) -> bytes:
            file = io.BytesIO()
            Image.fromarray(image).save(file, name, **options)
            return file.getvalue()

        return write

    def opened(data: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(data)).convert("L"))

    def ours(data: bytes) -> np.ndarray:
        decode_into(data, canvas := np.zeros((224, 224), np.uint8))
        return canvas

    def raw(data: bytes) -> np.ndarray:
        return np.frombuffer(data, np.uint8).reshape(224, 224)

    def up(image: np.ndarray) -> bytes:
        return np.diff(image, axis=0, prepend=np.zeros((1, 224), np.uint8)).tobytes()

    def summed(data: bytes) -> np.ndarray:
        return np.add.accumulate(raw(data), axis=0, dtype=np.uint8)

    def arrow(codec: pa.Codec, before: Callable, after: Decoder) -> tuple[Callable, Decoder]:
        return (
            lambda image: codec.compress(before(image), asbytes=True),
            lambda data: after(codec.decompress(data, decompressed_size=224 * 224)),
        )

    zstd, lz4 = pa.Codec("zstd", compression_level=3), pa.Codec("lz4")
    return {
        "raw": (np.ndarray.tobytes, raw),
        "lz4": arrow(lz4, np.ndarray.tobytes, raw),
        "lz4, rows' differences": arrow(lz4, up, summed),
        "zstd": arrow(zstd, np.ndarray.tobytes, raw),
        "zstd, rows' differences": arrow(zstd, up, summed),
        "zlib, rows' differences": (lambda image: zlib.compress(up(image), 3), lambda d: summed(zlib.decompress(d))),
        "PNG, all rows Up, by us": (encode, ours),
        "PNG, all rows Up, by Pillow": (encode, opened),
        "PNG by Pillow": (pillow("PNG"), opened),
        "WebP lossless by Pillow": (pillow("WEBP", lossless=True), opened),
        "JPEG q95 by Pillow (lossy)": (pillow("JPEG", quality=95), opened),
        **_rare_formats(),
    }


def _rare_formats() -> dict[str, tuple[Callable[[np.ndarray], bytes], Decoder]]:
    try:
        import imagecodecs
    except ImportError:
        return {}
    return {
        "JPEG XL lossless, effort 3": (
            lambda image: imagecodecs.jpegxl_encode(image, lossless=True, effort=3),
            imagecodecs.jpegxl_decode,
        ),
        "JPEG-LS": (imagecodecs.jpegls_encode, imagecodecs.jpegls_decode),
    }


def compare_formats(images: list[np.ndarray]) -> None:
    print(f"| format ({len(images)} images, one thread) | kB an image | written a second | decoded a second | error |")
    print("|---|---|---|---|---|")
    for name, (write, read) in formats().items():
        start = time.thread_time()
        files = [write(image) for image in images]
        written = time.thread_time() - start
        taken = []
        for _ in range(3):
            start = time.thread_time()
            decoded = [read(file) for file in files]
            taken.append(time.thread_time() - start)
        worst = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(images, decoded, strict=True))
        size = sum(map(len, files)) / len(files) / 1000
        print(f"| {name} | {size:.1f} | {len(images) / written:,.0f} | {len(images) / min(taken):,.0f} | {worst} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, help="folder made by training/prepare.py")
    parser.add_argument("--images", type=int, default=2048, help="how many are made up without --shards")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one turn")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--formats", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.shards or make_shards(Path(scratch, "shards"), options.images)
        shards = ShardSet(folder)
        step = max(1, len(shards) // 1024)
        images = [shards[index]["image"] for index in range(0, len(shards), step)]
        if options.formats:
            compare_formats(images)
            return 0
        files = [Path(scratch, f"{index:05}.png") for index in range(len(images))]
        for file, image in zip(files, images, strict=True):
            Image.fromarray(image).save(file)
        size = sum(file.stat().st_size for file in files) / len(files)

        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            memory, arrow = pool.submit(memory_over_passes, folder, options.threads).result()
        sources = {
            "shards": from_shards(folder, options.threads),
            "PNG files by Pillow": from_png_files(files, options.threads),
            "`datasets`, same shards": from_datasets(folder),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in sources}
        for _ in range(options.repetitions):
            for name, batches in sources.items():
                found[name].append(rates(batches, options.seconds))
        for batches in sources.values():
            batches.close()
    print(
        f"{len(shards)} images, {shards.manifest['bytes'] / len(shards) / 1000:.1f} kB each; PNG {size / 1000:.1f} kB"
    )
    print(f"{options.threads} threads, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    medians = {name: [statistics.median(one) for one in zip(*turns, strict=True)] for name, turns in found.items()}
    for name, (clock, processor) in medians.items():
        print(f"{name:24} {clock:8,.0f} images/s by the clock, {processor:8,.0f} per second of processor")
    ours = medians["shards"][0]
    print(f"{ours / medians['PNG files by Pillow'][0]:.1f} times PNG files by Pillow")
    early, late = max(memory[2:8]), max(memory[16:])
    print(f"memory {early:.0f} MB in passes 3 to 8, {late:.0f} MB in passes 17 to {PASSES}; of each pass:")
    print(" ".join(f"{value:.0f}" for value in memory))
    print("of these in Arrow's hands, whose pictures wait: " + " ".join(f"{value:.0f}" for value in arrow))
    print(f"aim {AIM:,} images/s: {'reached' if ours >= AIM else 'missed'}")
    return int(ours < AIM or late - early > MEMORY_MB)


if __name__ == "__main__":
    sys.exit(main())
