"""What each of two processes does in tests of shared training: a module of its own, which the second one imports."""

import numpy as np
import torch
from torch import distributed, nn
from torch.nn import functional as F

from kit.training.share import Share, WholeBatchNorms


def in_two(rank: int, folder: str, work) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    torch.save(work(Share(rank, 2)), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def pixels() -> torch.Tensor:
    return torch.randn(7, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 3 + 10


def network_of_three() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))


WANTED, WEIGHTS = torch.tensor([0, 1, 2, 2, 1, 2, 2]), torch.tensor([3.0, 1.0, 0.2])


def step(share: Share | None) -> dict[str, torch.Tensor]:
    """The loss, the gradients and the statistics of one step on seven pictures: four and three of them in two."""
    network = network_of_three()
    rows = np.arange(7) if share is None else share.of(np.arange(7))
    forward = network if share is None else share.wrapped(network)
    if share is None:
        loss = F.cross_entropy(forward(pixels()), WANTED, WEIGHTS)
        loss.backward()
    else:
        with WholeBatchNorms():
            outputs = forward(pixels()[rows])
        loss = F.cross_entropy(share.gathered(outputs, 7), share.gathered(WANTED[rows], 7), WEIGHTS)
        (loss * share.world).backward()
    found = {name: parameter.grad for name, parameter in network.named_parameters()}
    return {**found, **dict(network.named_buffers()), "loss": loss.detach()}


def mixed(share: Share) -> dict[str, torch.Tensor]:
    """Each process's own mean of its part, as where pictures are mixed."""
    weight = nn.Parameter(torch.tensor([2.0]))
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])[share.of(np.arange(7))]
    loss = share.summed((weight * values).mean() * (len(values) / 7))
    loss.backward()
    return {"loss": loss.detach(), "gradient": weight.grad, "all": torch.tensor(sum(share.listed(share.rank + 1)))}
