"""A submission: written as the sample wants it, and every way to get it wrong found before Kaggle does."""

import numpy as np
import pandas as pd
import pytest

from kit.competition import Competition
from kit.errors import KitError
from kit.run.submission import make_submission, read_sample, validate
from kit.sections import Files, Labels, Submission

IDS = ["3", "1", "2", "10"]
PROBS = np.array([[0.9, 0.1], [0.2, 0.8], [1.0, 0.0], [0.4, 0.6]])


@pytest.fixture
def redux():
    return Competition.load("dogs-vs-cats-redux")


@pytest.fixture
def hard():
    return Competition.load("dogs-vs-cats")


@pytest.fixture
def sample():
    return pd.DataFrame({"id": ["1", "2", "3", "10"], "label": ["0.5"] * 4})


def test_probabilities_in_the_samples_order(redux, sample):
    table = make_submission(redux, sample, IDS, PROBS.clip(0.01, 0.99))
    assert table["id"].tolist() == ["1", "2", "3", "10"]
    assert table["label"].tolist() == pytest.approx([0.8, 0.01, 0.1, 0.6])


def test_hard_labels_as_the_competition_spells_them(hard, sample):
    assert make_submission(hard, sample, IDS, PROBS.argmax(axis=1)).set_index("id")["label"].to_dict() == {
        "1": "1",
        "2": "0",
        "3": "0",
        "10": "1",
    }


def test_an_image_without_a_prediction_is_said(redux, sample):
    with pytest.raises(KitError, match=r"asks for 1 image not in the test set \(10\)"):
        make_submission(redux, sample, IDS[:3], PROBS[:3])


def _verdict(competition, sample, tmp_path, table, **options):
    path = tmp_path / "s.csv"
    table.to_csv(path, index=False)
    return validate(competition, sample, path, **options)


def test_a_good_file_passes(redux, sample, tmp_path):
    verdict = _verdict(redux, sample, tmp_path, make_submission(redux, sample, IDS, PROBS))
    assert (verdict.num_rows, verdict.errors, verdict.doubts) == (4, [], [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.rename(columns={"label": "prob"}), "columns are id, prob; the sample has id, label"),
        (lambda t: t.iloc[:3], r"1 id of the sample missing \(10\)"),
        (lambda t: pd.concat([t, t.iloc[:1]]), r"1 id in the file twice \(1\)"),
        (lambda t: t.assign(id=["1", "2", "3", "11"]), r"1 id not in the sample \(11\)"),
        (lambda t: t.assign(label=["0.1", "", "nan", "0.2"]), r"2 rows without a number \(ids 2, 3\)"),
        (lambda t: t.assign(label=[0.1, 1.2, -1, 0.5]), r"2 rows with values outside 0\.\.1 \(ids 2, 3\)"),
        (lambda t: t.assign(label=["inf", 0, 0, 0.5]), r"1 row without a number \(ids 1\)"),
    ],
)
def test_what_kaggle_would_refuse(redux, sample, tmp_path, change, message):
    import re

    verdict = _verdict(redux, sample, tmp_path, change(make_submission(redux, sample, IDS, PROBS)))
    assert any(re.search(message, error) for error in verdict.errors), verdict


def test_a_label_that_is_none(hard, sample, tmp_path):
    verdict = _verdict(hard, sample, tmp_path, sample.assign(label=["0", "1", "dog", "1"]))
    assert verdict.errors == ["1 label not among 0, 1 (dog)"]


def test_doubts(redux, sample, tmp_path):
    good = make_submission(redux, sample, IDS, PROBS)
    assert "every row has the same answer" in _verdict(redux, sample, tmp_path, good.assign(label=0.5)).doubts
    assert "order" in _verdict(redux, sample, tmp_path, good.iloc[::-1]).doubts[0]
    reference = good.set_index("id")["label"]
    assert _verdict(redux, sample, tmp_path, good, reference=reference).doubts == []
    swapped = _verdict(redux, sample, tmp_path, good.assign(label=1 - good["label"]), reference=reference)
    assert "classes swapped?" in swapped.doubts[0]


def test_a_sample_without_the_column_is_said(redux, tmp_path):
    (tmp_path / "sample_submission.csv").write_text("id,target\n1,0\n")
    with pytest.raises(KitError, match=r"has no column 'label' \(its columns: id, target\)"):
        read_sample(redux, tmp_path)
    with pytest.raises(KitError, match="type `kit download`"):
        read_sample(redux, tmp_path / "none")


def test_an_image_may_have_no_label_at_all(tmp_path):
    competition = Competition(
        "plants", "Plants", Files(("train",), ("test",), train_labels=("train.csv",)), Labels(("rust", "scab"), "csv"),
        "f1_samples", Submission("labels", "image", "labels"), task="labels",
    )  # fmt: skip
    sample = pd.DataFrame({"image": ["1", "2"], "labels": ["rust", "scab"]})
    table = make_submission(competition, sample, ["1", "2"], np.array([[True, True], [False, False]]))
    assert table["labels"].tolist() == ["rust scab", ""]
    table.to_csv(tmp_path / "plants.csv", index=False)
    assert not validate(competition, sample, tmp_path / "plants.csv").errors
