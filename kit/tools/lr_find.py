"""lr-find: the learning-rate range test (Smith 2017, https://arxiv.org/abs/1506.01186): a figure and a suggestion."""

import math
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path

import numpy as np

from kit import console, figures
from kit.assembly.fitting import Setup, feed, fold_model, objective, training_rows, trial_setup
from kit.config import Experiment
from kit.errors import ConfigError, KitError
from kit.training.decide import training_precision
from kit.training.optim import set_learning_rate, set_training
from kit.training.step import Stepper
from kit.workspace import Workspace

LOW, HIGH = 1e-6, 1.0
SMOOTHING = 0.9  # of the losses, per step
DIVERGED = 3.0  # times the lowest loss: the test ends


@dataclass(frozen=True)
class LrFindResult:
    suggestion: float  # a peak for one_cycle or cosine
    rates: list[float]
    losses: list[float]  # smoothed
    figure: Path


def run(experiment: Experiment, workspace: Workspace, steps: int = 100) -> LrFindResult:
    """Train fold 0 for a moment with an ever higher rate; nothing of it is kept but the figure."""
    if experiment.train.mode == "features":
        raise ConfigError(f"{experiment.name}: train.mode is features: its heads are fitted without a learning rate")
    setup = trial_setup(experiment, workspace)
    rates, losses = _sweep(setup, steps)
    suggestion = suggest(rates, losses)
    figure = workspace.figures(setup.competition.name) / f"lr-find-{experiment.name}.png"
    figures.rate_sweep(rates, losses, suggestion, experiment.name, figure)
    now, head = experiment.train.learning_rate, experiment.train.head_learning_rate
    found = f"train.learning_rate {suggestion:.1e} (the config says {now:.1e})"
    if head is not None:  # it rose in step
        found += f" with head_learning_rate {suggestion * head / now:.1e} (it says {head:.1e})"
    console.stage("lr-find", f"{found}; {figure}")
    return LrFindResult(suggestion, rates.tolist(), losses.tolist(), figure)


def _sweep(setup: Setup, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(rates, smoothed losses), rising by the same factor every optimizer step until the loss runs away."""
    train, rows = setup.experiment.train, training_rows(setup, 0)
    model, made = fold_model(setup, 0, rows), feed(setup, 0, rows)
    loss_of, step_key = objective(setup, model, rows).train, (setup.experiment.seed, "lr-find")
    stepper = Stepper.prepare(model, train, loss_of, training_precision(train), setup.device, step_key)
    set_training(model, train, train.freeze_epochs)
    batches = chain.from_iterable(made.batches(epoch, 0) for epoch in count())
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    with console.progress("lr-find", steps, unit="batches") as bar:
        for step in range(steps):
            rate = LOW * (HIGH / LOW) ** (step / max(steps - 1, 1))
            set_learning_rate(stepper.optimizer, rate)
            for part, (pixels, targets, _) in enumerate(islice(batches, train.accumulate_steps)):
                loss = stepper.loss(pixels, targets, 0, step * train.accumulate_steps + part) / train.accumulate_steps
                stepper.backward(loss)
                mean = mean * (SMOOTHING if part == 0 else 1) + (1 - SMOOTHING) * loss.item()
            stepper.update()
            smooth = mean / (1 - SMOOTHING ** (step + 1))
            bar.advance(note=f"rate {rate:.1e}  loss {smooth:.4f}")
            if not math.isfinite(smooth) or (step >= 10 and smooth > DIVERGED * min(losses)):
                break
            rates.append(rate)
            losses.append(smooth)
    return np.array(rates), np.array(losses)


def suggest(rates: np.ndarray, losses: np.ndarray) -> float:
    """A rate where the loss still falls fast: two thirds down its fall, as fastai's "valley" has it.

    The fall ends where the longest falling subsequence ends, and is taken to be as many steps long as that has points:
    wiggles on the plain before it do not count.
    """
    if len(losses) < 10:
        raise KitError("the loss ran away at once: is train.clip_grad_norm, or the model's start, what it should be?")
    length = np.ones(len(losses), dtype=int)
    for end in range(1, len(losses)):
        falls = losses[:end] > losses[end]
        if falls.any():
            length[end] = 1 + length[:end][falls].max()
    end = int(length.argmax())
    start = end - int(length[end]) + 1
    return float(rates[start + (end - start) * 2 // 3])
