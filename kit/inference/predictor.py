"""Trained models' predictions, averaged over TTA views."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from kit.batch import Batch, beside, pooled
from kit.device.accelerator import is_out_of_memory, release_memory
from kit.device.precision import DTYPES, Compute
from kit.inference.fusion import cast_weights, fold_batch_norms
from kit.inference.views import ViewSet

Activate = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Predictor:
    """One model, ready. `forward`: pixels float (B, 3, S, S) in 0..255, on `device`, and what is `beside` them ->
    outputs float32 (B, C)."""

    forward: Callable[..., torch.Tensor]
    activate: Activate  # outputs -> predictions
    device: torch.device


def prepare(model: nn.Module, activate: Activate, compute: Compute, pixels: torch.Tensor) -> Predictor:
    """The model on its device, batch norms folded, weights in its precision; `pixels` (B, 3, S, S): a real batch. Where
    the model is compiled, smaller batches are filled up to that size, as each size would be compiled anew."""
    device, name = compute.device, compute.precision.name
    ready = fold_batch_norms(copy.deepcopy(model).to(device), pixels[:8].to(device).float())
    if name != "fp32":
        ready = cast_weights(ready, DTYPES[name])
    run, whole = compute.compile(compute.place(ready)), len(pixels) if compute.precision.compiled else 0

    def forward(images: torch.Tensor, *rows: torch.Tensor) -> torch.Tensor:
        nonlocal whole
        seen = (images, *rows)
        if len(images) < whole:
            seen = tuple(torch.cat([one, one[-1:].repeat_interleave(whole - len(images), 0)]) for one in seen)
        try:
            with compute.autocast():
                return run(compute.arranged(seen[0]), *seen[1:]).float()[: len(images)]
        except RuntimeError as error:
            if not is_out_of_memory(error) or len(seen[0]) == 1:
                raise
        whole = 0  # it does not fit
        release_memory(device)  # outside of the exception, which holds what the failed batch made
        return torch.cat(
            [forward(*half) for half in zip(images.chunk(2), *(one.chunk(2) for one in rows), strict=True)]
        )

    return Predictor(forward, activate, device)


@torch.inference_mode()
def features(network: Predictor, batches: Iterable[Batch], views: ViewSet) -> Iterator[torch.Tensor]:
    """Batch by batch the network's outputs for each view, float32 (views, B, D); of a sample's pictures their mean."""
    for batch in batches:
        shown = views.show(batch.pixels.to(network.device, non_blocking=True))
        outputs = torch.stack([network.forward(shown.through(view)) for view in views.views])
        yield pooled(outputs, batch).cpu()


@torch.inference_mode()
def predict_heads(heads: Sequence[tuple[nn.Linear, Activate]], seen: torch.Tensor, average: str) -> torch.Tensor:
    """Features float32 (views, N, D) -> predictions of each head, float32 (heads, N, C), averaged as in `predict`."""
    return torch.stack([_mean(activate, head(seen), average) for head, activate in heads])


@torch.inference_mode()
def predict(predictors: Sequence[Predictor], batches: Iterable[Batch], views: ViewSet) -> torch.Tensor:
    """Float32 (predictors, N, C). Each batch is read once for all of them. A sample's pictures are averaged as views
    are."""
    parts: list[list[torch.Tensor]] = [[] for _ in predictors]
    for batch in batches:
        device = predictors[0].device
        shown, rows = views.show(batch.pixels.to(device, non_blocking=True)), beside(batch, device)
        for predictor, done in zip(predictors, parts, strict=True):
            outputs = torch.stack([predictor.forward(shown.through(view), *rows) for view in views.views])
            done.append(_mean(predictor.activate, outputs, views.average, batch).cpu())
    return torch.stack([torch.cat(done) if done else torch.empty(0, 0) for done in parts])


def _mean(activate: Activate, outputs: torch.Tensor, average: str, batch: Batch | None = None) -> torch.Tensor:
    """Outputs (views, P, C) by picture -> predictions (B, C)."""
    pool = (lambda one: pooled(one, batch)) if batch is not None else (lambda one: one)
    if average == "logits":
        return activate(pool(outputs.mean(dim=0)))
    return pool(torch.stack([activate(one) for one in outputs]).mean(dim=0))
