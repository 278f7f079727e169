"""A batch, as it is passed from part to part."""

from dataclasses import dataclass, replace
from typing import Self

import torch


@dataclass(frozen=True)
class Batch:
    """`pixels` uint8 (B, 3, S, S) in 0..255, a channels_last view of NHWC memory; `targets` int64 (B,), or float32
    (B, C) of labels and numbers; `rows` int64 (B,) of the index. `whole`: the number of images in the batch of which
    several processes each take a share; `None`: this is all of it."""

    pixels: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor
    whole: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def pin_memory(self) -> Self:
        """Called by torch's loader, for the copy to a GPU."""
        return replace(self, pixels=self.pixels.pin_memory(), targets=self.targets.pin_memory())
