"""models: what the networks cost, and the output of each stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kit import console, schema
from kit.errors import ConfigError, examples
from kit.models.pretrained import fit_file, timm_of_file
from kit.models.registry import NETWORKS, build_model, network_options
from kit.models.summary import Summary, summarise
from kit.models.weights import read_weights


@dataclass(frozen=True)
class ModelsResult:
    models: list[Summary]


def models(
    name: str | None = None, image_size: int = 224, options: Sequence[str] = (), weights: Path | None = None
) -> ModelsResult:
    """One network with its stages, or all of ours in a table. `options`: `key=value`, the value as YAML."""
    chosen = schema.apply_overrides({}, options, "--option")
    if weights is not None:
        return _of_file(weights, name, chosen)
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


def _of_file(path: Path, name: str | None, options: dict[str, Any]) -> ModelsResult:
    """What a weights file holds, and what it fits: the network that is named, else ours, and timm's of its name."""
    weights = read_weights(path)
    count = sum(value.numel() for value in weights.tensors.values())
    console.say(f"{path}: {len(weights.tensors):,} tensors, {count:,} values, first {next(iter(weights.tensors))}")
    if weights.facts:
        about = f"of {weights.facts.get('model')}, classes {examples(weights.facts.get('classes', []), 6)}"
        console.say(f"a model of this kit, {about}")
    tried = [name] if name else [*NETWORKS, *timm_of_file(path)]
    fitting = []
    for one in tried:
        with torch.device("meta"):
            network = build_model(one, 1000, **options)
        fit = fit_file(network, weights, path)
        if fit.is_whole:
            new = f"; new: {examples(fit.new)}" if fit.new else ", its head too"
            console.say(f"fits {one}{new}")
            fitting.append(one)
        elif name:
            missing = f"{len(fit.wrong)} tensors missing, {len(fit.left_over)} left over"
            console.say(f"does not fit {one}: {missing} ({examples([*fit.wrong, *fit.left_over])})")
    if not fitting and not name:
        console.say(f"fits none of {', '.join(tried)}; kit models timm:NAME --weights {path} tries another")
    return ModelsResult([])
