"""One training by several processes: each takes its share of every batch, and all of them make the same steps.

Each process knows the outputs of all (`gathered`), so that the loss is that of the whole batch, whatever the loss is;
its gradient flows through its own share, and DistributedDataParallel adds the shares up. Batch norms take the
statistics of the whole batch: how many processes there are decides only the order of sums."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode


@dataclass
class Share:
    """That of process `rank` (0 to `world` - 1), which is one of a group that is running."""

    rank: int
    world: int
    _wrapped: tuple[tuple[bool, ...], nn.Module] | None = field(default=None, repr=False)

    @classmethod
    def begin(cls) -> "Share":
        """Join the processes that torchrun started."""
        distributed.init_process_group()
        return cls(distributed.get_rank(), distributed.get_world_size())

    def end(self) -> None:
        distributed.barrier()
        distributed.destroy_process_group()

    @property
    def leads(self) -> bool:
        """Only this one writes files and tells listeners."""
        return self.rank == 0

    def of(self, rows: np.ndarray) -> np.ndarray:
        """This process's part; the parts of all, one after the other, are `rows`."""
        return np.array_split(rows, self.world)[self.rank]

    def wrapped(self, forward: nn.Module) -> nn.Module:
        """`forward`, whose gradients become the mean over all processes; anew when other layers are trained."""
        trained = tuple(parameter.requires_grad for parameter in forward.parameters())
        if self._wrapped is None or self._wrapped[0] != trained:
            # buckets that are never rearranged: a training that was resumed adds in the same order
            warnings.filterwarnings("ignore", message="find_unused_parameters")
            made = DistributedDataParallel(forward, broadcast_buffers=False, find_unused_parameters=True)
            self._wrapped = (trained, made)
        return self._wrapped[1]

    def gathered(self, own: torch.Tensor, whole: int) -> torch.Tensor:
        """The rows of all processes, `whole` in number, in their order; gradients flow into one's `own` alone."""
        sizes = [len(part) for part in np.array_split(np.empty(whole), self.world)]
        padded = F.pad(own.detach(), (0, 0) * (own.ndim - 1) + (0, max(sizes) - len(own)))
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded.contiguous())
        rows: list[torch.Tensor] = [part[:size] for part, size in zip(parts, sizes, strict=True)]
        rows[self.rank] = own
        return torch.cat(rows)

    def summed(self, own: torch.Tensor) -> torch.Tensor:
        """The sum over all processes; gradients flow into one's `own` alone."""
        total = own.detach().clone()
        distributed.all_reduce(total)
        return own + (total - own.detach())

    def listed(self, own: Any) -> list[Any]:
        """What each process has, in order."""
        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, own)
        return found

    def agreed(self, own: bool) -> bool:
        """What the first process says, for all."""
        flag = [own]
        distributed.broadcast_object_list(flag)
        return bool(flag[0])


class _AllReduce(torch.autograd.Function):
    """The sum over all processes, and of their gradients. (torch's own, `distributed.nn.functional`, is deprecated by
    2.14, and what it names instead is private.)"""

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor) -> torch.Tensor:
        total = own.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


class WholeBatchNorms(TorchFunctionMode):
    """Within it batch norms in training use the statistics of all processes' batches, on any device (torch's own
    SyncBatchNorm refuses the CPU, and replaces layers that do more than normalise)."""

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is F.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def _batch_norm(
    input: torch.Tensor, running_mean: torch.Tensor | None, running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None, bias: torch.Tensor | None = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5,
) -> torch.Tensor:  # fmt: skip
    """As `torch.nn.functional.batch_norm`."""
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    pixels, axes = input.float(), [0, *range(2, input.ndim)]
    shape = [1, -1, *[1] * (input.ndim - 2)]
    count = torch.tensor([pixels.numel() / pixels.shape[1]], dtype=torch.float32, device=pixels.device)
    sums = _AllReduce.apply(torch.cat([pixels.sum(axes), count]))
    mean, total = sums[:-1] / sums[-1], sums[-1]
    centred = pixels - mean.view(shape)
    variance = _AllReduce.apply(centred.square().sum(axes)) / total
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * total / (total - 1)).to(running_var.dtype), momentum)
    normed = centred * torch.rsqrt(variance + eps).view(shape)
    if weight is not None:
        normed = normed * weight.view(shape)
    if bias is not None:
        normed = normed + bias.view(shape)
    return normed.to(input.dtype)
