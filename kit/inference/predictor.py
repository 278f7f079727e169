"""A model's probabilities, averaged over TTA views."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import nn

from kit.config import View
from kit.inference.views import show


def predict_probs(
    model: nn.Module,
    batches: Iterable[torch.Tensor],
    views: Sequence[View],
    image_size: int,
    average: str,
    device: torch.device,
    memory_format: torch.memory_format,
    autocast: Callable[[], AbstractContextManager],
) -> torch.Tensor:
    """Pixels (B, 3, P, P) batch by batch -> probs float32 (N, C), rows sum to 1.

    `average` is over the views: of probs (arithmetic mean) or logits (softmax of their mean). Each batch is read once.
    """
    model = model.to(device).to(memory_format=memory_format).eval()
    results = []
    with torch.inference_mode():
        for pixels in batches:
            pixels = pixels.to(device, non_blocking=True)
            seen = []
            for view in views:
                shown = show(pixels, view, image_size).contiguous(memory_format=memory_format)
                with autocast():
                    logits = model(shown)
                seen.append(logits.float() if average == "logits" else logits.float().softmax(dim=1))
            mean = torch.stack(seen).mean(dim=0)
            results.append((mean.softmax(dim=1) if average == "logits" else mean).cpu())
    return torch.cat(results)
