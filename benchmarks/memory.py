"""Peak memory and time per image of a training epoch, from 10,000 to 100,000 cached images of 128 px.

    python benchmarks/memory.py

Each size is a process of its own on drawn pixels; memory is proportional (shared pages in shares). The cache is a
file: its pages are the system's to drop, so they are counted apart.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import psutil

SIZES = (10_000, 30_000, 100_000)
SIDE, BATCH = 128, 64


def epoch(path: Path) -> None:
    """A pass over the cache with the quick recipe's augmentation: what an epoch does beside the network."""
    from kit.data.loader import Batches, epoch_order
    from kit.data.transforms import build_augment

    pixels = np.load(path, mmap_mode="r")
    augment = build_augment([{"RandomResizedCrop": {"scale": [0.5, 1.0]}}, {"HorizontalFlip": {"p": 0.5}}], 112)
    order = epoch_order(np.arange(len(pixels)), BATCH, 0, 0, 0)
    began = time.perf_counter()
    for _ in Batches(pixels, np.zeros(len(pixels), np.int64), order, BATCH, 112, augment, (0, 0, 0)).stream():
        pass
    print(f"{(time.perf_counter() - began) / len(order) * 1e6:.1f}", flush=True)


def measured(path: Path) -> tuple[float, float, float]:
    """(microseconds an image, peak MiB without the cache's pages, those pages' MiB)"""
    process = subprocess.Popen([sys.executable, __file__, str(path)], stdout=subprocess.PIPE, text=True)
    own, pages = 0.0, 0.0
    while process.poll() is None:
        try:
            maps = psutil.Process(process.pid).memory_maps(grouped=True)
        except psutil.Error:
            break
        mapped = sum(one.pss for one in maps if one.path == str(path))
        own = max(own, (sum(one.pss for one in maps) - mapped) / 2**20)
        pages = max(pages, mapped / 2**20)
        time.sleep(0.3)
    return float(process.stdout.read()), own, pages


def main() -> None:
    print("| images | microseconds an image, median of 3 | peak MiB | the cache's pages, MiB |\n|---|---|---|---|")
    for count in SIZES:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "pixels.npy"
            made = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, SIDE, SIDE, 3))
            generator = np.random.default_rng(0)
            for start in range(0, count, 1000):
                made[start : start + 1000] = generator.integers(
                    0, 256, made[start : start + 1000].shape, dtype=np.uint8
                )
            made.flush()
            del made
            runs = [measured(path) for _ in range(3)]
        row = [median(run[0] for run in runs), max(run[1] for run in runs), max(run[2] for run in runs)]
        print(f"| {count:,} | {row[0]:.1f} | {row[1]:,.0f} | {row[2]:,.0f} |", flush=True)


if __name__ == "__main__":
    epoch(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
