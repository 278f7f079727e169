"""A device without data: every hidden read on the host raises there, and so does every mixture of devices.

Autocast, loss scaling and fused optimizers are plain here, so this shows placement and waiting, not numbers."""

import contextlib

import numpy as np
import pytest
import torch
from batches import batch_of
from torch.nn import functional as F

from kit import console
from kit.batch import Batch
from kit.device.precision import Compute, Precision
from kit.inference import predictor
from kit.inference.views import ViewSet, expand
from kit.metrics import ACCURACY
from kit.models import build_classifier
from kit.settings import Model, Train
from kit.tasks import Outputs
from kit.training import loop
from kit.training.loop import Feed, Output
from kit.training.losses import build_loss
from kit.training.step import Objective, Stepper

META = torch.device("meta")
STEPS = 12


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setattr(Compute, "autocast", lambda _: contextlib.nullcontext())
    for name in ("AdamW", "SGD"):
        kind = getattr(torch.optim, name)
        monkeypatch.setattr(torch.optim, name, lambda *a, kind=kind, fused=None, **k: kind(*a, foreach=True, **k))


def _feed(targets: torch.Tensor) -> Feed:
    pixels, rows = torch.zeros(8, 3, 32, 32, dtype=torch.uint8), torch.arange(8)
    batches = [Batch(pixels, targets, rows)] * STEPS
    return Feed(
        STEPS, 8 * STEPS, lambda _, start: iter(batches[start:]), None, ACCURACY, lambda rows: list(map(str, rows))
    )


@pytest.mark.parametrize("task", ["classes", "labels", "number"])
@pytest.mark.parametrize(
    "train",
    [
        Train(epochs=1, warmup_epochs=0.5, mixup=0.2, clip_grad_norm=1.0, accumulate_steps=2, label_smoothing=0.1),
        Train(epochs=1, warmup_epochs=0, cutmix=1.0, optimizer="sgd", class_weights="balanced", layer_decay=0.8),
    ],
    ids=["mixup", "cutmix"],
)
def test_an_epochs_steps_read_nothing_from_the_device(tmp_path, monkeypatch, task, train):
    """All losses of the epoch are read at once, behind its last step."""
    if task == "number" and train.class_weights != "none":
        pytest.skip("a number has no classes")
    reads = []
    monkeypatch.setattr(loop.Losses, "read", lambda self, total: (reads.append(len(self._waiting)), total)[1])
    outputs = Outputs(1 if task == "number" else 3, task)
    seen = {"classes": np.arange(8) % 3, "labels": np.ones((8, 3), np.float32), "number": np.ones((8, 1), np.float32)}[
        task
    ]
    model = build_classifier(Model("resnet18", options={"width": 0.125, "dropout": 0.1}), outputs)
    objective = Objective(build_loss(outputs, train, seen), F.mse_loss, model.activate)
    stepper = Stepper.prepare(model, train, objective, Compute(META, Precision("fp32", "channels_last")), (0, 0))
    output = Output("test", tmp_path / "last.ckpt", tmp_path / "model.safetensors")
    training = loop._Training(stepper, _feed(torch.from_numpy(seen)), output, None)
    with console.progress("test", STEPS) as bar:
        training.train_epoch(bar)
    assert reads == [STEPS]
    assert training.state.updates == STEPS // train.accumulate_steps
    assert all(parameter.is_meta for parameter in training.ema.model.parameters())


@pytest.mark.parametrize("task", ["classes", "number"])
def test_a_prediction_comes_home_in_one_copy_a_batch(monkeypatch, task):
    homes = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: (homes.append(self.device.type), torch.zeros(self.shape))[1])
    monkeypatch.setattr(predictor, "fold_batch_norms", lambda model, _: model.eval())
    outputs = Outputs(1 if task == "number" else 3, task)
    model = build_classifier(Model("resnet18", options={"width": 0.125}), outputs)
    compute = Compute(META, Precision("fp32", "channels_last"))
    ready = predictor.prepare(model, model.activate, compute, torch.zeros(2, 3, 40, 40))
    views = ViewSet(tuple(expand(["identity", "hflip", "five_crop"])), 32)
    batches = [batch_of(torch.zeros(4, 3, 40, 40, dtype=torch.uint8))] * 3
    made = predictor.predict([ready, ready], batches, views)
    assert made.shape[:2] == (2, 12)
    assert homes == ["meta"] * 6, "each model's each batch, after the mean over its views"
