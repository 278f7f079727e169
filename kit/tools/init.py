"""init: look at a competition's files and write its YAML, and an experiment to start with."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit import console, schema
from kit.competition import NAME_PATTERN, NAME_WORDS, Competition
from kit.config import Experiment
from kit.data.archives import verify_archive
from kit.describe.detect import describe_files
from kit.describe.first_experiment import first_experiment
from kit.describe.inventory import scan
from kit.errors import ConfigError, examples
from kit.kaggle.client import KaggleClient
from kit.metrics import Metric, find_metric, spelled
from kit.workspace import Workspace, write_text

Ask = Callable[[str, Sequence[tuple[str, str]]], str]


@dataclass(frozen=True)
class InitResult:
    name: str
    competition: Path
    experiment: Path
    reasons: list[str]


def init(
    workspace: Workspace, source: Path | None = None, slug: str | None = None, name: str | None = None,
    metric: str | None = None, ask: Ask | None = None, force: bool = False,
) -> InitResult:  # fmt: skip
    """Write configs/competitions/NAME.yaml and configs/NAME.yaml under the workspace. `source`: a folder of downloads;
    `slug`: Kaggle's name, downloaded first unless there is a source. `ask` settles what the files leave open; without
    it the likelier reading is taken and printed. Existing files are kept unless `force`."""
    metrics = _find_metrics(metric) if metric is not None else []
    for option, value in (("--name", name), ("--slug", slug)):
        if value is not None and not re.fullmatch(NAME_PATTERN, value):
            raise ConfigError(f"{option} {value}: expected {NAME_WORDS}")
    if slug is not None:
        kaggle = KaggleClient.connect()
        if metric is None:
            metrics = _kaggles_metrics(kaggle.competition(slug).evaluation_metric)
        if source is None:
            source = workspace.data(name or slug) / "archives" / f"{slug}.zip"  # where `kit run` looks for it
            if not source.is_file():
                kaggle.download_bundle(slug, source, verify_archive)
    if source is None:
        raise ConfigError("which files? kit init --from DIR, or kit init --slug SLUG")
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", source.resolve().name.removesuffix(".zip")).strip("-.")
    name = name or slug or stem or "mine"
    folder = workspace.root / "configs"
    competition, experiment = folder / "competitions" / f"{name}.yaml", folder / f"{name}.yaml"
    there = [path for path in (competition, experiment) if path.exists()]
    if there and not force:
        raise ConfigError(f"{there[0]}: already exists; --force replaces it, --name gives another name")
    entries = scan(source)
    console.stage("init", f"{source}: {examples((entry.role for entry in entries), 8)}")
    try:
        reading = describe_files(entries, metrics, ask or _likelier)
    except ConfigError as error:
        if metric is not None or not metrics:
            raise
        console.warn(f"Kaggle's metric does not fit what the files show ({error}); check `metric` in the YAML")
        reading = describe_files(entries, [], ask or _likelier)
    raw: dict[str, Any] = {"name": name, "title": name.replace("-", " ").replace("_", " ").title()}
    raw |= {"slug": slug} if slug else {}
    raw |= {key: reading.raw[key] for key in ("files", "task", "labels", "metric", "submission")}
    described = schema.build(Competition, raw, str(competition))
    settings = first_experiment(described, entries, reading)
    schema.build(Experiment, settings, str(experiment))
    why = f"# Written by `kit init` from {source.name}; the reasons, line by line:\n"
    for reason in reading.reasons:
        console.stage("init", reason)
        why += f"# - {reason}\n"
    text = schema.dump_yaml(raw)
    schema.build(Competition, schema.parse_yaml(text, str(competition)), str(competition))  # what will be read back
    write_text(competition, why + text)
    command = f"# Written by `kit init`: a first experiment, not measured yet.\n#\n#   kit run -c configs/{name}.yaml"
    write_text(experiment, f"{command} [--from DIR]\n" + schema.dump_yaml(settings))
    console.stage("init", f"wrote {competition} and {experiment}")
    return InitResult(name, competition, experiment, reading.reasons)


def _find_metrics(words: str) -> list[Metric]:
    """The kit's metrics that go by this name (ours, Kaggle's or an everyday one), the likelier first."""
    found = spelled(words)
    if not found:
        try:
            find_metric(words.lower())
        except ValueError as error:
            raise ConfigError(f"--metric {words}: {str(error).removeprefix('metric: ')}") from None
    return found


def _kaggles_metrics(words: str) -> list[Metric]:
    if not words or "{k}" in words.lower():  # the sample's cells show how many
        return []
    found = spelled(words)
    if found:
        console.stage("init", f"Kaggle scores by '{words}': {' or '.join(metric.name for metric in found)}")
    else:
        console.warn(f"Kaggle scores by '{words}', which the kit does not have; name the nearest it has with --metric")
    return found


def _likelier(question: str, options: Sequence[tuple[str, str]]) -> str:
    others = ", ".join(f"{value} ({meaning})" for value, meaning in options[1:])
    console.warn(f"{question} Taken: {options[0][0]} ({options[0][1]}); otherwise {others}")
    return options[0][0]
