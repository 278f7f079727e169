"""`build_model`: a name becomes a network. Adding one is a file with its class, and a line in `NETWORKS`.

The class takes `(num_classes, in_channels=3, ...)`; further arguments are its options (`model.options`), checked by
their annotations. It may have `head_names` (its last layer's, where that is not the last `nn.Linear`), `feature_dim`
(the features' width), and, for layer-wise learning rates and freezing, timm's `group_matcher` (as in `vgg`)."""

import copy
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, get_type_hints

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from kit.errors import ConfigError, nearest
from kit.models.columns import ColumnShape, WithColumns
from kit.models.pretrained import (
    build_timm,
    head_names,
    layer_depths,
    load_weights,
    own_normalisation,
    require_timm,
    weights_file,
)
from kit.models.resnet import ResNet
from kit.models.vgg import VGG
from kit.settings import Model
from kit.tasks import Outputs

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": partial(ResNet, (2, 2, 2, 2), False),
    "resnet34": partial(ResNet, (3, 4, 6, 3), False),
    "resnet50": partial(ResNet, (3, 4, 6, 3), True),
    "resnet101": partial(ResNet, (3, 4, 23, 3), True),
    "resnet152": partial(ResNet, (3, 8, 36, 3), True),
    "vgg11": partial(VGG, 11),
    "vgg13": partial(VGG, 13),
    "vgg16": partial(VGG, 16),
    "vgg19": partial(VGG, 19),
}
SMALL_STEM_UP_TO = 40  # pixels a side
OURS = {"num_classes", "in_channels", "in_chans", "download", "pretrained"}  # arguments that are not options


def build_model(name: str, num_classes: int, in_channels: int = 3, **options: Any) -> nn.Module:
    """A network with random weights: (N, in_channels, H, W) -> logits (N, num_classes). `name` is one of `NETWORKS` or
    `timm:NAME`; `options` are the arguments of its class, or timm's; `num_classes=0` gives features. Raises
    `ConfigError` on an unknown name or option."""
    if name.startswith("timm:"):
        return build_timm(name.removeprefix("timm:"), num_classes, in_channels, **options)
    _check_options(name, options)
    make = NETWORKS[name]
    try:
        return make(num_classes, in_channels=in_channels, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"model.options: {name} does not accept {options}: {error}") from None


def _check_options(name: str, options: dict[str, Any]) -> None:
    if name not in NETWORKS:
        raise ConfigError(f"model.name: no network '{name}'{nearest(name, [*NETWORKS, 'timm:NAME'])}")
    make, known = NETWORKS[name], network_options(name)
    hints = get_type_hints(getattr(make, "func", make).__init__)
    for key, value in options.items():
        if key not in known:
            other = "; --set model.options={} drops another network's"
            raise ConfigError(f"model.options.{key}: {name} has no such option{nearest(key, known)}{other}")
        try:
            TypeAdapter(hints.get(key, Any)).validate_python(value, strict=True)
        except ValidationError as error:
            expected = error.errors()[0]["msg"].replace("Input should be", "should be")
            auto = " (or 'auto', in an experiment)" if key == "stem" else ""
            raise ConfigError(f"model.options.{key}: {expected}{auto}, got {value!r}") from None


def check_model(model: Model) -> None:
    """Raise `ConfigError` where there is no such network, option or weights file: before any data is looked at."""
    if model.name.startswith("timm:"):
        require_timm(model.name.removeprefix("timm:"))
    else:
        stem = {"stem": "imagenet"} if model.options.get("stem") == "auto" else {}  # by the image size, later
        _check_options(model.name, model.options | stem)
    if model.weights not in {"none", "timm"}:
        weights_file(model.weights)


def network_options(name: str) -> dict[str, Any]:
    parameters = inspect.signature(NETWORKS[name]).parameters
    return {key: p.default for key, p in parameters.items() if key not in {"num_classes", "in_channels"}}


class Classifier(nn.Module):
    """A network with its normalisation inside: pixels (N, channels, H, W) in 0..255, any dtype -> outputs
    (N, outputs.count). `activate` turns outputs into predictions, by the task. The numbers' means and stds
    (`set_number_scale`) are part of the weights."""

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float], outputs: Outputs) -> None:
        super().__init__()
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.target_scale: torch.Tensor
        self.outputs = outputs
        if outputs.task == "number":
            usual = torch.tensor([0.0, 1.0])
            scale = usual if outputs.count == 1 else usual[:, None].repeat(1, outputs.count)
            self.register_buffer("target_scale", scale)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1) * 255)
        self.network = network

    def forward(self, pixels: torch.Tensor, *columns: torch.Tensor) -> torch.Tensor:
        return self.network(normalise(pixels, self.mean, self.std), *columns)

    def set_number_scale(self, scale: Sequence[float] | Sequence[Sequence[float]]) -> None:
        """The training targets' means and standard deviations: the meaning of an output of 0, and of a step of 1."""
        self.target_scale.copy_(torch.tensor(scale))

    def activate(self, outputs: torch.Tensor) -> torch.Tensor:
        """Outputs (..., C), float32 -> probabilities of classes (which sum to 1) or of labels, or numbers."""
        if self.outputs.task == "number":
            mean, std = self.target_scale.to(outputs.device)
            return outputs * std + mean
        if self.outputs.parts:
            return torch.cat([part.softmax(dim=-1) for part in outputs.split(self.outputs.parts, dim=-1)], dim=-1)
        return outputs.sigmoid() if self.outputs.task == "labels" else outputs.softmax(dim=-1)

    def head(self) -> nn.Linear:
        """The last layer: features (N, D) -> outputs. Raises `ConfigError` where it is not linear."""
        names = head_names(self.network)
        last = dict(self.network.named_modules()).get(names[0]) if len(names) == 1 else None
        if not isinstance(last, nn.Linear):
            raise ConfigError("train.mode: features needs a network that ends in one linear layer; this one does not")
        return last

    def without_head(self) -> "Classifier":
        """A copy that returns the features (N, D) that the head would see."""
        self.head()
        copied = copy.deepcopy(self)
        copied.network.set_submodule(head_names(self.network)[0], nn.Identity())
        return copied

    def layer_depths(self) -> dict[str, int]:
        """Every parameter's name -> how many layers lie between it and the logits; 0 for the head's."""
        if isinstance(self.network, WithColumns):
            depths = dict.fromkeys((f"network.{name}" for name, _ in self.network.named_parameters()), 0)
            inside = layer_depths(self.network.backbone).items()
            return depths | {f"network.backbone.{name}": depth for name, depth in inside}
        return {f"network.{name}": depth for name, depth in layer_depths(self.network).items()}

    def learn_columns(self, rows: np.ndarray) -> None:
        """Where it sees a table's columns: how its own training rows (N, F) scale them, and which values they hold."""
        if isinstance(self.network, WithColumns):
            self.network.columns.learn(rows)

    def no_weight_decay(self) -> set[str]:
        """Parameters that weight decay leaves alone beside biases and norms, as timm's models name them."""
        return {f"network.{name}" for name in getattr(self.network, "no_weight_decay", set)()}


def normalise(pixels: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """(pixels - mean) / std as float32, in the layout of `pixels` (N, C, H, W); `mean` and `std` (1, C, 1, 1). Where
    channels are innermost, their statistics are repeated along the row: eight times as fast as broadcasting three."""
    if not pixels.is_contiguous(memory_format=torch.channels_last) or pixels.shape[1] == 1:
        return (pixels.float() - mean) / std
    number, channels, height, width = pixels.shape
    rows = pixels.float().permute(0, 2, 3, 1).reshape(number, height, width * channels)
    rows = (rows - mean.flatten().repeat(width)) / std.flatten().repeat(width)
    return rows.view(number, height, width, channels).permute(0, 3, 1, 2)


Statistics = tuple[Sequence[float], Sequence[float]]
"""RGB mean and std, in [0, 1]"""

UNKNOWN: Statistics = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def build_classifier(
    model: Model, outputs: Outputs, image_size: int | None = None,
    statistics: tuple[Statistics | None, Statistics] = (None, UNKNOWN), channels: int = 3,
    columns: ColumnShape | None = None,
) -> Classifier:  # fmt: skip
    """The model of an experiment: network, initial weights (`none`, `timm`, or a file) and normalisation. The option
    `stem: auto` becomes `small` up to 40 px of `image_size`, where the ImageNet stem would leave a map of one or two
    pixels a side, else `imagenet`.

    Normalises by the first of `statistics` where given, else by what pretrained weights were trained with (for a file
    for our own networks, ImageNet's, as for all published ones), else by the second. Weights for RGB serve other
    `channels` too, as timm adapts them; what normalised RGB says nothing of those."""
    name, weights, options = model.name, model.weights, model.options
    for key in OURS.intersection(options):
        raise ConfigError(f"model.options.{key}: set by the kit (from the competition, model.weights); leave it out")
    if options.get("stem") == "auto" and image_size is not None:
        options = {**options, "stem": "small" if image_size <= SMALL_STEM_UP_TO else "imagenet"}
    if weights == "timm" and not name.startswith("timm:"):
        raise ConfigError(f"model.weights: timm has none for '{name}'; expected none or a file")
    loaded = {"download": True} if weights == "timm" else {}
    network = build_model(name, outputs.count, channels, **options, **loaded)
    own = own_normalisation(network) if weights == "timm" else None
    if weights not in {"none", "timm"}:
        own = load_weights(network, weights_file(weights))[1].statistics or own_normalisation(network)
    given, fallback = statistics
    if given is not None and len(given[0]) != channels:
        raise ConfigError(f"data.mean: is of {len(given[0])} channels; a picture has {channels} here; leave it out")
    if own is not None and len(own[0]) != channels:
        own = None
    if len(fallback[0]) != channels:  # not known yet
        fallback = ([0.5] * channels, [0.25] * channels)
    made = Classifier(network, *(given or own or fallback), outputs)
    if columns is not None:
        made.network = WithColumns(network, made.head(), columns)
    return made
