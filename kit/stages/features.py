"""features: a frozen network's features once, then every fold's linear head -> `runs/<name>/fold_<k>/`, as `train`."""

import copy
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from kit import console, figures
from kit.assembly.features import experiment_features
from kit.assembly.fitting import initial_model
from kit.assembly.opening import open_data
from kit.assembly.predicting import settle
from kit.competition import Competition
from kit.config import Experiment, Train
from kit.data.table import channel_statistics, trainable
from kit.errors import ConfigError, counted
from kit.inference.views import expand
from kit.machine import default_device, num_cores
from kit.models import Classifier
from kit.randomness import key
from kit.run_folder import freeze, freeze_folds, frozen, same_folds
from kit.training.checkpoint import save_model
from kit.training.decide import environment
from kit.training.heads import CrossFit, cross_fit
from kit.training.history import history_text
from kit.training.losses import number_scale
from kit.workspace import Fold, Workspace, fingerprint, is_done, lock, mark_done, write_json, write_text

VERSION = 1


@dataclass(frozen=True)
class FeaturesResult:
    run: Path
    folds: list[Fold]
    penalties: dict[str, float]  # fold -> the one its head was fitted with; empty where all was up to date
    finished: bool
    seconds: float


def run(
    experiment: Experiment, workspace: Workspace, folds: list[Fold] | None = None, force: bool = False
) -> FeaturesResult:
    """Features of every image and view, then the heads of the folds (default: all), each with a penalty of its own.

    A fold's penalty is chosen by a cross-validation among the other folds: its own labels decide nothing.
    """
    began = time.monotonic()
    if experiment.model.start or experiment.train.pseudo_run or experiment.data.extra:
        raise ConfigError("train.mode: features knows no model.start, train.pseudo_run and data.extra; leave them out")
    if experiment.data.num_folds < 3:
        raise ConfigError("train.mode: features chooses each fold's penalty among the others: data.num_folds 3 or more")
    _say_ignored(experiment)
    data = open_data(experiment, workspace)
    competition, index, pixels = data.competition, data.index, data.pixels
    torch.set_num_threads(experiment.train.num_threads or num_cores())
    torch.manual_seed(key("weights", experiment.seed, "features"))
    model = initial_model(experiment, competition, channel_statistics(index[trainable(index)]))
    wanted: list[Fold] = list(folds) if folds is not None else list(range(experiment.data.num_folds))
    rows = np.flatnonzero(trainable(index))
    truth, fold_of = data.targets[rows], data.folds[rows]
    run_folder = workspace.run(experiment.name)
    with lock(run_folder / ".lock", str(run_folder)):
        experiment = _open_run(experiment, workspace, model, pixels)
        images = [index["image_id"].iloc[rows].tolist(), index["md5"].iloc[rows].tolist(), truth.tolist()]
        weights = {name: value.double().sum().item() for name, value in model.state_dict().items()}
        views = [asdict(view) for view in expand(experiment.tta.views)]  # a head is fitted on what each of them shows
        inputs = fingerprint(VERSION, images, fold_of.tolist(), weights, experiment.train.head_l2, views)
        stamps = {fold: workspace.fold(experiment.name, fold) / ".train.json" for fold in wanted}
        todo = [f for f, s in stamps.items() if force or not is_done(s, inputs, [s.with_name("model.safetensors")])]
        for fold in set(wanted) - set(todo):
            console.stage("features", f"fold {fold} is up to date")
        penalties: dict[str, float] = {}
        of_folds: list[Fold] = [fold for fold in todo if fold != "full"]
        of_all: list[Fold] = [fold for fold in todo if fold == "full"]
        for kind in (of_folds, of_all):
            if kind:
                made = experiment_features(
                    experiment, workspace, competition.name, model, pixels, index["md5"].tolist()
                )
                seen = torch.from_numpy(made[:, rows]).float()
                fitted = _fit(experiment, competition, seen, truth, fold_of, kind is of_all)
                for fold in kind:
                    penalties[str(fold)] = _write(experiment, workspace, competition, model, fitted, truth, fold)
                    mark_done(stamps[fold], inputs)
                _report(experiment, workspace, fitted, penalties)
    return FeaturesResult(run_folder, wanted, penalties, True, time.monotonic() - began)


def _say_ignored(experiment: Experiment) -> None:
    train, plain = experiment.train, Train()
    names = ("loss", "class_weights", "label_smoothing", "mixup", "cutmix")
    ignored = [f"train.{name}" for name in names if getattr(train, name) != getattr(plain, name)]
    if ignored := ignored + (["augment"] if experiment.augment else []):
        console.warn(f"train.mode: features: {', '.join(ignored)} play no part: heads learn by the task's plain loss")


def _open_run(experiment: Experiment, workspace: Workspace, model: Classifier, pixels: np.ndarray) -> Experiment:
    """The experiment as its run froze it; the first time, decide how features are made, and freeze it."""
    existing = frozen(experiment, workspace)
    if existing is None:
        write_json(workspace.run(experiment.name) / "environment.json", environment(default_device()))
        freeze_folds(experiment, workspace)
    else:
        same_folds(existing, workspace)
    experiment = existing or experiment
    backbone = model.without_head()
    settled = settle(experiment, workspace, backbone, pixels, len(pixels) * len(expand(experiment.tta.views)))
    freeze(settled, workspace)
    return settled


def _fit(
    experiment: Experiment,
    competition: Competition,
    seen: torch.Tensor,
    truth: np.ndarray,
    folds: np.ndarray,
    full: bool,
) -> CrossFit:
    began = time.monotonic()
    wanted = torch.from_numpy(truth)
    if competition.task == "number":
        mean, std = number_scale(truth)
        wanted = (wanted - mean) / std
    l2 = experiment.train.head_l2
    fitted = cross_fit(seen, wanted, folds, l2, competition.task, competition.num_outputs, full)
    console.stage(
        "features",
        f"heads of {counted(len(fitted.paths), 'fold')} and {counted(len(l2), 'strength')} in "
        f"{console.duration(time.monotonic() - began)}",
    )
    return fitted


def _write(
    experiment: Experiment,
    workspace: Workspace,
    competition: Competition,
    model: Classifier,
    fitted: CrossFit,
    truth: np.ndarray,
    fold: Fold,
) -> float:
    """The fold's whole model, network and head, as `train` writes it; returns the head's penalty."""
    place = 0 if fold == "full" else fold
    own = copy.deepcopy(model)
    if competition.task == "number":
        own.set_number_scale(*number_scale(truth))
    with torch.no_grad():
        own.head().weight.copy_(fitted.weight[place])
        own.head().bias.copy_(fitted.bias[place])
    folder, penalty = workspace.fold(experiment.name, fold), fitted.penalties[place]
    line = {"head_l2": penalty}
    if fold != "full":
        line["valid_loss"] = float(fitted.paths[place, experiment.train.head_l2.index(penalty)])
    write_text(folder / "heads.jsonl", history_text([line]))
    facts = {"model": experiment.model.name, "classes": list(competition.classes)}
    save_model(folder / "model.safetensors", own.state_dict(), facts)
    return penalty


def _report(experiment: Experiment, workspace: Workspace, fitted: CrossFit, penalties: dict[str, float]) -> None:
    path = workspace.run(experiment.name) / "figures" / "penalties.png"
    figures.penalties(experiment.train.head_l2, fitted.paths, penalties, experiment.name, path)
    chosen = ", ".join(f"{fold}: {penalty:g}" for fold, penalty in penalties.items())
    console.stage("features", f"penalties by fold: {chosen}; {path}")
    tried = experiment.train.head_l2
    for end, word, more in ((min(tried), "smallest", "smaller"), (max(tried), "largest", "larger")):
        if len(tried) > 1 and end in penalties.values():
            console.warn(f"the {word} penalty tried was best for a fold; add a {more} one to train.head_l2")
