"""Optimizers, and the learning rate as a pure function of the step."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from kit.config import Train


def build_optimizer(model: nn.Module, train: Train) -> torch.optim.Optimizer:
    """AdamW, Adam or SGD (Nesterov). Weight decay acts on weights, not on biases and norms."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (decayed if parameter.ndim > 1 else plain).append(parameter)
    groups = [{"params": decayed, "weight_decay": train.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    if train.optimizer == "sgd":
        nesterov = train.momentum > 0
        return torch.optim.SGD(groups, train.learning_rate, momentum=train.momentum, nesterov=nesterov, fused=True)
    kind = torch.optim.AdamW if train.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, train.learning_rate, betas=(train.momentum, 0.999), fused=True)


def learning_rate(train: Train, progress: float) -> float:
    """The rate after `progress` epochs (0 to train.epochs, fractions too).

    cosine, step, constant: a linear warm-up from 0, then half a cosine to 0, tenths at `step_epochs`, or nothing.
    one_cycle: a cosine up from a 25th over `warmup_epochs` and down to almost 0 (Smith & Topin 2018).
    """
    peak, warmup = train.learning_rate, train.warmup_epochs
    rise = min(progress / warmup, 1.0) if warmup > 0 else 1.0
    fall = max(0.0, progress - warmup) / max(train.epochs - warmup, 1e-9)
    if train.schedule == "one_cycle":
        low, end = peak / 25, peak / 1e4
        if rise < 1:
            return low + (peak - low) * (1 - math.cos(math.pi * rise)) / 2
        return end + (peak - end) * (1 + math.cos(math.pi * min(fall, 1.0))) / 2
    if rise < 1:
        return peak * rise
    if train.schedule == "cosine":
        return peak * (1 + math.cos(math.pi * min(fall, 1.0))) / 2
    if train.schedule == "step":
        return peak * 0.1 ** sum(progress >= epoch for epoch in train.step_epochs)
    return peak


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def clip_gradients(parameters: Iterable[torch.Tensor], max_norm: float | None) -> None:
    if max_norm is not None:
        nn.utils.clip_grad_norm_(parameters, max_norm)
