"""Every picture comes out as the RGB that a person sees; what is none is said."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from kit.data.images import ImageProblem, decode, difference_hash, resize_square


def _scene(height: int = 40, width: int = 60) -> np.ndarray:
    """Smooth colours, so that JPEG changes little: red grows to the right, green downwards."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 / width, y * 255 / height, np.full_like(x, 90)], axis=2).astype(np.uint8)


def _bytes(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_colours_survive(kind):
    options = {"quality": 95} if kind in {"JPEG", "WEBP"} else {}
    picture = decode(_bytes(Image.fromarray(_scene()), kind, **options))
    assert picture.format == kind
    assert picture.rgb.shape == (40, 60, 3)
    assert np.abs(picture.rgb.astype(int) - _scene()).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation):
    image = Image.fromarray(_scene())
    exif = image.getexif()
    exif[0x0112] = orientation
    turned = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # Pillow's Transpose that undoes it
    stored = image if turned is None else image.transpose(Image.Transpose(turned))
    picture = decode(_bytes(stored, "JPEG", quality=95, exif=exif))
    assert np.abs(picture.rgb.astype(int) - _scene()).mean() < 3


def test_cmyk_jpeg():
    picture = decode(_bytes(Image.fromarray(_scene()).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(picture.rgb.astype(int) - _scene()).mean() < 4


def test_transparent_becomes_white():
    rgba = Image.fromarray(_scene()).convert("RGBA")
    rgba.putalpha(0)
    assert (decode(_bytes(rgba, "PNG")).rgb == 255).all()


def test_palette_and_first_frame_of_a_gif():
    frames = [Image.fromarray(np.full((20, 30), value, np.uint8)) for value in (40, 200)]
    picture = decode(_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert picture.format == "GIF"
    assert np.abs(picture.rgb.astype(int) - 40).max() <= 2


def test_grayscale_jpeg_has_three_equal_channels():
    rgb = decode(_bytes(Image.fromarray(_scene()).convert("L"), "JPEG")).rgb
    assert rgb.shape == (40, 60, 3)
    assert (rgb[..., 0] == rgb[..., 2]).all()


@pytest.mark.parametrize("kind", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_scaled_to_eight(kind, channels):
    deep = _scene().astype(np.uint16) * 257
    written = deep[..., 0] if channels == 1 else deep[..., ::-1]
    data = cv2.imencode(kind, written)[1].tobytes()
    expected = np.repeat(_scene()[..., :1], 3, axis=2) if channels == 1 else _scene()
    assert np.abs(decode(data).rgb.astype(int) - expected).max() <= 1


def test_a_dark_picture_of_sixteen_bits_stays_dark():
    """Its range is that of its format, not of what it happens to show."""
    dark = np.full((8, 8), 200, ">u2")
    graymap = b"P5 8 8 65535\n" + dark.tobytes()
    for data in (graymap, cv2.imencode(".png", dark.astype(np.uint16))[1].tobytes()):
        assert decode(data).rgb.max() <= 1
    floats = b"Pf 8 8 -1.0\n" + np.full((8, 8), 0.5, "<f4").tobytes()
    assert abs(int(decode(floats).rgb.max()) - 128) <= 1, "of 0 to 1, as floats are"


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"<html>" * 50, b"\xff\xd8\xff\xe0 not really", b"MATLAB 5.0 MAT-file"]
)
def test_what_is_no_image_is_said(data):
    with pytest.raises(ImageProblem):
        decode(data)


def test_a_truncated_jpeg_is_damaged():
    data = _bytes(Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)), "JPEG")
    with pytest.raises(ImageProblem, match=r"damaged|truncated"):
        decode(data[: len(data) // 2])


def test_scaled_decoding_keeps_at_least_the_asked_side():
    data = _bytes(Image.fromarray(_scene(400, 640)), "JPEG", quality=95)
    small = decode(data, min_side=90).rgb
    assert small.shape == (100, 160, 3)
    assert decode(data, min_side=500).rgb.shape == (400, 640, 3)
    assert np.abs(small.astype(int) - cv2.resize(_scene(400, 640), (160, 100), interpolation=cv2.INTER_AREA)).mean() < 3


def test_aspect_policies():
    scene = _scene(40, 80)
    assert np.array_equal(resize_square(scene, 40, "crop"), scene[:, 20:60])
    padded = resize_square(scene, 80, "pad")
    assert (padded[:20] == 128).all()
    assert np.array_equal(padded[20:60], scene)
    squashed = resize_square(scene, 40, "squash")
    assert squashed.shape == (40, 40, 3)
    assert np.abs(squashed.astype(int) - _scene(40, 40)).mean() < 3


def test_difference_hash_against_a_hand_computed_one():
    rising = np.repeat(np.tile(np.arange(0, 180, 20, dtype=np.uint8), (8, 1))[:, :, None], 3, axis=2)
    assert difference_hash(rising) == 0
    assert difference_hash(rising[:, ::-1]) == 2**64 - 1


def test_the_shared_troublemakers(photos):
    formats = {}
    for file in sorted((photos / "bad-images").iterdir()):
        try:
            formats[file.name] = decode(file.read_bytes()).format
        except ImageProblem:
            formats[file.name] = None
    assert {name for name, kind in formats.items() if kind is None} == {"Abyssinian_100.mat"}
    assert formats["not-jpeg_gif-P_Abyssinian_34.jpg"] == "GIF"
    assert formats["not-jpeg_png-RGBA_Abyssinian_5.jpg"] == "PNG"
