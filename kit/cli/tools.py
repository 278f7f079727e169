"""The verbs beside the pipeline: parse, call, print."""

from typing import Annotated, Any

import typer

from kit.cli.options import HERE, Config, Debug, Json, Root, Set, app, load
from kit.config import DEFAULT_CONFIG
from kit.workspace import Workspace


@app.command(rich_help_panel="Beside it")
def doctor(
    config: Config = DEFAULT_CONFIG,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask Kaggle.")] = False,
    set_: Set = [], workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Is this machine ready? Python, torch, GPUs, precision, disk, Kaggle credentials."""
    from kit.tools import doctor as tool

    return tool.run(*load(config, set_, workspace), offline)


@app.command(rich_help_panel="Beside it")
def models(
    name: Annotated[str | None, typer.Argument(help="resnet18, vgg16, timm:NAME; default: all of ours.")] = None,
    size: Annotated[int, typer.Option("--size", min=8, help="Pixels a side of the picture.")] = 224,
    options: Annotated[
        list[str], typer.Option("--option", metavar="KEY=VALUE", help="As in model.options: --option width=0.5.")
    ] = [],
    json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Networks: parameters, multiply-adds, and what each stage hands on."""
    from kit.tools import models as tool

    return tool.run(name, size, options)


@app.command(rich_help_panel="Beside it")
def compare(
    first: Annotated[str, typer.Argument(help="A run.")],
    second: Annotated[str, typer.Argument(help="The run that may be better.")],
    workspace: Root = HERE, json: Json = False, debug: Debug = False,
) -> Any:  # fmt: skip
    """Is one run really better than another? Paired bootstrap on their OOF."""
    from kit.tools import compare as tool

    return tool.run(Workspace(workspace), first, second)
