"""What a Kaggler would use instead of the kit, each by its own recipe; run by benchmarks/peers.py, without the kit.

    python benchmarks/peer_arms.py fastai|timm FOLDER WEIGHTS SECONDS PRECISION

FOLDER holds train/<class>/*.jpg and valid/<class>/*.jpg, WEIGHTS is tf_efficientnet_lite0 as .safetensors. As many
epochs as fit into SECONDS, by the speed of a few batches before the clock starts; after each one JSON line on standard
output: seconds, log_loss, accuracy, all on valid/.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

MODEL, SIZE, BATCH = "tf_efficientnet_lite0", 224, 64
TRIED = 5  # batches that the speed is taken of, after a first
VALIDATION = 0.3  # of the time of training on the same pictures, about
Tell = Callable[[float, float], None]  # log loss, accuracy


def number_of(kind: str, folder: Path) -> int:
    return sum(1 for _ in (folder / kind).glob("*/*.jpg"))


def fitting(seconds: float, a_batch: float, folder: Path, already: float = 0.0) -> int:
    """Epochs that fit, at least one."""
    each = a_batch * (number_of("train", folder) + VALIDATION * number_of("valid", folder)) / BATCH
    return max(1, round((seconds - already * each) / each))


def fastai(folder: Path, weights: str, seconds: float, precision: str, start: Callable[[], Tell]) -> None:
    """The quick start of its documentation: `vision_learner(...).fine_tune(epochs)`, in fp32."""
    import fastai.vision.all as fa

    def learner() -> Any:
        loaders = fa.ImageDataLoaders.from_folder(
            folder, train="train", valid="valid", item_tfms=fa.Resize(SIZE), batch_tfms=fa.aug_transforms(), bs=BATCH,
            device=torch.device("cpu"),
        )  # fmt: skip
        overlay = {"file": weights}
        return fa.vision_learner(loaders, MODEL, metrics=fa.accuracy, pretrained_cfg_overlay=overlay)

    class Trial(fa.Callback):
        def after_batch(self) -> None:
            self.times = [*getattr(self, "times", []), time.perf_counter()]
            if len(self.times) > TRIED:
                raise fa.CancelFitException

    class Report(fa.Callback):
        order = 60  # after the recorder

        def after_epoch(self) -> None:
            tell(*self.recorder.values[-1][1:3])

    trial, tried = learner(), Trial()
    trial.unfreeze()
    with trial.no_logging():
        trial.fit(1, cbs=[tried])
    a_batch = (tried.times[-1] - tried.times[0]) / TRIED
    tell = start()
    chosen = learner()
    with chosen.no_bar():
        chosen.fine_tune(fitting(seconds, a_batch, folder, already=0.5), cbs=[Report()])  # a frozen epoch: about half


def timm(folder: Path, weights: str, seconds: float, precision: str, start: Callable[[], Tell]) -> None:
    """Its loaders, optimizer, scheduler and EMA, strung together; bf16 where the kit computes in it."""
    from timm import create_model
    from timm.data import create_dataset, create_loader, resolve_data_config
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2
    from timm.utils import ModelEmaV3

    device, bf16 = torch.device("cpu"), precision == "bf16"
    rate, decay = 3e-4, 0.05

    def made() -> tuple[Any, Any, Any]:
        model = create_model(MODEL, pretrained=True, pretrained_cfg_overlay={"file": weights}, num_classes=2)
        model = model.to(memory_format=torch.channels_last)
        config = resolve_data_config({}, model=model)
        shared = {
            "input_size": config["input_size"], "batch_size": BATCH, "interpolation": config["interpolation"],
            "mean": config["mean"], "std": config["std"], "num_workers": 2, "device": device,
        }  # fmt: skip
        loaders = [
            create_loader(create_dataset("", root=str(folder / "train"), is_training=True), is_training=True,
                          scale=(0.35, 1.0), **shared),
            create_loader(create_dataset("", root=str(folder / "valid")), crop_pct=1.0, **shared),
        ]  # fmt: skip
        optimizer = create_optimizer_v2(model, opt="adamw", lr=rate, weight_decay=decay, layer_decay=0.75)
        return model, loaders, optimizer

    def trained(model: Any, loader: Any, optimizer: Any) -> Iterator[int]:
        model.train()
        for number, (images, targets) in enumerate(loader):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = F.cross_entropy(model(images.contiguous(memory_format=torch.channels_last)).float(), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield number

    model, (training, _), optimizer = made()
    times = [time.perf_counter() for _ in zip(range(TRIED + 1), trained(model, training, optimizer), strict=False)]
    epochs = fitting(seconds, (times[-1] - times[0]) / TRIED, folder)
    tell = start()
    model, (training, validation), optimizer = made()
    average = ModelEmaV3(model, decay=0.9998, use_warmup=True, device=device)
    steps = len(training)
    schedule, _ = create_scheduler_v2(
        optimizer, sched="cosine", num_epochs=epochs, warmup_epochs=0, step_on_epochs=False, updates_per_epoch=steps
    )
    for epoch in range(epochs):
        for number in trained(model, training, optimizer):
            done = epoch * steps + number + 1
            average.update(model, step=done)
            schedule.step_update(done)
        tell(*scores(average.module, validation))


@torch.no_grad()
def scores(model: Any, loader: Any) -> tuple[float, float]:
    """(log loss, accuracy)"""
    model.eval()
    loss, right, count = 0.0, 0, 0
    for images, targets in loader:
        logits = model(images.contiguous(memory_format=torch.channels_last))
        loss += float(F.cross_entropy(logits, targets, reduction="sum"))
        right += int((logits.argmax(1) == targets).sum())
        count += len(targets)
    return loss / count, right / count


def main() -> None:
    arm, folder, weights, seconds, precision = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever the libraries print

    def start() -> Tell:
        began = time.perf_counter()

        def tell(log_loss: float, accuracy: float) -> None:
            line = {"seconds": time.perf_counter() - began, "log_loss": float(log_loss), "accuracy": float(accuracy)}
            print(json.dumps(line), file=answers, flush=True)

        return tell

    torch.manual_seed(0)
    {"fastai": fastai, "timm": timm}[arm](Path(folder), weights, float(seconds), precision, start)


if __name__ == "__main__":
    main()
