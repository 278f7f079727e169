"""Samples of several pictures, from files to a valid submission: channels of one, or views that are averaged."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from quick import describe, go

from kit.batch import Batch, pooled
from kit.competition import Competition
from kit.config import Experiment
from kit.data.cache import pixels_of
from kit.data.images import resize_square
from kit.data.loader import Batches
from kit.data.pixels import Bags
from kit.data.reading import Reading
from kit.data.squares import read_samples
from kit.data.table import fold_groups, predictions
from kit.data.transforms import resized
from kit.errors import ConfigError, KitError
from kit.models import build_classifier
from kit.pipeline import run_pipeline
from kit.run.run import Run
from kit.schema import dump_yaml
from kit.settings import Model
from kit.stages import index
from kit.tasks import Outputs
from kit.workspace import Workspace

NUM, TEST = 60, 8


def _gray(level: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).random((24, 24)) * 30
    return (noise + level * 200).astype(np.uint8)


def _levels(split: str, count: int) -> np.ndarray:
    """(count, 2) in 0..1."""
    return np.random.default_rng(len(split)).random((count, 2))


def _write_pairs(folder: Path, endings: tuple[str, str]) -> None:
    """ID{ending}.png; the class: which of the two is brighter. No picture alone shows it."""
    for split, letter, count in (("train", "a", NUM), ("test", "t", TEST)):
        (folder / split).mkdir(parents=True)
        for k, levels in enumerate(_levels(split, count)):
            for place, ending in enumerate(endings):
                cv2.imwrite(str(folder / split / f"{letter}{k}{ending}.png"), _gray(levels[place], 10 * k + place))
    labels = np.where(np.diff(_levels("train", NUM), axis=1)[:, 0] > 0, "second", "first")
    pd.DataFrame({"id": [f"a{k}" for k in range(NUM)], "label": labels}).to_csv(folder / "train.csv", index=False)
    sample = pd.DataFrame({"id": [f"t{k}" for k in range(TEST)], "label": "first"})
    sample.to_csv(folder / "sample_submission.csv", index=False)


@pytest.fixture
def files(tmp_path) -> Path:
    folder = tmp_path / "files"
    _write_pairs(folder, ("_green", "_red"))
    return folder


def test_channels_go_the_whole_way(files):
    """Two grey files are one picture of two channels: what one alone does not show is learned."""
    competition = describe(files, "accuracy")
    assert competition.pictures is not None
    assert (competition.pictures.endings, competition.pictures.gray) == (("_red", "_green"), True)
    assert competition.num_channels == 2
    run = go(files, "data.num_folds=3", "train.epochs=24")
    assert run.samples.pixels.shape == (NUM + TEST, 16, 16, 2)
    red = cv2.resize(cv2.imread(str(files / "train" / "a3_red.png"), 0), (16, 16), interpolation=cv2.INTER_AREA)
    assert np.array_equal(run.samples.pixels[run.samples.row_of()["a3"]][..., 0], red)
    means = [cv2.imread(str(files / "train" / f"a3_{colour}.png"), 0).mean() / 255 for colour in ("red", "green")]
    row = run.index.set_index("image_id").loc["a3"]
    assert row[["mean_r", "mean_g"]].tolist() == pytest.approx(means, abs=1e-6)
    assert np.isnan(row["mean_b"])
    assert run.fold(0).model().mean.flatten().shape == (2,)
    cv = pd.read_csv(run.files.oof)
    assert (predictions(cv, competition).argmax(axis=1) == (cv["target_label"] == "second")).mean() > 0.85
    written = pd.read_csv(run.workspace.submission("c"))
    truth = np.where(np.diff(_levels("test", TEST), axis=1)[:, 0] > 0, "second", "first")
    assert (written["label"] == truth).mean() >= 0.75
    for name in ("channels", "sizes"):
        assert (run.workspace.figures("c") / f"{name}.png").is_file()


def test_a_channel_that_is_gone_is_black_and_said(files, capsys):
    describe(files, "accuracy")
    (files / "train" / "a3_red.png").unlink()
    (files / "train" / "a4_green.png").write_bytes(b"no picture")
    run = Run.open(Experiment.load(files.parent / "configs" / "c.yaml"), Workspace(files.parent))
    from kit.stages import download

    download.download(run, files)
    index.index(run)
    rows = run.index.set_index("image_id")
    assert "a3_red.png: no such file" in rows.loc["a3", "problem"]
    assert rows.loc["a4", "problem"].startswith("part 2: not an image")
    assert (rows.loc[["a3", "a4"], "width"] == 24).all()
    assert rows.loc["a3", "mean_r"] == 0
    said = capsys.readouterr()
    assert "1 sample without all of _red, _green (a3)" in said.out + said.err


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 12])
def test_any_number_of_channels_is_resized(channels):
    """Each as it would be alone."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 30, channels)).astype(np.uint8)
    for size in (16, 64):
        for made in (resize_square(pixels, size, "squash"), resized(pixels, size)):
            assert made.shape == (size, size, channels)
        alone = cv2.resize(pixels[..., -1], (16, 16), interpolation=cv2.INTER_AREA)
    assert np.array_equal(resize_square(pixels, 16, "squash")[..., -1], alone)
    padded = resize_square(pixels, 40, "pad")
    assert padded.shape == (40, 40, channels)
    assert set(padded[:, :5].ravel()) == set(padded[:, 35:].ravel()) == {128}
    assert np.array_equal(padded[:, 5:35], pixels)


def test_an_augmentation_that_needs_colours_says_so(files):
    describe(files, "accuracy")
    with pytest.raises(ConfigError, match=r"augment\.HueSaturationValue: does not run on 2 channels"):
        go(files, "augment=[{HueSaturationValue: {p: 1.0}}]")


def test_weights_for_rgb_serve_other_channels(tmp_path):
    """timm's way: the first convolution's are repeated, at a third of their strength each."""
    from timm.models import adapt_input_conv

    from kit.training.checkpoint import save_model

    torch.manual_seed(0)
    model = build_classifier(Model("resnet18", options={"width": 0.125}), Outputs(3))
    save_model(tmp_path / "w.safetensors", model.state_dict(), {"model": "resnet18", "classes": ["a", "b", "c"]})
    given = Model("resnet18", str(tmp_path / "w.safetensors"), options={"width": 0.125})
    four = build_classifier(given, Outputs(3), channels=4)
    own = model.state_dict()
    name = next(name for name, value in own.items() if value.ndim == 4 and value.shape[1] == 3 and len(value) > 1)
    assert torch.equal(four.state_dict()[name], adapt_input_conv(4, own[name]))
    assert four(torch.zeros(2, 4, 32, 32, dtype=torch.uint8)).shape == (2, 3)


def _write_patients(folder: Path) -> None:
    """Each breast has one to three pictures; its class: are they bright. rows of a table, as RSNA's."""
    generator, rows = np.random.default_rng(0), {"train": [], "test": []}
    for split, patients in (("train", 24), ("test", 4)):
        (folder / split).mkdir(parents=True)
        for patient in range(patients):
            for side in "LR":
                bright = int(generator.random() < 0.5)
                for view in range(1 + (patient + (side == "L")) % 3):
                    number = f"{split[1]}{len(rows[split]):03d}"
                    cv2.imwrite(str(folder / split / f"{number}.png"), _gray(0.2 + 0.5 * bright, len(rows[split])))
                    fact = {"patient_id": f"P{split[1]}{patient}", "laterality": side, "image_id": number, "view": view}
                    rows[split].append(fact | {"cancer": bright})
    train, test = pd.DataFrame(rows["train"]), pd.DataFrame(rows["test"])
    train.to_csv(folder / "train.csv", index=False)
    test["prediction_id"] = test["patient_id"] + "_" + test["laterality"]
    test.to_csv(folder.parent / "truth.csv", index=False)
    test.drop(columns="cancer").to_csv(folder / "test.csv", index=False)
    ids = test["prediction_id"].drop_duplicates()[::-1]
    pd.DataFrame({"prediction_id": ids, "cancer": 0.5}).to_csv(folder / "sample_submission.csv", index=False)


@pytest.fixture
def patients(tmp_path) -> Path:
    folder = tmp_path / "files"
    _write_patients(folder)
    return folder


def test_pictures_of_a_patient_go_the_whole_way(patients):
    competition = describe(patients, "log_loss")
    assert competition.pictures is not None
    assert competition.pictures.columns == ("patient_id", "laterality")
    assert competition.labels.group_column == "patient_id"
    (patients / "train" / "r001.png").write_bytes(b"no picture")  # one of several: the others count
    run = go(patients, "tta.views=[identity, hflip]")
    table, samples = pd.read_csv(patients / "train.csv"), run.samples
    breasts = table.groupby(["patient_id", "laterality"])
    assert (samples.index["split"] == "train").sum() == len(breasts) == 48
    assert isinstance(samples.pixels, Bags)
    assert samples.pixels.pictures.shape[0] == len(table) - 1 + len(pd.read_csv(patients / "test.csv"))
    lost = table.set_index("image_id").loc["r001"]
    problem = samples.index.set_index("image_id").loc[f"{lost.patient_id}_{lost.laterality}", "problem"]
    assert problem.startswith("r001.png: not an image")

    folds = pd.DataFrame({"fold": samples.folds, "patient": samples.index["given_group"]})[lambda t: t["fold"] >= 0]
    assert (folds.groupby("patient")["fold"].nunique() == 1).all(), "a patient's breasts share a fold"

    written = pd.read_csv(run.workspace.submission("c"))
    assert (
        written["prediction_id"].tolist() == pd.read_csv(patients / "sample_submission.csv")["prediction_id"].tolist()
    )
    truth = pd.read_csv(patients.parent / "truth.csv").groupby("prediction_id")["cancer"].first()
    assert ((written["cancer"] > 0.5) == truth.loc[written["prediction_id"]].to_numpy()).mean() >= 0.75

    model, oof = run.fold(0).model().eval(), run.fold(0).oof()
    for image_id, expected in zip(oof["image_id"][:12], predictions(oof, competition), strict=False):
        shown = samples.pixels.pictures[samples.pixels.all_of(np.array([samples.row_of()[image_id]]))[0]]
        pixels = torch.from_numpy(np.ascontiguousarray(shown)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            seen = [model.activate(model(one)) for one in (pixels, pixels.flip(3))]
        assert torch.stack(seen).mean(dim=(0, 1)).numpy() == pytest.approx(expected, abs=1e-5)


def test_pictures_that_differ_in_their_target_are_one_line(patients):
    table = pd.read_csv(patients / "train.csv")
    describe(patients, "log_loss")
    twice = table.duplicated(["patient_id", "laterality"])
    table.loc[twice.idxmax(), "cancer"] ^= 1
    table.to_csv(patients / "train.csv", index=False)
    with pytest.raises(KitError, match=r"pictures of one sample differ in target_label .*pictures\.columns"):
        go(patients)


def test_samples_with_near_identical_pictures_share_a_group(patients):
    describe(patients, "log_loss")
    table = pd.read_csv(patients / "train.csv")
    last = table.drop_duplicates(["patient_id", "laterality"], keep="last")
    one, two = last.iloc[0], last.iloc[20]
    shutil.copy(patients / "train" / f"{one.image_id}.png", patients / "train" / f"{two.image_id}.png")
    run = Run.open(Experiment.load(patients.parent / "configs" / "c.yaml"), Workspace(patients.parent))
    from kit.stages import download

    download.download(run, patients)
    index.index(run)
    train = run.index[run.index["split"] == "train"].reset_index(drop=True)
    groups = dict(zip(train["image_id"], fold_groups(train), strict=True))
    assert groups[f"{one.patient_id}_{one.laterality}"] == groups[f"{two.patient_id}_{two.laterality}"]
    assert train["group"].value_counts().tolist()[:2] == [2, 1]


def test_every_epoch_shows_one_picture_of_each_sample():
    pictures = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    bags, targets = Bags(pictures, np.array([0, 1, 4, 7])), np.arange(3)
    seen = set()
    for epoch in range(30):
        batch = Batches(bags, targets, np.array([2, 0, 1]), 3, 4, image_key=(0, 0, epoch))[0]
        again = Batches(bags, targets, np.array([1, 2, 0]), 3, 4, image_key=(0, 0, epoch))[0]
        values = batch.pixels[:, 0, 0, 0].tolist()
        assert batch.owners is None
        assert sorted(values) == sorted(again.pixels[:, 0, 0, 0].tolist()), "drawn by the sample, not its place"
        assert values[0] in {4, 5, 6}
        assert values[1] == 0
        seen |= set(values)
    assert seen == set(range(7))


def test_pooled_is_each_samples_mean():
    pictures = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    bags = Bags(pictures, np.array([0, 1, 4, 7]))
    batch = Batches(bags, np.arange(3), np.array([2, 0]), 2, 4)[0]
    assert batch.pixels[:, 0, 0, 0].tolist() == [4, 5, 6, 0]
    outputs = batch.pixels.float()[:, :2, 0, 0]
    assert pooled(outputs, batch).tolist() == [[5.0, 5.0], [0.0, 0.0]]
    assert pooled(outputs[None], batch).shape == (1, 2, 2)
    plain = Batch(batch.pixels, batch.targets, batch.rows)
    assert pooled(outputs, plain) is outputs


def test_what_a_hidden_test_set_holds_is_read_as_the_index_was(patients):
    describe(patients, "log_loss")
    run = Run.open(Experiment.load(patients.parent / "configs" / "c.yaml"), Workspace(patients.parent))
    from kit.stages import download

    download.download(run, patients)
    index.index(run)
    raw, reading = run.workspace.raw("c"), Reading.of(run.competition, run.index)
    known = pixels_of(run.index, raw, reading, run.cache, 16, "squash")
    from kit.data.reading import located

    paths = [located(raw, path) for path in run.index["path"]]
    pixels, problems = read_samples(paths, 16, "squash", reading)
    assert not problems
    assert np.array_equal(pixels.starts, known.starts)
    assert np.array_equal(pixels.pictures, np.asarray(known.pictures))
    broken = [Path(str(paths[0]).replace(".png", ".gone")), *paths[1:3]]
    pixels, problems = read_samples(broken, 16, "squash", reading)
    assert list(problems) == [0]
    assert np.array_equal(np.diff(pixels.starts)[1:], np.diff(known.starts)[1:3])


def test_files_by_a_pattern_and_heads_on_mean_features(files):
    """By hand: pictures named ID_red.png are views of ID; features are averaged before the head."""
    describe(files, "accuracy", "pictures.together=mean")
    file = files.parent / "configs" / "competitions" / "c.yaml"
    raw = yaml.safe_load(file.read_text())
    assert raw["pictures"] == {"endings": ["_red", "_green"], "together": "mean"}
    file.write_text(dump_yaml(raw | {"pictures": {"pattern": r"(?P<sample>[at]\d+)_"}}))
    run = go(files, "train.mode=features", "data.num_folds=3")
    assert (run.index["split"] == "train").sum() == NUM
    from kit.run.predicting import run_features

    model = run.fold(0).model()
    features = run_features(run, model)
    assert features.shape[1] == NUM + TEST
    row = run.samples.row_of()["a5"]
    shown = run.samples.pixels.pictures[run.samples.pixels.all_of(np.array([row]))[0]]
    with torch.inference_mode():
        seen = model.without_head().eval()(torch.from_numpy(np.ascontiguousarray(shown)).permute(0, 3, 1, 2))
    assert features[0, row] == pytest.approx(seen.mean(dim=0).numpy(), abs=2e-2)


@pytest.fixture
def scans(tmp_path) -> Path:
    """train/p00/flair/0.png, 1.png, ...: one to three slices of each of two kinds; bright is 1. Ids are the folders."""
    folder, random = tmp_path / "files", np.random.default_rng(0)
    for split, first, count in (("train", 0, NUM), ("test", 100, TEST)):
        for k in range(count):
            for kind in ("flair", "t1"):
                place = folder / split / f"p{first + k:03d}" / kind
                place.mkdir(parents=True)
                for number in range(1 + random.integers(3)):
                    picture = _gray((k % 2) * 0.6 + 0.1, 31 * (first + k) + number)
                    cv2.imwrite(str(place / f"{number}.png"), picture)  # called as a cell of the labels is
    scans = [f"p{k:03d}" for k in range(NUM)]
    pd.DataFrame({"scan": scans, "cancer": np.arange(NUM) % 2}).to_csv(folder / "train_labels.csv", index=False)
    sample = pd.DataFrame({"scan": [f"p{100 + k}" for k in range(TEST)], "cancer": 0.5})
    sample.to_csv(folder / "sample_submission.csv", index=False)
    return folder


@pytest.mark.parametrize("shared", [False, True])
def test_folders_of_slices_go_the_whole_way(scans, shared):
    if shared:  # one folder for train and test, as `stage1`
        for scan in (scans / "test").iterdir():
            scan.rename(scans / "train" / scan.name)
        (scans / "test").rmdir()
        (scans / "train").rename(scans / "stage1")
    competition = describe(scans, "log_loss")
    assert competition.pictures is not None
    assert competition.pictures.pattern == "^[^/]+/(?P<sample>[^/]+)/"
    assert competition.pictures.together == "mean"
    for split, series in (("train", 2 * NUM), ("test", 2 * TEST)):  # a table of what is within a sample
        pd.DataFrame({"series": ["flair", "t1"] * (series // 2), "n": 1}).to_csv(
            scans / f"{split}_series.csv", index=False
        )
    assert describe(scans, "log_loss").pictures == competition.pictures
    run = go(scans)
    train = run.index[run.index["split"] == "train"]
    assert len(train) == NUM
    assert train["image_id"].tolist() == [f"p{k:03d}" for k in range(NUM)]
    slices = sorted(str(path.relative_to(scans)) for path in scans.rglob("*.png"))
    assert sorted("|".join(run.index["path"]).split("|")) == slices, "every slice belongs to its scan"
    written = pd.read_csv(run.workspace.submission("c"))
    assert written["scan"].tolist() == [f"p{100 + k}" for k in range(TEST)]
    assert ((written["cancer"] > 0.5) == np.arange(TEST) % 2).all()


def test_class_folders_are_no_samples(scans):
    """A table of the classes' names lists folders, too; nothing asks for a prediction of them."""
    for k, scan in enumerate(sorted((scans / "train").iterdir())):
        for number, picture in enumerate(sorted(scan.rglob("*.png"))):
            target = scans / "train" / ["cat", "dog"][k % 2] / f"{k}_{number}.png"
            target.parent.mkdir(exist_ok=True)
            picture.rename(target)
        shutil.rmtree(scan)
    shutil.rmtree(scans / "test")
    (scans / "test").mkdir()
    for k in range(TEST):
        cv2.imwrite(str(scans / "test" / f"t{k}.png"), _gray(0.5, k))
    (scans / "train_labels.csv").unlink()
    (scans / "names.csv").write_text("name,meaning\ncat,Katze\ndog,Hund\n")
    sample = pd.DataFrame({"id": [f"t{k}" for k in range(TEST)], "label": "cat"})
    sample.to_csv(scans / "sample_submission.csv", index=False)
    competition = describe(scans, "accuracy")
    assert competition.pictures is None
    assert (competition.labels.layout, competition.classes) == ("folders", ("cat", "dog"))


def _yaml(**change: object) -> dict:
    return {
        "name": "c", "title": "C", "files": {"train": ["train"], "test": ["test"], "train_labels": ["train.csv"]},
        "labels": {"layout": "csv", "classes": ["a", "b"]}, "metric": "accuracy", "submission": {"format": "label"},
        **change,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pictures": {}}, "name one of endings, pattern and columns"),
        ({"pictures": {"endings": ["_a"], "columns": ["x"]}}, "name one of"),
        ({"pictures": {"pattern": "(?P<id>.)"}}, r"expected a group \(\?P<sample>"),
        ({"pictures": {"columns": ["x"], "together": "channels"}}, "channels need pictures.endings"),
        ({"pictures": {"endings": ["_a", "_b"], "gray": True}}, "belongs to together: channels"),
        ({"pictures": {"columns": ["x"]}}, "files.test_table"),
        ({"pictures": {"endings": ["_a", "_a"]}}, "different ones"),
        ({"pictures": {"endings": ["_a"]}, "labels": {"layout": "pixels-csv", "classes": ["a", "b"]}}, "one picture"),
    ],
)  # fmt: skip
def test_a_contradiction_names_its_key(tmp_path, change, message):
    (tmp_path / "c.yaml").write_text(dump_yaml(_yaml(**change)))
    with pytest.raises(ConfigError, match=message):
        Competition.load(tmp_path / "c.yaml")


def test_what_is_for_single_pictures_says_so(files):
    describe(files, "accuracy")
    experiment = Experiment.load(files.parent / "configs" / "c.yaml", ["data.extra=elsewhere"])
    with pytest.raises(ConfigError, match=r"data\.extra: adds single pictures"):
        run_pipeline(experiment, Workspace(files.parent), files)
