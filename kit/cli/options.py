"""What the commands share: the app, the options that several take, how a result is printed."""

import dataclasses
import json as json_module
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit import console
from kit.about import DEFAULT_CONFIG, VERSION
from kit.errors import ConfigError
from kit.workspace import Workspace, without_nan

if TYPE_CHECKING:
    from kit.run.run import Run

flags = {"json": False, "debug": False}


def _remember_json(value: bool) -> None:
    if value:
        flags["json"] = True
        console.use_stderr()


def _remember_debug(value: bool) -> None:
    flags["debug"] = flags["debug"] or value


def _version(value: bool) -> None:
    if value:
        print(f"kit {VERSION}")
        raise typer.Exit


def _finish(result: Any, **_: Any) -> None:
    if flags["json"] and result is not None:
        plain = [dataclasses.asdict(one) for one in result] if isinstance(result, list) else dataclasses.asdict(result)
        print(json_module.dumps(without_nan(plain), indent=2, default=str))


app = typer.Typer(
    help="A Kaggle competition submission kit for image classification. `kit demo` shows it all in minutes; "
    "`kit run` goes from download to a validated submission.csv; `kit submit` uploads it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    result_callback=_finish,
)

Config = Annotated[str, typer.Option("--config", "-c", help="An experiment's YAML, here or in the kit's configs/.")]
_SET = "Change a key of the experiment: --set train.epochs=3. Repeatable."
Set = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help=_SET)]
Root = Annotated[Path, typer.Option("--workspace", help="The folder of data/, runs/ and submissions/.")]
Force = Annotated[bool, typer.Option("--force", help="Do it again and replace what is there.")]


def _no_force(value: bool) -> None:
    if value:
        text = "this does only what is missing; the stages know --force: kit index, explore, split, train, predict"
        raise ConfigError(f"--force: {text}")


NoForce = Annotated[bool, typer.Option("--force", hidden=True, callback=_no_force)]
Json = Annotated[bool, typer.Option("--json", callback=_remember_json, help="Print the result as JSON, for scripts.")]
Debug = Annotated[bool, typer.Option("--debug", callback=_remember_debug, help="Show the traceback of an error.")]
_FROM = "Zips or folders that you already have, instead of Kaggle's."
From = Annotated[Path | None, typer.Option("--from", metavar="DIR", help=_FROM)]
Folds = Annotated[str, typer.Option("--fold", help="2, 0..4, 0,2,4, all, or full (one model on all training data).")]
_ON = "here, gpus (a fold on each), ray[:ADDRESS] or kaggle; default: every visible GPU."
On = Annotated[str | None, typer.Option("--on", metavar="PLACE", help=_ON)]
_HOURS = "Stop at a checkpoint after this many hours (on Kaggle: of a session)."
MaxHours = Annotated[float | None, typer.Option("--max-hours", min=0, help=_HOURS)]
HERE = Path()


@app.callback()
def _global(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None: ...


def agreed(yes: bool, question: str) -> bool:
    return yes or (sys.stdin.isatty() and typer.confirm(question))


def do(room: str, *arguments: Any) -> Any:
    """Call the function that a verb's module (`tools.bench`) is named after, or one of a module that holds several
    (`tools.kaggle.log`); the module is imported only now."""
    place, _, name = room.rpartition(".")
    module = place if place.count(".") else room
    return getattr(import_module(f"kit.{module}"), name)(*arguments)


def open_run(config: str, overrides: list[str], workspace: Path) -> "Run":
    from kit.config import Experiment

    console.remember_options(_as_typed(config, overrides, workspace))
    experiment = Experiment.load(config, overrides)  # a mistyped key is refused before torch is imported
    from kit.run.run import Run

    return Run(experiment, Workspace(workspace))


def _as_typed(config: str, overrides: list[str], workspace: Path) -> str:
    words = ["-c", config] if config != DEFAULT_CONFIG else []
    words += [word for item in overrides for word in ("--set", item)]
    return shlex.join(words + (["--workspace", str(workspace)] if workspace != HERE else []))
