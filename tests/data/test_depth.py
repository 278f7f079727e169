"""Pictures deeper than 8 bits: the range is the set's, and every picture is scaled alike."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from kit.data.depth import is_deep, set_range
from kit.data.images import ImageProblem, decode, lacks_its_end

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)


@pytest.mark.parametrize(("bits", "top"), [(10, 1023), (12, 4095), (16, 65535), (8, 255)])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_bits_in_a_file_of_sixteen(tmp_path, bits, top, ending):
    half, full = ((RAMP * share * top).round().astype(np.uint16) for share in (0.5, 1))
    paths = [str(tmp_path / f"{k}{ending}") for k in range(2)]
    for path, values in zip(paths, (half, full), strict=True):
        cv2.imwrite(path, values)
    found, deep = set_range(paths)
    assert found == (0, top)
    assert deep.all()
    seen = [decode(Path(path).read_bytes(), value_range=found).rgb for path in paths]
    assert (seen[1][-1, -1] == 255).all()
    assert abs(int(seen[0][-1, -1, 0]) - 128) <= 1  # half as bright as the brightest of the set
    assert np.abs(seen[1][..., 0] - RAMP * 255).max() <= 1


def test_floats_are_scaled_by_the_set(tmp_path):
    paths = [str(tmp_path / f"{k}.tif") for k in range(2)]
    for path, share in zip(paths, (0.2, 1.0), strict=True):
        cv2.imwrite(path, (RAMP * share).astype(np.float32))
    found, _ = set_range(paths)
    assert found == (0, 1)
    assert decode(Path(paths[0]).read_bytes(), value_range=found).rgb.max() == 51


def test_colours_of_sixteen_bits(tmp_path):
    values = np.zeros((8, 8, 3), np.uint16)
    values[..., 2] = 4095  # OpenCV's red
    cv2.imwrite(str(tmp_path / "red.png"), values)
    assert decode((tmp_path / "red.png").read_bytes(), value_range=(0, 4095)).rgb[0, 0].tolist() == [255, 0, 0]


def test_eight_bits_are_not_deep(tmp_path):
    Image.fromarray((RAMP * 255).astype(np.uint8)).save(tmp_path / "a.png")
    assert not is_deep((tmp_path / "a.png").read_bytes())
    assert set_range([str(tmp_path / "a.png")])[0] is None


def test_exif_behind_a_colour_profile(tmp_path):
    image, exif = Image.new("RGB", (20, 10)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif, icc_profile=bytes(60_000))
    data = (tmp_path / "a.jpg").read_bytes()
    place = data.index(b"\xff\xe1")
    length = 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    segment, rest = data[place : place + length], data[:place] + data[place + length :]
    scan = rest.index(b"\xff\xdb")  # behind the profile
    moved = rest[:scan] + segment + rest[scan:]
    assert moved.index(b"Exif") > 4096
    assert decode(moved).rgb.shape == (20, 10, 3)


def test_a_jpeg_that_lacks_its_end(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg", quality=95)
    data = (tmp_path / "a.jpg").read_bytes()
    whole, cut = decode(data), decode(data[:-2])
    assert lacks_its_end(data[:-2])
    assert (whole.rgb == cut.rgb).mean() > 0.99
    assert (whole.flaw, cut.flaw[:14]) == ("", "ends too early")
    with pytest.raises(ImageProblem, match="ends too early"):
        decode(data[: len(data) // 2])


def test_a_whole_jpeg_with_something_behind_it_has_no_flaw(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # read by Pillow
    Image.fromarray((RAMP * 255).astype(np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    data = (tmp_path / "a.jpg").read_bytes() + bytes(500)
    assert not lacks_its_end(data)
    assert decode(data).flaw == ""


@pytest.mark.parametrize("ending", [".tif", ".png"])
def test_a_deep_picture_is_turned_upright(tmp_path, ending):
    deep, exif = np.arange(8 * 4, dtype=np.uint16).reshape(8, 4) * 100, Image.Exif()
    exif[0x0112] = 6
    how = {"tiffinfo": {0x0112: 6}} if ending == ".tif" else {"exif": exif}
    Image.fromarray(deep).save(tmp_path / f"a{ending}", **how)
    seen = decode((tmp_path / f"a{ending}").read_bytes(), value_range=(0, 4095)).rgb
    assert seen.shape == (4, 8, 3)
    assert seen[0, 0, 0] == round(int(deep[-1, 0]) * 255 / 4095)


def test_transparency_of_sixteen_bits_is_white(tmp_path):
    values = np.zeros((8, 8, 4), np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    assert (decode((tmp_path / "a.png").read_bytes()).rgb == 255).all()
    assert set_range([str(tmp_path / "a.png")])[0] is None
