"""Weights files as people have them: .safetensors and .pth, wrapped, prefixed, or under their first repository's names.

Nothing in a file is ever executed: only tensors and plain values are read."""

import argparse
import contextlib
import json
import pathlib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from kit.errors import KitError, reason

Tensors = dict[str, torch.Tensor]
WRAPPERS = (  # the averaged weights first
    "state_dict_ema", "model_ema", "ema_state_dict", "ema", "state_dict", "model_state_dict", "model", "weights", "net",
)  # fmt: skip
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.", "backbone.", "encoder.")
MOST_WRAPPERS = 8  # around one another; a table may hold itself
COUNTER = "num_batches_tracked"  # torchvision's oldest files have none
_NORMALISATION = ("mean", "std", "target_scale")  # of the kit's own models, beside their network's tensors


@dataclass(frozen=True)
class Weights:
    """A file's `tensors`, without wrappers and the prefixes of wrapping classes. `facts`: what the kit itself noted in
    it; `statistics`: RGB mean and std in [0, 1], where it is a model of the kit."""

    tensors: Tensors
    facts: dict[str, Any] = field(default_factory=dict)
    statistics: tuple[list[float], list[float]] | None = None


def read_weights(path: Path) -> Weights:
    """Raises `KitError` where the file is not a table of tensors."""
    facts: dict[str, Any] = {}
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                found: Any = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
                noted = json.loads((file.metadata() or {}).get("kit", "{}"))
                facts = noted if isinstance(noted, dict) else {}
                if not isinstance(facts.get("classes", []), list):
                    del facts["classes"]
        else:
            with torch.serialization.safe_globals(_harmless()):
                found = torch.load(path, map_location="cpu", weights_only=True)
        tensors = {name: value for name, value in _unwrapped(found).items() if isinstance(value, torch.Tensor)}
    except Exception as error:  # pickle and safetensors raise many kinds on bytes that are not theirs
        raise KitError(f"{path}: not a weights file: {reason(error)}") from None
    if not tensors:
        raise KitError(f"{path}: not a weights file: it holds no tensors")
    statistics = None
    if facts and all(name in tensors and tensors[name].numel() == 3 for name in ("mean", "std")):
        mean, std = ((tensors[name].flatten() / 255).tolist() for name in ("mean", "std"))
        statistics = (mean, std)
        tensors = {name: value for name, value in tensors.items() if name not in _NORMALISATION}
    return Weights(_bare(tensors), facts, statistics)


def _harmless() -> list[Any]:
    """Classes of plain values that trainings leave beside the tensors: scores as numpy scalars, arguments, paths."""
    core: Any = import_module("numpy._core.multiarray")
    kinds: list[Any] = [argparse.Namespace, np.dtype, np.ndarray, pathlib.PosixPath, pathlib.PurePosixPath]
    kinds += [kind for name in dir(np.dtypes) if isinstance(kind := getattr(np.dtypes, name), type)]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # before and after numpy 2
        kinds += [(core.scalar, f"{module}.scalar"), (core._reconstruct, f"{module}._reconstruct")]
    return kinds


def _unwrapped(found: Any) -> dict[str, Any]:
    """The innermost mapping of names to tensors."""
    depth = 0
    while isinstance(found, dict) and not any(isinstance(value, torch.Tensor) for value in found.values()):
        inside, depth = {str(key): value for key, value in found.items() if isinstance(value, dict)}, depth + 1
        named = [inside[name] for name in WRAPPERS if name in inside]
        if (not named and len(inside) != 1) or depth > MOST_WRAPPERS:
            raise ValueError(f"no table of tensors in it (keys: {', '.join(map(str, list(found)[:8]))})")
        found = named[0] if named else next(iter(inside.values()))
    if not isinstance(found, dict):
        raise TypeError(f"expected a table of tensors, found {type(found).__name__}")
    return found


def _bare(tensors: Tensors) -> Tensors:
    """Without a prefix that all names share, of a class around the network."""
    for prefix in PREFIXES * 2:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


@dataclass(frozen=True)
class Fit:
    """How a file's tensors fit a network: `fitting` by the network's names, `wrong`: its own that nothing fits,
    `left_over`: the file's that fit nowhere, `new`: its own that keep their initial values (the head's)."""

    fitting: Tensors
    wrong: list[str]
    left_over: list[str]
    new: list[str]

    @property
    def is_whole(self) -> bool:
        return bool(self.fitting) and not self.wrong and not self.left_over


def fit_weights(
    own: Tensors, weights: Tensors, head: tuple[str, ...], rename: Callable[[Tensors], Tensors], in_order: bool
) -> Fit:
    """The best of: by name; by the names that `rename` gives the file's (its first repository's to the network's);
    and, with `in_order`, the same tensors in the same order. The head may be another, or missing."""
    fit = _by_name(own, weights, head)
    if not fit.is_whole:
        with contextlib.suppress(Exception):  # it may not be for this network at all
            renamed = _by_name(own, rename(dict(weights)), head)
            fit = renamed if len(renamed.fitting) > len(fit.fitting) or renamed.is_whole else fit
    if not fit.is_whole and in_order:
        fit = _by_order(own, weights, head) or fit
    return fit


def _by_name(own: Tensors, weights: Tensors, head: tuple[str, ...]) -> Fit:
    fitting = {name: value for name, value in weights.items() if name in own and value.shape == own[name].shape}
    missing = [name for name in own if name not in fitting and not name.endswith(COUNTER)]
    left_over = [name for name in weights if name not in own and not name.startswith(head)]
    return Fit(fitting, [name for name in missing if not name.startswith(head)], left_over, missing)


def _by_order(own: Tensors, weights: Tensors, head: tuple[str, ...]) -> Fit | None:
    """Other names, but the same tensors in the same order (torchvision's VGG); `None` where they are not."""
    names = [name for name in own if not name.endswith(COUNTER)]
    values = [value for name, value in weights.items() if not name.endswith(COUNTER)]
    if len(names) != len(values):
        return None
    fitting = {n: value for n, value in zip(names, values, strict=True) if own[n].shape == value.shape}
    new = [name for name in names if name not in fitting]
    return Fit(fitting, [], [], new) if all(name.startswith(head) for name in new) else None
