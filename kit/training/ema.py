"""Averaged weights (Polyak averaging as an exponential moving average)."""

import copy
from typing import Any

import torch
from torch import nn


class EMA:
    """A second model whose weights and batch-norm statistics follow the first one's average. The decay warms up as (1 +
    step) / (10 + step), so that a short run is not held back by its initial weights."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Call after optimizer step number `step` (counted from 1)."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        own = self.model.state_dict()
        pairs: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # a tensor of several names counts once
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                pairs[own[name].data_ptr()] = (own[name], value)
            else:
                own[name].copy_(value)
        averages, values = zip(*pairs.values(), strict=True)
        torch._foreach_lerp_(list(averages), list(values), weight)


def running_mean(mean: dict[str, torch.Tensor] | None, values: dict[str, torch.Tensor], count: int) -> dict[str, Any]:
    """The mean of `count` states, from that of the earlier ones (None for the first); counters are the latest."""
    if mean is None or count == 1:
        return copy.deepcopy(values)
    learned = {name: value for name, value in values.items() if value.is_floating_point()}
    new = {name: mean[name].to(value.device).lerp(value, 1 / count) for name, value in learned.items()}
    return {name: new.get(name, value.clone()) for name, value in values.items()}
