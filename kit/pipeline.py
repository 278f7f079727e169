"""The whole pipeline in order: what `kit run` and a notebook call."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kit import console
from kit.config import Experiment
from kit.data.places import in_raw
from kit.errors import ConfigError
from kit.models.registry import check_model
from kit.run.run import Run
from kit.runners import address_of, is_cluster, require_place
from kit.runners.fleet import Fleet
from kit.runners.kaggle import Ask, Sessions
from kit.stages.download import download
from kit.stages.ensemble import EnsembleResult, ensemble
from kit.stages.explore import explore
from kit.stages.index import index
from kit.stages.predict import predict
from kit.stages.split import split
from kit.stages.train import train
from kit.workspace import Fold, Workspace


def run_pipeline(
    experiment: Experiment | str | Path, workspace: Workspace | str | Path = ".", source: str | Path | None = None,
    folds: Fold | str | Sequence[Fold] | None = None, seeds: int | str | Sequence[int] | None = None,
    max_hours: float | None = None, on: str | None = None, force: bool = False, ask: Ask | None = None,
) -> EnsembleResult | None:  # fmt: skip
    """From download to a validated submission, skipping what is done; nothing is uploaded. `experiment`: an
    `Experiment`, or a config's path or name; `source`: the competition's files, if you have them. `folds` and `seeds`
    as on the command line (`"0..4"`, `"all"`, `"full"`; `"0..2"`: a run for each seed on the same folds, and their
    blend) or as lists. `on`: `here`, `gpus`, `ray` or `kaggle` (`max_hours` is then a session's; `ask`: may the files
    of a competition that is not on Kaggle be put there?). Returns `None` where `max_hours` ended the training first.
    Raises `KitError` that says what to do."""
    whole = Run.open(experiment, workspace)
    asked = whole.asked
    numbers = _folds(asked, folds)
    if seeds is not None:
        asked = asked.seeded(_listed(seeds) or "")
    if numbers == ["full"]:
        asked = replace(asked, ensemble=replace(asked.ensemble, models="full"))
    whole = Run.open(asked, whole.workspace)
    if asked.members and whole.exists:
        raise ConfigError(f"name: {asked.name} is already a run of its own; name the blend with --set name=...")
    for member in asked.members or [asked]:
        check_model(member.model)  # a wrong one is refused before anything is done, as is a wrong place
    began = time.monotonic()
    runs = [Run.open(member, whole.workspace) for member in asked.members] or [whole]
    if on == "kaggle":
        there = Sessions(runs, numbers, asked.name, max_hours, ask)
        if source is not None or are_files_here(whole):  # index and folds are made once, and go along
            prepare(runs, source, force)
        there.finish()
        return _blended(runs, asked, began)
    require_place(on)
    download(whole, Path(source) if source is not None else None, force)
    index(whole, force)
    explore(whole, force)
    for run in runs:
        split(run, force)
    left = None if max_hours is None else max(0.0, max_hours - (time.monotonic() - began) / 3600)
    fleet = Fleet(runs, numbers, address_of(on or ""), left) if is_cluster(on) else None
    if fleet is not None and not fleet.finish():  # all runs' folds at once
        console.warn("--max-hours has run out; everything is saved. Type the same command to go on")
        return None
    for run in runs:
        left = None if max_hours is None else max(0.0, max_hours - (time.monotonic() - began) / 3600)
        if not train(run, numbers, force, left, on).finished:
            return None
        predict(run, None, force, on if fleet is not None and fleet.is_shared else None)
    return _blended(runs, asked, began)


def prepare(runs: Sequence[Run], source: str | Path | None = None, force: bool = False) -> None:
    """The files, the index and the folds of runs of one competition."""
    download(runs[0], Path(source) if source is not None else None, force)
    index(runs[0], force)
    for run in runs:
        split(run, force)


def are_files_here(run: Run) -> bool:
    raw = run.workspace.raw(run.competition.name)
    return in_raw(raw, run.competition.files.roles()["train"]) is not None


def _blended(runs: Sequence[Run], asked: Experiment, began: float) -> EnsembleResult:
    result = ensemble(runs, asked.name, asked.ensemble)
    console.stage("run", f"done in {console.duration(time.monotonic() - began)}")
    return result


def _listed(numbers: int | str | Sequence[int | str] | None) -> str | None:
    if numbers is None or isinstance(numbers, str):
        return numbers
    return ",".join(map(str, [numbers] if isinstance(numbers, int) else numbers))


def _folds(experiment: Experiment, folds: Fold | str | Sequence[Fold] | None) -> list[Fold]:
    """The folds to train; `ensemble.models: full` adds the model of all training data."""
    wanted, full = _listed(folds), experiment.ensemble.models == "full"
    numbers = experiment.fold_numbers(wanted if wanted is not None else "all,full" if full else "all")
    if full and "full" not in numbers:
        raise ConfigError(f"--fold {wanted}: ensemble.models is full and needs that model too: --fold {wanted},full")
    return numbers
