"""Pictures of more than 8 bits a channel: which are, and what range of values stands for black to white.

A 12-bit picture in a 16-bit file uses a sixteenth of its values, a float TIFF any; the range is the set's, not the
picture's: the brightest of all, to the next full number of bits. A DICOM's window is its own."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from kit.data.formats import dicom
from kit.data.formats.tiff import is_tiff, tiff_values
from kit.data.sources import MARK, read_bytes
from kit.data.values import NPY, Range, Values, ValuesProblem, npy_values, range_of
from kit.processes import num_cores

MAX_PIXELS = 200_000_000
ENDINGS = (".png", ".tif", ".tiff", ".npy", *dicom.ENDINGS)
_PNG = b"\x89PNG\r\n\x1a\n"
_BITS_A_SAMPLE = 258


def measured(data: bytes) -> tuple[str, Values] | None:
    """(format, values) of what is nothing but values: a DICOM, an array; `None` for other bytes. Raises
    `ValuesProblem`."""
    if dicom.is_dicom(data):
        return "DICOM", dicom.dicom_values(data)
    return ("NPY", npy_values(data)) if data[:6] == NPY else None


def is_deep(data: bytes) -> bool:
    """By its header: a PNG of 16 bits, a TIFF of more than 8, of a size that is decoded at all."""
    return _is_deep(io.BytesIO(data))


def _is_deep(file: BinaryIO) -> bool:
    head = file.read(32)
    if not (head[:8] == _PNG and head[24:25] == b"\x10") and not is_tiff(head):
        return False
    file.seek(0)
    try:
        image = Image.open(file)
        if image.width * image.height > MAX_PIXELS:
            return False
        return head[:8] == _PNG or max(image.tag_v2.get(_BITS_A_SAMPLE, (8,))) > 8  # type: ignore[attr-defined]
    except Exception:  # Pillow's readers raise anything on damaged bytes, and refuse what is too large
        return False


def middle_page(image: Image.Image) -> int:
    """Of a TIFF whose pages are slices, all of one size: the middle one. 0 of a pyramid, and of one page."""
    count = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    sizes = set()
    for page in range(count if count > 1 else 0):
        image.seek(page)
        sizes.add(image.size)
    if count > 1:
        image.seek(0)
    return count // 2 if len(sizes) == 1 else 0


def deep_values(data: bytes, page: int = 0) -> Values | None:
    """uint16 or float32 (H, W) or (H, W, 3), RGB, a TIFF turned upright, a PNG not; `None` where OpenCV cannot read
    it, and where some of it is transparent."""
    buffer = np.frombuffer(data, np.uint8)
    values: np.ndarray | None
    try:
        if page:
            values = cv2.imdecodemulti(buffer, cv2.IMREAD_UNCHANGED, range=(page, page + 1))[1][0]
        else:
            values = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
    except (cv2.error, IndexError):
        return None
    if values is None or values.dtype not in (np.uint16, np.int16, np.float32, np.float64, np.int32):
        return None
    if values.ndim == 3 and values.shape[2] == 4:
        return None
    if values.ndim == 3:
        values = values[:, :, 2::-1] if values.shape[2] >= 3 else values[:, :, 0]
    return Values(values if values.dtype == np.uint16 else values.astype(np.float32))


def set_range(paths: Sequence[str]) -> tuple[Range | None, np.ndarray]:
    """(the range of all pictures together that leave it open, `None` where there is none; bool (N,): which do)"""
    deep, ranges = np.zeros(len(paths), bool), []
    rows = [row for row, path in enumerate(paths) if path.lower().endswith(ENDINGS) or MARK in path]

    with ThreadPoolExecutor(num_cores()) as pool:
        for row, found in zip(rows, pool.map(lambda row: _open_range(paths[row]), rows), strict=True):
            if found is not None:
                deep[row] = True
                ranges.append(found)
    if not ranges:
        return None, deep
    return (min(low for low, _ in ranges), max(high for _, high in ranges)), deep


def _open_range(path: str) -> Range | None:
    """Of a picture whose black and white the set decides; else `None`."""
    try:
        if path.lower().endswith((".png", ".tif", ".tiff")):
            with open(path, "rb") as file:
                if not _is_deep(file):
                    return None
        data = read_bytes(Path(path))
        if (known := measured(data)) is not None:
            return range_of(known[1].array) if known[1].is_open else None
        values = deep_values(data, middle_page(Image.open(io.BytesIO(data)))) if is_deep(data) else None
        values = values or (tiff_values(data) if is_deep(data) and is_tiff(data) else None)
    except (OSError, ValuesProblem):
        return None
    return None if values is None else range_of(values.array)
