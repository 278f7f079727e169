"""Runs that build on runs: a start, a teacher, members of a blend. None of them may see what scores a fold."""

import numpy as np
import pandas as pd
import pytest
import torch

from kit.assembly.fitting import Setup, fold_model, training_rows, with_pseudo_labels
from kit.competition import Competition
from kit.data.cache import experiment_pixels
from kit.data.folds import read_folds
from kit.data.table import read_index, targets
from kit.errors import KitError
from kit.stages import download, index, predict, split, train
from kit.training.checkpoint import load_model
from kit.workspace import Workspace


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, digits, tiny):
    """A trained and predicted run; tests add runs of their own beside it."""
    experiment = tiny("name=teacher", "train.epochs=12")
    workspace = Workspace(tmp_path_factory.mktemp("teacher"))
    download.run(experiment, workspace, digits)
    index.run(experiment, workspace)
    split.run(experiment, workspace)
    train.run(experiment, workspace)
    predict.run(experiment, workspace)
    return workspace


def _setup(experiment, workspace) -> Setup:
    competition, table = Competition.load("digits"), read_index(workspace.index("digits"))
    folds = read_folds(workspace.folds("digits", experiment.data.num_folds, experiment.split_seed), table, 2)
    pixels = experiment_pixels(workspace, competition, experiment, table)
    cpu = torch.device("cpu")
    return Setup(experiment, competition, table, folds, pixels, targets(table, competition), cpu, workspace=workspace)


def _copy_folds(workspace, name) -> None:
    workspace.run(name).mkdir(parents=True, exist_ok=True)
    (workspace.run(name) / "folds.csv").write_bytes((workspace.run("teacher") / "folds.csv").read_bytes())


def test_a_fold_starts_where_the_other_runs_fold_ended(teacher, tiny):
    experiment = tiny("name=second", "model.start=teacher", "train.epochs=1")
    _copy_folds(teacher, "second")
    setup = _setup(experiment, teacher)
    for fold in (0, 1):
        model = fold_model(setup, fold, training_rows(setup, fold))
        weights, _ = load_model(teacher.fold("teacher", fold) / "model.safetensors")
        assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    result = train.run(experiment, teacher)
    assert min(result.scores.values()) > 0.3


def test_a_teachers_labels_come_from_the_folds_own_model(teacher, tiny):
    """Plant another answer in fold 1's teacher: fold 0's labels do not notice."""
    experiment = tiny("name=pupil", "train.pseudo_run=teacher", "train.pseudo_threshold=0.3")
    _copy_folds(teacher, "pupil")
    setup = _setup(experiment, teacher)
    rows = training_rows(setup, 0)
    taught, with_test = with_pseudo_labels(setup, 0, rows)
    added = with_test[len(rows) :]
    assert len(added) > 10
    assert (setup.index["split"].iloc[added] == "test").all()
    said = pd.read_csv(teacher.fold("teacher", 0) / "test.csv", dtype={"image_id": str}).set_index("image_id")
    expected = said.loc[setup.index["image_id"].iloc[added]].to_numpy()
    assert (expected.max(axis=1) >= 0.3).all()
    assert np.array_equal(taught.targets[added], expected.argmax(axis=1))
    assert (setup.targets[added] == -1).all(), "the setup of the other folds is as it was"
    other = teacher.fold("teacher", 1) / "test.csv"
    kept = other.read_bytes()
    try:
        table = pd.read_csv(other, dtype={"image_id": str})
        table.iloc[:, 1:] = np.roll(table.iloc[:, 1:].to_numpy(), 1, axis=1)
        table.to_csv(other, index=False)
        assert np.array_equal(with_pseudo_labels(setup, 0, rows)[0].targets, taught.targets)
        assert not np.array_equal(with_pseudo_labels(setup, 1, training_rows(setup, 1))[0].targets, taught.targets)
    finally:
        other.write_bytes(kept)


def test_a_test_image_like_one_that_scores_the_fold_is_no_lesson(teacher, tiny):
    experiment = tiny("name=pupil", "train.pseudo_run=teacher", "train.pseudo_threshold=0.1")
    _copy_folds(teacher, "pupil")
    setup = _setup(experiment, teacher)
    rows = training_rows(setup, 0)
    first = with_pseudo_labels(setup, 0, rows)[1][len(rows) :]
    scored = np.flatnonzero(setup.folds == 0)[0]
    setup.index.loc[first[0], "group"] = setup.index["group"].iloc[scored]
    assert np.array_equal(with_pseudo_labels(setup, 0, rows)[1][len(rows) :], first[1:])


@pytest.mark.parametrize("key", ["model.start", "train.pseudo_run"])
def test_other_folds_are_refused(key, teacher, tiny):
    experiment = tiny(f"name=stranger-{key}", f"{key}=teacher", "data.split_seed=7")
    split.run(experiment, teacher)
    with pytest.raises(KitError, match="its models saw images that score this run's folds"):
        train.run(experiment, teacher)
    with pytest.raises(KitError, match=r"nobody first \((model.start|train.pseudo_run)\)"):
        train.run(tiny(f"name=alone-{key}", f"{key}=nobody"), teacher)


def test_runs_of_several_seeds_may_share_their_folds(teacher, tiny):
    experiment = tiny("name=seed1", "seed=1", "data.split_seed=0", "train.epochs=1")
    train.run(experiment, teacher, [0])
    one, two = ((teacher.run(name) / "folds.csv").read_bytes() for name in ("teacher", "seed1"))
    assert one == two
    first, second = (load_model(teacher.fold(name, 0) / "model.safetensors")[0] for name in ("teacher", "seed1"))
    assert not torch.equal(first["network.conv1.weight"], second["network.conv1.weight"])


def test_progressive_sizes_change_the_pictures_not_the_validation(teacher, tiny):
    experiment = tiny("name=growing", "train.sizes=[[0, 8], [1, 16]]", "train.epochs=2")
    from kit.assembly.fitting import feed

    setup = _setup(experiment, teacher)
    made = feed(setup, 0, training_rows(setup, 0))
    assert [next(made.batches(epoch, 0))[0].shape[-1] for epoch in (0, 1)] == [8, 16]
    assert next(iter(made.validation()))[0].shape[-1] == 16
    assert train.run(experiment, teacher, [0]).finished
