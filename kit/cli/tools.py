"""The verbs beside the pipeline: parse, call, print."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from kit.about import DEFAULT_CONFIG
from kit.cli.options import HERE, Config, Debug, Force, From, Json, NoForce, On, Root, Set, agreed, app, do, open_run
from kit.errors import ConfigError
from kit.workspace import Workspace


@app.command(rich_help_panel="End to end")
def init(
    source: From = None,
    slug: Annotated[str | None, typer.Option("--slug", help="Name on Kaggle: download it, read its metric.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Default: the slug's, or the folder's.")] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="The competition's: roc_auc, ...")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; stop where files can be read in two ways.")] = False,
    set_: Annotated[list[str], typer.Option("--set", help="KEY=VALUE of the competition's YAML.")] = [],
    weights: Annotated[str | None, typer.Option("--weights", help="Of NAME-strong: timm, none, FILE, FOLDER.")] = None,
    workspace: Root = HERE, force: Force = False, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Your own competition: look at its files, write its YAML, a first experiment and one for the leaderboard."""
    ask = None if yes or not sys.stdin.isatty() else _ask
    return do("tools.init", Workspace(workspace), source, slug, name, metric, ask, force, set_, weights)


def _ask(question: str, options: Sequence[tuple[str, str]]) -> str:
    lines = "\n".join(f"  {value:<12}{meaning}" for value, meaning in options)
    names = [value for value, _ in options]
    answer = typer.prompt(f"{question}\n{lines}\n", default=names[0])
    while answer not in names:
        answer = typer.prompt(f"one of {', '.join(names)}", default=names[0])
    return answer


@app.command(rich_help_panel="Tools")
def doctor(
    config: Config = DEFAULT_CONFIG,
    offline: Annotated[bool, typer.Option("--offline", help="Do not contact Kaggle.")] = False,
    set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Is this machine ready? Python, torch, GPUs, precision, disk, Kaggle credentials."""
    return do("tools.doctor", open_run(config, set_, workspace), offline)


@app.command(rich_help_panel="Tools")
def bench(
    config: Config = DEFAULT_CONFIG, set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """How fast this machine reads, augments, trains and predicts your data, and what limits it. Takes two minutes."""
    return do("tools.bench", open_run(config, set_, workspace))


@app.command(rich_help_panel="Tools")
def audit(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Default: the experiment's own.")] = None,
    config: Config = DEFAULT_CONFIG, set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Which labels are wrong? Suspects from a run's OOF, near-duplicates and outliers (in frozen features)."""
    own = open_run(config, set_, workspace)
    return do("tools.audit", own.named(run or own.name, own.workspace))


@app.command(rich_help_panel="Tools")
def leaderboard(
    config: Config = DEFAULT_CONFIG,
    source: Annotated[Path | None, typer.Option("--from", metavar="FILE", help="A CSV with a column `score`.")] = None,
    set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """The teams' scores, and where the medals lie; `kit ensemble` then shows the rank to expect."""
    return do("tools.leaderboard", open_run(config, set_, workspace), source)


@app.command(rich_help_panel="Tools")
def runs(
    name: Annotated[str | None, typer.Argument(help="A run: write its report.html.")] = None,
    track: Annotated[str | None, typer.Option("--track", help="Send the run NAME: tensorboard or wandb.")] = None,
    workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """The ledger: every run and submission with its CV, Kaggle's score, its time; or one run's page."""
    if track is not None:
        if name is None:
            raise ConfigError(f"--track {track}: which run? kit runs NAME --track {track}")
        return do("tools.track", Workspace(workspace), name, track)
    if name is not None:
        return do("tools.report", Workspace(workspace), name)
    return do("tools.runs", Workspace(workspace))


@app.command("lr-find", rich_help_panel="Tools")
def lr_find(
    config: Config = DEFAULT_CONFIG,
    steps: Annotated[int, typer.Option("--steps", min=20, help="Batches, while the rate rises from 1e-6 to 1.")] = 100,
    set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """A learning rate for this experiment: a short training at an ever higher one, a figure, a suggestion."""
    return do("tools.lr_find", open_run(config, set_, workspace), steps)


@app.command(rich_help_panel="Tools")
def search(
    config: Config = DEFAULT_CONFIG, source: From = None,
    space: Annotated[Path | None, typer.Option("--space", metavar="FILE", help="A YAML of what may change.")] = None,
    fold: Annotated[str, typer.Option("--fold", help="The folds that score a trial.")] = "0",
    trials: Annotated[int, typer.Option("--trials", min=1, help="In all; those done before count.")] = 20,
    hours: Annotated[float | None, typer.Option("--hours", min=0, help="Begin and go on with none after that.")] = None,
    on: On = None, trial: Annotated[int | None, typer.Option("--trial", hidden=True)] = None,
    set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False, force: NoForce = False,
) -> Any:  # fmt: skip
    """Better settings: trials with other learning rates, augmentation, sizes; the best become a config. (Optuna)"""
    run = open_run(config, set_, workspace)
    if trial is not None:  # of a search that another process began
        return do("tools.search.one_trial", run, trial, hours)
    return do("tools.search", run, source, space, run.asked.fold_numbers(fold), trials, hours, on)


@app.command(rich_help_panel="Tools")
def cache(
    what: Annotated[str, typer.Argument(metavar="[clear]", help="clear removes it; default: a list.")] = "list",
    cache_dir: Annotated[str | None, typer.Option("--dir", help="The folder of machine.cache_dir, too.")] = None,
    workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """What is kept to save time: pixels, features, measured speeds. `kit cache clear` removes it."""
    if what not in {"list", "clear"}:
        raise ConfigError(f"kit cache {what}: expected nothing, or clear")
    return do("tools.cache", Workspace(workspace), what == "clear", cache_dir)


@app.command(rich_help_panel="Tools")
def models(
    name: Annotated[str | None, typer.Argument(help="resnet18, vgg16, timm:NAME; default: all of ours.")] = None,
    size: Annotated[int, typer.Option("--size", min=8, help="The input's side, in pixels.")] = 224,
    options: Annotated[
        list[str], typer.Option("--option", metavar="KEY=VALUE", help="As in model.options: --option width=0.5.")
    ] = [],
    weights: Annotated[Path | None, typer.Option("--weights", metavar="FILE", help="What this file is, what it fits.")]
    = None, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Networks: parameters, multiply-adds, and each stage's output."""
    return do("tools.models", name, size, options, weights)


@app.command(rich_help_panel="Tools")
def compare(
    first: Annotated[str, typer.Argument(help="A run.")],
    second: Annotated[str, typer.Argument(help="The run that may be better.")],
    workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Is one run really better than another? Paired bootstrap on their OOF."""
    from kit.run.run import Run

    return do("tools.compare", Run.named(first, workspace), Run.named(second, workspace))


_ACTIONS = "list, log SLUG, stop SLUG, fetch, or rehearse."


@app.command(rich_help_panel="Tools")
def kaggle(
    action: Annotated[str, typer.Argument(metavar="ACTION", help=_ACTIONS)] = "list",
    slug: Annotated[str | None, typer.Argument(metavar="[SLUG]", help="As list shows it.")] = None,
    config: Config = DEFAULT_CONFIG,
    fold: Annotated[str, typer.Option("--fold", help="fetch, rehearse: of the run with these folds.")] = "all",
    source: From = None,
    python: Annotated[str | None, typer.Option("--python", help="rehearse: whose packages are Kaggle's.")] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=1, help="rehearse: the clock.")] = 60.0,
    yes: Annotated[bool, typer.Option("--yes", help="stop: ask nothing.")] = False,
    set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """What `--on kaggle` started there: list it with the week's quota, read a log, fetch a run's files, stop one.
    rehearse: run the script, or the trained run's notebook, here as Kaggle would, which costs nothing."""
    if action == "list":
        return do("tools.kaggle.list_sessions")
    if action in {"fetch", "rehearse"}:
        run = open_run(config, set_, workspace)
        folds = run.asked.fold_numbers(fold)
        if action == "fetch":
            return do("tools.kaggle.fetch", run, folds)
        return do("tools.rehearse", run, folds, source, python, minutes)
    if action not in {"log", "stop"}:
        raise ConfigError(f"kit kaggle {action}: expected list, log, stop, fetch or rehearse")
    if slug is None:
        raise ConfigError(f"kit kaggle {action}: which one? `kit kaggle list` shows their slugs")
    if action == "log":
        return do("tools.kaggle.log", slug)
    return do("tools.kaggle.stop", slug, partial(agreed, yes))
