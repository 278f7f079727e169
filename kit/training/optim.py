"""Optimizers, and the learning rate as a pure function of the step."""

import math
from collections.abc import Iterable
from typing import Protocol, cast

import torch
from torch import nn

from kit.settings import Train


class Layered(Protocol):
    def layer_depths(self) -> dict[str, int]:
        """parameter name -> layers between it and the logits; the head's are 0"""


def build_optimizer(model: nn.Module, train: Train) -> torch.optim.Optimizer:
    """AdamW, Adam or SGD (Nesterov). Weight decay acts on weights, not on biases and norms. A group's `rate` multiplies
    the schedule: `layer_decay` ** depth below the head (Clark et al. 2020, https://arxiv.org/abs/2003.10555), and the
    head's own factor where `head_learning_rate` is given."""
    by_layer = train.layer_decay < 1 or train.head_learning_rate is not None
    depths = cast(Layered, model).layer_depths() if by_layer else {}
    undecayed: set[str] = getattr(model, "no_weight_decay", set)()  # class tokens, position tables: timm names them
    heads = (train.head_learning_rate or train.learning_rate) / train.learning_rate
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        depth, decays = depths.get(name), parameter.ndim > 1 and name not in undecayed
        decay = train.weight_decay if decays else 0.0
        rate = 1.0 if depth is None else train.layer_decay**depth if depth else heads
        groups.setdefault((decay, rate), []).append(parameter)
    lines = [{"params": group, "weight_decay": decay, "rate": rate} for (decay, rate), group in groups.items()]
    if train.optimizer == "sgd":
        nesterov = train.momentum > 0
        return torch.optim.SGD(lines, train.learning_rate, momentum=train.momentum, nesterov=nesterov, fused=True)
    kind = torch.optim.AdamW if train.optimizer == "adamw" else torch.optim.Adam
    return kind(lines, train.learning_rate, betas=(train.momentum, 0.999), fused=True)


def set_training(model: nn.Module, train: Train, epoch: int) -> None:
    """Training mode, except for frozen layers, which neither learn nor update their batch-norm statistics. Frozen are
    all but the head while `epoch` is below `freeze_epochs`; permanently, the share `freeze_layers` that is deepest
    below the head, which then costs no backward pass. With `freeze_norms`, batch norms use those they came with."""
    model.train()
    if train.freeze_norms:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
    if epoch >= train.freeze_epochs and not train.freeze_layers:
        model.requires_grad_(True)
        return
    depths = cast(Layered, model).layer_depths()
    most = 0 if epoch < train.freeze_epochs else math.ceil(max(depths.values()) * (1 - train.freeze_layers) - 1e-9)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(depths[name] <= most)
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def learning_rate(train: Train, progress: float) -> float:
    """The rate after `progress` epochs (0 to train.epochs, may be fractional). cosine, step, constant: a linear warm-up
    from 0, then half a cosine to 0, a tenth at each of `step_epochs`, or no change. one_cycle: a cosine up from a 25th
    over `warmup_epochs`, then down to almost 0 (Smith & Topin 2018)."""
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
        group["lr"] = rate * group["rate"]


def clip_gradients(parameters: Iterable[torch.Tensor], max_norm: float | None) -> None:
    if max_norm is not None:
        nn.utils.clip_grad_norm_(parameters, max_norm)
