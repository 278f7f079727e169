"""A run as trackers see it: its folds' epochs, and its results."""

from collections.abc import Iterable
from functools import partial

from kit import schema
from kit.run.run import Run, RunFold
from kit.tracking.metrics_file import read_history
from kit.tracking.tracker import Name, Place, attempt, open_tracker, send_history
from kit.workspace import read_json

RESULTS = "results"


def place_of(run: Run, part: str) -> Place:
    settings = schema.to_mapping(run.experiment)
    return Place(run.files.folder.resolve(), run.competition.name, run.name, part, settings)


def send_results(run: Run, trackers: Iterable[Name]) -> None:
    """CV, figures and Kaggle's score as far as there are some; what fails is said and stops nothing."""
    for name in trackers:
        attempt(name, partial(_send_results, name, run))


def send_folds(run: Run, name: Name) -> None:
    """The epochs of each fold that has some, whoever trained it. Raises what the tracker raises."""
    for fold in [*run.folds(), run.fold("full")]:
        _send_fold(run, fold, name)
    _send_results(name, run)


def _send_fold(run: Run, fold: RunFold, name: Name) -> None:
    history = read_history(fold.files.metrics)
    if history:
        tracker = open_tracker(name, place_of(run, fold.title))
        send_history(tracker, history)
        tracker.close()


def _send_results(name: Name, run: Run) -> None:
    tracker, values = open_tracker(name, place_of(run, RESULTS)), dict[str, float]()
    if run.files.cv.is_file():
        metrics = read_json(run.files.cv)["metrics"]
        values |= {f"cv/{metric}": one["pooled"] for metric, one in metrics.items()}
    passport = run.workspace.submission(run.name).with_suffix(".json")
    handed_in = read_json(passport).get("kaggle", []) if passport.is_file() else []
    for kind in ("public", "private"):
        scores = [entry.get(f"{kind}_score") for entry in handed_in]
        values |= {f"kaggle/{kind}_score": float(score) for score in scores[-1:] if score}
    tracker.numbers(values, 0)
    for path in sorted(run.files.figures.glob("*.png")):
        tracker.figure(path.stem, path)
    tracker.close()
