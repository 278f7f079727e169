"""From bytes to the RGB picture that a person sees. Judged by content, never by the file's name.

A plain JPEG goes through libjpeg-turbo (`simplejpeg`, strict: damage is an error, and it can decode straight to N/8 of
the size), where that is installed; everything else through Pillow (JPEGs at 1/2, 1/4 or 1/8), and what Pillow does not
know through OpenCV. Full-size pictures have the same pixels either way; scaled ones do not."""

import io
import warnings
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image, ImageOps

from kit.data.depth import MAX_PIXELS, deep_values, is_deep, measured, middle_page
from kit.data.formats.dicom import dicom_size, is_dicom
from kit.data.formats.tiff import is_tiff, tiff_values
from kit.data.values import Range, ValuesProblem

try:
    import simplejpeg
except ImportError:  # absent from Kaggle's image
    simplejpeg = None

MOST_LOST = 0.1  # of the rows of a JPEG that ends too early
EXTENSIONS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".gif": "GIF", ".bmp": "BMP",
    ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP", ".avif": "AVIF", ".jp2": "JPEG2000", ".j2k": "JPEG2000",
    ".ppm": "PPM", ".pgm": "PPM", ".pbm": "PPM", ".pnm": "PPM", ".dcm": "DICOM", ".dicom": "DICOM", ".npy": "NPY",
}  # fmt: skip
_EXIF_ORIENTATION = 0x0112
DECODER = "pillow" if simplejpeg is None else "simplejpeg"
DECODED_BY = () if DECODER == "simplejpeg" else (DECODER,)  # for fingerprints; the first caches were simplejpeg's


def size_of(data: bytes) -> tuple[int, int] | None:
    """(width, height) by the header, where there is one that Pillow or pydicom reads, else by the pixels; `None` where
    the bytes hold no picture."""
    try:
        if is_dicom(data):
            return dicom_size(data)
        return Image.open(io.BytesIO(data)).size
    except (OSError, ValueError, Image.DecompressionBombError):
        pass
    try:
        height, width = decode(data).rgb.shape[:2]
    except ImageProblem:
        return None
    return width, height


class ImageProblem(Exception):
    """The bytes are not an image, or a damaged one."""


@dataclass(frozen=True)
class Picture:
    """`rgb`: uint8 (height, width, 3), turned upright. `format`: what the bytes are (`JPEG`, `PNG`, ...). `flaw`: what
    is wrong with it though it can be used, "" where nothing is. `is_slice`: the middle of several frames or pages."""

    rgb: np.ndarray
    format: str
    flaw: str = ""
    is_slice: bool = False


def decode(data: bytes, min_side: int | None = None, value_range: Range | None = None) -> Picture:
    """The picture in `data`; raises `ImageProblem`. With `min_side`, a JPEG may come at 1/2, 1/4 or 1/8 of its size,
    both sides still at least `min_side` pixels. `value_range`: of pictures deeper than 8 bits; without it, all 16
    bits, or what a float's own values suggest."""
    if data[:3] == b"\xff\xd8\xff":
        picture = _plain_jpeg(data, min_side)
        if picture is not None:
            return picture
    try:
        if (known := measured(data)) is not None:
            return Picture(known[1].rgb(value_range), known[0], is_slice=bool(known[1].note))
        picture = _any_image(data, min_side if simplejpeg is None else None)
    except ValuesProblem as error:
        raise ImageProblem(str(error)) from None
    except ImageProblem:
        if is_tiff(data):
            return _unusual_tiff(data, value_range)
        if not lacks_its_end(data):
            raise
        return _without_end(data)
    if is_deep(data) and (values := deep_values(data, _page(data) if picture.is_slice else 0)) is not None:
        turned = Image.fromarray(values.rgb(value_range))
        turned.getexif()[_EXIF_ORIENTATION] = _orientation_of(data) if picture.format == "PNG" else 1  # OpenCV: TIFFs
        return replace(picture, rgb=np.asarray(ImageOps.exif_transpose(turned)))
    return picture


def _page(data: bytes) -> int:
    return middle_page(Image.open(io.BytesIO(data)))


def _unusual_tiff(data: bytes, value_range: Range | None) -> Picture:
    try:
        values = tiff_values(data)
    except ValuesProblem as error:
        raise ImageProblem(str(error)) from None
    return Picture(values.rgb(value_range), "TIFF", is_slice=bool(values.note))


def _plain_jpeg(data: bytes, min_side: int | None) -> Picture | None:
    """A grayscale or YCbCr JPEG without rotation or faults; `None` when Pillow should take over."""
    if simplejpeg is None or _orientation(data) != 1:
        return None
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data, strict=True)
        if colorspace in {"CMYK", "YCCK"} or height * width > MAX_PIXELS:
            return None
        scale = {} if min_side is None else {"min_height": min_side, "min_width": min_side}
        rgb = simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False, strict=True, **scale)
    except ValueError:
        return None
    return Picture(rgb, "JPEG")


def _orientation(data: bytes) -> int:
    return _orientation_of(data) if b"Exif\0\0" in _header(data) else 1


def _orientation_of(data: bytes) -> int:
    try:
        return int(Image.open(io.BytesIO(data)).getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # whatever a broken EXIF block raises, the picture may still be fine
        return 1


def _header(data: bytes) -> bytes:
    """A JPEG's segments before its pixels: EXIF may stand behind a large colour profile."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return data[: min(place, len(data))]


def _any_image(data: bytes, min_side: int | None) -> Picture:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data))
            if image.width * image.height > MAX_PIXELS:
                raise ImageProblem(f"{image.width}x{image.height} pixels are more than {MAX_PIXELS:,}")
            name = {"MPO": "JPEG"}.get(image.format or "", image.format or "")
            if min_side is not None:
                image.draft("RGB", (min_side, min_side))
            if page := middle_page(image):
                image.seek(page)
            image.load()  # of an animation the first frame
            return Picture(_to_rgb(ImageOps.exif_transpose(image), name), name, is_slice=page > 0)
    except Image.UnidentifiedImageError:
        return _opencv(data)
    except ImageProblem:
        raise
    except Exception as error:  # Pillow's decoders raise anything from OSError to SyntaxError on damaged bytes
        raise ImageProblem(f"damaged: {error}") from None


def lacks_its_end(data: bytes) -> bool:
    """Has a JPEG pixels, but not its closing mark behind them?"""
    pixels = data.rfind(b"\xff\xda") if data[:3] == b"\xff\xd8\xff" else -1
    return pixels >= 0 and data.find(b"\xff\xd9", pixels) < 0


def _without_end(data: bytes) -> Picture:
    """A JPEG that was cut off near its end: what is missing is filled with one colour."""
    picture = _any_image(data + b"\xff\xd9", None)
    rows = (picture.rgb == picture.rgb[-1, -1]).all(axis=(1, 2))
    lost = int(np.argmin(rows[::-1])) / len(rows) if not rows.all() else 1.0
    if lost > MOST_LOST:
        raise ImageProblem(f"damaged: it ends too early, {lost:.0%} of its rows are missing")
    return replace(picture, flaw=f"ends too early{f': {lost:.1%} of its rows are missing' if lost else ''}")


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
    if image.mode.startswith(("I", "F")):  # 16 bits a channel, or more
        values = np.asarray(image).astype(np.float32)
        # the range of these is known, whatever this one shows
        deep = image.mode.startswith("I;16") or (image.mode == "I" and name == "PPM")
        top = 65535.0 if deep or values.max() > 255 else 255.0 if values.max() > 1 else 1.0
        gray = np.clip(values * (255.0 / top), 0, 255).round().astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _opencv(data: bytes) -> Picture:
    """16-bit colour TIFF and the like. OpenCV does not report damage, so it comes last."""
    buffer = np.frombuffer(data, np.uint8)
    try:
        bgr = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if buffer.size else None
    except cv2.error:
        bgr = None
    if bgr is None:
        raise ImageProblem("not an image" if data else "an empty file")
    return Picture(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), "TIFF" if data[:2] in {b"II", b"MM"} else "other")


def resize_square(rgb: np.ndarray, size: int, mode: str) -> np.ndarray:
    """uint8 (size, size, C). `squash` ignores the aspect, `crop` takes the central square, `pad` adds gray bars."""
    height, width = rgb.shape[:2]
    if mode == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        rgb = rgb[top : top + side, left : left + side]
    elif mode == "pad":
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        bars = ((top, side - height - top), (left, side - width - left), (0, 0))
        rgb = np.pad(rgb, bars, constant_values=128)
    if rgb.shape[:2] == (size, size):
        return np.ascontiguousarray(rgb)
    shrinks = max(rgb.shape[:2]) > size
    return scaled(rgb, size, cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def scaled(pixels: np.ndarray, size: int, interpolation: int) -> np.ndarray:
    """uint8 (size, size, C); OpenCV takes four channels at once."""
    if pixels.shape[2] <= 4:
        return cv2.resize(pixels, (size, size), interpolation=interpolation).reshape(size, size, -1)
    parts = [pixels[:, :, start : start + 3] for start in range(0, pixels.shape[2], 3)]
    return np.dstack([scaled(np.ascontiguousarray(part), size, interpolation) for part in parts])


def halved(rgb: np.ndarray, least: int) -> np.ndarray:
    """Means of 2x2 pixels, repeated while both sides stay at least `least`: a cheap first step of a large reduction."""
    height, width = rgb.shape[:2]
    while min(height, width) >= 2 * least:
        height, width = height // 2, width // 2
        rgb = cv2.resize(rgb[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
    return rgb


def difference_hash(rgb: np.ndarray) -> int:
    """64 bits: is each cell of a 9x8 gray miniature brighter than its right neighbour? (Krawetz's dHash)"""
    small = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(small[:, :-1] > small[:, 1:]).tobytes(), "big")
