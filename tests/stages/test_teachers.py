"""Runs that build on runs: a start, a teacher, members of a blend. None of them may see what scores a fold."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from by_name import fold_folder
from typer.testing import CliRunner

from kit.cli import app
from kit.cli.pipeline import _submit_command
from kit.config import Experiment
from kit.data.table import predictions
from kit.errors import ConfigError, KitError
from kit.pipeline import run_pipeline
from kit.run.member import read_member
from kit.run.network import Networks
from kit.run.run import Run
from kit.run.training_set import training_set
from kit.schema import dump_yaml, to_mapping
from kit.stages import download, index, predict, split, train
from kit.tools import lr_find
from kit.training.checkpoint import load_model
from kit.workspace import Workspace


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, digits, tiny):
    """A trained and predicted run; tests add runs of their own beside it."""
    experiment = tiny("name=teacher", "train.epochs=12")
    workspace = Workspace(tmp_path_factory.mktemp("teacher"))
    download.download(Run.open(experiment, workspace), digits)
    index.index(Run.open(experiment, workspace))
    split.split(Run.open(experiment, workspace))
    train.train(Run.open(experiment, workspace))
    predict.predict(Run.open(experiment, workspace))
    return workspace


def test_a_fold_starts_where_the_other_runs_fold_ended(teacher, tiny, capsys):
    experiment = tiny("name=second", "model.start=teacher", "train.epochs=1")
    run = Run.open(experiment, teacher)
    for fold in (0, 1):
        model = Networks(run).model(run.fold(fold))
        weights, _ = load_model(fold_folder(teacher, "teacher", fold) / "model.safetensors")
        assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    result = train.train(Run.open(experiment, teacher))
    assert min(result.scores.values()) > 0.3
    capsys.readouterr()
    assert train.train(Run.open(experiment, teacher), force=True).scores == result.scores
    assert "2 epochs of 100 images to go" in capsys.readouterr().out, "trained anew, they are announced"
    assert not train.train(Run.open(experiment, teacher), force=True, max_hours=0).finished
    assert "Type the same command without --force to go on" in " ".join(capsys.readouterr().out.split())
    assert train.train(Run.open(experiment, teacher)).scores == result.scores


def test_without_epochs_a_run_is_another_way_to_look_through_the_same_models(teacher, tiny, capsys):
    """A TTA set as a member of a blend: nothing is trained, each fold predicts with the start's model of that fold."""
    plain = tiny("name=looked", "model.start=teacher", "train.epochs=0")
    flipped = tiny("name=flipped", "model.start=teacher", "train.epochs=0", "tta.views=[identity, hflip]")
    for experiment in (plain, flipped):
        train.train(Run.open(experiment, teacher))
        predict.predict(Run.open(experiment, teacher))
    runs = [Run.named(name, teacher) for name in ("teacher", "looked", "flipped")]
    own, same, other = (read_member(run) for run in runs)
    competition = runs[0].competition
    assert np.allclose(predictions(own.oof, competition), predictions(same.oof, competition), atol=2e-3)
    assert not np.allclose(predictions(own.oof, competition), predictions(other.oof, competition), atol=2e-2)
    capsys.readouterr()
    train.train(Run.open(plain, teacher))
    assert capsys.readouterr().out.count("is up to date") == 2
    for settings in ("train.epochs=0", "model.start=teacher data.mean=[0,0,0] data.std=[1,1,1]"):
        with pytest.raises(ConfigError, match=r"name one, or train|bring their own"):
            tiny("name=wrong", *settings.split())


def test_a_teachers_labels_come_from_the_folds_own_model(teacher, tiny):
    """Plant another answer in fold 1's teacher: fold 0's labels do not notice."""
    run = Run.open(tiny("name=pupil", "train.pseudo_run=teacher", "train.pseudo_threshold=0.3"), teacher)
    made, index = training_set(run.fold(0)), run.samples.index
    assert len(made.pseudo) > 5
    assert (index["split"].iloc[made.pseudo] == "test").all()
    probs = run.earlier("teacher").fold(0).test().set_index("image_id")
    expected = probs.loc[index["image_id"].iloc[made.pseudo]].to_numpy()
    assert (expected.max(axis=1) >= 0.3).all()
    assert np.array_equal(made.samples.targets[made.pseudo], expected.argmax(axis=1))
    assert (run.training_samples.targets[made.pseudo] == -1).all(), "what the other folds share is as it was"
    other = fold_folder(teacher, "teacher", 1) / "test.csv"
    kept, second = other.read_bytes(), training_set(run.fold(1)).samples.targets
    try:
        table = pd.read_csv(other, dtype={"image_id": str})
        table.iloc[:, 1:] = np.roll(table.iloc[:, 1:].to_numpy(), 1, axis=1)
        table.to_csv(other, index=False)
        assert np.array_equal(training_set(run.fold(0)).samples.targets, made.samples.targets)
        assert not np.array_equal(training_set(run.fold(1)).samples.targets, second)
    finally:
        other.write_bytes(kept)


def test_pseudo_labels_are_told_and_only_of_this_competition(teacher, tiny, tmp_path, capsys):
    experiment = tiny("name=few", "train.pseudo_run=teacher", "train.pseudo_threshold=0.3", "train.epochs=1")
    train.train(Run.open(experiment, teacher), [0])
    told = re.search(r"fold 0: (\d+) test images teacher is confident about: 0 \d", capsys.readouterr().out)
    assert int(told[1]) > 5
    train.train(
        Run.open(tiny("name=none", "train.pseudo_run=teacher", "train.pseudo_threshold=1", "train.epochs=1"), teacher),
        [0],
    )
    said = capsys.readouterr()
    assert "no test image reaches train.pseudo_threshold 1" in said.out + said.err
    stranger = tmp_path / "stranger.yaml"
    described = Path("configs/competitions/digits.yaml").read_text()
    stranger.write_text(described.replace("name: digits", "name: stranger"))
    raw = (teacher.run("teacher") / "experiment.yaml").read_text()
    other = teacher.run("elsewhere")
    shutil.copytree(teacher.run("teacher"), other)
    (other / "experiment.yaml").write_text(raw.replace("competition: digits", f"competition: {stranger}"))
    pupil = tiny("name=pupil", "train.pseudo_run=elsewhere", "train.pseudo_threshold=0.3")
    with pytest.raises(ConfigError, match="run elsewhere is for stranger, not digits"):
        training_set(Run.open(pupil, teacher).fold(0))
    shutil.rmtree(other)


def test_a_cv_of_weights_picked_by_the_scored_images_says_so(teacher, tiny, capsys):
    """Also where it was the start that was picked."""
    for name, changes, reason in (
        ("picked", ["train.select=best"], "picked: train.select is best"),
        ("stopped", ["train.early_stopping=1"], "stopped: train.early_stopping stops each fold by its own loss"),
        ("heir", ["model.start=picked"], "heir: model.start is picked, and there train.select is best"),
        ("plain", [], None),
    ):
        experiment = tiny(f"name={name}", "train.epochs=2", *changes)
        train.train(Run.open(experiment, teacher), [0])
        predict.predict(Run.open(experiment, teacher), [0])
        capsys.readouterr()
        read_member(Run.named(name, teacher))
        said = "".join(capsys.readouterr())
        assert ("optimistic CV" in said) == (reason is not None)
        assert reason is None or reason in " ".join(said.split())


def test_a_test_image_like_one_that_scores_the_fold_is_no_lesson(teacher, tiny):
    run = Run.open(tiny("name=pupil", "train.pseudo_run=teacher", "train.pseudo_threshold=0.1"), teacher)
    first, samples = training_set(run.fold(0)).pseudo, run.training_samples
    samples.index.loc[first[0], "group"] = samples.index["group"].iloc[samples.scored_rows(0)[0]]
    assert np.array_equal(training_set(run.fold(0)).pseudo, first[1:])


@pytest.mark.parametrize("key", ["model.start", "train.pseudo_run"])
def test_other_folds_are_refused(key, teacher, tiny):
    experiment = tiny(f"name=stranger-{key}", f"{key}=teacher", "data.split_seed=7")
    split.split(Run.open(experiment, teacher))
    with pytest.raises(KitError, match="its models saw images that score this run's folds"):
        train.train(Run.open(experiment, teacher))
    with pytest.raises(KitError, match=r"nobody: no such run; train nobody first"):
        train.train(Run.open(tiny(f"name=alone-{key}", f"{key}=nobody"), teacher))


def test_runs_of_several_seeds_may_share_their_folds(teacher, tiny):
    experiment = tiny("name=seed1", "seed=1", "data.split_seed=0", "train.epochs=1")
    train.train(Run.open(experiment, teacher), [0])
    one, two = ((teacher.run(name) / "folds.csv").read_bytes() for name in ("teacher", "seed1"))
    assert one == two
    models = [fold_folder(teacher, name, 0) / "model.safetensors" for name in ("teacher", "seed1")]
    first, second = (load_model(file)[0] for file in models)
    assert not torch.equal(first["network.conv1.weight"], second["network.conv1.weight"])


def test_progressive_sizes_change_the_pictures_not_the_validation(teacher, tiny):
    experiment = tiny("name=growing", "train.sizes=[[0, 8], [1, 16]]", "train.epochs=2")
    run = Run.open(experiment, teacher)
    feed = Networks(run).feed(run.fold(0))
    assert [next(feed.batches(epoch, 0)).pixels.shape[-1] for epoch in (0, 1)] == [8, 16]
    assert next(iter(feed.validation())).pixels.shape[-1] == 16
    assert train.train(Run.open(experiment, teacher), [0]).finished


def _write_config(folder, experiment, **changes):
    raw = {key: value for key, value in to_mapping(experiment).items() if key != "members"} | changes
    (folder / f"{raw['name']}.yaml").write_text(dump_yaml(raw))


def test_one_command_for_all_members_and_their_blend(tmp_path, tiny, digits):
    """Two members, one a frozen network's heads; then the same config again: nothing is done twice."""
    quick = ("data.num_folds=3", "train.epochs=4", "train.head_l2=[0.01, 0.1]")
    _write_config(tmp_path, tiny(*quick, "name=one"))
    _write_config(tmp_path, tiny(*quick, "name=two", "train.mode=features"))
    _write_config(tmp_path, tiny(*quick, "name=both"), members=["one.yaml", "two.yaml"], ensemble={"blend": "mean"})
    workspace = Workspace(tmp_path / "w")
    experiment = Experiment.load(tmp_path / "both.yaml", ["train.epochs=3"])
    assert [(one.name, one.train.epochs) for one in experiment.members] == [("one", 3), ("two", 3)]
    result = run_pipeline(experiment, workspace, digits)
    assert result.submission == workspace.submission("both")
    passport = json.loads(result.passport.read_text())
    assert [member["run"] for member in passport["members"]] == ["one", "two"]
    assert [member["weight"] for member in passport["members"]] == [0.5, 0.5]
    assert (workspace.run("both") / "figures" / "reliability.png").is_file()
    sub = [pd.read_csv(fold_folder(workspace, name, fold) / "test.csv") for name in ("one", "two") for fold in range(3)]
    mean = np.mean([table.iloc[:, 1:].to_numpy() for table in sub], axis=0)
    handed_in = pd.read_csv(result.submission)
    assert handed_in.iloc[:, 1].tolist() == mean.argmax(axis=1).tolist()
    before = result.submission.read_bytes()
    again = CliRunner().invoke(app, ["ensemble", "-c", str(tmp_path / "both.yaml"), "--workspace", str(workspace.root)])
    assert again.exit_code == 0, again.output
    assert result.submission.read_bytes() == before, "a blend's config names its runs"


def test_a_blend_of_another_name_has_members_of_its_own(tmp_path, tiny):
    """So one may change what they are beside those that are there."""
    _write_config(tmp_path, tiny("name=one"))
    _write_config(tmp_path, tiny("name=two", "model.start=one"))
    _write_config(tmp_path, tiny("name=both"), members=["one.yaml", "two.yaml"])
    overrides = ["train.epochs=3", "name=other"]
    members = Experiment.load(tmp_path / "both.yaml", overrides).members
    assert [(one.name, one.model.start) for one in members] == [("other-one", None), ("other-two", "other-one")]
    _write_config(tmp_path, tiny("name=top"), members=["both.yaml"])
    with pytest.raises(ConfigError, match="both is a blend itself"):
        Experiment.load(tmp_path / "top.yaml")
    _write_config(tmp_path, tiny("name=circle"), members=["circle.yaml"])
    with pytest.raises(ConfigError, match="circle is a blend itself"):
        Experiment.load(tmp_path / "circle.yaml")
    _write_config(tmp_path, tiny("name=wrong"), members=[1])
    with pytest.raises(ConfigError, match=r"members: expected a list of configs, got \[1\]"):
        Experiment.load(tmp_path / "wrong.yaml")
    with pytest.raises(ConfigError, match="a run's name consists of letters, digits"):
        tiny("name=" + "long" * 24).seeded("10")
    with pytest.raises(ConfigError, match="both is a blend; name one of one, two"):
        lr_find.lr_find(Run.open(Experiment.load(tmp_path / "both.yaml"), Workspace(tmp_path)))


def test_what_is_typed_next_names_the_file_and_its_competition():
    overrides = ["name=redux", "competition=dogs-vs-cats-redux"]
    said = _submit_command(Path("submissions/redux-seeds.csv"), "configs/q.yaml", overrides, Path("my place"))
    assert said == (
        "kit submit submissions/redux-seeds.csv -c configs/q.yaml --set competition=dogs-vs-cats-redux "
        "--workspace 'my place'"
    )


def test_a_folder_of_weights_has_a_file_for_each_network(tmp_path, tiny):
    """Members of different networks by one command; a tag of timm's may be left out of the file's name."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "resnet26.pth").touch()
    names = ("timm:tf_efficientnet_lite0.in1k", "timm:resnet26")
    for config, name in zip(("one", "two"), names, strict=True):
        _write_config(tmp_path, tiny(f"name={config}", f"model={{name: {name}, weights: timm}}"))
    _write_config(tmp_path, tiny("name=both"), members=["one.yaml", "two.yaml"])
    given = f"model.weights={folder}"
    with pytest.raises(ConfigError, match=r"holds no tf_efficientnet_lite0\.in1k\.safetensors .*there: resnet26\.pth"):
        Experiment.load(tmp_path / "both.yaml", [given])
    (folder / "tf_efficientnet_lite0.safetensors").touch()
    members = Experiment.load(tmp_path / "both.yaml", [given]).members
    expected = [str(folder / "tf_efficientnet_lite0.safetensors"), str(folder / "resnet26.pth")]
    assert [one.model.weights for one in members] == expected


def test_seeds_are_members_on_the_same_folds(tiny):
    blend = tiny("seed=3").seeded("0..2")
    assert blend.name == "tiny-seeds"
    members = blend.members
    assert [(one.name, one.seed, one.split_seed) for one in members] == [
        ("tiny-seed0", 0, 3), ("tiny-seed1", 1, 3), ("tiny-seed2", 2, 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "both"}, "two of them share a name"),
        ({"data": {"num_folds": 4}}, "one has data.num_folds 4, both has 2"),
    ],
)
def test_members_that_do_not_fit_are_refused(change, message, tmp_path, tiny):
    _write_config(tmp_path, tiny("name=one"), **change)
    member = f"{change.get('name', 'one')}.yaml"
    (tmp_path / member).rename(tmp_path / "member.yaml")
    _write_config(tmp_path, tiny("name=both"), members=["member.yaml"])
    with pytest.raises(ConfigError, match=message):
        Experiment.load(tmp_path / "both.yaml")


def test_the_rate_test_suggests_what_trains(teacher, tiny):
    result = lr_find.lr_find(Run.open(tiny("name=rates"), teacher), steps=60)
    assert result.figure.is_file()
    assert 1e-4 < result.suggestion < 0.3
    assert not teacher.run("rates").exists()
    rates = np.geomspace(1e-6, 1, 100)
    losses = np.where(rates < 1e-3, 2.0, 2.0 - np.log10(rates / 1e-3))
    losses[rates > 0.1] = 5.0
    assert 1e-2 < lr_find.suggest(rates, losses) < 0.1
    mixed = lr_find.lr_find(
        Run.open(tiny("name=rates", "train.cutmix=1.0", "train.accumulate_steps=2"), teacher), steps=20
    )
    assert mixed.losses[:5] != result.losses[:5], "it tests the loss that is trained"
    with pytest.raises(ConfigError, match="fitted without a learning rate"):
        lr_find.lr_find(Run.open(tiny("name=rates", "train.mode=features"), teacher))
