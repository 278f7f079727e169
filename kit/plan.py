"""What `kit run` makes runs of: an experiment, its members, or one run for each seed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kit import schema
from kit.config import Experiment
from kit.errors import ConfigError


def load_members(
    experiment: Experiment, path: str | Path, overrides: Sequence[str], seeds: str | None = None
) -> list[Experiment]:
    """The runs that a blend is made of, with the experiment's overrides; none: it is no blend.

    `path`: where the experiment was read; its `members` are looked up beside it first. A blend that is given a name
    gives its members names of their own, so that one may change what they are. `seeds` (`0..2`, `0,7`): the experiment
    with each of them, on the same folds. Raises `ConfigError` where they do not fit together.
    """
    shared = [item for item in overrides if item.partition("=")[0].strip() not in {"name", "members"}]
    if seeds is not None:
        if experiment.members:
            raise ConfigError("--seed: this config has members; give each its seed in its own config")
        split = f"data.split_seed={experiment.split_seed}"
        return [
            Experiment.load(path, [*shared, f"name={experiment.name}-seed{number}", f"seed={number}", split])
            for number in _numbers(seeds)
        ]
    beside = schema.find_config(path).parent
    members = [
        Experiment.load(beside / name if (beside / name).is_file() else name, shared) for name in experiment.members
    ]
    if any(item.partition("=")[0].strip() == "name" for item in overrides):
        members = _renamed(members, experiment.name)
    names = [experiment.name, *(one.name for one in members)]
    if len(set(names)) < len(names):
        raise ConfigError(f"members: two of them have one name ({', '.join(names)})")
    for one in members:
        if one.members:
            raise ConfigError(f"members: {one.name} is a blend itself; name its members instead")
        for key, own, wanted in (
            ("competition", one.competition, experiment.competition),
            ("data.num_folds", one.data.num_folds, experiment.data.num_folds),
            ("seed or data.split_seed", one.split_seed, experiment.split_seed),
        ):
            if own != wanted:
                raise ConfigError(f"members: {one.name} has {key} {own}, {experiment.name} has {wanted}")
    return members


def _renamed(members: list[Experiment], prefix: str) -> list[Experiment]:
    """Each with the blend's name before its own, also where one goes on from another."""
    new = {one.name: f"{prefix}-{one.name}" for one in members}
    return [
        replace(
            one,
            name=new[one.name],
            model=replace(one.model, start=new.get(one.model.start or "", one.model.start)),
            train=replace(one.train, pseudo_run=new.get(one.train.pseudo_run or "", one.train.pseudo_run)),
        )
        for one in members
    ]


def _numbers(text: str) -> list[int]:
    """`2`, `0..2`, `0,7` -> numbers."""
    numbers: list[int] = []
    for part in text.replace(" ", "").split(","):
        first, dots, last = part.partition("..")
        if not first.isdigit() or (dots and not last.isdigit()):
            raise ConfigError(f"--seed {text}: expected a number, 0..2 or 0,7")
        numbers += range(int(first), int(last if dots else first) + 1)
    if not numbers:
        raise ConfigError(f"--seed {text}: holds no number; the smaller one comes first")
    return list(dict.fromkeys(numbers))
