"""HDF5, by h5py: a file of many pictures, each a dataset of its own (encoded, or an array), or all in one stack."""

import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from kit.data.values import npy_bytes
from kit.errors import KitError, reason

ENDINGS = (".hdf5", ".h5", ".hdf")
KERAS = {"keras_version", "layer_names", "model_weights", "_layer_checkpoint_dependencies"}  # attributes or groups
_reading = threading.Lock()  # HDF5 reads one thing at a time


def hdf5_names(file: Path) -> list[str]:
    """Of the pictures, in the file's order; a stack's by number."""
    with _reading:
        held = _open(file, file.stat().st_mtime_ns)
        stack = _stack(held)
        return [str(row) for row in range(len(stack))] if stack is not None else list(_datasets(held))


def hdf5_picture(file: Path, name: str) -> bytes:
    """The encoded picture, or an array as the bytes of a .npy file. Raises `OSError` where there is none."""
    with _reading:
        held = _open(file, file.stat().st_mtime_ns)
        stack = _stack(held)
        if stack is None and name not in held:
            raise FileNotFoundError(f"{file}: holds no '{name}'")
        value = stack[int(name)] if stack is not None else held[name][()]
    if isinstance(value, bytes):
        return value
    if isinstance(value, np.void) or value.ndim == 0 or (value.ndim == 1 and value.dtype == np.uint8):
        return bytes(value.tobytes())  # encoded
    return npy_bytes(value)


@lru_cache(maxsize=8)
def _open(file: Path, _changed: int) -> Any:
    try:
        import h5py
    except ImportError:
        raise KitError(f"{file}: HDF5 needs `pip install h5py`; or give a folder of the pictures") from None
    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise KitError(f"{file}: cannot be read as HDF5: {reason(error)}; get it again") from None


def _datasets(held: Any) -> dict[str, Any]:
    """None of a Keras model's: its weights are no pictures."""
    found: dict[str, Any] = {}
    if KERAS & {*held.attrs, *held}:
        return found
    held.visititems(lambda name, one: found.update({name: one}) if hasattr(one, "shape") else None)
    return found


def _stack(held: Any) -> Any:
    """The one dataset of many pictures: (N, H, W) or (N, H, W, C); `None` where each has its own."""
    stacks = [one for one in _datasets(held).values() if one.ndim == 4 or (one.ndim == 3 and one.shape[2] > 4)]
    return stacks[0] if len(stacks) == 1 else None
