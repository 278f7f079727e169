"""Runs joined: a blend is handed in where it surely beats the best run, else that run alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from by_name import score

from kit.competition import Competition
from kit.config import Experiment
from kit.data.table import predictions
from kit.run.blending import blend_runs
from kit.run.hand_in import HandIn
from kit.run.member import Member
from kit.run.run import Run
from kit.scoring.blend import from_logits
from kit.settings import Ensemble
from kit.workspace import Workspace

COUNT = 2000
GENERATOR = np.random.default_rng(0)
TRUTH = GENERATOR.normal(0, 2.0, (COUNT, 1)) * np.array([[-1.0, 1.0]])
TARGETS = (GENERATOR.random(COUNT) < from_logits(TRUTH, "classes")[:, 1]).astype(np.int64)
IDS = [f"image{number}" for number in range(COUNT)]
ALONE = {image_id: number for number, image_id in enumerate(IDS)}  # no near-identical images


@pytest.fixture(scope="module")
def redux() -> Competition:
    return Competition.load("dogs-vs-cats-redux")


def _member(name: str, competition: Competition, noise: float, seed: int) -> Member:
    """The truth's logits with noise of the member's own; its rows in an order of their own."""
    own = np.random.default_rng(seed).normal(0, noise, (COUNT, 1)) * np.array([[-1.0, 1.0]])
    said = from_logits((TRUTH + own) / (1 + noise**2 / 4), "classes")
    label = competition.targets[0]
    table = pd.DataFrame(
        {"image_id": IDS, "fold": np.arange(COUNT) % 5, label: [competition.classes[t] for t in TARGETS]}
    )
    table = table.join(pd.DataFrame(said, columns=competition.predictions))
    shuffled = table.sample(frac=1, random_state=seed).reset_index(drop=True) if seed > 1 else table
    run = Run(Experiment(name, "dogs-vs-cats-redux"), Workspace(Path()))
    return Member(name, run, shuffled, [], [], [])


def _hand_in(competition: Competition, blend: str = "auto") -> HandIn:
    return HandIn(competition, Ensemble(blend=blend), ALONE)


def test_complementary_runs_are_blended(redux):
    members = [_member("one", redux, 1.0, 1), _member("two", redux, 1.0, 2)]
    joined = blend_runs(members, _hand_in(redux))
    assert joined.recipe.method != "best"
    assert all(weight > 0.3 for weight in joined.recipe.weights)
    own = [score("log_loss", TARGETS, predictions(one.oof.set_index("image_id").loc[IDS], redux)) for one in members]
    assert score("log_loss", TARGETS, predictions(joined.scored.oof, redux)) < min(own) - 0.01
    assert [fact["score"] for fact in joined.facts] == pytest.approx(own)


def test_without_a_sure_gain_the_best_run_is_handed_in_alone(redux, capsys):
    """Beside a run with half its noise, a blind one brings nothing that is sure."""
    members = [_member("blind", redux, 6.0, 1), _member("good", redux, 0.4, 2)]
    joined = blend_runs(members, _hand_in(redux))
    assert joined.recipe.method == "best"
    assert joined.recipe.weights == (0, 1)
    good = members[1].oof.set_index("image_id").loc[IDS]
    assert np.allclose(predictions(joined.scored.oof, redux), predictions(good, redux), atol=1e-6)
    assert "good alone is submitted" in capsys.readouterr().out


def test_a_method_that_is_named_is_taken_at_its_word(redux):
    members = [_member("blind", redux, 6.0, 1), _member("good", redux, 0.4, 2)]
    assert blend_runs(members, _hand_in(redux, "mean")).recipe.weights == (0.5, 0.5)


def test_the_table_of_members_tells_what_each_is_worth(redux):
    members = [_member("one", redux, 1.0, 1), _member("two", redux, 1.0, 2), _member("three", redux, 0.7, 3)]
    joined = blend_runs(members, _hand_in(redux, "mean"))
    said = [predictions(one.oof.set_index("image_id").loc[IDS], redux) for one in members]
    for place, fact in enumerate(joined.facts):
        others = [one for number, one in enumerate(said) if number != place]
        assert fact["weight"] == pytest.approx(1 / 3)
        assert fact["without"] == pytest.approx(score("log_loss", TARGETS, np.mean(others, axis=0)))
        each = [np.corrcoef(said[place].ravel(), other.ravel())[0, 1] for other in others]
        assert fact["correlation"] == pytest.approx(np.mean(each))
