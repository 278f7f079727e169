"""lr-find: the learning-rate range test (Smith 2017, https://arxiv.org/abs/1506.01186): a figure and a suggestion."""

import math
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path

import numpy as np

from kit import console, figures
from kit.errors import ConfigError, KitError
from kit.run.network import Networks
from kit.run.predicting import has_frozen_network
from kit.run.run import Run
from kit.training.optim import set_learning_rate, set_training

LOW, HIGH = 1e-6, 1.0
SMOOTHING = 0.9  # of the losses, per step
DIVERGED = 3.0  # times the lowest loss, the test ends


@dataclass(frozen=True)
class LrFindResult:
    suggestion: float  # a peak for one_cycle or cosine
    rates: list[float]
    losses: list[float]  # smoothed
    figure: Path


def lr_find(run: Run, steps: int = 100) -> LrFindResult:
    """Train fold 0 briefly at an ever higher rate; only the figure is kept."""
    trial = run.trial()
    if has_frozen_network(trial):
        raise ConfigError(f"{run.name}: train.mode is features: heads are fitted without a learning rate")
    networks = Networks(trial)
    networks.check()
    networks.settle()
    rates, losses = _sweep(networks, steps)
    suggestion = suggest(rates, losses)
    figure = run.workspace.figures(run.competition.name) / f"lr-find-{run.name}.png"
    figures.rate_sweep(rates, losses, suggestion, run.name, figure)
    train = trial.experiment.train
    for name, rate in (("learning_rate", train.learning_rate), ("head_learning_rate", train.head_learning_rate)):
        if rate is not None:  # the head's rose in proportion
            found = suggestion * rate / train.learning_rate
            console.stage("lr-find", f"train.{name} {found:.1e} (the config has {rate:.1e}); {figure}")
    return LrFindResult(suggestion, rates.tolist(), losses.tolist(), figure)


def _sweep(networks: Networks, steps: int) -> tuple[np.ndarray, np.ndarray]:
    experiment, fold = networks.run.experiment, networks.run.fold(0)
    train, feed = experiment.train, networks.feed(fold)
    stepper = networks.stepper(fold, (experiment.seed, "lr-find"))
    set_training(stepper.model, train, train.freeze_epochs)
    batches = chain.from_iterable(feed.batches(epoch, 0) for epoch in count())
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    with console.progress("lr-find", steps, unit="batches") as bar:
        for step in range(steps):
            rate = LOW * (HIGH / LOW) ** (step / max(steps - 1, 1))
            set_learning_rate(stepper.optimizer, rate)
            for part, batch in enumerate(islice(batches, train.accumulate_steps)):
                loss = stepper.loss(batch, 0, step * train.accumulate_steps + part) / train.accumulate_steps
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
    """A rate where the loss still falls fast: two thirds down its fall, like fastai's "valley". The fall ends where the
    longest falling subsequence ends, and is taken to be as many steps long as that has points: wiggles on the plateau
    before it do not count."""
    if len(losses) < 10:
        raise KitError("the loss diverged at once: are train.clip_grad_norm and the model's start what they should be?")
    length = np.ones(len(losses), dtype=int)
    for end in range(1, len(losses)):
        falls = losses[:end] > losses[end]
        if falls.any():
            length[end] = 1 + length[:end][falls].max()
    end = int(length.argmax())
    start = end - int(length[end]) + 1
    return float(rates[start + (end - start) * 2 // 3])
