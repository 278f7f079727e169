"""A table's columns beside the picture: proposed by kit init, scaled within each fold, on and off with one key."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from quick import QUICK, describe, go

from kit.competition import Competition
from kit.config import Experiment
from kit.data.columns import column_values, vocabulary
from kit.data.table import predictions
from kit.describe.first_experiment import Subject
from kit.describe.strong_experiment import strong_experiment
from kit.errors import ConfigError, KitError
from kit.models import build_classifier
from kit.models.columns import ColumnEncoder, ColumnShape, WithColumns
from kit.pipeline import run_pipeline
from kit.run.run import Run
from kit.settings import Model
from kit.stages import download
from kit.tasks import Outputs
from kit.tools.rerun import find_test
from kit.workspace import Workspace

NUM, TEST = 200, 10


def _table(letter: str, count: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """(columns; the answer: old, or a woman of some age), with every tenth age missing."""
    generator = np.random.default_rng(seed)
    age, sex = generator.integers(20, 80, count).astype(float), generator.choice(["female", "male"], count)
    answer = (age + 15 * (sex == "female") > 57).astype(int)
    table = pd.DataFrame({"id": [f"{letter}{k}" for k in range(count)], "age": age, "sex": sex})
    table["room"] = [f"room {k}" for k in range(count)]  # a name of its own
    table["centre"] = generator.choice(["north", "south", "west"], count)
    table.loc[::10, "age"] = np.nan
    return table, answer


@pytest.fixture
def files(tmp_path) -> Path:
    """Pictures of noise."""
    folder = tmp_path / "files"
    for split, letter, count in (("train", "a", NUM), ("test", "t", TEST)):
        (folder / split).mkdir(parents=True)
        for k in range(count):
            noise = np.random.default_rng(1000 * len(split) + k).integers(0, 255, (20, 20, 3)).astype(np.uint8)
            cv2.imwrite(str(folder / split / f"{letter}{k}.png"), noise)
    train, answer = _table("a", NUM, 0)
    train["label"], train["code"], train["doctor"] = np.where(answer, "ill", "well"), answer, "x"
    train.to_csv(folder / "train.csv", index=False)
    test, answer = _table("t", TEST, 1)
    test.assign(code=answer).to_csv(folder / "test.csv", index=False)  # a disguise that both tables have
    pd.DataFrame({"id": test["id"], "label": "ill"}).to_csv(folder / "sample_submission.csv", index=False)
    return folder


def test_what_is_proposed_is_off(files):
    """Neither names, nor constants, nor the answer under another name; and nothing that the test table lacks."""
    competition = describe(files, "accuracy")
    assert competition.columns is not None
    assert (competition.columns.numbers, competition.columns.categories) == (("age",), ("sex", "centre"))
    assert competition.files.test_table == ("test.csv",)
    assert not Experiment.load(files.parent / "configs" / "c.yaml").data.columns
    subject = Subject(competition, count=NUM, typical=150, device=torch.device("cpu"))
    assert "cutmix" not in strong_experiment(subject, "c-strong", "none")["train"], "columns cannot be mixed"


def test_columns_help_where_they_tell_and_come_from_the_folds_own_rows(files):
    describe(files, "accuracy")
    without, beside = go(files), go(files, "data.columns=true", "name=beside", "train.epochs=24")
    scores = []
    for run in (without, beside):
        oof = pd.read_csv(run.files.oof)
        said = predictions(oof, run.competition).argmax(axis=1) == (oof["target_label"] == "well")
        scores.append(said.mean())
    assert scores[0] < 0.65 < 0.75 < scores[1]
    written = pd.read_csv(beside.workspace.submission("beside")).set_index("id")["label"]
    test, answer = _table("t", TEST, 1)
    known = test["age"].notna().to_numpy()
    assert (written[test["id"]].to_numpy() == np.where(answer, "ill", "well"))[known].mean() >= 0.75
    samples = beside.samples
    assert samples.columns is not None
    for fold in beside.folds():
        network, rows = fold.model().network, samples.training_rows(fold.number)
        assert isinstance(network, WithColumns)
        ages = samples.columns[rows, 0]
        assert network.columns.mean.item() == pytest.approx(np.nanmean(ages.astype(float)), rel=1e-6)
        assert network.columns.std.item() == pytest.approx(np.nanstd(ages.astype(float)), rel=1e-6)
    assert beside.hash != without.hash


def test_a_value_that_only_other_folds_have_is_unknown():
    encoder = ColumnEncoder(ColumnShape(1, (3,)))
    encoder.learn(np.array([[1.0, 0], [3.0, 2], [np.nan, 2]], np.float32))
    assert (encoder.mean.item(), encoder.std.item()) == (2.0, 1.0)
    rows = torch.tensor([[3.0, 0], [torch.nan, 1], [2.0, -1], [100.0, 2]])
    expected = [[1, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1], [5, 0, 0, 0, 1, 0]]
    assert encoder.encoded(rows).tolist() == expected
    assert torch.equal(encoder(encoder.missing(2))[0], encoder(torch.tensor([[torch.nan, -1.0]]))[0])
    encoder(rows).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters())


def test_a_column_without_a_single_number_and_no_categories():
    encoder = ColumnEncoder(ColumnShape(2, ()))
    encoder.learn(np.array([[np.nan, 1.0], [np.nan, 1.0]], np.float32))
    assert encoder.mean.tolist() == [0, 1]
    assert torch.isfinite(encoder(torch.tensor([[torch.nan, 1.0]]))).all()


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet18", "timm:convnext_atto"])
def test_a_network_with_columns_is_whole(name):
    """Every parameter learns, has a depth, and predicts alike without columns and with missing ones."""
    options = {"width": 0.125} if name == "resnet18" else {}
    shape = ColumnShape(1, (2, 3))
    model = build_classifier(Model(name, options=options), Outputs(4), columns=shape)
    rows = torch.tensor([[0.5, 1, 2], [torch.nan, -1, 0]])
    pixels = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    model(pixels, rows).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert set(model.layer_depths()) == {name for name, _ in model.named_parameters()}
    assert model.layer_depths()["network.fc.weight"] == 0
    model.eval()
    missing = torch.tensor([[torch.nan, -1.0, -1.0]] * 2)
    assert torch.allclose(model(pixels), model(pixels, missing))


def test_the_hidden_test_sets_table_is_read_as_the_index_was(files):
    describe(files, "accuracy")
    run = go(files, "data.columns=true", "train.epochs=1")
    test = find_test(run.competition, files, files.parent / "hidden")
    index = run.index[run.index["split"] == "test"].set_index("image_id")
    assert test.ids == index.index.tolist()
    assert np.array_equal(test.columns.to_numpy(str), index.loc[test.ids, test.columns.columns].to_numpy(str))
    table = run.index.copy()
    table.loc[table["image_id"] == "t1", "column_sex"] = "another"
    values = column_values(table, run.competition)
    assert values[(table["image_id"] == "t1").to_numpy(), 1] == -1
    assert vocabulary(table, run.competition)[0] == ["female", "male"], "the training images' values alone"


def test_a_changed_table_makes_the_models_stale(files):
    describe(files, "accuracy")
    go(files, "data.columns=true", "train.epochs=1")
    table = pd.read_csv(files / "train.csv")
    table["age"] += 1
    table.to_csv(files / "train.csv", index=False)
    run = Run.open(Experiment.load(files.parent / "configs" / "c.yaml"), Workspace(files.parent))
    download.download(run, files, force=True)
    with pytest.raises(KitError, match="holds a training on other images or weights"):
        go(files, "data.columns=true", "train.epochs=1")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.mixup=0.2"], r"data\.columns: mixup and cutmix mix pictures alone"),
        (["train.mode=features", "data.num_folds=3"], r"train\.mode: features fits heads on the pictures alone"),
    ],
)
def test_what_does_not_go_with_columns_says_so(files, overrides, message):
    describe(files, "accuracy")
    experiment = Experiment.load(files.parent / "configs" / "c.yaml", [*QUICK, "data.columns=true", *overrides])
    with pytest.raises(ConfigError, match=message):
        run_pipeline(experiment, Workspace(files.parent), files)


def test_a_cell_that_is_no_number_is_named(files):
    describe(files, "accuracy")
    table = pd.read_csv(files / "train.csv", dtype=str)
    table.loc[3, "age"] = "old"
    table.to_csv(files / "train.csv", index=False)
    with pytest.raises(KitError, match=r"train\.csv: column 'age' holds old: no number"):
        go(files)


def test_a_competition_without_columns_says_so(files):
    competition = describe(files, "accuracy")
    file = files.parent / "configs" / "competitions" / "c.yaml"
    lines, text = file.read_text().split("\n"), []
    skip = False
    for line in lines:
        skip = line.startswith("columns:") or (skip and line.startswith(" "))
        text += [] if skip else [line]
    file.write_text("\n".join(text))
    assert Competition.load(file).columns is None
    assert competition.columns is not None
    with pytest.raises(ConfigError, match=r"data\.columns: .*c\.yaml: names no `columns`"):
        go(files, "data.columns=true")
