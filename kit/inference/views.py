"""TTA views: what the model sees of a batch of square pictures through each of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch.nn import functional as F

from kit.settings import TTA, Crop, NamedView, View

FIVE: tuple[Crop, ...] = ("top_left", "top_right", "bottom_left", "bottom_right", "center")
CROP_SCALE = 8 / 7  # 256 to 224, as in Krizhevsky et al. 2012
NAMED: dict[NamedView, tuple[View, ...]] = {
    "identity": (View(),),
    "hflip": (View(hflip=True),),
    "vflip": (View(vflip=True),),
    "five_crop": tuple(View(scale=CROP_SCALE, crop=crop) for crop in FIVE),
    "ten_crop": tuple(View(scale=CROP_SCALE, crop=crop, hflip=flip) for flip in (False, True) for crop in FIVE),
}


def expand(views: Sequence[NamedView | View]) -> list[View]:
    return [one for view in views for one in (NAMED[view] if isinstance(view, str) else (view,))]


@dataclass(frozen=True)
class ViewSet:
    """How every picture is shown: `views` at the model's `image_size`, their predictions averaged as `average` says:
    over `probs` (the predictions' arithmetic mean) or over `logits` (the prediction from the mean output)."""

    views: tuple[View, ...]
    image_size: int
    average: str = "probs"

    @classmethod
    def of(cls, tta: TTA, image_size: int) -> Self:
        return cls(tuple(expand(tta.views)), image_size, tta.average)

    def __len__(self) -> int:
        return len(self.views)

    def show(self, pixels: torch.Tensor) -> "Shown":
        return Shown(pixels, self.image_size)

    def side(self, view: View) -> int:
        """Pixels a side of what the model sees."""
        return self.image_size if view.crop != "none" else round(self.image_size * view.scale)


class Shown:
    """What views make of a batch: pixels (B, 3, P, P) in 0..255, resized once per scale, however many views use it. P
    may be larger than `image_size` (the cache keeps more): a view's scale then draws on the finer picture."""

    def __init__(self, pixels: torch.Tensor, image_size: int) -> None:
        self._pixels = pixels.float()
        self._image_size = image_size
        self._scaled: dict[int, torch.Tensor] = {}

    def through(self, view: View) -> torch.Tensor:
        """Float (B, 3, S, S); S is `image_size`, or `scale` times that where nothing is cropped."""
        image_size = self._image_size
        scaled = round(image_size * view.scale)
        if scaled not in self._scaled:
            self._scaled[scaled] = _resize(self._pixels, scaled)
        pixels = self._scaled[scaled]
        if view.crop != "none":
            room = scaled - image_size
            top = {"t": 0, "b": room, "c": room // 2}[view.crop[0]]
            left = room // 2 if view.crop == "center" else 0 if view.crop.endswith("left") else room
            pixels = pixels[:, :, top : top + image_size, left : left + image_size]
        flips = [axis for axis, flip in ((2, view.vflip), (3, view.hflip)) if flip]
        return pixels.flip(flips) if flips else pixels


def _resize(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """Float (B, C, size, size)."""
    if pixels.shape[-1] < size:
        return F.interpolate(pixels, (size, size), mode="bilinear", align_corners=False)
    if pixels.shape[-1] == size:
        return pixels
    number, channels, before, _ = pixels.shape
    weights = _area_weights(before, size).to(pixels.device)
    rows = weights @ pixels.permute(0, 2, 3, 1).reshape(number, before, before * channels)  # channels last: a view
    columns = rows.view(number * size, before, channels).transpose(1, 2).reshape(-1, before) @ weights.T
    resized = columns.add_(0.5).floor_().view(number, size, channels, size)  # rounded as OpenCV does
    return resized.permute(0, 2, 1, 3)


def _area_weights(size: int, smaller: int) -> torch.Tensor:
    """(smaller, size): a new pixel is the mean of the stretch it covers, like OpenCV's INTER_AREA, used by the loader.
    The plain view must show what validation showed: a softer filter cost four points of accuracy from 112 to 32 px."""
    ratio = size / smaller
    start = torch.arange(smaller, dtype=torch.float64)[:, None] * ratio
    cell = torch.arange(size, dtype=torch.float64)[None, :]
    covered = torch.minimum(start + ratio, cell + 1) - torch.maximum(start, cell)
    return (covered.clamp(min=0) / ratio).float()
