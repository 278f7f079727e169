"""Which number format and memory layout this model trains fastest in, on this machine: measured, then frozen."""

import copy
import time
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from kit.machine import HOPELESS, Precision, Trial, fastest, is_hopeless, whole_batches

LOSS_TOLERANCE = 0.05  # relative, against fp32 on the same batch
GRADIENT_TOLERANCE = 2.0  # relative, of each tensor: an untrained deep network turns rounding into noise, not garbage
STEP_SECONDS = 3.0  # for an option's steps


def probe(
    model: nn.Module,
    options: list[Precision],
    image_size: int,
    batch_size: int,
    num_classes: int,
    device: torch.device,
    other_sizes: tuple[int, ...] = (),
) -> list[Trial]:
    """Time a few training steps of each option on random pixels.

    `model`: in the mode that it trains in, with what stands still (`optim.set_training`); it is left as it was.
    `other_sizes`: pixels a side that some epochs train at; it must run, and be safe, at these too.
    """
    pixels = torch.randint(0, 256, (batch_size, 3, image_size, image_size), dtype=torch.uint8, device=device)
    targets = torch.arange(len(pixels), device=device) % num_classes
    compiling = any(option.compiled for option in options)  # for one size of batch
    few = (pixels, targets) if compiling else (pixels[:16], targets[:16])  # enough to compare a step
    reference = _first_step(model, Precision("fp32", "contiguous"), *few, device)
    unsafe = [
        _strides_over_one_pixel(model, torch.zeros(2, 3, side, side, dtype=torch.uint8, device=device), device)
        for side in (image_size, *other_sizes)
    ]
    trials: list[Trial] = []
    best, hopeless = float("inf"), set()
    for option in options:
        if option.name in hopeless:  # in the other layout as well
            trials.append(Trial(option, 0.0))
            continue
        try:
            seconds = _seconds_per_step(model, option, pixels, targets, device, best * HOPELESS)
        except (RuntimeError, NotImplementedError) as error:  # no memory, or an operation without this number format
            if not isinstance(error, torch.OutOfMemoryError) and (option.name == "fp32" or option.compiled):
                raise
            trials.append(Trial(option, 0.0))
            continue
        if seconds == float("inf"):
            hopeless.add(option.name)
        right = seconds < float("inf") and not (device.type == "cpu" and option.name == "bf16" and any(unsafe))
        right = right and _same_step(_first_step(model, option, *few, device), reference)
        trials.append(Trial(option, len(pixels) / seconds if right else 0.0))
        if right:
            best = min(best, seconds)
    return trials


def _first_step(
    model: nn.Module, option: Precision, pixels: torch.Tensor, targets: torch.Tensor, device: torch.device
) -> tuple[float, list[torch.Tensor]]:
    """(loss, gradient of every parameter) of one batch, the same dropout for every option."""
    trial = copy.deepcopy(model).to(device).to(memory_format=option.layout)
    torch.manual_seed(0)
    with option.autocast(device):
        logits = option.compile(trial)(pixels.contiguous(memory_format=option.layout))
    loss = _some_loss(logits.float(), targets)
    scale = 1024.0 if option.name == "fp16" else 1.0
    (loss * scale).backward()
    return loss.item(), [p.grad.float().cpu() / scale for p in trial.parameters() if p.grad is not None]


def _some_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The task's own costs as much, and would tell precisions apart no better."""
    return F.cross_entropy(outputs, targets) if outputs.shape[1] > 1 else (outputs - 1).square().mean()


def _strides_over_one_pixel(model: nn.Module, pixels: torch.Tensor, device: torch.device) -> bool:
    """Does a convolution with a stride meet a map of one pixel?

    There oneDNN (torch 2.14, CPU, bf16) leaves the weight gradient of the outer taps unwritten: whatever was in that
    memory, between nothing and 1e34, while the loss looks right. fp32 and fp16 are not affected.
    """
    met = []

    def look(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, nn.Conv2d) and max(module.stride) > 1 and max(module.kernel_size) > 1:
            met.append(min(inputs[0].shape[2:]) == 1)

    trial = copy.deepcopy(model).to(device).eval()
    hooks = [module.register_forward_pre_hook(look) for module in trial.modules()]
    with torch.inference_mode():
        trial(pixels)
    for hook in hooks:
        hook.remove()
    return any(met)


def _same_step(one: tuple[float, list[torch.Tensor]], reference: tuple[float, list[torch.Tensor]]) -> bool:
    """Loss and gradients as in fp32, but for rounding? A right loss says little: see `_strides_over_one_pixel`."""
    if abs(one[0] - reference[0]) > LOSS_TOLERANCE * max(abs(reference[0]), 1e-3):
        return False
    overall = torch.stack([gradient.norm() for gradient in reference[1]]).norm()
    return all(
        bool((own - right).norm() <= GRADIENT_TOLERANCE * (right.norm() + 0.1 * overall))  # false for nan
        for own, right in zip(one[1], reference[1], strict=True)
    )


def _seconds_per_step(
    model: nn.Module, option: Precision, pixels: torch.Tensor, targets: torch.Tensor, device: torch.device, limit: float
) -> float:
    """The fastest of a few steps, after one that does not count; gives up early on what exceeds `limit` seconds."""
    trial = copy.deepcopy(model).to(device).to(memory_format=option.layout)
    pixels = pixels.to(memory_format=option.layout)
    optimizer, scaler, forward = torch.optim.SGD(trial.parameters(), 1e-4), option.scaler(device), option.compile(trial)

    def step(images: torch.Tensor, labels: torch.Tensor) -> float:
        start = time.perf_counter()
        with option.autocast(device):
            loss = _some_loss(forward(images).float(), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    few = len(pixels) if option.compiled else max(2, len(pixels) // 8)  # loads kernels, and shows what is hopeless
    small, batches = partial(step, pixels[:few], targets[:few]), whole_batches(few, len(pixels), device)
    cold = small()
    if not option.compiled and is_hopeless(cold, small, batches, limit):
        return float("inf")
    return fastest(partial(step, pixels, targets), STEP_SECONDS, limit)
