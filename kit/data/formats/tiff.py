"""TIFFs that neither Pillow nor OpenCV reads (many bands, half floats, planes apart), by tifffile."""

import io

import numpy as np

from kit.data.values import Values, ValuesProblem, as_picture
from kit.errors import KitError, reason

MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_tiff(data: bytes) -> bool:
    return data[:4] in MARKS


def tiff_values(data: bytes) -> Values:
    """The first series: of more than four bands the first three, of several pages the middle one. Raises
    `ValuesProblem` when damaged, `KitError` where tifffile is missing."""
    try:
        import tifffile
    except ImportError:
        raise KitError("a TIFF of this kind needs `pip install tifffile imagecodecs`; or convert it to PNG") from None
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            series = file.series[0]
            array, axes = series.asarray(), series.axes
    except Exception as error:  # whatever tifffile and its codecs raise
        raise ValuesProblem(f"damaged, or a TIFF of an unknown kind: {reason(error)}") from None
    for axis in [axis for axis in axes if axis not in "YXSC"]:  # depth, time, pages
        place = axes.index(axis)
        array, axes = np.take(array, array.shape[place] // 2, place), axes.replace(axis, "", 1)
    bands = next((axis for axis in "SC" if axis in axes), None)
    if bands is not None:
        array = np.moveaxis(array, axes.index(bands), -1)
        bands_seen = array.shape[-1]
        array = array[..., :3] if bands_seen >= 3 else array[..., :1]
    return as_picture(array)
