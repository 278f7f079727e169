"""What stops a training before it ruins anything: a loss or weights that are not finite."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from kit.errors import KitError, examples


def finite(loss: float, epoch: int, step: int, image_ids: Callable[[], list[str]]) -> float:
    """The loss itself; raises `KitError` with the batch's images where it is NaN or infinite. `epoch` counts from 1."""
    if not np.isfinite(loss):
        where = f"in epoch {epoch} at or before batch {step}, on the images {examples(image_ids(), 8)}"
        advice = "lower train.learning_rate, set train.clip_grad_norm, or look at these images"
        raise KitError(f"the loss became {loss} {where}; {advice}. Nothing is lost up to the last checkpoint")
    return loss


def refuse_broken(model: nn.Module) -> None:
    """Weights that are not finite (a finite loss can have an infinite gradient) must not replace a good checkpoint."""
    if not torch.stack([parameter.isfinite().all() for parameter in model.parameters()]).all():
        raise KitError(
            "the weights became NaN or infinite; lower train.learning_rate or set train.clip_grad_norm, and give "
            "the changed experiment its own name (--set name=...). The last checkpoint is good"
        )
