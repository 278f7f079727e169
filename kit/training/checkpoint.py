"""Weights on disk as safetensors; resume state as a `torch.save` of tensors and plain values only."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file

from kit.errors import KitError, reason
from kit.workspace import atomic_path


def save_state(path: Path, state: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load_state(path: Path) -> dict[str, Any]:
    """Read a resume state. Nothing in it can run code (`weights_only`)."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file raises, the remedy is the same
        raise KitError(f"{path}: damaged ({reason(error)}); delete it to start the fold again") from None


def save_model(path: Path, weights: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """Save a model's weights, with JSON-able facts beside them."""
    with atomic_path(path) as temporary:
        save_file(_plain(weights), temporary, metadata={"kit": json.dumps(facts)})


def require_savable(weights: dict[str, torch.Tensor]) -> None:
    """Raise `KitError` where `save_model` could not write these weights: before days of training, not after."""
    try:
        save(_plain(weights))
    except (RuntimeError, ValueError, SafetensorError) as error:
        raise KitError(f"model.name: this network's weights cannot be saved as safetensors: {reason(error)}") from None


def _plain(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """On the CPU, each with memory of its own: some networks share a tensor under several names (timm's CoaT)."""
    tensors, seen = {}, set[int]()
    for name, value in weights.items():
        plain = value.detach().cpu().contiguous()
        address = plain.untyped_storage().data_ptr()
        tensors[name] = plain.clone() if address in seen else plain
        seen.add(address)
    return tensors


def load_model(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """(weights, facts) as `save_model` wrote them."""
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return weights, json.loads((file.metadata() or {})["kit"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise KitError(f"{path}: not a model of this kit: {error}; `kit train --force` trains it again") from None
