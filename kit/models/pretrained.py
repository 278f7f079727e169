"""The one place that knows timm, and how published weights are loaded: `timm:NAME`, .safetensors and .pth files."""

from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import group_parameters
from torch import nn

from kit.errors import ConfigError, KitError, nearest, reason
from kit.workspace import expanded

Tensors = dict[str, torch.Tensor]
_COUNTER = "num_batches_tracked"  # torchvision's oldest files have none


def build_timm(name: str, num_classes: int, in_channels: int = 3, download: bool = False, **options: Any) -> nn.Module:
    """timm's model with a new head. `download` takes timm's own weights from the network."""
    require_timm(name)
    try:
        return timm.create_model(name, pretrained=download, num_classes=num_classes, in_chans=in_channels, **options)
    except TypeError as error:
        raise ConfigError(f"model.options: timm:{name} does not accept them: {error}") from None
    except Exception as error:
        if not download:
            raise
        advice = "without network access, give a file: --set model.weights=FILE.safetensors"
        raise KitError(f"model.weights: timm cannot download '{name}' ({reason(error)}); {advice}") from None


def require_timm(name: str) -> None:
    """Raise `ConfigError`, with the nearest name, where timm has no such model."""
    if not timm.is_model(name):
        close = timm.list_models(f"*{name[:5]}*") or timm.list_models()
        raise ConfigError(f"model.name: timm has no model '{name}'{nearest(name, close)}")


def own_normalisation(model: nn.Module) -> tuple[list[float], list[float]]:
    """RGB mean and std that the model's published weights were trained with; for the kit's own networks, ImageNet's."""
    settings = getattr(model, "pretrained_cfg", None) or {}
    return list(settings.get("mean", IMAGENET_DEFAULT_MEAN)), list(settings.get("std", IMAGENET_DEFAULT_STD))


def weights_file(name: str) -> Path:
    """The file that `model.weights` names. Raises `ConfigError` where there is none."""
    path = expanded(name)
    if not path.is_file():
        raise ConfigError(f"model.weights: {path}: no such file; expected none, timm, or a .safetensors or .pth file")
    return path


def load_weights(model: nn.Module, path: Path) -> list[str]:
    """Copy a weights file into the model; returns the names of the tensors that keep their initial values. By name, or,
    from a .pth file with other names but the same tensors in the same order, by order. Only the head may keep its own:
    a classifier for other classes stays new. Anything else that is missing, left over or of another shape raises
    `KitError`, as does a file that is not a table of tensors."""
    weights = _read(path)
    own = model.state_dict()
    head = head_names(model)
    fitting, wrong, left_over = _by_name(own, weights, head)
    if wrong or left_over or not fitting:
        in_order = _by_order(own, weights, head) if path.suffix != ".safetensors" else None  # that sorts by name
        if in_order is None:
            first = [*wrong, *left_over, *own][0]
            raise KitError(
                f"{path}: does not fit model.name: {len(wrong)} of the model's {len(own)} tensors are missing or of "
                f"another shape, {len(left_over)} of the file's do not fit anywhere (first: {first})"
            )
        fitting = in_order
    model.load_state_dict(fitting, strict=False)
    return [name for name in own if name not in fitting and not name.endswith(_COUNTER)]


def _by_name(own: Tensors, weights: Tensors, head: tuple[str, ...]) -> tuple[Tensors, list[str], list[str]]:
    """(what fits, the model's tensors that nothing fits, the file's that fit nowhere); the head may differ."""
    fitting = {name: value for name, value in weights.items() if name in own and value.shape == own[name].shape}
    wrong = [name for name in own if name not in fitting and not name.startswith(head) and not name.endswith(_COUNTER)]
    return fitting, wrong, [name for name in weights if name not in own and not name.startswith(head)]


def _by_order(own: Tensors, weights: Tensors, head: tuple[str, ...]) -> Tensors | None:
    """Other names, but the same tensors in the same order (torchvision's VGG); `None` where they are not."""
    names = [name for name in own if not name.endswith(_COUNTER)]
    values = [value for name, value in weights.items() if not name.endswith(_COUNTER)]
    if len(names) != len(values):
        return None
    pairs = list(zip(names, values, strict=True))
    fitting = {name: value for name, value in pairs if own[name].shape == value.shape}
    return fitting if all(name in fitting or name.startswith(head) for name in names) else None


def layer_depths(model: nn.Module) -> dict[str, int]:
    """Every parameter's name -> the layers between it and the logits, by the model's `group_matcher`; the head is 0.
    Raises `ConfigError` for a timm model that does not define its layers."""
    matcher = getattr(model, "group_matcher", None)
    if matcher is None:
        keys = "layer_decay, head_learning_rate, freeze_epochs and freeze_layers"
        raise ConfigError(f"train.{keys} need a network with a `group_matcher`; this one has none")
    groups = group_parameters(model, matcher(coarse=False), reverse=True)
    head = head_names(model)
    deepest = max((number for name, number in groups.items() if not name.startswith(head)), default=0)
    return {name: 0 if name.startswith(head) else 1 + deepest - number for name, number in groups.items()}


def head_names(model: nn.Module) -> tuple[str, ...]:
    """What the names of the last layer's parameters begin with; of one that does not say, the last `nn.Linear`."""
    own = getattr(model, "head_names", None) or (getattr(model, "pretrained_cfg", None) or {}).get("classifier")
    if own is None:
        linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
        own = linear[-1] if linear else "fc"
    return (own,) if isinstance(own, str) else tuple(own)


def _read(path: Path) -> Tensors:
    try:
        if path.suffix == ".safetensors":
            weights = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
            for wrapper in ("state_dict_ema", "state_dict", "model"):
                if isinstance(weights.get(wrapper), dict):
                    weights = weights[wrapper]
                    break
        return {name.removeprefix("module."): value for name, value in weights.items() if hasattr(value, "shape")}
    except Exception as error:  # pickle and safetensors raise many kinds of errors on foreign bytes
        raise KitError(f"{path}: not a weights file: {reason(error)}") from None
