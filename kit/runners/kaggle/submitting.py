"""A code competition's submission: the models as a dataset, the notebook saved and run, and that version handed in."""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit import console
from kit.competition import Competition
from kit.config import Experiment
from kit.errors import KitError
from kit.kaggle.client import KaggleClient
from kit.kaggle.datasets import Datasets
from kit.kaggle.kernels import Kernel, Kernels, Session, slugified
from kit.run.run import Run
from kit.runners.kaggle import cargo
from kit.runners.kaggle.following import POLL, follow, start
from kit.runners.kaggle.notebook import FACTS, FILE, SHARE, Rerun, models_of, notebook
from kit.runners.kaggle.pictures import Shelf
from kit.runners.kaggle.wheels import wheels_for
from kit.workspace import Fold, fingerprint

LETTERS = 28  # of a name in a slug of at most 50


@dataclass(frozen=True)
class HandedRuns:
    """`runs` are blended as `asked.ensemble` says; `fold`: this one's models alone."""

    runs: Sequence[Run]
    asked: Experiment
    fold: Fold | None = None


def send_notebook(client: KaggleClient, handed: HandedRuns, competition: Competition) -> Callable[[str], int]:
    """Push the notebook, wait for its own run, look at what it left. What it returns submits that version. The same
    notebook is not pushed twice."""
    kernels, slug = Kernels.connect(), competition.slug or ""
    task = rerun_of(handed, competition, Datasets.connect())
    text = notebook(task, handed.runs)
    name = f"kit-{slugified(handed.asked.name)[:LETTERS].strip('-')}-sub-{fingerprint(vars(task))[:8]}"
    session = kernels.find(name)
    if session is None or not (session.goes_on or session.status == "COMPLETE"):
        kernel = Kernel(name, text, slug, (task.models,), kind="notebook", internet=False)
        console.stage("submit", f"{kernels.quota()}; the notebook's own run takes a little of it")
        session = start(kernels, kernel, session, POLL)
    session = follow(kernels, session, POLL)
    _check(kernels, session, competition)
    return lambda message: client.hand_in_notebook(slug, kernels.owner, name, session.version, message)


def rerun_of(handed: HandedRuns, competition: Competition, shelf: Shelf) -> Rerun:
    """What the notebook is to do, once its models are on the shelf."""
    with tempfile.TemporaryDirectory() as place:
        files = models_of(handed.runs, handed.asked, Path(place), handed.fold)
        files += wheels_for(handed.runs, handed.runs[0].workspace.root / "kaggle" / "wheels")
        models = shelf.put(slugified(handed.asked.name), files)
    experiments, blend = [cargo.localised(run.experiment) for run in handed.runs], cargo.localised(handed.asked)
    return Rerun(competition.slug or "", experiments, blend, models, competition.hidden_test.hours)


def _check(kernels: Kernels, session: Session, competition: Competition) -> None:
    """What Kaggle would refuse, and what the clock would cut."""
    if session.status != "COMPLETE":
        why = session.failure or "its log is above"
        raise KitError(f"notebook {session.slug} {session.status.lower()} on Kaggle: {why}; nothing was submitted")
    there = kernels.outputs(session)
    if FILE not in there:
        raise KitError(f"notebook {session.slug} left no {FILE}; nothing was submitted")
    hidden = competition.hidden_test
    if FACTS not in there:
        return
    with tempfile.TemporaryDirectory() as place:
        kernels.fetch(session, FACTS, Path(place) / FACTS, lambda _: None)
        seconds = json.loads((Path(place) / FACTS).read_text("utf-8"))["seconds_per_image"]
    if hidden.images is None:
        allowed = hidden.hours * 3600 * SHARE / max(seconds, 1e-9)
        console.stage("submit", f"the clock ({hidden.hours:g} h) allows about {allowed:,.0f} hidden pictures")
        return
    hours = hidden.images * seconds / 3600
    text = f"{hidden.images:,} hidden pictures take about {hours:.1f} of {hidden.hours:g} h"
    if hours > hidden.hours * SHARE:
        console.warn(f"{text}: the notebook will leave out views, then folds, for all of them alike")
    else:
        console.stage("submit", text)
