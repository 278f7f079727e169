"""A table's columns beside the picture: scaled, marked where missing, embedded, joined to a network's features."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from kit.models.pretrained import head_names

WIDTH = 32  # of what the columns become
FARTHEST = 5.0  # standard deviations


@dataclass(frozen=True)
class ColumnShape:
    """How many numbers a sample has, and how many values each category."""

    num_numbers: int
    sizes: tuple[int, ...]


class ColumnEncoder(nn.Module):
    """float32 (N, F), numbers (nan: missing) and then codes of categories (-1: missing), -> (N, WIDTH). Means, standard
    deviations and which categories are known come from the rows that `learn` is given, and are part of the weights."""

    def __init__(self, shape: ColumnShape) -> None:
        super().__init__()
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.known: torch.Tensor
        self.shape, count = shape, sum(shape.sizes)
        self.register_buffer("mean", torch.zeros(shape.num_numbers))
        self.register_buffer("std", torch.ones(shape.num_numbers))
        self.register_buffer("known", torch.zeros(count))
        self.embed = nn.Linear(2 * shape.num_numbers + count + len(shape.sizes), WIDTH)  # of a code: its row

    def learn(self, rows: np.ndarray) -> None:
        """From a fold's own training rows (N, F)."""
        count = self.shape.num_numbers
        numbers, codes = rows[:, :count].astype(np.float64), rows[:, count:]
        there = np.isfinite(numbers).any(axis=0)
        mean, std = np.zeros(count), np.ones(count)
        if there.any():
            mean[there] = np.nanmean(numbers[:, there], axis=0)
            std[there] = np.nanstd(numbers[:, there], axis=0)
        self.mean.copy_(torch.from_numpy(mean))
        self.std.copy_(torch.from_numpy(np.where(std > 0, std, 1.0)))
        seen = [np.isin(np.arange(size), codes[:, place]) for place, size in enumerate(self.shape.sizes)]
        self.known.copy_(torch.from_numpy(np.concatenate([*seen, np.zeros(0)]).astype(np.float32)))

    def missing(self, count: int) -> torch.Tensor:
        """Rows of which nothing is known."""
        row = torch.cat([torch.full_like(self.mean, torch.nan), self.mean.new_full((len(self.shape.sizes),), -1.0)])
        return row.expand(count, -1)

    def encoded(self, rows: torch.Tensor) -> torch.Tensor:
        """Scaled numbers, marks for missing ones, and for each category its values and whether it is unknown."""
        numbers, codes = rows[:, : self.shape.num_numbers], rows[:, self.shape.num_numbers :]
        missing = numbers.isnan()
        scaled = (torch.where(missing, self.mean, numbers) - self.mean) / self.std
        parts, start = [scaled.clamp(-FARTHEST, FARTHEST), missing.to(scaled.dtype)], 0
        for place, size in enumerate(self.shape.sizes):
            is_it = (codes[:, place, None] == torch.arange(size, device=rows.device)) * self.known[start : start + size]
            parts += [is_it, 1 - is_it.sum(dim=1, keepdim=True)]
            start += size
        return torch.cat(parts, dim=1)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.embed(self.encoded(rows)).relu()


class WithColumns(nn.Module):
    """A network whose last layer sees the columns beside the features: (N, C, H, W), (N, F) -> (N, outputs)."""

    head_names = "fc"

    def __init__(self, network: nn.Module, head: nn.Linear, shape: ColumnShape) -> None:
        """`head`: the network's last layer, which is replaced."""
        super().__init__()
        network.set_submodule(head_names(network)[0], nn.Identity())
        self.backbone, self.columns = network, ColumnEncoder(shape)
        self.fc = nn.Linear(head.in_features + WIDTH, head.out_features)

    def forward(self, x: torch.Tensor, columns: torch.Tensor | None = None) -> torch.Tensor:
        beside = self.columns(self.columns.missing(len(x)) if columns is None else columns)
        features = self.backbone(x)
        return self.fc(torch.cat([features, beside.to(features.dtype)], dim=1))

    def no_weight_decay(self) -> set[str]:
        return {f"backbone.{name}" for name in getattr(self.backbone, "no_weight_decay", set)()}
