"""The pixel cache: every image of the index decoded once, as uint8 squares in one memory-mapped file.

Shared by all folds, runs and TTA views; its name says what made it (the images' bytes, size, resize mode). Where it
fits on no disk, the same pixels are decoded from the files whenever they are needed."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from kit import console
from kit.data.images import DECODED_BY
from kit.data.pixels import Bags, OnDemand, Pixels
from kit.data.reading import SEPARATOR, USUAL, Reading, located, parts_of
from kit.data.table import readable
from kit.errors import KitError
from kit.locks import lock
from kit.processes import num_cores
from kit.workspace import atomic_path, expanded, fingerprint, sweep_temporaries

VERSION = 1
PATIENCE = 3600.0  # seconds: another process may be building it
TIMED = 32  # pictures, to say what decoding costs


@dataclass(frozen=True)
class CacheFolders:
    """Where a competition's arrays are kept: in the first of `folders` that has room, each with at most `most_bytes`
    (the least recently used array goes first)."""

    folders: tuple[Path, ...]
    most_bytes: int = 50_000_000_000

    @classmethod
    def of(cls, own: Path, competition: str, cache_dir: str | None, gigabytes: float) -> Self:
        """In `cache_dir`, where it is given, before the workspace's `own` folder."""
        named = (outside(cache_dir) / competition,) if cache_dir is not None else ()
        return cls((*named, own), round(gigabytes * 1e9))


def outside(cache_dir: str) -> Path:
    """The folder of `machine.cache_dir` that holds one for each competition."""
    return expanded(cache_dir) / "kit-cache"


class Cached(np.memmap):
    """An array in a file. A process that it is sent to opens the file itself."""

    def __reduce__(self) -> Any:
        whole = self.filename is not None and self.offset + self.nbytes == os.stat(self.filename).st_size
        return (_open, (str(self.filename),)) if whole else np.asarray(self).__reduce__()


def _open(file: str | Path) -> np.ndarray:
    return np.load(file, mmap_mode="r").view(Cached)


def pixel_cache(
    cache: CacheFolders, paths: Sequence[Path], md5: Sequence[str], size: int, resize: str,
    reading: Reading = USUAL,
) -> np.ndarray | OnDemand:  # fmt: skip
    """uint8 (N, size, size, channels), read-only, memory-mapped; row i is `paths[i]`, black where the md5 is empty: the
    file has no readable picture. Built by all cores if it is not there yet."""
    key = fingerprint(VERSION, list(md5), size, resize, *DECODED_BY, *reading.facts)
    pictures = OnDemand(paths, md5, size, resize, reading)

    def build(path: Path) -> None:
        pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=pictures.shape)

        def fill(row: int) -> None:
            pixels[row] = pictures[row]

        with ThreadPoolExecutor(num_cores()) as pool:
            for _ in console.track(pool.map(fill, range(len(paths))), f"decode to {size} px", len(paths)):
                pass
        pixels.flush()

    try:
        return cached(cache, f"{size}-{resize}-{key[:16]}", pictures.shape, np.dtype(np.uint8), build)
    except NoRoom as error:
        began, few = time.perf_counter(), np.arange(min(TIMED, len(paths)))
        _ = pictures[few]
        speed = len(few) / (time.perf_counter() - began)
        console.warn(f"every epoch decodes the pictures anew, at {console.speed(speed)}: {error}")
        return pictures


def pixels_of(index: pd.DataFrame, raw: Path, reading: Reading, cache: CacheFolders, size: int, resize: str) -> Pixels:
    """Of each row of the index; `Bags` where some have several pictures that are no channels of one."""
    md5 = index["md5"].where(readable(index), "").tolist()
    if not reading.is_usual or not index["path"].str.contains(SEPARATOR, regex=False).any():
        return pixel_cache(cache, [located(raw, path) for path in index["path"]], md5, size, resize, reading)
    parts = [parts_of(path) for path in index["path"]]
    paths = [raw / part for row in parts for part in row]
    named = [f"{one}.{place}" if one else "" for one, row in zip(md5, parts, strict=True) for place in range(len(row))]
    starts = np.cumsum([0, *map(len, parts)])
    return Bags(pixel_cache(cache, paths, named, size, resize, reading), starts)


MORE_ROOM = "machine.cache_dir names another disk, machine.cache_gb a competition's share of it"


class NoRoom(KitError):
    """No folder has room for an array."""


def cached(
    cache: CacheFolders, name: str, shape: tuple[int, ...], dtype: np.dtype, build: Callable[[Path], None]
) -> np.ndarray:
    """The array `name`.npy of the cache, read-only, memory-mapped; `build(path)` writes it if it is not there yet.
    Several processes build it once, a killed one leaves nothing behind. Raises `NoRoom` where it fits nowhere."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    held = [folder for folder in cache.folders if (folder / f"{name}.npy").is_file()]
    for folder in (*held, *cache.folders):
        path = folder / f"{name}.npy"
        if not _is_writable(folder):
            if path.is_file():
                return _open(path)
            continue
        with lock(folder / ".lock", str(folder), patience=PATIENCE):
            if not path.is_file():
                sweep_temporaries(folder)
                if not _make_room(folder, size, cache.most_bytes):
                    continue
                with atomic_path(path) as temporary:
                    build(temporary)
            os.utime(path)  # used now
            return _open(path)
    places = " and ".join(
        f"{shutil.disk_usage(folder).free / 1e9:.2f} GB free at {folder}"
        if _is_writable(folder)
        else f"{folder}: read-only"
        for folder in cache.folders
    )
    most = f"at most {cache.most_bytes / 1e9:.2f} GB are allowed, {places}"
    raise NoRoom(f"a cache of {size / 1e9:.2f} GB fits nowhere ({most}); {MORE_ROOM}")


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _make_room(folder: Path, size: int, most_bytes: int) -> bool:
    """Is there room for `size` bytes, after the least recently used arrays were removed?"""
    kept = sum(file.stat().st_size for file in folder.glob("*.npy"))
    free = shutil.disk_usage(folder).free
    if size > most_bytes or free + kept < 1.05 * size:
        return False
    _drop_oldest(folder, min(most_bytes - size, int(free + kept - 1.05 * size)))
    return shutil.disk_usage(folder).free >= 1.05 * size


def _drop_oldest(folder: Path, keep_bytes: int) -> None:
    """Remove arrays, the oldest first, until the rest fit into `keep_bytes`. Open ones stay readable until closed."""
    files = sorted(folder.glob("*.npy"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    for file in files:
        keep_bytes -= file.stat().st_size
        if keep_bytes < 0:
            file.unlink()
