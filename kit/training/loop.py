"""The training loop: one model, one fold, resumable at any step to the same bits.

In: a model with its optimizer, batches as functions. Out: the weights, the lines of the history, and a checkpoint from
which a killed training resumes. What a batch is, and where it comes from, is up to the caller."""

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kit import console
from kit.batch import Batch
from kit.errors import KitError, reason
from kit.events import Epoch, Line, Listener, StopTraining
from kit.metrics.metric import Metric
from kit.training.checkpoint import load_state, save_model, save_state
from kit.training.ema import EMA, running_mean
from kit.training.guards import Losses, refuse_broken
from kit.training.history import history_of_kept, is_best, stopped_early
from kit.training.optim import learning_rate, set_learning_rate, set_training
from kit.training.step import Stepper
from kit.training.validation import scores


@dataclass(frozen=True)
class Feed:
    """Where the pictures come from. `batches(epoch, start)`: the epoch's batches from step `start` on. `validation()`:
    the fold's own, or `None`. `test()`: a benchmark's labelled test images, or `None`: watched, and never used to
    choose anything. `image_ids(rows)`: for messages."""

    num_steps: int
    num_images: int  # in a training epoch
    batches: Callable[[int, int], Iterator[Batch]]
    validation: Callable[[], Iterable[Batch]] | None
    metric: Metric
    image_ids: Callable[[np.ndarray], list[str]]
    test: Callable[[], Iterable[Batch]] | None = None


@dataclass(frozen=True)
class Output:
    """Where a training's state and result go, and the listeners; `facts` are saved with the weights in `model`."""

    title: str
    checkpoint: Path
    model: Path
    facts: dict[str, Any] = field(default_factory=dict)
    checkpoint_minutes: float = 5.0
    listeners: Sequence[Listener] = ()


@dataclass
class _State:
    """The training's progress; all of it goes into the checkpoint."""

    epoch: int = 0
    step: int = 0  # batches done within the epoch
    updates: int = 0  # optimizer steps since the start
    loss_sum: float = 0.0
    seconds: float = 0.0  # of this epoch's training pass
    scale: float = 0.0  # fp16's loss scale, when it was last read
    history: list[Line] = field(default_factory=list)


LOOK = 20  # steps after which a GPU's losses are read


class OutOfTime(Exception):
    """`--max-hours` has run out; the state is saved."""


def fit(stepper: Stepper, feed: Feed, output: Output, deadline: float | None = None) -> list[Line]:
    """Train to the end, from the checkpoint if there is one; returns the history. Writes the model last. `deadline` is
    a `time.monotonic` instant: past it the state is saved and `OutOfTime` raised. A loss that is not finite raises a
    `KitError` that names the batch's images."""
    training = _Training(stepper, feed, output, deadline)
    training.resume()
    training.run()
    training.finish()
    return training.state.history


class _Training:
    def __init__(self, stepper: Stepper, feed: Feed, output: Output, deadline: float | None) -> None:
        self.stepper, self.feed, self.output, self.deadline = stepper, feed, output, deadline
        self.train, self.listeners = stepper.train, list(output.listeners)
        self.ema = EMA(stepper.model, self.train.ema_decay) if self.train.ema_decay is not None else None
        self.chosen = self.ema.model if self.ema is not None else stepper.model  # what is validated and kept
        self.state = _State()
        self.best: dict[str, torch.Tensor] | None = None  # weights to keep in place of the last ones
        self.leads = stepper.share is None or stepper.share.leads  # of several processes one writes

    def resume(self) -> None:
        if not self.output.checkpoint.is_file():
            return
        saved = load_state(self.output.checkpoint)
        self.stepper.model.load_state_dict(saved["model"])
        self.stepper.optimizer.load_state_dict(saved["optimizer"])
        self.stepper.scaler.load_state_dict(saved["scaler"])
        if self.ema is not None:
            self.ema.model.load_state_dict(saved["ema"])
        self.state, self.best = _State(**saved["state"]), saved["best"]
        if self.state.history:
            self.tell(again=True)

    def save(self) -> None:
        stepper = self.stepper
        if not self.leads:
            return
        refuse_broken(stepper.model)
        state = {
            "model": stepper.model.state_dict(), "optimizer": stepper.optimizer.state_dict(),
            "scaler": stepper.scaler.state_dict(), "state": vars(self.state), "best": self.best,
            "ema": self.ema.model.state_dict() if self.ema is not None else None,
        }  # fmt: skip
        save_state(self.output.checkpoint, state)

    def tell(self, again: bool = False) -> None:
        history = list(self.state.history)
        epoch = Epoch(self.output.title, self.train.epochs, self.feed.metric.name, history, again)
        for listener in list(self.listeners):
            try:
                listener(epoch)
            except (KitError, StopTraining):
                raise
            except Exception as error:  # a tracker's server that is down costs no night
                console.warn(f"a listener of epochs failed, the training goes on without it: {reason(error)}")
                self.listeners.remove(listener)

    def run(self) -> None:
        train, feed = self.train, self.feed
        done = self.state.epoch * feed.num_steps + self.state.step
        with console.progress(self.output.title, train.epochs * feed.num_steps, done, "batches") as bar:
            while self.state.epoch < train.epochs and not stopped_early(self.state.history, train):
                self.train_epoch(bar)
                self.end_epoch()
                self.save()
                self.tell()

    def end_epoch(self) -> None:
        train, feed, state = self.train, self.feed, self.state
        loss, value = self.validate(feed.validation)
        line = {
            "epoch": state.epoch + 1, "seconds": round(state.seconds, 2),
            "images_per_second": round(feed.num_images / state.seconds, 1),
            "learning_rate": learning_rate(train, state.epoch + 1), "train_loss": state.loss_sum / feed.num_steps,
            "valid_loss": loss, f"valid_{feed.metric.name}": value,
        }  # fmt: skip
        if feed.test is not None:
            loss, value = self.validate(feed.test)
            line |= {"test_loss": loss, f"test_{feed.metric.name}": value}
        self.state = _State(state.epoch + 1, 0, state.updates, history=[*state.history, line], scale=state.scale)
        if train.select == "best" and is_best(self.state.history):
            self.best = copy.deepcopy(self.chosen.state_dict())
        elif train.select == "average":
            count = self.state.epoch - train.epochs + min(train.average_epochs, train.epochs)
            self.best = running_mean(self.best, self.chosen.state_dict(), count) if count > 0 else None

    def finish(self) -> None:
        name = self.feed.metric.name
        if self.train.select == "average" and self.best is not None and self.feed.validation is not None:
            self.chosen.load_state_dict(self.best)
            (loss, value), last = self.validate(self.feed.validation), self.state.history[-1]
            text = f"{self.output.title}  mean of the last epochs' weights: {name} {value:.4f}"
            console.stage("train", f"{text}; the last epoch's alone: {last[f'valid_{name}']:.4f}")
        else:
            loss = history_of_kept(self.state.history, self.train).get("valid_loss")
        if loss is not None and not math.isfinite(loss):
            advice = "lower train.learning_rate, or --set machine.precision=fp32, under a new name"
            raise KitError(f"{self.output.title}: the weights that would be kept predict {loss}; {advice}")
        weights = self.best if self.best is not None else self.chosen.state_dict()
        if not self.leads:
            return
        save_model(self.output.model, weights, self.output.facts)

    def train_epoch(self, bar: console.Bar) -> None:
        stepper, feed, train, state = self.stepper, self.feed, self.train, self.state
        set_training(stepper.model, train, state.epoch)
        saved_at, began, done_before = time.monotonic(), time.perf_counter(), state.seconds
        steps_before, losses = state.step, Losses(state.epoch + 1, feed.image_ids)
        often = 1 if stepper.compute.device.type == "cpu" else LOOK
        before = state.history[-1][f"valid_{feed.metric.name}"] if state.history else None
        last_metric = f"  {feed.metric.name} {before:.4f}" if before is not None else ""
        for batch in feed.batches(state.epoch, state.step):
            set_learning_rate(stepper.optimizer, learning_rate(train, state.epoch + state.step / feed.num_steps))
            loss = stepper.loss(batch, state.epoch, state.step)
            first = state.step - state.step % train.accumulate_steps  # of an update's batches; the last may have fewer
            stepper.backward(loss / min(train.accumulate_steps, feed.num_steps - first))
            state.step += 1
            whole = state.step % train.accumulate_steps == 0 or state.step == feed.num_steps
            if whole:
                stepper.update()
                state.updates += 1
                self.discount_skipped()
                if self.ema is not None:
                    self.ema.update(state.updates)
            losses.add(loss, batch.rows, state.step)
            if state.step % often == 0 or state.step == feed.num_steps:
                state.loss_sum = losses.read(state.loss_sum)
            state.seconds = done_before + time.perf_counter() - began
            speed = (state.step - steps_before) * (batch.whole or len(batch)) / (time.perf_counter() - began)
            mean_loss = state.loss_sum / max(state.step - state.step % often, 1)
            note = f"epoch {state.epoch + 1}/{train.epochs}  loss {mean_loss:.4f}  {console.speed(speed)}"
            bar.advance(note=f"{note}{last_metric}")
            due = time.monotonic() - saved_at > self.output.checkpoint_minutes * 60
            late = whole and self.is_late()
            if whole and (due or late) and state.step < feed.num_steps:
                state.loss_sum = losses.read(state.loss_sum)
                self.save()
                saved_at = time.monotonic()
                if late:
                    raise OutOfTime
        if self.is_late() and state.step > steps_before and state.epoch + 1 < train.epochs:
            self.save()
            raise OutOfTime

    def is_late(self) -> bool:
        """Of several processes the first one's clock counts."""
        if self.deadline is None:
            return False
        late = time.monotonic() > self.deadline
        return late if self.stepper.share is None else self.stepper.share.agreed(late)

    def discount_skipped(self) -> None:
        """Updates that fp16's loss scaling left out are none: each halved the scale. Reading it makes a GPU wait: after
        1, 2, 4, 8, ... updates (the first of all are left out) and now and then."""
        updates = self.state.updates
        if self.stepper.scaler.is_enabled() and (updates % LOOK == 0 or updates.bit_count() == 1):
            before, self.state.scale = self.state.scale, self.stepper.scaler.get_scale()
            if before > self.state.scale:
                self.state.updates -= round(math.log2(before / self.state.scale))

    def validate(self, images: Callable[[], Iterable[Batch]] | None) -> tuple[float | None, float | None]:
        """(loss, metric) of the chosen model on `images`; `None` where there are none."""
        if images is None:
            return None, None
        found = scores(self.chosen, images(), self.stepper, self.feed.metric)
        if found.num_broken and self.leads:
            text = f"{found.num_broken:,} of {found.num_images:,} predictions are nan (machine.precision?)"
            console.warn(f"{self.output.title}: {text}")
        return found.loss, found.value
