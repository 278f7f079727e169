"""init: look at a competition's files and write its YAML, an experiment to start with, and one for the leaderboard."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit import console, schema
from kit.competition import NAME_PATTERN, NAME_WORDS, Competition
from kit.config import Experiment
from kit.data.archives import verify_archive
from kit.describe.case import Ask, Case
from kit.describe.detect import describe_files
from kit.describe.first_experiment import HOW_TO_GET, Subject, first_experiment
from kit.describe.inventory import scan
from kit.describe.strong_experiment import network_of, strong_experiment
from kit.errors import ConfigError, examples, nearest
from kit.kaggle.client import KaggleClient
from kit.kaggle.credentials import find_credentials
from kit.metrics import NAMES, Metric, nearest_metric, spelled
from kit.metrics.words import corrected, percent_in
from kit.run.submission import unlike_sample
from kit.workspace import Workspace, write_text

PARTS = ("files", "task", "labels", "pictures", "columns", "metric", "submission")  # in the YAML's order
SECTIONS = ("files", "labels", "submission", "task", "metric_options", "pictures", "columns")
BARE = {"from", "data", "input", "raw", "files", "download", "downloads"}  # folders that name no competition


@dataclass(frozen=True)
class InitResult:
    name: str
    competition: Path
    experiment: Path
    strong: Path
    reasons: list[str]


def init(
    workspace: Workspace, source: Path | None = None, slug: str | None = None, name: str | None = None,
    metric: str | None = None, ask: Ask | None = None, force: bool = False, overrides: Sequence[str] = (),
    weights: str | None = None,
) -> InitResult:  # fmt: skip
    """Write configs/competitions/NAME.yaml, configs/NAME.yaml and configs/NAME-strong.yaml, which starts from `weights`
    (timm, none, a file or a folder of them), under the workspace. `source`: a folder of downloads; `slug`: Kaggle's
    name, downloaded first unless there is a source. What the files leave open is settled by `overrides` (KEY=VALUE of
    the competition's YAML), else by `ask`; `ConfigError` where neither does. Existing files are kept unless `force`."""
    metrics = _find_metrics(metric) if metric is not None else []
    if weights is not None:
        network_of(weights)
    given = _given(overrides)
    for option, value in (("--name", name), ("--slug", slug)):
        if value is not None and not re.fullmatch(NAME_PATTERN, value):
            raise ConfigError(f"{option} {value}: expected {NAME_WORDS}")
    if slug is not None and source is not None and find_credentials() is None:
        console.warn(f"no Kaggle credentials: {slug} is not asked for its metric")
    elif slug is not None:
        kaggle = KaggleClient.connect()
        if metric is None:
            metrics = _kaggles_metrics(kaggle.competition(slug).evaluation_metric)
        if source is None:
            source = workspace.data(name or slug) / "archives" / f"{slug}.zip"  # where `kit run` looks for it
            if not source.is_file():
                kaggle.download_bundle(slug, source, verify_archive)
    if source is None:
        raise ConfigError("which files? kit init --from DIR, or kit init --slug SLUG")
    place = source.resolve()
    place = place.parent if place.name in BARE else place
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", place.name.removesuffix(".zip")).strip("-.")
    name = name or slug or stem or "mine"
    folder = workspace.root / "configs"
    competition, experiment = folder / "competitions" / f"{name}.yaml", folder / f"{name}.yaml"
    strong = folder / f"{name}-strong.yaml"
    there = [path for path in (competition, experiment, strong) if path.exists()]
    if there and not force:
        raise ConfigError(f"{there[0]}: already exists; --force replaces it, --name gives another name")
    scanned = scan(source)
    console.stage("init", f"{source}: {examples((entry.role for entry in scanned.entries), 8)}")
    reading = Case(metrics, given, ask)
    try:
        inventory = describe_files(scanned, reading)
    except ConfigError as error:
        if metric is not None or not metrics or not str(error).startswith("--metric"):
            raise
        console.warn(f"Kaggle's metric does not fit what the files show ({error}); check `metric` in the YAML")
        reading = Case([], given, ask)
        inventory = describe_files(scanned, reading)
    raw: dict[str, Any] = {"name": name, "title": name.replace("-", " ").replace("_", " ").title()}
    raw |= {"slug": slug} if slug else {}
    raw |= {key: reading.raw[key] for key in PARTS if key in reading.raw}
    raw |= _metric_options(raw["metric"], metric or "")
    raw = schema.apply_overrides(raw, [f"{key}={value}" for key, value in given.items() if _is_value(key, value)])
    described = schema.build(Competition, raw, str(competition))
    settled = reading.chosen.get("submission.values") == "labels"
    if reading.asked is not None and not settled and (unlike := unlike_sample(described, reading.asked)):
        raise ConfigError(f"{examples(raw['files']['sample_submission'])}: {unlike}")
    subject = Subject.of(described, inventory, reading)
    written = {
        experiment: (first_experiment(subject, reading), "a first experiment, not measured yet"),
        strong: (strong_experiment(subject, strong.stem, weights), "for the leaderboard, not measured yet"),
    }
    for path, (settings, _) in written.items():
        schema.build(Experiment, settings, str(path))
    why = f"# Written by `kit init` from {source.name}; the reasons, line by line:\n"
    for reason in reading.reasons:
        console.stage("init", reason)
        why += f"# - {reason}\n"
    for warning in reading.warnings:
        console.warn(warning)
        why += f"# - warning: {warning}\n"
    text = schema.dump_yaml(raw)
    schema.build(Competition, schema.parse_yaml(text, str(competition)), str(competition))  # what will be read back
    write_text(competition, why + text)
    for path, (settings, what) in written.items():
        header = f"# Written by `kit init`: {what}.\n#\n#   kit run -c configs/{path.name} [--from DIR]\n"
        header += f"#\n# {HOW_TO_GET}\n" if settings["model"].get("weights") == "timm" else ""
        write_text(path, header + schema.dump_yaml(settings))
    console.stage("init", f"wrote {competition}, {experiment} and {strong}")
    return InitResult(name, competition, experiment, strong, reading.reasons)


def _given(overrides: Sequence[str]) -> dict[str, str]:
    given = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if key in {"metric", "name", "slug"}:
            raise ConfigError(f"--set {override}: init has an option for it: --{key} {value}")
        section = key.split(".")[0]
        if not equals or section not in SECTIONS:
            close = nearest(section, SECTIONS)
            expected = f"KEY=VALUE with a key of the competition's YAML, such as labels.column{close}"
            raise ConfigError(f"--set {override}: expected {expected}")
        given[key] = (
            f"[{value}]" if key in {"files.train", "files.test", "files.without"} and value[:1] != "[" else value
        )
    return given


def _is_value(key: str, value: str) -> bool:
    """Is it the YAML's own value? Others name one of the readings that were asked about."""
    readings = {"submission.values", "files.train_labels", "files.sample_submission", "labels.rename"}
    none = key in {"labels.group_column", "labels.group_pattern"} and value == "none"
    usual = key == "labels.pattern" and value == "class.id.ext"
    return not none and not usual and (key not in readings or value[:1] in {"[", "{"})


def _metric_options(metric: str, words: str) -> dict[str, Any]:
    """What a page's words say beyond the metric's name: above 80 % TPR."""
    percent = percent_in(words)
    if metric == "partial_roc_auc" and percent is not None:
        return {"metric_options": {"min_tpr": percent}}
    return {}


def _find_metrics(words: str) -> list[Metric]:
    """The kit's metrics that go by this name (ours, Kaggle's or an everyday one), the likelier first."""
    found = spelled(words)
    if not found:
        near = spelled(corrected(words))
        close = f" (did you mean '{corrected(words)}', --metric {near[0].name}?)" if near else nearest(words, NAMES)
        raise ConfigError(f"--metric {words}: no metric '{words}'{close if 'did you' in close else _offer(words)}")
    return found


def _offer(words: str) -> str:
    near = nearest_metric(words)
    return f"; the nearest that the kit has: --metric {near}" if near else f" (available: {', '.join(NAMES)})"


def _kaggles_metrics(words: str) -> list[Metric]:
    if not words or "{k}" in words.lower():  # the sample's cells show how many
        return []
    found = spelled(words)
    if found:
        console.stage("init", f"Kaggle scores by '{words}': {' or '.join(metric.name for metric in found)}")
    else:
        console.warn(f"Kaggle scores by '{words}', which the kit does not have{_offer(words)}")
    return found
