"""One file of many pictures: what they are called in it, and their bytes.

A table of pixels (CSV, parquet: see `pixel_tables`; JSON: a list per band), an idx file (LeCun's MNIST format), arrays
(.npy of N pictures, .npz of named ones), HDF5. A picture that is no encoded file comes as a PGM's or .npy's bytes, so
that readers of pictures need not know."""

import gzip
import io
import json
import math
import re
import threading
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic

from kit.data.formats import hdf5
from kit.data.formats.parquet import read_parquet
from kit.data.pixel_tables import FEW, num_pixels, pixels_of, read_pixel_csv, without_pixels
from kit.data.values import npy_bytes
from kit.errors import KitError, reason

ENDINGS = (*hdf5.ENDINGS, ".parquet", ".json", ".npz")  # whose pictures have names; a table of labels may name them
FILES = (*ENDINGS, ".npy")  # a file that is given in place of a folder of pictures
_BAND = re.compile(rb"\[\s*(-?[\d.]+(?:[eE][-+]?\d+)?\s*,\s*){%d}" % FEW)
_reading = threading.Lock()  # several threads that want one container read it once


@dataclass(frozen=True)
class Held:
    """`names` of the pictures; `pictures` (N, H, W) or (N, H, W, C), (N, pixels) where the shape is not known, or their
    files' bytes; `others`: a table's columns that are not pixels, as text."""

    names: Sequence[str]
    pictures: Sequence[np.ndarray] | Sequence[bytes] | np.ndarray
    others: pd.DataFrame


def names_in(file: Path) -> list[str]:
    """What its pictures are called: by their ids where it has one column of them, else by number."""
    if file.suffix in hdf5.ENDINGS:
        return hdf5.hdf5_names(file)
    return list(_held(file).names)


def picture_in(file: Path, name: str, shape: tuple[int, int] | None = None) -> bytes:
    """`shape`: (height, width) of a row of pixels that is not square. Raises `OSError` where there is none."""
    if file.suffix in hdf5.ENDINGS:
        return hdf5.hdf5_picture(file, name)
    held = _held(file)
    place = _places(file, file.stat().st_mtime_ns).get(name)
    if place is None:
        raise FileNotFoundError(f"{file}: holds no '{name}'")
    kept = held.pictures[place]
    if isinstance(kept, bytes):
        return kept
    picture = np.asarray(kept)
    if picture.ndim == 1:
        if shape is None or shape[0] * shape[1] != len(picture):
            asked = f"{shape[0]} x {shape[1]}" if shape else "not given"
            advice = "correct `labels.pixel_shape` ([height, width]) in the competition's YAML"
            raise KitError(f"{file}: a row holds {len(picture):,} pixels; their shape is {asked}; {advice}")
        picture = picture.reshape(shape)
    if picture.ndim == 2 and picture.dtype == np.uint8:
        return b"P5 %d %d 255\n" % (picture.shape[1], picture.shape[0]) + picture.tobytes()
    return npy_bytes(picture)


def other_columns(file: Path) -> pd.DataFrame:
    """The columns of a table of pixels that are not pixels, as text; a row per picture."""
    return _held(file).others


def holds_bands(head: bytes) -> bool:
    """Does a JSON hold pixels, by its first few thousand bytes?"""
    return _BAND.search(head) is not None


def pixels_a_row(file: Path) -> int | None:
    """Where its pictures are rows of pixels of a shape that it does not tell."""
    pictures = _held(file).pictures if file.suffix == ".parquet" else []
    return pictures.shape[1] if isinstance(pictures, np.ndarray) and pictures.ndim == 2 else None


def likely_shapes(file: Path) -> list[tuple[tuple[int, int], float]]:
    """((height, width), roughness) of such rows, the likeliest first: in the right shape each pixel is like the one
    below it, in a wrong one the rows are sheared."""
    pictures = _held(file).pictures
    assert isinstance(pictures, np.ndarray)
    some, count = pictures[:: max(1, len(pictures) // 64)][:64].astype(np.int16), pictures.shape[1]
    widths = [width for width in range(8, count // 8 + 1) if count % width == 0 and 1 / 3 <= width * width / count <= 3]

    def roughness(width: int) -> float:
        return float(np.abs(some[:, width:] - some[:, :-width]).mean())

    found = [((count // width, width), roughness(width)) for width in widths]
    return sorted(found, key=lambda one: one[1])


def _held(file: Path) -> Held:
    with _reading:
        return _read(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _read(file: Path, _changed: int) -> Held:
    """Read once as long as it does not change."""
    if file.suffix == ".csv":
        return _pixel_table(file, read_pixel_csv(file))
    if file.suffix == ".parquet":
        return _pixel_table(file, read_parquet(file))
    if file.suffix == ".json":
        return _bands(file)
    if file.suffix in {".npy", ".npz"}:
        return _arrays(file)
    pictures = read_idx(file)
    if pictures.ndim != 3:
        raise KitError(f"{file}: holds an array of rank {pictures.ndim}; pictures have rank 3 (idx3)")
    return Held(_numbers(len(pictures)), pictures, pd.DataFrame(index=range(len(pictures))))


@lru_cache(maxsize=2)
def _places(file: Path, changed: int) -> dict[str, int]:
    return {name: place for place, name in enumerate(_read(file, changed).names)}


def _numbers(count: int) -> list[str]:
    return [str(row) for row in range(count)]


def _pixel_table(file: Path, table: pd.DataFrame) -> Held:
    """A CSV's rows are called by number, a parquet's by their id."""
    if file.suffix == ".parquet" and not num_pixels(table):
        return _encoded(table)
    pixels, others = pixels_of(file, table), table[without_pixels(table)].astype(str)
    return Held(_numbers(len(pixels)) if file.suffix == ".csv" else _ids(others), pixels, others)


def _ids(others: pd.DataFrame) -> list[str]:
    named = (others[column].tolist() for column in others if others[column].is_unique)
    return next(named, _numbers(len(others)))


def _encoded(table: pd.DataFrame) -> Held:
    """A column of files' bytes, alone or beside their paths; without one, no pictures."""
    first = {column: table[column].iloc[0] for column in table} if len(table) else {}
    bare = {column: one["bytes"] if isinstance(one, dict) and "bytes" in one else one for column, one in first.items()}
    found = [column for column, one in bare.items() if isinstance(one, bytes)]
    others = table.drop(columns=found[:1]).astype(str)
    if not found:
        return Held([], [], others)
    cells = [cell["bytes"] if isinstance(cell, dict) else cell for cell in table[found[0]]]
    return Held(_ids(others), cells, others)


def _bands(file: Path) -> Held:
    """A list of rows whose lists of numbers are square bands of one picture: one, two (their mean is the third) or
    three."""
    try:
        rows = json.loads(file.read_bytes())
        bands = [name for name, value in rows[0].items() if isinstance(value, list) and len(value) >= FEW]
        values = np.array([[row[name] for name in bands] for row in rows], np.float32)
        count, channels, side = len(rows), len(bands), math.isqrt(values.shape[2])
        pictures = values.reshape(count, channels, side, side).transpose(0, 2, 3, 1)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        expected = "a list of rows, each with bands of pixels (lists of equal, square length)"
        raise KitError(f"{file}: is no table of pixels: expected {expected}: {reason(error)}") from None
    if channels == 2:
        pictures = np.concatenate([pictures, pictures.mean(axis=3, keepdims=True)], axis=3)
    others = pd.DataFrame([{k: str(v) for k, v in row.items() if k not in bands} for row in rows]).fillna("")
    return Held(_ids(others), pictures[:, :, :, :3], others)


def _arrays(file: Path) -> Held:
    try:
        if file.suffix == ".npy":
            array = np.load(file, mmap_mode="r", allow_pickle=False)
            if array.ndim < 3:
                raise KitError(f"{file}: an array of {array.shape}; many pictures are (N, H, W) or (N, H, W, C)")
            return Held(_numbers(len(array)), array, pd.DataFrame(index=range(len(array))))
        with np.load(file, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise KitError(f"{file}: cannot be read as arrays: {reason(error)}; get it again") from None
    stacks = [array for array in arrays.values() if array.ndim == 4]
    if len(arrays) == 1 and not stacks:
        stacks = [array for array in arrays.values() if is_stack(array.shape)]
    if len(stacks) == 1:
        return Held(_numbers(len(stacks[0])), stacks[0], pd.DataFrame(index=range(len(stacks[0]))))
    return Held(list(arrays), list(arrays.values()), pd.DataFrame(index=range(len(arrays))))


def is_stack(shape: tuple[int, ...]) -> bool:
    """Are these many pictures, (N, H, W) or (N, H, W, C), and not one of several channels, (H, W, C) or (C, H, W)?"""
    if len(shape) != 3:
        return len(shape) == 4
    count, height, width = shape
    return count > 4 and min(height, width) > 4 and max(height, width) <= 4 * min(height, width)


def array_shape(data: IO[bytes]) -> tuple[int, ...] | None:
    """Of a .npy, or of the only array of a .npz, by its header; `None` where it is neither."""
    try:
        if data.read(2) == b"PK":
            archive = zipfile.ZipFile(data)
            names = archive.namelist()
            return array_shape(io.BytesIO(archive.open(names[0]).read(1000))) if len(names) == 1 else None
        data.seek(0)
        reader = {1: read_array_header_1_0, 2: read_array_header_2_0}[read_magic(data)[0]]
        shape: tuple[int, ...] = reader(data)[0]
    except (ValueError, KeyError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None
    return shape


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
