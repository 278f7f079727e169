"""Where a picture's bytes are: in a file of its own, or a row of one file that holds many.

`train.csv#17` is row 17 of a table of pixels (`pixels-csv`: columns pixel0, pixel1, ... of a square picture, row by
row), `train-images-idx3-ubyte.gz#17` picture 17 of an idx file (LeCun's MNIST format, gzipped or not). Such a row comes
as a PGM file's bytes, so that readers of pictures need not know."""

import gzip
import math
import threading
import zlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError

MARK = "#"
_reading = threading.Lock()  # several threads that want one container read it once


def read_bytes(path: Path) -> bytes:
    """The bytes of the picture at `path`; raises `OSError` as a file would."""
    file, row = split_row(path)
    if row is None:
        return path.read_bytes()
    picture = _container(file)[row]
    height, width = picture.shape
    return b"P5 %d %d 255\n" % (width, height) + picture.tobytes()


def split_row(path: Path) -> tuple[Path, int | None]:
    """(the file, the row within it, or `None` where the file is the picture)"""
    name, mark, row = path.name.rpartition(MARK)
    return (path.with_name(name), int(row)) if mark and row.isdecimal() and not path.exists() else (path, None)


def holding_file(path: str) -> str:
    return str(split_row(Path(path))[0]) if MARK in path else path


def read_idx(file: Path) -> np.ndarray:
    """An idx file of unsigned bytes, of any rank, as uint8. Raises `KitError` when it is not one."""
    return parse_idx(file.read_bytes(), str(file))


def parse_idx(data: bytes, file: str) -> np.ndarray:
    """The array in an idx file's bytes, as `read_idx`; `file` is its name in errors."""
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise KitError(f"{file}: damaged: {error}; get it again") from None
    if data[:3] != b"\0\0\x08" or len(data) < 4:
        raise KitError(f"{file}: is not an idx file of unsigned bytes (it begins with {data[:4]!r}, expected 00 00 08)")
    rank = data[3]
    if len(data) < 4 + 4 * rank:
        raise KitError(f"{file}: ends within its header; get it again")
    shape = np.frombuffer(data, ">u4", rank, 4).astype(int)
    if len(data) != 4 + 4 * rank + shape.prod():
        raise KitError(f"{file}: claims to hold {' x '.join(map(str, shape))} bytes, and does not; get it again")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def pixel_columns(columns: Iterable[object]) -> list[str]:
    """Those that hold pixels: pixel0, pixel1, ..."""
    return [str(column) for column in columns if _is_pixel(str(column))]


def read_pixel_table(file: Path) -> pd.DataFrame:
    """The columns of a pixels-csv that are not pixels, as text."""
    header = pd.read_csv(file, nrows=0).columns
    others = [column for column in header if not _is_pixel(column)]
    if not others:
        return pd.DataFrame(index=range(len(_container(file))))
    return pd.read_csv(file, usecols=others, dtype=str, keep_default_na=False)


def _container(file: Path) -> np.ndarray:
    """uint8 (N, H, W), read once as long as it does not change."""
    with _reading:
        return _read_container(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _read_container(file: Path, _changed: int) -> np.ndarray:
    return _pixel_csv(file) if file.suffix == ".csv" else _idx_pictures(file)


def num_pictures(file: Path) -> int:
    return len(_container(file))


def _idx_pictures(file: Path) -> np.ndarray:
    pictures = read_idx(file)
    if pictures.ndim != 3:
        raise KitError(f"{file}: holds an array of rank {pictures.ndim}; pictures have rank 3 (idx3)")
    return pictures


def _pixel_csv(file: Path) -> np.ndarray:
    table = pd.read_csv(file, usecols=_is_pixel)
    if table.empty:
        raise KitError(f"{file}: has no columns pixel0, pixel1, ..., or no rows; layout pixels-csv needs both")
    side = math.isqrt(table.shape[1])
    orders = [[f"pixel{k}" for k in range(first, first + side * side)] for first in (0, 1)]
    if list(table.columns) not in orders:
        raise KitError(f"{file}: has {table.shape[1]} pixel columns; expected pixel0, pixel1, ... of a square picture")
    values = table.to_numpy()
    bad = ~((values >= 0) & (values <= 255) & (values % 1 == 0)).all(axis=1)
    if bad.any():
        raise KitError(f"{file}: row {np.flatnonzero(bad)[0] + 1} holds a pixel that is not a whole number in 0..255")
    return values.astype(np.uint8).reshape(-1, side, side)


def _is_pixel(column: str) -> bool:
    return column.startswith("pixel") and column[5:].isdecimal()
