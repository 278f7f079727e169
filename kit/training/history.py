"""What a fold's history tells: the best epoch, the one that is kept, whether it is time to stop."""

import math

from kit.events import Line
from kit.settings import Train


def is_best(history: list[Line]) -> bool:
    return has_validation(history) and _loss(history[-1]) == min(map(_loss, history)) < math.inf


def has_validation(history: list[Line]) -> bool:
    return bool(history) and history[-1]["valid_loss"] is not None


def _loss(line: Line) -> float:
    """Of the fold's own images; infinite where a prediction was not finite (nan)."""
    return math.inf if math.isnan(line["valid_loss"]) else line["valid_loss"]


def history_of_kept(history: list[Line], train: Train) -> Line:
    """The line of the weights that were kept; an average of epochs has no line of its own and gets the last one's.
    Without epochs the start's weights were kept, and the line is empty."""
    if train.select != "best" or not has_validation(history):
        return history[-1] if history else {}
    return min(history, key=_loss)


def stopped_early(history: list[Line], train: Train) -> bool:
    """Did the validation loss not fall for `train.early_stopping` epochs?"""
    if train.early_stopping is None or len(history) <= train.early_stopping or not has_validation(history):
        return False
    losses = [_loss(line) for line in history]
    return losses.index(min(losses)) < len(losses) - train.early_stopping
