"""The kit's fine-tuning beside fastai's and timm's: the same photos, fold, weights file, machine and wall-clock.

    python benchmarks/peers.py DIR --fastai PYTHON --timm PYTHON [--photos 6000]

DIR holds dogs-vs-cats/train.zip and weights/tf_efficientnet_lite0.safetensors; PYTHON is an interpreter where that
library is installed (benchmarks/requirements.txt). The kit trains fold 0 of
configs/dogs-vs-cats-features.yaml and configs/dogs-vs-cats-finetune.yaml; the time that both take, with their start and
the cache of pixels, is what each peer gets for as many epochs as fit (benchmarks/peer_arms.py). Prints a table and
draws figures/peers.png: log loss and accuracy on fold 0's own photos, one view, nothing fitted on them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from kit import Experiment, Run, Workspace
from kit.data.folds import read_folds
from kit.data.table import predictions, targets
from kit.metrics import find_metric
from kit.stages.download import download
from kit.stages.index import index
from kit.stages.split import split

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parent / "configs"
SETTINGS = ["competition=dogs-vs-cats", "tta.views=[identity]"]


@dataclass
class Curve:
    """Of one way: seconds since its start, log losses and accuracies at those; `epochs`: of the whole network."""

    seconds: list[float]
    log_losses: list[float]
    accuracies: list[float]
    epochs: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--fastai", required=True)
    parser.add_argument("--timm", required=True)
    parser.add_argument("--photos", type=int, help="fewer, drawn by a seed; all of them otherwise")
    given = parser.parse_args()
    weights = given.data.resolve() / "weights" / "tf_efficientnet_lite0.safetensors"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        run = prepare(given.data / "dogs-vs-cats", folder, given.photos)
        curves = {"kit": kit(folder, weights)}
        precision = Run.named("dogs-vs-cats-finetune", folder).experiment.machine.precision
        for name, python in (("fastai", given.fastai), ("timm", given.timm)):
            curves[name] = peer(name, python, folder, weights, curves["kit"].seconds[-1], precision)
        report(curves, int((run.index["split"] == "train").sum()))


def prepare(source: Path, folder: Path, count: int | None) -> Run:
    """A workspace with the index and the folds; train/<class>/ and valid/<class>/ of fold 0 for the peers."""
    files = folder / "files"
    files.mkdir()
    with zipfile.ZipFile(source / "train.zip") as held, zipfile.ZipFile(files / "train.zip", "w") as kept:
        names = sorted(name for name in held.namelist() if name.endswith(".jpg"))
        if count is not None:
            names = sorted(np.random.default_rng(0).choice(names, count, replace=False))
        for name in names:
            kept.writestr(name, held.read(name))
        with zipfile.ZipFile(files / "test1.zip", "w") as test:  # nobody is timed on it
            test.writestr("test1/1.jpg", held.read(names[0]))
    (files / "sampleSubmission.csv").write_text("id,label\n1,0\n")
    run = Run.open(Experiment.load(CONFIGS / "dogs-vs-cats-finetune.yaml", SETTINGS), Workspace(folder))
    download(run, files)
    index(run)
    split(run)
    raw = run.workspace.raw(run.competition.name)
    folds = read_folds(run.competition_folds, run.index, run.experiment.data.num_folds)
    for row, fold in zip(run.index.itertuples(), folds, strict=True):
        if fold < 0:
            continue
        kind = "valid" if fold == 0 else "train"
        place = folder / kind / row.target_label
        place.mkdir(parents=True, exist_ok=True)
        os.link(raw / row.path, place / Path(row.path).name)
    return run


def kit(folder: Path, weights: Path) -> Curve:
    """The frozen network with its head, then each epoch of fine-tuning; scored when the clock has stopped."""
    spent = [command("train", name, folder, weights) for name in ("features", "finetune")]
    curve = Curve([spent[0]], [], [], 0)
    for name in ("features", "finetune"):
        command("predict", name, folder, weights)
    frozen = Run.named("dogs-vs-cats-features", folder)
    oof = frozen.fold(0).oof()
    wanted, probs = targets(oof, frozen.competition), predictions(oof, frozen.competition)
    curve.log_losses.append(find_metric("log_loss").score(wanted, probs))
    curve.accuracies.append(find_metric("accuracy").score(wanted, probs))
    history = Run.named("dogs-vs-cats-finetune", folder).fold(0).history
    for number, line in enumerate(history):
        left = sum(later["seconds"] for later in history[number + 1 :])
        curve.seconds.append(sum(spent) - left)
        curve.log_losses.append(line["valid_loss"])
        curve.accuracies.append(line["valid_accuracy"])
    curve.epochs = len(history)
    return curve


def command(verb: str, name: str, folder: Path, weights: Path) -> float:
    """Seconds that the command took."""
    settings = [*SETTINGS, f"model.weights={weights}"]
    arguments = [verb, "-c", str(CONFIGS / f"dogs-vs-cats-{name}.yaml"), "--fold", "0", "--workspace", str(folder)]
    arguments += [part for setting in settings for part in ("--set", setting)]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "kit", *arguments], check=True)
    return time.perf_counter() - began


def peer(name: str, python: str, folder: Path, weights: Path, seconds: float, precision: str) -> Curve:
    arguments = [python, str(HERE / "peer_arms.py"), name, str(folder), str(weights), str(seconds), precision]
    done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    seconds, log_losses, accuracies = ([line[key] for line in lines] for key in ("seconds", "log_loss", "accuracy"))
    return Curve(seconds, log_losses, accuracies, len(lines) - (name == "fastai"))  # whose first is of the head


def report(curves: dict[str, Curve], count: int) -> None:
    print("| way | minutes | epochs of the whole network | log loss | accuracy |")
    print("|---|---|---|---|---|")
    for name, curve in curves.items():
        end = f"{curve.log_losses[-1]:.4f} | {curve.accuracies[-1]:.4f}"
        print(f"| {name} | {curve.seconds[-1] / 60:.1f} | {curve.epochs} | {end} |")
    print(json.dumps({name: vars(curve) for name, curve in curves.items()}))
    figure, (above, below) = plt.subplots(1, 2, figsize=(11, 4))
    for number, (name, curve) in enumerate(curves.items()):
        minutes = np.array(curve.seconds) / 60
        above.plot(minutes, curve.log_losses, marker="o", color=f"C{number}", label=name)
        below.plot(minutes, curve.accuracies, marker="o", color=f"C{number}", label=name)
    above.set(xlabel="minutes", ylabel="log loss", yscale="log", title=f"fold 0 of {count:,} photos")
    below.set(xlabel="minutes", ylabel="accuracy")
    above.legend()
    figure.tight_layout()
    figure.savefig(HERE / "figures" / "peers.png", dpi=110)


if __name__ == "__main__":
    main()
