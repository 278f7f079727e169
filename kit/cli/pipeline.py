"""The pipeline's verbs, one by one and end to end: parse, call, print."""

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from kit import console
from kit.about import DEFAULT_CONFIG
from kit.cli.options import (
    HERE,
    Config,
    Debug,
    Folds,
    Force,
    From,
    Json,
    MaxHours,
    NoForce,
    On,
    Root,
    Set,
    agreed,
    app,
    do,
    open_run,
)
from kit.errors import ConfigError
from kit.workspace import read_json


@app.command(rich_help_panel="The pipeline")
def download(
    config: Config = DEFAULT_CONFIG, source: From = None, set_: Set = [], workspace: Root = HERE,
    force: Force = False, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Get the competition's files, verify and unpack them into data/<competition>/raw."""
    return do("stages.download", open_run(config, set_, workspace), source, force)


def _stage(verb: str) -> Callable[..., Any]:
    """The command of a stage that takes a run and --force."""

    def command(
        config: Config = DEFAULT_CONFIG, set_: Set = [], workspace: Root = HERE,
        force: Force = False, json: Json = False, debug: Debug = False,
    ) -> Any:  # fmt: skip
        return do(f"stages.{verb}", open_run(config, set_, workspace), force)

    return command


for _verb, _help in {
    "index": "Look at every image once: sizes, statistics, near-duplicates, problems -> index.csv.",
    "explore": "Statistics and figures of the data: classes, sizes, channels, contact sheets, train versus test.",
    "split": "Make the folds: stratified by class, near-identical images together.",
}.items():
    app.command(_verb, help=_help, rich_help_panel="The pipeline")(_stage(_verb))


@app.command(rich_help_panel="The pipeline")
def train(
    config: Config = DEFAULT_CONFIG, fold: Folds = "all", max_hours: MaxHours = None, on: On = None, set_: Set = [],
    workspace: Root = HERE, force: Force = False, json: Json = False, debug: Debug = False,
    share: Annotated[int | None, typer.Option("--share", hidden=True)] = None,
    inside: Annotated[bool, typer.Option("--inside", hidden=True)] = False,
    settle: Annotated[bool, typer.Option("--settle", hidden=True)] = False,
) -> Any:  # fmt: skip
    """Train a model per fold. Killed? Type the same command: it resumes from its last checkpoint."""
    run = open_run(config, set_, workspace)
    folds = [] if settle else run.asked.fold_numbers(fold)
    if inside:  # the run in the config's folder: an attempt of a cluster's, a trial
        run = type(run)(run.asked, run.workspace, Path(config).parent)
    if share is not None:  # one of the processes of machine.gpus_per_fold, with so many workers
        return do("stages.train.train_share", run, folds[0], share, max_hours)
    return do("stages.train", run, folds, force, max_hours, on)


@app.command(rich_help_panel="The pipeline")
def predict(
    config: Config = DEFAULT_CONFIG,
    fold: Annotated[str | None, typer.Option("--fold", help="As for train; default: all that are trained.")] = None,
    images: Annotated[Path | None, typer.Option("--images", metavar="DIR", help="Predict these instead.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="With --images: the CSV; default: in runs/NAME.")] = None,
    on: On = None, set_: Set = [], workspace: Root = HERE, force: Force = False, json: Json = False,
    debug: Debug = False,
) -> Any:  # fmt: skip
    """Predict with TTA: each fold's own images (OOF) and the test images."""
    run = open_run(config, set_, workspace)
    folds = run.asked.fold_numbers(fold) if fold is not None else None
    if images is not None:
        return do("tools.predict_images", run, images, out, folds)
    return do("stages.predict", run, folds, force, on)


_WITH = "Someone else's predictions: columns as in a submission of probabilities, and fold. Repeatable."


@app.command(rich_help_panel="The pipeline")
def ensemble(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs to blend; default: the experiment's own.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Default: the run's, or NAME-blend.")] = None,
    friends: Annotated[list[str], typer.Option("--with", metavar="NAME=OOF.csv,TEST.csv", help=_WITH)] = [],
    config: Config = DEFAULT_CONFIG, set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False,
    force: NoForce = False,
) -> Any:  # fmt: skip
    """Average folds and runs, show their CV, write and validate submissions/NAME.csv."""
    run = open_run(config, set_, workspace)
    members = [one.name for one in run.asked.members]
    names = list(dict.fromkeys(runs or members or [run.name]))
    alone = len(names) == 1 and not friends
    name = name or (run.name if members and not runs and not friends else names[0] if alone else f"{run.name}-blend")
    return do("stages.ensemble", [run.named(one, run.workspace) for one in names], name, run.asked.ensemble, friends)


@app.command(rich_help_panel="The pipeline")
def submit(
    file: Annotated[Path | None, typer.Argument(help="Any CSV; default: the experiment's own submission.")] = None,
    config: Config = DEFAULT_CONFIG,
    message: Annotated[str, typer.Option("--message", "-m", help="Shown on Kaggle; default: name and CV.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Stop after validation; nothing is uploaded.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Upload a file that was submitted before.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Upload a file despite validation's doubts.")] = False,
    wait: Annotated[float, typer.Option("--wait", min=0, metavar="MINUTES", help="Wait this long for a score.")] = 10.0,
    set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False,
    force: NoForce = False,
) -> Any:  # fmt: skip
    """Validate a CSV, upload it, wait for Kaggle's score, and keep both in its passport."""
    if file is not None and config == DEFAULT_CONFIG and not any(item.startswith("competition=") for item in set_):
        set_ = [*set_, *_competition_of(file)]
    return do("stages.submit", open_run(config, set_, workspace), file, message, dry_run, again, anyway, wait)


@app.command(rich_help_panel="End to end")
def run(
    config: Config = DEFAULT_CONFIG, source: From = None,
    fold: Annotated[str | None, typer.Option("--fold", help="As for train; default: all.")] = None,
    seed: Annotated[str | None, typer.Option("--seed", help="0..2: a run per seed on the same folds, blended.")] = None,
    max_hours: MaxHours = None, on: On = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --on kaggle: write what would be pushed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --on kaggle: put files there without a question.")] = False,
    set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False, force: NoForce = False,
) -> Any:  # fmt: skip
    """From download to a validated submission, skipping what is done. Does not upload."""
    one = open_run(config, set_, workspace)
    if dry_run:
        if on != "kaggle":
            raise ConfigError("--dry-run: shows what a push would be; add --on kaggle")
        return do("tools.kaggle.write", one, one.asked.fold_numbers(fold or "all"), max_hours, workspace / "kaggle")
    from kit.pipeline import run_pipeline

    ask = partial(agreed, yes)
    result = run_pipeline(one.asked, one.workspace, source, fold, seed, max_hours, on, ask=ask)
    submission = result.submission if result is not None else None
    if submission is not None and one.competition.slug is not None:
        console.say(f"\nNext: {_submit_command(submission, config, set_, workspace)}")
    return result


@app.command(rich_help_panel="End to end")
def demo(set_: Set = [], workspace: Root = HERE, force: Force = False, json: Json = False, debug: Debug = False) -> Any:
    """Every stage on scikit-learn's handwritten digits: no account, no network, a few minutes."""
    one = open_run("configs/demo.yaml", set_, workspace)
    from kit.pipeline import run_pipeline
    from kit.tools.demo import report, write_archives

    archives = write_archives(one.workspace.data(one.competition.name) / "archives")
    result = run_pipeline(one.asked, one.workspace, archives, force=force)
    return report(one, result.cv, archives) if result is not None and result.cv is not None else None


def _competition_of(file: Path) -> list[str]:
    """As its passport has it, where one lies beside it."""
    passport = file.with_suffix(".json")
    name = read_json(passport).get("competition") if passport.is_file() else None
    return [f"competition={name}"] if name else []


def _submit_command(file: Path, config: str, overrides: list[str], workspace: Path) -> str:
    """As one would type it: for exactly this file and this competition."""
    words = ["kit", "submit", str(file), "-c", config]
    words += [word for item in overrides if item.startswith("competition=") for word in ("--set", item)]
    return shlex.join(words + (["--workspace", str(workspace)] if workspace != HERE else []))
