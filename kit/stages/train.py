"""train: one model per fold -> `runs/<name>/fold_<k>/`: a network, or a head on a frozen one."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from kit import console
from kit.data.table import trainable
from kit.device.accelerator import is_out_of_memory, use_accelerator
from kit.errors import ConfigError, KitError
from kit.locks import lock
from kit.metrics.own import is_own
from kit.processes import die_with_parent
from kit.run.drawing import draw_curves
from kit.run.frozen import Computing
from kit.run.hand_in import try_metric
from kit.run.method import Method, method_of
from kit.run.network import Networks
from kit.run.run import Run, RunFold
from kit.run.settling import too_large, use_threads
from kit.run.sharing import gpus_needed
from kit.runners import Job, address_of, choose_runner, is_cluster
from kit.runners.fleet import Fleet
from kit.runners.kaggle import Sessions
from kit.training.loop import OutOfTime
from kit.training.share import Share
from kit.workspace import Fold, write_json, write_text

PATIENCE = 600.0  # seconds: another process may be making this run


@dataclass(frozen=True)
class TrainResult:
    run: Path
    folds: list[Fold]
    metric: str
    scores: dict[str, float]  # fold -> the validation metric of the kept epoch (for an average, the last)
    finished: bool  # False: --max-hours ran out first
    seconds: float
    penalties: dict[str, float] = field(default_factory=dict)  # fold -> its head's, on a frozen network
    losses: dict[str, float] = field(default_factory=dict)  # fold -> the validation loss of the same epoch


def train(
    run: Run, folds: Sequence[Fold] | None = None, force: bool = False, max_hours: float | None = None,
    on: str | None = None,
) -> TrainResult:  # fmt: skip
    """Train the folds (default: all). A killed training resumes from its last checkpoint. The first training of a run
    settles what the experiment leaves open and freezes it, with the folds, into the run's folder. `force` trains
    finished folds again. `on`: where to train, `here`, on this machine's `gpus`, on a `ray` cluster, or on `kaggle`,
    which predicts too; by default on every visible GPU."""
    began = time.monotonic()
    deadline = None if max_hours is None else began + max_hours * 3600
    if run.asked.members:
        raise ConfigError(f"members: {run.name} is a blend: `kit run` trains its members")
    method, wanted = method_of(run), run.folds(folds)
    if on == "kaggle":
        Sessions([run], [fold.number for fold in wanted], run.name, max_hours).finish()
        return _result(run, method, wanted, True, began)
    if is_cluster(on):
        if force:
            text = "a cluster trains only what is missing; delete the run's folder, or give it another name"
            raise ConfigError(f"--force: {text}")
        Fleet([run], [fold.number for fold in wanted], address_of(on or ""), max_hours).finish()
        return _result(run, method_of(run), wanted, all(fold.is_trained for fold in wanted), began)
    parts = method.parts(wanted)
    runner = choose_runner(on, len(parts), gpus_needed(wanted))
    method.check()
    if is_own(run.competition.metric):
        try_metric(run.competition, run.samples.given[trainable(run.samples.index)])
    with lock(run.files.lock, str(run.files.folder), patience=PATIENCE):
        existed = _open(run, method)
    use_threads(run)
    finished = True
    method.announce(wanted, force, existed)
    jobs = [_job(run, method, part, force, deadline) for part in parts]
    try:
        if runner.run(jobs) or not all(fold.is_trained for fold in wanted):
            raise OutOfTime
    except OutOfTime:
        finished = False
        again = " without --force" if force else ""
        console.warn(f"--max-hours has run out; everything is saved. Type the same command{again} to go on")
        draw_curves(run)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise KitError(too_large(run.experiment.train)) from None
    return _result(run, method, wanted, finished, began)


def trained(run: Run, folds: Sequence[Fold]) -> TrainResult:
    """What is known of folds that were trained before, here or elsewhere."""
    wanted = run.folds(folds)
    return _result(run, method_of(run), wanted, all(fold.is_trained for fold in wanted), time.monotonic())


def train_share(run: Run, number: Fold, num_workers: int, max_hours: float | None = None) -> None:
    """In one of the processes that torchrun started to train a fold together. `num_workers` prepare its batches. What
    it raises it leaves in the fold's folder for the process that waits."""
    deadline = None if max_hours is None else time.monotonic() + max_hours * 3600
    die_with_parent()
    use_accelerator(int(os.environ["LOCAL_RANK"]))
    share, fold = Share.begin(), run.fold(number)
    if not share.leads:
        console.mute()
    use_threads(run, max(1, (fold.computing.num_threads or 1) // share.world))
    networks = Networks(run, share)
    networks.num_workers = num_workers
    try:
        networks.fit_here(fold, deadline)
    except OutOfTime:
        pass
    except KitError as error:
        write_text(fold.files.failed, str(error))
        raise
    except RuntimeError as error:
        if is_out_of_memory(error):
            write_text(fold.files.failed, too_large(run.experiment.train))
        raise
    share.end()


def _result(run: Run, method: Method, wanted: list[RunFold], finished: bool, began: float) -> TrainResult:
    metric = run.competition.scoring.name
    lines = {str(fold.number): method.line(fold) for fold in wanted if fold.is_trained}
    scores = {fold: line[key] for fold, line in lines.items() if line.get(key := f"valid_{metric}") is not None}
    if len(scores) > 1:
        mean, std = np.mean(list(scores.values())), np.std(list(scores.values()))
        console.stage("train", f"learning curves: {run.files.figure('curves')}")
        console.stage("train", f"{len(scores)} folds: {metric} {mean:.4f} ± {std:.4f} (without TTA)")
    penalties = {fold: line["head_l2"] for fold, line in lines.items() if "head_l2" in line}
    losses = {fold: line["valid_loss"] for fold, line in lines.items() if line.get("valid_loss") is not None}
    seconds, numbers = time.monotonic() - began, [fold.number for fold in wanted]
    return TrainResult(run.files.folder, numbers, metric, scores, finished, seconds, penalties, losses)


def _open(run: Run, method: Method) -> bool:
    """Freeze the experiment as settled: when the run is made, and when it goes on with different `machine` keys.
    Returns whether it existed."""
    run.settle(None)  # another process may have made it since
    existed = run.exists
    if existed:
        run.require_own_folds()
    if run.made_with != Computing.of(run.experiment.machine):
        write_json(run.files.environment, method.settle())
    run.freeze()
    return existed


def _job(run: Run, method: Method, folds: list[RunFold], force: bool, deadline: float | None) -> Job:
    numbers = ",".join(str(fold.number) for fold in folds)

    def arguments() -> list[str] | None:
        words = ["train", "--fold", numbers, "--config", str(run.files.experiment), "--on", "here"]
        words += ["--workspace", str(run.workspace.root), *(["--force"] if force else [])]
        if deadline is None:
            return words
        left = deadline - time.monotonic()
        return [*words, "--max-hours", f"{left / 3600:.4f}"] if left > 0 else None

    return Job(f"fold {numbers}", partial(method.fit, folds, force, deadline), arguments)
