"""What a search may change: keys of an experiment, as `--set` takes them, each with a range or a list of values."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from kit import schema
from kit.config import Experiment
from kit.errors import ConfigError

Value = Any  # as YAML has it


@dataclass(frozen=True, config=schema.STRICT)
class Range:
    """Numbers from `low` to `high`, both included: whole ones where both are. `log`: a step multiplies, as for learning
    rates; `step`: only low, low + step, ..."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"expected low below high, got {self.low:g} and {self.high:g}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log: wants a low above 0, and no step")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step: expected a number above 0, got {self.step:g}")

    @property
    def is_whole(self) -> bool:
        return all(isinstance(one, int) for one in (self.low, self.high, self.step or 1))

    def widened(self, value: float) -> "Range":
        """With `value` inside it."""
        return Range(min(self.low, value), max(self.high, value), self.log, self.step)

    def ends(self) -> list[Value]:
        return [self.low, self.high]

    def holds(self, value: Value) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True, config=schema.STRICT)
class Choice:
    """A few values, in no order."""

    values: tuple[Any, ...] = Field(min_length=2)

    def ends(self) -> list[Value]:
        return list(self.values)

    def holds(self, value: Value) -> bool:
        return value in self.values


Space = dict[str, Range | Choice]
# learning rates worth trying, by (optimizer is sgd, weights are pretrained)
RATES = {
    (False, False): (2e-4, 2e-2),
    (False, True): (1e-5, 2e-3),
    (True, False): (1e-2, 1.0),
    (True, True): (1e-3, 0.1),
}


def read_space(file: Path) -> Space:
    """A YAML of `KEY: {low: 1e-4, high: 1e-2, log: true}` or `KEY: [one, another]` lines. Raises `ConfigError`."""
    return parsed_space(schema.read_mapping(file), str(file))


def parsed_space(raw: Mapping[str, Any], file: str) -> Space:
    space: Space = {}
    for key, given in raw.items():
        if isinstance(given, list):
            if len(given) < 2:
                raise ConfigError(f"{file}: {key}: expected two values or more, got {given!r}")
            space[key] = Choice(tuple(given))
        elif isinstance(given, dict) and {"low", "high"} <= given.keys():
            space[key] = schema.build(Range, given, f"{file}: {key}")
        else:
            example = "train.learning_rate: {low: 1e-4, high: 1e-2, log: true}, or train.optimizer: [adamw, sgd]"
            raise ConfigError(f"{file}: {key}: expected a range or a list, for example {example}; got {given!r}")
    if not space:
        raise ConfigError(f"{file}: holds no key; for example train.optimizer: [adamw, sgd]")
    return space


def default_space(experiment: Experiment) -> Space:
    """What most often pays off in a new competition: learning rate, weight decay, augmentation, size, stochastic depth,
    mixing; around the experiment's own values. Raises `ConfigError` where nothing is trained step by step."""
    train, size = experiment.train, experiment.data.image_size
    if train.mode == "features" or train.epochs == 0:
        raise ConfigError("kit search: heads choose their penalty; name what else to try with --space FILE.yaml")
    pretrained = experiment.model.weights != "none" or experiment.model.start is not None
    space: Space = {"train.learning_rate": Range(*RATES[train.optimizer == "sgd", pretrained], log=True)}
    space["train.weight_decay"] = Range(*((1e-5, 1e-2) if train.optimizer == "sgd" else (1e-3, 0.3)), log=True)
    if experiment.augment:
        space["augment_strength"] = Range(0.0, 2.0)
    space["train.mixup"] = Choice((0.0, 0.2, 0.4))
    space["data.image_size"] = Choice(tuple(sorted({_whole(size * share) for share in (0.75, 1.0, 1.25)} | {size})))
    depth = "drop_path_rate" if experiment.model.name.startswith("timm:") else "drop_path"
    space[f"model.options.{depth}"] = Range(0.0, 0.3)
    return around(space, experiment)


def around(space: Space, experiment: Experiment) -> Space:
    """The space, wide enough for the experiment's own values, which are the first trial. Raises `ConfigError` where a
    range cannot hold one."""
    wide = {key: _with(one, value_of(experiment, key)) for key, one in space.items()}
    for key, one in wide.items():
        if not one.holds(own := value_of(experiment, key)):
            raise ConfigError(f"{key}: the config has {own!r}, which no range holds; set it to a number with --set")
    return wide


def _whole(side: float) -> int:
    """A side that networks halve without a rest: of small pictures a multiple of 4, else of 32."""
    unit = 4 if side < 64 else 32
    return max(8, round(side / unit) * unit)


def _with(one: Range | Choice, own: Value) -> Range | Choice:
    if isinstance(one, Choice):
        return one if own in one.values else Choice((own, *one.values))
    if not isinstance(own, int | float) or isinstance(own, bool):
        return one
    return one.widened(own) if own > 0 or not one.log else Range(own, one.high)  # no logarithm reaches 0


def value_of(experiment: Experiment, key: str) -> Value:
    """The experiment's own value of a key; of an option that it does not name, 0."""
    node: Any = schema.to_mapping(experiment)
    *parents, last = key.split(".")
    for parent in parents:
        node = node.get(parent, {}) if isinstance(node, dict) else {}
    return node.get(last, 0.0) if isinstance(node, dict) else None


def overrides_of(values: Mapping[str, Value]) -> list[str]:
    """As `--set` takes them."""
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def plain_space(space: Space) -> dict[str, Any]:
    """As a YAML has it."""
    adapter = TypeAdapter(Range)
    return {
        key: adapter.dump_python(one, mode="json") if isinstance(one, Range) else list(one.values)
        for key, one in space.items()
    }


def shown(values: Mapping[str, Value]) -> str:
    """`learning_rate 0.003  mixup 0.2`"""
    plain = {key: f"{value:.3g}" if isinstance(value, float) else str(value) for key, value in values.items()}
    return "  ".join(f"{key.rpartition('.')[2]} {value}" for key, value in plain.items())
