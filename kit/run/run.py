"""A run: one experiment in one workspace. What stages and tools share, opened once, loaded on demand."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pandas as pd

from kit.competition import Competition
from kit.config import Experiment
from kit.data.cache import CacheFolders, pixels_of
from kit.data.columns import column_values
from kit.data.corrections import apply_corrections, touched_images
from kit.data.extra import extra_index
from kit.data.folds import read_folds
from kit.data.pixels import Pixels
from kit.data.reading import Reading
from kit.data.rows import read_rows
from kit.data.table import read_index, targets, training_groups
from kit.errors import ConfigError, KitError, nearest
from kit.events import Line, Listener
from kit.locks import lock
from kit.run.building import column_shape, loaded_model
from kit.run.files import RunFiles, run_names
from kit.run.frozen import Computing, continued, with_moved_weights, write_frozen
from kit.run.samples import Samples
from kit.tracking.metrics_file import read_history
from kit.workspace import Fold, Workspace, expanded, fingerprint, read_json, write_json, write_text

if TYPE_CHECKING:  # most verbs need no torch
    import torch

    from kit.models import Classifier
    from kit.models.columns import ColumnShape


class RunFold:
    """One fold of a run: its model, its predictions, what they are made from, and its lock."""

    def __init__(self, run: "Run", number: Fold) -> None:
        self.run, self.number, self.files = run, number, run.files.fold(number)
        self.title = f"fold {number}"

    def locked(self) -> AbstractContextManager[None]:
        return lock(self.files.lock, str(self.files.folder))

    @property
    def is_trained(self) -> bool:
        return self.files.trained.is_file()

    @property
    def computing(self) -> Computing:
        """How its training computes: as it began, if it has, else as the run does."""
        begun = read_json(self.files.started) if self.files.started.is_file() else {}
        return Computing(**begun["machine"]) if "machine" in begun else Computing.of(self.run.experiment.machine)

    def begin(self, inputs: str) -> None:
        """Record what a training is made from, before it writes anything else."""
        write_json(self.files.started, {"inputs": inputs, "machine": vars(self.computing)})

    @property
    def history(self) -> list[Line]:
        return read_history(self.files.metrics)

    def model(self) -> "Classifier":
        """The model as its training left it."""
        return loaded_model(self.files.model, self.run.experiment, self.run.competition, self.run.column_shape)

    def oof(self) -> pd.DataFrame:
        """image_id, fold, targets, predictions of the images that its model never saw."""
        return read_rows(self.files.oof)

    def test(self) -> pd.DataFrame:
        """image_id, predictions of the test images."""
        return read_rows(self.files.test)


class Run:
    """`asked`: the experiment as asked for now; `experiment`: as the run was made from it (see `continued`)."""

    def __init__(self, asked: Experiment, workspace: Workspace, folder: Path | None = None) -> None:
        self.asked, self.workspace = asked, workspace
        self.files = RunFiles(folder or workspace.run(asked.name))
        self.listeners: tuple[Listener, ...] = ()  # who else is told of its epochs
        self._experiment: Experiment | None = None  # once the run was made, or settled
        self._folds: dict[Fold, RunFold] = {}

    @classmethod
    def open(cls, experiment: Experiment | str | Path, workspace: Workspace | str | Path = ".") -> Self:
        """The run of an experiment, or of a config's path or name; it need not have been made yet."""
        asked = experiment if isinstance(experiment, Experiment) else Experiment.load(experiment)
        return cls(asked, workspace if isinstance(workspace, Workspace) else Workspace(Path(workspace)))

    @classmethod
    def named(cls, name: str, workspace: Workspace | str | Path = ".") -> Self:
        """An existing run. Raises `ConfigError` with the nearest name where there is no such run."""
        place = workspace if isinstance(workspace, Workspace) else Workspace(Path(workspace))
        files = RunFiles(place.run(name))
        if not files.experiment.is_file():
            raise ConfigError(f"{files.folder}: no such run{nearest(name, run_names(files.folder.parent))}")
        return cls(Experiment.load(files.experiment).named(name), place)

    def trial(self) -> Self:
        """The same experiment as a trial: it has no folder and freezes nothing."""
        if self.asked.members:
            names = ", ".join(member.name for member in self.asked.members)
            raise ConfigError(f"members: {self.name} is a blend; name one of {names}")
        return type(self)(self.asked, self.workspace, self.files.folder.with_name(f".{self.name}.trial"))

    @property
    def name(self) -> str:
        return self.asked.name

    @property
    def exists(self) -> bool:
        return self.files.experiment.is_file()

    @cached_property
    def competition(self) -> Competition:
        return Competition.load(self.asked.competition)

    @property
    def experiment(self) -> Experiment:
        """Raises `ConfigError` with the difference when the run was made by a different experiment."""
        if self._experiment is None and self.exists:
            made = with_moved_weights(Experiment.load(self.files.experiment), self.asked, self.files.environment)
            self._experiment = continued(made, self.asked, self.files.folder)
        return self._experiment or self.asked

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits for what decides its numbers: the experiment without its name and `machine`."""
        named = {"name", "machine"}
        return fingerprint({k: value for k, value in self.experiment.facts().items() if k not in named})[:8]

    @cached_property
    def device(self) -> "torch.device":
        from kit.device.accelerator import default_device

        return default_device()

    def settle(self, experiment: Experiment | None) -> None:
        """From now on this is the run's experiment; nothing is written. `None`: the one in its folder."""
        self._experiment = experiment

    @property
    def made_with(self) -> Computing | None:
        """How the folds in the run's folder compute; `None` where it was not made yet."""
        return Computing.of(Experiment.load(self.files.experiment).machine) if self.exists else None

    def freeze(self) -> None:
        """Write the experiment into the run's folder, with the folds when it is first made. A fold that has begun keeps
        the number format, layout and threads that it began with."""
        earlier = self.made_with
        if earlier is None:
            write_text(self.files.folds, self.competition_folds.read_text("utf-8"))
        elif earlier != Computing.of(self.experiment.machine):
            for files in self.files.fold_folders():
                if files.started.is_file() and "machine" not in (facts := read_json(files.started)):
                    write_json(files.started, facts | {"machine": vars(earlier)})
        write_frozen(self.files.experiment, self.experiment)

    @property
    def competition_folds(self) -> Path:
        experiment = self.experiment
        return self.workspace.folds(self.competition.name, experiment.data.num_folds, experiment.split_seed)

    def require_own_folds(self) -> None:
        """Raise `KitError` where the competition's folds are not those that the run was made with."""
        folds, copy = self.competition_folds, self.files.folds
        if folds.is_file() and copy.read_text("utf-8") != folds.read_text("utf-8"):
            raise KitError(f"{copy}: this run was made with folds other than {folds}; give the new run another name")

    def earlier(self, name: str) -> "Run":
        """Another run that this one starts or learns from; raises `KitError` if its models saw what scores this one."""
        other = Run.named(name, self.workspace)
        one, two = self.files.folds, other.files.folds
        if one.is_file() and one.read_text("utf-8") != two.read_text("utf-8"):
            raise KitError(f"{two}: folds other than {one}; its models saw images that score this run's folds")
        return other

    def refresh(self) -> None:
        """Forget the tables and pixels that were loaded: a stage rewrote them."""
        for name in ("index", "group_of", "samples", "training_samples", "column_shape"):
            self.__dict__.pop(name, None)

    @cached_property
    def index(self) -> pd.DataFrame:
        """The competition's images; read-only."""
        return read_index(self.workspace.index(self.competition.name))

    @cached_property
    def group_of(self) -> dict[str, int]:
        """A training image's id -> its group: near-identical images, one patient's."""
        return training_groups(self.index)

    @cached_property
    def samples(self) -> Samples:
        """The competition's images, with the experiment's corrections applied."""
        experiment, index = self.experiment, self.index
        file = self.files.folds if self.exists else self.competition_folds
        folds = read_folds(file, index, experiment.data.num_folds)
        beside = column_values(index, self.competition) if self.column_shape is not None else None
        samples = Samples.plain(index, folds, self._pixels(index), targets(index, self.competition), beside)
        if experiment.data.corrections is None:
            return samples
        corrected, dropped = apply_corrections(expanded(experiment.data.corrections), index, self.competition)
        return replace(samples, targets=targets(corrected, self.competition), dropped=dropped)

    @cached_property
    def column_shape(self) -> "ColumnShape | None":
        """Of the columns that its network sees beside the picture; `None` where it sees the picture alone."""
        return column_shape(self.experiment, self.competition, lambda: self.index)

    def touched_images(self) -> set[str]:
        """The training images that the experiment's corrections drop or relabel."""
        file = self.experiment.data.corrections
        return touched_images(expanded(file), self.index, self.competition) if file is not None else set()

    @cached_property
    def training_samples(self) -> Samples:
        """`samples`, followed by the experiment's extra pictures (`data.extra`)."""
        own, folder = self.samples, self.experiment.data.extra
        extra = extra_index(expanded(folder), self.competition, own.index, self.workspace) if folder else None
        if extra is None or extra.empty:  # all are copies of the competition's own
            return own
        return own.with_extra(extra, self._pixels(extra), targets(extra, self.competition))

    @property
    def cache(self) -> CacheFolders:
        """Where the competition's pixels and features are kept."""
        machine, own = self.experiment.machine, self.workspace.cache(self.competition.name)
        return CacheFolders.of(own, self.competition.name, machine.cache_dir, machine.cache_gb)

    def _pixels(self, index: pd.DataFrame) -> Pixels:
        """uint8 (N, S, S, channels) at the experiment's cache size."""
        raw, data = self.workspace.raw(self.competition.name), self.experiment.data
        return pixels_of(index, raw, Reading.of(self.competition, index), self.cache, data.kept_size, data.resize)

    def fold(self, number: Fold) -> RunFold:
        if number not in self._folds:
            self._folds[number] = RunFold(self, number)
        return self._folds[number]

    def folds(self, numbers: Sequence[Fold] | None = None) -> list[RunFold]:
        """These folds; by default all that score an image."""
        return [self.fold(number) for number in (range(self.asked.data.num_folds) if numbers is None else numbers)]
