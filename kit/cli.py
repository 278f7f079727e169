"""One thin command per verb: parse, call, print. torch is imported inside commands only, so that help is quick."""

import dataclasses
import json as json_module
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from kit import __version__, console
from kit.config import DEFAULT_CONFIG, Experiment
from kit.errors import KitError
from kit.workspace import Workspace

_flags = {"json": False, "debug": False}


def _remember_json(value: bool) -> None:
    if value:
        _flags["json"] = True
        console.use_stderr()


def _remember_debug(value: bool) -> None:
    _flags["debug"] = _flags["debug"] or value


def _version(value: bool) -> None:
    if value:
        print(f"kit {__version__}")
        raise typer.Exit


def _finish(result: Any, **_: Any) -> None:
    if _flags["json"] and result is not None:
        plain = [dataclasses.asdict(one) for one in result] if isinstance(result, list) else dataclasses.asdict(result)
        print(json_module.dumps(plain, indent=2, default=str))


app = typer.Typer(
    help="A Kaggle competition submission kit for image classification. `kit demo` shows the whole way in minutes; "
    "`kit run` goes from download to a validated submission.csv; `kit submit` uploads it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    result_callback=_finish,
)

Config = Annotated[
    str, typer.Option("--config", "-c", help="The experiment's YAML: here, or in the repository's configs/.")
]
Set = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key of the experiment: --set train.epochs=3. Repeatable."
    ),
]
Root = Annotated[Path, typer.Option("--workspace", help="Holds data/, runs/ and submissions/.")]
Force = Annotated[bool, typer.Option("--force", help="Do it again, even where it is up to date.")]
Json = Annotated[bool, typer.Option("--json", callback=_remember_json, help="Print the result as JSON, for scripts.")]
Debug = Annotated[bool, typer.Option("--debug", callback=_remember_debug, help="Show the traceback of an error.")]
From = Annotated[
    Path | None, typer.Option("--from", metavar="DIR", help="Zips or folders you already have, instead of Kaggle's.")
]
Folds = Annotated[str, typer.Option("--fold", help="2, 0..4, 0,2,4, all, or full (one model on all training data).")]
MaxHours = Annotated[
    float | None, typer.Option("--max-hours", min=0, help="Stop cleanly at a checkpoint after so many hours.")
]
HERE = Path()


@app.callback()
def _global(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    """Options of every command stand behind it: kit train --help."""


def _load(config: str, overrides: list[str], workspace: Path) -> tuple[Experiment, Workspace]:
    return Experiment.load(config, overrides), Workspace(workspace)


@app.command(rich_help_panel="The pipeline")
def download(
    config: Config = DEFAULT_CONFIG, source: From = None, set_: Set = [], workspace: Root = HERE,
    force: Force = False, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Get the competition's files, verify and unpack them into data/<competition>/raw."""
    from kit.stages import download as stage

    return stage.run(*_load(config, set_, workspace), source, force)


@app.command(rich_help_panel="The pipeline")
def index(
    config: Config = DEFAULT_CONFIG, set_: Set = [], workspace: Root = HERE,
    force: Force = False, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Look at every image once: sizes, statistics, near-duplicates, problems -> index.csv."""
    from kit.stages import index as stage

    return stage.run(*_load(config, set_, workspace), force)


@app.command(rich_help_panel="The pipeline")
def explore(
    config: Config = DEFAULT_CONFIG, set_: Set = [], workspace: Root = HERE,
    force: Force = False, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Statistics and figures of the data: classes, sizes, channels, contact sheets, train against test."""
    from kit.stages import explore as stage

    return stage.run(*_load(config, set_, workspace), force)


@app.command(rich_help_panel="The pipeline")
def split(
    config: Config = DEFAULT_CONFIG, set_: Set = [], workspace: Root = HERE,
    force: Force = False, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Make the folds: stratified by class, near-identical images together."""
    from kit.stages import split as stage

    return stage.run(*_load(config, set_, workspace), force)


@app.command(rich_help_panel="The pipeline")
def train(
    config: Config = DEFAULT_CONFIG, fold: Folds = "all", max_hours: MaxHours = None, set_: Set = [],
    workspace: Root = HERE, force: Force = False, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Train a model per fold. Killed? Type the same command: it goes on from its last checkpoint."""
    experiment, place = _load(config, set_, workspace)
    folds = experiment.fold_numbers(fold)
    from kit.stages import train as stage

    return stage.run(experiment, place, folds, force, max_hours)


@app.command(rich_help_panel="The pipeline")
def predict(
    config: Config = DEFAULT_CONFIG,
    fold: Annotated[str | None, typer.Option("--fold", help="As for train; default: every trained fold.")] = None,
    images: Annotated[Path | None, typer.Option("--images", metavar="DIR", help="A folder of pictures.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="With --images: the CSV to write.")] = None,
    set_: Set = [], workspace: Root = HERE, force: Force = False, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Predict with TTA: each fold's own images (OOF) and the test images."""
    experiment, place = _load(config, set_, workspace)
    folds = experiment.fold_numbers(fold) if fold is not None else None
    from kit.stages import predict as stage

    if images is not None:
        return stage.run_images(experiment, place, images, out, folds)
    return stage.run(experiment, place, folds, force)


@app.command(rich_help_panel="The pipeline")
def ensemble(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs to blend; default: the experiment's own.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="The submission's name.")] = None,
    config: Config = DEFAULT_CONFIG, set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Average folds and runs, show their CV, write and validate submissions/NAME.csv."""
    from kit.stages import ensemble as stage

    return stage.run(*_load(config, set_, workspace), runs or [], name)


@app.command(rich_help_panel="The pipeline")
def submit(
    file: Annotated[Path | None, typer.Argument(help="Any CSV; default: the experiment's own submission.")] = None,
    config: Config = DEFAULT_CONFIG,
    message: Annotated[str, typer.Option("--message", "-m", help="Shown on Kaggle; default: name and CV.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Stop after validation; nothing is uploaded.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Upload bytes that were handed in before.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Upload a file that validation doubts.")] = False,
    wait: Annotated[float, typer.Option("--wait", min=0, metavar="MINUTES", help="For the score.")] = 10.0,
    set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Validate a CSV, upload it, wait for Kaggle's score, and keep both in its passport."""
    from kit.stages import submit as stage

    return stage.run(*_load(config, set_, workspace), file, message, dry_run, again, anyway, wait)


@app.command(rich_help_panel="The whole way")
def run(
    config: Config = DEFAULT_CONFIG, source: From = None, max_hours: MaxHours = None, set_: Set = [],
    workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """From download to a validated submission, skipping what is done. Does not upload."""
    experiment, place = _load(config, set_, workspace)
    result = _pipeline(experiment, place, source, max_hours)
    if result is not None:
        console.say(f"\nNext: kit submit -c {config}" + (f" --workspace {workspace}" if workspace != HERE else ""))
    return result


@app.command(rich_help_panel="The whole way")
def demo(set_: Set = [], workspace: Root = HERE, force: Force = False, json: Json = False, debug: Debug = False) -> Any:
    """Every stage on scikit-learn's handwritten digits: no account, no network, a few minutes."""
    experiment, place = _load("configs/demo.yaml", set_, workspace)
    from kit.competition import Competition
    from kit.tools import demo as tool

    archives = tool.write_archives(place.data(Competition.load(experiment.competition).name) / "archives")
    result = _pipeline(experiment, place, archives, None, force)
    return tool.report(experiment, place, result.cv, archives)


@app.command(rich_help_panel="Beside it")
def doctor(
    config: Config = DEFAULT_CONFIG,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask Kaggle.")] = False,
    set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Is this machine ready? Python, torch, GPUs, precision, disk, Kaggle credentials."""
    from kit.tools import doctor as tool

    return tool.run(*_load(config, set_, workspace), offline)


def _pipeline(
    experiment: Experiment, place: Workspace, source: Path | None, max_hours: float | None, force: bool = False
) -> Any:
    """Every stage in order; none where --max-hours ended the training first."""
    from kit.stages import download, ensemble, explore, index, predict, split, train

    began = time.monotonic()
    download.run(experiment, place, source, force)
    index.run(experiment, place, force)
    explore.run(experiment, place, force)
    split.run(experiment, place, force)
    folds = experiment.fold_numbers("all" if experiment.ensemble.members == "folds" else "all,full")
    left = None if max_hours is None else max(0.0, max_hours - (time.monotonic() - began) / 3600)
    if not train.run(experiment, place, folds, force, left).finished:
        return None
    predict.run(experiment, place, None, force)
    result = ensemble.run(experiment, place)
    console.stage("run", f"done in {console.duration(time.monotonic() - began)}")
    return result


class _Stopped(BaseException):
    """Ctrl-C: our own, since Typer would end quietly on a KeyboardInterrupt."""


def _stop(*_: Any) -> None:
    raise _Stopped


def main() -> None:
    """The console script. Exit 0 done, 1 the work failed, 2 the command or a config is wrong."""
    signal.signal(signal.SIGINT, _stop)
    try:
        app()
    except KitError as error:
        if _flags["debug"]:
            traceback.print_exc()
        console.error(str(error))
        sys.exit(error.exit_code)
    except _Stopped:
        console.error("stopped; everything up to the last checkpoint is kept, type the same command to go on")
        sys.exit(130)
    except Exception as error:
        if _flags["debug"]:
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        console.error(f"{type(error).__name__}: {reason} (a bug, or a broken machine: --debug shows where)")
        sys.exit(1)
