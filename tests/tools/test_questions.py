"""Several questions an image, each answered by one of its own classes: from files to a valid submission."""

from pathlib import Path

import drawn
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from quick import describe, go
from sklearn.metrics import accuracy_score, recall_score
from torch.nn import functional as F

from kit.competition import Competition
from kit.data.table import predictions
from kit.errors import ConfigError, KitError
from kit.metrics import find_metric
from kit.schema import dump_yaml
from kit.settings import Train
from kit.stages import submit
from kit.tasks import Outputs
from kit.training.heads import Problem, fit_heads
from kit.training.losses import build_loss

NUM, TEST = 60, 6
SHADES, TINTS = ["2", "0", "10"], ["no", "yes"]
CLASSES = ("shade=0", "shade=2", "shade=10", "tint=no", "tint=yes")


def _answers(count: int) -> pd.DataFrame:
    """shade by how red a picture is, tint by how blue."""
    rng = np.random.default_rng(count)
    return pd.DataFrame({"shade": rng.choice(SHADES, count), "tint": rng.choice(TINTS, count)})


@pytest.fixture
def files(tmp_path) -> Path:
    """train/a0.png ..., test/t0.png ..., train.csv (id, shade, tint)."""
    folder = tmp_path / "files"
    for split, letter, count in (("train", "a", NUM), ("test", "t", TEST)):
        (folder / split).mkdir(parents=True)
        for k, row in enumerate(_answers(count).itertuples()):
            red, blue = {"2": 110, "0": 10, "10": 220}[row.shade], 200 * (row.tint == "yes")
            picture = np.random.default_rng(k).random((24, 24, 3)) * 20 + [red, 100, blue]
            (folder / split / f"{letter}{k}.png").write_bytes(
                drawn.encoded(Image.fromarray(picture.astype(np.uint8)), ".png")
            )
    _answers(NUM).assign(id=[f"a{k}" for k in range(NUM)]).to_csv(folder / "train.csv", index=False)
    return folder


def _rows(folder: Path) -> list[str]:
    ids = [f"t{k}_{question}" for k in reversed(range(TEST)) for question in ("tint", "shade")]
    pd.DataFrame({"row_id": ids, "target": 0}).to_csv(folder / "sample_submission.csv", index=False)
    return ids


def test_a_row_per_image_and_question_goes_the_whole_way(files):
    asked = _rows(files)
    competition = describe(files, "hierarchical macro-averaged recall")
    assert (competition.task, competition.metric) == ("labels", "balanced_accuracy")
    assert (competition.submission.format, competition.submission.joined) == ("label", "_")
    assert competition.questions == {"tint": 2, "shade": 3}
    yaml = files.parent / "configs" / "competitions" / "c.yaml"
    yaml.write_text(yaml.read_text() + "metric_options: {weights: {shade: 3}}\n")
    run = go(files)
    written = pd.read_csv(run.workspace.submission("c"), dtype=str)
    assert written["row_id"].tolist() == asked
    said, truth = written.set_index("row_id")["target"], _answers(TEST)
    right = [said[f"t{k}_{q}"] == truth.at[k, q] for k in range(TEST) for q in ("shade", "tint")]
    assert np.mean(right) > 0.7
    oof = pd.read_csv(run.files.oof)
    probs = predictions(oof, run.competition)
    assert np.allclose(probs[:, :2].sum(axis=1), 1, atol=1e-5), "a softmax for each question"
    assert np.allclose(probs[:, 2:].sum(axis=1), 1, atol=1e-5)
    known = oof[run.competition.targets].to_numpy()
    places = [(known[:, part].argmax(1), probs[:, part].argmax(1)) for part in (slice(0, 2), slice(2, 5))]
    tint, shade = (recall_score(*pair, average="macro") for pair in places)
    assert run.competition.scoring.score(known, probs) == pytest.approx((tint + 3 * shade) / 4)
    for cell, message in (("yes", r"'yes' for shade"), ("", r"'' for shade")):
        broken = written.copy()
        broken.loc[broken["row_id"] == "t0_shade", "target"] = cell
        broken.to_csv(files.parent / "broken.csv", index=False)
        with pytest.raises(KitError, match=rf"1 answers? .* not among .* question's \({message}\)"):
            submit.submit(run, files.parent / "broken.csv", dry_run=True)


def test_a_column_per_question_by_heads_on_frozen_features(files, tmp_path):
    """Handed in as the sample has it; one image whose answers are half known is left out."""
    table = pd.read_csv(files / "train.csv", dtype=str)
    table.loc[4, "tint"] = ""
    table.to_csv(files / "train.csv", index=False)
    sample = pd.DataFrame({"id": [f"t{k}" for k in range(TEST)], "shade": "0", "tint": "no"})
    sample.to_csv(files / "sample_submission.csv", index=False)
    with pytest.raises(KitError, match=r"shade, tint are a class of each column .*; rmse scores number"):
        describe(files, "rmse")
    competition = describe(files, "accuracy")
    assert competition.labels.classes == CLASSES
    run = go(files, "train.mode=features", "train.head_l2=[0.001, 0.01]", "data.num_folds=3")
    assert len(pd.read_csv(run.files.oof)) == NUM - 1
    written = pd.read_csv(run.workspace.submission("c"), dtype=str)
    assert list(written) == ["id", "shade", "tint"]
    truth = _answers(TEST)
    assert np.mean(written[["shade", "tint"]].to_numpy() == truth[["shade", "tint"]].to_numpy()) > 0.7


def test_a_metric_is_the_mean_over_questions():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 3, 50), rng.integers(0, 2, 50)
    truth = np.concatenate([np.eye(3)[first], np.eye(2)[second]], axis=1)
    said = np.concatenate([rng.dirichlet(np.ones(3), 50), rng.dirichlet(np.ones(2), 50)], axis=1)
    questions = {"shade": 3, "tint": 2}
    metric = find_metric("accuracy", {"weights": {"shade": 2}}, CLASSES, questions)
    each = accuracy_score(first, said[:, :3].argmax(1)), accuracy_score(second, said[:, 3:].argmax(1))
    assert metric.score(truth, said) == pytest.approx((2 * each[0] + each[1]) / 3)
    assert metric.per_image(truth, metric.decide(said, True)).mean() == pytest.approx(metric.score(truth, said))
    fitted = find_metric("balanced_accuracy", {}, CLASSES, questions)
    params = fitted.fit(truth, said, {})
    assert set(params) == {"shade: class_weights", "tint: class_weights"}
    assert fitted.score(truth, said, params) >= fitted.score(truth, said)
    moved = find_metric("quadratic_weighted_kappa", {}, CLASSES, questions)
    cuts = moved.fit(truth, said, {})
    assert moved.moved(cuts, np.stack([said, said]), said).keys() == cuts.keys()
    with pytest.raises(ValueError, match=r"metric_options\.weights: 'shades' is not a question .*'shade'"):
        find_metric("accuracy", {"weights": {"shades": 2}}, CLASSES, questions)
    for wrong in ([2, 1], {"shade": "much"}, {"shade": 0, "tint": 0}, {"shade": -1}):
        with pytest.raises(ValueError, match=r"metric_options\.weights: expected"):
            find_metric("accuracy", {"weights": wrong}, CLASSES, questions)
    with pytest.raises(ValueError, match=r"metric: map@5 scores no class"):
        find_metric("map@5", {}, CLASSES, questions)


def test_a_metric_of_ones_own_sees_the_answers(files):
    asked = _rows(files)
    describe(files, "accuracy")
    yaml = files.parent / "configs" / "competitions" / "c.yaml"
    own = "def score(solution, submission, row_id):\n    return float((solution.target == submission.target).mean())\n"
    yaml.with_name("mine.py").write_text(own)
    mine = "metric: mine.py:score\nmetric_options: {higher_is_better: true}\n"
    yaml.write_text(yaml.read_text().replace("metric: accuracy\n", mine))
    competition = Competition.load(yaml)
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 2, 50), rng.integers(0, 3, 50)
    truth = np.concatenate([np.eye(2)[first], np.eye(3)[second]], axis=1)
    said = np.concatenate([rng.dirichlet(np.ones(2), 50), rng.dirichlet(np.ones(3), 50)], axis=1)
    right = [said[:, :2].argmax(1) == first, said[:, 2:].argmax(1) == second]
    assert competition.scoring.score(truth, said) == pytest.approx(np.mean(right))
    assert competition.rows_of(["t5"]) == asked[:2]


@pytest.mark.parametrize("train", [Train(), Train(label_smoothing=0.1), Train(loss="focal", focal_gamma=2.0)])
def test_the_loss_is_the_mean_of_a_cross_entropy_each(train):
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(8, 5, generator=generator)
    first, second = torch.arange(8) % 3, torch.arange(8) % 2
    targets = torch.cat([F.one_hot(first, 3), F.one_hot(second, 2)], dim=1).float()
    loss = build_loss(Outputs(5, "labels", (3, 2)), train, targets.numpy())(outputs, targets)
    alone = [
        build_loss(Outputs(3), train, first.numpy())(outputs[:, :3], first),
        build_loss(Outputs(2), train, second.numpy())(outputs[:, 3:], second),
    ]
    assert loss.item() == pytest.approx((alone[0] + alone[1]).item() / 2, abs=1e-6)
    with pytest.raises(ConfigError, match=r"train\.loss: bce does not fit"):
        build_loss(Outputs(5, "labels", (3, 2)), Train(loss="bce"), targets.numpy())


def test_heads_of_several_questions_are_those_of_each():
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(200, 6))).float()
    first, second = torch.from_numpy(rng.integers(0, 3, 200)), torch.from_numpy(rng.integers(0, 4, 200))
    both = torch.cat([F.one_hot(first, 3), F.one_hot(second, 4)], dim=1).float()
    rows, penalty = torch.ones(200, 1, dtype=torch.bool), torch.tensor([0.05])
    joint = fit_heads(Problem(features, both, Outputs(7, "labels", (3, 4))), rows, penalty)
    one = fit_heads(Problem(features, first, Outputs(3)), rows, 2 * penalty)
    other = fit_heads(Problem(features, second, Outputs(4)), rows, 2 * penalty)
    assert torch.allclose(joint.weight, torch.cat([one.weight, other.weight], dim=1), atol=2e-3)


def test_an_answer_that_the_description_lacks_names_its_column(files):
    _rows(files)
    describe(files, "accuracy")
    table = pd.read_csv(files / "train.csv", dtype=str)
    table.loc[3, "shade"] = "7"
    table.to_csv(files / "train.csv", index=False)
    with pytest.raises(KitError, match=r"train\.csv: column 'shade': 1 value not among .*'shade=7'"):
        go(files)


def test_whether_they_are_classes_or_numbers_is_asked(files):
    """Whole numbers may be either: the metric tells, or a sample with fractions."""
    table = _answers(NUM).assign(id=[f"a{k}" for k in range(NUM)], tint=lambda t: (t["tint"] == "yes") * 3)
    table.to_csv(files / "train.csv", index=False)
    sample = pd.DataFrame({"id": [f"t{k}" for k in range(TEST)], "shade": 0, "tint": 0})
    sample.to_csv(files / "sample_submission.csv", index=False)
    with pytest.raises(ConfigError, match=r"'shade' has 3 different values.*--set task=labels .*--set task=number"):
        describe(files, None)
    assert describe(files, None, "task=labels").questions == {"shade": 3, "tint": 2}
    assert describe(files, "rmse").numbers == ("shade", "tint")
    sample.assign(shade=0.5).to_csv(files / "sample_submission.csv", index=False)
    assert describe(files, None).task == "number"


def test_a_row_per_image_and_number_carries_what_its_rows_share(files):
    """CSIRO's biomass: ID__Dry_Green_g, with the picture's place and its site in every row."""
    names, levels = ["Dry_Green_g", "GDM_g"], np.random.default_rng(0).random((NUM, 2)).round(3)
    rows = [(f"a{k}__{name}", f"train/a{k}.png", f"site{k % 12}", name, levels[k, n])
            for k in range(NUM) for n, name in enumerate(names)]  # fmt: skip
    columns = ["sample_id", "image_path", "patient_id", "target_name", "target"]
    pd.DataFrame(rows, columns=columns).to_csv(files / "train.csv", index=False)
    asked = [f"t{k}__{name}" for k in range(TEST) for name in names]
    pd.DataFrame({"sample_id": asked, "target": 0.0}).to_csv(files / "sample_submission.csv", index=False)
    competition = describe(files, "r2")
    assert (competition.numbers, competition.labels.joined) == (tuple(names), "__")
    assert competition.labels.group_column == "patient_id"
    run = go(files, "train.epochs=1")
    seen = run.index[run.index["split"] == "train"].set_index("image_id")
    assert np.allclose(seen.loc[[f"a{k}" for k in range(NUM)], competition.targets].astype(float), levels)
    assert seen["given_group"].nunique() == 12
    written = pd.read_csv(run.workspace.submission("c"))
    assert written["sample_id"].tolist() == asked


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"classes": ["x=1", "x=2", "z=1"]}, "'z=1': with labels.columns, a class is called COLUMN=CELL"),
        ({"classes": ["x=1", "y=1", "x=2", "y=2"]}, "those of each of labels.columns, in their order"),
        ({"classes": ["x=1", "x=2", "y=1"]}, "'y' needs at least two"),
        ({"classes": ["x=1", "x=2", "y=1", "y=2"], "wide": True}, "labels.wide"),
    ],
)  # fmt: skip
def test_a_contradiction_names_its_key(tmp_path, labels, message):
    raw = {
        "name": "c", "title": "C", "files": {"train": ["train"], "train_labels": ["train.csv"]}, "task": "labels",
        "labels": {"layout": "csv", "columns": ["x", "y"]} | labels, "metric": "accuracy",
        "submission": {"format": "label"},
    }  # fmt: skip
    (tmp_path / "c.yaml").write_text(dump_yaml(raw))
    with pytest.raises(ConfigError, match=message):
        Competition.load(tmp_path / "c.yaml")
