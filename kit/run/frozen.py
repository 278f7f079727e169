"""An experiment is frozen into its run's folder when the run is created; a changed one is refused."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kit import schema
from kit.config import Experiment
from kit.data.images import DECODER
from kit.errors import ConfigError, counted
from kit.settings import Machine
from kit.workspace import expanded, file_hash, read_json, write_text

if TYPE_CHECKING:
    from kit.device.precision import Precision

HEADER = "# The experiment as it ran, with what was settled for it. `kit train -c` accepts this file too.\n"


def continued(made: Experiment, asked: Experiment, folder: Path) -> Experiment:
    """A run's experiment as it was made, with what may change under a run (`tta`, `ensemble`, `machine`) as asked now.
    What `asked` leaves open stays as it was settled. Raises `ConfigError` with the difference, and the run's `folder`,
    when it was made by a different experiment."""
    run = made.named(asked.name)  # a renamed folder is another run
    then, now = _flat(run.identity()), _flat(asked.identity())
    changed = [key for key in sorted(then.keys() | now.keys()) if then.get(key) != now.get(key)]
    if changed:
        changes = "; ".join(f"{key}: {then.get(key)!r} -> {now.get(key)!r}" for key in changed)
        advice = "Give the new one its own name (--set name=...), or delete the folder"
        raise ConfigError(f"{folder}: this run was made by a different experiment ({changes}). {advice}")
    return replace(run, tta=asked.tta, ensemble=asked.ensemble, machine=asked.machine.settled_by(run.machine))


def weights_hash(weights: str) -> str | None:
    """sha256 of the file that `model.weights` names; `None` where it names none that is there."""
    file = expanded(weights)
    return file_hash(file) if weights not in {"none", "timm"} and file.is_file() else None


def with_moved_weights(made: Experiment, asked: Experiment, environment: Path) -> Experiment:
    """A run's experiment with the path of its weights file as asked now, where that holds the same bytes."""
    if made.model.weights == asked.model.weights or (new := weights_hash(asked.model.weights)) is None:
        return made
    then = read_json(environment).get("weights") if environment.is_file() else None
    same = new == (then or weights_hash(made.model.weights))
    return replace(made, model=replace(made.model, weights=asked.model.weights)) if same else made


def write_frozen(file: Path, experiment: Experiment) -> None:
    write_text(file, HEADER + schema.dump_yaml(schema.to_mapping(experiment)))


@dataclass(frozen=True)
class Computing:
    """What decides the bits of a training, besides its data and its settings."""

    precision: str
    memory_format: str
    compile: bool | str
    num_threads: int | None
    gpus_per_fold: int = 1

    @classmethod
    def of(cls, machine: Machine) -> Self:
        layout, threads, shared = machine.memory_format, machine.num_threads, machine.gpus_per_fold or 1
        return cls(machine.precision, layout, machine.compile, threads, shared)

    def __str__(self) -> str:
        """`bf16, channels_last, 2 threads, in 2 processes`"""
        shared = f", in {self.gpus_per_fold} processes" if self.gpus_per_fold > 1 else ""
        return f"{self.as_precision()}, {counted(self.num_threads or 1, 'thread')}{shared}"

    def as_precision(self) -> "Precision":
        from kit.device.precision import Precision

        return Precision(self.precision, self.memory_format, self.compile is True)


def decoder_of(environment: Path) -> str:
    """What decoded the pictures that a run learned from; runs that name none used simplejpeg. `environment`: the run's
    environment.json."""
    return str(read_json(environment).get("decoder", "simplejpeg")) if environment.is_file() else DECODER


def _flat(raw: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in raw.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key: value}
    return flat
