"""runs: the ledger. Every run and submission of a workspace in one table: CV, Kaggle's score, time, what made it."""

import datetime
from dataclasses import dataclass

import numpy as np

from kit import console, figures
from kit.errors import KitError
from kit.run.files import RunFiles, run_names
from kit.run.run import Run
from kit.tracking.metrics_file import read_history
from kit.workspace import Workspace, read_json


@dataclass(frozen=True)
class Line:
    """`experiment`: a short hash of what made it. `lb`: Kaggle's public score, where it was submitted."""

    name: str
    competition: str
    metric: str
    experiment: str
    cv: float | None
    interval: tuple[float, float] | None
    lb: float | None
    minutes: float | None  # of training, all folds
    made: str


def runs(workspace: Workspace) -> list[Line]:
    """The workspace's runs and submissions, the latest last; a figure of LB against CV where at least two have both."""
    names = set(run_names(workspace.runs))
    names |= {path.stem for path in (workspace.root / "submissions").glob("*.json")}
    lines = []
    for name in sorted(names):
        try:
            lines.append(_line(workspace, name))
        except KitError as error:  # an unreadable one does not hide the others
            console.warn(f"{name}: {error}; left out")
    lines.sort(key=lambda line: line.made)
    if not lines:
        console.stage("runs", f"none yet in {workspace.root}; `kit run` makes one")
    columns = ["run", "CV", "95 %", "LB", "min", "made", "experiment"]
    for competition in sorted({line.competition for line in lines}):
        own = [line for line in lines if line.competition == competition]
        metric = next((line.metric for line in own if line.metric), "no CV yet")
        rows = [
            [
                line.name, _number(line.cv), "{:.4f} to {:.4f}".format(*line.interval) if line.interval else "",
                _number(line.lb), "" if line.minutes is None else f"{line.minutes:,.0f}",
                line.made[5:16].replace("T", " "), line.experiment,
            ]
            for line in own
        ]  # fmt: skip
        console.table(f"{competition}: {metric}", columns, rows)
        points = {line.name: (line.cv, line.lb) for line in own if line.cv is not None and line.lb is not None}
        if len(points) > 1:
            path = workspace.figures(competition) / "cv-against-lb.png"
            figures.cv_against_lb(points, metric, competition, path)
            console.stage("runs", f"{path}")
    return lines


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _line(workspace: Workspace, name: str) -> Line:
    files, passport = RunFiles(workspace.run(name)), workspace.submission(name).with_suffix(".json")
    handed_in = read_json(passport) if passport.is_file() else {}
    minutes, code, competition = None, "", handed_in.get("competition", "")
    made = str(handed_in.get("made", ""))
    if files.experiment.is_file():
        run = Run.named(name, workspace)
        code, competition = run.hash, run.competition.name
        seconds = [line.get("seconds", 0.0) for fold in files.fold_folders() for line in read_history(fold.metrics)]
        minutes = float(np.sum(seconds)) / 60 if seconds else None
        when = datetime.datetime.fromtimestamp(files.experiment.stat().st_mtime, datetime.UTC)
        made = made or when.isoformat(timespec="seconds")
    cv = (read_json(files.cv) if files.cv.is_file() else None) or handed_in.get("cv") or {}
    metric = cv.get("metric", "")
    values = cv.get("metrics", {}).get(metric, {})
    interval = values.get("interval")
    scores = [one.get("public_score") for one in handed_in.get("kaggle", []) if one.get("public_score")]
    span = tuple(interval) if interval and None not in interval else None
    lb = float(scores[-1]) if scores else None
    return Line(name, competition, metric, code, values.get("pooled"), span, lb, minutes, made)
