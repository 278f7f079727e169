"""A network made ready to predict: batch norms folded into their convolutions, weights in its number format."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

TOLERANCE = 1e-2  # of the largest output: another order of arithmetic, TF32 on GPUs; a wrong folding is far off


@torch.no_grad()
def fold_batch_norms(model: nn.Module, pixels: torch.Tensor) -> nn.Module:
    """A copy of `model` in eval mode, without the batch norms that follow a convolution; `pixels`: some real input.
    Which norm follows which convolution is found by running the model. Where the folded copy's outputs differ from the
    model's (say, a convolution's output is used twice), an unfolded copy is returned."""
    plain = copy.deepcopy(model).eval().requires_grad_(False)
    folded = copy.deepcopy(plain)
    for convolution, norm in _pairs(plain, pixels):
        _fold(folded, convolution, norm)
    expected, found = plain(pixels), folded(pixels)
    same = bool((found - expected).abs().max() <= TOLERANCE * expected.abs().max().clamp(min=1))  # False for NaN
    return folded if same else plain


def cast_weights(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Convolutions' and linear layers' weights as `dtype`, in place: autocast would do it again for every batch."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(dtype)
    return model


def _pairs(model: nn.Module, pixels: torch.Tensor) -> list[tuple[str, str]]:
    """(convolution's name, its batch norm's name) where the norm's only input is that convolution's output."""
    made: dict[int, tuple[str, torch.Tensor]] = {}  # the tensors are kept, so that no two share an id
    calls: list[str] = []
    pairs: list[tuple[str, str]] = []

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def after_convolution(_: nn.Module, __: tuple, output: torch.Tensor) -> None:
            calls.append(name)
            made[id(output)] = (name, output)

        def before_norm(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            calls.append(name)
            if id(inputs[0]) in made:
                pairs.append((made[id(inputs[0])][0], name))

        if isinstance(module, nn.Conv2d):
            return module.register_forward_hook(after_convolution)
        return module.register_forward_pre_hook(before_norm)

    kinds = (nn.Conv2d, nn.BatchNorm2d)
    hooks = [watch(name, module) for name, module in model.named_modules() if isinstance(module, kinds)]
    model(pixels)
    for hook in hooks:
        hook.remove()
    return [pair for pair in pairs if calls.count(pair[0]) == 1 and calls.count(pair[1]) == 1]


def _fold(model: nn.Module, convolution: str, norm: str) -> None:
    before, after = model.get_submodule(convolution), model.get_submodule(norm)
    assert isinstance(before, nn.Conv2d)
    assert isinstance(after, nn.BatchNorm2d)
    if after.running_mean is None or after.running_var is None:
        return
    seen = (after.running_mean, after.running_var, after.eps, after.weight, after.bias)
    before.weight, before.bias = fuse_conv_bn_weights(before.weight, before.bias, *seen)
    parent, _, name = norm.rpartition(".")
    rest = [after.get_submodule(part) for part in ("drop", "act") if hasattr(after, part)]  # timm's, with activation
    setattr(model.get_submodule(parent), name, nn.Sequential(*rest) if rest else nn.Identity())
