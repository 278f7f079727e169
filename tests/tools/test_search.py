"""kit search, from the command's function to a config that runs."""

import json

import pytest

from kit.config import Experiment
from kit.data.rows import write_rows
from kit.errors import ConfigError
from kit.run.run import Run
from kit.runners import gpus
from kit.stages.ensemble import ensemble
from kit.stages.predict import predict
from kit.stages.train import train
from kit.workspace import Workspace, read_json

pytest.importorskip("optuna")
from kit.search.study import Study
from kit.tools import search as searching
from kit.tools.search import search
from kit.tools.trials import Trials

SPACE = "train.learning_rate: {low: 1e-4, high: 1e-2, log: true}\ntrain.optimizer: [adamw, sgd]\n"


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    file = tmp_path_factory.mktemp("space") / "space.yaml"
    file.write_text(SPACE)
    return file


def _predicted(experiment, place) -> Run:
    run = Run.open(experiment, place)
    train(run)
    predict(run)
    return run


@pytest.fixture(scope="module")
def searched(tmp_path_factory, digits, tiny, space):
    place = Workspace(tmp_path_factory.mktemp("searched"))
    return search(Run.open(tiny(), place), digits, space, [0], num_trials=3), place


def test_it_ends_with_a_config_that_runs_and_says_what_chose_it(searched, capsys):
    result, place = searched
    assert [one.state for one in result.trials] == ["done"] * 3
    assert result.value >= result.own == result.trials[0].value
    assert result.best.read_text().startswith(f"# kit run -c {result.best}\n")
    chosen = Experiment.load(result.best)
    assert (chosen.name, chosen.searched_folds) == ("tiny-best", (0,))
    for name in ("history", "slices"):
        assert (place.search("tiny") / "figures" / f"{name}.png").stat().st_size > 10_000
    capsys.readouterr()
    run = _predicted(chosen, place)
    done = ensemble([run])
    said = capsys.readouterr().out
    cv = read_json(run.files.cv)
    others = cv["other_folds"]
    assert others["searched_folds"] == [0]
    assert others["score"] == pytest.approx(cv["metrics"]["accuracy"]["folds"][1])
    assert "fold 0 chose the experiment (kit search), so its score flatters; on the other 100 images" in said
    low, high = cv["expected"]["interval"]
    assert low <= others["score"] <= high
    assert done.cv == pytest.approx(cv["metrics"]["accuracy"]["pooled"])


def test_the_score_to_expect_is_of_the_folds_that_no_search_looked_at(searched, tiny):
    """The same predictions with and without the mark: 0 is expected of fold 1 where all of its images are wrong."""
    _, place = searched
    run = _predicted(tiny("name=marked", "searched_folds=[0]"), place)
    oof = run.fold(1).oof()
    probs = [column for column in oof if column.startswith("prob")]
    oof[probs] = 0.0
    wrong = {str(number): str((number + 1) % 10) for number in range(10)}
    for row, label in enumerate(oof["target_label"].astype(str)):
        oof.loc[row, next(name for name in probs if name.endswith(wrong[label]))] = 1.0
    write_rows(oof, run.fold(1).files.oof)
    ensemble([run])
    cv = read_json(run.files.cv)
    assert cv["expected"]["value"] == 0.0
    assert cv["metrics"]["accuracy"]["pooled"] > 0  # every image counts here


def test_where_the_search_looked_at_every_fold_nothing_is_expected(searched, tiny, capsys):
    _, place = searched
    run = _predicted(tiny("name=all-seen", "searched_folds=[0,1]"), place)
    ensemble([run])
    said = capsys.readouterr().out
    assert read_json(run.files.cv)["expected"] is None
    assert "no score can be expected" in said
    assert "to expect on" not in said


def test_interrupted_it_goes_on_and_loses_no_trial(tmp_path, digits, tiny, space, searched, monkeypatch):
    """Ctrl-C in the middle of the second trial, after its first epoch."""
    real, place = Study.listener, Workspace(tmp_path)

    def interrupted(self, number, *given):
        tell = real(self, number, *given)

        def tell_then_stop(epoch):
            tell(epoch)
            if number == 1:
                raise KeyboardInterrupt

        return tell_then_stop

    with monkeypatch.context() as patch:
        patch.setattr(Study, "listener", interrupted)
        with pytest.raises(KeyboardInterrupt):
            search(Run.open(tiny(), place), digits, space, [0], num_trials=3)
    begun = Trials.reopen(Run.open(tiny(), place)).study.tried()
    assert [one.state for one in begun] == ["done", "running"]
    assert begun[1].epochs == 1
    result = search(Run.open(tiny(), place), digits, space, [0], num_trials=3)
    assert result.trials == searched[0].trials  # as if it had not been interrupted


def test_a_trial_that_fails_is_said_and_the_search_goes_on(tmp_path, digits, tiny, capsys):
    space = tmp_path / "space.yaml"
    space.write_text("train.learning_rate: [0.004, 1e25]\ndata.image_size: [16, 24]\n")
    result = search(Run.open(tiny("train.clip_grad_norm=null"), tmp_path), digits, space, [0], num_trials=6)
    states = {one.state for one in result.trials}
    assert "failed" in states
    assert all(one.values["train.learning_rate"] == 1e25 for one in result.trials if one.state == "failed")
    assert "failed:" in capsys.readouterr().out
    assert Experiment.load(result.best).train.learning_rate == 0.004


def test_no_hours_left_begins_nothing_and_says_how_to_go_on(tmp_path, digits, tiny, space, capsys):
    result = search(Run.open(tiny(), tmp_path), digits, space, [0], num_trials=2, max_hours=0)
    assert not result.finished
    assert result.best is None
    assert "2 trials left. Type the same command to go on" in capsys.readouterr().out


def test_trials_share_gpus(tmp_path, digits, tiny, space, monkeypatch):
    """Two processes at a time, as on two GPUs: each trains one trial."""
    monkeypatch.setattr(searching, "choose_runner", lambda on, num, each: gpus.Gpus([{}, {}]))
    result = search(Run.open(tiny(), tmp_path), digits, space, [0], num_trials=3)
    assert [one.state for one in result.trials] == ["done"] * 3
    assert len({json.dumps(one.values) for one in result.trials}) == 3


def test_another_search_under_the_same_name_is_refused(searched, tiny, space, tmp_path):
    _, place = searched
    with pytest.raises(ConfigError, match="a search of another folds; give this one its own name"):
        search(Run.open(tiny(), place), None, space, [1], num_trials=3)
    other = tmp_path / "other.yaml"
    other.write_text("train.momentum: [0.8, 0.9]\n")
    with pytest.raises(ConfigError, match="another space"):
        search(Run.open(tiny(), place), None, other, [0], num_trials=3)
    other.write_text("train.learning_rates: [0.8, 0.9]\n")
    with pytest.raises(
        ConfigError, match=r"other.yaml: train.learning_rates: 0.8: .*did you mean 'train.learning_rate'"
    ):
        search(Run.open(tiny(), place), None, other, [0], num_trials=3)


def test_trials_share_a_session_on_kaggle(cloud, there, tmp_path, space):
    """The same values and scores as here; the competition's files are only there."""
    result = search(Run.open(there, tmp_path / "remote"), None, space, [0], num_trials=2, on="kaggle")
    assert len(cloud.pushes) == 1
    assert [(one.state, one.why) for one in result.trials] == [("done", "")] * 2
    assert not list((tmp_path / "remote" / "runs").glob("*/experiment.yaml"))
    assert Experiment.load(result.best).searched_folds == (0,)
