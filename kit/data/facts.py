"""Facts about picture files, each decoded once: the index's columns."""

import hashlib
import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from kit import console
from kit.data.duplicates import MINIATURE, likeness
from kit.data.images import EXTENSIONS, ImageProblem
from kit.data.reading import USUAL, Reading, as_rgb
from kit.data.sources import split_name
from kit.data.table import MEANS, VARIANCES, channel_columns
from kit.errors import KitError
from kit.processes import START_METHOD, die_with_parent, num_cores

MANY = 2_000  # pictures, from which on processes are worth starting
PART = 64  # pictures that a worker takes at a time
_kept = threading.local()  # memory for a picture's channels: allocating it again costs as much as filling it


def look_at(paths: Sequence[str], what: str, reading: Reading = USUAL) -> tuple[pd.DataFrame, np.ndarray]:
    """(the index's columns from `format` to `problem`, without `group`; miniatures uint8 (N, 16, 16, 3)). A file that
    is not a picture has width 0, a problem, and a black miniature."""
    rows: list[dict[str, Any]] = []
    miniatures = np.zeros((len(paths), MINIATURE, MINIATURE, 3), np.uint8)
    parts = [paths[start : start + PART] for start in range(0, len(paths), PART)]
    with _workers(len(paths)) as pool, console.progress(what, len(paths)) as bar:
        for seen, small in pool.map(partial(_look_at_some, reading=reading), parts):
            miniatures[len(rows) : len(rows) + len(seen)] = small
            rows += seen
            bar.advance(len(seen))
    return pd.DataFrame(rows), miniatures


@contextmanager
def _workers(num_pictures: int) -> Iterator[Executor]:
    """One per core. Threads wait for each other twenty times per picture; on Linux, processes take over where there is
    much to do."""
    cores = num_cores()
    cv2.setNumThreads(0)
    pool: Executor
    if cores == 1 or num_pictures < MANY or START_METHOD != "fork":
        pool = ThreadPoolExecutor(cores)
    else:
        pool = ProcessPoolExecutor(cores, multiprocessing.get_context("fork"), _worker)
    try:
        yield pool
    except BrokenProcessPool:
        raise KitError("a process that read pictures was killed from outside (out of memory?); try again") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process
    die_with_parent()  # or it would hold the main process's locks for ever


def hash_values(dhash: pd.Series) -> np.ndarray:
    """uint64 (N,) of the index's hexadecimal column."""
    return np.array([int(digits, 16) for digits in dhash], dtype=np.uint64)


def _look_at_some(paths: Sequence[str], reading: Reading) -> tuple[list[dict[str, Any]], np.ndarray]:
    """(rows, miniatures): sent back at once."""
    rows, miniatures = zip(*(_look(Path(path), reading) for path in paths), strict=True)
    return list(rows), np.stack(miniatures)


def _look(path: Path, reading: Reading) -> tuple[dict[str, Any], np.ndarray]:
    """One picture's columns, and its miniature for the comparison of near-identical pictures."""
    row: dict[str, Any] = {"format": "", "width": 0, "height": 0, "bytes": 0, "md5": "", "dhash": ""}
    row |= {**dict.fromkeys([*MEANS, *VARIANCES], np.nan), "problem": ""}
    black = np.zeros((MINIATURE, MINIATURE, 3), np.uint8)
    try:
        data = reading.bytes_of(path)
        row |= {"bytes": len(data), "md5": hashlib.md5(data, usedforsecurity=False).hexdigest()}
        picture = reading.decoded(path, data)
    except FileNotFoundError:
        return row | {"problem": "no such file"}, black
    except (OSError, ImageProblem) as error:
        return row | {"problem": str(error)}, black
    height, width = picture.rgb.shape[:2]
    dhash, miniature = likeness(as_rgb(picture.rgb))
    stack = f"{picture.format} stack" if picture.is_slice else picture.format
    row |= {"format": stack, "width": width, "height": height, "dhash": f"{dhash:016x}"}
    row |= statistics_of(picture.rgb)
    if split_name(path)[1] is None and EXTENSIONS.get(path.suffix.lower()) != picture.format:
        row["problem"] = f"a {picture.format} named {path.suffix or 'without an extension'}"
    row["problem"] = "; ".join(filter(None, (row["problem"], picture.flaw)))
    return row, miniature


def statistics_of(pixels: np.ndarray) -> dict[str, float]:
    """The channels' means and variances over all pixels, of values in [0, 1]."""
    size, channels = pixels.shape[0] * pixels.shape[1], pixels.shape[2]
    if not hasattr(_kept, "planes") or _kept.planes.shape[0] != channels or _kept.planes.shape[1] < size:
        _kept.planes = np.empty((channels, size), np.uint8)
    planes = cv2.split(pixels, [plane[:size].reshape(pixels.shape[:2]) for plane in _kept.planes])
    row = {}
    for channel, mean_name, variance_name in zip(planes, *channel_columns(channels), strict=True):
        mean, std = cv2.meanStdDev(channel)
        row[mean_name] = float(f"{mean[0, 0] / 255:.7g}")
        row[variance_name] = float(f"{(std[0, 0] / 255) ** 2:.7g}")
    return row
