"""The pipeline's verbs, and the whole way: parse, call, print."""

import dataclasses
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from kit import console
from kit.cli.options import HERE, Config, Debug, Folds, Force, From, Json, MaxHours, Root, Set, app, load
from kit.competition import Competition
from kit.config import DEFAULT_CONFIG, Experiment
from kit.errors import ConfigError
from kit.plan import load_members
from kit.run_folder import experiment_file
from kit.workspace import Fold, Workspace


@app.command(rich_help_panel="The pipeline")
def download(
    config: Config = DEFAULT_CONFIG, source: From = None, set_: Set = [], workspace: Root = HERE,
    force: Force = False, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Get the competition's files, verify and unpack them into data/<competition>/raw."""
    from kit.stages import download as stage

    return stage.run(*load(config, set_, workspace), source, force)


@app.command(rich_help_panel="The pipeline")
def index(
    config: Config = DEFAULT_CONFIG, set_: Set = [], workspace: Root = HERE,
    force: Force = False, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Look at every image once: sizes, statistics, near-duplicates, problems -> index.csv."""
    from kit.stages import index as stage

    return stage.run(*load(config, set_, workspace), force)


@app.command(rich_help_panel="The pipeline")
def explore(
    config: Config = DEFAULT_CONFIG, set_: Set = [], workspace: Root = HERE,
    force: Force = False, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Statistics and figures of the data: classes, sizes, channels, contact sheets, train against test."""
    from kit.stages import explore as stage

    return stage.run(*load(config, set_, workspace), force)


@app.command(rich_help_panel="The pipeline")
def split(
    config: Config = DEFAULT_CONFIG, set_: Set = [], workspace: Root = HERE,
    force: Force = False, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Make the folds: stratified by class, near-identical images together."""
    from kit.stages import split as stage

    return stage.run(*load(config, set_, workspace), force)


@app.command(rich_help_panel="The pipeline")
def train(
    config: Config = DEFAULT_CONFIG, fold: Folds = "all", max_hours: MaxHours = None, set_: Set = [],
    workspace: Root = HERE, force: Force = False, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Train a model per fold. Killed? Type the same command: it goes on from its last checkpoint."""
    experiment, place = load(config, set_, workspace)
    folds = experiment.fold_numbers(fold)
    return _train(experiment, place, folds, force, max_hours)


@app.command(rich_help_panel="The pipeline")
def predict(
    config: Config = DEFAULT_CONFIG,
    fold: Annotated[str | None, typer.Option("--fold", help="As for train; default: all that are trained.")] = None,
    images: Annotated[Path | None, typer.Option("--images", metavar="DIR", help="These pictures instead.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="With --images: the CSV; default: in runs/NAME.")] = None,
    set_: Set = [], workspace: Root = HERE, force: Force = False, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Predict with TTA: each fold's own images (OOF) and the test images."""
    experiment, place = load(config, set_, workspace)
    folds = experiment.fold_numbers(fold) if fold is not None else None
    from kit.stages import predict as stage

    if images is not None:
        return stage.run_images(experiment, place, images, out, folds)
    return stage.run(experiment, place, folds, force)


@app.command(rich_help_panel="The pipeline")
def ensemble(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs to blend; default: the experiment's own.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Default: the run's, or NAME-blend.")] = None,
    config: Config = DEFAULT_CONFIG, set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Average folds and runs, show their CV, write and validate submissions/NAME.csv."""
    from kit.stages import ensemble as stage

    experiment, place = load(config, set_, workspace)
    if experiment.members and not runs:
        runs, name = [one.name for one in load_members(experiment, config, set_)], name or experiment.name
    return stage.run(experiment, place, runs or [], name)


@app.command(rich_help_panel="The pipeline")
def submit(
    file: Annotated[Path | None, typer.Argument(help="Any CSV; default: the experiment's own submission.")] = None,
    config: Config = DEFAULT_CONFIG,
    message: Annotated[str, typer.Option("--message", "-m", help="Shown on Kaggle; default: name and CV.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Stop after validation; nothing is uploaded.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Upload bytes that were handed in before.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Upload a file that validation doubts.")] = False,
    wait: Annotated[float, typer.Option("--wait", min=0, metavar="MINUTES", help="Of waiting for the score.")] = 10.0,
    set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Validate a CSV, upload it, wait for Kaggle's score, and keep both in its passport."""
    from kit.stages import submit as stage

    return stage.run(*load(config, set_, workspace), file, message, dry_run, again, anyway, wait)


@app.command(rich_help_panel="The whole way")
def run(
    config: Config = DEFAULT_CONFIG, source: From = None,
    fold: Annotated[str | None, typer.Option("--fold", help="As for train; default: all.")] = None,
    seed: Annotated[str | None, typer.Option("--seed", help="0..2: a run for each seed, same folds, joined.")] = None,
    max_hours: MaxHours = None, set_: Set = [],
    workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """From download to a validated submission, skipping what is done. Does not upload."""
    experiment, place = load(config, set_, workspace)
    members = load_members(experiment, config, set_, seed)
    if seed is not None:
        experiment = dataclasses.replace(experiment, name=f"{experiment.name}-seeds")
    result = _pipeline(experiment, place, source, max_hours, fold=fold, members=members)
    if result is not None and Competition.load(experiment.competition).slug is not None:
        console.say(f"\nNext: {_submit_command(result.submission, config, set_, workspace)}")
    return result


@app.command(rich_help_panel="The whole way")
def demo(set_: Set = [], workspace: Root = HERE, force: Force = False, json: Json = False, debug: Debug = False) -> Any:
    """Every stage on scikit-learn's handwritten digits: no account, no network, a few minutes."""
    experiment, place = load("configs/demo.yaml", set_, workspace)
    from kit.tools import demo as tool

    archives = tool.write_archives(place.data(Competition.load(experiment.competition).name) / "archives")
    result = _pipeline(experiment, place, archives, None, force)
    return tool.report(experiment, place, result.cv, archives)


def _submit_command(file: Path, config: str, overrides: list[str], workspace: Path) -> str:
    """As one types it: this very file, to this very competition."""
    words = ["kit", "submit", str(file), "-c", config]
    words += [word for item in overrides if item.startswith("competition=") for word in ("--set", item)]
    return shlex.join(words + (["--workspace", str(workspace)] if workspace != HERE else []))


def _train(experiment: Experiment, place: Workspace, folds: list[Fold], force: bool, max_hours: float | None) -> Any:
    """The folds' networks, or heads on a frozen one."""
    if experiment.members:
        raise ConfigError(f"members: {experiment.name} is a blend: `kit run` makes its members")
    if experiment.train.mode == "features":
        from kit.stages import features

        return features.run(experiment, place, folds, force)
    from kit.stages import train as stage

    return stage.run(experiment, place, folds, force, max_hours)


def _pipeline(
    experiment: Experiment,
    place: Workspace,
    source: Path | None,
    max_hours: float | None,
    force: bool = False,
    fold: str | None = None,
    members: Sequence[Experiment] = (),
) -> Any:
    """Every stage in order; none where --max-hours ended the training first. With `members`, each of them is a run."""
    if members and experiment_file(place, experiment.name).is_file():
        raise ConfigError(f"name: {experiment.name} is a run of its own already; --set name=... names the blend")
    folds = experiment.fold_numbers(fold or ("all" if experiment.ensemble.members == "folds" else "all,full"))
    if folds == ["full"]:
        experiment = dataclasses.replace(experiment, ensemble=dataclasses.replace(experiment.ensemble, members="full"))
    elif "full" not in folds and experiment.ensemble.members == "full":
        raise ConfigError(f"--fold {fold}: ensemble.members is full, so --fold should include it: --fold {fold},full")
    from kit.stages import download, ensemble, explore, index, predict, split

    began = time.monotonic()
    download.run(experiment, place, source, force)
    index.run(experiment, place, force)
    explore.run(experiment, place, force)
    for one in members or [experiment]:
        split.run(one, place, force)
        left = None if max_hours is None else max(0.0, max_hours - (time.monotonic() - began) / 3600)
        if not _train(one, place, folds, force, left).finished:
            return None
        predict.run(one, place, None, force)
    result = ensemble.run(experiment, place, [one.name for one in members], experiment.name)
    console.stage("run", f"done in {console.duration(time.monotonic() - began)}")
    return result
