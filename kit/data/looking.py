"""A look at picture files, each decoded once: what the index says of them."""

import hashlib
import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from kit import console
from kit.data.duplicates import MINIATURE, likeness
from kit.data.images import EXTENSIONS, ImageProblem, decode
from kit.data.sources import read_bytes, split_row
from kit.data.table import MEANS, VARIANCES
from kit.errors import KitError
from kit.machine import num_cores

MANY = 2_000  # pictures, from which on processes are worth their start


def look_at(paths: Sequence[Path], what: str) -> tuple[pd.DataFrame, np.ndarray]:
    """(the index's columns from `format` to `problem`, but for `group`; miniatures uint8 (N, 16, 16, 3)).

    A file that is no picture has width 0, a problem, and a black miniature.
    """
    rows: list[dict[str, Any]] = []
    miniatures = np.zeros((len(paths), MINIATURE, MINIATURE, 3), np.uint8)
    with _looks(paths) as looks:
        for number, (row, miniature) in enumerate(console.track(looks, what, len(paths))):
            rows.append(row)
            if miniature is not None:
                miniatures[number] = miniature
    return pd.DataFrame(rows), miniatures


@contextmanager
def _looks(paths: Sequence[Path]) -> Iterator[Iterator[tuple[dict[str, Any], np.ndarray | None]]]:
    """`_look` of each, in order, on all cores. Threads wait for each other twenty times a picture; on Linux processes
    take over where there is much to do."""
    cores = num_cores()
    cv2.setNumThreads(0)
    pool: Executor
    if cores == 1 or len(paths) < MANY or sys.platform != "linux":
        pool, chunk = ThreadPoolExecutor(cores), 1
    else:
        fork = multiprocessing.get_context("fork")
        pool, chunk = ProcessPoolExecutor(cores, fork, _leave_interrupts_alone), 32
    try:
        yield pool.map(_look, paths, chunksize=chunk)
    except BrokenProcessPool:
        raise KitError(
            f"a process that looked at {len(paths):,} pictures was ended from outside (out of memory?); type the same "
            f"command again"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts_alone() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's business


def hash_values(dhash: pd.Series) -> np.ndarray:
    """uint64 (N,) of the index's hexadecimal column."""
    return np.array([int(digits, 16) for digits in dhash], dtype=np.uint64)


def _look(path: Path) -> tuple[dict[str, Any], np.ndarray | None]:
    """One file's columns, and its miniature for the comparison of near-identical pictures."""
    empty = dict.fromkeys([*MEANS, *VARIANCES], np.nan)
    row: dict[str, Any] = {"format": "", "width": 0, "height": 0, "bytes": 0, "md5": "", "dhash": "", **empty}
    row["problem"] = ""
    try:
        data = read_bytes(path)
        row |= {"bytes": len(data), "md5": hashlib.md5(data, usedforsecurity=False).hexdigest()}
        picture = decode(data)
    except FileNotFoundError:
        return row | {"problem": "no such file"}, None
    except (OSError, ImageProblem) as error:
        return row | {"problem": str(error)}, None
    height, width = picture.rgb.shape[:2]
    mean, std = np.array([cv2.meanStdDev(channel) for channel in cv2.split(picture.rgb)])[:, :, 0, 0].T
    dhash, miniature = likeness(picture.rgb)
    row |= {"format": picture.format, "width": width, "height": height, "dhash": f"{dhash:016x}"}
    row |= dict(zip(MEANS, mean / 255, strict=True)) | dict(zip(VARIANCES, (std / 255) ** 2, strict=True))
    if split_row(path)[1] is None and EXTENSIONS.get(path.suffix.lower()) != picture.format:
        row["problem"] = f"a {picture.format} named {path.suffix or 'without an extension'}"
    return row, miniature
