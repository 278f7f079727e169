"""Beside the pipeline: suspects and their corrections, the leaderboard, the ledger."""

import json

import numpy as np
import pandas as pd
import pytest
from kaggle_server import SLUG

pytest.importorskip("cleanlab", reason="the audit needs it")

from kit.data.table import TARGET
from kit.errors import ConfigError, KitError
from kit.pipeline import run_pipeline
from kit.run.run import Run
from kit.stages import ensemble, predict, train
from kit.tools import audit, compare, leaderboard, runs
from kit.workspace import Workspace, read_json, write_json

PLANTED = 8


@pytest.fixture(scope="module")
def finished(tmp_path_factory, digits, tiny):
    """A run on digits of which some have a planted wrong label; which ones stands in wrong.json."""
    import zipfile

    folder = tmp_path_factory.mktemp("planted")
    wrong = {}
    with zipfile.ZipFile(digits / "train.zip") as source, zipfile.ZipFile(folder / "train.zip", "w") as target:
        for number, name in enumerate(sorted(n for n in source.namelist() if n.endswith(".jpg"))):
            label, rest = name.rsplit("/", 1)[-1].split(".", 1)
            other = str((int(label) + 4) % 10) if number % 25 == 0 else label
            if other != label:
                wrong[f"{other}.{rest}".removesuffix(".jpg")] = label
            target.writestr(f"train/{other}.{rest}", source.read(name))
    for file in ("test1.zip", "sampleSubmission.csv"):
        (folder / file).write_bytes((digits / file).read_bytes())
    experiment = tiny("name=planted", "train.epochs=18", "model.options.width=0.25", "data.num_folds=3")
    workspace = Workspace(tmp_path_factory.mktemp("ledger"))
    run_pipeline(experiment, workspace, folder)
    assert len(wrong) == PLANTED
    return experiment, workspace, wrong


def test_the_audit_finds_planted_wrong_labels(finished):
    _experiment, workspace, wrong = finished
    result = audit.audit(Run.named("planted", workspace))
    table = pd.read_csv(result.suspects, dtype=str)
    assert list(table.columns) == ["image_id", "path", "target", "suggested", "score", "reason", "kind"]
    assert result.figure.is_file()
    first = table.head(2 * PLANTED)
    found = first[first["image_id"].isin(wrong)]
    assert len(found) >= PLANTED - 2
    assert (found["suggested"] == found["image_id"].map(wrong)).mean() > 0.6
    assert (workspace.raw("digits") / table["path"].iloc[0]).is_file()


def test_twins_with_other_labels_are_suspects(finished):
    _experiment, workspace, _ = finished
    path = workspace.index("digits")
    kept, stamp = path.read_bytes(), (path.with_name(".index.json"))
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    train_rows = table.index[table["split"] == "train"]
    folds = pd.read_csv(workspace.run("planted") / "folds.csv", dtype={"image_id": str}).set_index("image_id")["fold"]
    same = [row for row in train_rows if folds[table.loc[row, "image_id"]] == 0]
    one = same[0]
    other = next(row for row in same if table.loc[row, TARGET] != table.loc[one, TARGET])
    table.loc[other, "group"] = table.loc[one, "group"]
    try:
        table.to_csv(path, index=False)
        copy = workspace.run("planted") / "folds.csv"
        before = copy.read_bytes()
        suspects = pd.read_csv(audit.audit(Run.named("planted", workspace)).suspects, dtype=str)
        assert copy.read_bytes() == before
    finally:
        path.write_bytes(kept)
    pair = suspects[suspects["kind"] == "contradicting"]
    assert set(pair["image_id"]) == {table.loc[one, "image_id"], table.loc[other, "image_id"]}
    assert pair["reason"].str.startswith("near-identical to ").all()
    assert stamp.is_file()


def test_corrections_are_replayed_and_leave_the_rest_alone(finished, tiny, tmp_path):
    _experiment, workspace, wrong = finished
    ids = list(wrong)
    rows = [{"image_id": ids[0], "action": "drop", "target": ""}]
    rows += [{"image_id": name, "action": "relabel", "target": wrong[name]} for name in ids[1:-1]]
    rows += [{"image_id": ids[-1], "action": "fine", "target": ""}]
    pd.DataFrame(rows).to_csv(tmp_path / "corrections.csv", index=False)
    settings = ("train.epochs=3", "model.options.width=0.25", "data.num_folds=3")
    corrected = tiny("name=corrected", f"data.corrections={tmp_path / 'corrections.csv'}", *settings)
    train.train(Run.open(corrected, workspace))
    predict.predict(Run.open(corrected, workspace))
    ensemble.ensemble([Run.open(corrected, workspace)])
    old, new = (
        pd.read_csv(workspace.run(n) / "oof.csv", dtype={"image_id": str, TARGET: str})
        for n in ("planted", "corrected")
    )
    both = old.merge(new, on="image_id", suffixes=("", "_new"))
    assert set(old["image_id"]) == set(new["image_id"]), "what is dropped is not learned, and scored all the same"
    assert (both["fold"] == both["fold_new"]).all()
    assert (both[TARGET] == both[f"{TARGET}_new"]).all(), "scored by the labels that were given"
    cv, plain = (json.loads((workspace.run(n) / "cv.json").read_text()) for n in ("corrected", "planted"))
    assert cv["num_images"] == plain["num_images"]
    assert cv["untouched"]["num_images"] == len(old) - len(ids) + 1
    untouched = new[~new["image_id"].isin(ids[:-1])]
    right = untouched[[f"prob_{k}" for k in range(10)]].to_numpy().argmax(1) == untouched[TARGET].astype(int)
    assert cv["untouched"]["score"] == pytest.approx(right.mean())
    assert plain["untouched"] is None
    samples = Run.named("corrected", workspace).samples
    learned = set(np.concatenate([samples.training_rows(fold) for fold in (0, 1, 2, "full")]))
    assert set(samples.index["image_id"].iloc[sorted(learned)]) == set(old["image_id"]) - {ids[0]}
    result = compare.compare(Run.named("planted", workspace), Run.named("corrected", workspace))
    assert result.num_images == len(old) - len(ids) + 1, "judged on labels that nobody changed"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("nobody,drop,", "1 id not of the training images (nobody)"),
        ("{id},relabel,horse", "column 'target': horse is not one of 0, 1, 2"),
        ("{id},burn,", "column 'action': 'burn' is not one of drop, relabel, fine"),
    ],
)
def test_wrong_corrections_are_one_line(row, message, finished, tiny, tmp_path):
    _experiment, workspace, wrong = finished
    file = tmp_path / "corrections.csv"
    file.write_text("image_id,action,target\n" + row.format(id=next(iter(wrong))) + "\n")
    with pytest.raises(KitError, match=message.replace("(", r"\(").replace(")", r"\)")) as caught:
        train.train(Run.open(tiny("name=wrong", f"data.corrections={file}", "data.num_folds=3"), workspace))
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"nowhere\.csv: no such file"):
        train.train(Run.open(tiny("name=wrong", "data.corrections=nowhere.csv", "data.num_folds=3"), workspace))


def test_a_leaderboard_of_ones_own_and_the_rank_to_expect(finished, tmp_path, capsys):
    experiment, workspace, _ = finished
    board = tmp_path / "board.csv"
    pd.DataFrame({"TeamName": "x", "Score": np.linspace(0.2, 1.0, 1200)}).to_csv(board, index=False)
    result = leaderboard.leaderboard(Run.open(experiment, workspace), board)
    assert result.teams == 1200
    assert result.medals["gold"] == pytest.approx(1.0 - 11 * 0.8 / 1199)
    capsys.readouterr()
    ensemble.ensemble([Run.open(experiment, workspace)])
    said = capsys.readouterr().out
    assert "of 1,200" in said
    assert "at least gold" in said
    workspace.leaderboard("digits").unlink()
    pd.DataFrame({"Team": ["x"]}).to_csv(board, index=False)
    with pytest.raises(KitError, match=r"board\.csv: has no column 'score' \(found Team\)"):
        leaderboard.leaderboard(Run.open(experiment, workspace), board)


def test_kaggles_leaderboard_is_read_page_by_page(tiny, workspace, kaggle, connect):
    kaggle.teams = [(f"team {n}", f"{0.99 - n / 100:.2f}") for n in range(5)]
    assert connect().leaderboard(SLUG) == [(name, float(score)) for name, score in kaggle.teams]


def test_the_ledger_lists_runs_and_draws_cv_against_lb(finished):
    _experiment, workspace, _ = finished
    passport = workspace.submission("planted").with_suffix(".json")
    facts = read_json(passport)
    write_json(passport, facts | {"kaggle": [{"public_score": "0.91234"}]})
    other = facts | {"kaggle": [{"public_score": "0.95"}], "made": "2027-01-01T00:00:00+00:00"}
    write_json(workspace.submission("elsewhere").with_suffix(".json"), other)
    broken = workspace.run("broken") / "experiment.yaml"
    broken.parent.mkdir()
    broken.write_text("name: broken\ncompetition: nowhere\n")
    lines = runs.runs(workspace)
    assert "broken" not in {line.name for line in lines}, "it hides none of the others"
    assert lines[-1].name == "elsewhere", "the latest last"
    line = next(line for line in lines if line.name == "planted")
    assert (line.competition, line.metric, line.lb) == ("digits", "accuracy", 0.91234)
    assert line.cv == json.loads((workspace.run("planted") / "cv.json").read_text())["metrics"]["accuracy"]["pooled"]
    assert line.minutes > 0
    assert len(line.experiment) == 8
    assert (workspace.figures("digits") / "cv-against-lb.png").is_file()
