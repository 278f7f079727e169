"""The pixel cache: every image of the index decoded once, as uint8 squares in one memory-mapped file.

Shared by all folds, runs and TTA views; its name says what made it (the images' bytes, size, resize mode)."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kit import console
from kit.data.images import DECODED_BY, ImageProblem, decode, resize_square
from kit.data.sources import read_bytes
from kit.errors import KitError
from kit.locks import lock
from kit.processes import num_cores
from kit.workspace import atomic_path, fingerprint, require_free, sweep_temporaries

VERSION = 1
MOST_BYTES = 50_000_000_000  # of a competition's cache
PATIENCE = 3600.0  # seconds: another process may be building it


class Cached(np.memmap):
    """An array in a file. A process that it is sent to opens the file itself."""

    def __reduce__(self) -> Any:
        whole = self.filename is not None and self.offset + self.nbytes == os.stat(self.filename).st_size
        return (_open, (str(self.filename),)) if whole else np.asarray(self).__reduce__()


def _open(file: str | Path) -> np.ndarray:
    return np.load(file, mmap_mode="r").view(Cached)


@dataclass(frozen=True)
class Stacked:
    """Two caches as one: rows of `second` follow those of `first`."""

    first: np.ndarray
    second: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.first) + len(self.second), *self.first.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | np.integer | np.ndarray) -> np.ndarray:
        if not isinstance(rows, np.ndarray):
            return self.first[rows] if rows < len(self.first) else self.second[rows - len(self.first)]
        pixels, own = np.empty((len(rows), *self.shape[1:]), np.uint8), rows < len(self.first)
        pixels[own], pixels[~own] = self.first[rows[own]], self.second[rows[~own] - len(self.first)]
        return pixels


Pixels = np.ndarray | Stacked


def pixel_cache(folder: Path, paths: Sequence[Path], md5: Sequence[str], size: int, resize: str) -> np.ndarray:
    """uint8 (N, size, size, 3), read-only, memory-mapped; row i is `paths[i]`, black where the md5 is empty, which
    means that the file has no readable picture. Built by all cores if it is not there yet."""
    key = fingerprint(VERSION, list(md5), size, resize, *DECODED_BY)
    shape = (len(paths), size, size, 3)

    def build(path: Path) -> None:
        pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)

        def fill(row: int) -> None:
            if md5[row]:
                pixels[row] = _read_square(paths[row], size, resize)

        with ThreadPoolExecutor(num_cores()) as pool:
            for _ in console.track(pool.map(fill, range(len(paths))), f"decode to {size} px", len(paths)):
                pass
        pixels.flush()

    return cached(folder, f"{size}-{resize}-{key[:16]}", shape, np.dtype(np.uint8), build)


def cached(
    folder: Path, name: str, shape: tuple[int, ...], dtype: np.dtype, build: Callable[[Path], None]
) -> np.ndarray:
    """The array in `folder`/`name`.npy, read-only, memory-mapped; `build(path)` writes it if it is not there yet.
    Several processes build it once, a killed one leaves nothing behind. The folder stays within `MOST_BYTES`: the least
    recently used goes first."""
    path = folder / f"{name}.npy"
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / ".lock", str(folder), patience=PATIENCE):
        if not path.is_file():
            sweep_temporaries(folder)
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            _drop_oldest(folder, MOST_BYTES - size)
            require_free(folder, size, "the cache")
            with atomic_path(path) as temporary:
                build(temporary)
        os.utime(path)  # used now
        return _open(path)


def _drop_oldest(folder: Path, keep_bytes: int) -> None:
    """Remove arrays, the oldest first, until the rest fit into `keep_bytes`. Open ones stay readable until closed."""
    files = sorted(folder.glob("*.npy"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    for file in files:
        keep_bytes -= file.stat().st_size
        if keep_bytes < 0:
            file.unlink()


def _read_square(path: Path, size: int, resize: str) -> np.ndarray:
    """uint8 (size, size, 3) of a file. Raises `KitError` when it is gone or not a picture."""
    try:
        return resize_square(decode(read_bytes(path), min_side=size).rgb, size, resize)
    except (OSError, ImageProblem) as error:
        raise KitError(f"{path}: {error}; it has changed since `kit index`, type `kit index --force`") from None
