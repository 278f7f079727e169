"""Frozen features: one pass, all heads, and downstream the same as a trained network."""

import shutil
import zipfile

import cv2
import numpy as np
import pandas as pd
import pytest
from by_name import fold_folder

from kit.errors import ConfigError
from kit.run.run import Run
from kit.stages import download, ensemble, index, predict, split, train
from kit.tools.predict_images import predict_images
from kit.workspace import Workspace

THREE = (
    "train.mode=features",
    "data.num_folds=3",
    "name=frozen",
    "tta.views=[identity, hflip]",
    "train.head_l2=[0.01, 0.1]",
)


@pytest.fixture
def frozen(tiny, workspace, digits):
    experiment = tiny(*THREE)
    download.download(Run.open(experiment, workspace), digits)
    index.index(Run.open(experiment, workspace))
    split.split(Run.open(experiment, workspace))
    result = train.train(Run.open(experiment, workspace))
    return experiment, workspace, result


def _caches(workspace) -> set[str]:
    return {path.name for path in workspace.cache("digits").glob("features-*.npy")}


def test_the_whole_way(frozen, capsys):
    experiment, workspace, result = frozen
    assert set(result.penalties) == {"0", "1", "2"}
    assert (workspace.run("frozen") / "figures" / "penalties.png").is_file()
    scores = predict.predict(Run.open(experiment, workspace)).scores
    assert min(scores.values()) > 0.4  # random filters and a linear head: far above a tenth
    submission = ensemble.ensemble([Run.open(experiment, workspace)])
    assert submission.num_rows == 50
    made = _caches(workspace)
    assert len(made) == 1  # prediction needed no second pass
    capsys.readouterr()
    train.train(Run.open(experiment, workspace))
    predict.predict(Run.open(experiment, workspace))
    said = capsys.readouterr().out
    assert said.count("is up to date") == 6
    assert _caches(workspace) == made


def test_settings_that_play_no_part_are_named(tiny, workspace, digits, capsys):
    experiment = tiny(*THREE, "train.label_smoothing=0.1", "train.class_weights=balanced")
    download.download(Run.open(experiment, workspace), digits)
    index.index(Run.open(experiment, workspace))
    split.split(Run.open(experiment, workspace))
    train.train(Run.open(experiment, workspace))
    said = " ".join(capsys.readouterr().out.split())
    assert "ignores train.class_weights, train.label_smoothing, augment" in said


def test_features_say_what_the_whole_model_says(frozen, tmp_path):
    """predict --images runs the network and the head; oof.csv and test.csv come from the kept features."""
    experiment, workspace, _ = frozen
    predict.predict(Run.open(experiment, workspace))
    folder = workspace.raw("digits") / "test1"
    images = pd.read_csv(predict_images(Run.open(experiment, workspace), folder, tmp_path / "x.csv", [1]).path)
    test = pd.read_csv(fold_folder(workspace, "frozen", 1) / "test.csv", dtype={"image_id": str})
    both = images.assign(image_id=[name.partition(".")[0] for name in images["file"]]).merge(test, on="image_id")
    assert len(both) == 50
    columns = [column for column in test if column.startswith("prob_")]
    one = both[[f"{column}_x" for column in columns]].to_numpy()
    other = both[[f"{column}_y" for column in columns]].to_numpy()
    assert np.abs(one - other).max() < 0.01  # features are kept in half precision


def test_the_full_head_and_other_views(frozen, tiny):
    experiment, workspace, _ = frozen
    result = train.train(Run.open(experiment, workspace), ["full"])
    assert set(result.penalties) == {"full"}
    assert predict.predict(Run.open(experiment, workspace), ["full"]).scores == {}
    plain = tiny(*THREE, "tta.views=[identity]")
    predict.predict(Run.open(plain, workspace))
    assert len(_caches(workspace)) == 2  # features of other views are other features
    assert set(train.train(Run.open(plain, workspace)).penalties) == {"0", "1", "2"}, (
        "heads are fitted on what they will see"
    )


def test_two_folds_are_too_few_to_choose_a_penalty(frozen, tiny):
    _, workspace, _ = frozen
    experiment = tiny(*THREE, "data.num_folds=2", "name=two")
    split.split(Run.open(experiment, workspace))
    with pytest.raises(ConfigError, match=r"data\.num_folds >= 3"):
        train.train(Run.open(experiment, workspace))


def test_the_audit_finds_pictures_unlike_all_others(digits, tiny, tmp_path):
    """Three planted checkerboards stand first among the odd ones; a contact sheet shows them."""
    folder, workspace = tmp_path / "planted", Workspace(tmp_path / "workspace")
    folder.mkdir()
    for name in ("train.zip", "test1.zip", "sampleSubmission.csv"):
        shutil.copy(digits / name, folder / name)
    planted = [f"{label}.{9000 + label}" for label in (1, 4, 7)]
    with zipfile.ZipFile(folder / "train.zip", "a") as archive:
        for cells, name in enumerate(planted, 5):
            board = np.kron(np.indices((cells, cells)).sum(axis=0) % 2, np.ones((32 // cells + 1,) * 2))
            archive.writestr(f"train/{name}.png", cv2.imencode(".png", 255 * board[:32, :32])[1].tobytes())
    experiment = tiny(*THREE)
    download.download(Run.open(experiment, workspace), folder)
    index.index(Run.open(experiment, workspace))
    split.split(Run.open(experiment, workspace))
    train.train(Run.open(experiment, workspace))
    predict.predict(Run.open(experiment, workspace))
    pytest.importorskip("cleanlab", reason="the audit needs it")
    from kit.tools.audit import audit

    result = audit(Run.named("frozen", workspace))
    table = pd.read_csv(result.suspects, dtype=str)
    odd = table.loc[table["kind"] == "odd", "image_id"].tolist()
    assert set(planted) <= set(table["image_id"].head(12))
    assert set(odd[:3]) & set(planted)
    assert result.figure.is_file()
