"""Arrays of labels, .npy or .npz, as tables."""

import io
import zipfile
import zlib

import numpy as np
import pandas as pd

from kit.errors import KitError, reason


def array_table(data: bytes, name: str) -> pd.DataFrame:
    """An array of labels, (N,), or (N, columns), of numbers or words -> id, the row's number from 0, and label (where
    one of several columns is set, its number), or label0, label1, ... Raises `KitError` where it is another one."""
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
        if not isinstance(array, np.ndarray):
            array = np.stack([array[key] for key in array.files])
            array = array[0] if len(array) == 1 else array
    except (ValueError, OSError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if "Object arrays" in str(error):
            raise KitError(f"{name}: holds Python's objects, not numbers or text; save array.astype(str)") from None
        raise KitError(f"{name}: cannot be read as an array of labels: {reason(error)}") from None
    rows = array.reshape(-1, 1) if array.ndim == 1 else array
    if rows.ndim != 2 or rows.dtype.kind not in "buifUS":
        held = f"{' x '.join(map(str, array.shape)) or 'one'} of {rows.dtype}"
        raise KitError(f"{name}: holds {held}; labels are numbers or words, (N,), or (N, columns)")
    one_hot = (
        rows.dtype.kind in "buif"
        and rows.shape[1] > 1
        and ((rows == 0) | (rows == 1)).all()
        and ((rows == 1).sum(axis=1) == 1).all()
    )
    if one_hot:
        rows = rows.argmax(axis=1).reshape(-1, 1)
    names = ["label"] if rows.shape[1] == 1 else [f"label{column}" for column in range(rows.shape[1])]
    if rows.dtype.kind == "S":
        rows = np.char.decode(rows, "utf-8", "replace")
    known = np.isfinite(rows) if rows.dtype.kind == "f" else np.ones(rows.shape, bool)
    if rows.dtype.kind in "bf" and bool((rows[known] % 1 == 0).all()):
        rows = np.where(known, rows, 0).astype(np.int64)
    cells = np.where(known, rows.astype(str), "")
    return pd.DataFrame({"id": np.arange(len(rows)).astype(str)} | dict(zip(names, cells.T, strict=True)))
