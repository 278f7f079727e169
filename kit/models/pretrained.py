"""The one place that knows timm, and how published weights are loaded: `timm:NAME`, .safetensors and .pth files.

timm takes as long to import as torch, and the kit's own networks need nothing of it: it is imported where it is used.
"""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from kit import console
from kit.errors import ConfigError, KitError, examples, nearest, reason
from kit.models.weights import Fit, Tensors, Weights, fit_weights, read_weights
from kit.workspace import expanded

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build_timm(name: str, num_classes: int, in_channels: int = 3, download: bool = False, **options: Any) -> nn.Module:
    """timm's model with a new head. `download` takes timm's own weights from the network."""
    import timm

    require_timm(name)
    try:
        model = timm.create_model(name, pretrained=download, num_classes=num_classes, in_chans=in_channels, **options)
    except TypeError as error:
        raise ConfigError(f"model.options: timm:{name} does not accept them: {error}") from None
    except Exception as error:
        base, _, tag = name.partition(".")
        if tag and "tag" in str(error):
            known = [full.partition(".")[2] for full in timm.list_pretrained(f"{base}.*")]
            raise ConfigError(f"model.name: timm:{base} has no weights '{tag}' (it has {examples(known, 8)})") from None
        if not download:
            raise ConfigError(f"model.name: timm:{name} cannot be built: {reason(error)}") from None
        advice = "without network access, give a file: --set model.weights=FILE.safetensors"
        raise KitError(f"model.weights: timm cannot download '{name}' ({reason(error)}); {advice}") from None
    if getattr(model, "num_classes", 0) != num_classes:  # also of what `features_only` makes
        raise ConfigError(f"model.name: timm:{name} is an encoder, without a classifier; name a network that has one")
    return model


def require_timm(name: str) -> None:
    """Raise `ConfigError`, with the nearest name, where timm has no such model."""
    import timm

    if not timm.is_model(name):
        close = timm.list_models(f"*{name[:5]}*") or timm.list_models()
        raise ConfigError(f"model.name: timm has no model '{name}'{nearest(name, close)}")


def fixed_size(name: str) -> int | None:
    """Pixels a side of the only pictures that timm's network takes as it is; None: it takes any."""
    import timm

    settings = timm.get_pretrained_cfg(name)
    return int(settings.input_size[-1]) if settings is not None and settings.fixed_input_size else None


def own_normalisation(model: nn.Module) -> tuple[list[float], list[float]]:
    """RGB mean and std that the model's published weights were trained with; for the kit's own networks, ImageNet's."""
    settings = getattr(model, "pretrained_cfg", None) or {}
    return list(settings.get("mean", IMAGENET_MEAN)), list(settings.get("std", IMAGENET_STD))


def weights_file(name: str) -> Path:
    """The file that `model.weights` names. Raises `ConfigError` where there is none."""
    path = expanded(name)
    if not path.is_file():
        raise ConfigError(f"model.weights: {path}: no such file; expected none, timm, or a .safetensors or .pth file")
    return path


def load_weights(model: nn.Module, path: Path) -> tuple[list[str], Weights]:
    """Copy a weights file into the model; returns the tensors that keep their initial values, and the file. Only the
    head's may: a classifier for other classes. `KitError` where anything else is missing, left over or of another
    shape, or where the file is not one of tensors."""
    weights = read_weights(path)
    fit = fit_file(model, weights, path)
    if not fit.is_whole:
        own = list(model.state_dict())
        raise KitError(
            f"{path}: does not fit model.name: {len(fit.wrong)} of the model's {len(own)} tensors are missing or of "
            f"another shape, {len(fit.left_over)} of the file's have no place (first: "
            f"{[*fit.wrong, *fit.left_over, *own][0]}); `kit models --weights {path}` says what it is"
        )
    model.load_state_dict(fit.fitting, strict=False)
    other = [name for name in fit.new if name in weights.tensors]
    if other:
        of = f"of {examples(weights.facts['classes'])}" if "classes" in weights.facts else "of other classes"
        _say_once("weights", f"{path}: its head is {of} and left out; a new one is trained")
    return fit.new, weights


_say_once = cache(console.stage)


def fit_file(model: nn.Module, weights: Weights, path: Path) -> Fit:
    in_order = path.suffix != ".safetensors"  # that sorts by name
    own = model.state_dict()
    return fit_weights(
        own, _for_other_channels(own, weights.tensors), head_names(model), architecture_filter(model), in_order
    )


def _for_other_channels(own: Tensors, tensors: Tensors) -> Tensors:
    """Weights for RGB, for a network that sees another number of channels: the first convolution's are repeated, or
    summed, as timm does it."""
    from timm.models import adapt_input_conv

    adapted = dict(tensors)
    for name, value in tensors.items():
        wanted = own[name].shape if name in own else value.shape
        if value.ndim == 4 == len(wanted) and value.shape[1] == 3 != wanted[1] and value.shape[0] == wanted[0]:
            adapted[name] = adapt_input_conv(wanted[1], value).to(value.dtype)
    return adapted


def timm_of_file(path: Path) -> list[str]:
    """timm's models that a file's name begins with (`resnet50.a1_in1k.safetensors`), as `timm:NAME`."""
    import timm

    stem = path.name.split(".")[0].replace("-", "_").lower()
    return [f"timm:{name}" for name in timm.list_models() if stem == name or stem.startswith(f"{name}_")]


def architecture_filter(model: nn.Module) -> Callable[[Tensors], Tensors]:
    """What makes timm's names and shapes of an architecture's first repository's (position tables of another size
    too); of a network that timm has nothing for, what changes nothing."""
    made = getattr(sys.modules.get(type(model).__module__), "checkpoint_filter_fn", None)
    return (lambda tensors: made(tensors, model)) if made is not None else lambda tensors: tensors


def layer_depths(model: nn.Module) -> dict[str, int]:
    """Every parameter's name -> the layers between it and the logits, by the model's `group_matcher`; the head is 0.
    Raises `ConfigError` for a timm model that does not define its layers."""
    matcher = getattr(model, "group_matcher", None)
    if matcher is None:
        keys = "layer_decay, head_learning_rate, freeze_epochs and freeze_layers"
        raise ConfigError(f"train.{keys} need a network with a `group_matcher`; this one has none")
    from timm.models import group_parameters

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
