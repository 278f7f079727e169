"""What one batch does to a model in training: its loss, its gradient, the optimizer's step."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from kit.batch import Batch, beside
from kit.device.precision import Compute
from kit.randomness import key
from kit.settings import Train
from kit.training.losses import Loss
from kit.training.mixing import mix
from kit.training.optim import build_optimizer, clip_gradients
from kit.training.share import Share, WholeBatchNorms

StepKey = tuple[int | str, ...]


@dataclass(frozen=True)
class Objective:
    """`train`: what is minimised. `validation`: the task's plain loss. `activate`: outputs -> predictions."""

    train: Loss
    validation: Loss
    activate: Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Stepper:
    """A model on its device with its optimizer. `forward`: the model, or its compiled form; `step_key`: with the epoch
    and the step, the key that dropout and mixing are drawn by. `share`: that of one of several processes."""

    model: nn.Module
    forward: nn.Module
    train: Train
    objective: Objective
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    compute: Compute
    step_key: StepKey
    share: Share | None = None

    @classmethod
    def prepare(
        cls, model: nn.Module, train: Train, objective: Objective, compute: Compute, step_key: StepKey,
        share: Share | None = None,
    ) -> Self:  # fmt: skip
        """The model, moved to its device and memory layout, with a fresh optimizer."""
        model = compute.place(model)
        optimizer, scaler = build_optimizer(model, train), compute.scaler()
        return cls(model, compute.compile(model), train, objective, optimizer, scaler, compute, step_key, share)

    def loss(self, batch: Batch, epoch: int, step: int) -> torch.Tensor:
        """The loss of a batch: mixed and smoothed as the experiment asks. Of a shared one, that of the whole batch."""
        device, share = self.compute.device, self.share
        drawn_by = (*self.step_key, epoch, step, *((share.rank,) if share is not None else ()))
        torch.manual_seed(key("step", *drawn_by))
        pixels = batch.pixels.to(device, non_blocking=True)
        mixed = mix(pixels, self.train, epoch, drawn_by)
        pixels = self.compute.arranged(mixed.pixels if mixed is not None else pixels)
        with self.compute.autocast(), nullcontext() if share is None else WholeBatchNorms():
            network = self.forward if share is None else share.wrapped(self.forward)
            outputs = network(pixels, *beside(batch, device)).float()
        wanted = batch.targets.to(device, non_blocking=True)
        if share is not None and mixed is None:
            outputs, wanted = (share.gathered(one, batch.whole or len(batch)) for one in (outputs, wanted))
        loss = self.objective.train(outputs, wanted)
        if mixed is None:
            return loss
        other = wanted[mixed.partner.to(device, non_blocking=True)]
        loss = mixed.own * loss + (1 - mixed.own) * self.objective.train(outputs, other)
        return loss if share is None else share.summed(loss * (len(batch) / (batch.whole or len(batch))))

    def backward(self, loss: torch.Tensor) -> None:
        """The gradient of a batch's loss; several processes' shares of it add up."""
        self.scaler.scale(loss if self.share is None else loss * self.share.world).backward()

    def update(self) -> None:
        """The optimizer's step by the current gradients, clipped as the experiment asks; clears them afterwards."""
        self.scaler.unscale_(self.optimizer)
        clip_gradients(self.model.parameters(), self.train.clip_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
