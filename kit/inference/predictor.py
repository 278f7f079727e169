"""Trained models' predictions, averaged over TTA views."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from kit.config import View
from kit.inference.fusion import cast_weights, fold_batch_norms
from kit.inference.views import Views
from kit.machine import DTYPES, Precision

Activate = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Predictor:
    """One model, ready. `forward`: pixels float (B, 3, S, S) in 0..255 -> outputs float32 (B, C)."""

    forward: Callable[[torch.Tensor], torch.Tensor]
    activate: Activate  # outputs -> predictions


def prepare(
    model: nn.Module, activate: Activate, precision: Precision, device: torch.device, pixels: torch.Tensor
) -> Predictor:
    """The model on its device, batch norms folded, weights in `precision`; `pixels` (B, 3, S, S): some real ones."""
    ready = fold_batch_norms(copy.deepcopy(model).to(device), pixels[:8].to(device).float())
    if precision.name != "fp32":
        ready = cast_weights(ready, DTYPES[precision.name])
    run = precision.compile(ready.to(memory_format=precision.layout))

    def forward(images: torch.Tensor) -> torch.Tensor:
        with precision.autocast(device):
            return run(images.contiguous(memory_format=precision.layout)).float()

    return Predictor(forward, activate)


@torch.inference_mode()
def features(
    network: Predictor,
    batches: Iterable[torch.Tensor],
    views: Sequence[View],
    image_size: int,
    device: torch.device,
) -> Iterator[torch.Tensor]:
    """Pixels (B, 3, P, P) batch by batch -> what the network says of each view, float32 (views, B, D)."""
    for pixels in batches:
        shown = Views(pixels.to(device, non_blocking=True), image_size)
        yield torch.stack([network.forward(shown.show(view)) for view in views]).cpu()


@torch.inference_mode()
def predict_heads(heads: Sequence[tuple[nn.Linear, Activate]], seen: torch.Tensor, average: str) -> torch.Tensor:
    """Features float32 (views, N, D) -> predictions of each head, float32 (heads, N, C), averaged as in `predict`."""
    return torch.stack([_mean(activate, head(seen), average) for head, activate in heads])


@torch.inference_mode()
def predict(
    predictors: Sequence[Predictor],
    batches: Iterable[torch.Tensor],
    views: Sequence[View],
    image_size: int,
    average: str,
    device: torch.device,
) -> torch.Tensor:
    """Pixels (B, 3, P, P) batch by batch -> float32 (predictors, N, C). Each batch is read once for all of them.

    `average` is over the views: of `probs` (the predictions' arithmetic mean) or of `logits` (what `activate` makes of
    the mean output).
    """
    parts: list[list[torch.Tensor]] = [[] for _ in predictors]
    for pixels in batches:
        shown = Views(pixels.to(device, non_blocking=True), image_size)
        for predictor, done in zip(predictors, parts, strict=True):
            outputs = torch.stack([predictor.forward(shown.show(view)) for view in views])
            done.append(_mean(predictor.activate, outputs, average).cpu())
    return torch.stack([torch.cat(done) if done else torch.empty(0, 0) for done in parts])


def _mean(activate: Activate, outputs: torch.Tensor, average: str) -> torch.Tensor:
    """Outputs (views, B, C) -> predictions (B, C)."""
    if average == "logits":
        return activate(outputs.mean(dim=0))
    return torch.stack([activate(one) for one in outputs]).mean(dim=0)
