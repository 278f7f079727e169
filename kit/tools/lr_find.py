"""lr-find: the learning-rate range test (Smith 2017, https://arxiv.org/abs/1506.01186): a figure and a suggestion."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kit import console, figures
from kit.assembly.fitting import Setup, feed, fold_model, objective, training_rows, trial_setup
from kit.config import Experiment
from kit.errors import ConfigError, KitError
from kit.randomness import key
from kit.training.decide import training_precision
from kit.training.optim import build_optimizer, clip_gradients, set_learning_rate, set_training
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
    """(rates, smoothed losses), rising by the same factor every step until the loss runs away."""
    train, rows = setup.experiment.train, training_rows(setup, 0)
    precision = training_precision(train)
    model = fold_model(setup, 0, rows).to(setup.device).to(memory_format=precision.layout)
    loss_of, made = objective(setup, model, rows).train, feed(setup, 0, rows)
    optimizer, scaler = build_optimizer(model, train), precision.scaler(setup.device)
    set_training(model, train, train.freeze_epochs)
    rates: list[float] = []
    losses: list[float] = []
    mean, step = 0.0, 0
    with console.progress("lr-find", steps, unit="batches") as bar:
        while step < steps:
            for images, wanted, _ in made.batches(step // made.num_steps, 0):
                rate = LOW * (HIGH / LOW) ** (step / max(steps - 1, 1))
                torch.manual_seed(key("step", setup.experiment.seed, "lr-find", step))
                set_learning_rate(optimizer, rate)
                shown = images.to(setup.device).contiguous(memory_format=precision.layout)
                with precision.autocast(setup.device):
                    outputs = model(shown).float()
                loss = loss_of(outputs, wanted.to(setup.device))
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                clip_gradients(model.parameters(), train.clip_grad_norm)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad(set_to_none=True)
                mean = SMOOTHING * mean + (1 - SMOOTHING) * loss.item()
                smooth = mean / (1 - SMOOTHING ** (step + 1))
                step += 1
                bar.advance(note=f"rate {rate:.1e}  loss {smooth:.4f}")
                if not math.isfinite(smooth) or (step > 10 and smooth > DIVERGED * min(losses)):
                    return np.array(rates), np.array(losses)
                rates.append(rate)
                losses.append(smooth)
                if step >= steps:
                    break
    return np.array(rates), np.array(losses)


def suggest(rates: np.ndarray, losses: np.ndarray) -> float:
    """A rate two thirds down the longest fall of the loss, where it still falls fast."""
    if len(losses) < 10:
        raise KitError("the loss ran away at once: is train.clip_grad_norm, or the model's start, what it should be?")
    length, best, start = np.ones(len(losses), dtype=int), 0, 0
    for end in range(1, len(losses)):
        falls = losses[:end] > losses[end]
        if falls.any():
            length[end] = 1 + length[:end][falls].max()
        if length[end] > length[best]:
            best = end
    start = best - length[best] + 1
    return float(rates[start + (best - start) * 2 // 3])
