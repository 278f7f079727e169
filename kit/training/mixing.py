"""Two pictures at once: mixup (Zhang et al. 2017, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899)."""

from dataclasses import dataclass

import numpy as np
import torch

from kit.randomness import key
from kit.settings import Train


@dataclass(frozen=True)
class Mixed:
    """`pixels` (B, 3, S, S), each image with a share `own` of itself and the rest of image `partner` (int64 (B,))."""

    pixels: torch.Tensor
    partner: torch.Tensor
    own: float


def mix(pixels: torch.Tensor, train: Train, epoch: int, step_key: tuple[int | str, ...]) -> Mixed | None:
    """The batch mixed with itself in another order; `None` where the experiment does not, or no longer, ask for it. The
    share is drawn from Beta(alpha, alpha), once per batch; where both kinds are asked for, one is picked at random."""
    kinds = [(kind, alpha) for kind, alpha in (("mixup", train.mixup), ("cutmix", train.cutmix)) if alpha > 0]
    if not kinds or epoch >= train.epochs - train.unmixed_epochs:
        return None
    generator = np.random.default_rng(key("mix", *step_key))
    kind, alpha = kinds[generator.integers(len(kinds))]
    own = float(generator.beta(alpha, alpha))
    partner = torch.from_numpy(generator.permutation(len(pixels)))
    if kind == "mixup":
        mixed = pixels.float()
        return Mixed(mixed * own + mixed[partner.to(pixels.device)] * (1 - own), partner, own)
    top, bottom, left, right = _box(generator, own, *pixels.shape[2:])
    cut = pixels.clone()
    cut[:, :, top:bottom, left:right] = pixels[partner.to(pixels.device), :, top:bottom, left:right]
    inside = (bottom - top) * (right - left) / (pixels.shape[2] * pixels.shape[3])
    return Mixed(cut, partner, 1 - inside)


def _box(generator: np.random.Generator, own: float, height: int, width: int) -> tuple[int, int, int, int]:
    """A window of about the share 1 - own of the picture, anywhere, clipped at the edges."""
    side = np.sqrt(1 - own) / 2
    y, x = generator.integers(height), generator.integers(width)
    rows = np.clip([y - side * height, y + side * height], 0, height).round().astype(int)
    columns = np.clip([x - side * width, x + side * width], 0, width).round().astype(int)
    return int(rows[0]), int(rows[1]), int(columns[0]), int(columns[1])
