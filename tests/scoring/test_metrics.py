"""The rarer metrics against scikit-learn, scipy and hand-computed answers; a page's words; a metric of one's own."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from by_name import decide, fit, score

from kit.competition import Competition
from kit.errors import KitError
from kit.metrics import METRICS, OPTIONS, find_metric, nearest_metric, spelled
from kit.metrics.words import percent_in
from kit.run.hand_in import try_metric
from kit.scoring.postprocess import fit_postprocess
from kit.scoring.truth import Truth

GENERATOR = np.random.default_rng(0)
TARGETS = GENERATOR.choice(3, 600, p=[0.8, 0.15, 0.05])
LOGITS = GENERATOR.normal(size=(600, 3)) + 1.5 * np.eye(3)[TARGETS] + np.log([0.8, 0.15, 0.05])
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
TWO = (TARGETS > 0).astype(int)
PAIR = np.stack([PROBS[:, 0], 1 - PROBS[:, 0]], axis=1)
SETS = (GENERATOR.random((600, 3)) < [0.6, 0.3, 0.1]).astype(float)
SET_PROBS = 1 / (1 + np.exp(-(GENERATOR.normal(size=(600, 3)) + 2 * SETS - 1)))


@pytest.mark.parametrize(
    ("metric", "reference"),
    [("balanced_accuracy", sklearn.metrics.balanced_accuracy_score), ("mcc", sklearn.metrics.matthews_corrcoef)],
)
def test_recall_by_class(metric, reference):
    assert score(metric, TARGETS, PROBS) == pytest.approx(reference(TARGETS, PROBS.argmax(axis=1)))
    better = fit_postprocess(Truth(find_metric(metric), TARGETS, folds=np.arange(600) % 5), PROBS, {})
    assert better.kept
    assert better.after > better.before


@pytest.mark.parametrize("beta", [0.5, 1, 2])
def test_f_beta(beta):
    def reference(targets, decided, average):
        return pytest.approx(sklearn.metrics.fbeta_score(targets, decided, beta=beta, average=average, zero_division=0))

    assert score(f"f{beta}", TWO, PAIR) == reference(TWO, PAIR[:, 1] >= 0.5, "binary")
    sets = decide(f"f{beta}_samples", True, SET_PROBS, {"thresholds": 0.5, "at_least_one": False})
    assert (sets == (SET_PROBS >= 0.5)).all()
    for average in ("samples", "micro", "macro", "weighted"):
        fixed = {"at_least_one": False}
        value = find_metric(f"f{beta}_{average}").score(SETS, SET_PROBS, fixed)
        assert value == reference(SETS, SET_PROBS >= 0.5, average)
    for average in ("micro", "macro", "weighted"):
        assert score(f"f{beta}_{average}", TARGETS, PROBS) == reference(TARGETS, PROBS.argmax(axis=1), average)
    assert find_metric("fbeta_macro", {"beta": beta}).name == f"f{beta}_macro"


def test_the_threshold_of_f_beta_is_the_best_of_all():
    for beta in (0.5, 1, 2):
        threshold = fit(f"f{beta}", TWO, PAIR, {})["threshold"]
        best = max(
            sklearn.metrics.fbeta_score(TWO, PAIR[:, 1] >= cut, beta=beta, zero_division=0) for cut in PAIR[:, 1]
        )
        assert score(f"f{beta}", TWO, PAIR, {"threshold": threshold}) == pytest.approx(best)


def test_roc_auc_is_scikit_learns():
    """With ties; labels of which one is never set are left out."""
    rough = PROBS.round(1) / PROBS.round(1).sum(axis=1, keepdims=True)
    for probs in (PROBS, rough):
        expected = sklearn.metrics.roc_auc_score(TARGETS, probs, multi_class="ovr")
        assert score("roc_auc", TARGETS, probs) == pytest.approx(expected, abs=1e-12)
    assert score("roc_auc", TWO, PAIR) == pytest.approx(sklearn.metrics.roc_auc_score(TWO, PAIR[:, 1]), abs=1e-12)
    both = np.append(SETS, np.zeros((len(SETS), 1)), axis=1), np.append(SET_PROBS, SET_PROBS[:, :1], axis=1)
    assert score("roc_auc", *both) == pytest.approx(sklearn.metrics.roc_auc_score(SETS, SET_PROBS), abs=1e-12)
    assert np.isnan(score("roc_auc", np.zeros(5, int), PROBS[:5]))


def test_the_partial_area_is_what_kaggles_notebook_computes():
    """ISIC 2024's: targets and predictions turned, `max_fpr`, and scikit-learn's scaling taken back."""
    for least in (0.5, 0.8, 0.9):
        scaled = sklearn.metrics.roc_auc_score(1 - TWO, 1 - PAIR[:, 1], max_fpr=1 - least)
        most = 1 - least
        area = 0.5 * most**2 + (most - 0.5 * most**2) / (1.0 - 0.5) * (scaled - 0.5)
        assert find_metric("partial_roc_auc", {"min_tpr": least}).score(TWO, PAIR) == pytest.approx(area, abs=1e-12)
    assert find_metric("partial_roc_auc").score(TWO, np.eye(2)[TWO]) == pytest.approx(0.2)


def test_weighted_log_loss():
    classes, weights = ("a", "b", "c"), np.array([1, 1, 2])
    metric = find_metric("weighted_log_loss", {"weights": {"c": 2}}, classes)
    one = sklearn.metrics.log_loss(TARGETS, PROBS, sample_weight=weights[TARGETS])
    assert metric.score(TARGETS, PROBS) == pytest.approx(one)
    columns = [sklearn.metrics.log_loss(SETS[:, c], SET_PROBS[:, c]) for c in range(3)]
    assert metric.score(SETS, SET_PROBS) == pytest.approx(np.average(columns, weights=weights))


def test_errors_of_numbers():
    targets = GENERATOR.normal(size=(50, 1))
    near = targets + GENERATOR.normal(size=(50, 1))
    assert score("r2", targets, near) == pytest.approx(sklearn.metrics.r2_score(targets, near))
    assert score("spearman", targets, near) == pytest.approx(scipy.stats.spearmanr(targets[:, 0], near[:, 0])[0])


def test_probabilistic_f1():
    targets, probs = np.array([1, 1, 0, 0]), np.array([0.9, 0.5, 0.4, 0.2])
    precision, recall = 1.4 / 2.0, 1.4 / 2
    pair = np.stack([1 - probs, probs], axis=1)
    expected = 2 * precision * recall / (precision + recall)
    assert score("probabilistic_f1", targets, pair) == pytest.approx(expected)
    fitted = fit("probabilistic_f1", targets, pair, {})
    assert 0.4 < fitted["threshold"] < 0.5
    assert score("probabilistic_f1", targets, pair, fitted) == 1


@pytest.mark.parametrize(
    ("words", "names"),
    {
        "multi-class logarithmic loss": "log_loss", "mean column-wise ROC AUC": "roc_auc", "AUC": "roc_auc",
        "Area Under Receiver Operating Characteristic Curve": "roc_auc", "micro averaged F1 score": "f1_micro",
        "MacroFScore": "f1_macro", "mean F2 score": "f2_samples f2 f2_micro f2_macro", "Multiclass Loss": "log_loss",
        "Mean F1-Score": "f1_samples f1 f1_micro f1_macro", "Mean Average Precision @ 5": "map@5", "MAP@3": "map@3",
        "top-1 classification error": "accuracy", "balanced accuracy": "balanced_accuracy", "RMSE": "rmse",
        "root mean squared error": "rmse", "Matthews correlation coefficient": "mcc", "R^2": "r2",
        "partial area under the ROC curve above 80% TPR": "partial_roc_auc", "probabilistic F1": "probabilistic_f1",
        "weighted multi-label logarithmic loss": "weighted_log_loss", "Spearman's rank correlation": "spearman",
        "quadratic weighted kappa": "quadratic_weighted_kappa", "CategorizationAccuracy": "accuracy",
        "weighted AUC": "", "minimum F1 score": "", "Global Average Precision": "",
        "weighted F1": "f1_weighted", "F1 (weighted)": "f1_weighted",
        "weighted average F2-score": "f2_weighted", "WeightedFScore": "f1_weighted",
        "mean average precision": "", "hierarchical macro-averaged recall": "balanced_accuracy", "roc_acu": "",
    }.items(),
)  # fmt: skip
def test_a_pages_words(words, names):
    assert [metric.name for metric in spelled(words)] == names.split()


def test_the_nearest_metric_is_an_offer():
    assert nearest_metric("weighted AUC") == "roc_auc"
    assert nearest_metric("minimum F1 score") == "f1_macro"
    assert nearest_metric("Dice coefficient") == ""
    assert percent_in("partial area under the ROC curve above 80% TPR") == 0.8


def test_every_metric_is_found_by_its_own_name():
    for name in [*METRICS, *OPTIONS]:
        assert spelled(name)[0].name == name


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("accuracy", {"beta": 2}, "metric_options.beta: accuracy has no options"),
        ("fbeta", {}, "metric_options.beta: fbeta needs one above 0"),
        ("partial_roc_auc", {"min_tpr": 80}, "metric_options.min_tpr: expected 0 to 1, got 80"),
        ("weighted_log_loss", {"weights": {"anny": 2}}, r"'anny' is not a class \(did you mean 'any'"),
        ("partial_roc_auc", {"tpr": 0.8}, "metric_options.tpr: partial_roc_auc has min_tpr"),
    ],
)
def test_wrong_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        find_metric(name, options, ("any", "none"))


OWN = """
import sklearn.metrics

def score(solution, submission, row_id_column_name):
    assert list(solution.columns) == list(submission.columns) == [row_id_column_name, "label"]
    return sklearn.metrics.cohen_kappa_score(solution["label"], submission["label"])
"""


def _competition(folder, metric="mine.py:score", options="{higher_is_better: true}", form="label"):
    (folder / "c.yaml").write_text(
        "name: c\ntitle: C\nfiles: {train: [train], test: [test]}\nlabels: {layout: folders, classes: [a, b, c]}\n"
        f"metric: {metric}\nmetric_options: {options}\nsubmission: {{format: {form}}}\n"
    )
    return Competition.load(folder / "c.yaml")


def test_a_metric_of_ones_own_sees_what_is_handed_in(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    metric = _competition(tmp_path).scoring
    assert metric.name == "mine.py:score"
    assert metric.higher_is_better
    expected = sklearn.metrics.cohen_kappa_score(TARGETS, PROBS.argmax(axis=1))
    assert metric.score(TARGETS, PROBS) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("code", "more", "message"),
    [
        (OWN, {"options": "{}"}, "metric_options.higher_is_better: missing"),
        (OWN, {"metric": "other.py:score"}, r"other\.py: no such file"),
        (OWN, {"metric": "mine.py:scores"}, r"mine\.py: has no function scores"),
        ("import nothing_like_it", {}, r"mine\.py: ModuleNotFoundError: No module named 'nothing_like_it'"),
    ],
)
def test_a_metric_of_ones_own_that_does_not_load(code, more, message, tmp_path):
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(KitError, match=message):
        _competition(tmp_path, **more)


def test_a_metric_of_ones_own_is_tried_before_the_training(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(OWN)
    try_metric(_competition(tmp_path), TARGETS)
    assert "mine.py:score, your code, is executed: 1 on 50 right answers" in capsys.readouterr().out
    (tmp_path / "mine.py").write_text(OWN.replace('submission["label"])', 'submission["lable"])') + "# longer\n")
    with pytest.raises(KitError, match=r"mine\.py:score: on 50 rows: KeyError: 'lable'"):
        try_metric(_competition(tmp_path), TARGETS)
