"""What this machine is and can: its device, its cores, and the number formats and memory layouts worth trying on it."""

import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kit import console
from kit.workspace import fingerprint, read_json, write_json

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
HOPELESS = 3.0  # so many times slower than the best candidate, a trial ends early
COLD_SECONDS = 1.0  # kernels are made on the first call: what takes less than this may yet be fast
FALLING = 0.95  # a try that takes less of the fastest before it shows that the machine is still warming up
TIE = 0.85  # a candidate that reaches this much of the fastest, and stands before it, is taken: timings scatter by 10 %


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


def processor(device: torch.device) -> str:
    """The model of the GPU, or of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@dataclass(frozen=True)
class Precision:
    """How a model computes. `name`: fp32, bf16 or fp16 (mixed: weights stay fp32); `memory_format`: channels_last or
    contiguous; `compiled`: by torch.compile.
    """

    name: str
    memory_format: str
    compiled: bool = False

    def __str__(self) -> str:
        return f"{self.name}, {self.memory_format}" + (", compiled" if self.compiled else "")

    @property
    def layout(self) -> torch.memory_format:
        return torch.channels_last if self.memory_format == "channels_last" else torch.contiguous_format

    def autocast(self, device: torch.device) -> AbstractContextManager:
        return torch.autocast(device.type, DTYPES[self.name], enabled=self.name != "fp32")

    def compile(self, model: nn.Module) -> nn.Module:
        """What to call instead of `model`; the shapes it meets first are the ones it is made for."""
        if not self.compiled:
            return model
        # without a GPU, the compiler's import warns on every machine that has CUDA_HOME
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        return torch.compile(model, dynamic=False)  # type: ignore[return-value]

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """Loss scaling: at work for fp16 only."""
        return torch.amp.GradScaler(device.type, enabled=self.name == "fp16")


@dataclass(frozen=True)
class Trial:
    """One measured candidate. `images_per_second`: 0 where it was hopeless or wrong."""

    precision: Precision
    images_per_second: float


def candidates(device: torch.device, precision: str = "auto", memory_format: str = "auto") -> list[Precision]:
    """What is worth timing here, in the order that breaks ties."""
    names = [precision]
    if precision == "auto":
        native = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
        names = ["bf16", "fp32", "fp16"] if native else ["fp16", "fp32"]
    formats = ["channels_last", "contiguous"] if memory_format == "auto" else [memory_format]
    return [Precision(name, layout) for name, layout in product(names, formats)]


def whole_batches(few: int, many: int, device: torch.device) -> float:
    """`many` images take at least so many times as long as `few`. (A small batch leaves a GPU idle, a CPU hardly.)"""
    return many / few / 4 if device.type == "cpu" else 1.0


def is_hopeless(cold: float, once: Callable[[], float], batches: float, limit: float) -> bool:
    """Would a whole batch surely take more than `limit` seconds? It is `batches` times a small one.

    `cold`: seconds of the first small one, which loads kernels; unless that took long already, three more (`once`) have
    to agree: a machine pauses now and then.
    """
    seconds, tries = cold, 3
    while seconds * batches > limit:
        if tries == 0 or seconds > max(limit, COLD_SECONDS):
            return True
        seconds, tries = min(seconds, once()), tries - 1
    return False


def fastest(once: Callable[[], float], seconds: float, hopeless: float = float("inf")) -> float:
    """The fastest of 3 to 12 tries (`once` returns seconds) within `seconds`, and of more while they get faster.

    A process that asks for huge pages takes several steps to warm up: the fifth was three times as fast as the first.
    Three tries that take more than `hopeless` are enough.
    """
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 12:
        times.append(once())
        before = min(times[:-1], default=float("inf"))
        late = time.perf_counter() - began >= seconds and times[-1] > FALLING * before
        if len(times) >= 3 and (late or min(times) > hopeless):
            break
    return min(times)


def choose(trials: list[Trial]) -> Trial:
    """The first within reach of the fastest: near-ties fall the same way every time."""
    fastest = max(trial.images_per_second for trial in trials)
    return next(trial for trial in trials if trial.images_per_second >= TIE * fastest)


def measured(
    memory: Path, subject: Sequence[Any], device: torch.device, measure: Callable[[], list[Trial]]
) -> list[Trial]:
    """`measure()`, or what it said before of the same subject, with this torch, on this processor.

    `memory`: a JSON file of the workspace; a speed that is known is not measured by every run anew.
    """
    facts = {"subject": [str(part) for part in subject], "torch": torch.__version__, "processor": processor(device)}
    key = fingerprint(facts)
    known = read_json(memory) if memory.is_file() else {}
    if key not in known:
        trials = measure()
        if not any(trial.images_per_second for trial in trials):  # another job may hold the memory just now
            return trials
        known[key] = facts | {"trials": [asdict(trial) for trial in trials]}
        write_json(memory, known)
    return [Trial(Precision(**one["precision"]), one["images_per_second"]) for one in known[key]["trials"]]


def num_cores() -> int:
    """The cores this process may use (fewer than the machine's in many containers)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
