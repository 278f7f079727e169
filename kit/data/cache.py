"""The pixel cache: every image of the index decoded once, as uint8 squares in one memory-mapped file.

Shared by all folds, runs and TTA views; its name says what made it (the images' bytes, size, resize mode).
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from kit import console
from kit.competition import Competition
from kit.config import Experiment
from kit.data.images import ImageProblem, decode, resize_square
from kit.data.sources import read_bytes
from kit.data.table import readable
from kit.errors import KitError
from kit.workspace import Workspace, atomic_path, fingerprint, lock, sweep_temporaries

VERSION = 1


def experiment_pixels(
    workspace: Workspace, competition: Competition, experiment: Experiment, index: pd.DataFrame
) -> np.ndarray:
    """The pixels of the whole index at the experiment's cache size: uint8 (N, size, size, 3)."""
    raw, data = workspace.raw(competition.name), experiment.data
    paths = [raw / path for path in index["path"]]
    md5 = index["md5"].where(readable(index), "").tolist()
    return pixel_cache(workspace.cache(competition.name), paths, md5, data.cache_size or data.image_size, data.resize)


def pixel_cache(folder: Path, paths: Sequence[Path], md5: Sequence[str], size: int, resize: str) -> np.ndarray:
    """uint8 (N, size, size, 3), read-only, memory-mapped; row i is `paths[i]`, black where there is no md5.

    An empty md5 means: this file has no readable picture. Built by all cores where it is not there yet.
    """
    key = fingerprint(VERSION, list(md5), size, resize)
    path = folder / f"{size}-{resize}-{key[:16]}.npy"
    with lock(folder / ".lock", str(folder)):
        if not path.is_file():
            sweep_temporaries(folder)
            _build(path, paths, md5, size, resize)
    return np.load(path, mmap_mode="r")


def _build(path: Path, paths: Sequence[Path], md5: Sequence[str], size: int, resize: str) -> None:
    shape = (len(paths), size, size, 3)
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    if free < np.prod(shape, dtype=np.int64) * 1.05:
        raise KitError(f"{folder}: the pixel cache needs {np.prod(shape) / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
    with atomic_path(path) as temporary:
        pixels = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)

        def fill(row: int) -> None:
            if md5[row]:
                pixels[row] = _read_square(paths[row], size, resize)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in console.track(pool.map(fill, range(len(paths))), f"decode to {size} px", len(paths)):
                pass
        pixels.flush()


def _read_square(path: Path, size: int, resize: str) -> np.ndarray:
    """uint8 (size, size, 3) of a file. Raises `KitError` when it is gone or no picture."""
    try:
        return resize_square(decode(read_bytes(path), min_side=size).rgb, size, resize)
    except (OSError, ImageProblem) as error:
        raise KitError(f"{path}: {error}; it changed since `kit index`, type `kit index --force`") from None
