"""The training loop: one model, one fold, resumable at any step to the same bits.

In: a model that takes pixels, batches as functions, a folder. Out: `model.safetensors`, `metrics.jsonl`, and
`last.ckpt` from which a killed run goes on. What a batch is, and where it comes from, is the caller's business.
"""

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kit import console
from kit.config import Train
from kit.machine import Precision
from kit.randomness import key
from kit.training.checkpoint import load_state, save_model, save_state
from kit.training.ema import EMA, running_mean
from kit.training.guards import finite, refuse_broken
from kit.training.history import history_text, is_best, sentence, stopped_early
from kit.training.losses import Loss
from kit.training.mixing import mix
from kit.training.optim import build_optimizer, clip_gradients, learning_rate, set_learning_rate, set_training
from kit.workspace import write_text

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""pixels (B, 3, S, S), targets (int64 (B,), or float32 (B, C)), rows int64 (B,)"""


@dataclass(frozen=True)
class Feed:
    """Where the pictures come from.

    `batches(epoch, start)`: the epoch's batches from step `start` on. `validation()`: the fold's own, or none.
    `test()`: a benchmark's labelled test images, or none: watched, and never used to choose anything.
    `score(targets, predictions)`: the competition's metric, `metric` its name. `image_ids(rows)`: for messages.
    """

    num_steps: int
    num_images: int  # in a training epoch
    batches: Callable[[int, int], Iterator[Batch]]
    validation: Callable[[], Iterable[Batch]] | None
    metric: str
    score: Callable[[np.ndarray, np.ndarray], float]
    image_ids: Callable[[np.ndarray], list[str]]
    test: Callable[[], Iterable[Batch]] | None = None


@dataclass
class _State:
    """Where the training stands; all of it goes into last.ckpt."""

    epoch: int = 0
    step: int = 0  # batches done within the epoch
    updates: int = 0  # optimizer steps since the beginning
    loss_sum: float = 0.0
    seconds: float = 0.0  # of this epoch's training pass
    history: list[dict[str, Any]] = field(default_factory=list)  # the lines of metrics.jsonl


class OutOfTime(Exception):
    """`--max-hours` is over; the state is saved."""


@dataclass(frozen=True)
class Objective:
    """`train`: what is minimised. `validation`: the task's plain loss. `activate`: outputs -> predictions."""

    train: Loss
    validation: Loss
    activate: Callable[[torch.Tensor], torch.Tensor]


def fit(
    model: nn.Module,
    train: Train,
    objective: Objective,
    feed: Feed,
    folder: Path,
    precision: Precision,
    device: torch.device,
    step_key: tuple[int | str, ...],
    facts: dict[str, Any],
    title: str,
    deadline: float | None = None,
) -> list[dict[str, Any]]:
    """Train to the end, from `last.ckpt` where there is one; returns the lines of metrics.jsonl.

    Writes `model.safetensors` (with `facts`) last. `deadline` is a `time.monotonic` instant: past it the state is
    saved and `OutOfTime` raised. A loss that is not finite is a `KitError` that names the batch's images.
    """
    model = model.to(device).to(memory_format=precision.layout)
    ema = EMA(model, train.ema_decay) if train.ema_decay is not None else None
    optimizer, scaler = build_optimizer(model, train), precision.scaler(device)
    state, best = _State(), None
    checkpoint, forward = folder / "last.ckpt", precision.compile(model)

    if checkpoint.is_file():
        saved = load_state(checkpoint)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        scaler.load_state_dict(saved["scaler"])
        if ema is not None:
            ema.model.load_state_dict(saved["ema"])
        state, best = _State(**saved["state"]), saved["best"]

    def save() -> None:
        refuse_broken(model)
        averages = ema.model.state_dict() if ema is not None else None
        parts = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scaler": scaler.state_dict()}
        save_state(checkpoint, {**parts, "ema": averages, "state": vars(state), "best": best})
        write_text(folder / "metrics.jsonl", history_text(state.history))

    chosen = ema.model if ema is not None else model
    total = train.epochs * feed.num_steps
    with console.progress(title, total, state.epoch * feed.num_steps + state.step, "batches") as bar:
        while state.epoch < train.epochs and not stopped_early(state.history, train):
            _train_epoch(
                model,
                forward,
                ema,
                optimizer,
                scaler,
                train,
                objective.train,
                feed,
                precision,
                device,
                step_key,
                state,
                save,
                deadline,
                bar,
            )
            loss, value = _validate(chosen, objective, feed, feed.validation, precision, device)
            line = {
                "epoch": state.epoch + 1,
                "seconds": round(state.seconds, 2),
                "images_per_second": round(feed.num_images / state.seconds, 1),
                "learning_rate": learning_rate(train, state.epoch + 1),
                "train_loss": state.loss_sum / feed.num_steps,
                "valid_loss": loss,
                f"valid_{feed.metric}": value,
            }
            if feed.test is not None:
                loss, value = _validate(chosen, objective, feed, feed.test, precision, device)
                line |= {"test_loss": loss, f"test_{feed.metric}": value}
            state = _State(state.epoch + 1, 0, state.updates, history=[*state.history, line])
            if train.select == "best" and is_best(state.history):
                best = copy.deepcopy(chosen.state_dict())
            elif train.select == "average":
                count = state.epoch - train.epochs + min(train.average_epochs, train.epochs)
                best = running_mean(best, chosen.state_dict(), count) if count > 0 else None
            save()
            console.stage("train", sentence(title, line, train, feed.metric))
    save_model(folder / "model.safetensors", best if best is not None else chosen.state_dict(), facts)
    return state.history


def _train_epoch(
    model: nn.Module,
    forward: nn.Module,
    ema: EMA | None,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    train: Train,
    loss_of: Loss,
    feed: Feed,
    precision: Precision,
    device: torch.device,
    step_key: tuple[int | str, ...],
    state: _State,
    save: Callable[[], None],
    deadline: float | None,
    bar: console.Bar,
) -> None:
    set_training(model, train, state.epoch)
    saved_at, began, done_before = time.monotonic(), time.perf_counter(), state.seconds
    steps_before, unchecked = state.step, None
    before = state.history[-1][f"valid_{feed.metric}"] if state.history else None
    last_metric = f"  {feed.metric} {before:.4f}" if before is not None else ""
    for pixels, targets, rows in feed.batches(state.epoch, state.step):
        torch.manual_seed(key("step", *step_key, state.epoch, state.step))
        set_learning_rate(optimizer, learning_rate(train, state.epoch + state.step / feed.num_steps))
        pixels = pixels.to(device, non_blocking=True)
        mixed = mix(pixels, train, state.epoch, (*step_key, state.epoch, state.step))
        pixels = (mixed.pixels if mixed is not None else pixels).contiguous(memory_format=precision.layout)
        with precision.autocast(device):
            outputs = forward(pixels).float()
        wanted = targets.to(device, non_blocking=True)
        loss = loss_of(outputs, wanted)
        if mixed is not None:
            other = wanted[mixed.partner.to(device, non_blocking=True)]
            loss = mixed.own * loss + (1 - mixed.own) * loss_of(outputs, other)
        scaler.scale(loss / train.accumulate_steps).backward()
        state.step += 1
        whole = state.step % train.accumulate_steps == 0 or state.step == feed.num_steps
        if whole:
            scaler.unscale_(optimizer)
            clip_gradients(model.parameters(), train.clip_grad_norm)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            state.updates += 1
            if ema is not None:
                ema.update(model, state.updates)
        # The loss before this one: reading it does not make a GPU wait for the step just queued.
        state.loss_sum += _loss_of(unchecked, state, feed)
        unchecked = (loss.detach(), rows)
        state.seconds = done_before + time.perf_counter() - began
        speed = (state.step - steps_before) * len(rows) / (time.perf_counter() - began)
        mean_loss = state.loss_sum / max(state.step - 1, 1)
        note = f"epoch {state.epoch + 1}/{train.epochs}  loss {mean_loss:.4f}  {speed:,.0f} images/s"
        bar.advance(note=f"{note}{last_metric}")
        due = time.monotonic() - saved_at > train.checkpoint_minutes * 60
        late = deadline is not None and time.monotonic() > deadline
        if whole and (due or late) and state.step < feed.num_steps:
            state.loss_sum += _loss_of(unchecked, state, feed)
            unchecked = None
            save()
            saved_at = time.monotonic()
        if late and whole and state.step < feed.num_steps:
            raise OutOfTime
    state.loss_sum += _loss_of(unchecked, state, feed)
    progressed = state.step > steps_before
    if deadline is not None and time.monotonic() > deadline and progressed and state.epoch + 1 < train.epochs:
        save()
        raise OutOfTime


def _loss_of(loss_and_rows: tuple[torch.Tensor, torch.Tensor] | None, state: _State, feed: Feed) -> float:
    """A batch's loss as a number; refuses one that is not finite."""
    if loss_and_rows is None:
        return 0.0
    loss, rows = loss_and_rows
    return finite(loss.item(), state.epoch + 1, state.step, lambda: feed.image_ids(rows.numpy()))


@torch.inference_mode()
def _validate(
    model: nn.Module,
    objective: Objective,
    feed: Feed,
    images: Callable[[], Iterable[Batch]] | None,
    precision: Precision,
    device: torch.device,
) -> tuple[float | None, float | None]:
    """(loss, metric) of `images`; nones where there are none."""
    if images is None:
        return None, None
    was_training = model.training
    model.eval()
    parts, targets = [], []
    for pixels, batch_targets, _ in images():
        with precision.autocast(device):
            parts.append(
                model(pixels.to(device, non_blocking=True).contiguous(memory_format=precision.layout)).float().cpu()
            )
        targets.append(batch_targets)
    model.train(was_training)
    outputs, wanted = torch.cat(parts), torch.cat(targets)
    return objective.validation(outputs, wanted).item(), feed.score(wanted.numpy(), objective.activate(outputs).numpy())
