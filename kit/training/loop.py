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
from kit.training.checkpoint import load_state, save_model, save_state
from kit.training.ema import EMA, running_mean
from kit.training.guards import finite, refuse_broken
from kit.training.history import history_text, is_best, sentence, stopped_early
from kit.training.optim import learning_rate, set_learning_rate, set_training
from kit.training.step import Objective, Stepper
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
    stepper = Stepper.prepare(model, train, objective.train, precision, device, step_key)
    model, optimizer, scaler = stepper.model, stepper.optimizer, stepper.scaler
    ema = EMA(model, train.ema_decay) if train.ema_decay is not None else None
    state, best, checkpoint = _State(), None, folder / "last.ckpt"

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
            _train_epoch(stepper, ema, feed, state, save, deadline, bar)
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
    if train.select == "average" and best is not None and feed.validation is not None:
        chosen.load_state_dict(best)
        value, last = _validate(chosen, objective, feed, feed.validation, precision, device)[1], state.history[-1]
        text = f"{title}  mean of the last epochs' weights: {feed.metric} {value:.4f}"
        console.stage("train", f"{text}; the last one's alone: {last[f'valid_{feed.metric}']:.4f}")
    save_model(folder / "model.safetensors", best if best is not None else chosen.state_dict(), facts)
    return state.history


def _train_epoch(
    stepper: Stepper,
    ema: EMA | None,
    feed: Feed,
    state: _State,
    save: Callable[[], None],
    deadline: float | None,
    bar: console.Bar,
) -> None:
    train = stepper.train
    set_training(stepper.model, train, state.epoch)
    saved_at, began, done_before = time.monotonic(), time.perf_counter(), state.seconds
    steps_before, unchecked = state.step, None
    before = state.history[-1][f"valid_{feed.metric}"] if state.history else None
    last_metric = f"  {feed.metric} {before:.4f}" if before is not None else ""
    for pixels, targets, rows in feed.batches(state.epoch, state.step):
        set_learning_rate(stepper.optimizer, learning_rate(train, state.epoch + state.step / feed.num_steps))
        loss = stepper.loss(pixels, targets, state.epoch, state.step)
        first = state.step - state.step % train.accumulate_steps  # of the batches that make an update; the last are few
        stepper.backward(loss / min(train.accumulate_steps, feed.num_steps - first))
        state.step += 1
        whole = state.step % train.accumulate_steps == 0 or state.step == feed.num_steps
        if whole:
            stepper.update()
            state.updates += 1
            if ema is not None:
                ema.update(stepper.model, state.updates)
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
