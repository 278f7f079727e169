"""submit, from the CSV to the score in its passport, against the loopback Kaggle."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kaggle_server import status

from kit.config import Experiment
from kit.errors import ConfigError, KitError
from kit.run.run import Run
from kit.stages import submit


@pytest.fixture
def ready(workspace, kaggle):
    """A workspace with a sample and a submission of ten rows."""
    raw = workspace.raw("dogs-vs-cats")
    raw.mkdir(parents=True)
    table = pd.DataFrame({"id": range(1, 11), "label": np.arange(10) % 2})
    table.assign(label=0).to_csv(raw / "sampleSubmission.csv", index=False)
    path = workspace.submission("dogs-vs-cats")
    path.parent.mkdir()
    table.to_csv(path, index=False)
    return Experiment.load("configs/dogs-vs-cats.yaml"), workspace, path


def test_the_score_comes_back_into_the_passport(ready, kaggle, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    experiment, workspace, path = ready
    result = submit.submit(Run.open(experiment, workspace), message="first")
    assert (result.ref, result.status, result.public_score) == (4711, "COMPLETE", "0.91234")
    assert kaggle.uploaded == path.read_bytes()
    entry = json.loads(path.with_suffix(".json").read_text())["kaggle"][0]
    assert (entry["ref"], entry["public_score"], entry["status"]) == (4711, "0.91234", "COMPLETE")


def test_the_same_bytes_are_not_handed_in_twice(ready, kaggle, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    experiment, workspace, path = ready
    submit.submit(Run.open(experiment, workspace))
    copy = path.with_name("copy.csv")
    copy.write_bytes(path.read_bytes())
    for file in (None, copy):
        with pytest.raises(KitError, match=r"submitted before \(reference 4711.*--again"):
            submit.submit(Run.open(experiment, workspace), file)
    assert kaggle.calls.count("CreateSubmission") == 1
    assert submit.submit(Run.open(experiment, workspace), again=True).uploaded


def test_dry_run_uploads_nothing(ready, kaggle):
    assert not submit.submit(Run.open(*ready[:2]), dry_run=True).uploaded
    assert kaggle.calls == []


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"entered": False}, r"accept its rules at https://www\.kaggle\.com/c/dogs-vs-cats/rules"),
        ({"submissions_disabled": True}, r"no longer accepts submissions \(deadline 2014-02-01"),
        ({"left": 0}, "no submissions are left today"),
    ],
)
def test_a_competition_that_takes_none(ready, kaggle, state, message):
    vars(kaggle).update(state)
    with pytest.raises(KitError, match=message):
        submit.submit(Run.open(*ready[:2]))
    assert "CreateSubmission" not in kaggle.calls


def test_a_failed_scoring_is_said_and_kept(ready, kaggle, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    kaggle.final_status = "ERROR"
    with pytest.raises(KitError, match="could not score reference 4711: bad file"):
        submit.submit(Run.open(*ready[:2]))
    assert json.loads(ready[2].with_suffix(".json").read_text())["kaggle"][0]["status"] == "ERROR"


def test_a_wrong_file_never_reaches_kaggle(ready, kaggle):
    experiment, workspace, path = ready
    path.write_text("id,label\n1,0\n")
    with pytest.raises(KitError, match=r"9 ids of the sample missing \(2, 3, 4 and 6 more\)"):
        submit.submit(Run.open(experiment, workspace))
    with pytest.raises(ConfigError, match="no such file"):
        submit.submit(Run.open(experiment, workspace), Path("nowhere.csv"))
    assert kaggle.calls == []


def test_a_doubtful_file_needs_a_word(ready, kaggle, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    experiment, workspace, path = ready
    good = pd.read_csv(path)
    other = path.with_name("mine.csv")
    good.assign(label=1 - good["label"]).to_csv(other, index=False)
    cv = {"metric": "accuracy", "metrics": {"accuracy": {"pooled": 0.93}}}
    path.with_suffix(".json").write_text(json.dumps({"competition": "dogs-vs-cats", "cv": cv, "kaggle": []}))
    with pytest.raises(KitError, match=r"agrees with the cross-validated model on 0%.*--anyway"):
        submit.submit(Run.open(experiment, workspace), other)
    assert "CreateSubmission" not in kaggle.calls
    assert submit.submit(Run.open(experiment, workspace), other, anyway=True).uploaded


def test_an_unsure_handing_in_leaves_a_trace_and_is_not_repeated(ready, kaggle):
    experiment, workspace, _ = ready
    kaggle.failures["CreateSubmission"] = [status(500)]
    with pytest.raises(KitError, match="It may have been taken"):
        submit.submit(Run.open(experiment, workspace))
    with pytest.raises(KitError, match=r"submitted before \(no answer came.*--again"):
        submit.submit(Run.open(experiment, workspace))
    assert kaggle.calls.count("CreateSubmission") == 1


def test_a_refused_handing_in_may_be_repeated(ready, kaggle, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    experiment, workspace, _ = ready
    kaggle.failures["CreateSubmission"] = [status(400, "bad day")]
    with pytest.raises(KitError, match="bad day"):
        submit.submit(Run.open(experiment, workspace))
    assert submit.submit(Run.open(experiment, workspace)).ref == 4711


def test_a_score_that_was_pending_is_fetched_later_without_a_new_submission(ready, kaggle, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    experiment, workspace, path = ready
    kaggle.pending_polls = 10**6
    assert submit.submit(Run.open(experiment, workspace), wait_minutes=0).status == "PENDING"
    kaggle.pending_polls = 0
    assert submit.submit(Run.open(experiment, workspace)).public_score == "0.91234"
    assert kaggle.calls.count("CreateSubmission") == 1
    assert len(json.loads(path.with_suffix(".json").read_text())["kaggle"]) == 1


def test_what_another_command_wrote_meanwhile_stays(ready, kaggle, monkeypatch):
    """`kit ensemble` makes the passport anew while the score is awaited."""
    experiment, workspace, path = ready
    passport = path.with_suffix(".json")

    def meanwhile(_: float) -> None:
        found = json.loads(passport.read_text())
        later = {"sha256": "x", "date": "later", "status": "COMPLETE", "ref": 1}
        passport.write_text(json.dumps(found | {"sha256": "new", "cv": None, "kaggle": [found["kaggle"][0], later]}))

    monkeypatch.setattr("time.sleep", meanwhile)
    submit.submit(Run.open(experiment, workspace))
    found = json.loads(passport.read_text())
    assert found["sha256"] == "new"
    assert [(entry["ref"], entry["status"]) for entry in found["kaggle"]] == [(4711, "COMPLETE"), (1, "COMPLETE")]


def test_a_passport_of_another_competition_is_refused(ready, kaggle):
    experiment, workspace, path = ready
    path.with_suffix(".json").write_text(json.dumps({"competition": "redux", "kaggle": []}))
    with pytest.raises(ConfigError, match="was made for redux, not for dogs-vs-cats"):
        submit.submit(Run.open(experiment, workspace))
    assert kaggle.uploaded == b""


def test_a_file_in_a_folder_of_someone_elses_keeps_its_passport_here(ready, kaggle, monkeypatch, tmp_path):
    monkeypatch.setattr("time.sleep", lambda _: None)
    experiment, workspace, path = ready
    theirs = tmp_path / "input" / "theirs.csv"
    theirs.parent.mkdir()
    theirs.write_bytes(path.read_bytes())
    monkeypatch.setattr("os.access", lambda place, mode: theirs.parent not in (place, *place.parents))
    assert submit.submit(Run.open(experiment, workspace), theirs).uploaded
    (passport,) = workspace.submission("x").parent.glob("theirs-*.json")
    assert json.loads(passport.read_text())["kaggle"][0]["ref"] == 4711
    assert not theirs.with_suffix(".json").exists()
