"""What stops a training before it spoils anything: losses, weights and predictions that are not finite."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from kit.errors import KitError, examples


class Losses:
    """The losses of an epoch's batches, read together every so often: reading each would make a GPU wait for it."""

    def __init__(self, epoch: int, image_ids: Callable[[np.ndarray], list[str]]) -> None:
        """`epoch` counts from 1; `image_ids(rows)` is for the message."""
        self._epoch, self._image_ids = epoch, image_ids
        self._waiting: list[tuple[torch.Tensor, torch.Tensor, int]] = []

    def add(self, loss: torch.Tensor, rows: torch.Tensor, step: int) -> None:
        self._waiting.append((loss.detach(), rows, step))

    def read(self, total: float) -> float:
        """`total` plus what has not been read yet; `KitError` with the batch's images where one is nan or infinite."""
        waiting, self._waiting = self._waiting, []
        values = torch.stack([loss for loss, _, _ in waiting]).tolist() if waiting else []
        for value, (_, rows, step) in zip(values, waiting, strict=True):
            if not math.isfinite(value):
                where = f"in epoch {self._epoch}, batch {step}, on {examples(self._image_ids(rows.numpy()), 8)}"
                advice = "lower train.learning_rate, set train.clip_grad_norm, or look at these images"
                raise KitError(f"the loss became {value} {where}; {advice}. Nothing is lost up to the last checkpoint")
            total += value
        return total


def refuse_broken(model: nn.Module) -> None:
    """Weights and batch-norm statistics that are not finite (a finite loss can have an infinite gradient) must not
    replace a good checkpoint."""
    values = [value for value in (*model.parameters(), *model.buffers()) if value.is_floating_point()]
    if not torch.stack([value.isfinite().all() for value in values]).all():
        raise KitError(
            "the weights became NaN or infinite; lower train.learning_rate or set train.clip_grad_norm, and give "
            "the changed experiment its own name (--set name=...). The last checkpoint is good"
        )
