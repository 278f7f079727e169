"""Pictures nobody has looked at yet, as squares: a folder's, or a hidden test set's, a few at a time."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kit.data.images import ImageProblem, decode, resize_square
from kit.data.sources import read_bytes
from kit.data.values import Range
from kit.processes import num_cores

CHUNK = 1024  # pictures held in memory


def read_squares(
    paths: Sequence[Path], size: int, resize: str, value_range: Range | None
) -> tuple[np.ndarray, dict[int, str]]:
    """(uint8 (N, size, size, 3); place -> why there is no picture: it is black)"""
    squares = np.zeros((len(paths), size, size, 3), np.uint8)
    problems: dict[int, str] = {}

    def fill(place: int) -> None:
        try:
            squares[place] = resize_square(decode(read_bytes(paths[place]), size, value_range).rgb, size, resize)
        except (OSError, ImageProblem) as problem:
            problems[place] = str(problem)

    with ThreadPoolExecutor(num_cores()) as pool:
        list(pool.map(fill, range(len(paths))))
    return squares, problems
