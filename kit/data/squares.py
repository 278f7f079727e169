"""Pictures nobody has looked at yet, as squares: a folder's, or a hidden test set's, a few at a time."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kit.data.images import ImageProblem, resize_square
from kit.data.pixels import Bags
from kit.data.reading import SEPARATOR, Reading, parts_of
from kit.processes import num_cores

CHUNK = 1024  # pictures held in memory


def read_squares(paths: Sequence[Path], size: int, resize: str, reading: Reading) -> tuple[np.ndarray, dict[int, str]]:
    """(uint8 (N, size, size, channels); place -> why there is no picture: it is black)"""
    squares = np.zeros((len(paths), size, size, reading.channels), np.uint8)
    problems: dict[int, str] = {}

    def fill(place: int) -> None:
        try:
            squares[place] = resize_square(reading.read(paths[place], size).rgb, size, resize)
        except (OSError, ImageProblem) as problem:
            problems[place] = str(problem)

    with ThreadPoolExecutor(num_cores()) as pool:
        list(pool.map(fill, range(len(paths))))
    return squares, problems


def read_samples(
    paths: Sequence[Path], size: int, resize: str, reading: Reading
) -> tuple[np.ndarray | Bags, dict[int, str]]:
    """As `read_squares`, of paths that may name several pictures; those that cannot be read are left out of their
    sample, which has a problem only where none can."""
    if not reading.is_usual or not any(SEPARATOR in str(path) for path in paths):
        return read_squares(paths, size, resize, reading)
    parts = [[Path(part) for part in parts_of(path)] for path in paths]
    squares, lost = read_squares([part for each in parts for part in each], size, resize, reading)
    firsts, kept, counts, problems = np.cumsum([0, *map(len, parts)]), [], [], {}
    for place, each in enumerate(parts):
        rows = range(firsts[place], firsts[place] + len(each))
        good = [row for row in rows if row not in lost]
        if not good:
            problems[place] = "; ".join(lost[row] for row in rows)
        kept += good or [rows[0]]
        counts.append(len(good) or 1)
    return Bags(squares[kept], np.cumsum([0, *counts])), problems
