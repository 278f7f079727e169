"""A batch, as it is passed from part to part."""

from dataclasses import dataclass, replace
from typing import Self

import torch


@dataclass(frozen=True)
class Batch:
    """`pixels` uint8 (B, 3, S, S) in 0..255, a channels_last view of NHWC memory; `targets` int64 (B,), or float32
    (B, C) of labels and numbers; `rows` int64 (B,) of the index. `whole`: the number of images in the batch of which
    several processes each take a share; `None`: this is all of it. `owners` int64 (P,), where samples have several
    pictures: `pixels` are (P, 3, S, S), and this is which sample each belongs to. `columns` float32
    (B, F): what a table says beside the picture, as in `data.columns`."""

    pixels: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor
    whole: int | None = None
    owners: torch.Tensor | None = None
    columns: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def pin_memory(self) -> Self:
        """Called by torch's loader, for the copy to a GPU."""
        return replace(self, pixels=self.pixels.pin_memory(), targets=self.targets.pin_memory())


def beside(batch: Batch, device: torch.device) -> tuple[torch.Tensor, ...]:
    """What a network sees of each picture's sample beside the picture: nothing, or (P, F)."""
    if batch.columns is None:
        return ()
    rows = batch.columns if batch.owners is None else batch.columns[batch.owners]
    return (rows.to(device, non_blocking=True),)


def pooled(outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Outputs (..., P, C) by picture -> their means (..., B, C) by sample."""
    if batch.owners is None:
        return outputs
    owners = batch.owners.to(outputs.device, non_blocking=True)
    counts = torch.bincount(owners, minlength=len(batch)).clamp(min=1)
    shape = (*outputs.shape[:-2], len(batch), outputs.shape[-1])
    sums = outputs.new_zeros(shape).index_add_(-2, owners, outputs)
    return sums / counts[:, None]
