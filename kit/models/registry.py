"""`build_model`: a name becomes a network. Adding one is a function and a line in `NETWORKS`."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kit.errors import ConfigError, nearest
from kit.models.pretrained import build_timm, load_weights, own_normalisation
from kit.models.resnet import ResNet, resnet18, resnet34

NETWORKS: dict[str, Callable[..., nn.Module]] = {"resnet18": resnet18, "resnet34": resnet34}
SMALL_STEM_UP_TO = 40  # pixels a side


def build_model(name: str, num_classes: int, in_channels: int = 3, **options: Any) -> nn.Module:
    """A network with random weights: (N, in_channels, H, W) -> logits (N, num_classes).

    `name` is one of `NETWORKS` or `timm:NAME`; `num_classes=0` gives features. Raises `ConfigError` on an unknown name
    or option.
    """
    if name.startswith("timm:"):
        return build_timm(name.removeprefix("timm:"), num_classes, in_channels, **options)
    if name not in NETWORKS:
        raise ConfigError(f"model.name: no network '{name}'{nearest(name, [*NETWORKS, 'timm:NAME'])}")
    known = [
        key for key in inspect.signature(ResNet.__init__).parameters if key not in {"self", "blocks", "num_classes"}
    ]
    for key in options:
        if key not in known:
            raise ConfigError(f"model.options.{key}: {name} has no such option{nearest(key, known)}")
    if options.get("stem", "small") not in {"small", "imagenet"}:
        raise ConfigError(f"model.options.stem: expected auto, imagenet or small, got {options['stem']!r}")
    try:
        return NETWORKS[name](num_classes, in_channels=in_channels, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"model.options: {name} does not take {options}: {error}") from None


class Classifier(nn.Module):
    """A network with its normalisation inside: pixels (N, 3, H, W) in 0..255, any dtype -> logits (N, num_classes)."""

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255)
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.network((pixels.float() - self.mean) / self.std)


def build_classifier(
    name: str,
    num_classes: int,
    options: dict[str, Any],
    weights: str = "none",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    fallback: tuple[Sequence[float], Sequence[float]] = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    image_size: int | None = None,
) -> Classifier:
    """The model of an experiment: network, initial weights (`none`, `timm`, or a file) and normalisation.

    The option `stem: auto` becomes `small` up to 40 px of `image_size`, where the ImageNet stem would leave a map of
    one pixel, else `imagenet`.

    Normalises by `mean` and `std` where given, else by what pretrained weights were made with, else by `fallback`
    (RGB in [0, 1]).
    """
    if options.get("stem") == "auto" and image_size is not None:
        options = {**options, "stem": "small" if image_size <= SMALL_STEM_UP_TO else "imagenet"}
    if weights == "timm" and not name.startswith("timm:"):
        raise ConfigError(f"model.weights: timm has none for '{name}'; expected none or a file")
    network = build_model(name, num_classes, **options, **({"download": True} if weights == "timm" else {}))
    if weights not in {"none", "timm"}:
        load_weights(network, Path(weights).expanduser())
    own = own_normalisation(network) if weights != "none" else None
    chosen = (mean, std) if mean is not None and std is not None else own or fallback
    return Classifier(network, *chosen)
