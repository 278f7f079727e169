"""A run's folder: the experiment is frozen into it when it is made, and a changed one is refused.

`runs/<name>/experiment.yaml` holds the experiment with what was decided for it (precision, layout, threads), and can
itself be given as `--config`.
"""

from pathlib import Path
from typing import Any

from kit import schema
from kit.competition import Competition
from kit.config import Experiment
from kit.errors import ConfigError, KitError, nearest
from kit.workspace import Workspace, fingerprint, write_text

# What may change under a run: it decides no network's weights (heads on a frozen one are fitted on the views, and are
# fitted again where these change). `train.num_workers` and the like change no number at all.
FREE = ("tta", "ensemble", "train.num_workers", "train.checkpoint_minutes")
DECIDED = {"train.precision": "auto", "train.memory_format": "auto", "train.compile": "auto", "train.num_threads": None}
DECIDED_TTA = ("precision", "memory_format", "compile")  # where these are given as auto, the run's decision stands


def require_run(workspace: Workspace, name: str) -> Path:
    """A run's experiment.yaml. Raises `ConfigError` where there is no such run."""
    file = experiment_file(workspace, name)
    if not file.is_file():
        there = sorted(path.parent.name for path in file.parent.parent.glob("*/experiment.yaml"))
        raise ConfigError(f"{file.parent}: no such run{nearest(name, there)}")
    return file


def frozen(experiment: Experiment, workspace: Workspace) -> Experiment | None:
    """The experiment as its run froze it, with the free parts as given now; none where there is no run yet.

    Raises `ConfigError` with the difference when the run was made by another experiment.
    """
    path = experiment_file(workspace, experiment.name)
    if not path.is_file():
        return None
    run = Experiment.load(path)
    then, now = _flat(schema.to_mapping(run)), _flat(schema.to_mapping(experiment))
    changes = [
        f"{key}: {then.get(key)!r} -> {now.get(key)!r}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
        and not key.startswith(FREE)
        and not (key in DECIDED and now.get(key) == DECIDED[key])
    ]
    if changes:
        raise ConfigError(
            f"{path.parent}: this run was made by another experiment ({'; '.join(changes)}). "
            f"Give the new one a name of its own (--set name=...), or delete the folder"
        )
    raw = schema.to_mapping(run)
    given = schema.to_mapping(experiment)
    raw |= {key: given[key] for key in ("tta", "ensemble")}
    raw["tta"] |= {key: then[f"tta.{key}"] for key in DECIDED_TTA if raw["tta"][key] == "auto"}
    raw["train"] |= {key.partition(".")[2]: given["train"][key.partition(".")[2]] for key in FREE if "." in key}
    return schema.build(Experiment, raw, str(path))


def freeze(experiment: Experiment, workspace: Workspace) -> None:
    """Write the experiment into its run's folder."""
    header = "# The experiment as it ran, with what was decided for it. `kit train -c` takes this file too.\n"
    write_text(experiment_file(workspace, experiment.name), header + schema.dump_yaml(schema.to_mapping(experiment)))


def freeze_folds(experiment: Experiment, workspace: Workspace) -> None:
    """Keep a copy of the folds that the run is made with."""
    write_text(workspace.run(experiment.name) / "folds.csv", _folds_file(experiment, workspace).read_text("utf-8"))


def same_folds(experiment: Experiment, workspace: Workspace) -> None:
    """Refuse (`KitError`) to go on with other folds than the run was made with."""
    copy, folds = workspace.run(experiment.name) / "folds.csv", _folds_file(experiment, workspace)
    if copy.read_text("utf-8") != folds.read_text("utf-8"):
        raise KitError(f"{copy}: this run was made with other folds than {folds}; give the new run another name")


def _folds_file(experiment: Experiment, workspace: Workspace) -> Path:
    competition = Competition.load(experiment.competition)
    return workspace.folds(competition.name, experiment.data.num_folds, experiment.split_seed)


def experiment_file(workspace: Workspace, name: str) -> Path:
    return workspace.run(name) / "experiment.yaml"


def experiment_hash(experiment: Experiment) -> str:
    """Eight letters for what makes a run, but for its name."""
    return fingerprint({key: value for key, value in schema.to_mapping(experiment).items() if key != "name"})[:8]


def _flat(raw: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in raw.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
