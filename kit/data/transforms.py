"""The one place that knows albumentations (2.0.8): an experiment's `augment` lines become a function of (image, key).

`Compose.set_random_seed` and `Compose(seed=)` give every transform the same seed, so that a horizontal and a vertical
flip always fire together; a random state per image keeps them independent and reproducible."""

import inspect
import os
import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from kit.data.images import scaled as scaled_to
from kit.data.strength import Lines, scaled
from kit.errors import ConfigError, nearest, reason

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it looks up its newest version online on import
import albumentations as A

TRIES = 8  # of a transform that fires now and then


@dataclass(frozen=True)
class Augment:
    """(uint8 (S, S, 3), key) -> uint8 (image_size, image_size, 3)"""

    compose: A.Compose
    image_size: int

    def __call__(self, image: np.ndarray, key: int) -> np.ndarray:
        self.compose.set_random_state(np.random.default_rng(key), random.Random(key))
        return resized(self.compose(image=image)["image"], self.image_size)


def build_augment(lines: Lines, image_size: int, strength: float = 1.0) -> Augment | None:
    """(uint8 (S, S, 3), key) -> uint8 (image_size, image_size, 3), or `None` where there is nothing to do. A transform
    that takes `size`, or `height` and `width`, gets the experiment's image size unless it says otherwise. Raises
    `ConfigError` on an unknown transform or parameter."""
    if not lines:
        return None
    steps = [(name, params) for line in scaled(lines, strength, _defaults) for name, params in line.items()]
    return Augment(A.Compose([_build_one(name, dict(params or {}), image_size) for name, params in steps]), image_size)


def check_augment(lines: Lines, kept: int, image_size: int, strength: float = 1.0, channels: int = 3) -> None:
    """Raise `ConfigError` where `augment` does not make a uint8 picture of one of `kept` pixels a side."""
    shown = np.full((kept, kept, channels), 128, np.uint8)
    for number, line in enumerate(lines, 1):
        name, augment = next(iter(line)), build_augment(lines[:number], image_size, strength)
        for key in range(TRIES):
            try:
                made = augment(shown, key) if augment is not None else shown
            except Exception as error:  # a transform may raise anything
                what = f"{kept} px" if channels == 3 else f"{channels} channels"
                raise ConfigError(f"augment.{name}: does not run on {what}: {reason(error)}") from None
            if not isinstance(made, np.ndarray) or made.dtype != np.uint8 or made.shape[2:] != (channels,):
                raise ConfigError(f"augment.{name}: should leave pixels at 0 to 255; the model normalises them itself")


def resized(image: np.ndarray, image_size: int) -> np.ndarray:
    """uint8 (image_size, image_size, 3), resized only if it is not that size already."""
    if image.shape[:2] == (image_size, image_size):
        return image
    shrinks = max(image.shape[:2]) > image_size
    return scaled_to(image, image_size, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
    """Of a transform. Raises `ConfigError` on an unknown one."""
    names = [n for n in dir(A) if inspect.isclass(getattr(A, n)) and issubclass(getattr(A, n), A.BasicTransform)]
    if name not in names:
        raise ConfigError(f"augment: albumentations has no transform '{name}'{nearest(name, names)}")
    return inspect.signature(getattr(A, name).__init__).parameters


def _defaults(name: str) -> dict[str, Any]:
    known = _parameters(name).items()
    return {key: one.default for key, one in known if one.default is not inspect.Parameter.empty}


def _build_one(name: str, params: dict[str, Any], image_size: int) -> A.BasicTransform:
    known = _parameters(name)
    if "size" in known:
        params.setdefault("size", (image_size, image_size))
    if "height" in known and "width" in known:
        params = {"height": image_size, "width": image_size} | params
    unknown = [key for key in params if key not in known]
    if unknown:
        raise ConfigError(f"augment.{name}.{unknown[0]}: no such parameter{nearest(unknown[0], known)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            return getattr(A, name)(**{k: tuple(v) if isinstance(v, list) else v for k, v in params.items()})
    except (ValueError, TypeError, UserWarning) as error:
        raise ConfigError(f"augment.{name}: {' '.join(str(error).split())}") from None
