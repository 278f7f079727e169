"""Trials: what is tried next, what is stopped, and that a killed search goes on as if it had not been."""

import math

import pytest

from kit.events import Epoch, StopTraining
from kit.search.space import Choice, Range

pytest.importorskip("optuna")
from kit.search.study import Study, ranked

SPACE = {"rate": Range(1e-5, 1.0, log=True), "size": Range(32, 96, step=32), "kind": Choice(("a", "b"))}
OWN = {"rate": 0.5, "size": 64, "kind": "a"}


def _value(values) -> float:
    """Best at a rate of 0.003 and kind b."""
    return -abs(math.log10(values["rate"] / 0.003)) - (0.5 if values["kind"] == "a" else 0)


def _study(folder) -> Study:
    study = Study(folder / "study.db", SPACE, higher=True, seed=0)
    study.begin(OWN)
    return study


def test_it_begins_with_the_experiment_and_finds_better(tmp_path):
    study = _study(tmp_path)
    for _ in range(25):
        number = study.ask()
        study.end(number, _value(study.values(number)), 1.0)
    tried = study.tried()
    assert tried[0].values == OWN
    assert all(one.values["size"] in {32, 64, 96} for one in tried)
    assert all(float(f"{one.values['rate']:.3g}") == one.values["rate"] for one in tried)
    best = ranked(tried, higher=True)[0]
    assert best.values["kind"] == "b"
    assert 0.0006 < best.values["rate"] < 0.015
    assert set(study.importance()) == set(SPACE)
    assert study.importance()["rate"] > 0.5


def test_killed_between_any_two_steps_it_tries_the_same(tmp_path):
    whole, values = _study(tmp_path / "whole"), []
    for _ in range(12):
        number = whole.ask()
        values.append(whole.values(number))
        whole.end(number, _value(values[-1]), None)
    for _ in range(12):
        number = _study(tmp_path / "killed").ask()  # and the process ends
        again = _study(tmp_path / "killed")
        assert [one.state for one in again.tried()].count("running") == 1
        assert again.values(number) == values[number]
        again.end(number, _value(again.values(number)), None)
    assert [one.values for one in _study(tmp_path / "killed").tried()] == values


def _epoch(number: int, score: float, title: str = "fold 0", again: bool = False) -> Epoch:
    return Epoch(title, 5, "accuracy", [{"epoch": number, "valid_accuracy": score}], again)


def test_a_hopeless_trial_is_stopped_and_a_good_one_is_not(tmp_path):
    study = _study(tmp_path)
    for _ in range(4):
        number = study.ask()
        tell = study.listener(number, "accuracy", ["fold 0"])
        for epoch in range(1, 6):
            tell(_epoch(epoch, 0.5 + epoch / 20))
        study.end(number, 0.75, 0.5)
    good, bad = study.ask(), study.ask()
    for epoch in range(1, 6):
        study.listener(good, "accuracy", ["fold 0"])(_epoch(epoch, 0.6 + epoch / 20))
    tell = study.listener(bad, "accuracy", ["fold 0"])
    tell(_epoch(1, 0.1))  # the first epoch decides nothing
    with pytest.raises(StopTraining):
        tell(_epoch(2, 0.1))
    study.give_up(bad)
    study.end(good, 0.85, 0.4)
    one = study.tried()[bad]
    assert (one.state, one.epochs, one.value) == ("pruned", 2, 0.1)
    assert ranked(study.tried(), higher=True)[0].number == good


def test_a_resumed_training_tells_its_epochs_again(tmp_path):
    study = _study(tmp_path)
    number = study.ask()
    tell = study.listener(number, "accuracy", ["fold 0", "fold 1"])
    tell(_epoch(3, 0.5))
    tell(_epoch(3, 0.5, again=True))
    tell(_epoch(1, 0.4, "fold 1"))
    assert study.tried()[number].epochs == 2


def test_equal_scores_are_ranked_by_loss_and_failures_not_at_all(tmp_path):
    study = _study(tmp_path)
    for value, loss in ((0.9, 0.3), (0.9, 0.2), (0.8, 0.1)):
        study.end(study.ask(), value, loss)
    study.give_up(study.ask(), "the loss is nan")
    assert [one.number for one in ranked(study.tried(), higher=True)] == [1, 0, 2]
    failed = study.tried()[3]
    assert (failed.state, failed.why, failed.value) == ("failed", "the loss is nan", None)


def test_a_score_that_is_no_number_is_a_failure_and_not_tried_again(tmp_path):
    study = _study(tmp_path)
    study.end(study.ask(), float("nan"), None)
    only = study.tried()[0]
    assert (only.state, only.why) == ("failed", "its score is nan")
