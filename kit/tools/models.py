"""models: what the networks cost, and the output of each stage."""

from collections.abc import Sequence
from dataclasses import dataclass

from kit import console, schema
from kit.errors import ConfigError
from kit.models.registry import NETWORKS, network_options
from kit.models.summary import Summary, summarise


@dataclass(frozen=True)
class ModelsResult:
    models: list[Summary]


def models(name: str | None = None, image_size: int = 224, options: Sequence[str] = ()) -> ModelsResult:
    """One network with its stages, or all of ours in a table. `options`: `key=value`, the value as YAML."""
    chosen = schema.apply_overrides({}, options, "--option")
    if name is not None:
        summary = summarise(name, image_size, **chosen)
        rows = [[part, " x ".join(map(str, shape)), f"{count:,}"] for part, shape, count in summary.stages]
        title = f"{name} {' '.join(options)}".rstrip() + f", one RGB picture of {image_size} px, 1,000 classes"
        console.table(title, ["part", "output (C x H x W)", "parameters"], rows)
        cost = f"{summary.parameters:,} parameters, {_readable(summary.multiply_adds)} multiply-adds"
        console.say(f"{cost}, {summary.feature_dim:,} features")
        if name in NETWORKS:
            defaults = "  ".join(f"{key}={value}" for key, value in network_options(name).items())
            console.say(f"Options (model.options) and their defaults: {defaults}")
        return ModelsResult([summary])
    if chosen:
        raise ConfigError("--option: for which network? kit models NAME --option KEY=VALUE")
    summaries = [summarise(one, image_size) for one in NETWORKS]
    rows = [[s.name, _readable(s.parameters), _readable(s.multiply_adds), f"{s.feature_dim:,}"] for s in summaries]
    title = f"One RGB picture of {image_size} px, 1,000 classes"
    console.table(title, ["network", "parameters", "multiply-adds", "features"], rows)
    console.say(
        "A bottleneck strides in its 3x3 (v1.5); to stride as in the paper: kit models resnet50 --option stride_at=1x1"
    )
    console.say("kit models NAME shows the stages and the options. Any timm model is timm:NAME.")
    return ModelsResult(summaries)


def _readable(number: int) -> str:
    return f"{number / 1e9:.2f} G" if number >= 1e9 else f"{number / 1e6:.2f} M"
