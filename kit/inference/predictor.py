"""A model's predictions, averaged over TTA views."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import nn

from kit.config import View
from kit.inference.views import show


def predict(
    model: nn.Module,
    activate: Callable[[torch.Tensor], torch.Tensor],
    batches: Iterable[torch.Tensor],
    views: Sequence[View],
    image_size: int,
    average: str,
    device: torch.device,
    memory_format: torch.memory_format,
    autocast: Callable[[], AbstractContextManager],
) -> torch.Tensor:
    """Pixels (B, 3, P, P) batch by batch -> predictions float32 (N, C): what `activate` makes of the model's outputs.

    `average` is over the views: of `probs` (the predictions' arithmetic mean) or of `logits` (what is made of the mean
    output). Each batch is read once.
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
                    outputs = model(shown).float()
                seen.append(outputs if average == "logits" else activate(outputs))
            mean = torch.stack(seen).mean(dim=0)
            results.append((activate(mean) if average == "logits" else mean).cpu())
    return torch.cat(results)
