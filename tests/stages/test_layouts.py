"""The layouts: the same digits as class folders, as idx files and as a table of pixels, through every stage."""

import gzip
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from by_name import fold_folder
from sklearn.datasets import load_digits

from kit.competition import Competition
from kit.data.containers import read_idx
from kit.data.images import decode
from kit.data.sources import read_bytes
from kit.data.table import read_index
from kit.errors import ConfigError, KitError
from kit.run.run import Run
from kit.schema import dump_yaml
from kit.stages import download, ensemble, index, predict, split, submit, train

NUM_TRAIN, NUM_TEST = 120, 30
PICTURES = (load_digits().images * 255 / 16).round().astype(np.uint8)  # (1797, 8, 8)
LABELS = load_digits().target.astype(np.uint8)


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()) if path.suffix == ".gz" else header + array.tobytes())


def _competition(folder: Path, layout: str, files: dict, **labels) -> str:
    raw = {
        "name": layout,
        "title": layout,
        "files": files,
        "labels": {"layout": layout, "classes": [str(k) for k in range(10)], **labels},
        "metric": "accuracy",
        "submission": {"format": "label", "id_column": "ImageId", "column": "Label"},
    }
    (folder / f"{layout}.yaml").write_text(dump_yaml(raw))
    return str(folder / f"{layout}.yaml")


def _idx(folder: Path) -> str:
    parts = {"train": slice(0, NUM_TRAIN), "t10k": slice(NUM_TRAIN, NUM_TRAIN + NUM_TEST)}
    for name, rows in parts.items():
        write_idx(folder / f"{name}-images.gz", PICTURES[rows])
        write_idx(folder / f"{name}-labels", LABELS[rows])
    files = {"train": ["train-images.gz"], "train_labels": ["train-labels"], "test": ["t10k-images.gz"]}
    return _competition(folder, "idx", files | {"test_labels": ["t10k-labels"]})


def _pixels(folder: Path) -> str:
    table = pd.DataFrame(PICTURES.reshape(len(PICTURES), -1), columns=[f"pixel{k}" for k in range(64)])
    table.insert(0, "label", LABELS)
    table[:NUM_TRAIN].to_csv(folder / "train.csv", index=False)
    test = table[NUM_TRAIN : NUM_TRAIN + NUM_TEST].drop(columns="label")
    with zipfile.ZipFile(folder / "test.csv.zip", "w") as archive:
        archive.writestr("test.csv", test.to_csv(index=False))
    sample = pd.DataFrame({"ImageId": range(1, NUM_TEST + 1), "Label": 0})
    sample.to_csv(folder / "sample_submission.csv", index=False)
    files = {"train": ["train.csv"], "test": ["test.csv"], "sample_submission": ["sample_submission.csv"]}
    return _competition(folder, "pixels-csv", files, first_id=1)


def _folders(folder: Path) -> str:
    """Every class counts from 1, so that only class and number together name a picture; all in one bundle zip."""
    seen: dict[int, int] = {}
    with zipfile.ZipFile(folder / "bundle.zip", "w") as archive:
        for picture, label in zip(PICTURES[:NUM_TRAIN], LABELS[:NUM_TRAIN], strict=True):
            seen[label] = seen.get(label, 0) + 1
            archive.writestr(f"train/{label}/{seen[label]}.png", cv2.imencode(".png", picture)[1].tobytes())
        for number, picture in enumerate(PICTURES[NUM_TRAIN : NUM_TRAIN + NUM_TEST], 1):
            archive.writestr(f"test/{number}.png", cv2.imencode(".png", picture)[1].tobytes())
        sample = pd.DataFrame({"ImageId": range(1, NUM_TEST + 1), "Label": 0})
        archive.writestr("sample_submission.csv", sample.to_csv(index=False))
    files = {"train": ["train"], "test": ["test"], "sample_submission": ["sample_submission.csv"]}
    return _competition(folder, "folders", files)


LAYOUTS = {"idx": (_idx, 0), "pixels-csv": (_pixels, 1), "folders": (_folders, 1)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_goes_the_whole_way(layout, tiny, workspace, tmp_path):
    make, first_id = LAYOUTS[layout]
    experiment = tiny(f"competition={make(tmp_path)}", "ensemble.members=full", "train.epochs=1")
    source = tmp_path / "bundle.zip" if layout == "folders" else tmp_path
    raw = download.download(Run.open(experiment, workspace), source).raw
    assert not download.download(Run.open(experiment, workspace), source).changed
    assert index.index(Run.open(experiment, workspace)).num_train == NUM_TRAIN

    table = read_index(workspace.index(layout))
    trained = table[table["split"] == "train"].reset_index(drop=True)
    seen = [decode(read_bytes(raw / path)).rgb[:, :, 1] for path in trained["path"]]
    if layout == "folders":  # ids in the folders' order
        assert trained["image_id"].iloc[0] == "0/1"
        assert (trained["target_label"] == [path.split("/")[1] for path in trained["path"]]).all()
        order = np.lexsort((np.arange(NUM_TRAIN), LABELS[:NUM_TRAIN]))
    else:
        assert trained["image_id"].tolist() == [str(first_id + k) for k in range(NUM_TRAIN)]
        order = np.arange(NUM_TRAIN)
    assert np.array_equal(seen, PICTURES[:NUM_TRAIN][order])
    assert trained["target_label"].astype(int).tolist() == LABELS[:NUM_TRAIN][order].tolist()
    assert (trained["problem"] == "").all()

    split.split(Run.open(experiment, workspace))
    train.train(Run.open(experiment, workspace), ["full"])
    predict.predict(Run.open(experiment, workspace))
    result = ensemble.ensemble([Run.open(experiment, workspace)])
    written = pd.read_csv(result.submission)
    assert written["ImageId"].tolist() == [first_id + k for k in range(NUM_TEST)]
    assert submit.submit(Run.open(experiment, workspace), dry_run=True).num_rows == NUM_TEST
    if layout == "idx":
        truth = LABELS[NUM_TRAIN : NUM_TRAIN + NUM_TEST]
        assert result.test_scores["accuracy"] == pytest.approx((written["Label"] == truth).mean())
    else:
        assert result.test_scores == {}


def test_test_labels_are_never_trained_on(tiny, workspace, tmp_path):
    """Other labels for the test set change what `full` reports, and not one bit of its weights."""
    from kit.tracking.metrics_file import read_history

    experiment = tiny(f"competition={_idx(tmp_path)}", "train.epochs=1", "train.select=best")
    models, seen = [], []
    for shift in (0, 1):
        write_idx(tmp_path / "t10k-labels", (LABELS[NUM_TRAIN : NUM_TRAIN + NUM_TEST] + shift) % 10)
        download.download(Run.open(experiment, workspace), tmp_path, force=True)
        index.index(Run.open(experiment, workspace))
        split.split(Run.open(experiment, workspace))
        train.train(Run.open(experiment, workspace), ["full"], force=True)
        models.append((fold_folder(workspace, "tiny", "full") / "model.safetensors").read_bytes())
        seen.append(read_history(fold_folder(workspace, "tiny", "full") / "metrics.jsonl")[-1])
    assert models[0] == models[1]
    assert seen[0]["valid_loss"] is None
    assert seen[0]["test_loss"] != seen[1]["test_loss"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: write_idx(f / "train-labels", LABELS[:7]), r"train-labels: holds 7 labels for 120 pictures"),
        (lambda f: write_idx(f / "train-labels", LABELS[:NUM_TRAIN] + 3), r"holds the label 12; there are 10 classes"),
        (lambda f: (f / "train-images.gz").write_bytes(b"PK.."), r"train-images\.gz: is not an idx file"),
        (lambda f: (f / "train-images.gz").write_bytes(b"\x1f\x8b00"), r"train-images\.gz: damaged"),
        (lambda f: write_idx(f / "train-images.gz", LABELS[:9]), r"rank 1; pictures have rank 3"),
    ],
)
def test_a_wrong_idx_file_is_one_line(spoil, message, tiny, workspace, tmp_path):
    experiment = tiny(f"competition={_idx(tmp_path)}")
    spoil(tmp_path)
    download.download(Run.open(experiment, workspace), tmp_path)
    with pytest.raises(KitError, match=message):
        index.index(Run.open(experiment, workspace))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.rename(columns={"label": "digit"}), r"no column 'label' \(besides its pixels: digit\)"),
        (lambda t: t.drop(columns="pixel63"), "a row holds 63 pixels; their shape is not given"),
        (lambda t: t.assign(pixel5=300), r"row 1 holds a pixel that is not a whole number in 0\.\.255"),
        (lambda t: t[["label"]], r"has no columns pixel0, pixel1"),
        (lambda t: t.assign(label="x"), r"no label is one of 0, 1, 2.*there is x"),
    ],
)
def test_a_wrong_table_of_pixels_is_one_line(change, message, tiny, workspace, tmp_path):
    experiment = tiny(f"competition={_pixels(tmp_path)}")
    change(pd.read_csv(tmp_path / "train.csv")).to_csv(tmp_path / "train.csv", index=False)
    download.download(Run.open(experiment, workspace), tmp_path)
    with pytest.raises(KitError, match=message):
        index.index(Run.open(experiment, workspace))


def test_idx_arrays_of_any_rank(tmp_path):
    for array in (LABELS[:5], PICTURES[:4]):
        write_idx(tmp_path / "x-ubyte", array)
        assert np.array_equal(read_idx(tmp_path / "x-ubyte"), array)


def test_idx_without_labels_is_a_wrong_description(tmp_path):
    path = Path(_idx(tmp_path))
    path.write_text(path.read_text().replace("  train_labels: [train-labels]\n", ""))
    with pytest.raises(ConfigError, match=r"files\.train_labels: layout idx"):
        Competition.load(path)
