"""Number formats and memory layouts: how a model computes."""

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from kit.device.accelerator import has_bf16, tune

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """`name`: fp32, bf16 or fp16 (mixed: weights stay fp32); `memory_format`: channels_last or contiguous."""

    name: str
    memory_format: str
    compiled: bool = False

    def __str__(self) -> str:
        return f"{self.name}, {self.memory_format}" + (", compiled" if self.compiled else "")

    @property
    def layout(self) -> torch.memory_format:
        return torch.channels_last if self.memory_format == "channels_last" else torch.contiguous_format


@dataclass(frozen=True)
class Wanted:
    """What an experiment asks for: a `Precision` with parts left open (`auto`)."""

    name: str = "auto"
    memory_format: str = "auto"
    compile: Literal["auto"] | bool = "auto"

    def candidates(self, device: torch.device) -> list[Precision]:
        """What is worth timing here, in the order that breaks ties. The number format is the device's own: bf16 where
        it is native, else fp16 on a GPU and fp32 on a CPU. On a CPU either memory layout may be the faster one; a GPU's
        tensor cores prefer channels_last."""
        name = self.name
        if name == "auto":
            name = "bf16" if has_bf16(device) else "fp16" if device.type in {"cuda", "xpu"} else "fp32"
        formats = [self.memory_format]
        if self.memory_format == "auto":
            formats = ["channels_last", "contiguous"] if device.type == "cpu" else ["channels_last"]
            formats = ["contiguous"] if device.type == "mps" else formats
        return [Precision(name, one) for one in formats]


def is_emulated(device: torch.device, name: str) -> bool:
    """Does this device compute in the number format `name` by detours, many times slower than in fp32?"""
    return (name == "bf16" and not has_bf16(device)) or (name == "fp16" and device.type == "cpu")


@dataclass(frozen=True)
class Compute:
    """Where and how a model computes: what training, prediction and measuring share."""

    device: torch.device
    precision: Precision

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, DTYPES[self.precision.name], enabled=self.precision.name != "fp32")

    def place(self, model: nn.Module) -> nn.Module:
        tune(self.device)
        return model.to(self.device).to(memory_format=self.precision.layout)

    def compile(self, model: nn.Module) -> nn.Module:
        """The model, compiled where the precision says so, for the shapes of its first call."""
        if not self.precision.compiled:
            return model
        # without a GPU, the compiler's import warns on every machine that has CUDA_HOME
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        return torch.compile(model, dynamic=False)  # type: ignore[return-value]

    def scaler(self) -> torch.amp.GradScaler:
        """Loss scaling, enabled for fp16 only."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision.name == "fp16")

    def arranged(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (B, 3, S, S) in the memory layout."""
        return pixels.contiguous(memory_format=self.precision.layout)
