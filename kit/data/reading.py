"""How a sample's files become one picture: each decoded, and, where they are channels of one, stacked.

A path may name several files, with `|` between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import pandas as pd

from kit.competition import Competition
from kit.data.images import ImageProblem, Picture, decode
from kit.data.sources import read_bytes
from kit.data.table import value_range
from kit.data.values import Range
from kit.errors import KitError, reason

SEPARATOR = "|"


def parts_of(path: str | Path) -> list[str]:
    return str(path).split(SEPARATOR)


def located(folder: Path, path: str) -> Path:
    """A path of the index, as files in `folder`."""
    return Path(SEPARATOR.join(str(folder / part) for part in parts_of(path)))


@dataclass(frozen=True)
class Reading:
    """`value_range`: of pictures deeper than 8 bits. `channels`: of what is read; other than 3 where a sample's files
    are stacked, each as colours or, `gray`, as one channel."""

    value_range: Range | None = None
    channels: int = 3
    gray: bool = False

    @classmethod
    def of(cls, competition: Competition, index: pd.DataFrame | None = None) -> Self:
        stacked = competition.pictures is not None and competition.pictures.together == "channels"
        gray = stacked and competition.pictures is not None and competition.pictures.gray
        return cls(value_range(index) if index is not None else None, competition.num_channels, gray)

    @property
    def facts(self) -> tuple[object, ...]:
        """For fingerprints; empty for pictures as everybody has them."""
        deep = () if self.value_range is None else (list(self.value_range),)
        return deep if self.is_usual else (*deep, self.channels, self.gray)

    @property
    def is_usual(self) -> bool:
        return self.channels == 3 and not self.gray

    def read(self, path: Path, min_side: int | None = None) -> Picture:
        """Raises `OSError` and `ImageProblem`."""
        return self.decoded(path, self.bytes_of(path), min_side)

    def indexed(self, path: Path, min_side: int | None = None) -> Picture:
        """One that the index lists. Raises `KitError` where it is gone since then, or not a picture any more."""
        try:
            return self.read(path, min_side)
        except (OSError, ImageProblem) as error:
            raise changed(path, error) from None

    def bytes_of(self, path: Path) -> bytes:
        """A file's; of several the ones there are, one after the other. Raises `OSError`."""
        if self.is_usual:
            return read_bytes(path)
        found = [part for part in map(_bytes_or_problem, parts_of(path)) if isinstance(part, bytes)]
        if not found:
            raise FileNotFoundError(str(path))
        return b"".join(found)

    def decoded(self, path: Path, data: bytes, min_side: int | None = None) -> Picture:
        """`data`: the path's `bytes_of`. Raises `ImageProblem`."""
        if self.is_usual:
            return decode(data, min_side, self.value_range)
        return self._stacked([_bytes_or_problem(part) for part in parts_of(path)], min_side)

    def _stacked(self, parts: Sequence[bytes | ImageProblem], min_side: int | None = None) -> Picture:
        """uint8 (H, W, channels): one after the other, at the size of the first that can be read; what cannot is black.
        Raises `ImageProblem` where none can."""
        pictures = [self._decoded(part, min_side) for part in parts]
        known = [one for one in pictures if isinstance(one, Picture)]
        flaws = [f"part {place}: {one}" for place, one in enumerate(pictures, 1) if isinstance(one, ImageProblem)]
        if not known:
            raise ImageProblem("; ".join(flaws))
        height, width = known[0].rgb.shape[:2]
        layers = [self._layer(one, width, height) for one in pictures]
        flaws += [one.flaw for one in known if one.flaw]
        return Picture(np.dstack(layers), known[0].format, "; ".join(flaws), any(one.is_slice for one in known))

    def _decoded(self, part: bytes | ImageProblem, min_side: int | None) -> Picture | ImageProblem:
        if isinstance(part, ImageProblem):
            return part
        try:
            return decode(part, min_side, self.value_range)
        except ImageProblem as problem:
            return problem

    def _layer(self, one: Picture | ImageProblem, width: int, height: int) -> np.ndarray:
        if isinstance(one, ImageProblem):
            return np.zeros((height, width) if self.gray else (height, width, 3), np.uint8)
        rgb = one.rgb.max(axis=2) if self.gray else one.rgb  # a grey stain may be stored in its own colour
        return (
            rgb if rgb.shape[:2] == (height, width) else cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
        )


USUAL = Reading()


def changed(path: Path, error: Exception) -> KitError:
    """What to say of a picture that the index lists and that raises `error` now."""
    why = "no such file" if isinstance(error, FileNotFoundError) else reason(error)
    return KitError(f"{path}: {why}; it has changed since `kit index`, type `kit index --force`")


def _bytes_or_problem(path: str) -> bytes | ImageProblem:
    try:
        return read_bytes(Path(path))
    except FileNotFoundError:
        return ImageProblem(f"{Path(path).name}: no such file")
    except OSError as error:
        return ImageProblem(str(error))


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """uint8 (..., C) as a person is shown it, (..., 3): the first three channels; of fewer the first as gray."""
    return pixels[..., :3] if pixels.shape[-1] >= 3 else np.repeat(pixels[..., :1], 3, axis=-1)
