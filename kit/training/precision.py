"""Which number format and memory layout this model trains fastest in, on this machine: measured, then frozen."""

import copy
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import product

import torch
from torch import nn
from torch.nn import functional as F

from kit import console

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TIE = 0.85  # a candidate that reaches this much of the fastest, and stands before it, is taken: timings scatter by 10 %
LOSS_TOLERANCE = 0.05  # relative, against fp32 on the same batch
GRADIENT_TOLERANCE = 2.0  # relative, of each tensor: an untrained deep network turns rounding into noise, not garbage
HOPELESS = 3.0  # a first step this many times slower than the best candidate's ends the trial,
COLD_SECONDS = 1.0  # unless it took less than this: kernels are made on the first call


def default_device() -> torch.device:
    """The GPU where there is one that this torch build has code for, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if runs_on(torch.cuda.get_device_capability(), torch.cuda.get_arch_list()):
        return torch.device("cuda")
    console.warn(f"this torch build has no code for {torch.cuda.get_device_name()}: the CPU is used (see `kit doctor`)")
    return torch.device("cpu")


def runs_on(capability: tuple[int, int], built_for: list[str]) -> bool:
    """Does a torch build for `built_for` (`sm_75`, `compute_90`, ...) run on a GPU of this compute capability?

    Machine code (sm) runs on the same major version from its minor version on, PTX (compute) on anything newer.
    https://docs.nvidia.com/cuda/cuda-programming-guide, compute capabilities and binary compatibility
    """
    for name in built_for:
        kind, _, digits = name.partition("_")
        number = int("".join(filter(str.isdigit, digits)) or 0)
        major, minor = divmod(number, 10)
        if kind == "sm" and major == capability[0] and minor <= capability[1]:
            return True
        if kind == "compute" and (major, minor) <= capability:
            return True
    return False


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"


@dataclass(frozen=True)
class Precision:
    """`name`: fp32, bf16 or fp16 (mixed: weights stay fp32). `memory_format`: channels_last or contiguous."""

    name: str
    memory_format: str

    @property
    def layout(self) -> torch.memory_format:
        return torch.channels_last if self.memory_format == "channels_last" else torch.contiguous_format

    def autocast(self, device: torch.device) -> AbstractContextManager:
        return torch.autocast(device.type, DTYPES[self.name], enabled=self.name != "fp32")

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """Loss scaling: at work for fp16 only."""
        return torch.amp.GradScaler(device.type, enabled=self.name == "fp16")


@dataclass(frozen=True)
class Trial:
    """One measured candidate. `images_per_second` of forward + backward + step; 0 where it was hopeless or wrong."""

    precision: Precision
    images_per_second: float


def candidates(device: torch.device, precision: str = "auto", memory_format: str = "auto") -> list[Precision]:
    """What is worth timing here, in the order that breaks ties."""
    names = [precision]
    if precision == "auto":
        fast = "bf16" if device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        names = [fast, "fp32"]
    formats = ["channels_last", "contiguous"] if memory_format == "auto" else [memory_format]
    return [Precision(name, layout) for name, layout in product(names, formats)]


def probe(
    model: nn.Module, options: list[Precision], image_size: int, batch_size: int, num_classes: int, device: torch.device
) -> list[Trial]:
    """Time a few training steps of each option on random pixels; the model itself is left as it was."""
    pixels = torch.randint(0, 256, (batch_size, 3, image_size, image_size), dtype=torch.uint8, device=device)
    targets = torch.arange(len(pixels), device=device) % num_classes
    few = (pixels[:16], targets[:16])  # enough to compare a step
    reference = _first_step(model, Precision("fp32", "contiguous"), *few, device)
    unsafe = device.type == "cpu" and _strides_over_one_pixel(model, pixels[:2], device)
    trials: list[Trial] = []
    best = float("inf")
    for option in options:
        try:
            seconds = _seconds_per_step(model, option, pixels, targets, device, max(best * HOPELESS, COLD_SECONDS))
        except torch.OutOfMemoryError:
            trials.append(Trial(option, 0.0))
            continue
        right = seconds < float("inf") and not (unsafe and option.name == "bf16")
        right = right and _same_step(_first_step(model, option, *few, device), reference)
        trials.append(Trial(option, len(pixels) / seconds if right else 0.0))
        if right:
            best = min(best, seconds)
    return trials


def choose(trials: list[Trial]) -> Trial:
    """The first within reach of the fastest: near-ties fall the same way every time."""
    fastest = max(trial.images_per_second for trial in trials)
    return next(trial for trial in trials if trial.images_per_second >= TIE * fastest)


def _first_step(
    model: nn.Module, option: Precision, pixels: torch.Tensor, targets: torch.Tensor, device: torch.device
) -> tuple[float, list[torch.Tensor]]:
    """(loss, gradient of every parameter) of one batch, the same dropout for every option."""
    trial = copy.deepcopy(model).to(device).to(memory_format=option.layout).train()
    torch.manual_seed(0)
    with option.autocast(device):
        logits = trial(pixels.contiguous(memory_format=option.layout))
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
    trial = copy.deepcopy(model).to(device).to(memory_format=option.layout).train()
    pixels = pixels.to(memory_format=option.layout)
    optimizer, scaler = torch.optim.SGD(trial.parameters(), 1e-4), option.scaler(device)

    def step(images: torch.Tensor, labels: torch.Tensor) -> float:
        start = time.perf_counter()
        with option.autocast(device):
            loss = _some_loss(trial(images).float(), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    few = max(2, len(pixels) // 8)  # loads kernels, and shows what is hopeless
    if step(pixels[:few], targets[:few]) > limit:
        return float("inf")
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 12 and (len(times) < 3 or time.perf_counter() - began < 3):
        times.append(step(pixels, targets))
        if times[0] > limit:
            break
    return min(times)
