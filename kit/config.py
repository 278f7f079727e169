"""An experiment, described: everything that decides a run's numbers, frozen and typed.

`Experiment.load("dogs-vs-cats", ["train.epochs=3"])` reads configs/dogs-vs-cats.yaml; its sections are in
`kit.settings`."""

import copy
import re
from collections.abc import Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Self

from pydantic.dataclasses import dataclass

from kit import schema
from kit.about import DEFAULT_CONFIG
from kit.competition import MOST_LETTERS, NAME_PATTERN, NAME_WORDS, Name
from kit.errors import ConfigError, examples
from kit.following import follow
from kit.settings import SETTLED, TTA, Data, Ensemble, Machine, Model, NonNegativeFloat, NonNegativeInt, Train
from kit.workspace import Fold, expanded

OLD_SPELLINGS = {
    **{f"train.{key}": f"machine.{key}" for key in SETTLED[:4]},
    "train.num_workers": "machine.num_workers",
    "train.checkpoint_minutes": "machine.checkpoint_minutes",
    **{f"tta.{key}": f"machine.predict_{key}" for key in SETTLED[:3]},
    "ensemble.members": "ensemble.models",
}


@dataclass(frozen=True, config=schema.STRICT)
class Experiment:
    """One experiment: one YAML, one folder under runs/."""

    name: Name
    competition: str
    seed: NonNegativeInt = 0
    data: Data = field(default_factory=Data)
    augment: tuple[dict[str, dict[str, Any]], ...] = ()  # albumentations, in order: {HorizontalFlip: {p: 0.5}}
    augment_strength: NonNegativeFloat = 1.0  # how far, or how often, they go: 0.5 half as far; flips stay as they are
    model: Model = field(default_factory=Model)
    train: Train = field(default_factory=Train)
    tta: TTA = field(default_factory=TTA)
    ensemble: Ensemble = field(default_factory=Ensemble)
    machine: Machine = field(default_factory=Machine)
    # in YAML the names of their configs: `kit run` runs each of them, and blends them as `ensemble` says
    members: tuple["Experiment", ...] = ()
    searched_folds: tuple[NonNegativeInt, ...] = ()  # `kit search` chose this experiment by them: their score flatters

    def __post_init__(self) -> None:
        kept = max(self.data.cache_size or 0, self.data.image_size)
        for _, side in self.train.sizes:
            if side > kept:
                raise ValueError(f"train.sizes: {side} px is more than the {kept} px that data.cache_size keeps")
        if self.train.epochs == 0 and self.model.start is None:
            raise ValueError("train.epochs: 0 takes the models of model.start as they are; name one, or train")
        if self.data.mean is not None and self.model.start is not None:
            raise ValueError("data.mean and std: the models of model.start bring their own; leave them out")
        if self.train.freeze_norms and self.model.weights == "none" and self.model.start is None:
            raise ValueError("train.freeze_norms: random weights come without statistics; give model.weights or start")

    @classmethod
    def load(cls, path: str | Path = DEFAULT_CONFIG, overrides: Sequence[str] = ()) -> Self:
        """Read an experiment's YAML (looked up here, then in the repository) with the `key=value` overrides applied.
        `name` defaults to the file's. A blend's members are looked up beside it first, and get the overrides too.
        Raises `ConfigError` with the key's path."""
        experiment, names, file = cls._read(path, overrides)
        own = {item.partition("=")[0].strip() for item in overrides}
        shared = [item for item in overrides if item.partition("=")[0].strip() not in {"name", "members"}]
        members: list[Experiment] = []
        for name in names:
            member, of_it, _ = cls._read(file.parent / name if (file.parent / name).is_file() else name, shared)
            if of_it:
                raise ConfigError(f"members: {member.name} is a blend itself; name its members instead")
            members.append(member)
        # a renamed blend renames its members too, so that they may differ from the original ones
        members = _renamed(members, experiment.name) if "name" in own else members
        _require_fitting(experiment, members)
        return replace(experiment, members=tuple(members))

    @classmethod
    def _read(cls, path: str | Path, overrides: Sequence[str]) -> tuple[Self, list[str], Path]:
        """(the experiment without its members, their names, the file)"""
        file = schema.find_config(path)
        if file.parent.name == "competitions":
            raise ConfigError(
                f"{file}: is a competition's YAML; -c wants an experiment's, such as {file.name} above it"
            )
        own = {"name": file.stem} | schema.rename_keys(schema.read_mapping(file), OLD_SPELLINGS, str(file))
        raw = _overridden(own, overrides)
        beside, usual = file.parent / "competitions" / f"{raw.get('competition')}.yaml", Path("configs")
        if beside.is_file() and file.parent.resolve() not in {usual.resolve(), schema.REPOSITORY / usual}:
            raw["competition"] = str(beside)  # a folder of configs elsewhere brings its own
        names = raw.pop("members", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ConfigError(f"{file}: members: expected a list of configs, got {names!r}")
        experiment = schema.build(cls, raw, str(file))
        for item in experiment.augment:
            if len(item) != 1:
                raise ConfigError(f"{file}: augment: each line is one transform, got {', '.join(item)}")
        return experiment, names, file

    def changed(self, overrides: Sequence[str]) -> Self:
        """The same with `key=value` overrides applied, as if its config had been loaded with them."""
        return schema.build(type(self), _overridden(schema.to_mapping(self), overrides), self.name)

    @property
    def split_seed(self) -> int:
        """The folds' seed: runs of several seeds may share their folds."""
        return self.seed if self.data.split_seed is None else self.data.split_seed

    def side(self, epoch: int) -> int:
        """Pixels a side, at the model's input, of this epoch's training images."""
        return ([self.data.image_size] + [side for begins, side in self.train.sizes if begins <= epoch])[-1]

    def named(self, name: str) -> Self:
        """The same under another name. Raises `ConfigError` where it is not a valid run name."""
        if not re.fullmatch(NAME_PATTERN, name) or len(name) > MOST_LETTERS:
            raise ConfigError(f"'{name}': a run's name consists of {NAME_WORDS}, {MOST_LETTERS} of them at most")
        return replace(self, name=name)

    def with_machine(self, **changes: Any) -> Self:
        """The same experiment with some `machine` values settled."""
        return replace(self, machine=replace(self.machine, **changes))

    def identity(self) -> dict[str, Any]:
        """What identifies a run: everything except how it is predicted, blended, and computed by a machine. (Heads on a
        frozen network are fitted on the views, and fitted again when these change.)"""
        free = ("tta", "ensemble", "machine")
        return {key: value for key, value in schema.to_mapping(self).items() if key not in free}

    def facts(self) -> dict[str, Any]:
        """Its mapping without the keys that came later, where they are at their defaults: hashes of older ones hold."""
        raw = schema.to_mapping(self)
        for key, usual in (("augment_strength", 1.0), ("searched_folds", [])):
            if raw[key] == usual:
                del raw[key]
        if not raw["data"]["columns"]:
            del raw["data"]["columns"]
        if raw["machine"]["gpus_per_fold"] is None:
            del raw["machine"]["gpus_per_fold"]
        return raw | {"members": [member.facts() for member in self.members]}

    def fold_numbers(self, text: str) -> list[Fold]:
        """`2`, `0..4`, `0,2,4`, `all`, `full` -> folds, in order, each once."""
        num_folds = self.data.num_folds
        expected = f"a number, 0..{num_folds - 1}, 0,2, all or full"
        wanted: list[Fold] = []
        for part in text.replace(" ", "").split(","):
            if part == "full":
                wanted.append("full")
            else:
                wanted += range(num_folds) if part == "all" else numbers(part, f"--fold {text}", expected)
        outside = [fold for fold in wanted if fold != "full" and fold >= num_folds]
        if outside or not wanted:
            raise ConfigError(f"--fold {text}: there are folds 0..{num_folds - 1} (data.num_folds is {num_folds})")
        return list(dict.fromkeys(wanted))

    def seeded(self, text: str) -> Self:
        """A blend of this experiment with each of several seeds (`0..2`, `0,7`), on the same folds."""
        if self.members:
            raise ConfigError("--seed: this config has members; give each its seed in its own config")
        seeds = list(dict.fromkeys(numbers(text, f"--seed {text}", "a number, 0..2 or 0,7")))
        if not seeds:
            raise ConfigError(f"--seed {text}: contains no number; the smaller one comes first")
        data = replace(self.data, split_seed=self.split_seed)
        members = tuple(replace(self.named(f"{self.name}-seed{seed}"), seed=seed, data=data) for seed in seeds)
        return replace(self.named(f"{self.name}-seeds"), members=members)


def _overridden(own: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """An experiment's mapping with the overrides, and with what follows them."""
    raw = copy.deepcopy(own)
    for override in overrides:
        raw = schema.rename_keys(schema.apply_overrides(raw, [override]), OLD_SPELLINGS)  # the later one wins
    follow(raw, own, {item.partition("=")[0].strip() for item in overrides})
    model = raw.get("model")
    if isinstance(model, dict) and isinstance(model.get("weights"), str) and not raw.get("members"):
        model["weights"] = _weights_in(model["weights"], str(model.get("name", Model.name)))
    return raw


def _weights_in(weights: str, name: str) -> str:
    """`model.weights`; of a folder the file that bears the network's name. Raises `ConfigError` where none does."""
    folder = expanded(weights)
    if weights in {"none", "timm"} or not folder.is_dir():
        return weights
    network = name.removeprefix("timm:")
    wanted = [f"{stem}{end}" for stem in (network, network.partition(".")[0]) for end in (".safetensors", ".pth")]
    found = next((file for file in wanted if (folder / file).is_file()), None)
    if found is None:
        there = examples(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise ConfigError(f"model.weights: {folder}: holds no {network}.safetensors or .pth (there: {there})")
    return str(Path(weights) / found)


def numbers(text: str, flag: str, expected: str) -> list[int]:
    """`2`, `0..4`, `0,2,4` -> numbers, in order; raises a `ConfigError` that names `flag` and what was `expected`."""
    found: list[int] = []
    for part in text.replace(" ", "").split(","):
        first, dots, last = part.partition("..")
        if not first.isdigit() or (dots and not last.isdigit()) or (last and not dots):
            raise ConfigError(f"{flag}: expected {expected}")
        found += range(int(first), int(last if dots else first) + 1)
    return found


def _require_fitting(blend: Experiment, members: Sequence[Experiment]) -> None:
    """Raise `ConfigError` where members share a name, or differ from the blend in competition or folds."""
    names = [blend.name, *(one.name for one in members)]
    if len(set(names)) < len(names):
        raise ConfigError(f"members: two of them share a name ({', '.join(names)})")
    keys = ("competition", "data.num_folds", "seed or data.split_seed")
    wanted = (blend.competition, blend.data.num_folds, blend.split_seed)
    for one in members:
        its = (one.competition, one.data.num_folds, one.split_seed)
        for key, mine, other in zip(keys, its, wanted, strict=True):
            if mine != other:
                raise ConfigError(f"members: {one.name} has {key} {mine}, {blend.name} has {other}")


def _renamed(members: Sequence[Experiment], prefix: str) -> list[Experiment]:
    """Each with the blend's name as a prefix, also where one starts from another."""
    new = {one.name: f"{prefix}-{one.name}" for one in members}
    renamed = []
    for one in members:
        model = replace(one.model, start=new.get(one.model.start or "", one.model.start))
        train = replace(one.train, pseudo_run=new.get(one.train.pseudo_run or "", one.train.pseudo_run))
        renamed.append(replace(one.named(new[one.name]), model=model, train=train))
    return renamed
