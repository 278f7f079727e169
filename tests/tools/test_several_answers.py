"""Several answers an image, from files to a valid submission: numbers in columns, a row per image and class."""

from pathlib import Path

import drawn
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from quick import QUICK, describe, go

from kit.competition import Competition
from kit.config import Experiment
from kit.data.table import predictions
from kit.errors import ConfigError, KitError
from kit.metrics import find_metric, spelled
from kit.pipeline import run_pipeline
from kit.run.run import Run
from kit.stages import submit
from kit.workspace import Workspace

NUM, TEST = 60, 6
COLOURS = ("red", "blue.part")


def _brightness(split: str, count: int) -> np.ndarray:
    """(count, 2) in 0..1: of red and of blue."""
    return np.random.default_rng(len(split)).random((count, 2))


@pytest.fixture
def files(tmp_path) -> Path:
    """Pictures of one colour: train/a0.png ..., test/t0.png ..."""
    folder = tmp_path / "files"
    for split, letter, count in (("train", "a", NUM), ("test", "t", TEST)):
        (folder / split).mkdir(parents=True)
        for k, (red, blue) in enumerate(_brightness(split, count)):
            picture = np.random.default_rng(k).random((24, 24, 3)) * 20 + [red * 200, 100, blue * 200]
            data = drawn.encoded(Image.fromarray(picture.astype(np.uint8)), ".png")
            (folder / split / f"{letter}{k}.png").write_bytes(data)
    return folder


def _run(folder: Path, metric: str) -> tuple[Run, Competition]:
    competition = describe(folder, metric)
    return go(folder), competition


def test_several_numbers_go_the_whole_way(files):
    """Each is learned in its own units; the sample's columns, in its order."""
    levels = _brightness("train", NUM) * [1.0, 1000.0]
    table = pd.DataFrame(levels, columns=list(COLOURS)).assign(id=[f"a{k}" for k in range(NUM)], note="x")
    table.loc[3, "red"] = np.nan  # not known
    table.to_csv(files / "train.csv", index=False)
    ids = [f"t{k}" for k in range(TEST)]
    pd.DataFrame({"id": ids, "blue.part": 0.0, "red": 0.0}).to_csv(files / "all_zeros_benchmark.csv", index=False)
    run, competition = _run(files, "mean columnwise RMSE")
    assert (competition.task, competition.submission.format, competition.metric) == ("number", "numbers", "mcrmse")
    assert competition.labels.columns == ("blue.part", "red")
    written = pd.read_csv(run.workspace.submission("c"))
    assert list(written) == ["id", "blue.part", "red"]
    truth = _brightness("test", TEST) * [1.0, 1000.0]
    for column, name in enumerate(COLOURS):
        assert np.corrcoef(written[name], truth[:, column])[0, 1] > 0.8
        assert np.abs(written[name] - truth[:, column]).mean() < 0.25 * truth[:, column].max()
    oof = pd.read_csv(run.files.oof)
    assert len(oof) == NUM - 1, "an image whose numbers are not all known is neither learned nor scored"
    scored = competition.scoring.measure(oof[competition.targets].to_numpy(), predictions(oof, competition))
    errors = (oof[competition.targets].to_numpy() - predictions(oof, competition)) ** 2
    assert scored == pytest.approx(np.sqrt(errors.mean(axis=0)).mean())
    assert (run.files.figures / "predicted.png").is_file()
    broken = written.assign(red="much")
    broken.to_csv(files.parent / "broken.csv", index=False)
    with pytest.raises(KitError, match=r"6 rows without a number"):
        submit.submit(run, files.parent / "broken.csv", dry_run=True)


def test_columns_that_have_an_ending_in_the_labels(files):
    """`X4_mean` is asked for as `X4`; with `X4_sd` beside it, the user is asked."""
    levels = _brightness("train", NUM)
    table = pd.DataFrame(levels, columns=["X4_mean", "X11_mean"]).assign(id=[f"a{k}" for k in range(NUM)])
    table.to_csv(files / "train.csv", index=False)
    sample = pd.DataFrame({"id": [f"t{k}" for k in range(TEST)], "X11": 1.5, "X4": 1.5})
    sample.to_csv(files / "sample_submission.csv", index=False)
    assert describe(files, "r2").labels.rename == {"X11_mean": "X11", "X4_mean": "X4"}
    table.assign(X4_sd=0.1, X11_sd=0.1).to_csv(files / "train.csv", index=False)
    with pytest.raises(
        ConfigError, match=r"labels\.rename=_mean \('X11' is their 'X11_mean'\); --set labels\.rename=_sd"
    ):
        describe(files, "r2")
    competition = describe(files, "r2", "labels.rename=_mean")
    assert competition.labels.columns == ("X11", "X4")
    written = pd.read_csv(go(files).workspace.submission("c"))
    truth = _brightness("test", TEST)
    assert list(written) == ["id", "X11", "X4"]
    for column, name in enumerate(("X4", "X11")):
        assert np.corrcoef(written[name], truth[:, column])[0, 1] > 0.8


def test_metrics_of_several_numbers():
    truth, said = np.array([[0.0, 10.0], [2.0, 30.0]]), np.array([[1.0, 10.0], [2.0, 20.0]])
    assert find_metric("rmse").measure(truth, said) == pytest.approx(np.sqrt((1 + 100) / 4))
    assert find_metric("mcrmse").measure(truth, said) == pytest.approx((np.sqrt(1 / 2) + np.sqrt(100 / 2)) / 2)
    assert find_metric("r2").measure(truth, said) == pytest.approx(((1 - 1 / 2) + (1 - 100 / 200)) / 2)
    assert find_metric("spearman").measure(truth, said) == pytest.approx(1.0)
    for words in ("MCRMSE", "Mean Columnwise Root Mean Squared Error", "mean column-wise RMSE"):
        assert [metric.name for metric in spelled(words)] == ["mcrmse"]


def _long(ids, answers, names=("deep", "any_kind"), header="ID,Label") -> str:
    rows = [
        f"{i}_{name},{value}"
        for i, row in zip(ids, answers, strict=True)
        for name, value in zip(names, row, strict=True)
    ]
    return f"{header}\n" + "\n".join(rows) + "\n"


def test_a_row_per_image_and_class_goes_the_whole_way(files):
    """On the way in, shuffled and with a row twice, and on the way out in the sample's order."""
    labels = (_brightness("train", NUM) > 0.5).astype(int)
    lines = _long([f"a{k}" for k in range(NUM)], labels).splitlines()
    order = np.random.default_rng(0).permutation(len(lines) - 1)
    (files / "train.csv").write_text("\n".join([lines[0], *(lines[1:][k] for k in order), lines[1]]) + "\n")
    sample = _long([f"t{k}" for k in range(TEST)], np.full((TEST, 2), 0.5)).splitlines()
    (files / "sample_submission.csv").write_text("\n".join([sample[0], *sample[:0:-1]]) + "\n")
    run, competition = _run(files, "log loss")
    assert (competition.task, competition.labels.joined, competition.submission.joined) == ("labels", "_", "_")
    assert set(competition.classes) == {"deep", "any_kind"}
    index = run.index[run.index["split"] == "train"].set_index("image_id")
    known = index.loc[[f"a{k}" for k in range(NUM)], ["target_deep", "target_any_kind"]].astype(int).to_numpy()
    assert np.array_equal(known, labels)
    written = pd.read_csv(run.workspace.submission("c"))
    assert written["ID"].tolist() == [line.split(",")[0] for line in sample[:0:-1]]
    value = written.set_index("ID")["Label"]
    said = np.array([[value[f"t{k}_deep"], value[f"t{k}_any_kind"]] for k in range(TEST)])
    truth = _brightness("test", TEST)
    assert np.mean((said > 0.5) == (truth > 0.5)) > 0.7
    assert submit.submit(run, dry_run=True).num_rows == 2 * TEST
    written.drop(index=3).to_csv(files.parent / "short.csv", index=False)
    with pytest.raises(KitError, match=r"1 id of the sample missing"):
        submit.submit(run, files.parent / "short.csv", dry_run=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.replace("a3_deep", "a3_depth"), r"column 'ID' holds 'a3_depth': expected an id, '_' and one of"),
        (lambda t: t + "a3_deep,0\na3_deep,1\n", r"holds 'a3_deep': expected .* once or alike"),
        (lambda t: t.replace("ID,", "Id,"), r"no column 'ID'.*labels\.id_column"),
    ],
)  # fmt: skip
def test_wrong_rows_are_one_line(files, spoil, message):
    labels = (_brightness("train", NUM) > 0.5).astype(int)
    text = _long([f"a{k}" for k in range(NUM)], labels)
    (files / "train.csv").write_text(text)
    (files / "sample_submission.csv").write_text(_long([f"t{k}" for k in range(TEST)], np.full((TEST, 2), 0.5)))
    describe(files, "log_loss")
    (files / "train.csv").write_text(spoil(text))
    with pytest.raises(KitError, match=message):
        run_pipeline(Experiment.load(files.parent / "configs" / "c.yaml", QUICK), Workspace(files.parent), files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "classes", "labels": {"layout": "csv", "classes": ["a", "b"], "columns": ["x"]}}, "labels.columns"),
        ({"labels": {"layout": "csv", "columns": ["x", "x"]}}, "appears twice"),
        ({"submission": {"format": "number"}}, "does not fit labels.columns: 2"),
        ({"submission": {"format": "numbers", "joined": "_", "column": None}}, "submission.column: missing"),
        ({"labels": {"layout": "csv", "joined": "_"}, "submission": {"format": "number"}}, "labels.joined"),
    ],
)  # fmt: skip
def test_a_contradiction_names_its_key(tmp_path, change, message):
    from kit.schema import dump_yaml

    raw = {
        "name": "c", "title": "C", "files": {"train": ["train"], "test": ["test"], "train_labels": ["train.csv"]},
        "task": "number", "labels": {"layout": "csv", "columns": ["x", "y"]}, "metric": "rmse",
        "submission": {"format": "numbers"},
    } | change  # fmt: skip
    (tmp_path / "c.yaml").write_text(dump_yaml(raw))
    with pytest.raises(ConfigError, match=message):
        Competition.load(tmp_path / "c.yaml")
