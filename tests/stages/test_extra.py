"""Extra labelled pictures: every fold learns from them, no score sees them, none is a copy of a scored picture."""

import io
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from by_name import fold_folder
from PIL import Image
from sklearn.datasets import load_digits

from kit.competition import Competition
from kit.data.extra import _labelled_files
from kit.errors import ConfigError, KitError
from kit.run.run import Run
from kit.stages import download, index, predict, split, train
from kit.tools.demo import _jpeg
from kit.workspace import Workspace


@pytest.fixture(scope="module")
def ready(tmp_path_factory, digits, tiny) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("extra"))
    experiment = tiny()
    download.download(Run.open(experiment, workspace), digits)
    index.index(Run.open(experiment, workspace))
    split.split(Run.open(experiment, workspace))
    return workspace


@pytest.fixture
def folder(tmp_path, digits):
    """Forty other digits, two copies of the competition's (one written anew), a text, a folder of no class."""
    pictures = load_digits()
    for number in range(300, 340):
        place = tmp_path / "more" / str(pictures.target[number]) / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(_jpeg(pictures.images[number]))
    with zipfile.ZipFile(digits / "train.zip") as archive:
        first, second = sorted(archive.namelist())[:2]
        (tmp_path / "more" / "0" / "copy.jpg").write_bytes(archive.read(first))
        again = Image.open(io.BytesIO(archive.read(second))).resize((40, 40), Image.Resampling.BICUBIC)
        again.save(tmp_path / "more" / "0" / "written-anew.png")
    (tmp_path / "more" / "1" / "notes.jpg").write_text("no picture")
    shutil.copytree(tmp_path / "more" / "2", tmp_path / "more" / "elephant")
    return tmp_path / "more"


def test_every_fold_learns_from_them_and_no_score_sees_them(ready, tiny, folder, capsys):
    experiment = tiny("name=more", f"data.extra={folder}", "data.cache_size=24", "train.epochs=1")
    samples = Run.open(experiment, ready).training_samples
    assert "2 of them are near-identical to one of the competition's own" in " ".join(capsys.readouterr().out.split())
    extra = np.flatnonzero(samples.index["split"] == "extra")
    numbers = samples.index["image_id"].iloc[extra].str.split("/").str[-1].astype(int).to_numpy()
    assert sorted(numbers) == list(range(300, 340)), "no copy, no text, nothing of another class"
    assert np.array_equal(samples.targets[extra], load_digits().target[numbers])
    assert (samples.folds[extra] == -1).all()
    for fold in (0, 1, "full"):
        assert set(extra) <= set(samples.training_rows(fold))
    plain = Run.open(tiny("data.cache_size=24"), ready).samples
    rows = np.array([extra[3], 5, extra[0], 0])
    assert np.array_equal(samples.pixels[rows][[1, 3]], plain.pixels[rows[[1, 3]]])
    assert np.array_equal(samples.pixels[rows][0], samples.pixels[int(extra[3])])
    assert samples.pixels[int(extra[0])].any(), "its own picture"
    train.train(Run.open(experiment, ready))
    predict.predict(Run.open(experiment, ready))
    scored = [pd.read_csv(fold_folder(ready, "more", fold) / "oof.csv", dtype={"image_id": str}) for fold in (0, 1)]
    expected = plain.index.loc[plain.folds >= 0, "image_id"]
    assert sorted(pd.concat(scored)["image_id"]) == sorted(expected)


def test_nothing_but_copies_is_nothing_more(ready, tiny, tmp_path):
    """A folder that holds the competition's own pictures alone adds none."""
    source = next((ready.raw("digits") / "train").glob("3.*.jpg"))
    (tmp_path / "3").mkdir()
    shutil.copy(source, tmp_path / "3" / "again.jpg")
    samples = Run.open(tiny(f"data.extra={tmp_path}"), ready).training_samples
    assert not (samples.index["split"] == "extra").any()
    assert len(samples.pixels) == len(samples.index) == len(samples.folds)


def test_other_pictures_are_another_training(ready, tiny, folder):
    experiment = tiny("name=changing", f"data.extra={folder}", "train.epochs=1")
    stamp = fold_folder(ready, "changing", 0) / ".train.json"
    train.train(Run.open(experiment, ready), [0])
    before = stamp.read_text()
    train.train(Run.open(experiment, ready), [0])
    assert stamp.read_text() == before, "up to date"
    (folder / "3" / "new.jpg").write_bytes(_jpeg(load_digits().images[400]))
    with pytest.raises(KitError, match="holds a training on other images or weights; --force trains it again"):
        train.train(Run.open(experiment, ready), [0])
    train.train(Run.open(experiment, ready), [0], force=True)
    assert stamp.read_text() != before
    samples = Run.open(experiment, ready).training_samples
    assert samples.index["image_id"].str.endswith("/new").sum() == 1


def test_a_folder_per_class_whatever_the_competitions_own_labels_look_like(folder):
    """Its table may have a column per class, and one of patients; the extra folder has neither."""
    digits = Competition.load("digits")
    labels = replace(digits.labels, layout="csv", wide=True, group_column="patient")
    competition = replace(digits, labels=labels, files=replace(digits.files, train_labels=("train.csv",)))
    assert len(_labelled_files(folder, competition)) == 43


def test_a_wrong_folder_is_one_line(ready, tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere: no such folder; expected one that holds a folder per class"):
        train.train(Run.open(tiny("name=wrong", f"data.extra={tmp_path / 'nowhere'}"), ready))
    (tmp_path / "cats").mkdir()
    with pytest.raises(KitError, match=r"no folder in it is named after a class \(0, 1"):
        train.train(Run.open(tiny("name=wrong", f"data.extra={tmp_path}"), ready))
    assert not (ready.run("wrong") / "experiment.yaml").exists()
