"""What a network costs and what its stages output, without computing it: shapes on torch's `meta` device."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kit.errors import ConfigError, reason
from kit.models.pretrained import head_names
from kit.models.registry import build_model


@dataclass(frozen=True)
class Summary:
    """`parameters`: trainable ones. `multiply_adds`: of convolutions and linear layers for one picture (the papers'
    FLOPs). `stages`: (name, output shape (C, H, W) or (features,), parameters) of each part, in the order they run."""

    name: str
    image_size: int
    parameters: int
    multiply_adds: int
    feature_dim: int
    stages: list[tuple[str, tuple[int, ...], int]]


def summarise(name: str, image_size: int, num_classes: int = 1000, **options: Any) -> Summary:
    """The network for one RGB picture of `image_size` px. Raises `ConfigError` where it does not accept that size."""
    with torch.device("meta"):
        network = build_model(name, num_classes, **options).eval()
        picture = torch.empty(1, 3, image_size, image_size)
    stages: list[tuple[str, tuple[int, ...], int]] = []

    def look(part: str, module: nn.Module) -> None:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                stages.append((part, tuple(output.shape[1:]), num_parameters(module)))

        module.register_forward_hook(hook)

    for part, module in network.named_children():
        if not isinstance(module, nn.Identity | nn.ReLU | nn.Dropout):
            look(part, module)
    counter = FlopCounterMode(display=False)
    try:
        with counter, torch.no_grad():
            network(picture)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"--size {image_size}: {name} does not run at this size: {reason(error)}") from None
    last: Any = dict(network.named_modules()).get(head_names(network)[0])
    names = ((network, "feature_dim"), (network, "num_features"), (last, "in_features"))
    dim = next((value for place, name in names if (value := getattr(place, name, None))), 0)
    return Summary(name, image_size, num_parameters(network), counter.get_total_flops() // 2, dim, stages)


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
