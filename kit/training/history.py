"""A fold's history: one line an epoch in `metrics.jsonl`, and what is read off it."""

import json
from pathlib import Path
from typing import Any

from kit import console
from kit.config import Train

Line = dict[str, Any]
"""epoch, seconds, images_per_second, learning_rate, train_loss, valid_loss, valid_<metric>; where the test
labels are given away, `full` has test_loss and test_<metric>"""


def read_history(folder: Path) -> list[Line]:
    """The lines of a fold's metrics.jsonl; none where it has not begun."""
    file = folder / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def history_text(history: list[Line]) -> str:
    return "".join(json.dumps(line) + "\n" for line in history)


def is_best(history: list[Line]) -> bool:
    """Has the last epoch the lowest validation loss so far?"""
    loss = history[-1]["valid_loss"]
    return loss is not None and loss == min(line["valid_loss"] for line in history)


def history_of_kept(history: list[Line], train: Train) -> Line:
    """The line of the weights that were kept; an average of epochs has none of its own, and gets the last one's.

    Without epochs there is none: the start's weights were kept.
    """
    if not history:
        return {}
    chosen = train.select == "best" and history[-1]["valid_loss"] is not None
    return min(history, key=lambda line: line["valid_loss"]) if chosen else history[-1]


def stopped_early(history: list[Line], train: Train) -> bool:
    """Did the validation loss not fall for `train.early_stopping` epochs?"""
    if train.early_stopping is None or len(history) <= train.early_stopping:
        return False
    losses = [line["valid_loss"] for line in history]
    return None not in losses and losses.index(min(losses)) < len(losses) - train.early_stopping


def sentence(title: str, line: Line, train: Train, metric: str) -> str:
    """`fold 0  epoch  3/8  train loss 0.5312  valid loss 0.5038  accuracy 0.7533  215 images/s  1 min 24 s`"""
    text = f"{title}  epoch {line['epoch']:>2}/{train.epochs}  train loss {line['train_loss']:.4f}"
    if line["valid_loss"] is not None:
        text += f"  valid loss {line['valid_loss']:.4f}  {metric} {line[f'valid_{metric}']:.4f}"
    if "test_loss" in line:
        text += f"  test loss {line['test_loss']:.4f}  {metric} {line[f'test_{metric}']:.4f}"
    return f"{text}  {line['images_per_second']:,.0f} images/s  {console.duration(line['seconds'])}"
