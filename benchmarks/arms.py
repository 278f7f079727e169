"""One arm of benchmarks/training.py: trains on request and says how fast.

    python benchmarks/arms.py ARM CASE FOLDER

FOLDER holds train/<class>/*.jpg and, for the kit, workspace/. Reads a number of batches from standard input, answers
with one line, `images/s`, and waits for the next. Every arm: the same network and initial weights (seed 0), batch 64,
AdamW, cross-entropy, random resized crop (0.5 to 1) and flip. A measurement begins after a few batches, so that
workers and buffers are filled.
"""

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from kit.allocator import keep_freed_memory

BATCH, SKIPPED, RATE, DECAY = 64, 6, 1e-3, 0.05
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
Measure = Callable[[int], float]


@dataclass(frozen=True)
class Case:
    model: str
    size: int
    cache_size: int
    options: tuple[tuple[str, str], ...] = ()


CASES = {
    "resnet18-96": Case("resnet18", 96, 112),
    "resnet50-96": Case("resnet50", 96, 112),
    "resnet18-small-64": Case("resnet18", 64, 72, (("stem", "small"),)),
    "efficientnet-lite0-128": Case("timm:tf_efficientnet_lite0", 128, 128),
    "resnet18-96-photos": Case("resnet18", 96, 112),
}


def network(case: Case) -> nn.Module:
    from kit.models import build_model

    torch.manual_seed(0)
    return build_model(case.model, 2, **dict(case.options))


def timed(batches: Iterable[Any], step: Callable[[Any], None], count: int) -> float:
    """Images a second over `count` batches, after the first few."""
    began = 0.0
    for number, batch in enumerate(batches):
        if number == SKIPPED:
            began = time.perf_counter()
        step(batch)
        if number + 1 == SKIPPED + count:
            return count * BATCH / (time.perf_counter() - began)
    raise SystemExit("too few images for this measurement")


def stepper(model: nn.Module, bf16: bool, layout: torch.memory_format, fused: bool = False) -> Callable[[Any], None]:
    """forward + backward + step of (images, targets)."""
    model = model.to(memory_format=layout).train()
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY, fused=fused)

    def step(batch: Any) -> None:
        images, targets = batch
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(model(images.contiguous(memory_format=layout)).float(), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def limit(case: Case, folder: Path) -> Measure:
    """One batch that is there already, normalised, in the number format and layout that the kit chose, memory kept."""
    chosen = kit_run(case, folder)[0].experiment.machine
    layout = torch.channels_last if chosen.memory_format == "channels_last" else torch.contiguous_format
    step = stepper(network(case), chosen.precision == "bf16", layout, fused=True)
    images = torch.randn(BATCH, 3, case.size, case.size).contiguous(memory_format=layout)
    targets = torch.arange(BATCH) % 2
    return lambda count: timed(((images, targets) for _ in range(SKIPPED + count)), step, count)


def kit_run(case: Case, folder: Path) -> tuple[Any, float]:
    """(a trial of the kit on the CPU, the network's images/s), precision settled."""
    from kit import Experiment, Run
    from kit.run.network import initial_model
    from kit.run.settling import settle_training

    options = "".join(f"model.options.{key}={value} " for key, value in case.options).split()
    settings = [
        f"data.image_size={case.size}", f"data.cache_size={case.cache_size}", f"model.name={case.model}", *options,
        f"train.batch_size={BATCH}", f"train.learning_rate={RATE}", f"train.weight_decay={DECAY}",
        "train.ema_decay=null", "train.epochs=1", "train.warmup_epochs=0", "train.schedule=constant",
        "augment=[{RandomResizedCrop: {scale: [0.5, 1.0], ratio: [0.75, 1.3333]}}, {HorizontalFlip: {p: 0.5}}]",
    ]  # fmt: skip
    experiment = Experiment.load(folder / "experiment.yaml", settings)
    run = Run.open(experiment, folder / "workspace").trial()
    run.device = torch.device("cpu")
    settled = settle_training(run, initial_model(run), 10_000)
    run.settle(settled.experiment)
    return run, settled.images_per_second


def kit(case: Case, folder: Path, cold: bool = False) -> Measure:
    """The kit's own loop; `cold`: the pixel cache is built within the time, for as many images as are trained on."""
    import tempfile

    import numpy as np

    from kit.data.cache import pixel_cache
    from kit.data.table import readable, targets
    from kit.run.network import Networks
    from kit.run.samples import Samples
    from kit.training.loop import Output, fit

    trial, network_speed = kit_run(case, folder)
    table, competition, workspace = trial.index, trial.competition, trial.workspace
    raw, cache = workspace.raw(competition.name), workspace.cache(competition.name)

    def measure(count: int) -> float:
        index = table.iloc[: count * BATCH] if cold else table
        if cold:
            for old in cache.glob(f"{case.cache_size}-*.npy"):
                old.unlink()
        began = time.perf_counter()
        paths, md5 = [raw / path for path in index["path"]], index["md5"].where(readable(index), "").tolist()
        pixels = pixel_cache(trial.cache, paths, md5, case.cache_size, trial.experiment.data.resize)
        building = time.perf_counter() - began
        trial.refresh()
        trial.samples = Samples.plain(index, np.zeros(len(index), np.int64), pixels, targets(index, competition))
        networks, fold = Networks(trial), trial.fold("full")  # it trains on all of them
        networks.num_workers = networks.workers(fold, network_speed)
        whole = networks.feed(fold)

        def speed(steps: int) -> float:
            short = replace(whole, num_steps=steps, num_images=steps * BATCH)
            short = replace(short, batches=lambda epoch, _: first(whole.batches(epoch, 0), steps))
            with tempfile.TemporaryDirectory() as place:
                output = Output("", Path(place) / "state", Path(place) / "model", checkpoint_minutes=1000)
                return fit(networks.stepper(fold), short, output)[0]["images_per_second"]

        if not cold:
            speed(SKIPPED)
        found = speed(count)
        return count * BATCH / (building + count * BATCH / found) if cold else found

    return measure


def first(batches: Iterable[Any], count: int) -> Iterable[Any]:
    for _, batch in zip(range(count), batches, strict=False):
        yield batch


def plain(case: Case, folder: Path, workers: int) -> Measure:
    """A PyTorch + torchvision script, as its tutorials write it."""
    from torchvision import datasets, transforms

    steps = [
        transforms.RandomResizedCrop(case.size, scale=(0.5, 1.0)), transforms.RandomHorizontalFlip(),
        transforms.ToTensor(), transforms.Normalize(MEAN, STD),
    ]  # fmt: skip
    dataset = datasets.ImageFolder(str(folder / "train"), transforms.Compose(steps))
    step = stepper(network(case), False, torch.contiguous_format)

    def measure(count: int) -> float:
        loader = torch.utils.data.DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, drop_last=True)
        return timed(loader, step, count)

    return measure


def timm(case: Case, folder: Path, workers: int, fast: bool) -> Measure:
    """timm's train.py: its dataset, loader and augmentation; `fast`: --amp --amp-dtype bfloat16 --channels-last."""
    from timm.data import create_dataset, create_loader
    from timm.optim import create_optimizer_v2

    dataset = create_dataset("", root=str(folder / "train"), is_training=True)
    loader = create_loader(
        dataset, input_size=(3, case.size, case.size), batch_size=BATCH, is_training=True, num_workers=workers,
        scale=(0.5, 1.0), hflip=0.5, mean=MEAN, std=STD, device=torch.device("cpu"), color_jitter=None,
        persistent_workers=workers > 0,
    )  # fmt: skip
    layout = torch.channels_last if fast else torch.contiguous_format
    model = network(case).to(memory_format=layout).train()
    optimizer = create_optimizer_v2(model, opt="adamw", lr=RATE, weight_decay=DECAY)

    def step(batch: Any) -> None:
        images, targets = batch
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            loss = F.cross_entropy(model(images.contiguous(memory_format=layout)), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return lambda count: timed(loader, step, count)


def fastai(case: Case, folder: Path, workers: int | None) -> Measure:
    """fastai's Learner; `workers`: none for its own default."""
    from fastai.callback.core import Callback, CancelFitException
    from fastai.data.transforms import Normalize
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper
    from fastai.vision.augment import Flip, RandomResizedCrop
    from fastai.vision.data import ImageDataLoaders

    given = {} if workers is None else {"num_workers": workers}
    loaders = ImageDataLoaders.from_folder(
        folder, train="train", valid="train", bs=BATCH, item_tfms=RandomResizedCrop(case.size, min_scale=0.5),
        batch_tfms=[Flip(p=0.5), Normalize.from_stats(MEAN, STD)], device=torch.device("cpu"), **given,
    )  # fmt: skip

    class Clock(Callback):
        def __init__(self, count: int) -> None:
            self.count, self.seen, self.began, self.speed = count, 0, 0.0, 0.0

        def after_batch(self) -> None:
            self.seen += 1
            if self.seen == SKIPPED:
                self.began = time.perf_counter()
            if self.seen == SKIPPED + self.count:
                self.speed = self.count * BATCH / (time.perf_counter() - self.began)
                raise CancelFitException

    def optimizer(params: Any, **settings: Any) -> Any:
        return OptimWrapper(params, torch.optim.AdamW, weight_decay=DECAY, lr=RATE)

    learner = Learner(loaders, network(case), loss_func=nn.CrossEntropyLoss(), opt_func=optimizer, metrics=[])

    def measure(count: int) -> float:
        clock = Clock(count)
        with learner.no_logging():
            learner.fit(1, RATE, cbs=[clock])
        return clock.speed

    return measure


ARMS: dict[str, Callable[[Case, Path], Measure]] = {
    "limit": limit,
    "kit warm": kit,
    "kit cold": lambda case, folder: kit(case, folder, cold=True),
    "plain, defaults": lambda case, folder: plain(case, folder, 0),
    "plain, 2 workers": lambda case, folder: plain(case, folder, 2),
    "fastai, defaults": lambda case, folder: fastai(case, folder, None),
    "fastai, 0 workers": lambda case, folder: fastai(case, folder, 0),
    "timm, defaults": lambda case, folder: timm(case, folder, 4, False),
    "timm, bf16 channels_last, 0 workers": lambda case, folder: timm(case, folder, 0, True),
    "timm, bf16 channels_last, 1 worker": lambda case, folder: timm(case, folder, 1, True),
    "timm, bf16 channels_last, 2 workers": lambda case, folder: timm(case, folder, 2, True),
}

if __name__ == "__main__":
    arm, case_name, place = sys.argv[1:]
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever libraries print
    if arm.startswith(("kit", "limit")):
        keep_freed_memory()  # as the kit's console script does
    measure = ARMS[arm](CASES[case_name], Path(place))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(f"{measure(int(line)):.2f}", file=answers, flush=True)
