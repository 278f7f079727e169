"""Training as a workload to be measured: a few steps on random pixels, and whether the results are those of fp32."""

import copy
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from kit.device.accelerator import synchronize
from kit.device.measuring import Workload
from kit.device.precision import Compute, Precision
from kit.settings import Train
from kit.training.ema import EMA
from kit.training.optim import build_optimizer

LOSS_TOLERANCE = 0.05  # relative, against fp32 on the same batch
GRADIENT_TOLERANCE = 2.0  # relative, of each tensor: an untrained deep network turns rounding into noise, not garbage
CHANNELS_IN_STEP = 16  # that AVX-512 computes at once
COMPARED = 16  # images: enough to compare a step


def channels_of(model: nn.Module) -> int:
    """That a classifier takes."""
    mean = getattr(model, "mean", None)
    return len(mean.flatten()) if isinstance(mean, torch.Tensor) else 3


class TrainingSteps:
    """`model`: in its training mode, with frozen layers set (`optim.set_training`); it is left unchanged. `sizes`:
    pixels a side; the first is measured, and training must be right at all of them."""

    def __init__(
        self, model: nn.Module, sizes: Sequence[int], train: Train, outputs: int, device: torch.device
    ) -> None:
        self.model, self.sizes, self.train, self.device, batch = model, sizes, train, device, train.batch_size
        shape = (batch, channels_of(model), sizes[0], sizes[0])
        self.pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
        self.targets, self.outputs = torch.arange(batch, device=device) % outputs, outputs

    def workload(self, subject: tuple[Any, ...]) -> Workload:
        """`subject` names the model and what else decides its speed."""
        steps = (self.train.optimizer, self.train.ema_decay, *subject, *self.sizes, len(self.pixels), self.outputs)
        steps += () if self.pixels.shape[1] == 3 else (self.pixels.shape[1],)
        asked = ("training", *steps, torch.get_num_threads())
        return Workload(asked, len(self.pixels), self.start, self.is_right)

    def start(self, precision: Precision) -> Callable[[int], float]:
        compute = Compute(self.device, precision)
        trial = compute.place(copy.deepcopy(self.model))
        pixels = self.pixels.to(memory_format=precision.layout)
        optimizer, scaler, forward = build_optimizer(trial, self.train), compute.scaler(), compute.compile(trial)
        ema = EMA(trial, self.train.ema_decay) if self.train.ema_decay is not None else None

        def step(count: int) -> float:
            began = time.perf_counter()
            with compute.autocast():
                loss = _some_loss(forward(pixels[:count]).float(), self.targets[:count])
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            if ema is not None:
                ema.update(1)
            synchronize(self.device)
            return time.perf_counter() - began

        return step

    def is_right(self, precision: Precision) -> bool:
        """Are loss and gradients as in fp32, except for rounding? A right loss proves little: see `meets_one_pixel`."""
        if precision.name == "fp32" and not precision.compiled:
            return True
        if self.device.type == "cpu" and precision.name == "bf16" and self.meets_one_pixel:
            return False
        count = len(self.pixels) if precision.compiled else COMPARED  # compiled for one batch size
        loss, gradients = self.first_step(precision, count)
        right_loss, right = self.first_step(Precision("fp32", "contiguous"), count)
        if abs(loss - right_loss) > LOSS_TOLERANCE * max(abs(right_loss), 1e-3):
            return False
        overall, pairs = torch.stack([gradient.norm() for gradient in right]).norm(), zip(gradients, right, strict=True)
        off = [(own - exact).norm() / (exact.norm() + 0.1 * overall) for own, exact in pairs]
        return all(bool(one <= GRADIENT_TOLERANCE) for one in off)  # False for NaN

    def first_step(self, precision: Precision, count: int) -> tuple[float, list[torch.Tensor]]:
        """(loss, gradient of every parameter) of one batch, with the same dropout for every precision."""
        compute = Compute(self.device, precision)
        trial = compute.place(copy.deepcopy(self.model))
        torch.manual_seed(0)
        with compute.autocast():
            outputs = compute.compile(trial)(compute.arranged(self.pixels[:count]))
        loss = _some_loss(outputs.float(), self.targets[:count])
        scale = 1024.0 if precision.name == "fp16" else 1.0
        (loss * scale).backward()
        return loss.item(), [p.grad.float().cpu() / scale for p in trial.parameters() if p.grad is not None]

    @cached_property
    def meets_one_pixel(self) -> bool:
        """Does a strided convolution meet a map of one pixel at any of the sizes? (Runs the model at all of them.)
        There oneDNN (torch 2.14, CPU, bf16) leaves the outer taps' weight gradient unwritten: whatever was in that
        memory, from 0 to 1e34, while the loss looks right. fp32 and fp16 are not affected."""
        met = []

        def look(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if isinstance(module, nn.Conv2d) and max(module.stride) > 1 and max(module.kernel_size) > 1:
                met.append(min(inputs[0].shape[2:]) == 1)

        trial = copy.deepcopy(self.model).to(self.device).eval()
        hooks = [module.register_forward_pre_hook(look) for module in trial.modules()]
        with torch.inference_mode():
            for side in self.sizes:
                trial(torch.zeros(2, channels_of(trial), side, side, dtype=torch.uint8, device=self.device))
        for hook in hooks:
            hook.remove()
        return any(met)


def overruns_memory(model: nn.Module) -> bool:
    """Does its backward pass write beside its memory on a CPU in channels_last? oneDNN (torch 2.14, AVX-512, two
    threads, an odd batch) does so at a strided 1x1 convolution of fewer than 16 channels: a crash, where it is seen."""
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    return any(
        max(one.kernel_size) == 1 and max(one.stride) > 1 and one.in_channels < CHANNELS_IN_STEP for one in convolutions
    )


def _some_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The task's own loss costs as much, and would not tell precisions apart any better."""
    return F.cross_entropy(outputs, targets) if outputs.shape[1] > 1 else (outputs - 1).square().mean()
