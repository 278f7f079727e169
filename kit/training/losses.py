"""What training minimises, chosen from the task unless the experiment says otherwise."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.nn import functional as F

from kit.errors import ConfigError
from kit.settings import Train
from kit.tasks import Outputs, Task

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(outputs float32 (B, C), targets as `data.table.targets` gives them) -> a scalar."""

FITTING: dict[Task, tuple[str, ...]] = {
    "classes": ("cross_entropy", "focal"),
    "labels": ("bce", "focal"),
    "ordinal": ("cross_entropy", "ordinal", "focal"),
    "number": ("mse", "mae", "huber"),
}
"""The first is the default."""
FITTING_QUESTIONS = ("cross_entropy", "focal")


def build_loss(outputs: Outputs, train: Train, targets: np.ndarray) -> Loss:
    """The training loss; `targets` are the training images' (for class weights, and a number's mean and std). Raises
    `ConfigError` for a loss that does not fit the task."""
    task, fitting = outputs.task, FITTING_QUESTIONS if outputs.parts else FITTING[outputs.task]
    name = fitting[0] if train.loss == "auto" else train.loss
    if name not in fitting:
        raise ConfigError(f"train.loss: {name} does not fit task {task}; expected auto, {', '.join(fitting)}")
    if task == "number":
        if train.class_weights != "none":
            raise ConfigError("train.class_weights: task number has no classes")
        kind = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.smooth_l1_loss}[name]
        return partial(_numbers_loss, kind=kind, scale=torch.tensor(number_scale(targets)))
    weights = _balanced(targets, outputs) if train.class_weights == "balanced" else None
    how = _How(train.label_smoothing, weights, train.focal_gamma if name == "focal" else 0.0)
    if outputs.parts:
        return partial(_questions_loss, how=how, parts=outputs.parts)
    loss = _labels_loss if task == "labels" else _ordinal_loss if name == "ordinal" else _classes_loss
    return partial(loss, how=how)


def validation_loss(outputs: Outputs, targets: np.ndarray) -> Loss:
    """The task's plain loss: cross-entropy (nats), or the squared error in standard deviations."""
    return build_loss(outputs, Train(), targets)


def number_scale(targets: np.ndarray) -> list[float] | list[list[float]]:
    """[mean, standard deviation] of the training targets (N, C), each a list where there are several numbers; the
    network learns the standardised rest."""
    if targets.shape[1] == 1:
        return [float(targets.mean()), float(targets.std()) or 1.0]
    spread = targets.std(axis=0)
    return [targets.mean(axis=0).tolist(), np.where(spread > 0, spread, 1).tolist()]


def _numbers_loss(outputs: torch.Tensor, wanted: torch.Tensor, kind: Loss, scale: torch.Tensor) -> torch.Tensor:
    mean, std = scale.to(outputs.device)
    return kind(outputs, (wanted - mean) / std)


@dataclass(frozen=True)
class _How:
    smoothing: float
    weights: torch.Tensor | None  # for each class
    gamma: float  # focal: less weight on what is already right (Lin et al. 2017, arXiv 1708.02002)

    def weights_on(self, device: torch.device) -> torch.Tensor | None:
        return None if self.weights is None else self.weights.to(device)


def _balanced(targets: np.ndarray, outputs: Outputs) -> torch.Tensor:
    """Each class as important as any other: N / (C * count) for classes, negatives / positives for labels."""
    if targets.ndim == 2:
        positives = targets.sum(axis=0)
        if outputs.parts:
            rivals = np.repeat(outputs.parts, outputs.parts)
            return torch.tensor(len(targets) / (rivals * np.maximum(positives, 1)), dtype=torch.float32)
        return torch.tensor((len(targets) - positives) / np.maximum(positives, 1), dtype=torch.float32)
    counts = np.bincount(targets, minlength=outputs.count)
    return torch.tensor(len(targets) / (outputs.count * np.maximum(counts, 1)), dtype=torch.float32)


def _classes_loss(outputs: torch.Tensor, targets: torch.Tensor, how: _How) -> torch.Tensor:
    """Cross-entropy; focal loss if gamma is positive."""
    mean = partial(F.cross_entropy, weight=how.weights_on(outputs.device), label_smoothing=how.smoothing)
    if how.gamma == 0:
        return mean(outputs, targets)
    right = outputs.softmax(dim=1).gather(1, targets[:, None])[:, 0]
    return ((1 - right) ** how.gamma * mean(outputs, targets, reduction="none")).mean()


def _labels_loss(outputs: torch.Tensor, targets: torch.Tensor, how: _How) -> torch.Tensor:
    """A binary cross-entropy per label, mean over all."""
    soft, weights = targets * (1 - how.smoothing) + how.smoothing / 2, how.weights_on(outputs.device)
    losses = F.binary_cross_entropy_with_logits(outputs, soft, pos_weight=weights, reduction="none")
    if how.gamma:
        probs = outputs.sigmoid()
        losses = (1 - (targets * probs + (1 - targets) * (1 - probs))) ** how.gamma * losses
    return losses.mean()


def _questions_loss(outputs: torch.Tensor, targets: torch.Tensor, how: _How, parts: tuple[int, ...]) -> torch.Tensor:
    """A cross-entropy per question, mean over all: `targets` 0 and 1, or shares of both (B, C)."""
    weights = how.weights_on(outputs.device)
    weights = torch.ones(outputs.shape[1], device=outputs.device) if weights is None else weights
    losses, each = [], (outputs.split(parts, 1), targets.split(parts, 1), weights.split(parts))
    for said, wanted, weight in zip(*each, strict=True):
        loss = F.cross_entropy(said, wanted, weight=weight, label_smoothing=how.smoothing, reduction="none")
        if how.gamma:
            loss = (1 - (said.softmax(dim=1) * wanted).sum(dim=1)) ** how.gamma * loss
        losses.append(loss.mean())
    return torch.stack(losses).mean()


def _ordinal_loss(outputs: torch.Tensor, targets: torch.Tensor, how: _How) -> torch.Tensor:
    """Cross-entropy plus the squared distance of the cumulative distributions, which grows with how far off a
    prediction is (squared earth mover's distance: Hou et al. 2016, arXiv 1611.05916)."""
    classes = torch.arange(outputs.shape[1], device=outputs.device)
    reached = (targets[:, None] <= classes).float()
    distance = (outputs.softmax(dim=1).cumsum(dim=1) - reached).square().sum(dim=1).mean()
    return _classes_loss(outputs, targets, how) + distance
