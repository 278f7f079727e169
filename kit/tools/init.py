"""init: look at a competition's files and write its YAML, and an experiment to begin with."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from kit import console, schema
from kit.competition import NAME_PATTERN, Competition
from kit.config import Experiment
from kit.data.archives import verify_zip
from kit.data.detect import describe
from kit.data.inventory import Entry, scan
from kit.data.sources import parse_idx
from kit.data.targets import Case
from kit.errors import ConfigError, examples
from kit.kaggle.client import KaggleClient
from kit.machine import default_device, device_name
from kit.tasks import find_metric
from kit.workspace import Workspace, write_text

LOOKED_AT = 200  # pictures whose size is read
SIZES = (28, 32, 48, 64, 96, 128, 160, 192, 224)
CPU_LARGEST, CPU_IMAGES = 96, 400_000  # pixels a side; training images in all epochs of a fold
ALIASES = {
    "accuracy": ("categorizationaccuracy", "accuracyscore", "classificationaccuracy"),
    "log_loss": ("logloss", "multiclassloss", "multiclasslogloss", "logarithmicloss", "crossentropy"),
    "roc_auc": (
        "auc", "rocauc", "areaunderreceiveroperatingcharacteristiccurve", "mcauc", "meanauc", "meancolumnwiseauc",
        "meancolumnwiseareaunderreceiveroperatingcharacteristiccurve", "areaundertheroccurve",
    ),
    "quadratic_weighted_kappa": ("kappa", "qwk", "quadraticweightedkappa"),
    "f1": ("f1", "meanf1", "meanfscore", "meanf1score", "fscore", "f1score"),  # whichever fits the task
    "f1_samples": ("f1samples", "samplesf1"),
    "f1_macro": ("macrof1", "macrof1score", "macrofscore"),
    "f1_micro": ("microf1", "microf1score"),
    "rmse": ("rootmeansquarederror",),
    "mae": ("meanabsoluteerror",),
}  # fmt: skip
Ask = Callable[[str, Sequence[tuple[str, str]]], str]


@dataclass(frozen=True)
class InitResult:
    name: str
    competition: Path
    experiment: Path
    reasons: list[str]


def run(
    workspace: Workspace,
    source: Path | None = None,
    slug: str | None = None,
    name: str | None = None,
    metric: str | None = None,
    ask: Ask | None = None,
    force: bool = False,
) -> InitResult:
    """Write configs/competitions/NAME.yaml and configs/NAME.yaml under the workspace.

    `source`: a folder of downloads; `slug`: Kaggle's name, downloaded first unless there is a source. `ask` settles
    what files leave open; without it the likelier reading is taken, and said. Existing files stay unless `force`.
    """
    given = metric is not None
    for option, value in (("--name", name), ("--slug", slug)):
        if value is not None and not re.fullmatch(NAME_PATTERN, value):
            raise ConfigError(
                f"{option} {value}: expected letters, digits, '.', '_' and '-', the first a letter or digit"
            )
    if slug is not None:
        kaggle = KaggleClient.connect()
        if metric is None:
            metric, given = _kaggles_metric(kaggle.competition(slug).evaluation_metric), False
        if source is None:
            source = workspace.data(name or slug) / "archives" / f"{slug}.zip"  # where `kit run` looks for it
            if not source.is_file():
                kaggle.download_bundle(slug, source, verify_zip)
    if source is None:
        raise ConfigError("which files? kit init --from DIR, or kit init --slug SLUG")
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", source.resolve().name.removesuffix(".zip")).strip("-.")
    name = name or slug or stem or "mine"
    folder = workspace.root / "configs"
    competition, experiment = folder / "competitions" / f"{name}.yaml", folder / f"{name}.yaml"
    there = [path for path in (competition, experiment) if path.exists()]
    if there and not force:
        raise ConfigError(f"{there[0]}: is there already; --force replaces it, --name gives another name")
    entries = scan(source)
    console.stage("init", f"{source}: {examples((entry.role for entry in entries), 8)}")
    try:
        reading = describe(entries, _metric_name(metric), ask or _likelier)
    except ConfigError as error:
        if given or metric is None:
            raise
        console.warn(f"Kaggle's metric does not fit what the files show ({error}); check `metric` in the YAML")
        reading = describe(entries, None, ask or _likelier)
    raw: dict[str, Any] = {"name": name, "title": name.replace("-", " ").replace("_", " ").title()}
    raw |= {"slug": slug} if slug else {}
    order = ("files", "task", "labels", "metric", "submission")
    raw |= {key: reading.raw[key] for key in order}
    described = schema.build(Competition, raw, str(competition))
    settings = _experiment(name, described, entries, reading)
    schema.build(Experiment, settings, str(experiment))
    for reason in reading.reasons:
        console.stage("init", reason)
    why = f"# Written by `kit init` from {source.name}; the reasons, line by line:\n" + _comment(reading)
    text = schema.dump_yaml(raw)
    schema.build(Competition, schema.parse_yaml(text, str(competition)), str(competition))  # what a reader will find
    write_text(competition, why + text)
    command = f"# Written by `kit init`: a first experiment, not measured yet.\n#\n#   kit run -c configs/{name}.yaml"
    write_text(experiment, f"{command} [--from DIR]\n" + schema.dump_yaml(settings))
    console.stage("init", f"wrote {competition} and {experiment}")
    return InitResult(name, competition, experiment, reading.reasons)


def _metric_name(metric: str | None) -> str | None:
    """The kit's name of a metric, from ours, Kaggle's or an everyday one."""
    if metric is None:
        return None
    plain = re.sub(r"[^a-z0-9]", "", metric.lower())
    ranked = re.fullmatch(r"(?:map|meanaverageprecision|top)(\d+)(?:accuracy)?", plain)
    if ranked:
        return f"{'top' if plain.startswith('top') else 'map'}@{ranked[1]}"
    for own, others in ALIASES.items():
        if plain in others:
            return own
    try:
        return find_metric(metric.lower()).name
    except ValueError as error:
        raise ConfigError(f"--metric {metric}: {str(error).removeprefix('metric: ')}") from None


def _kaggles_metric(words: str) -> str | None:
    """Kaggle's metric where the kit has it."""
    if "{k}" in words.lower():  # the sample's cells show how many
        return None
    try:
        metric = _metric_name(words) if words else None
    except ConfigError:
        metric = None
        console.warn(f"Kaggle scores by '{words}', which the kit does not have; --metric names the nearest it has")
    if metric is not None:
        console.stage("init", f"Kaggle scores by '{words}': {metric}")
    return metric


def _likelier(question: str, options: Sequence[tuple[str, str]]) -> str:
    others = ", ".join(f"{value} ({meaning})" for value, meaning in options[1:])
    console.warn(f"{question} Taken: {options[0][0]} ({options[0][1]}); else {others}")
    return options[0][0]


def _experiment(name: str, competition: Competition, entries: list[Entry], reading: Case) -> dict[str, Any]:
    """A first experiment: our ResNet from random weights, sizes that fit the pictures and this machine."""
    on_gpu = default_device().type == "cuda"
    sides, count = _sides(entries, competition)
    typical = int(median(sides)) if sides else 224
    largest = 224 if on_gpu else CPU_LARGEST
    size = max((s for s in SIZES if s <= min(typical, largest)), default=SIZES[0])
    machine = device_name(default_device())
    epochs = 20 if on_gpu else int(np.clip(CPU_IMAGES / max(count * 0.8, 1), 5, 40))
    batch = 64 if count >= 4000 else 32
    steps = max(1, int(count * 0.8) // batch)
    reading.because(
        f"{count:,} training pictures, typically {typical} px: image_size {size}, {epochs} epochs, for {machine}"
    )
    small = size <= 40
    crops: list[dict[str, Any]] = [{"Affine": {"scale": [0.9, 1.1], "rotate": [-10, 10], "translate_percent": 0.08}}]
    if not small:
        crops = [{"RandomResizedCrop": {"scale": [0.5, 1.0], "ratio": [0.8, 1.25]}}, {"HorizontalFlip": {"p": 0.5}}]
    network = {"name": "resnet34", "options": {"stem": "auto"}}
    if not on_gpu:
        network = {"name": "resnet18", "options": {"stem": "auto", "width": 0.5}}
    decay = 1 - 1 / max(10.0, min(1000.0, 2.0 * steps))  # the mean reaches back two epochs
    return {
        "name": name,
        "competition": name,
        "seed": 0,
        "data": {"image_size": size, "num_folds": 5} | ({"cache_size": round(size * 8 / 7)} if not small else {}),
        "augment": crops,
        "model": network,
        "train": {
            "epochs": epochs, "batch_size": batch, "learning_rate": 2.0e-3, "schedule": "one_cycle",
            "warmup_epochs": round(epochs * 0.3, 1), "ema_decay": round(decay, 4),
        },
        "tta": {"views": ["identity"] if small else ["identity", "hflip"]},
    }  # fmt: skip


def _sides(entries: list[Entry], competition: Competition) -> tuple[list[int], int]:
    """(the shorter sides of some training pictures, how many training pictures there are)"""
    role = competition.files.train[0]
    entry = next(e for e in entries if e.role == role)
    if competition.labels.layout == "idx":
        count, height, width = parse_idx(entry.read(""), role).shape
        return [min(height, width)], count
    if competition.labels.layout == "pixels-csv":
        pixels = sum(column.startswith("pixel") for column in entry.columns)
        return [math.isqrt(pixels)], len(entry.table())
    places = np.linspace(0, len(entry.pictures) - 1, min(LOOKED_AT, len(entry.pictures))).astype(int)
    sizes = [size for place in places if (size := entry.size_of(entry.pictures[place])) is not None]
    count = len(entry.pictures)
    if competition.files.train == competition.files.test:
        labels = next(e for e in entries if e.role in competition.files.train_labels)
        count = len(labels.table()) if labels.name.endswith(".csv") else count
    return [min(size) for size in sizes], count


def _comment(reading: Case) -> str:
    return "".join(f"# - {reason}\n" for reason in reading.reasons)
