"""Averaged weights (Polyak averaging as an exponential moving average)."""

import copy
from typing import Any

import torch
from torch import nn


class EMA:
    """A second model whose weights and batch-norm statistics follow those of `followed`, a model that changes in place.
    The decay warms up as (1 + step) / (10 + step), so that a short run is not held back by its initial weights."""

    def __init__(self, followed: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(followed).eval().requires_grad_(False)
        self.decay = decay
        # collected once: a state_dict takes milliseconds. A tensor of several names counts once
        own, theirs = (model.state_dict(keep_vars=True) for model in (self.model, followed))
        names = list({value.data_ptr() or id(value): name for name, value in own.items()}.values())
        learned = [name for name in names if own[name].is_floating_point()]
        counters = [name for name in names if not own[name].is_floating_point()]
        self._averages, self._values = [own[name] for name in learned], [theirs[name] for name in learned]
        self._counters, self._counts = [own[name] for name in counters], [theirs[name] for name in counters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Call after optimizer step number `step` (counted from 1)."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averages, self._values, weight)
        if self._counters:
            torch._foreach_copy_(self._counters, self._counts)


def running_mean(mean: dict[str, torch.Tensor] | None, values: dict[str, torch.Tensor], count: int) -> dict[str, Any]:
    """The mean of `count` states, from that of the earlier ones (None for the first); counters are the latest."""
    if mean is None or count == 1:
        return copy.deepcopy(values)
    learned = {name: value for name, value in values.items() if value.is_floating_point()}
    new = {name: mean[name].to(value.device).lerp(value, 1 / count) for name, value in learned.items()}
    return {name: new.get(name, value.clone()) for name, value in values.items()}
