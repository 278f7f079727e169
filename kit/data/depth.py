"""Pictures of more than 8 bits a channel: which are, and what range of values stands for black to white.

A 12-bit picture in a 16-bit file uses a sixteenth of its values, a float TIFF any; the range is the set's, not the
picture's: the brightest of all, to the next full number of bits."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from kit.processes import num_cores

MAX_PIXELS = 200_000_000
BITS = (8, 10, 12, 14, 16)
ENDINGS = (".png", ".tif", ".tiff")
_PNG, _TIFFS = b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*")
_BITS_A_SAMPLE = 258
Range = tuple[float, float]
"""(the value that is black, the one that is white)"""


def is_deep(data: bytes) -> bool:
    """By its header: a PNG of 16 bits, a TIFF of more than 8, of a size that is decoded at all."""
    return _is_deep(io.BytesIO(data))


def _is_deep(file: BinaryIO) -> bool:
    head = file.read(32)
    if not (head[:8] == _PNG and head[24:25] == b"\x10") and head[:4] not in _TIFFS:
        return False
    file.seek(0)
    try:
        image = Image.open(file)
        if image.width * image.height > MAX_PIXELS:
            return False
        return head[:8] == _PNG or max(image.tag_v2.get(_BITS_A_SAMPLE, (8,))) > 8  # type: ignore[attr-defined]
    except Exception:  # Pillow's readers raise anything on damaged bytes, and refuse what is too large
        return False


def deep_values(data: bytes) -> np.ndarray | None:
    """uint16 or float32 (H, W) or (H, W, 3), RGB, a TIFF turned upright, a PNG not; `None` where OpenCV cannot read
    it, and where some of it is transparent."""
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if values is None or values.dtype not in (np.uint16, np.int16, np.float32, np.float64, np.int32):
        return None
    if values.ndim == 3 and values.shape[2] == 4:
        return None
    if values.ndim == 3:
        values = values[:, :, 2::-1] if values.shape[2] >= 3 else values[:, :, 0]
    return values if values.dtype == np.uint16 else values.astype(np.float32)


def scaled(values: np.ndarray, value_range: Range) -> np.ndarray:
    """uint8 (H, W, 3)."""
    low, high = value_range
    gray = np.nan_to_num((values.astype(np.float32) - low) * (255.0 / (high - low)))
    levels = np.clip(gray, 0, 255).round().astype(np.uint8)
    return np.repeat(levels[:, :, None], 3, axis=2) if levels.ndim == 2 else levels


def usual_range(values: np.ndarray) -> Range:
    """Of a picture of which no set is known."""
    return range_of(values) if values.dtype.kind == "f" else (0.0, 65535.0)


def range_of(values: np.ndarray) -> Range:
    """The range that a picture's own values suggest."""
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return _whole(float(known.min(initial=0)), float(known.max(initial=0)), values.dtype.kind == "f")


def _whole(low: float, high: float, is_float: bool) -> Range:
    if is_float and low >= 0 and 0 < high <= 1:
        return 0.0, 1.0
    tops = [float(2**bits - 1) for bits in BITS]
    top = next((top for top in tops if high <= top), high)
    return min(0.0, low), top if high > 0 else 1.0


def set_range(paths: Sequence[str]) -> tuple[Range | None, np.ndarray]:
    """(the range of all deep pictures together, `None` where there is none; bool (N,): which are)"""
    deep, ranges = np.zeros(len(paths), bool), []
    rows = [row for row, path in enumerate(paths) if path.lower().endswith(ENDINGS)]

    def look(row: int) -> Range | None:
        try:
            with open(paths[row], "rb") as file:
                if not _is_deep(file):
                    return None
                file.seek(0)
                values = deep_values(file.read())
        except OSError:
            return None
        return None if values is None else range_of(values)

    with ThreadPoolExecutor(num_cores()) as pool:
        for row, found in zip(rows, pool.map(look, rows), strict=True):
            if found is not None:
                deep[row] = True
                ranges.append(found)
    if not ranges:
        return None, deep
    return (min(low for low, _ in ranges), max(high for _, high in ranges)), deep


def written(value_range: Range) -> str:
    return f"{value_range[0]:.9g}..{value_range[1]:.9g}"


def parsed(text: str) -> Range:
    low, _, high = text.partition("..")
    return float(low), float(high)
