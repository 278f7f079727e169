"""Pixels of a competition's samples, wherever they are: an array, two one after the other, files that are decoded
whenever they are asked for; and samples of several pictures."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kit.data.images import resize_square
from kit.data.reading import USUAL, Reading
from kit.processes import num_cores


@dataclass(frozen=True)
class Stacked:
    """Two caches as one: rows of `second` follow those of `first`."""

    first: "Pixels"
    second: "Pixels"

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


@dataclass(frozen=True)
class OnDemand:
    """Pictures that are decoded whenever they are asked for, to the pixels that a cache would hold."""

    paths: Sequence[Path]
    md5: Sequence[str]
    size: int
    resize: str
    reading: Reading = USUAL

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.paths), self.size, self.size, self.reading.channels)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: int | np.integer | np.ndarray) -> np.ndarray:
        if not isinstance(rows, np.ndarray):
            if not self.md5[int(rows)]:
                return np.zeros(self.shape[1:], np.uint8)
            return self._read(self.paths[int(rows)])
        pixels = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for place, picture in enumerate(self.each(rows)):
            pixels[place] = picture
        return pixels

    def each(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """One after the other, by all cores except in a loader's worker."""
        from torch.utils.data import get_worker_info  # only here: `kit download` needs no torch

        if get_worker_info() is not None:
            yield from (self[int(row)] for row in rows)
            return
        with ThreadPoolExecutor(num_cores()) as pool:
            yield from pool.map(self.__getitem__, rows.tolist())

    def _read(self, path: Path) -> np.ndarray:
        """uint8 (size, size, channels) of a file. Raises `KitError` when it is gone or not a picture."""
        return resize_square(self.reading.indexed(path, self.size).rgb, self.size, self.resize)


@dataclass(frozen=True)
class Bags:
    """Samples of several pictures each: those of sample i are rows `starts[i]` to `starts[i + 1]` of `pictures`.
    Indexed like the others, it shows each sample's first picture."""

    pictures: "Pixels"
    starts: np.ndarray  # int64 (N + 1,)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.starts) - 1, *self.pictures.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | np.integer | np.ndarray) -> np.ndarray:
        return self.pictures[self.starts[rows]]

    @property
    def most(self) -> int:
        """Pictures of the largest sample."""
        return int(np.diff(self.starts).max(initial=1))

    def all_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rows of `pictures`, int64 (P,); int64 (P,), which of `rows` each belongs to)"""
        counts = self.starts[rows + 1] - self.starts[rows]
        owners = np.repeat(np.arange(len(rows)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.starts[rows][owners] + within, owners

    def one_of(self, row: int, drawn: int) -> int:
        """The row of one of a sample's pictures, by a drawn number."""
        first, last = self.starts[row], self.starts[row + 1]
        return int(first + drawn % (last - first))


Pixels = np.ndarray | Stacked | OnDemand | Bags


def cores_of(pixels: Pixels) -> int:
    """How many cores `one_by_one` keeps busy outside of a loader's worker."""
    held = pixels.pictures if isinstance(pixels, Bags) else pixels
    return num_cores() if isinstance(held, OnDemand) else 1


def one_by_one(pixels: Pixels, rows: np.ndarray) -> Iterator[np.ndarray]:
    """uint8 (S, S, C) of each row."""
    return pixels.each(rows) if isinstance(pixels, OnDemand) else (np.asarray(pixels[row]) for row in rows)


def most_pictures(pixels: Pixels) -> int:
    """Of one sample."""
    return pixels.most if isinstance(pixels, Bags) else 1
