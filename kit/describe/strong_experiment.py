"""The experiment for the leaderboard: it trains longer, from published weights where there are any, by what the recipes
of configs/ and benchmarks/RESULTS.md taught."""

from typing import Any

import numpy as np

from kit.describe.first_experiment import SMALL, Subject, crops_from
from kit.device.accelerator import default_device
from kit.errors import ConfigError, examples
from kit.workspace import expanded

GPU_NETWORK, GPU_SHOWN_AT, GPU_IMAGES = "convnext_small.in12k_ft_in1k", 320, 250_000
CPU_NETWORK, CPU_SHOWN_AT, CPU_IMAGES = "tf_efficientnet_lite0", 224, 60_000
WEIGHTS = {".safetensors", ".pth"}
RANDOM_LARGEST, RANDOM_IMAGES = 128, 800_000  # pixels a side on a CPU; training images in all epochs of a fold


def strong_experiment(subject: Subject, name: str, weights: str | None) -> dict[str, Any]:
    """An experiment's mapping. `weights`: `timm` (it downloads them), `none`, a file named like its network in timm, or
    a folder of such files; None: `timm`, or `none` for small pictures. Raises `ConfigError` where timm has no such
    network."""
    if weights is None:
        weights = "none" if subject.is_small else "timm"
    return _random(subject, name) if weights == "none" else _published(subject, name, weights)


def _published(subject: Subject, name: str, weights: str) -> dict[str, Any]:
    network, shown, images = GPU_NETWORK, GPU_SHOWN_AT, GPU_IMAGES
    if not subject.on_gpu:
        network, shown, images = CPU_NETWORK, CPU_SHOWN_AT, CPU_IMAGES
    shown = min(shown, max(2 * SMALL, 2 * subject.side(shown)))  # enlarged twice at most: more is blurred, and slow
    sizes = [[0, shown * 6 // 7 // 16 * 16]]
    if named := network_of(weights, network):
        from kit.models.pretrained import fixed_size

        network, fixed = named, fixed_size(named)
        shown, sizes = (fixed, []) if fixed else (shown, sizes)
    made = {
        "data": {"image_size": shown},
        "model": {"name": f"timm:{network}", "weights": weights},
        "train": {
            "epochs": int(np.clip(images / subject.learned, 4, 30)), "sizes": sizes,
            "freeze_epochs": 1, "learning_rate": 1.5e-4, "head_learning_rate": 1.5e-3, "layer_decay": 0.8,
            "freeze_norms": True, "schedule": "one_cycle", "warmup_epochs": 1,
        },
        "tta": {"views": ["identity", "hflip"]},
    }  # fmt: skip
    return subject.experiment(name, made, crops_from(0.6, 0.8))


def network_of(weights: str, usual: str | None = None) -> str | None:
    """timm's name of a file's network, which is the file's; of a folder's files the `usual` one (this machine's), or
    the only one. None for `timm` and `none`. Raises `ConfigError`."""
    if weights in {"timm", "none"}:
        return None
    from kit.models.pretrained import require_timm

    path, usual = expanded(weights), usual or (CPU_NETWORK if default_device().type == "cpu" else GPU_NETWORK)
    if not path.exists():
        kinds = "timm, none, or a .safetensors or .pth file (or a folder of them)"
        raise ConfigError(f"--weights {weights}: no such file; expected {kinds}")
    names = [path.stem]
    if path.is_dir():
        names = sorted({file.stem for file in path.iterdir() if file.suffix in WEIGHTS})
        names = [name for name in names if name in {usual, usual.partition(".")[0]}][:1] or names
    if len(names) != 1:
        held = examples(names) if names else "no .safetensors or .pth file"
        raise ConfigError(f"--weights {weights}: holds {held}; expected {usual}, or name a file")
    try:
        require_timm(names[0])
    except ConfigError as error:
        raise ConfigError(f"--weights {weights}: the file should bear its network's name; {error}") from None
    return names[0]


def _random(subject: Subject, name: str) -> dict[str, Any]:
    """Our own network from random weights, for more epochs. Large pictures come at sizes that rise, and mixed; small
    ones get a hole instead, as a part of a digit or letter may be another one."""
    size = subject.side(224 if subject.on_gpu else RANDOM_LARGEST)
    epochs = int(np.clip((2 if subject.on_gpu else 1) * RANDOM_IMAGES / subject.learned, 12, 100))
    options = {"stem": "small"} if size <= 64 else {"stem": "deep", "shortcut": "average"}
    made: dict[str, Any] = {
        "data": {"image_size": size},
        "model": subject.own_network(options),
        "train": {
            "epochs": epochs, "learning_rate": 2.0e-3, "weight_decay": 0.05, "schedule": "one_cycle",
            "warmup_epochs": round(epochs * 0.15, 1),
        },
    }  # fmt: skip
    if subject.is_small:
        made["tta"] = {"views": ["identity", {"scale": 1.0625, "crop": "center"}]}
        turned = {"Affine": {"scale": [0.85, 1.15], "rotate": [-12, 12], "translate_percent": 0.1}}
        hole = {"num_holes_range": [1, 1], "hole_height_range": [0.15, 0.4], "hole_width_range": [0.15, 0.4], "p": 0.5}
        return subject.experiment(name, made, [turned, {"CoarseDropout": hole}])
    if subject.competition.task == "classes" and subject.competition.columns is None:  # columns cannot be mixed
        made["train"] |= {"cutmix": 1.0, "unmixed_epochs": round(epochs * 0.18)}
    made["data"]["cache_size"] = round(size * 8 / 7)
    parts = ((0, 5 / 8), (0.35, 3 / 4), (0.8, 7 / 8))  # of the epochs, of the size
    made["train"]["sizes"] = [[round(epochs * begins), round(size * part)] for begins, part in parts]
    made["tta"] = {"views": ["identity", "hflip"]}
    return subject.experiment(name, made, crops_from(0.35, 0.75))
