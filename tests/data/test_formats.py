"""The formats of medicine and science: their pixels against their own libraries' reading, and known answers."""

import io
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kit.data.containers import likely_shapes, names_in, other_columns, pixels_a_row
from kit.data.depth import set_range
from kit.data.facts import look_at
from kit.data.images import ImageProblem, decode, size_of
from kit.data.sources import named_in, read_bytes
from kit.data.values import npy_bytes
from kit.errors import KitError

RAMP = np.arange(64 * 64).reshape(64, 64).astype(np.uint16)  # 0 to 4095
UNIT = RAMP / 4095
GRAY = (UNIT * 255).round()
LEVELS = GRAY.astype(np.uint8)


def _dicom(values: np.ndarray = RAMP, frames: int = 1, **facts: object) -> bytes:
    """An uncompressed one, of 12 bits in 16."""
    pydicom = pytest.importorskip("pydicom", reason="the extra `formats`")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.2", "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    made.Rows, made.Columns = values.shape[-2:] if values.ndim == 2 or frames > 1 else values.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    if frames > 1:
        made.NumberOfFrames = frames
    made.PixelData = values.tobytes()
    for name, value in facts.items():
        setattr(made, name, value)
    sink = io.BytesIO()
    pydicom.dcmwrite(sink, made, enforce_file_format=True)
    return sink.getvalue()


def _shown(data: bytes, **more: object) -> np.ndarray:
    picture = decode(data, **more)
    assert (picture.rgb == picture.rgb[:, :, :1]).all()
    return picture.rgb[:, :, 0]


def test_a_window_is_black_to_white():
    data = _dicom(WindowCenter=1000, WindowWidth=401)
    shown = _shown(data, value_range=(0.0, 65535.0))  # the set's range is of those without a window
    assert (shown[RAMP <= 799] == 0).all()
    assert (shown[RAMP >= 1200] == 255).all()
    assert abs(int(shown[RAMP == 1000][0]) - 128) <= 1
    pydicom = pytest.importorskip("pydicom")
    from pydicom import pixels

    theirs = pixels.apply_voi_lut(RAMP, pydicom.dcmread(io.BytesIO(data)))
    assert np.abs(shown - theirs / 4095 * 255).max() <= 0.51


def test_slope_and_intercept_come_before_the_window():
    data = _dicom(RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=40, WindowWidth=81)
    shown = _shown(data)
    hounsfield = RAMP.astype(int) * 2 - 1000
    assert (shown[hounsfield <= -1] == 0).all()
    assert (shown[hounsfield >= 80] == 255).all()
    assert abs(int(shown[hounsfield == 40][0]) - 128) <= 1


def test_the_first_of_several_windows_counts():
    one, two = _dicom(WindowCenter=1000, WindowWidth=400), _dicom(WindowCenter=[1000, 40], WindowWidth=[400, 80])
    assert np.array_equal(_shown(one), _shown(two))


@pytest.mark.parametrize("facts", [{}, {"WindowCenter": 2048, "WindowWidth": 4096}])
def test_monochrome1_is_turned_over(facts):
    plain = _shown(_dicom(**facts), value_range=(0.0, 4095.0))
    turned = _shown(_dicom(PhotometricInterpretation="MONOCHROME1", **facts), value_range=(0.0, 4095.0))
    assert np.array_equal(turned, 255 - plain)
    assert plain[0, 0] == 0
    assert plain[-1, -1] == 255


def test_a_lookup_table_is_followed():
    pytest.importorskip("pydicom", reason="the extra `formats`")
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.LUTData = np.array([65535 - 16 * k for k in range(4096)], "<u2").tobytes()
    shown = _shown(_dicom(VOILUTSequence=Sequence([table])))
    assert np.abs(shown - (255 - GRAY)).max() <= 1


def test_without_a_window_the_set_decides(tmp_path):
    paths = []
    for number, share in enumerate((0.5, 1.0)):
        paths.append(str(tmp_path / f"{number}.dcm"))
        Path(paths[-1]).write_bytes(_dicom((RAMP * share).astype(np.uint16)))
    found, deep = set_range(paths)
    assert found == (0, 4095)
    assert deep.all()
    half, full = (_shown(Path(path).read_bytes(), value_range=found) for path in paths)
    assert (full[-1, -1], half[-1, -1]) == (255, 127)
    assert set_range([])[0] is None
    windowed = tmp_path / "w.dcm"
    windowed.write_bytes(_dicom(WindowCenter=1000, WindowWidth=401))
    assert set_range([str(windowed)])[0] is None


def test_padding_is_no_part_of_the_range(tmp_path):
    values = RAMP.copy() // 2 + 1000
    values[:, :8] = 4095
    file = tmp_path / "a.dcm"
    file.write_bytes(_dicom(values, PixelPaddingValue=4095))
    shown = _shown(file.read_bytes(), value_range=set_range([str(file)])[0])
    assert (shown[:, :8] == shown[0, 8]).all(), "as dark as the darkest of the picture"


def test_of_several_frames_the_middle_one(tmp_path, capsys):
    frames = np.stack([RAMP // 5 * k for k in range(5)])
    file = tmp_path / "a.dcm"
    file.write_bytes(_dicom(frames, frames=5))
    assert np.array_equal(
        _shown(file.read_bytes(), value_range=(0, 4095)), _shown(_dicom(frames[2]), value_range=(0, 4095))
    )
    facts, _ = look_at([str(file)], "index")
    assert (facts["format"][0], facts["problem"][0]) == ("DICOM stack", "")
    assert size_of(file.read_bytes()) == (64, 64)


def test_a_damaged_dicom_is_a_problem_and_a_missing_library_an_error(monkeypatch):
    data = _dicom()
    with pytest.raises(ImageProblem, match="damaged"):
        decode(data[: len(data) // 2])
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(KitError, match="pip install pydicom"):
        decode(data)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_of_a_tiff_of_slices_the_middle_one(tmp_path, dtype):
    slices = [(RAMP // 16 // 5 * k).astype(dtype) for k in range(5)]
    cv2.imwritemulti(str(tmp_path / "a.tif"), slices)
    picture = decode((tmp_path / "a.tif").read_bytes(), value_range=(0, 255))
    assert picture.is_slice
    assert np.array_equal(picture.rgb[:, :, 0], slices[2])


def test_of_a_pyramid_the_first_page(tmp_path):
    large, small = Image.fromarray(LEVELS), Image.new("L", (8, 8))
    large.save(tmp_path / "a.tif", save_all=True, append_images=[small])
    picture = decode((tmp_path / "a.tif").read_bytes())
    assert (picture.rgb.shape, picture.is_slice) == ((64, 64, 3), False)


def test_a_tiff_of_many_bands_shows_the_first_three():
    tifffile = pytest.importorskip("tifffile", reason="the extra `formats`")
    bands = np.stack([LEVELS // (k + 1) for k in range(7)])
    sink = io.BytesIO()
    tifffile.imwrite(sink, bands, photometric="minisblack", planarconfig="separate")
    picture = decode(sink.getvalue())
    assert np.array_equal(picture.rgb, bands[:3].transpose(1, 2, 0)) or picture.is_slice


@pytest.mark.parametrize(
    ("array", "shown"),
    [
        (LEVELS, GRAY), (LEVELS[:, :, None], GRAY), (np.repeat(LEVELS[None], 3, axis=0), GRAY),
        (GRAY > 127, (GRAY > 127) * 255), (np.stack([LEVELS // 4, LEVELS // 2, LEVELS, LEVELS * 0, LEVELS * 0]), GRAY),
        (UNIT.astype(np.float32), GRAY), (UNIT, GRAY), (UNIT.astype(np.float16), GRAY),
    ],
)  # fmt: skip
def test_arrays(array, shown):
    tolerance = 1 if array.dtype == np.float16 else 0
    assert np.abs(_shown(npy_bytes(array)).astype(float) - shown).max() <= tolerance


@pytest.mark.parametrize("array", [np.zeros(5), np.zeros((2, 3, 4, 5)), np.array([["a"]]), np.zeros((0, 4))])
def test_arrays_that_are_no_pictures(array):
    with pytest.raises(ImageProblem, match="array"):
        decode(npy_bytes(array))


def test_pickled_arrays_are_not_executed():
    sink = io.BytesIO()
    np.save(sink, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ImageProblem, match="damaged"):
        decode(sink.getvalue())


@pytest.mark.parametrize(
    ("name", "format"), [("a.avif", "AVIF"), ("a.jp2", "JPEG2000"), ("a.ppm", "PPM"), ("a.pgm", "PPM")]
)
def test_what_pillow_reads(tmp_path, name, format):
    Image.fromarray(LEVELS).convert("L" if name == "a.pgm" else "RGB").save(tmp_path / name)
    facts, _ = look_at([str(tmp_path / name)], "index")
    assert (facts["format"][0], facts["problem"][0], facts["width"][0]) == (format, "", 64)
    assert np.abs(decode((tmp_path / name).read_bytes()).rgb[:, :, 0] - GRAY).mean() < 3


def _png(array: np.ndarray) -> bytes:
    return cv2.imencode(".png", array)[1].tobytes()


def test_hdf5_of_files_and_of_arrays(tmp_path):
    h5py = pytest.importorskip("h5py", reason="the extra `formats`")
    file, gray = tmp_path / "a.hdf5", LEVELS
    with h5py.File(file, "w") as held:
        held["x_1"] = np.void(_png(gray))
        held["x_2"] = np.frombuffer(_png(gray), np.uint8)
        held["deep/x_3"] = RAMP
    assert names_in(file) == ["deep/x_3", "x_1", "x_2"]
    for name in ("x_1", "x_2"):
        assert np.array_equal(_shown(read_bytes(Path(named_in(file, name)))), gray)
    deep = str(named_in(file, "deep/x_3"))
    assert set_range([deep])[0] == (0, 4095)
    assert np.abs(_shown(read_bytes(Path(deep)), value_range=(0, 4095)) - GRAY).max() <= 0.51
    with pytest.raises(FileNotFoundError, match="holds no 'x_9'"):
        read_bytes(Path(named_in(file, "x_9")))
    with h5py.File(tmp_path / "b.h5", "w") as held:
        held["images"] = np.stack([np.repeat(gray[:, :, None], 3, 2)] * 4)
    assert names_in(tmp_path / "b.h5") == ["0", "1", "2", "3"]
    assert np.array_equal(_shown(read_bytes(tmp_path / "b.h5#2")), gray)
    (tmp_path / "c.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(60))
    with pytest.raises(KitError, match=r"c\.h5: cannot be read as HDF5"):
        names_in(tmp_path / "c.h5")


def test_parquet_of_pixels_that_are_not_square(tmp_path, photos):
    pytest.importorskip("pyarrow", reason="the extra `formats`")
    import zipfile

    with zipfile.ZipFile(photos / "dogs-vs-cats-photos" / "train.zip") as held:
        names = [name for name in held.namelist() if name.endswith(".jpg")][:12]
        pictures = [cv2.resize(decode(held.read(name)).rgb[:, :, 1], (56, 40)) for name in names]
    rows = pd.DataFrame([picture.ravel() for picture in pictures], columns=[str(k) for k in range(40 * 56)])
    rows.insert(0, "image_id", [f"T_{k}" for k in range(12)])
    file = tmp_path / "a.parquet"
    rows.to_parquet(file)
    assert names_in(file) == rows["image_id"].tolist()
    assert pixels_a_row(file) == 40 * 56
    (first, rough), (_, second), *_ = likely_shapes(file)
    assert first == (40, 56)
    assert second > 1.2 * rough
    assert np.array_equal(_shown(read_bytes(Path(named_in(file, "T_3", (40, 56))))), pictures[3])
    with pytest.raises(KitError, match=r"a row holds 2,240 pixels; .*labels\.pixel_shape"):
        read_bytes(Path(named_in(file, "T_3")))


@pytest.mark.parametrize("nested", [False, True])
def test_parquet_of_files(tmp_path, nested):
    pytest.importorskip("pyarrow", reason="the extra `formats`")
    data = _png(LEVELS)
    cells = [{"bytes": data, "path": "a.png"}] * 2 if nested else [data] * 2
    pd.DataFrame({"id": ["a", "b"], "image": cells, "label": [0, 1]}).to_parquet(tmp_path / "a.parquet")
    assert names_in(tmp_path / "a.parquet") == ["a", "b"]
    assert read_bytes(tmp_path / "a.parquet#b") == data
    assert other_columns(tmp_path / "a.parquet")["label"].tolist() == ["0", "1"]


def test_json_of_bands(tmp_path):
    bands = [(UNIT * scale).astype(float) for scale in (1.0, 0.5)]
    row = {"id": "a7", "band_1": bands[0].ravel().tolist(), "band_2": bands[1].ravel().tolist(), "is_ship": 1}
    file = tmp_path / "train.json"
    file.write_text(json.dumps([row, row | {"id": "a8"}]))
    assert names_in(file) == ["a7", "a8"]
    assert list(other_columns(file)) == ["id", "is_ship"]
    shown = decode(read_bytes(Path(named_in(file, "a8"))), value_range=(0, 1)).rgb
    for band, expected in enumerate((bands[0], bands[1], (bands[0] + bands[1]) / 2)):
        assert np.abs(shown[:, :, band] - expected * 255).max() <= 0.51


def test_named_arrays_in_one_file(tmp_path):
    np.savez(tmp_path / "a.npz", one=LEVELS, two=LEVELS // 2)
    assert names_in(tmp_path / "a.npz") == ["one", "two"]
    assert np.array_equal(_shown(read_bytes(tmp_path / "a.npz#two")), LEVELS // 2)
