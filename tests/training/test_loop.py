"""The loop: it learns in every precision, stops where told, and goes on to the same bits."""

import dataclasses
import json
import time

import numpy as np
import pytest
import torch
from kit.machine import Precision, Trial, candidates, choose, fastest, is_hopeless, runs_on
from kit.scoring.metrics import score
from kit.training.probe import _first_step, _same_step, probe
from torch.nn import functional as F

from kit.config import Data, Experiment, Train
from kit.errors import KitError
from kit.models import build_classifier
from kit.training import decide as deciding
from kit.training.checkpoint import load_model
from kit.training.ema import running_mean
from kit.training.history import history_of_kept
from kit.training.loop import Feed, OutOfTime, fit
from kit.training.losses import build_loss
from kit.training.step import Objective

CPU = torch.device("cpu")
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
            yield images, targets[rows], rows

    return Feed(
        4, 64, batches, lambda: [(pixels, targets, torch.arange(64))], "accuracy",
        lambda t, p: score("accuracy", t, p), lambda rows: [f"image{row}" for row in rows],
    )  # fmt: skip


def _model() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_classifier("resnet18", 2, {"width": 0.125, "dropout": 0.2})


def _fit(folder, train: Train, feed: Feed | None = None, precision: Precision = FP32, deadline: float | None = None):
    folder.mkdir(exist_ok=True)
    model = _model()
    objective = Objective(build_loss("classes", train, _data()[1].numpy(), 2), F.cross_entropy, model.activate)
    return fit(
        model,
        train,
        objective,
        feed or _feed(),
        folder,
        precision,
        CPU,
        (0, 0),
        {"classes": ["a", "b"]},
        "test",
        deadline,
    )


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


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "step", "constant"])
def test_every_optimizer_with_every_schedule(tmp_path, optimizer, schedule):
    train = Train(
        **{**QUICK, "epochs": 2}, optimizer=optimizer, schedule=schedule, step_epochs=(1,), clip_grad_norm=1.0,
        accumulate_steps=2, label_smoothing=0.1,
    )  # fmt: skip
    assert np.isfinite(_fit(tmp_path, train)[-1]["train_loss"])


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
    train = Train(**QUICK, checkpoint_minutes=1e-9, accumulate_steps=accumulate)
    _fit(tmp_path / "whole", train, precision=precision)
    for _ in range(40):  # a deadline that is always over: one step at a time
        try:
            _fit(tmp_path / "pieces", train, precision=precision, deadline=time.monotonic() - 1)
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
    with pytest.raises(KitError, match=r"the loss became nan in epoch 2 .*image\d+, .*lower train\.learning_rate"):
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


def test_the_probe_measures_and_leaves_the_model_alone():
    model = _model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trials = probe(model, candidates(CPU), 32, 8, 2, CPU)
    assert {trial.precision.name for trial in trials} == {"bf16", "fp32", "fp16"}
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert choose(trials).images_per_second > 0


def test_what_is_timed_is_what_trains(tmp_path, monkeypatch):
    experiment = Experiment(
        "frozen", "digits", data=Data(image_size=64), train=Train(epochs=6, sizes=((0, 32), (5, 64)), freeze_layers=0.5)
    )
    seen = []
    monkeypatch.setattr(deciding, "probe", lambda *given: seen.append(given) or [Trial(FP32, 1.0)])
    model = build_classifier("resnet18", 2, {"width": 0.125})
    deciding.decide(model, experiment, 2, 100, CPU, tmp_path / "speeds.json")
    shown, _options, side, *_, others = seen[0]
    assert side == 32, "most epochs' size"
    assert others == (64,)
    learns = [parameter.requires_grad for parameter in shown.parameters()]
    assert not learns[0]
    assert learns[-1]


def test_near_ties_fall_by_a_fixed_order():
    fast, slow = Trial(Precision("bf16", "channels_last"), 89.0), Trial(FP32, 100.0)  # within the timings' scatter
    assert choose([fast, slow]) is fast
    assert choose([Trial(fast.precision, 60.0), slow]) is slow


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((7, 5), ["sm_75", "sm_90"], True),
        ((6, 0), ["sm_75", "sm_80", "sm_90", "compute_90"], False),  # a P100 under a recent build
        ((8, 6), ["sm_80"], True),
        ((8, 0), ["sm_86"], False),
        ((12, 0), ["sm_90a", "compute_90"], True),
        ((10, 0), ["sm_90"], False),
        ((10, 0), ["sm_100"], True),
    ],
)
def test_a_gpu_that_the_build_lacks_is_known(capability, built_for, runs):
    assert runs_on(capability, built_for) is runs


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


@pytest.mark.parametrize(
    ("tries", "expected", "asked"),
    [
        ([2.5, 1.9, 1.3, 1.0, 0.76, 0.78], 0.76, 6),  # a step in a process that asks for huge pages
        ([1.0, 1.0, 1.0], 1.0, 3),
        ([9.0, 7.0, 5.0, 4.0], 5.0, 3),  # more than the 3 seconds that are hopeless
    ],
)
def test_speeds_are_taken_warm(tries, expected, asked):
    left = list(tries)
    assert fastest(lambda: left.pop(0), seconds=0, hopeless=3.0) == expected
    assert len(tries) - len(left) == asked


def test_the_score_that_is_told_is_of_the_epoch_that_is_kept():
    history = [{"epoch": number, "valid_loss": loss} for number, loss in ((1, 0.5), (2, 0.3), (3, 0.4))]
    assert history_of_kept(history, Train(select="best"))["epoch"] == 2
    assert history_of_kept(history, Train())["epoch"] == 3
    assert history_of_kept([{"epoch": 1, "valid_loss": None}], Train(select="best"))["epoch"] == 1, "--fold full"


def test_a_pause_makes_no_option_hopeless():
    """A small batch is an eighth; the limit is 0.1 seconds for the whole one."""
    for cold, more, hopeless in (
        (0.05, [0.01], False),  # kernels were loaded
        (0.01, [], False),
        (0.05, [0.04, 0.03, 0.01], False),  # other work came between
        (0.05, [0.05, 0.05, 0.05], True),
        (1.5, [], True),  # that is no loading of kernels any more
    ):
        left = list(more)
        assert is_hopeless(cold, lambda left=left: left.pop(0), 8, 0.1) == hopeless
        assert not left


def test_the_probe_refuses_a_precision_whose_gradients_are_wrong():
    torch.manual_seed(0)
    model = build_classifier("resnet18", 2, {"width": 0.5, "zero_init_last": False})
    pixels, targets = torch.randint(0, 256, (16, 3, 16, 16), dtype=torch.uint8), torch.arange(16) % 2
    reference = _first_step(model, FP32, pixels, targets, CPU)
    assert _same_step(reference, reference)
    for poison in (float("nan"), 1e20):
        wrong = [gradient.clone() for gradient in reference[1]]
        wrong[30].view(-1)[0] = poison
        assert not _same_step((reference[0], wrong), reference)
    assert not _same_step((reference[0] * 1.2, reference[1]), reference)
    for size, right in ((16, False), (32, True)):  # at 16 px the last stage strides over a map of one pixel
        quick = [option for option in candidates(CPU) if option.name != "fp16"]  # slow on most CPUs
        trials = probe(model, quick, size, 16, 2, CPU)
        assert {trial.images_per_second > 0 for trial in trials if trial.precision.name == "bf16"} == {right}
        assert {trial.images_per_second > 0 for trial in trials if trial.precision.name == "fp32"} == {True}
    resized = probe(model, [Precision("bf16", "channels_last")], 32, 16, 2, CPU, (16,))
    assert resized[0].images_per_second == 0, "some epochs are at 16 px"


def test_a_frozen_start_resumes_to_the_same_bits(tmp_path):
    """Killed while only the head learns: the rest goes on as it would have."""
    train = Train(**{**QUICK, "epochs": 4, "freeze_epochs": 2, "layer_decay": 0.7})
    _fit(tmp_path / "whole", train)
    for _ in range(40):
        try:
            _fit(tmp_path / "pieces", train, deadline=time.monotonic() - 1)
        except OutOfTime:
            continue
        break
    whole, pieces = (load_model(tmp_path / name / "model.safetensors")[0] for name in ("whole", "pieces"))
    assert all(torch.equal(value, pieces[name]) for name, value in whole.items())
    first, moved = _model().state_dict()["network.conv1.weight"], whole["network.conv1.weight"]
    assert not torch.equal(first, moved), "after the frozen epochs it learns"


def test_averaged_weights_are_of_the_last_epochs_and_resume(tmp_path, monkeypatch):
    train = Train(**{**QUICK, "epochs": 4, "select": "average", "average_epochs": 2, "ema_decay": None})
    seen = []

    def watched(mean, values, count):
        seen.append(values["network.fc.weight"].clone())
        return running_mean(mean, values, count)

    monkeypatch.setattr("kit.training.loop.running_mean", watched)
    _fit(tmp_path / "whole", train)
    for _ in range(40):
        try:
            _fit(tmp_path / "pieces", train, deadline=time.monotonic() - 1)
        except OutOfTime:
            continue
        break
    whole, pieces = (load_model(tmp_path / name / "model.safetensors")[0] for name in ("whole", "pieces"))
    assert all(torch.equal(value, pieces[name]) for name, value in whole.items())
    assert len(seen) == 4, "two epochs of each training"
    assert not torch.equal(seen[0], seen[1])
    assert torch.allclose(whole["network.fc.weight"], (seen[0] + seen[1]) / 2, atol=1e-6)
