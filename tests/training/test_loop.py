"""The loop: it learns in every precision, stops where told, and goes on to the same bits."""

import dataclasses
import json
import time

import numpy as np
import pytest
import torch
from machine import DEVICE
from torch.nn import functional as F

from kit.batch import Batch
from kit.device.precision import Compute, Precision
from kit.errors import KitError
from kit.metrics import ACCURACY
from kit.models import build_classifier
from kit.settings import Model, Train
from kit.tasks import Outputs
from kit.tracking import LISTENERS
from kit.training.checkpoint import load_model
from kit.training.ema import EMA, running_mean
from kit.training.guards import refuse_broken
from kit.training.history import history_of_kept
from kit.training.loop import Feed, OutOfTime, Output, fit
from kit.training.losses import build_loss
from kit.training.step import Objective, Stepper

FP32 = Precision("fp32", "contiguous")


def _data() -> tuple[torch.Tensor, torch.Tensor]:
    """Bright pictures against dark ones."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(64) % 2
    pixels = torch.randint(0, 100, (64, 3, 32, 32), generator=generator) + 120 * targets.view(-1, 1, 1, 1)
    return pixels.to(torch.uint8), targets


def _feed(poison: int | None = None) -> Feed:
    pixels, targets = _data()

    def batches(epoch: int, start: int):
        order = torch.from_numpy(np.random.default_rng(epoch).permutation(64))
        for step in range(start, 4):
            rows = order[step * 16 : step * 16 + 16]
            images = pixels[rows].float()
            if poison is not None and step == poison:
                images[0] = float("nan")
            yield Batch(images, targets[rows], rows)

    return Feed(
        4, 64, batches, lambda: [Batch(pixels, targets, torch.arange(64))], ACCURACY,
        lambda rows: [f"image{row}" for row in rows],
    )  # fmt: skip


def _model() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_classifier(Model("resnet18", options={"width": 0.125, "dropout": 0.2}), Outputs(2))


def _fit(folder, train: Train, feed: Feed | None = None, precision: Precision = FP32, **more):
    """`more`: `deadline`, and fields of `Output`."""
    folder.mkdir(exist_ok=True)
    model, deadline = _model(), more.pop("deadline", None)
    objective = Objective(build_loss(Outputs(2), train, _data()[1].numpy()), F.cross_entropy, model.activate)
    stepper = Stepper.prepare(model, train, objective, Compute(DEVICE, precision), (0, 0))
    listeners = [make(folder / "metrics.jsonl") for make in LISTENERS]
    facts = {"classes": ["a", "b"]}
    output = Output("test", folder / "last.ckpt", folder / "model.safetensors", facts, listeners=listeners)
    return fit(stepper, feed or _feed(), dataclasses.replace(output, **more), deadline)


QUICK = {"epochs": 3, "batch_size": 16, "warmup_epochs": 0.5, "learning_rate": 5e-3, "ema_decay": 0.9}


@pytest.mark.parametrize(
    "precision", [FP32, Precision("bf16", "channels_last"), Precision("fp16", "contiguous")], ids=lambda p: p.name
)
def test_it_learns_in_every_precision(tmp_path, precision):
    history = _fit(tmp_path, Train(**QUICK), precision=precision)
    assert history[-1]["valid_accuracy"] == 1.0
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    weights, facts = load_model(tmp_path / "model.safetensors")
    assert facts["classes"] == ["a", "b"]
    assert all(torch.isfinite(value).all() for value in weights.values())


@pytest.mark.parametrize(("optimizer", "rate"), [("adamw", 5e-3), ("adam", 5e-3), ("sgd", 0.05)])
@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "step", "constant"])
def test_every_optimizer_learns_with_every_schedule(tmp_path, optimizer, rate, schedule):
    """The rates that were used are the schedule's own, and the two kinds of pictures are told apart."""
    train = Train(
        **{**QUICK, "epochs": 4, "learning_rate": rate}, optimizer=optimizer, schedule=schedule, step_epochs=(3,),
        clip_grad_norm=1.0, accumulate_steps=2, label_smoothing=0.1,
    )  # fmt: skip
    history = _fit(tmp_path, train)
    assert history[-1]["valid_accuracy"] > 0.9
    assert history[-1]["train_loss"] < 0.8 * history[0]["train_loss"]
    last = history[-1]["learning_rate"] / rate
    assert last == pytest.approx({"cosine": 0, "one_cycle": 1e-4, "step": 0.1, "constant": 1}[schedule], abs=1e-9)


def test_a_line_an_epoch(tmp_path):
    _fit(tmp_path, Train(**QUICK))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert set(lines[0]) == {
        "epoch", "seconds", "images_per_second", "learning_rate", "train_loss", "valid_loss", "valid_accuracy",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("accumulate", "precision"),
    [(1, FP32), (2, FP32), (1, Precision("bf16", "channels_last")), (1, Precision("fp16", "contiguous"))],
)
def test_stopped_anywhere_it_ends_with_the_same_bits(tmp_path, accumulate, precision):
    train = Train(**QUICK, accumulate_steps=accumulate)
    _fit(tmp_path / "whole", train, precision=precision, checkpoint_minutes=1e-9)
    for _ in range(40):  # a deadline that is always over: one step at a time
        try:
            _fit(
                tmp_path / "pieces", train, precision=precision, deadline=time.monotonic() - 1, checkpoint_minutes=1e-9
            )
            break
        except OutOfTime:
            pass
    whole, pieces = (load_model(tmp_path / name / "model.safetensors")[0] for name in ("whole", "pieces"))
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)
    losses = [
        [json.loads(line)["train_loss"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "pieces")
    ]
    assert losses[0] == losses[1]


def test_a_loss_that_is_not_finite_names_the_images_and_keeps_the_checkpoint(tmp_path):
    _fit(tmp_path, Train(**{**QUICK, "epochs": 1}))
    saved = (tmp_path / "last.ckpt").read_bytes()
    with pytest.raises(KitError, match=r"the loss became nan in epoch 2, batch 3, on image\d+, .*lower train"):
        _fit(tmp_path, Train(**QUICK), _feed(poison=2))
    assert (tmp_path / "last.ckpt").read_bytes() == saved


def test_best_keeps_the_best_epochs_weights_and_last_the_last(tmp_path):
    train = Train(**{**QUICK, "epochs": 6, "learning_rate": 0.05, "schedule": "constant", "ema_decay": None})
    history = _fit(tmp_path, Train(**{**vars(train), "select": "best"}))
    weights, _ = load_model(tmp_path / "model.safetensors")
    model = _model()
    model.load_state_dict(weights)
    pixels, targets = _data()
    loss = torch.nn.functional.cross_entropy(model.eval()(pixels), targets).item()
    assert loss == pytest.approx(min(line["valid_loss"] for line in history), rel=1e-4)


def test_early_stopping(tmp_path):
    train = Train(**{**QUICK, "epochs": 50, "learning_rate": 1e-8, "ema_decay": None}, early_stopping=2)
    losses = [line["valid_loss"] for line in _fit(tmp_path, train)]
    assert len(losses) < 50
    assert losses.index(min(losses)) == len(losses) - 3


def test_an_epochs_last_update_is_the_mean_of_what_is_left(tmp_path):
    """Four batches by fours, or by eights: one update an epoch, the same."""
    train = {**QUICK, "optimizer": "sgd"}
    weights = []
    for count in (4, 8):
        _fit(tmp_path / str(count), Train(**train, accumulate_steps=count))
        weights.append(load_model(tmp_path / str(count) / "model.safetensors")[0])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_a_damaged_checkpoint_is_said(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"cut")
    with pytest.raises(KitError, match=r"last\.ckpt: damaged .*delete it"):
        _fit(tmp_path, Train(**QUICK))


def test_best_without_a_validation_is_the_last(tmp_path):
    feed = dataclasses.replace(_feed(), validation=None)
    assert len(_fit(tmp_path, Train(**{**QUICK, "select": "best"}), feed)) == 3
    assert (tmp_path / "model.safetensors").exists()


def test_broken_weights_never_replace_a_good_checkpoint(tmp_path):
    settings = {**QUICK, "optimizer": "sgd", "schedule": "constant", "warmup_epochs": 0}
    _fit(tmp_path, Train(**{**settings, "epochs": 1}))
    saved = (tmp_path / "last.ckpt").read_bytes()
    with pytest.raises(KitError, match=r"became"):
        _fit(tmp_path, Train(**{**settings, "learning_rate": 1e30}))
    assert (tmp_path / "last.ckpt").read_bytes() == saved


def test_the_score_that_is_told_is_of_the_epoch_that_is_kept():
    history = [{"epoch": number, "valid_loss": loss} for number, loss in ((1, 0.5), (2, 0.3), (3, 0.4))]
    assert history_of_kept(history, Train(select="best"))["epoch"] == 2
    assert history_of_kept(history, Train())["epoch"] == 3
    assert history_of_kept([{"epoch": 1, "valid_loss": None}], Train(select="best"))["epoch"] == 1, "--fold full"


def test_listeners_hear_of_every_epoch_and_once_more_when_it_goes_on(tmp_path):
    heard = []
    _fit(tmp_path, Train(**{**QUICK, "epochs": 2}), listeners=[heard.append])
    assert [(epoch.history[-1]["epoch"], epoch.again) for epoch in heard] == [(1, False), (2, False)]
    _fit(tmp_path, Train(**QUICK), listeners=[heard.append])
    assert [(epoch.history[-1]["epoch"], epoch.again) for epoch in heard[2:]] == [(2, True), (3, False)]
    assert [line["epoch"] for line in heard[-1].history] == [1, 2, 3]


def test_a_listener_that_fails_costs_no_training(tmp_path, capsys):
    heard = []

    def tracker(epoch):
        heard.append(len(epoch.history))
        raise ConnectionError("the tracker is down")

    history = _fit(tmp_path, Train(**QUICK), listeners=[tracker, LISTENERS[0](tmp_path / "metrics.jsonl")])
    assert heard == [1], "it is left out after its first failure"
    assert len(history) == len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3
    assert "goes on without it: the tracker is down" in "".join(capsys.readouterr())


def _whole_as_in_pieces(folder, train: Train) -> dict[str, torch.Tensor]:
    """The weights of a training; one that is stopped at every checkpoint has the same."""
    _fit(folder / "whole", train)
    for _ in range(40):
        try:
            _fit(folder / "pieces", train, deadline=time.monotonic() - 1)
        except OutOfTime:
            continue
        break
    whole, pieces = (load_model(folder / name / "model.safetensors")[0] for name in ("whole", "pieces"))
    assert all(torch.equal(value, pieces[name]) for name, value in whole.items())
    return whole


def test_a_frozen_start_resumes_to_the_same_bits(tmp_path):
    """Killed while only the head learns: the rest goes on as it would have."""
    train = Train(**{**QUICK, "epochs": 4, "freeze_epochs": 2, "layer_decay": 0.7})
    whole = _whole_as_in_pieces(tmp_path, train)
    first, moved = _model().state_dict()["network.conv1.weight"], whole["network.conv1.weight"]
    assert not torch.equal(first, moved), "after the frozen epochs it learns"


def test_averaged_weights_are_of_the_last_epochs_and_resume(tmp_path, monkeypatch):
    train = Train(**{**QUICK, "epochs": 4, "select": "average", "average_epochs": 2, "ema_decay": None})
    seen = []

    def watched(mean, values, count):
        seen.append(values["network.fc.weight"].clone())
        return running_mean(mean, values, count)

    monkeypatch.setattr("kit.training.loop.running_mean", watched)
    whole = _whole_as_in_pieces(tmp_path, train)
    assert len(seen) == 4, "two epochs of each training"
    assert not torch.equal(seen[0], seen[1])
    assert torch.allclose(whole["network.fc.weight"], (seen[0].cpu() + seen[1].cpu()) / 2, atol=1e-6)


def _overflowing(epochs: set[int]):
    """A feed whose validation pictures are infinite in these epochs (as an activation is that fp16 cannot hold)."""
    feed, told = _feed(), iter(range(100))

    def validation():
        batch = next(iter(feed.validation()))
        bad = next(told) in epochs
        return [dataclasses.replace(batch, pixels=batch.pixels.float() * (float("inf") if bad else 1.0))]

    return dataclasses.replace(feed, validation=validation)


def test_an_epoch_whose_predictions_are_nan_is_neither_the_best_nor_the_end(tmp_path, capsys):
    train = Train(**QUICK | {"epochs": 4}, select="best", early_stopping=3)
    history = _fit(tmp_path, train, feed=_overflowing({0}))
    assert len(history) == 4
    assert np.isnan(history[0]["valid_loss"])
    assert history_of_kept(history, train)["epoch"] > 1
    assert (tmp_path / "model.safetensors").is_file()
    assert "64 of 64 predictions are nan" in "".join(capsys.readouterr())


def test_weights_that_predict_nan_are_not_kept(tmp_path):
    with pytest.raises(KitError, match=r"test: the weights that would be kept predict nan; .*machine\.precision=fp32"):
        _fit(tmp_path, Train(**QUICK), feed=_overflowing({2}))
    assert not (tmp_path / "model.safetensors").exists()


def test_weights_whose_loss_is_infinite_are_not_kept(tmp_path):
    objective = "kit.training.loop._Training.validate"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objective, lambda *_: (float("inf"), 0.5))
        with pytest.raises(KitError, match="test: the weights that would be kept predict inf"):
            _fit(tmp_path, Train(**QUICK))
    assert not (tmp_path / "model.safetensors").exists()


def test_infinite_statistics_are_no_good_checkpoint():
    model = _model()
    refuse_broken(model)
    model.network.bn1.running_var.fill_(float("inf"))
    with pytest.raises(KitError, match="the weights became NaN or infinite"):
        refuse_broken(model)


def test_updates_that_fp16_left_out_are_not_counted(tmp_path):
    """The first loss scale is far too high for a loss this large, so the first updates are left out."""
    counted = []

    class Counting(EMA):
        def update(self, step):
            counted.append(step)
            super().update(step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kit.training.loop.EMA", Counting)
        patch.setattr("kit.device.precision.Compute.scaler", lambda _: torch.amp.GradScaler("cpu", init_scale=2.0**40))
        _fit(tmp_path, Train(**QUICK), precision=Precision("fp16", "contiguous"))
    assert len(counted) == 12
    skipped = 12 - counted[-1]
    assert skipped > 3, "2^40 overflows, and each halving is one update less"
    assert counted == sorted(counted)
