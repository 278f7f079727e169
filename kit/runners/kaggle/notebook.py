"""The notebook that enters a code competition: plain cells that a person can read, change and run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit import schema
from kit.config import Experiment
from kit.errors import KitError
from kit.run.member import read_member
from kit.run.run import Run
from kit.runners.kaggle import cargo
from kit.runners.kaggle.mounts import LINKS
from kit.runners.kaggle.wheels import INSTALL
from kit.workspace import Fold

PREDICT = """\
from kit.tools.rerun import rerun

table = rerun(KAGGLE, place)  # writes submission.csv: first the prior, then the models' predictions
"""
SHOW = """\
print(f"{len(table):,} rows")
table.head(10)
"""


FILE, FACTS = "submission.csv", "rerun.json"  # what the notebook leaves
SHARE = 0.8  # of the time that is allowed


@dataclass(frozen=True)
class Rerun:
    """What the notebook is to do. `experiments`: a mapping each; `blend`: the one whose `ensemble` says how they become
    one; `models`: owner/slug of the dataset; `hours` that the competition allows."""

    competition: str
    experiments: list[dict[str, Any]]
    blend: dict[str, Any]
    models: str
    hours: float


def notebook(task: Rerun, runs: Sequence[Run]) -> str:
    """The .ipynb as JSON text. Raises `KitError` where it is too large."""
    names = ", ".join(run.name for run in runs)
    places = [f"datasets/{task.models}", task.models.rpartition("/")[2]]
    packed = cargo.packed({**cargo.settings_for(runs), "task.json": json.dumps(vars(task))})
    code = cargo.UNPACK.format(cargo=packed) + INSTALL.format(places=places)
    cells = [
        _text(f"# {names}\n\nMade by the kit. The first cell unpacks its code, the second predicts the test files that "
              f"are mounted (the hidden ones, when the notebook is scored) with the models of `{task.models}`."),
        _code(code), _code(PREDICT), _text("What is handed in:"), _code(SHOW),
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = {"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": kernel}, "cells": cells}
    text = json.dumps(made)
    if len(text) > cargo.MOST_BYTES:
        raise KitError(f"{names}: the notebook has {len(text):,} bytes; Kaggle takes {cargo.MOST_BYTES:,}")
    return text


def models_of(runs: Sequence[Run], blend: Experiment, place: Path, only: Fold | None = None) -> list[Path]:
    """Files in `place`: the models that are handed in (`only` a fold's, for a rehearsal), and the tables."""
    workspace, competition = runs[0].workspace, runs[0].competition
    full = blend.ensemble.models == "full"
    index = workspace.index(competition.name)
    tables, large = {_inside(index, workspace.root): index.read_text("utf-8")}, list[Path]()
    for run in runs:
        read_member(run, full)  # all is there, and belongs together
        folds = [fold for fold in run.folds() if fold.files.predicted.is_file() and only in {None, fold.number}]
        folds += [run.fold("full")] if full and only is None else []
        tables[_inside(run.files.experiment, workspace.root)] = schema.dump_yaml(cargo.localised(run.experiment))
        small = [run.files.folds, run.files.environment]
        for fold in folds:
            small += [fold.files.oof, fold.files.test, fold.files.predicted, fold.files.trained, fold.files.started]
            large.append(fold.files.model)
        tables |= {_inside(path, workspace.root): path.read_text("utf-8") for path in small if path.is_file()}
        large += [path.with_suffix(".npz") for path in small if path.with_suffix(".npz").is_file()]
    files, links = [], {}
    for number, path in enumerate(large):
        files.append(place / f"{number:03d}{path.suffix}")
        files[-1].symlink_to(path.resolve())
        links[_inside(path, workspace.root)] = files[-1].name
    (place / cargo.TABLES).write_text(json.dumps({**tables, LINKS: json.dumps(links)}), "utf-8")
    return [*files, place / cargo.TABLES]


def _inside(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def _code(source: str) -> dict[str, Any]:
    return {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
