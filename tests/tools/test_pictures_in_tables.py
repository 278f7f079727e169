"""Tables that hold the pictures themselves, from files to a valid submission: pixels as words, bands in a JSON."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from quick import describe, go

from kit.data.containers import picture_in
from kit.data.text_tables import read_text_csv
from kit.data.values import npy_bytes
from kit.errors import ConfigError, KitError
from kit.run.run import Run

NUM, TEST, SIDE = 60, 12, 12


def _pixels(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (count, SIDE, SIDE), bright on the left (0) or on the right (1), and which."""
    random, side = np.random.default_rng(seed), np.arange(count) % 2
    pictures = random.integers(0, 80, (count, SIDE, SIDE))
    pictures[side == 0, :, : SIDE // 2] += 150
    pictures[side == 1, :, SIDE // 2 :] += 150
    return pictures.astype(np.uint8), side


def _words(pictures: np.ndarray) -> list[str]:
    return [" ".join(map(str, one.ravel())) for one in pictures]


@pytest.fixture
def faces(tmp_path) -> Path:
    """train.csv (emotion, pixels) and test.csv (pixels)"""
    folder = tmp_path / "files"
    folder.mkdir()
    pictures, side = _pixels(NUM, 0)
    pd.DataFrame({"emotion": side, " pixels": _words(pictures)}).to_csv(folder / "train.csv", index=False)
    pd.DataFrame({" pixels": _words(_pixels(TEST, 1)[0])}).to_csv(folder / "test.csv", index=False)
    return folder


def _accuracy(run: Run, column: str, truth: np.ndarray) -> float:
    written = pd.read_csv(run.workspace.submission("c"))
    assert len(written) == len(truth)
    return float((written[column] == truth).mean())


def test_pixels_as_words_go_the_whole_way(faces):
    competition = describe(faces, "accuracy")
    assert (competition.labels.layout, competition.labels.column) == ("pixels-csv", "emotion")
    run = go(faces)
    pgm = picture_in(run.workspace.raw("c") / "train.csv", "7")
    assert pgm.endswith(_pixels(NUM, 0)[0][7].tobytes()), "the very pixels, row by row"
    assert _accuracy(run, "emotion", _pixels(TEST, 1)[1]) >= 0.9


def test_one_table_with_a_column_that_says_which(faces):
    """fer2013.csv: the test set is what is not for training; its labels are known, and score."""
    train = pd.read_csv(faces / "train.csv").assign(Usage="Training")
    test = pd.read_csv(faces / "test.csv").assign(emotion=_pixels(TEST, 1)[1])
    test["Usage"] = ["PublicTest", "PrivateTest"] * (TEST // 2)
    both = pd.concat([test, train], ignore_index=True)
    both.to_csv(faces / "fer2013.csv", index=False)
    for name in ("train.csv", "test.csv"):
        (faces / name).unlink()
    competition = describe(faces, "accuracy")
    assert competition.files.train == competition.files.test == ("fer2013.csv",)
    assert competition.labels.only == {"Usage": ("Training",)}
    run = go(faces)
    index = run.index
    assert index[index["split"] == "test"]["image_id"].astype(int).tolist() == list(range(TEST))
    assert (index["split"] == "train").sum() == NUM
    assert _accuracy(run, "emotion", _pixels(TEST, 1)[1]) >= 0.9
    passport = json.loads(run.workspace.submission("c").with_suffix(".json").read_text("utf-8"))
    assert passport["test"]["accuracy"] >= 0.9
    both.drop(columns="Usage").to_csv(faces / "fer2013.csv", index=False)
    with pytest.raises(KitError, match="no second table of pixels for the test set"):
        describe(faces, "accuracy")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("300 " * (SIDE * SIDE), r"train\.csv: row 41 holds a pixel that is not a whole number in 0\.\.255"),
        ("1 2 3", r"train\.csv: row 41, column 'pixels': expected 144 numbers with blanks between them"),
        ("a " * (SIDE * SIDE), r"row 41, column 'pixels': expected 144 numbers"),
    ],
)
def test_a_cell_that_is_no_picture_is_named(faces, cell, message):
    table = pd.read_csv(faces / "train.csv")
    table.loc[40, " pixels"] = cell
    table.to_csv(faces / "train.csv", index=False)
    describe(faces, "accuracy")
    with pytest.raises(KitError, match=message):
        go(faces)


def test_bands_in_a_json_go_the_whole_way(tmp_path):
    """Radar's decibels in two lists a row; what else a row says is the labels' table."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name, count, seed in (("train", NUM, 0), ("test", TEST, 1)):
        pictures, side = _pixels(count, seed)
        bands = (pictures.reshape(count, -1) / 10.0 - 30).tolist()
        rows = [
            {"id": f"{name[0]}{k:03d}", "band_1": band, "band_2": band, "inc_angle": 30 + k / 9}
            for k, band in enumerate(bands)
        ]
        for row, one in zip(rows, side.tolist(), strict=True):
            row |= {"is_iceberg": one} if name == "train" else {}
        (folder / f"{name}.json").write_text(json.dumps(rows))
    sample = pd.DataFrame({"id": [f"t{k:03d}" for k in range(TEST)], "is_iceberg": 0.5})
    sample.to_csv(folder / "sample_submission.csv", index=False)
    with pytest.raises(ConfigError, match="files cannot tell log loss from ROC AUC"):
        describe(folder, None)
    competition = describe(folder, "log_loss")
    assert (competition.labels.id_column, competition.labels.column) == ("id", "is_iceberg")
    assert competition.columns is not None
    assert competition.columns.numbers == ("inc_angle",)
    run = go(folder)
    written = pd.read_csv(run.workspace.submission("c"))
    assert written["id"].tolist() == sample["id"].tolist()
    assert ((written["is_iceberg"] > 0.5) == _pixels(TEST, 1)[1]).mean() >= 0.9


@pytest.mark.parametrize("form", ["npy", "floats", "channels first", "npy and csv", "npz", "one hot", "zip", "from 1"])
def test_arrays_of_pictures_go_the_whole_way(tmp_path, form):
    """X_train.npy and y_train.npy, train-imgs.npz and train-labels.npz: a picture goes by its row's number."""
    folder = tmp_path / "files"
    folder.mkdir()
    (train, side), (test, truth) = _pixels(NUM, 0), _pixels(TEST, 1)
    if form == "floats":
        train, test = train / 255, test / 255
    if form == "channels first":
        train, test = (np.repeat(one[:, None], 3, axis=1) for one in (train, test))
    if form == "npz":
        for name, array in (("train-imgs", train), ("train-labels", side), ("test-imgs", test)):
            np.savez_compressed(folder / f"{name}.npz", array)
    else:
        np.save(folder / "X_train.npy", train)
        np.save(folder / "X_test.npy", test)
        np.save(folder / "y_train.npy", side.reshape(-1, 1).astype(np.float64))
    if form == "one hot":
        np.save(folder / "y_train.npy", np.eye(2)[side])
    if form == "zip":
        for path in sorted(folder.glob("*.npy")):
            with zipfile.ZipFile(folder / f"{path.name}.zip", "w") as archive:
                archive.write(path, path.name)
            path.unlink()
    if form == "npy and csv":
        (folder / "y_train.npy").unlink()
        pd.DataFrame({"Id": range(NUM), "label": side}).to_csv(folder / "train_labels.csv", index=False)
    first = int(form == "from 1")
    asked = pd.DataFrame({"Id": range(first, first + TEST), "label": 0})
    asked.to_csv(folder / "sample_submission.csv", index=False)
    np.save(folder / "classes.npy", {"left": 0}, allow_pickle=True)  # not understood, and in nobody's way
    competition = describe(folder, "accuracy")
    assert competition.files.train != competition.files.test
    assert (competition.labels.layout, competition.labels.column) == ("csv", "label")
    assert competition.classes == ("0", "1")
    run = go(folder)
    assert run.index[run.index["split"] == "train"]["target_label"].astype(int).tolist() == side.tolist()
    assert _accuracy(run, "label", truth) >= 0.9


def test_arrays_beside_folders_of_pictures_are_not_used(faces):
    np.save(faces / "images.npy", _pixels(NUM, 0)[0])
    np.save(faces / "train_labels.npy", _pixels(NUM, 0)[1])
    (faces / "train").mkdir()
    for number, picture in enumerate(_pixels(NUM, 0)[0]):
        (faces / "train" / f"{number}.pgm").write_bytes(b"P5 %d %d 255\n" % (SIDE, SIDE) + picture.tobytes())
    (faces / "test.csv").unlink()
    pd.DataFrame({"id": range(NUM), "side": _pixels(NUM, 0)[1]}).to_csv(faces / "train.csv", index=False)
    competition = describe(faces, "accuracy")
    assert (competition.files.train, competition.files.train_labels) == (("train",), ("train.csv",))
    text = (faces.parent / "configs" / "competitions" / "c.yaml").read_text()
    assert "images.npy: an array beside other pictures" in text


def test_an_array_that_is_no_table_of_labels(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    np.save(folder / "train.npy", _pixels(NUM, 0)[0])
    np.save(folder / "train_labels.npy", np.array(["a", "b"] * (NUM // 2)))
    competition = describe(folder, "accuracy")
    assert competition.classes == ("a", "b")
    with pytest.raises(KitError, match=r"y\.npy: holds 2 x 2 x 2 of float64; labels are numbers or words, \(N,\)"):
        read_text_csv(io.BytesIO(npy_bytes(np.zeros((2, 2, 2)))), "y.npy")
    with pytest.raises(KitError, match=r"y\.npy: cannot be read as an array of labels"):
        read_text_csv(io.BytesIO(npy_bytes(np.zeros(2))[:20]), "y.npy")
    objects = io.BytesIO()
    np.save(objects, np.array(["a", "b"], object), allow_pickle=True)
    with pytest.raises(
        KitError, match=r"y\.npy: holds Python's objects, not numbers or text; save array\.astype\(str\)"
    ):
        read_text_csv(io.BytesIO(objects.getvalue()), "y.npy")


def _saved(array: np.ndarray) -> dict[str, list[str]]:
    return read_text_csv(io.BytesIO(npy_bytes(array)), "y.npy").to_dict("list")


def test_what_arrays_of_labels_say():
    assert _saved(np.array([1.0, np.nan, 2.0])) == {"id": ["0", "1", "2"], "label": ["1", "", "2"]}
    assert _saved(np.array([0.5, np.nan]))["label"] == ["0.5", ""]
    assert _saved(np.array([True, False]))["label"] == ["1", "0"]
    assert _saved(np.array([b"cat", b"\xe9"]))["label"] == ["cat", "\ufffd"]
    assert _saved(np.array([["a", "b"], ["c", "d"]])) == {"id": ["0", "1"], "label0": ["a", "c"], "label1": ["b", "d"]}
    assert _saved(np.eye(3)[[2, 0]])["label"] == ["2", "0"]


def test_broken_arrays_are_one_line():
    whole = io.BytesIO()
    np.savez(whole, a=np.arange(4))
    damaged = bytearray(whole.getvalue())
    damaged[140] ^= 255
    claims = npy_bytes(np.zeros(4)).replace(b"(4,), }" + b" " * 13, b"(99999999999999,), }")
    assert len(claims) == len(npy_bytes(np.zeros(4)))
    for data in (b"", b"PK\3\4garbage", whole.getvalue()[:60], bytes(damaged), claims):
        with pytest.raises(KitError, match=r"y\.npz: cannot be read as an array of labels"):
            read_text_csv(io.BytesIO(data), "y.npz")
    for array in (np.array(3), np.zeros(3, [("a", "i4")]), np.array(["2020-01-01"], "M8[D]")):
        with pytest.raises(KitError, match=r"y\.npy: holds .*; labels are numbers or words"):
            read_text_csv(io.BytesIO(npy_bytes(array)), "y.npy")


def test_an_array_for_training_and_a_folder_for_the_test(tmp_path):
    folder = tmp_path / "files"
    (folder / "test").mkdir(parents=True)
    (train, side), (test, truth) = _pixels(NUM, 0), _pixels(TEST, 1)
    np.savez(folder / "train.npz", images=np.repeat(train[:, :, :, None], 3, axis=3), masks=train)
    pd.DataFrame({"id": range(NUM), "side": side}).to_csv(folder / "train.csv", index=False)
    for number, picture in enumerate(test):
        (folder / "test" / f"t{number}.pgm").write_bytes(b"P5 %d %d 255\n" % (SIDE, SIDE) + picture.tobytes())
    pd.DataFrame({"id": [f"t{k}" for k in range(TEST)], "side": 0}).to_csv(folder / "sample.csv", index=False)
    competition = describe(folder, "accuracy")
    assert (competition.files.train, competition.files.test) == (("train.npz",), ("test",))
    assert _accuracy(go(folder), "side", truth) >= 0.9
