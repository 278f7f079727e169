"""A picture as it was measured: numbers of any depth, and how they become the grey or colour that a person sees."""

import io
from dataclasses import dataclass

import numpy as np

Range = tuple[float, float]
"""(the value that is black, the one that is white)"""
NPY = b"\x93NUMPY"


class ValuesProblem(Exception):
    """The bytes hold no picture, or a damaged one."""


@dataclass(frozen=True)
class Values:
    """`array`: (H, W) or (H, W, 3) RGB, of any number type; uint8 is shown as it is. `value_range`: as the file itself
    tells it; `None`: the set's decides. `inverted`: the largest is black. `note`: what was left out."""

    array: np.ndarray
    value_range: Range | None = None
    inverted: bool = False
    note: str = ""

    @property
    def is_open(self) -> bool:
        """Does the set decide what is black and white?"""
        return self.value_range is None and self.array.dtype != np.uint8

    def rgb(self, of_set: Range | None) -> np.ndarray:
        """uint8 (H, W, 3). `of_set`: the range of a whole set of pictures, where it is known."""
        levels = self.array
        if levels.dtype != np.uint8:
            levels = _scaled(levels, self.value_range or of_set or usual_range(levels))
        levels = 255 - levels if self.inverted else levels
        return np.repeat(levels[:, :, None], 3, axis=2) if levels.ndim == 2 else np.ascontiguousarray(levels)


def _scaled(values: np.ndarray, value_range: Range) -> np.ndarray:
    """uint8, of the same shape."""
    low, high = value_range
    levels = np.nan_to_num((values.astype(np.float32) - low) * (255.0 / (high - low)))
    return np.clip(levels, 0, 255).round().astype(np.uint8)


def usual_range(values: np.ndarray) -> Range:
    """Of a picture of which no set is known."""
    return (0.0, 65535.0) if values.dtype.kind != "f" else range_of(values)


BITS = (8, 10, 12, 14, 16)


def range_of(values: np.ndarray) -> Range:
    """The range that a picture's own values suggest: to the next full number of bits, or 0 to 1."""
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = float(known.min(initial=0)), float(known.max(initial=0))
    if values.dtype.kind == "f" and low >= 0 and 0 < high <= 1:
        return 0.0, 1.0
    top = next((top for bits in BITS if high <= (top := float(2**bits - 1))), high)
    return min(0.0, low), top if high > 0 else 1.0


def written(value_range: Range) -> str:
    return f"{value_range[0]:.9g}..{value_range[1]:.9g}"


def parsed(text: str) -> Range:
    low, _, high = text.partition("..")
    return float(low), float(high)


def npy_values(data: bytes) -> Values:
    """A .npy file's array, as `as_picture`. Raises `ValuesProblem`."""
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError) as error:
        raise ValuesProblem(f"damaged: {error}") from None
    return as_picture(array)


def npy_bytes(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    return sink.getvalue()


def as_picture(array: np.ndarray) -> Values:
    """(H, W), (H, W, C) or (C, H, W) with 1, 3 or 4 channels (of which the fourth is left out); of a stack of grey
    slices (N, H, W) the middle one. Raises `ValuesProblem` for other shapes and types."""
    shape = " x ".join(map(str, array.shape))
    if array.dtype.kind not in "buif" or not array.size:
        raise ValuesProblem(f"an array of {array.dtype} ({shape}), no picture")
    note = ""
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        if array.shape[0] in (1, 3, 4):
            array = array.transpose(1, 2, 0)
        else:
            note, array = f"slice {len(array) // 2 + 1} of {len(array)}", array[len(array) // 2]
    if array.ndim == 3:
        array = array[:, :, 0] if array.shape[2] == 1 else array[:, :, :3]
    if array.ndim != 2 and array.ndim != 3:
        raise ValuesProblem(f"an array of {shape}; a picture has two or three axes")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8) * 255
    if array.dtype.itemsize > 4 or array.dtype == np.float16:
        array = array.astype(np.float32)
    return Values(array, note=note)
