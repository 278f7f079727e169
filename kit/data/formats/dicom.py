"""DICOM, by pydicom: one picture's values as a viewer would show them."""

import io
import warnings
from typing import Any

import numpy as np

from kit.data.values import Values, ValuesProblem
from kit.errors import KitError, reason

ENDINGS = (".dcm", ".dicom")
COMPRESSED = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
_FAR = 2**30  # beyond every stored value


def is_dicom(data: bytes) -> bool:
    return data[128:132] == b"DICM"


def dicom_size(data: bytes) -> tuple[int, int] | None:
    """(width, height), by the header; `None` where it tells none."""
    pydicom = _pydicom()
    try:
        header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
        return int(header.Columns), int(header.Rows)
    except Exception:  # whatever pydicom raises on damaged bytes
        return None


def _pydicom() -> Any:
    try:
        import pydicom
        import pydicom.pixels
    except ImportError:
        raise KitError("a DICOM needs `pip install pydicom`; or convert the pictures to PNG") from None
    return pydicom


def dicom_values(data: bytes) -> Values:
    """The values after the modality's slope and intercept, padding left out; after the first window or lookup table,
    whose ends are black and white, where there is one. Of several frames the middle one. MONOCHROME1 is `inverted`;
    colours come as uint8 RGB. Raises `ValuesProblem` when damaged, `KitError` where a library is missing."""
    pydicom = _pydicom()
    pixels = pydicom.pixels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's doubts about odd headers
        try:
            header = pydicom.dcmread(io.BytesIO(data))
            frames = int(header.get("NumberOfFrames", 1) or 1)
            stored = pixels.pixel_array(header, index=frames // 2 if frames > 1 else 0)
            note = f"frame {frames // 2 + 1} of {frames}" if frames > 1 else ""
            if stored.ndim == 3:
                return Values(_eight_bits(stored, int(header.BitsStored)), note=note)
            if header.get("PhotometricInterpretation") == "PALETTE COLOR":
                coloured = pixels.apply_color_lut(stored, header)
                return Values(_eight_bits(coloured, coloured.dtype.itemsize * 8), note=note)
            values = pixels.apply_modality_lut(_without_padding(stored, header), header)
            inverted = header.get("PhotometricInterpretation") == "MONOCHROME1"
            if "VOILUTSequence" not in header and "WindowCenter" not in header:
                return Values(values.astype(np.float32), None, inverted, note)
            values, far = values.astype(np.float64), [-_FAR, _FAR]
            if "VOILUTSequence" in header:
                count, first, _ = header.VOILUTSequence[0].LUTDescriptor
                values, far = values.astype(np.int64), [first, first + (count or 65536) - 1]
            shown = pixels.apply_voi_lut(values, header)
            ends = pixels.apply_voi_lut(np.array(far, values.dtype), header)
            return Values(shown.astype(np.float32), (float(ends.min()), float(ends.max())), inverted, note)
        except Exception as error:  # whatever pydicom and its decoders raise on damaged or unusual bytes
            if "missing dependencies" in str(error) or "missing required dependencies" in str(error):
                raise KitError(f"a compressed DICOM needs `{COMPRESSED}`; or convert the pictures to PNG") from None
            raise ValuesProblem(f"damaged: {reason(error)}") from None


def _without_padding(stored: np.ndarray, header: Any) -> np.ndarray:
    """What lies around the picture, as the darkest of what lies in it."""
    value = header.get("PixelPaddingValue")
    if value is None:
        return stored
    low, high = sorted((int(value), int(header.get("PixelPaddingRangeLimit", value))))
    padding = (stored >= low) & (stored <= high)
    return np.where(padding, stored[~padding].min(), stored) if padding.any() and not padding.all() else stored


def _eight_bits(stored: np.ndarray, bits: int) -> np.ndarray:
    return stored.astype(np.uint8) if bits <= 8 else (stored >> (bits - 8)).astype(np.uint8)
