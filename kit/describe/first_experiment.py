"""The experiment to start with: it fits a competition's pictures, their number, and this machine."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Self

import numpy as np
import torch

from kit.competition import Competition
from kit.data.containers import parse_idx
from kit.data.images import EXTENSIONS
from kit.data.pixel_tables import num_pixels
from kit.data.places import spelled
from kit.describe.case import Case
from kit.describe.entry import Inventory
from kit.device.accelerator import default_device, device_name
from kit.errors import KitError

LOOKED_AT = 200  # pictures whose size is read
SIZES = (28, 32, 48, 64, 96, 128, 160, 192, 224)
CPU_LARGEST, CPU_IMAGES = 96, 400_000  # pixels a side; training images in all epochs of a fold
SMALL = 48  # pixels a side: smaller pictures suit a network with the small stem, and no pretrained one
NETWORK, TRAINED_AT, SHOWN_AT = "timm:convnext_tiny.in12k_ft_in1k", 224, 288  # on a GPU
HOW_TO_GET = (
    "timm downloads its weights; without a network: --set model.weights=FILE, on Kaggle one under /kaggle/input"
)


@dataclass(frozen=True)
class Subject:
    """What an experiment is made for: a competition's pictures, and this machine."""

    competition: Competition
    count: int  # training pictures
    typical: int  # pixels of a picture's shorter side
    device: torch.device

    @classmethod
    def of(cls, competition: Competition, inventory: Inventory, reading: Case) -> Self:
        sides, count = _sides(inventory, competition, reading)
        return cls(competition, count, int(median(sides)) if sides else 224, default_device())

    @property
    def on_gpu(self) -> bool:
        return self.device.type != "cpu"

    @property
    def learned(self) -> int:
        """Pictures that a fold learns from."""
        return max(1, int(self.count * 0.8))

    @property
    def is_small(self) -> bool:
        return self.typical < SMALL

    def side(self, largest: int) -> int:
        """Pixels a side at a network's input: the pictures' own, up to `largest`."""
        return max((size for size in SIZES if size <= min(self.typical, largest)), default=SIZES[0])

    def own_network(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """One of ours: what a CPU trains in hours, or a GPU."""
        if self.on_gpu:
            return {"name": "resnet34", "options": {**options}}
        return {"name": "resnet18", "options": {**options, "width": 0.5}}

    def experiment(self, name: str, made: Mapping[str, Any], augment: list[dict[str, Any]]) -> dict[str, Any]:
        """The whole mapping: what was chosen, and what follows from the number of pictures."""
        batch = 64 if self.count >= 4000 else 32
        decay = 1 - 1 / max(10.0, min(1000.0, 2.0 * max(1, self.learned // batch)))  # reaches back two epochs
        return {
            "name": name, "competition": self.competition.name, "seed": 0,
            "data": {**made["data"], "num_folds": 5}, "augment": augment, "model": made["model"],
            "train": {**made["train"], "batch_size": batch, "ema_decay": round(decay, 4)}, "tta": made["tta"],
        }  # fmt: skip


def first_experiment(subject: Subject, reading: Case) -> dict[str, Any]:
    """An experiment's mapping: sizes that fit the pictures and this machine; on a GPU a pretrained network, else, and
    for small pictures, our ResNet from random weights."""
    made = _pretrained(subject) if subject.on_gpu and not subject.is_small else _from_random_weights(subject)
    size, epochs = made["data"]["image_size"], made["train"]["epochs"]
    reading.because(
        f"{subject.count:,} training pictures, typically {subject.typical} px: image_size {size}, {epochs} epochs, for "
        f"{device_name(subject.device)}"
    )
    if made["model"]["name"] == NETWORK:
        reading.because(f"a GPU: {NETWORK}, pretrained; {HOW_TO_GET}")
    crops: list[dict[str, Any]] = [{"Affine": {"scale": [0.9, 1.1], "rotate": [-10, 10], "translate_percent": 0.08}}]
    if not subject.is_small:
        crops = crops_from(0.5, 0.8)
    made["tta"] = {"views": ["identity"] if subject.is_small else ["identity", "hflip"]}
    return subject.experiment(subject.competition.name, made, crops)


def crops_from(smallest: float, narrowest: float) -> list[dict[str, Any]]:
    """Windows of at least this share of a picture's area, no narrower (or flatter) than this, half of them mirrored."""
    ratio = [narrowest, round(1 / narrowest, 4)]
    return [{"RandomResizedCrop": {"scale": [smallest, 1.0], "ratio": ratio}}, {"HorizontalFlip": {"p": 0.5}}]


def _pretrained(subject: Subject) -> dict[str, Any]:
    """Fine-tuning, as in configs/dogs-vs-cats-gpu.yaml."""
    return {
        "data": {"image_size": SHOWN_AT},
        "model": {"name": NETWORK, "weights": "timm", "options": {"drop_path_rate": 0.1}},
        "train": {
            "epochs": int(np.clip(100_000 / subject.learned, 4, 20)), "sizes": [[0, TRAINED_AT]],
            "learning_rate": 2.0e-4, "head_learning_rate": 1.0e-3, "layer_decay": 0.8,
            "schedule": "cosine", "warmup_epochs": 0.5,
        },
    }  # fmt: skip


def _from_random_weights(subject: Subject) -> dict[str, Any]:
    size = subject.side(224 if subject.on_gpu else CPU_LARGEST)
    epochs = 20 if subject.on_gpu else int(np.clip(CPU_IMAGES / subject.learned, 5, 40))
    rising = round(epochs * 0.3, 1)
    return {
        "data": {"image_size": size} | ({"cache_size": round(size * 8 / 7)} if size >= SMALL else {}),
        "model": subject.own_network({"stem": "auto"}),
        "train": {"epochs": epochs, "learning_rate": 2.0e-3, "schedule": "one_cycle", "warmup_epochs": rising},
    }


def _sides(inventory: Inventory, competition: Competition, reading: Case) -> tuple[list[int], int]:
    """(the shorter sides of some training pictures, how many training pictures there are)"""
    files = competition.files.roles()
    entries = inventory.of(files["train"][0])
    if competition.labels.layout == "idx":
        count, height, width = parse_idx(entries[0].read(""), entries[0].role).shape
        return [min(height, width)], count
    if competition.labels.layout == "pixels-csv":
        return [math.isqrt(num_pixels(entries[0].head()))], len(entries[0].table())
    if competition.labels.pixel_shape is not None:
        return [min(competition.labels.pixel_shape)], sum(len(entry.pictures) for entry in entries)
    pictures = [(entry, picture) for entry in entries for picture in entry.pictures]
    if not pictures:
        kinds = ", ".join(sorted(EXTENSIONS))
        raise KitError(f"files.train: {spelled([files['train'][0]])} holds no picture that the kit reads ({kinds})")
    places = np.linspace(0, len(pictures) - 1, min(LOOKED_AT, len(pictures))).astype(int)
    sizes = [size for place in places if (size := pictures[place][0].size_of(pictures[place][1])) is not None]
    shared = files["train"] == files.get("test") and reading.table is not None
    return [min(size) for size in sizes], len(reading.table) if shared and reading.table is not None else len(pictures)
