"""Another team's predictions in a blend: kit ensemble RUN --with NAME=OOF.csv,TEST.csv."""

import hashlib
import json
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kit.data.table import TARGET
from kit.errors import ConfigError, KitError
from kit.pipeline import run_pipeline
from kit.run.run import Run
from kit.settings import Ensemble
from kit.stages.ensemble import ensemble

CLASSES = [str(number) for number in range(10)]


@pytest.fixture(scope="module")
def run(tmp_path_factory, digits, tiny) -> Run:
    place = tmp_path_factory.mktemp("friends")
    experiment = tiny("data.num_folds=3", "train.epochs=5", "train.learning_rate=0.01")
    run_pipeline(experiment, place, digits)
    return Run.named("tiny", place)


@pytest.fixture
def hand_out(run, digits, tmp_path):
    """Writes a friend's two files: right by `margin` of the logits' noise, as they would be handed round."""
    oof = pd.concat([fold.oof() for fold in run.folds()])
    solution = pd.read_csv(digits / "solution.csv", dtype=str).set_index("id")["label"]
    test_ids = run.fold(0).test()["image_id"].tolist()

    def write(name: str, margin: float, folds: bool = True, change=lambda table: table) -> str:
        rng, files = np.random.default_rng(zlib.crc32(name.encode())), []
        for kind, ids, labels in (
            ("oof", oof["image_id"].tolist(), oof[TARGET].tolist()), ("test", test_ids, solution[test_ids].tolist())
        ):  # fmt: skip
            logits = rng.normal(0, 1, (len(ids), 10)) + margin * np.eye(10)[[int(one) for one in labels]]
            probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            table = pd.DataFrame(probs, columns=CLASSES)
            table.insert(0, "id", ids)
            if kind == "oof" and folds:
                table["fold"] = oof["fold"].tolist()
            files.append(tmp_path / f"{name}-{kind}.csv")
            change(table.sample(frac=1, random_state=1)).to_csv(files[-1], index=False)
        return f"{name}={files[0]},{files[1]}"

    return write


def _facts(run, name: str = "tiny-blend") -> dict:
    return json.loads(run.workspace.submission(name).with_suffix(".json").read_text())


def _accuracy(run, digits, name: str) -> float:
    rows = pd.read_csv(run.workspace.submission(name), dtype=str)
    solution = pd.read_csv(digits / "solution.csv", dtype=str)
    return float((rows.merge(solution, on="id", suffixes=("", "_true")).eval("label == label_true")).mean())


def test_a_friend_whose_errors_are_his_own_makes_the_blend_better(run, digits, hand_out, capsys):
    ensemble([run], "alone")
    friend = hand_out("mike", 2.0)
    result = ensemble([run], "tiny-blend", friends=[friend])
    facts = _facts(run)
    ours, mikes = facts["members"]
    assert (ours["run"], mikes["run"], mikes["friend"], "friend" in ours) == ("tiny", "mike", True, False)
    assert mikes["weight"] > 0.2
    assert result.cv > max(one["score"] for one in facts["members"])
    assert _accuracy(run, digits, "tiny-blend") > _accuracy(run, digits, "alone")
    path = Path(friend.partition("=")[2].partition(",")[0])
    assert hashlib.sha256(path.read_bytes()).hexdigest() in mikes["inputs"].values()
    assert "mike: the same folds as tiny" in capsys.readouterr().out


def test_a_friend_of_noise_gets_no_weight(run, hand_out):
    ensemble([run], "tiny-blend", friends=[hand_out("noise", 0.0)])
    assert [one["weight"] for one in _facts(run)["members"]] == [1.0, 0.0]


def test_what_the_folds_of_a_friend_hide_is_said(run, hand_out, capsys):
    ensemble([run], "tiny-blend", friends=[hand_out("mike", 2.0, folds=False)])
    assert (
        "has no column 'fold': that each prediction is by a model that never saw its image" in capsys.readouterr().out
    )
    others = hand_out("mike", 2.0, change=lambda table: table.assign(fold=np.arange(len(table)) % 4))
    ensemble([run], "tiny-blend", friends=[others])
    assert "mike: other folds than tiny's (4 of them)" in capsys.readouterr().out


def test_what_the_kit_leaves_is_what_a_friend_hands_round(run, digits, tmp_path):
    """Another workspace's oof.csv and test.csv; an equal friend changes nothing."""
    folder = run.files.folder
    result = ensemble([run], "tiny-blend", Ensemble(blend="mean"), [f"twin={folder}/oof.csv,{folder}/test.csv"])
    assert result.cv == ensemble([run], "kept").cv
    assert run.workspace.submission("tiny-blend").read_bytes() == run.workspace.submission("kept").read_bytes()


def test_the_kits_own_tables_and_ids_with_an_ending(run, hand_out):
    own = {"id": "image_id", **{name: f"prob_{name}" for name in CLASSES}}
    plain = ensemble([run], "tiny-blend", friends=[hand_out("mike", 2.0)])
    assert (
        ensemble([run], "tiny-blend", friends=[hand_out("mike", 2.0, change=lambda t: t.rename(columns=own))]) == plain
    )
    ends = hand_out("mike", 2.0, change=lambda table: table.assign(id=table["id"].astype(str) + ".png"))
    assert ensemble([run], "tiny-blend", friends=[ends]) == plain


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.iloc[5:], r"mike-oof\.csv: 5 of 200 images have no row"),
        (lambda t: t.assign(id=[f"x{k}" for k in range(len(t))]), r"200 of 200 images have no row \(.*; it has x0, x1"),
        (lambda t: pd.concat([t, t.iloc[:2]]), "column 'id': 2 images with two rows"),
        (lambda t: t.rename(columns={"id": "key"}), "no column 'id' that names the images"),
        (
            lambda t: t[["id"]].assign(label="3"),
            r"expected a column per class \(0, 1, 2, 3 and 6 more\).*there is label",
        ),
        (lambda t: t.drop(columns="7"), r"expected a column per class"),
        (lambda t: t.assign(**{"4": "cat"}), "column '4' holds 'cat': expected probabilities, not labels"),
        (lambda t: t.assign(**{"4": np.nan}), "column '4' holds '': expected probabilities"),
        (
            lambda t: t.assign(**{"4": 7.5}),
            r"values from \S+ to 7\.5: expected probabilities; of logits take the softmax",
        ),
        (lambda t: t.assign(**{"4": 0.9}), r"rows sum to .* expected probabilities that sum to 1"),
        (lambda t: t.assign(**{name: int(name == "3") for name in CLASSES}), "holds 0 and 1 alone: labels"),
    ],
)
def test_what_does_not_fit_is_one_line_and_changes_nothing(run, hand_out, change, message):
    ensemble([run], "kept")
    before = run.workspace.submission("kept").read_bytes()
    with pytest.raises(KitError, match=message) as raised:
        ensemble([run], "kept", friends=[hand_out("mike", 2.0, change=change)])
    assert "\n" not in str(raised.value)
    assert run.workspace.submission("kept").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("mike", "expected --with NAME=OOF.csv,TEST.csv"), ("mike=oof.csv", "expected --with NAME=OOF.csv,TEST.csv"),
        ("m/e=a.csv,b.csv", "'m/e': expected letters"), ("mike=none.csv,none.csv", "none.csv: no such file"),
    ],
)  # fmt: skip
def test_a_friend_is_given_by_name_and_two_files(run, given, message):
    with pytest.raises(KitError, match=message):
        ensemble([run], friends=[given])


def test_two_members_of_one_name(run, hand_out):
    with pytest.raises(ConfigError, match="two members of the blend are called tiny: --with ANOTHER="):
        ensemble([run], friends=[hand_out("tiny", 2.0)])
