"""The one place that knows timm, and how published weights come in: `timm:NAME`, .safetensors and .pth files."""

from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import nn

from kit.errors import ConfigError, KitError, nearest


def build_timm(name: str, num_classes: int, in_channels: int = 3, download: bool = False, **options: Any) -> nn.Module:
    """timm's model with a new head. `download` takes timm's own weights from the network."""
    if not timm.is_model(name):
        close = timm.list_models(f"*{name[:5]}*") or timm.list_models()
        raise ConfigError(f"model.name: timm has no model '{name}'{nearest(name, close)}")
    try:
        return timm.create_model(name, pretrained=download, num_classes=num_classes, in_chans=in_channels, **options)
    except TypeError as error:
        raise ConfigError(f"model.options: timm:{name} does not take them: {error}") from None
    except Exception as error:
        if not download:
            raise
        reason = str(error).splitlines()[0][:200]
        raise KitError(
            f"model.weights: timm could not download weights for '{name}' ({reason}); without a network, give a file: "
            f"--set model.weights=FILE.safetensors"
        ) from None


def own_normalisation(model: nn.Module) -> tuple[list[float], list[float]] | None:
    """RGB mean and std that a timm model was pretrained with; none for the kit's own networks."""
    settings = getattr(model, "pretrained_cfg", None)
    return (list(settings["mean"]), list(settings["std"])) if settings else None


def load_weights(model: nn.Module, path: Path) -> list[str]:
    """Copy a weights file into the model by name; returns the names of the tensors that keep their initial values.

    Those may only be the head's: a classifier for other classes stays new. Anything else that is missing, left over
    or of another shape is a `KitError`, as is a file that is not a table of tensors.
    """
    if not path.is_file():
        raise ConfigError(f"model.weights: {path}: no such file; expected none, timm, or a .safetensors or .pth file")
    weights = _read(path)
    own = model.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and value.shape == own[name].shape}
    new = [name for name in own if name not in fitting]
    head = tuple(_head_names(model))
    wrong = [name for name in new if not name.startswith(head) and not name.endswith("num_batches_tracked")]
    left_over = [name for name in weights if name not in own and not name.startswith(head)]
    if wrong or left_over or not fitting:
        raise KitError(
            f"{path}: does not fit model.name: {len(wrong)} of the model's {len(own)} tensors are missing or of "
            f"another shape, {len(left_over)} of the file's have no place (first: {[*wrong, *left_over, *new][0]})"
        )
    model.load_state_dict(fitting, strict=False)
    return [name for name in new if not name.endswith("num_batches_tracked")]


def _read(path: Path) -> dict[str, torch.Tensor]:
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
    except Exception as error:  # pickle and safetensors raise many kinds on bytes that are not theirs
        raise KitError(f"{path}: not a weights file: {str(error).splitlines()[0][:200]}") from None


def _head_names(model: nn.Module) -> list[str]:
    classifier = getattr(model, "pretrained_cfg", None) or {}
    names = classifier.get("classifier", "fc")
    return [names] if isinstance(names, str) else list(names)
