"""How strongly an experiment augments: its transforms' parameters, scaled together."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Lines = Sequence[Mapping[str, Mapping[str, Any]]]
_ALWAYS = re.compile(r"Crop|Pad|Resize|^RandomScale$|Flip|Transpose|D4|Rotate90|Symmetry|Normalize|ToGray")
_MAGNITUDES = re.compile(
    r"(?<!blur)(?<!sigma)_limit$|^(limit|rotate|shear|scale|translate_percent|brightness|contrast|saturation|hue)$"
)
_SMALLEST = 0.05  # of a picture's side, or of its brightness


def scaled(lines: Lines, strength: float, defaults: Callable[[str], Mapping[str, Any]]) -> Lines:
    """Each transform's limits times `strength` (of a factor, such as a scale of [0.8, 1.25], its distance from 1);
    where it has none, its probability. Flips stay, and so do crops, except how far RandomResizedCrop's may go.
    `defaults(name)`: a transform's parameters where a line does not name them."""
    if strength == 1:
        return lines
    return [
        {name: _scaled(name, dict(params or {}), defaults(name), strength) for name, params in line.items()}
        for line in lines
    ]


def _scaled(name: str, params: dict[str, Any], defaults: Mapping[str, Any], strength: float) -> dict[str, Any]:
    whole = {**defaults, **params}
    if name == "RandomResizedCrop":
        low, high = whole["scale"]
        smallest = max(_SMALLEST, high - (high - low) * strength)
        return params | {"scale": [smallest, high], "ratio": _times(whole["ratio"], strength)}
    if _ALWAYS.search(name):
        return params
    limits = {key: _times(value, strength) for key, value in whole.items() if _MAGNITUDES.search(key)}
    if isinstance(scale := whole.get("scale"), int | float) and name == "Affine":
        limits["scale"] = max(_SMALLEST, 1 + (scale - 1) * strength)
    if "gamma_limit" in limits:  # in percent
        limits["gamma_limit"] = [max(1.0, 100 + (one - 100) * strength) for one in whole["gamma_limit"]]
    if "hue" in limits:  # half a turn is the most
        hue = limits["hue"]
        limits["hue"] = min(0.5, hue) if isinstance(hue, int | float) else [max(-0.5, hue[0]), min(0.5, hue[1])]
    return params | (limits or {"p": min(1.0, whole.get("p", 0.5) * strength)})


def _times(value: Any, strength: float) -> Any:
    """A limit, a pair around 0, a pair of factors around 1, or one of these for each axis (`{x: ..., y: ...}`)."""
    if isinstance(value, dict):
        return {key: _times(one, strength) for key, one in value.items()}
    if isinstance(value, list | tuple):
        low, high = value
        if 0 < low <= 1 <= high:
            return [max(_SMALLEST, 1 + (one - 1) * strength) for one in value]
        return [one * strength for one in value]
    return value * strength if isinstance(value, int | float) and not isinstance(value, bool) else value
