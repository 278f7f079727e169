"""kit init: fifteen drawn competitions, from a folder of downloads to a submission that their own rules accept."""

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import drawn
import numpy as np
import pandas as pd
import pytest
import torch
from kaggle_server import SLUG

from kit.competition import Competition
from kit.config import Experiment
from kit.data.table import read_index
from kit.describe import first_experiment
from kit.describe.strong_experiment import strong_experiment
from kit.errors import ConfigError, KitError
from kit.models import build_classifier
from kit.run.run import Run
from kit.schema import dump_yaml
from kit.stages import download, ensemble, index, predict, split, train
from kit.tasks import Outputs
from kit.tools import init
from kit.workspace import Workspace

QUICK = [
    "data.num_folds=2", "data.image_size=24", "data.cache_size=24", "model.options.width=0.125", "train.epochs=1",
    "train.warmup_epochs=0.3", "train.precision=fp32", "train.memory_format=contiguous", "train.num_threads=1",
    "tta.precision=fp32", "tta.memory_format=contiguous", "tta.compile=false",
]  # fmt: skip


OPEN = {"dogs_vs_cats_redux": ["submission.positive=dog"]}  # what the files leave open


def _described(make, tmp_path, metric=None, ask=None) -> tuple[Path, Workspace, Competition]:
    folder = tmp_path / make.__name__
    folder.mkdir()
    make(folder)
    workspace = Workspace(tmp_path)
    result = init.init(workspace, folder, metric=metric, ask=ask, overrides=OPEN.get(make.__name__, []))
    return folder, workspace, Competition.load(result.competition)


def _prepared(make, tmp_path, metric=None) -> tuple[Experiment, Workspace, Competition]:
    folder, workspace, competition = _described(make, tmp_path, metric)
    experiment = Experiment.load(tmp_path / "configs" / f"{make.__name__}.yaml", QUICK)
    download.download(Run.open(experiment, workspace), folder)
    index.index(Run.open(experiment, workspace))
    split.split(Run.open(experiment, workspace))
    return experiment, workspace, competition


def _submission(make, tmp_path, metric=None) -> tuple[pd.DataFrame, pd.DataFrame, Competition]:
    """(what is handed in, the sample, the description)"""
    experiment, workspace, competition = _prepared(make, tmp_path, metric)
    train.train(Run.open(experiment, workspace))
    predict.predict(Run.open(experiment, workspace))
    result = ensemble.ensemble([Run.open(experiment, workspace)])
    assert np.isfinite(result.cv)
    table = pd.read_csv(result.submission, dtype=str)
    sample = pd.read_csv(tmp_path / make.__name__ / "sample_submission.csv", dtype=str)
    assert list(table.columns) == list(sample.columns)
    assert table.iloc[:, 0].tolist() == sample.iloc[:, 0].tolist()
    return table, sample, competition


@pytest.mark.parametrize(
    ("make", "metric", "positive"),
    [
        (drawn.dogs_vs_cats_redux, "log_loss", "dog"),
        (drawn.aerial_cactus, "roc_auc", "1"),
        (drawn.histopathologic_cancer, "AUC", "1"),
        (drawn.siim_isic, "roc_auc", "1"),
    ],
)
def test_one_probability(make, metric, positive, tmp_path):
    table, _sample, competition = _submission(make, tmp_path, metric)
    assert competition.submission.positive == positive
    probs = table.iloc[:, 1].astype(float)
    assert probs.between(0, 1).all()
    assert probs.nunique() > 1


def test_for_log_loss_the_mean_of_the_logits_is_handed_in(tmp_path, capsys):
    experiment, workspace, _ = _prepared(drawn.dogs_vs_cats_redux, tmp_path, "log_loss")
    run = Run.open(experiment, workspace)
    train.train(run)
    predict.predict(run)
    capsys.readouterr()
    result = ensemble.ensemble([run])
    said, passport = " ".join(capsys.readouterr().out.split()), json.loads(result.passport.read_text())
    why = "fewer than 200 test images"
    assert passport["mean"] == {"models": 2, "average": "logits", "sharpness": 1.0, "why": why}
    assert f"mean of the logits of 2 models (not sharpened: {why})" in said
    assert "such test images: log_loss" in said
    assert "of the mean of 2 models" in said
    table = pd.read_csv(result.submission).set_index("id")["label"]
    tests = [fold.test().set_index("image_id") for fold in run.folds()]
    logits = np.mean([np.log(one["prob_dog"]) - np.log(one["prob_cat"]) for one in tests], axis=0)
    params = passport["postprocess"]["params"]
    logits = logits / params.get("temperature", 1.0)  # too few images for a bias
    expected = pd.Series(1 / (1 + np.exp(-logits)), index=tests[0].index).clip(params["clip"], 1 - params["clip"])
    assert np.allclose(table, expected.loc[table.index.astype(str)], atol=1e-5)


@pytest.mark.parametrize(
    ("make", "metric", "num_columns"),
    [
        (drawn.dog_breed, "MulticlassLoss", 120),
        (drawn.leaf_classification, "log_loss", 99),
        (drawn.plant_pathology_2020, "Mean Columnwise AUC", 4),
    ],
)
def test_a_probability_per_class(make, metric, num_columns, tmp_path):
    table, _sample, competition = _submission(make, tmp_path, metric)
    probs = table.iloc[:, 1:].astype(float).to_numpy()
    assert competition.task == "classes"
    assert probs.shape[1] == num_columns
    assert np.allclose(probs.sum(axis=1), 1, atol=0.02)


def test_several_labels_an_image_and_patients_that_stay_together(tmp_path):
    table, _, competition = _submission(drawn.ranzcr_clip, tmp_path, "roc_auc")
    assert competition.task == "labels"
    assert competition.labels.group_column == "PatientID"
    probs = table.iloc[:, 1:].astype(float).to_numpy()
    assert probs.shape == (drawn.NUM_TEST, 11)
    assert ((probs >= 0) & (probs <= 1)).all()
    workspace = Workspace(tmp_path)
    folds = pd.read_csv(workspace.folds("ranzcr_clip", 2, 0), dtype={"image_id": str})
    patients = read_index(workspace.index("ranzcr_clip"))[["image_id", "given_group"]].merge(folds, on="image_id")
    assert patients["given_group"].nunique() == 20
    assert (patients.groupby("given_group")["fold"].nunique() == 1).all()


def test_grades_are_in_order(tmp_path):
    table, _, competition = _submission(drawn.aptos2019, tmp_path, "quadratic_weighted_kappa")
    assert competition.task == "ordinal"
    assert set(table["diagnosis"]) <= set("01234")


def test_class_numbers_without_an_order(tmp_path):
    table, _, competition = _submission(drawn.cassava, tmp_path, "accuracy")
    assert competition.task == "classes"
    assert set(table["label"]) <= set("01234")


def test_five_guesses_and_a_new_class(tmp_path):
    table, _, competition = _submission(drawn.whale, tmp_path, "map@5")
    assert competition.submission.new_class == "new_whale"
    known = {"new_whale", "w_1a", "w_2b", "w_3c", "w_4d", "w_5e", "w_9z"}
    for cell in table["Id"]:
        guesses = cell.split(" ")
        assert len(guesses) == len(set(guesses)) == 5
        assert set(guesses) <= known


def test_several_words_a_cell(tmp_path):
    table, _, competition = _submission(drawn.plant_pathology_2021, tmp_path, "MeanFScore")
    assert (competition.task, competition.metric) == ("labels", "f1_samples")
    words = {"healthy", "scab", "rust", "frog_eye_leaf_spot", "complex"}
    assert set(competition.classes) == words
    assert all(cell and set(cell.split(" ")) <= words for cell in table["labels"])


def test_a_number(tmp_path):
    table, _, competition = _submission(drawn.petfinder, tmp_path, "rmse")
    assert competition.task == "number"
    assert np.isfinite(table["Pawpularity"].astype(float)).all()
    oof = pd.read_csv(tmp_path / "runs" / "petfinder" / "oof.csv")
    assert {"target_Pawpularity", "pred_Pawpularity"} <= set(oof)
    assert oof["pred_Pawpularity"].between(-50, 200).all(), "in the target's own unit"


def test_coco_hands_in_the_categories_ids(tmp_path):
    table, _, competition = _submission(drawn.herbarium, tmp_path)
    assert competition.labels.layout == "json"
    assert competition.submission.values == {f"plant {k}": 10 * (4 - k) for k in range(4)}
    assert set(table["Predicted"]) <= {"10", "20", "30", "40"}


def test_guesses_at_individuals_and_one_that_nobody_trained_on(tmp_path):
    """Happywhale: `individual_id` is the target, not a group, and new_individual stands in the sample only."""
    table, _, competition = _submission(drawn.happywhale, tmp_path)
    assert (competition.labels.column, competition.labels.group_column) == ("individual_id", None)
    assert (competition.metric, competition.submission.new_class) == ("map@5", "new_individual")
    assert "new_individual" not in competition.classes
    assert all(len(set(cell.split(" "))) == 5 for cell in table["predictions"])
    assert table["predictions"].str.contains("new_individual").all(), "all others are less than half as sure"


@pytest.mark.parametrize("first", [0, 1])
def test_tables_of_pixels_with_their_own_ids_and_columns(first, tmp_path):
    folder = tmp_path / "digits"
    folder.mkdir()
    pictures = np.random.default_rng(0).integers(0, 256, (50, 64))
    table = pd.DataFrame(pictures, columns=[f"pixel{k}" for k in range(64)])
    table.insert(0, "label", np.arange(50) % 10)
    table.to_csv(folder / "train.csv", index=False)
    table.to_csv(folder / "Dig-MNIST.csv", index=False)
    table[:6].drop(columns="label").to_csv(folder / "test.csv", index=False)
    sample = pd.DataFrame({"ImageId": range(first, first + 6), "Label": 0})
    sample.to_csv(folder / "sample_submission.csv", index=False)
    result = init.init(Workspace(tmp_path), folder)
    competition, experiment = Competition.load(result.competition), Experiment.load(result.experiment, QUICK)
    assert competition.files.test == ("test.csv",)
    assert (competition.submission.id_column, competition.submission.column) == ("ImageId", "Label")
    download.download(Run.open(experiment, Workspace(tmp_path)), folder)
    assert index.index(Run.open(experiment, Workspace(tmp_path))).num_test == 6


def _sample_of(folder: Path, column: str, value: object, ids: str = "id") -> None:
    pd.DataFrame({ids: [f"{n}" for n in range(4)], column: value}).to_csv(folder / "sample_submission.csv", index=False)


def _labelled(folder: Path, column: str, values: list, **more: list) -> None:
    """Pictures n.jpg in train, four in test, and a table."""
    folder.mkdir(exist_ok=True)
    data = drawn.encoded(drawn.draw(0, 0), ".jpg")
    drawn.write_folder(folder / "train", {f"{n}.jpg": data for n in range(len(values))})
    drawn.write_folder(folder / "test", {f"{n}.jpg": data for n in range(4)})
    pd.DataFrame({"id": range(len(values)), column: values, **more}).to_csv(folder / "train.csv", index=False)


def _read(tmp_path: Path, metric: str | None = None) -> Competition:
    return Competition.load(init.init(Workspace(tmp_path / "w"), tmp_path / "files", metric=metric).competition)


def test_classes_by_number_keep_their_numbers(tmp_path):
    _labelled(tmp_path / "files", "label", [1, 2, 3, 4, 5] * 4)
    _sample_of(tmp_path / "files", "label", 0)
    assert _read(tmp_path, "accuracy").submission.values == {}


def test_many_class_numbers_are_classes_where_the_metric_says_so(tmp_path):
    _labelled(tmp_path / "files", "category", list(range(64)) * 2)
    _sample_of(tmp_path / "files", "category", 0)
    competition = _read(tmp_path, "accuracy")
    assert (competition.task, len(competition.classes)) == ("classes", 64)


def test_many_numbers_with_several_guesses_are_classes(tmp_path):
    _labelled(tmp_path / "files", "hotel_id", list(range(100, 164)) * 2)
    _sample_of(tmp_path / "files", "hotel_id", "100 101 102 103 104")
    competition = _read(tmp_path)
    assert (competition.task, competition.metric) == ("classes", "map@5")


@pytest.mark.parametrize("separator", ["|", ", ", " "])
def test_the_words_are_handed_in_as_they_came(separator, tmp_path):
    _labelled(tmp_path / "files", "tags", [separator.join(w) for w in (["a", "b"], ["a"], ["b", "c"], ["c"])] * 4)
    _sample_of(tmp_path / "files", "tags", separator.join(["a", "b"]))
    competition = _read(tmp_path)
    assert competition.classes == ("a", "b", "c")
    assert competition.submission.separator == separator.strip() or separator == " "


def test_kaggles_f_score_fits_one_class_an_image(tmp_path):
    _labelled(tmp_path / "files", "species", ["Black-grass", "Small-flowered Cranesbill", "Sugar beet"] * 5)
    _sample_of(tmp_path / "files", "species", "Sugar beet")
    competition = _read(tmp_path, "MeanFScore")
    assert (competition.task, competition.metric) == ("classes", "f1_micro")
    assert competition.submission.format == "label"


def test_whose_probability_is_asked_for_where_the_column_does_not_say(tmp_path):
    _labelled(tmp_path / "files", "state", ["ok", "defect"] * 8)
    _sample_of(tmp_path / "files", "p_defect", 0.5)
    assert _read(tmp_path, "roc_auc").submission.positive == "defect"


def test_a_truncated_zip_is_named(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    drawn.aerial_cactus(folder)
    (folder / "train.zip").write_bytes((folder / "train.zip").read_bytes()[:500])
    with pytest.raises(KitError, match=r"train\.zip: is a broken zip"):
        _read(tmp_path, "roc_auc")


def test_a_shared_folder_in_a_bundle(tmp_path):
    (tmp_path / "loose").mkdir()
    drawn.plant_pathology_2020(tmp_path / "loose")
    with zipfile.ZipFile(tmp_path / "plants.zip", "w") as archive:
        for path in sorted(p for p in (tmp_path / "loose").rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(tmp_path / "loose"))
    result = init.init(Workspace(tmp_path), tmp_path / "plants.zip", metric="roc_auc")
    experiment, workspace = Experiment.load(result.experiment, QUICK), Workspace(tmp_path)
    for force in (False, True):
        download.download(Run.open(experiment, workspace), tmp_path / "plants.zip", force)
        assert index.index(Run.open(experiment, workspace)).num_train == drawn.NUM_TRAIN


def test_missing_test_pictures_are_said_before_the_training(tmp_path):
    folder, workspace, _ = _described(drawn.cassava, tmp_path, "accuracy")
    (folder / "test_images" / "1003.jpg").unlink()
    experiment = Experiment.load(tmp_path / "configs" / "cassava.yaml", QUICK)
    download.download(Run.open(experiment, workspace), folder)
    with pytest.raises(KitError, match=r"the sample submission: 1 id without a file in .*test_images \(1003\.jpg\)"):
        index.index(Run.open(experiment, workspace))


def test_every_decision_has_a_reason_and_the_yaml_keeps_it(tmp_path):
    _, _, competition = _described(drawn.dog_breed, tmp_path, "log_loss")
    text = (tmp_path / "configs" / "competitions" / "dog_breed.yaml").read_text()
    for reason in ("column 'id' names the pictures", "120 strings", "a column per class", "log_loss"):
        assert reason in text
    assert competition.classes[0] == "a000_hound"


@pytest.mark.parametrize(("side", "name"), [(64, "timm:convnext_tiny.in12k_ft_in1k"), (32, "resnet34")])
def test_on_a_gpu_the_first_experiment_is_a_pretrained_network(tmp_path, monkeypatch, side, name):
    monkeypatch.setattr(first_experiment, "default_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(first_experiment, "device_name", lambda _: "Tesla T4")
    folder = tmp_path / "mine"
    pictures = {
        f"{kind}.{k}.png": drawn.encoded(drawn.draw(0, k).resize((side, side)), ".png")
        for kind in "ab"
        for k in range(8)
    }
    for part, names in (("train", pictures), ("test1", [f"{k}.png" for k in range(4)])):
        (folder / part).mkdir(parents=True)
        for file, content in zip(names, pictures.values(), strict=False):
            (folder / part / file).write_bytes(content)
    (folder / "sampleSubmission.csv").write_text("id,label\n" + "".join(f"{k},0\n" for k in range(4)))
    result = init.init(Workspace(tmp_path), folder, metric="accuracy", overrides=["submission.values=numbers"])
    made = Experiment.load(result.experiment)
    assert (made.model.name, made.model.weights) == (name, "timm" if side == 64 else "none")
    assert (made.data.image_size, made.side(0)) == ((288, 224) if side == 64 else (32, 32))
    reasons = " ".join(result.reasons)
    assert "for Tesla T4" in reasons
    assert ("--set model.weights=FILE, on Kaggle one under /kaggle/input" in reasons) == (side == 64)
    size = made.data.image_size
    model = build_classifier(replace(made.model, weights="none"), Outputs(2), size).eval()
    assert model(torch.zeros(1, 3, size, size)).shape == (1, 2)


def _strong(tmp_path, side=150, device="cpu", weights=None, name="dogs-vs-cats", count=22_500) -> Experiment:
    subject = first_experiment.Subject(Competition.load(name), count, side, torch.device(device))
    config = tmp_path / "mine-strong.yaml"
    config.write_text(dump_yaml(strong_experiment(subject, config.stem, weights)))
    return Experiment.load(config)


def test_the_strong_experiment_starts_from_published_weights_where_they_serve(tmp_path):
    made = _strong(tmp_path)
    assert (made.model.name, made.model.weights) == ("timm:tf_efficientnet_lite0", "timm")
    assert (made.data.image_size, made.side(0), made.train.freeze_epochs) == (224, 192, 1)
    assert _strong(tmp_path, 64).data.image_size == 128, "enlarged twice at most"
    assert _strong(tmp_path, device="cuda").model.name == "timm:convnext_small.in12k_ft_in1k"
    small = _strong(tmp_path, 28, name="fashion-mnist")
    assert (small.model.name, small.model.weights, small.data.image_size) == ("resnet18", "none", 28)
    assert "HorizontalFlip" not in str(small.augment), "letters and digits do not bear it"
    assert small.train.cutmix == 0
    ours = _strong(tmp_path, weights="none")
    assert (ours.model.name, ours.model.options["stem"], ours.data.image_size) == ("resnet18", "deep", 128)
    assert [ours.side(epoch) for epoch in (0, 20, 43)] == [80, 96, 112]
    assert ours.train.cutmix == 1.0


def test_weights_at_hand_name_their_network(tmp_path):
    file = tmp_path / "resnet26.safetensors"
    with pytest.raises(ConfigError, match=r"--weights .*resnet26.safetensors: no such file; expected timm, none, or"):
        _strong(tmp_path, weights=str(file))
    file.touch()
    made = _strong(tmp_path, weights=str(file))
    assert (made.model.name, made.model.weights) == ("timm:resnet26", str(file))
    fixed = _strong(tmp_path, 64, weights=str(file.rename(tmp_path / "vit_tiny_patch16_224.safetensors")))
    assert (fixed.data.image_size, fixed.train.sizes) == (224, ()), "the only pictures that it takes"
    file = tmp_path / "resnet_26.safetensors"
    file.touch()
    with pytest.raises(ConfigError, match=r"should bear its network's name; .*no model 'resnet_26' \(did you mean"):
        init.init(Workspace(tmp_path), tmp_path / "not looked at yet", weights=str(file))
    file = file.rename(tmp_path / "foo.pth")
    with pytest.raises(ConfigError, match=r"timm has no model 'foo' \(available: .{0,1200} more\)$"):
        _strong(tmp_path, weights=str(file))


def test_weights_in_a_folder_are_those_of_the_machines_network_or_the_only_ones(tmp_path):
    with pytest.raises(
        ConfigError, match=r"--weights .*: holds no .safetensors or .pth file; expected tf_efficientnet_lite0"
    ):
        _strong(tmp_path, weights=str(tmp_path))
    (tmp_path / "README.md").touch()
    (tmp_path / "resnet26.safetensors").touch()
    assert _strong(tmp_path, weights=str(tmp_path)).model.name == "timm:resnet26"
    (tmp_path / "resnet18.pth").touch()
    with pytest.raises(
        ConfigError, match=r": holds resnet18, resnet26; expected tf_efficientnet_lite0, or name a file$"
    ):
        _strong(tmp_path, weights=str(tmp_path))
    (tmp_path / "tf_efficientnet_lite0.safetensors").touch()
    (tmp_path / "convnext_small.safetensors").touch()
    made = _strong(tmp_path, weights=str(tmp_path))
    assert (made.model.name, made.model.weights) == (
        "timm:tf_efficientnet_lite0", str(tmp_path / "tf_efficientnet_lite0.safetensors")
    )  # fmt: skip
    assert _strong(tmp_path, device="cuda", weights=str(tmp_path)).model.name == "timm:convnext_small"


def test_both_experiments_are_written_and_the_strong_one_runs(tmp_path):
    folder, workspace, _ = _described(drawn.cassava, tmp_path, "accuracy")
    quick, strong = (
        Experiment.load(tmp_path / "configs" / f"cassava{ending}.yaml", QUICK) for ending in ("", "-strong")
    )
    assert (quick.name, strong.name, quick.competition) == ("cassava", "cassava-strong", strong.competition)
    run = Run.open(strong, workspace)
    download.download(run, folder)
    index.index(run)
    split.split(run)
    assert train.train(run, [0]).finished
    for other in ("competitions/cassava.yaml", "cassava.yaml"):
        (tmp_path / "configs" / other).unlink()
    with pytest.raises(ConfigError, match=r"cassava-strong.yaml: already exists; --force replaces it"):
        init.init(workspace, folder, metric="accuracy")


def test_two_readings_are_asked_for(tmp_path):
    asked = []

    def ask(question, options):
        asked.append((question, [value for value, _ in options]))
        return options[1][0]

    _, _, competition = _described(drawn.aerial_cactus, tmp_path, ask=ask)
    assert "log loss" in asked[0][0]
    assert competition.metric == asked[0][1][1] == "roc_auc"


def test_what_is_there_stays(tmp_path):
    folder, workspace, _ = _described(drawn.cassava, tmp_path, "accuracy")
    with pytest.raises(ConfigError, match="already exists; --force"):
        init.init(workspace, folder, metric="accuracy")
    init.init(workspace, folder, metric="accuracy", force=True)


@pytest.mark.parametrize(
    ("make", "metric"), [(drawn.petfinder, "rmse"), (drawn.plant_pathology_2021, "f1_samples"), (drawn.whale, "map@5")]
)
def test_a_metric_that_nobody_named_is_said_to_be_assumed(make, metric, tmp_path, capsys):
    make(tmp_path / "files")
    overrides = ["task=number"] if metric == "rmse" else []
    made = init.init(Workspace(tmp_path), tmp_path / "files", overrides=[*overrides, *OPEN.get(make.__name__, [])])
    assert f"the metric: {metric} is assumed; --metric NAME says which" in capsys.readouterr().out
    assert f"{metric} is assumed" in made.competition.read_text()
    init.init(Workspace(tmp_path), tmp_path / "files", metric=metric, force=True, overrides=overrides)
    assert "assumed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("RSME", "did you mean 'rmse', --metric rmse?"),
        ("meen f1 scor", "did you mean 'mean f1 score', --metric f1_samples?"),
        ("quadratc weighted kapa", "--metric quadratic_weighted_kappa"),
        ("minimum F1", "the nearest that the kit has: --metric f1_macro"),
    ],
)
def test_a_mistyped_metric(words, message, tmp_path):
    with pytest.raises(ConfigError, match=re.escape(message)):
        init.init(Workspace(tmp_path), tmp_path, metric=words)


def test_a_slug_needs_no_token_where_the_files_are_here(tmp_path, monkeypatch, capsys):
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    drawn.cassava(tmp_path / "from")
    made = init.init(Workspace(tmp_path), tmp_path / "from", slug="cassava", metric="accuracy")
    assert Competition.load(made.competition).slug == "cassava"
    assert "no Kaggle credentials: cassava is not asked for its metric" in capsys.readouterr().out


def test_a_folder_that_names_no_competition_takes_the_name_above_it(tmp_path):
    drawn.cassava(tmp_path / "leaves" / "from")
    assert init.init(Workspace(tmp_path), tmp_path / "leaves" / "from", metric="accuracy").name == "leaves"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("metric=f1", "init has an option for it: --metric f1"),
        ("lables.column=x", "did you mean 'labels'?"),
        ("files.train=nowhere", "nowhere holds no picture that the kit reads"),
    ],
)
def test_a_key_that_init_does_not_take(override, message, tmp_path):
    drawn.cassava(tmp_path / "from")
    with pytest.raises(KitError, match=re.escape(message)):
        init.init(Workspace(tmp_path), tmp_path / "from", metric="accuracy", overrides=[override])


def test_the_folder_of_pictures_alone(tmp_path):
    drawn.cassava(tmp_path / "from")
    pictures = next(path for path in (tmp_path / "from").iterdir() if path.is_dir())
    with pytest.raises(KitError, match=r"holds \d+ pictures outside of any folder; give the folder above it"):
        init.init(Workspace(tmp_path), pictures)


def test_kaggles_words_for_a_metric():
    for words, own in [
        ("LogLoss", "log_loss"), ("QuadraticWeightedKappa", "quadratic_weighted_kappa"), ("MAP@5", "map@5"),
        ("Area Under Receiver Operating Characteristic Curve", "roc_auc"), ("RootMeanSquaredError", "rmse"),
        ("CategorizationAccuracy", "accuracy"), ("f1_macro", "f1_macro"), ("top@3", "top@3"),
    ]:  # fmt: skip
        assert init._find_metrics(words)[0].name == own
    with pytest.raises(ConfigError, match=r"--metric roc_acu: no metric 'roc_acu' \(did you mean 'roc_auc'"):
        init._find_metrics("roc_acu")


def _edit(path: Path, change) -> None:
    change(pd.read_csv(path, dtype=str)).to_csv(path, index=False)


@pytest.mark.parametrize(
    ("make", "metric", "spoil", "message"),
    [
        (
            drawn.dog_breed, "log_loss",
            lambda f: _edit(f / "labels.csv", lambda t: t.rename(columns={"breed": "kind"})),
            r"labels\.csv: has no column 'breed'.*correct `labels\.column`",
        ),
        (
            drawn.histopathologic_cancer, "roc_auc",
            lambda f: _edit(f / "train_labels.csv", lambda t: t.assign(id="x" + t["id"])),
            r"train_labels\.csv: column 'id': none of 60 ids is a file in .*train \(xf00000.*files there: f00000\.tif",
        ),
        (
            drawn.cassava, "accuracy", 
            lambda f: _edit(f / "train.csv", lambda t: pd.concat([t, t.head(2).assign(label="3")])),
            r"train\.csv: column 'image_id': 2 ids in several rows \(1000\.jpg, 1001\.jpg\)",
        ),
        (
            drawn.aptos2019, "kappa", lambda f: _edit(f / "train.csv", lambda t: t.replace({"diagnosis": {"4": "7"}})),
            r"train\.csv: column 'diagnosis': 1 value not among the 5 classes \('7'; classes: 0, 1, 2, 3, 4\)",
        ),
        (
            drawn.cassava, "accuracy", lambda f: _edit(f / "train.csv", lambda t: t[t["label"] != "3"]),
            r"train\.csv: no training image has the class 3; correct `labels\.classes`",
        ),
        (
            drawn.petfinder, "rmse", lambda f: _edit(f / "train.csv", lambda t: t.assign(Pawpularity="good")),
            r"train\.csv: column 'Pawpularity': 60 cells without a number \('good'\)",
        ),
        (
            drawn.plant_pathology_2020, "roc_auc", lambda f: _edit(f / "train.csv", lambda t: t.assign(rust="1")),
            r"train\.csv: Train_\d+ has 2 classes, expected one .*set task: labels",
        ),
        (
            drawn.ranzcr_clip, "roc_auc", lambda f: _edit(f / "train.csv", lambda t: t.assign(**{"CVC - Normal": "2"})),
            r"train\.csv: column 'CVC - Normal' holds '2', not 0 or 1",
        ),
        (
            drawn.dogs_vs_cats_redux, "log_loss",
            lambda f: _edit(f / "sample_submission.csv", lambda t: t.assign(id=t["id"].astype(int) + 5)),
            r"sample_submission\.csv: column 'id': 5 ids without a picture in test \(13, 14, 15 and 2 more",
        ),
        (
            drawn.leaf_classification, "log_loss",
            lambda f: _edit(f / "sample_submission.csv", lambda t: t.drop(columns="Quercus_07")),
            r"sample_submission\.csv: has no column 'Quercus_07'",
        ),
    ],
)  # fmt: skip
def test_a_wrong_description_is_one_line(make, metric, spoil, message, tmp_path):
    folder, workspace, _ = _described(make, tmp_path, metric)
    experiment = Experiment.load(tmp_path / "configs" / f"{make.__name__}.yaml", QUICK)
    spoil(folder)
    download.download(Run.open(experiment, workspace), folder)
    with pytest.raises(KitError, match=message) as caught:
        index.index(Run.open(experiment, workspace))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: [path.unlink() for path in (f / "test").iterdir()], "pictures for training in train, and none"),
        (lambda f: (f / "labels.csv").unlink(), "no labels found: no table has a column with the names of train's"),
        (lambda f: _edit(f / "labels.csv", lambda t: t.assign(a="x", b="y").drop(columns="breed")), "Which column is"),
    ],
)
def test_files_that_are_no_competition(spoil, message, tmp_path):
    drawn.dog_breed(tmp_path)
    spoil(tmp_path)
    with pytest.raises(KitError, match=re.escape(message)):
        init.init(Workspace(tmp_path / "w"), tmp_path, metric="log_loss")


def _damaged(path: Path) -> None:
    """Every stored byte of the pictures flipped, the directory left whole."""
    data = bytearray(path.read_bytes())
    end = data.index(b"PK\x01\x02")
    data[200:end] = bytes(255 - byte for byte in data[200:end])
    path.write_bytes(data)


def _swollen(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.csv", bytes(150_000_000))


def _encrypted(path: Path) -> None:
    """The flag alone: what a zip with a password looks like."""
    data = path.read_bytes().replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: _damaged(f / "train.zip"),
            "cannot be read (Bad CRC-32 for file 'train/0000a.jpg'); get train.zip again",
        ),
        (lambda f: _encrypted(f / "train.zip"), "'train/0000a.jpg' is encrypted; unpack train.zip yourself"),
        (lambda f: _swollen(f / "train.csv.zip"), "bytes would unpack to 150,000,000"),
    ],
)
def test_zips_that_are_damaged_or_hostile(spoil, message, tmp_path):
    drawn.aerial_cactus(tmp_path)
    spoil(tmp_path)
    with pytest.raises(KitError, match=re.escape(message)) as caught:
        init.init(Workspace(tmp_path / "w"), tmp_path, metric="roc_auc")
    assert "\n" not in str(caught.value)


def test_json_that_is_no_coco(tmp_path):
    drawn.herbarium(tmp_path)
    (tmp_path / "train_metadata.json").write_text('{"images": [{"file_name": "0/1.jpg"}]}')
    with pytest.raises(KitError, match=r"train_metadata.json: is not COCO's JSON .*KeyError 'id'"):
        init.init(Workspace(tmp_path / "w"), tmp_path)


def test_an_id_does_not_lead_out_of_its_folder(tmp_path):
    folder, workspace, _ = _described(drawn.aerial_cactus, tmp_path, "roc_auc")
    drawn.draw(0, 0).save(tmp_path / "elsewhere.png")
    outside = pd.DataFrame({"id": ["../../../../elsewhere.png"], "has_cactus": [1]})
    _edit(folder / "train.csv", lambda table: pd.concat([table, outside]))
    experiment = Experiment.load(tmp_path / "configs" / "aerial_cactus.yaml", QUICK)
    download.download(Run.open(experiment, workspace), folder)
    result = index.index(Run.open(experiment, workspace))
    table = read_index(workspace.index("aerial_cactus"))
    row = table[table["image_id"].str.contains("elsewhere")].iloc[0]
    assert (row["width"], row["problem"]) == (0, "no such file")
    assert result.num_train == drawn.NUM_TRAIN + 1


@pytest.mark.parametrize("option", ["name", "slug"])
def test_a_name_is_no_path(option, tmp_path):
    with pytest.raises(ConfigError, match=f"--{option} ../elsewhere: expected letters, digits"):
        init.init(Workspace(tmp_path / "w"), tmp_path, **{option: "../elsewhere"})


def _bundle(tmp_path: Path) -> Path:
    """Kaggle's "download all" of a competition with inner zips and tables."""
    (tmp_path / "loose").mkdir()
    drawn.aerial_cactus(tmp_path / "loose")
    with zipfile.ZipFile(tmp_path / "aerial-cactus.zip", "w") as archive:
        for path in sorted((tmp_path / "loose").iterdir()):
            archive.write(path, path.name)
    return tmp_path / "aerial-cactus.zip"


def test_one_bundle_zip(tmp_path):
    result = init.init(Workspace(tmp_path), _bundle(tmp_path), metric="roc_auc")
    competition = Competition.load(result.competition)
    assert competition.files.train == ("train.zip",)
    experiment = Experiment.load(result.experiment, QUICK)
    download.download(Run.open(experiment, Workspace(tmp_path)), tmp_path / "aerial-cactus.zip")
    assert index.index(Run.open(experiment, Workspace(tmp_path))).num_train == drawn.NUM_TRAIN


def test_a_slug_is_downloaded_once_and_brings_kaggles_metric(tmp_path, kaggle):
    kaggle.bundle = _bundle(tmp_path).read_bytes()
    kaggle.evaluation_metric = "Area Under Receiver Operating Characteristic Curve"
    workspace = Workspace(tmp_path / "w")
    result = init.init(workspace, slug=SLUG)
    competition = Competition.load(result.competition)
    assert (competition.name, competition.slug, competition.metric) == (SLUG, SLUG, "roc_auc")
    experiment = Experiment.load(result.experiment, QUICK)
    download.download(Run.open(experiment, workspace))
    assert index.index(Run.open(experiment, workspace)).num_train == drawn.NUM_TRAIN
    assert sum("Download" in call for call in kaggle.calls) == 1


def test_a_metric_that_the_kit_does_not_have_is_said(tmp_path, kaggle, capsys):
    kaggle.bundle = _bundle(tmp_path).read_bytes()
    kaggle.evaluation_metric = "Mean Dice"
    with pytest.raises(ConfigError, match=r"cannot tell log loss from ROC AUC.*--metric log_loss"):
        init.init(Workspace(tmp_path / "w"), slug=SLUG)
    assert "Kaggle scores by 'Mean Dice', which the kit does not have" in capsys.readouterr().out
