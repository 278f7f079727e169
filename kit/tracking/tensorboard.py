"""TensorBoard: event files in runs/NAME/tensorboard/; `tensorboard --logdir runs` shows them."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from kit.tracking.tracker import Place


class TensorBoard:
    def __init__(self, place: Place) -> None:
        folder = place.folder / "tensorboard" / place.part.replace(" ", "_")
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder))
        settings = yaml.safe_dump(dict(place.settings), sort_keys=False)
        self._writer.add_text("experiment", "\n".join(f"    {line}" for line in settings.splitlines()))

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def figure(self, name: str, path: Path) -> None:
        self._writer.add_image(name, np.asarray(Image.open(path).convert("RGB")), dataformats="HWC")

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


opened = TensorBoard
